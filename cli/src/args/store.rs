//! How the store is reached: flags for every verb, and for the environment of a machine that has its own ways.
#![allow(rustdoc::bare_urls, reason = "doc comments of arguments are what --help prints")]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum;
use engine::store::StoreOptions;
use engine::words::Error;

/// How the store is reached.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "How the store is reached")]
pub struct StoreArgs {
    /// A PEM file with certificates to trust besides the system's
    #[arg(long, env = "ARARAT_STORE_CA_FILE", global = true, value_name = "FILE")]
    pub store_ca_file: Option<OsString>,
    /// The server's URL, for a store that is not the cloud itself, e.g. https://s3.example.org
    #[arg(long, env = "ARARAT_STORE_ENDPOINT", global = true, value_name = "URL")]
    pub store_endpoint: Option<String>,
    /// The region of the bucket (S3)
    #[arg(long, env = "ARARAT_STORE_REGION", global = true, value_name = "NAME")]
    pub store_region: Option<String>,
    /// Whether the bucket is named in the path of a URL or in its host (S3)
    #[arg(long, env = "ARARAT_STORE_PATH_STYLE", global = true, value_enum, value_name = "STYLE", default_value_t = PathStyle::Auto)]
    pub store_path_style: PathStyle,
    /// The proxy to go through, instead of what HTTPS_PROXY and its kin say; empty for none
    #[arg(
        long,
        env = "ARARAT_STORE_PROXY",
        hide_env_values = true,
        global = true,
        value_name = "URL"
    )]
    pub store_proxy: Option<String>,
    /// Send at most so many bytes a second, e.g. 5MiB
    #[arg(long, global = true, value_name = "BYTES")]
    pub limit_upload: Option<bytesize::ByteSize>,
    /// Receive at most so many bytes a second
    #[arg(long, global = true, value_name = "BYTES")]
    pub limit_download: Option<bytesize::ByteSize>,
    /// Requests that are under way at once
    #[arg(long, global = true, value_name = "N")]
    pub connections: Option<usize>,
}

/// Where the bucket's name goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PathStyle {
    /// In the host for Amazon, in the path for other endpoints
    Auto,
    /// https://HOST/BUCKET/…
    Path,
    /// https://BUCKET.HOST/…
    Virtual,
}

/// Refuses what is no URL, without repeating it: it may hold a password.
fn check_endpoint(endpoint: &str) -> Result<(), Error> {
    let host = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"));
    let why = match host {
        Some(host) if host.contains('@') => "holds a user or password; credentials have places of their own",
        Some(host) if !host.is_empty() => return Ok(()),
        Some(_) | None => "is no URL; write https://HOST or http://HOST, with :PORT if need be",
    };
    Err(Error::Invalid(format!("The store's endpoint {why}")))
}

impl StoreArgs {
    /// The engine's options: what is said here goes before what the environment says. A variable that is set and empty says nothing, but for the
    /// proxy, where it says: none.
    pub fn apply(&self, options: &mut StoreOptions) -> Result<(), Error> {
        let file = self.store_ca_file.as_ref().filter(|file| !file.is_empty());
        options.ca_file = file.map(PathBuf::from);
        if let Some(endpoint) = self.store_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) {
            check_endpoint(endpoint)?;
        }
        options.endpoint = self.store_endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        options.region = self.store_region.clone().filter(|region| !region.is_empty());
        options.path_style = match self.store_path_style {
            PathStyle::Auto => None,
            PathStyle::Path => Some(true),
            PathStyle::Virtual => Some(false),
        };
        options.proxy.clone_from(&self.store_proxy);
        options.upload_bytes_per_second = self.limit_upload.map(|limit| limit.as_u64());
        options.download_bytes_per_second = self.limit_download.map(|limit| limit.as_u64());
        if let Some(connections) = self.connections {
            options.connections = connections;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreArgs,
    }

    fn applied(arguments: &[&str]) -> Result<StoreOptions, Error> {
        let line = Line::try_parse_from([&["ararat"], arguments].concat()).unwrap();
        let mut options = StoreOptions::default();
        line.store.apply(&mut options)?;
        Ok(options)
    }

    fn options(arguments: &[&str]) -> StoreOptions {
        applied(arguments).unwrap()
    }

    #[test]
    fn every_flag_reaches_the_store() {
        let options = options(&[
            "--store-ca-file=ca.pem",
            "--store-endpoint=https://s3.example.org:9000",
            "--store-region=north",
            "--store-path-style=virtual",
            "--store-proxy=http://proxy:3128",
            "--limit-upload=1MiB",
            "--limit-download=2MiB",
            "--connections=3",
        ]);
        assert_eq!(options.ca_file, Some(PathBuf::from("ca.pem")));
        assert_eq!(options.endpoint.as_deref(), Some("https://s3.example.org:9000"));
        assert_eq!(options.region.as_deref(), Some("north"));
        assert_eq!(options.path_style, Some(false));
        assert_eq!(options.proxy.as_deref(), Some("http://proxy:3128"));
        assert_eq!(options.upload_bytes_per_second, Some(1 << 20));
        assert_eq!(options.download_bytes_per_second, Some(2 << 20));
        assert_eq!(options.connections, 3);
    }

    #[test]
    fn what_is_not_said_is_left_to_the_environment_and_an_empty_proxy_is_none() {
        let untold = options(&[]);
        assert_eq!((untold.ca_file, untold.endpoint, untold.region), (None, None, None));
        assert_eq!((untold.path_style, untold.proxy), (None, None));
        assert_eq!(options(&["--store-path-style=path"]).path_style, Some(true));
        let empty = options(&["--store-proxy=", "--store-endpoint=", "--store-ca-file="]);
        assert_eq!(empty.proxy.as_deref(), Some(""));
        assert_eq!((empty.endpoint, empty.ca_file), (None, None));
    }

    #[test]
    fn an_endpoint_is_a_url_without_a_password() {
        for wrong in ["s3.example.org", "https://", "ftp://host", "https://me:hunter2@host"] {
            let error = applied(&["--store-endpoint", wrong]).unwrap_err().to_string();
            assert!(
                error.starts_with("The store's endpoint") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
