//! EC2 and its block API, and a second S3 server, both in memory: moto. Starts in 1 s; checks no credentials.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Kind, Location, http, process, versitygw};

pub static MOTO: Kind = Kind {
    name: "moto (EC2, S3)",
    program: "moto",
    executable: "bin/moto_server",
    command,
    make_bucket,
    location,
};

fn command(executable: &Path, address: SocketAddr, _folder: &Path) -> Command {
    let mut command = process::command(executable);
    command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command
        .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn make_bucket(_executable: &Path, address: SocketAddr, bucket: &str) {
    // Moto tells services apart by the credential's scope; the signature is not checked.
    let authorization =
        "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";
    http::expect_success(
        address,
        "PUT",
        &format!("/{bucket}"),
        &[("Authorization", authorization)],
        "",
    );
}

fn location(address: SocketAddr, _folder: &Path, bucket: &str, prefix: &str) -> Location {
    Location {
        url: format!("s3://{bucket}/{prefix}"),
        environment: versitygw::environment(address, versitygw::KEY, versitygw::SECRET),
    }
}
