//! Network faults below HTTP: toxiproxy between a client and a server (latency, resets, silence, cut connections).
//!
//! Kinds and their attributes: `latency {latency}` in ms, `bandwidth {rate}` in kB/s, `timeout {timeout}` in ms (0 is
//! silence for ever), `reset_peer {timeout}`, `limit_data {bytes}`, `slicer {average_size, size_variation, delay}`.

use std::net::SocketAddr;

use super::process::{self, Folder, Process};
use super::{Skipped, http};

/// Which way the data flows that a toxic touches.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// A running toxiproxy; its proxies end with it.
pub struct Toxiproxy {
    address: SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl Toxiproxy {
    pub fn start() -> Result<Toxiproxy, Skipped> {
        let executable = process::installed("toxiproxy", "toxiproxy")?;
        let folder = Folder::new("toxiproxy");
        let launch = |address: SocketAddr| {
            let mut command = process::command(&executable);
            command.args(["-host", &address.ip().to_string(), "-port", &address.port().to_string()]);
            command
        };
        let (process, address) = Process::listening("toxiproxy", folder.path(), launch);
        Ok(Toxiproxy {
            address,
            _process: process,
            _folder: folder,
        })
    }

    /// Opens a proxy before a server and gives the address clients shall use.
    pub fn open(&self, name: &str, upstream: SocketAddr) -> SocketAddr {
        let host = process::host();
        let body = format!(r#"{{"name":"{name}","listen":"{host}:0","upstream":"{upstream}","enabled":true}}"#);
        let answer = self.post("/proxies", &body);
        let listen = answer
            .split(r#""listen":""#)
            .nth(1)
            .and_then(|rest| rest.split('"').next()?.parse().ok());
        listen.unwrap_or_else(|| panic!("toxiproxy names no address: {answer}"))
    }

    /// Adds a fault, e.g. `toxic("s3", Stream::Replies, "latency", r#"{"latency":300}"#)`.
    pub fn toxic(&self, name: &str, stream: Stream, kind: &str, attributes: &str) {
        let stream = match stream {
            Stream::Requests => "upstream",
            Stream::Replies => "downstream",
        };
        let body = format!(r#"{{"type":"{kind}","stream":"{stream}","toxicity":1.0,"attributes":{attributes}}}"#);
        self.post(&format!("/proxies/{name}/toxics"), &body);
    }

    /// Refuses connections, or takes them again.
    pub fn enable(&self, name: &str, enabled: bool) {
        self.post(&format!("/proxies/{name}"), &format!(r#"{{"enabled":{enabled}}}"#));
    }

    /// Takes all faults back.
    pub fn clear(&self) {
        self.post("/reset", "");
    }

    fn post(&self, target: &str, body: &str) -> String {
        http::expect_success(
            self.address,
            "POST",
            target,
            &[("Content-Type", "application/json")],
            body,
        )
    }
}
