//! The init container of a pod whose own volumes are restored: it waits until the agent has filled them. [`marker`] says how.
//!
//! It runs as an ordinary user, and the folders get back the owners and modes that they had. Those are set last of all: a folder that this user may not look
//! into any longer is filled, and a mark that it may not remove stays. So a folder of the node may bear the mark of an earlier pod. A mark says whose it is,
//! and which pod this is stands in the paths of what the kubelet mounts into every container.

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
    let pod_uid = std::fs::read_to_string("/proc/self/mountinfo");
    let pod_uid = pod_uid.ok().and_then(|mounts| pod_uid_of(&mounts));
    runtime.context("Could not wait")?.block_on(async {
        tokio::select! {
            waited = wait_for(&args.folders, pod_uid.as_deref()) => waited,
            told = hold::told_to_end() => told.and_then(|()| anyhow::bail!("Told to end before every volume was restored")),
        }
    })
}

/// The UID of the pod whose mounts these are. A runtime that keeps them to itself (a virtual machine) does not say: then every mark that says that a folder
/// is filled counts, as far as this is concerned.
fn pod_uid_of(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|mount| {
        let mut fields = mount.split(' ').skip(3);
        let (source, target) = (fields.next()?, fields.next()?);
        if !matches!(target, "/etc/hosts" | "/dev/termination-log") {
            return None;
        }
        // …/pods/UID/etc-hosts and …/pods/UID/containers/NAME/NUMBER, below whatever the file system has them in.
        let parts: Vec<&str> = source.split('/').collect();
        let pods = parts.iter().rposition(|part| *part == "pods")?;
        parts.get(pods + 1).map(|uid| (*uid).to_owned())
    })
}

async fn wait_for(folders: &[PathBuf], pod_uid: Option<&str>) -> Result<()> {
    let mut missing = folders.to_vec();
    let mut reminded = Instant::now();
    loop {
        missing = still_missing(missing, pod_uid)?;
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
    folders.iter().for_each(|folder| remove_mark(folder, pod_uid));
    tracing::info!("Every volume is restored");
    Ok(())
}

fn still_missing(folders: Vec<PathBuf>, pod_uid: Option<&str>) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for folder in folders {
        let is_filled = match marker::was_filled(&folder, pod_uid) {
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
fn remove_mark(folder: &Path, pod_uid: Option<&str>) {
    if marker::stays(folder, pod_uid).unwrap_or(false) {
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
    use crate::marker::samples::{of, owner};

    async fn waits(folders: &[PathBuf]) -> bool {
        tokio::time::timeout(Duration::from_millis(500), wait_for(folders, Some("uid-1")))
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
        marker::begin(&folders[0], &owner()).unwrap();
        std::fs::write(folders[0].join("data"), "data").unwrap();
        assert!(waits(&folders[..1]).await, "it is being filled");
        marker::finish(&folders[0]).unwrap();
        assert!(waits(&folders).await, "the second is not there");
        marker::begin(&folders[1], &owner()).unwrap();
        marker::finish(&folders[1]).unwrap();
        assert!(!waits(&folders).await);
        assert!(!folders[0].join(marker::RESTORED).exists());
        assert!(!waits(&folders).await, "the node was started anew");
    }

    /// A folder of the node that is root's keeps the mark of the pod before, since nobody else may remove it; this pod went on without its data.
    #[tokio::test]
    async fn what_a_pod_before_has_left_in_an_empty_folder_does_not_end_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        std::fs::create_dir(folders[0].join("lost+found")).unwrap();
        assert!(waits(&folders).await, "a file system was born with it");
        marker::begin(&folders[0], &of("older-uid", "older-pod")).unwrap();
        assert!(waits(&folders).await, "somebody else fills it");
        marker::finish(&folders[0]).unwrap();
        assert!(waits(&folders).await, "it was filled for another pod, and emptied");
        marker::begin(&folders[0], &owner()).unwrap();
        assert!(waits(&folders).await, "the agent has begun");
        marker::finish(&folders[0]).unwrap();
        assert!(!waits(&folders).await, "nothing was in the snapshot");
        assert!(!waits(&folders).await, "the node was started anew");
        // Two pods have one folder: each sees what was said to it.
        marker::begin(&folders[0], &of("restore-uid", "uid-2")).unwrap();
        std::fs::write(folders[0].join("data"), "data").unwrap();
        assert!(waits(&folders).await, "the other pod's is being filled");
        marker::finish(&folders[0]).unwrap();
        assert!(!waits(&folders).await);
        assert!(
            folders[0].join(marker::RESTORED).exists(),
            "the other pod has not seen it"
        );
    }

    #[tokio::test]
    async fn a_mark_of_an_agent_that_wrote_nothing_into_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        std::fs::write(folders[0].join(marker::RESTORED), "").unwrap();
        assert!(!waits(&folders).await);
    }

    #[test]
    fn the_kubelets_mounts_tell_the_pod() {
        let of = |source: &str, target: &str| {
            let mounts = format!(
                "1 0 0:1 / / rw - overlay overlay rw\n2 1 8:1 /data/pods/theirs/x /restores/x rw - ext4 /dev/sda1 rw\n3 1 8:1 {source} {target} rw - ext4 /dev/sda1 rw\n"
            );
            pod_uid_of(&mounts)
        };
        let uid = Some("1b-2c".to_owned());
        assert_eq!(of("/var/lib/kubelet/pods/1b-2c/etc-hosts", "/etc/hosts"), uid);
        assert_eq!(of("/srv/pods/a/kubelet/pods/1b-2c/etc-hosts", "/etc/hosts"), uid);
        let log = "/pods/1b-2c/containers/restore-wait/0f1e";
        assert_eq!(of(log, "/dev/termination-log"), uid);
        assert_eq!(of("/containers/1b-2c/hosts", "/etc/hosts"), None);
        assert_eq!(of(log, "/restores/y"), None);
        assert_eq!(pod_uid_of(""), None);
    }
}
