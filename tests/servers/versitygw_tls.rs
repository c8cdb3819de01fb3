//! S3 over TLS: versitygw with a certificate by an authority that nobody trusts who is not told to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Kind, Location, versitygw};

pub static VERSITYGW_TLS: Kind = Kind {
    name: "versitygw (S3 over TLS)",
    program: "versitygw",
    executable: "versitygw",
    command,
    make_bucket,
    location,
};

/// The authority's certificate, in the server's folder.
pub fn authority(folder: &Path) -> PathBuf {
    folder.join("authority.pem")
}

fn command(executable: &Path, address: SocketAddr, folder: &Path) -> Command {
    let (authority, authority_key) = (authority(folder), folder.join("authority-key.pem"));
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    if !certificate.exists() {
        new_certificate(&authority, &authority_key, &["-subj", "/CN=ararat tests"]);
        let (by, by_key) = (authority.to_str().unwrap(), authority_key.to_str().unwrap());
        let signed = ["-subj", "/CN=127.0.0.1", "-CA", by, "-CAkey", by_key];
        let leaf = [
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ];
        new_certificate(&certificate, &key, &[signed.as_slice(), &leaf].concat());
    }
    let mut command = versitygw::gateway(executable, address, folder);
    command.arg("--cert").arg(certificate).arg("--key").arg(key);
    versitygw::on_files(&mut command, folder);
    command
}

fn new_certificate(certificate: &Path, key: &Path, more: &[&str]) {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .args(more)
        .stderr(Stdio::null());
    assert!(openssl.status().unwrap().success(), "openssl makes no certificate");
}

fn make_bucket(executable: &Path, address: SocketAddr, bucket: &str) {
    versitygw::create_bucket(executable, &format!("https://{address}"), &["--allow-insecure"], bucket);
}

fn location(address: SocketAddr, _folder: &Path, bucket: &str, prefix: &str) -> Location {
    let mut environment = versitygw::environment(address, versitygw::KEY, versitygw::SECRET);
    environment.retain(|(name, _)| *name != "AWS_ENDPOINT_URL" && *name != "AWS_ALLOW_HTTP");
    environment.push(("AWS_ENDPOINT_URL", format!("https://{address}")));
    Location {
        url: format!("s3://{bucket}/{prefix}"),
        environment,
    }
}
