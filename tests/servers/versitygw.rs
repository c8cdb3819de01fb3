//! S3: versitygw, which keeps objects as files. Starts in 0.1 s; survives a crash.
//!
//! What it does differently from S3: a key `a` excludes keys below `a/` and the reverse, with a 409 that object_store
//! reports as `AlreadyExists`; so does, in up to 2 of 100 cases, a put beside the delete that empties its folder, unless
//! the folder holds something lasting. It wants user xattrs of its file system.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Kind, Location, process};

pub static VERSITYGW: Kind = Kind {
    name: "versitygw (S3)",
    program: "versitygw",
    executable: "versitygw",
    command,
    make_bucket,
    location,
};

pub const KEY: &str = "ararat-tests-key";
pub const SECRET: &str = "ararat-tests-secret";
pub const REGION: &str = "us-east-1";

fn command(executable: &Path, address: SocketAddr, folder: &Path) -> Command {
    let mut command = gateway(executable, address, folder);
    on_files(&mut command, folder);
    command
}

/// The gateway's own part of the command.
pub(super) fn gateway(executable: &Path, address: SocketAddr, folder: &Path) -> Command {
    let mut command = process::command(executable);
    command.args([
        "-p",
        &address.to_string(),
        "-a",
        KEY,
        "-s",
        SECRET,
        "--quiet",
        "--keep-alive",
        "--iam-dir",
    ]);
    command.arg(folder.join("iam"));
    command
}

/// The rest of the command: where the objects are.
pub(super) fn on_files(command: &mut Command, folder: &Path) {
    for name in ["iam", "versions", "data"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    command.args(["posix", "--versioning-dir"]).arg(folder.join("versions"));
    command.arg(folder.join("data"));
}

fn make_bucket(executable: &Path, address: SocketAddr, bucket: &str) {
    create_bucket(executable, &format!("http://{address}"), &[], bucket);
}

pub(super) fn create_bucket(executable: &Path, endpoint: &str, more: &[&str], bucket: &str) {
    let arguments = [
        "admin",
        "-a",
        KEY,
        "-s",
        SECRET,
        "-r",
        REGION,
        "--endpoint-url",
        endpoint,
    ];
    let output = Command::new(executable)
        .args(arguments)
        .args(more)
        .args(["create-bucket", "--owner", KEY, "--bucket", bucket])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{bucket} is not made: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn location(address: SocketAddr, _folder: &Path, bucket: &str, prefix: &str) -> Location {
    Location {
        url: format!("s3://{bucket}/{prefix}"),
        environment: environment(address, KEY, SECRET),
    }
}

/// What S3 clients read, for any S3 server on loopback.
pub fn environment(address: SocketAddr, key: &str, secret: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", key.into()),
        ("AWS_SECRET_ACCESS_KEY", secret.into()),
        ("AWS_REGION", REGION.into()),
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".into()),
    ]
}
