//! `ararat repo cache`: what this machine keeps of repositories, and how to be rid of it. No repository is opened and no key asked for.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Subcommand;
use engine::store::cache::BYTES_MAX;
use engine::store::cache::folders::{self, CacheFolder};
use engine::words::Error;

use crate::output::show;
use crate::session::{self, Session};

/// Say what this machine keeps of repositories, or remove it.
///
/// Copies of objects (for repositories in a cloud) and of the index make commands faster. Removing them costs time, never data.
#[derive(clap::Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Subcommand)]
enum CacheCommand {
    /// List what is kept of each repository: where it is, how much, and when it was used last
    List,
    /// Remove what is kept of the repository that -r names
    Clear(Clear),
}

#[derive(clap::Args)]
struct Clear {
    /// Of every repository
    #[arg(long, conflicts_with = "older_than")]
    all: bool,
    /// Of every repository that was not used for so long, e.g. 30d
    #[arg(long, value_name = "DURATION", value_parser = session::duration)]
    older_than: Option<i64>,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl CacheArgs {
    /// Lists, or removes.
    pub fn run(self, session: &Session) -> Result<u8> {
        let Some(cache) = session.cache_folder() else {
            bail!(Error::Invalid(
                "There is no cache folder: --no-cache was given, or your home folder is not known".into()
            ));
        };
        match self.command {
            CacheCommand::List => list(session, &cache),
            CacheCommand::Clear(clear) => clear.run(session, &cache),
        }
    }
}

fn list(session: &Session, cache: &Path) -> Result<u8> {
    let found = folders::list(cache)?;
    let limit = session.cache_limit().unwrap_or(BYTES_MAX);
    if session.global.json {
        show::json(&serde_json::json!({
            "folder": cache.to_string_lossy(),
            "limit_bytes": limit,
            "bytes": bytes(&found),
            "repositories": found.iter().map(json).collect::<Vec<_>>(),
        }))?;
        return Ok(0);
    }
    print(&found)?;
    show::line(&format!(
        "{} in {}; the objects of each repository take at most {}",
        show::bytes(bytes(&found)),
        show::safe(&cache.to_string_lossy()),
        show::bytes(limit)
    ))?;
    Ok(0)
}

impl Clear {
    fn run(self, session: &Session, cache: &Path) -> Result<u8> {
        let mut found = folders::list(cache)?;
        match (self.all, self.older_than) {
            (true, _) => {}
            (false, Some(seconds)) => {
                let now = session::now();
                found.retain(|folder| now.seconds_since(folder.used) > seconds);
            }
            (false, None) => {
                let location = session.location()?.to_string();
                found.retain(|folder| folder.location.as_ref() == Some(&location));
            }
        }
        if !self.dry_run {
            for folder in &found {
                folders::remove(cache, folder)?;
            }
        }
        if session.global.json {
            show::json(&serde_json::json!({
                "removed": found.iter().map(json).collect::<Vec<_>>(),
                "bytes": bytes(&found),
            }))?;
        } else if !session.global.quiet {
            print(&found)?;
            let would = if self.dry_run { "would be " } else { "" };
            show::line(&match (found.len(), self.all, self.older_than) {
                (0, false, None) => format!("Nothing is kept of {}", show::safe(&session.location()?.to_string())),
                (_, _, _) => format!("{} {would}removed", show::bytes(bytes(&found))),
            })?;
        }
        Ok(0)
    }
}

fn bytes(found: &[CacheFolder]) -> u64 {
    found.iter().map(|folder| folder.bytes).sum()
}

fn json(folder: &CacheFolder) -> serde_json::Value {
    serde_json::json!({
        "repository": folder.repository.to_string(),
        "location": folder.location,
        "path": folder.path.to_string_lossy(),
        "files": folder.files,
        "bytes": folder.bytes,
        "used": show::time_json(folder.used),
    })
}

fn print(found: &[CacheFolder]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let mut table = show::table(&["repository", "size", "last use", "location"]);
    show::to_the_right(&mut table, &[1]);
    for folder in found {
        table.add_row([
            folder.repository.to_string(),
            show::bytes(folder.bytes),
            show::time(folder.used),
            folder.location.as_deref().map_or_else(|| "?".to_owned(), show::safe),
        ]);
    }
    show::line(&table.trim_fmt())
}
