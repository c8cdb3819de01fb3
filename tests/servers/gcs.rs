//! Google Cloud Storage: `gcs_fake.py`, which gives moto's S3 server generations and Google's headers. Starts in 1 s.
//!
//! It tests our use of the client, not Google's server: no credentials are checked, no retention, no old generations,
//! and everything is in memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Kind, Location, http, process};

pub static GCS: Kind = Kind {
    name: "GCS script",
    program: "moto",
    executable: "bin/python",
    command,
    make_bucket,
    location,
};

fn command(executable: &Path, address: SocketAddr, folder: &Path) -> Command {
    let script = folder.join("gcs_fake.py");
    std::fs::write(&script, include_str!("gcs_fake.py")).unwrap();
    let mut command = process::command(executable);
    command
        .arg(script)
        .arg(address.port().to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn make_bucket(_executable: &Path, address: SocketAddr, bucket: &str) {
    http::expect_success(address, "PUT", &format!("/{bucket}"), &[], "");
}

fn location(address: SocketAddr, folder: &Path, bucket: &str, prefix: &str) -> Location {
    // A service account's file may name another endpoint and switch the sign-in off; one file for each address.
    let account = folder.join(format!("account-{}.json", address.port()));
    let text = format!(
        r#"{{"gcs_base_url":"http://{address}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    );
    std::fs::write(&account, text).unwrap();
    Location {
        url: format!("gs://{bucket}/{prefix}"),
        environment: vec![
            ("GOOGLE_SERVICE_ACCOUNT", account.to_string_lossy().into_owned()),
            ("GOOGLE_ALLOW_HTTP", "true".into()),
        ],
    }
}
