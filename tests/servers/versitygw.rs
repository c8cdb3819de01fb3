//! S3: versitygw, which keeps objects as files. Starts in 0.1 s; survives a crash.
//!
//! What it does differently from S3: a key `a` excludes keys below `a/` and the reverse, with a 409 that object_store
//! reports as `AlreadyExists`; so does, in up to 2 of 100 cases, a put beside the delete that empties its folder, unless
//! the folder holds something lasting. It wants user xattrs of its file system.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{BUCKET, Kind, Location, Server, process};

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
    let create = ["create-bucket", "--owner", KEY, "--bucket", bucket];
    administer(executable, endpoint, &[more, &create].concat());
}

/// The gateway's own administration, which must do it.
fn administer(executable: &Path, endpoint: &str, more: &[&str]) {
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
    let output = Command::new(executable).args(arguments).args(more).output().unwrap();
    assert!(
        output.status.success(),
        "{more:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A user to whom the bucket's policy allows to list, read and write, as SECURITY.md asks for agents. What is not allowed to a user is refused.
const WRITER: [&str; 2] = ["ararat-tests-writer", "ararat-tests-writer-secret"];

impl Server {
    /// The same place with the credential of a user who may list, read and write, and may not delete. For [`VERSITYGW`]; once a server.
    pub fn without_delete(&self, place: &Location) -> Location {
        let [key, secret] = WRITER;
        let endpoint = format!("http://{}", self.address);
        let create = ["create-user", "-a", key, "-s", secret, "-r", "user"];
        administer(&self.executable, &endpoint, &create);
        let policy = format!(
            r#"{{"Version": "2012-10-17", "Statement": [
                {{"Effect": "Allow", "Principal": "{key}", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::{BUCKET}/*"}},
                {{"Effect": "Allow", "Principal": "{key}", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::{BUCKET}"}}]}}"#
        );
        let owner = place
            .with("AWS_ACCESS_KEY_ID", KEY)
            .with("AWS_SECRET_ACCESS_KEY", SECRET);
        let (status, answer) = request(&owner, "PUT", &format!("{BUCKET}?policy="), &policy);
        assert_eq!(status, 204, "{answer}");
        place
            .with("AWS_ACCESS_KEY_ID", key)
            .with("AWS_SECRET_ACCESS_KEY", secret)
    }
}

/// One signed request of S3 with the credential of a place: `BUCKET/KEY`, or `BUCKET?policy=`. Gives status and answer.
pub fn request(place: &Location, method: &str, target: &str, body: &str) -> (u16, String) {
    let user = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| place.variable(name));
    let url = format!("{}/{target}", place.variable("AWS_ENDPOINT_URL"));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--request", method])
        .args([
            "--aws-sigv4",
            &format!("aws:amz:{REGION}:s3"),
            "--user",
            &user.join(":"),
        ])
        // What is sent is not signed, only that it is: a curl of before 2023 leaves the header out that says so.
        .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
        .args(["--write-out", "\n%{http_code}", "--data-binary", body, &url]);
    let output = curl.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, status) = told.rsplit_once('\n').unwrap_or(("", &told));
    let status = status.parse().ok().filter(|status| *status > 0);
    let status = status.unwrap_or_else(|| panic!("{url}: {}", String::from_utf8_lossy(&output.stderr)));
    (status, answer.to_owned())
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
