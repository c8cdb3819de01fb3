//! Real object-store servers for tests: started on loopback, on a free port, with a bucket, and gone when dropped.
//!
//! A test includes this folder (`#[path = "../servers/mod.rs"] mod servers;`, and `../machine/skipped.rs`) and starts what it needs:
//!
//! ```ignore
//! let Some(server) = servers::or_skip(Server::start(&servers::VERSITYGW)) else { return };
//! let location = server.location("some/prefix"); // location.url and location.environment
//! ```
//!
//! What must hold:
//! - Nothing is left behind, however a test ends. A dropped server is killed by its pid and its folder removed; a test
//!   process that dies takes its servers along (the kernel sends the signal), and the next start sweeps its folder.
//! - A server counts as started when *its own process* listens on the port, never when somebody does.
//! - A server that is not installed is skipped aloud. `ARARAT_REQUIRE_SERVERS` (a comma list, or `1` for all) makes it
//!   an error; `tests/run` sets it to what it has installed.
//! - Clients talk to loopback alone, or to the private network of a test cluster: every location brings credentials, so that no client asks a metadata address.
//!
//! Network faults below HTTP: [`toxiproxy`]. Faults of HTTP, and counting requests: [`fault_proxy`].
#![allow(
    dead_code,
    unused_imports,
    reason = "each test target uses its own part of this folder"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code stops at the first surprise"
)]

pub mod fault_proxy;
pub mod process;
pub mod toxiproxy;

mod azurite;
mod gcs;
mod http;
mod http_message;
mod issuer;
mod moto;
mod versitygw;
mod versitygw_tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use process::{Folder, Process};

pub use azurite::AZURITE;
pub use gcs::GCS;
pub use issuer::Issuer;
pub use moto::MOTO;
pub use versitygw::{VERSITYGW, request as s3_request};
pub use versitygw_tls::{VERSITYGW_TLS, authority};

/// The stores of the everyday run, one for each cloud.
pub static STORES: [&Kind; 3] = [&VERSITYGW, &GCS, &AZURITE];

/// The bucket (container) every server starts with. Letters alone: object_store encodes a hyphen for Google (`%2D`),
/// which moto takes literally.
pub const BUCKET: &str = "ararat";

/// A kind of server, as its own file describes it.
pub struct Kind {
    /// Spoken name, for messages.
    pub name: &'static str,
    /// The folder of the cache that `tests/run` installs it into, and its name in `ARARAT_REQUIRE_SERVERS`.
    pub program: &'static str,
    /// The file that must be there, below that folder.
    executable: &'static str,
    /// The command that serves on this address with its data below this folder.
    command: fn(executable: &Path, address: SocketAddr, folder: &Path) -> Command,
    make_bucket: fn(executable: &Path, address: SocketAddr, bucket: &str),
    /// How to reach a bucket when the server, or a proxy before it, is at this address.
    location: fn(address: SocketAddr, folder: &Path, bucket: &str, prefix: &str) -> Location,
}

/// A repository's place and the environment that opens it, in the terms of `ararat repo`.
#[derive(Clone, Debug)]
pub struct Location {
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    pub url: String,
    /// Variables the clouds' own tools read, and `object_store` too.
    pub environment: Vec<(&'static str, String)>,
}

impl Location {
    /// What a variable of the environment says; empty when it is not there.
    pub fn variable(&self, name: &str) -> String {
        let found = self.environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The same place with this variable, whatever it said before.
    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Location {
        let mut location = self.clone();
        location.environment.retain(|(known, _)| *known != name);
        location.environment.push((name, value.into()));
        location
    }

    /// The same place without the variables that have this in their names.
    pub fn without(&self, part: &str) -> Location {
        let mut location = self.clone();
        location.environment.retain(|(name, _)| !name.contains(part));
        location
    }
}

/// Why a server was not started: what is missing, and how to get it.
#[derive(Debug)]
pub struct Skipped {
    program: &'static str,
    why: String,
}

/// Gives the server, or says on the terminal that the test is skipped and why. Panics when the server is required.
pub fn or_skip<T>(started: Result<T, Skipped>) -> Option<T> {
    match started {
        Ok(server) => Some(server),
        Err(skipped) => {
            let required = std::env::var("ARARAT_REQUIRE_SERVERS").unwrap_or_default();
            let listed = required.split(',').any(|name| name == skipped.program || name == "1");
            assert!(
                !listed,
                "{} is required (ARARAT_REQUIRE_SERVERS): {}",
                skipped.program, skipped.why
            );
            crate::skipped::skipped(&skipped.why);
            None
        }
    }
}

/// A running server with one bucket.
pub struct Server {
    kind: &'static Kind,
    address: SocketAddr,
    executable: PathBuf,
    // Dropped in this order: first the process, then its data.
    process: Process,
    folder: Folder,
}

impl Server {
    /// Starts a server with [`BUCKET`] in it. Takes 0.1 s (versitygw) to 2.5 s (azurite).
    pub fn start(kind: &'static Kind) -> Result<Server, Skipped> {
        let executable = process::installed(kind.program, kind.executable)?;
        let folder = Folder::new(kind.program);
        let launch = |address| (kind.command)(&executable, address, folder.path());
        let (process, address) = Process::listening(kind.name, folder.path(), launch);
        (kind.make_bucket)(&executable, address, BUCKET);
        Ok(Server {
            kind,
            address,
            executable,
            process,
            folder,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where the server keeps its data and its log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a repository may be: a prefix in [`BUCKET`]. Tests that share a server take different prefixes.
    pub fn location(&self, prefix: &str) -> Location {
        self.location_through(self.address, prefix)
    }

    /// The same place reached through a proxy that passes on to [`Server::address`].
    pub fn location_through(&self, proxy: SocketAddr, prefix: &str) -> Location {
        (self.kind.location)(proxy, self.folder.path(), BUCKET, prefix)
    }

    /// Kills the server without warning and starts it again on the same port and data. Moto and the GCS script keep
    /// their objects in memory and lose them; azurite may lose what it has not written yet.
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        let command = (self.kind.command)(&self.executable, self.address, self.folder.path());
        self.process = Process::at(self.kind.name, self.folder.path(), command, self.address);
    }
}
