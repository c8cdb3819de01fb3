//! Reading from a location itself, with no cluster.

use std::path::PathBuf;

use super::{Global, RepositoryArgs, StoreArgs};
use crate::session::Session;

/// Reading from a location itself, with no cluster.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "With no cluster")]
pub struct FromLocationArgs {
    /// Read from the location itself, with no cluster: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or a path
    #[arg(long, value_name = "URL")]
    from_location: Option<String>,
    /// The file with the repository's key: a recovery sheet is one (or ARARAT_KEY_FILE)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The folder for caches
    #[arg(long, env = "ARARAT_CACHE_DIR", value_name = "FOLDER")]
    cache_dir: Option<PathBuf>,
    /// Keep no cache
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl FromLocationArgs {
    /// The repository to read from, if one was named.
    pub fn session(&self, global: &Global) -> anyhow::Result<Option<Session>> {
        let Some(url) = &self.from_location else {
            return Ok(None);
        };
        let repository = RepositoryArgs {
            repo: Some(url.clone()),
            key_file: self.key_file.clone(),
            password_file: None,
            password_command: None,
            cache_dir: self.cache_dir.clone(),
            no_cache: self.no_cache,
            cache_limit: None,
            store: self.store.clone(),
        };
        Session::new(global.clone(), repository).map(Some)
    }
}
