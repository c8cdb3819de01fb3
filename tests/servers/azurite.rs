//! Azure Blob: azurite. Starts in 2 s; a crash may lose what was acknowledged, so it is no witness for durability.
//!
//! What it does differently from Azure: no immutability policies; bulk deletes of more than 1,000 keys fail.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Kind, Location, http, process};

pub static AZURITE: Kind = Kind {
    name: "azurite (Azure Blob)",
    program: "azurite",
    executable: "node_modules/.bin/azurite-blob",
    command,
    make_bucket,
    location,
};

/// The emulator's published account: every installation has this key, so it is no secret.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// A shared access signature by that key which may create containers until 2099; it spares us a signer here.
const MAY_CREATE_CONTAINERS: &str = "sv=2019-12-12&ss=b&srt=c&sp=c&se=2099-12-31T00%3A00%3A00Z\
    &sig=ZQQl3oZLBTsEh7m3QhbPr%2Bh%2FEnUxbVc9lqFsdFrGxLE%3D";

fn command(executable: &Path, address: SocketAddr, folder: &Path) -> Command {
    let mut command = process::command(executable);
    command.args([
        "--blobHost",
        &address.ip().to_string(),
        "--blobPort",
        &address.port().to_string(),
    ]);
    command
        .args(["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--location"])
        .arg(folder.join("data"));
    command
}

fn make_bucket(_executable: &Path, address: SocketAddr, bucket: &str) {
    let target = format!("/{ACCOUNT}/{bucket}?restype=container&{MAY_CREATE_CONTAINERS}");
    http::expect_success(address, "PUT", &target, &[("x-ms-version", "2019-12-12")], "");
}

fn location(address: SocketAddr, _folder: &Path, bucket: &str, prefix: &str) -> Location {
    Location {
        url: format!("az://{bucket}/{prefix}"),
        environment: vec![
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.into()),
            ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.into()),
            ("AZURE_STORAGE_ENDPOINT", format!("http://{address}/{ACCOUNT}")),
            ("AZURE_ALLOW_HTTP", "true".into()),
        ],
    }
}
