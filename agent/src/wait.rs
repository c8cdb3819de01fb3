//! The init container of a pod whose emptyDir volumes are restored: it waits until the agent has filled them. [`marker`] says how.
//!
//! It runs as an ordinary user, and the folders get back the owners and modes that they had. Those are set last of all: a folder that this user may not look
//! into any longer is filled, and a mark that it may not remove stays.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::args::WaitArgs;
use crate::{hold, marker};

const POLL: Duration = Duration::from_millis(200);
const REMIND: Duration = Duration::from_secs(60);

/// Waits until every folder is filled; gives up when told to end.
///
/// # Errors
/// When it was told to end, or a folder cannot be read at all.
pub fn wait(args: &WaitArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("Could not wait")?.block_on(async {
        tokio::select! {
            waited = wait_for(&args.folders) => waited,
            told = hold::told_to_end() => told.and_then(|()| anyhow::bail!("Told to end before every volume was restored")),
        }
    })
}

async fn wait_for(folders: &[PathBuf]) -> Result<()> {
    let mut missing = folders.to_vec();
    let mut reminded = Instant::now();
    loop {
        missing = still_missing(missing)?;
        if missing.is_empty() {
            break;
        }
        if reminded.elapsed() >= REMIND {
            reminded = Instant::now();
            let names: Vec<String> = missing.iter().map(|folder| folder.display().to_string()).collect();
            tracing::info!("Still waiting for the agent to restore {}", names.join(", "));
        }
        tokio::time::sleep(POLL).await;
    }
    folders.iter().for_each(|folder| remove_mark(folder));
    tracing::info!("Every volume is restored");
    Ok(())
}

fn still_missing(folders: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for folder in folders {
        let is_filled = match marker::was_filled(&folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => true,
            looked => looked.with_context(|| format!("Could not look into {}", folder.display()))?,
        };
        if !is_filled {
            missing.push(folder);
        }
    }
    Ok(missing)
}

/// Removes the mark, unless there is nothing else: an empty folder would be waited for when this is run again.
fn remove_mark(folder: &Path) {
    let is_alone = || Ok::<_, io::Error>(std::fs::read_dir(folder)?.nth(1).is_none());
    if is_alone().unwrap_or(false) {
        return;
    }
    match std::fs::remove_file(folder.join(marker::RESTORED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::info!("{} stays in {}: {error}", marker::RESTORED, folder.display());
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    async fn waits(folders: &[PathBuf]) -> bool {
        tokio::time::timeout(Duration::from_millis(500), wait_for(folders))
            .await
            .map(Result::unwrap)
            .is_err()
    }

    #[tokio::test]
    async fn it_waits_for_every_folder_and_not_again_when_it_is_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["full", "empty"].map(|name| folder.path().join(name));
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        assert!(waits(&folders).await, "nothing is there");
        marker::begin(&folders[0]).unwrap();
        std::fs::write(folders[0].join("data"), "data").unwrap();
        assert!(waits(&folders[..1]).await, "it is being filled");
        marker::finish(&folders[0]).unwrap();
        assert!(waits(&folders).await, "the second is not there");
        marker::begin(&folders[1]).unwrap();
        marker::finish(&folders[1]).unwrap();
        assert!(!waits(&folders).await);
        assert!(!folders[0].join(marker::RESTORED).exists());
        assert!(!waits(&folders).await, "the node was started anew");
    }
}
