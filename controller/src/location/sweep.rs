//! What is left in a repository that nobody needs: data of volumes whose backup was never committed, records of restores that are long gone, and keys that
//! readers had for restores that have ended. Only what this cluster made is touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use api::archive::{self, KIND_BACKUP, KIND_RESTORE, KIND_VOLUME};
use api::{Backup, BackupPhase, Restore};
use engine::format::mark::MarkKind;
use engine::repository::StoredSnapshot;
use engine::words::{SessionId, Timestamp};

use super::sync::{is_held, label, origin_uid, saved};
use crate::context::{Context, engine_now};
use crate::repositories::{Opened, blocking};

/// What is younger than this may belong to somebody whose object is not seen yet.
const VOLUME_SECONDS: i64 = 3600;
/// A restore's record outlives its Restore for so long, for whoever asks later what happened.
const RESTORE_SECONDS: i64 = 30 * 24 * 3600;

/// Snapshots that nobody needs or holds, and why. `backups` and `restores` are those of this cluster, looked at before the snapshots were listed; the list must be
/// whole, for a backup that cannot be read may be the one that needs them.
pub fn orphans(
    snapshots: &[StoredSnapshot],
    backups: &[Arc<Backup>],
    restores: &[Arc<Restore>],
    cluster: &str,
    now: Timestamp,
) -> Vec<(SessionId, &'static str)> {
    let mut needed: BTreeSet<&str> = saved(snapshots).iter().map(|saved| saved.uid).collect();
    let runs = |backup: &&Arc<Backup>| {
        let phase = backup.status.as_ref().map_or(BackupPhase::New, |status| status.phase);
        // One that is being deleted takes care of its own.
        !phase.is_final() || phase == BackupPhase::Deleting
    };
    needed.extend(backups.iter().filter(runs).filter_map(|backup| origin_uid(backup)));
    let restores: BTreeSet<&str> = restores
        .iter()
        .filter_map(|restore| restore.metadata.uid.as_deref())
        .collect();
    let is_cancelled = |backup: &&Arc<Backup>| {
        let phase = backup.status.as_ref().map(|status| status.phase);
        phase == Some(BackupPhase::Canceled)
    };
    let cancelled: BTreeSet<&str> = backups
        .iter()
        .filter(is_cancelled)
        .filter_map(|backup| origin_uid(backup))
        .collect();
    let ours = snapshots
        .iter()
        .filter(|snapshot| snapshot.summary.host == cluster.as_bytes() && !is_held(snapshot));
    let judged = ours.filter_map(|snapshot| {
        let uid = label(snapshot, archive::LABEL_UID)?;
        let age = now.seconds_since(snapshot.summary.time);
        match label(snapshot, archive::LABEL_KIND)? {
            KIND_VOLUME if age > VOLUME_SECONDS && !needed.contains(uid) => {
                Some((snapshot.id, "its backup was not committed"))
            }
            // It was committed all the same, by who did not hear of it in time; when its object is gone, it would come back as one that is good.
            KIND_BACKUP if cancelled.contains(uid) => Some((snapshot.id, "its Backup was cancelled")),
            KIND_RESTORE if age > RESTORE_SECONDS && !restores.contains(uid) => {
                Some((snapshot.id, "its Restore is gone"))
            }
            _ => None,
        }
    });
    judged.collect()
}

/// Restores, by UID, that have keys among slots with these labels and need them no longer.
pub fn ended_restores(labels: &[String], restores: &[Arc<Restore>], cluster: &str) -> BTreeSet<String> {
    let suffix = format!(" of cluster {cluster}");
    let uids = labels
        .iter()
        .filter_map(|label| label.strip_prefix("restore ")?.strip_suffix(&suffix));
    let runs = |uid: &str| {
        let restore = restores
            .iter()
            .find(|restore| restore.metadata.uid.as_deref() == Some(uid));
        restore.is_some_and(|restore| !restore.status.as_ref().is_some_and(|status| status.phase.is_final()))
    };
    uids.filter(|uid| !runs(uid)).map(ToOwned::to_owned).collect()
}

