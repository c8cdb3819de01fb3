//! How a store is to be used: credentials, patience, speed. Values are given by the caller; nothing is read from the process's environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::words::{Error, Result};

/// How a store is to be used.
#[derive(Clone)]
pub struct StoreOptions {
    /// The environment to take credentials, endpoints and proxies from (`AWS_*`, `GOOGLE_*`, `AZURE_*`, `HOME`, `HTTPS_PROXY`, …).
    pub environment: BTreeMap<String, String>,
    /// How long a connection may stand still, in either direction, before the request counts as failed. A slow transfer never does.
    pub stall_timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How many times a request that failed in passing is tried again.
    pub retries_max: u32,
    /// For how long a request that failed in passing is tried again.
    pub retry_time: Duration,
    /// The first pause before such a try; each further one is about twice as long, up to 15 seconds.
    pub retry_pause: Duration,
    /// Bytes per second to send at most, all connections together.
    pub upload_bytes_per_second: Option<u64>,
    /// Bytes per second to receive at most, all connections together.
    pub download_bytes_per_second: Option<u64>,
    /// Requests under way at once, at most.
    pub connections: usize,
    /// A PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The server's URL, for what is not the cloud itself. The environment has its own ways to say this.
    pub endpoint: Option<String>,
    /// The region of the bucket (S3).
    pub region: Option<String>,
    /// Whether the bucket is named in the path rather than in the host (S3); chosen by itself when `None`.
    pub path_style: Option<bool>,
    /// The proxy's URL; `Some("")` is none, whatever the environment says.
    pub proxy: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            environment: BTreeMap::new(),
            stall_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            retries_max: 10,
            retry_time: Duration::from_secs(180),
            retry_pause: Duration::from_millis(100),
            upload_bytes_per_second: None,
            download_bytes_per_second: None,
            connections: 16,
            ca_file: None,
            endpoint: None,
            region: None,
            path_style: None,
            proxy: None,
        }
    }
}

impl StoreOptions {
    /// A variable of the given environment, unless it is missing or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Sets an option by its word, as an operator writes it: `endpoint` (a URL), `region`, `pathStyle` (true or false), `proxy` (a URL; empty for none).
    ///
    /// # Errors
    /// [`Error::Invalid`] for another word, and for a value that makes no sense.
    pub fn set(&mut self, word: &str, value: &str) -> Result<()> {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match word {
            "endpoint" if value.starts_with("http://") || value.starts_with("https://") || value.is_empty() => {
                self.endpoint = text();
            }
            "region" => self.region = text(),
            "proxy" => self.proxy = Some(value.to_owned()),
            "pathStyle" => {
                self.path_style = Some(
                    value
                        .parse()
                        .map_err(|_| Error::Invalid("The option pathStyle is neither true nor false".to_owned()))?,
                );
            }
            "endpoint" => {
                return Err(Error::Invalid(
                    "The option endpoint is no URL; write https://HOST or http://HOST, with :PORT if need be"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Error::Invalid(format!(
                    "There is no option `{word}`; there is endpoint, region, pathStyle and proxy"
                )));
            }
        }
        Ok(())
    }

    /// The first of these variables that is there.
    pub fn variable_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.variable(name))
    }
}

impl fmt::Debug for StoreOptions {
    /// Names of variables only: values may be secrets, and so may a proxy's URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("environment", &self.environment.keys())
            .field("stall_timeout", &self.stall_timeout)
            .field("retries_max", &self.retries_max)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
