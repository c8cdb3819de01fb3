//! Who gives temporary keys of S3: `issuer.py`, in the place of a container's agent, a pod's, a machine's metadata server and a token service.

use std::net::SocketAddr;

use super::process::{self, Folder, Process};
use super::{Server, versitygw};

/// A running issuer. The keys it gives open every versitygw.
pub struct Issuer {
    address: SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl Issuer {
    /// Starts one; with the certificate of a server over TLS if there is one.
    pub fn start(tls: Option<&Server>) -> Self {
        let folder = Folder::new("issuer");
        let script = folder.path().join("issuer.py");
        std::fs::write(&script, include_str!("issuer.py")).unwrap();
        let launch = |address: SocketAddr| {
            let mut command = process::command("python3");
            command.arg(&script).arg(address.port().to_string());
            command.args([versitygw::KEY, versitygw::SECRET]);
            for file in ["certificate.pem", "key.pem"] {
                command.args(tls.map(|server| server.folder().join(file)));
            }
            command
        };
        let (process, address) = Process::listening("issuer", folder.path(), launch);
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