/// Forgets snapshots; their space comes back with the next prune.
///
/// # Errors
/// What the store says.
pub async fn forget(opened: &Arc<Opened>, orphans: Vec<(SessionId, &'static str)>) -> Result<()> {
    let opened = Arc::clone(opened);
    blocking(move || {
        for (snapshot, reason) in orphans {
            tracing::info!(
                "Forgetting the snapshot {} at {}: {reason}",
                snapshot.short(),
                opened.location
            );
            opened.repository.mark(
                snapshot,
                MarkKind::Forget {
                    reason: reason.to_owned(),
                },
                engine_now(),
            )?;
        }
        Ok(())
    })
    .await?
}

/// Takes back the keys of readers whose restore has ended.
///
/// # Errors
/// What the store or the API server says.
pub async fn readers(context: &Context, opened: &Arc<Opened>) -> Result<()> {
    let held = Arc::clone(opened);
    let slots = blocking(move || held.repository.slots()).await??;
    let labels: Vec<String> = slots
        .iter()
        .filter_map(|slot| Some(slot.note.as_ref()?.label.clone()))
        .collect();
    // Looked at after the slots: whoever has a slot was there before.
    let restores = context.watches.restores.all();
    for uid in ended_restores(&labels, &restores, &context.cluster) {
        context.repositories.end_restore(opened, &uid).await?;
        // The Secret may have been gone before the slot.
        let label = format!("restore {uid} of cluster {}", context.cluster);
        let names: Vec<String> = slots
            .iter()
            .filter(|slot| slot.note.as_ref().is_some_and(|note| note.label == label))
            .map(|slot| slot.name.clone())
            .collect();
        let held = Arc::clone(opened);
        blocking(move || -> Result<()> {
            let left = held.repository.slots()?;
            for name in names.iter().filter(|name| left.iter().any(|slot| slot.name == **name)) {
                held.repository.remove_slot(name)?;
            }
            Ok(())
        })
        .await??;
        tracing::info!("Took back the key of the restore {uid} at {}", opened.location);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use api::backup::BackupSpec;
    use api::restore::RestoreSpec;
    use api::{BackupStatus, RestorePhase, RestoreStatus};
    use engine::format::snapshot::Summary;

    use super::*;

    const NOW: i64 = 100 * 24 * 3600;

    fn snapshot(number: u8, kind: &str, uid: &str, host: &str, age: i64) -> StoredSnapshot {
        let labels = [
            (archive::LABEL_KIND, kind),
            (archive::LABEL_UID, uid),
            (archive::LABEL_NAME, "a"),
        ];
        StoredSnapshot {
            id: SessionId([number; 16]),
            summary: Summary {
                time: Timestamp::new(NOW - age, 0),
                host: host.as_bytes().to_vec(),
                labels: labels
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                ..Summary::default()
            },
            record: None,
        }
    }

    fn backup(uid: &str, phase: BackupPhase) -> Arc<Backup> {
        let mut backup = Backup::new("a", BackupSpec::default());
        backup.metadata.uid = Some(uid.to_owned());
        backup.status = Some(BackupStatus {
            phase,
            ..BackupStatus::default()
        });
        Arc::new(backup)
    }

    fn restore(uid: &str, phase: RestorePhase) -> Arc<Restore> {
        let mut restore = Restore::new("a", RestoreSpec::default());
        restore.metadata.uid = Some(uid.to_owned());
        restore.status = Some(RestoreStatus {
            phase,
            ..RestoreStatus::default()
        });
        Arc::new(restore)
    }

    #[test]
    fn only_our_own_old_data_that_no_backup_needs_is_forgotten() {
        let day = 24 * 3600;
        let mut held = snapshot(15, KIND_VOLUME, "lost", "we", 2 * day);
        held.summary.tags.push(archive::TAG_HOLD.to_owned());
        let snapshots = [
            snapshot(1, KIND_VOLUME, "committed", "we", 2 * day),
            snapshot(2, archive::KIND_BACKUP, "committed", "we", 2 * day),
            snapshot(3, KIND_VOLUME, "lost", "we", 2 * day),
            snapshot(4, KIND_VOLUME, "lost", "we", 60),
            snapshot(5, KIND_VOLUME, "lost", "they", 2 * day),
            snapshot(6, KIND_VOLUME, "running", "we", 2 * day),
            snapshot(7, KIND_VOLUME, "failed", "we", 2 * day),
            snapshot(8, KIND_VOLUME, "deleting", "we", 2 * day),
            snapshot(9, KIND_RESTORE, "gone", "we", 40 * day),
            snapshot(10, KIND_RESTORE, "there", "we", 40 * day),
            snapshot(11, KIND_RESTORE, "gone", "we", day),
            snapshot(12, archive::KIND_OWNER, "gone", "we", 90 * day),
            snapshot(13, KIND_BACKUP, "cancelled", "we", 60),
            snapshot(14, KIND_BACKUP, "cancelled", "they", 60),
            held,
        ];
        let backups = [
            backup("running", BackupPhase::InProgress),
            backup("failed", BackupPhase::Failed),
            backup("deleting", BackupPhase::Deleting),
            backup("cancelled", BackupPhase::Canceled),
        ];
        let restores = [restore("there", RestorePhase::Completed)];
        let found = orphans(&snapshots, &backups, &restores, "we", Timestamp::new(NOW, 0));
        let numbers: Vec<u8> = found.iter().map(|(id, _)| id.0[0]).collect();
        assert_eq!(numbers, [3, 7, 9, 13]);
    }

    #[test]
    fn keys_of_ended_restores_of_this_cluster_are_taken_back() {
        let labels = [
            "owner",
            "agents of cluster we",
            "restore r1 of cluster we",
            "restore r2 of cluster we",
            "restore r3 of cluster we",
            "restore r4 of cluster they",
        ];
        let labels = labels.map(ToOwned::to_owned);
        let restores = [
            restore("r1", RestorePhase::InProgress),
            restore("r2", RestorePhase::Failed),
        ];
        let ended: Vec<String> = ended_restores(&labels, &restores, "we").into_iter().collect();
        assert_eq!(ended, ["r2", "r3"]);
    }
}
