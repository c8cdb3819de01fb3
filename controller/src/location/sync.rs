//! Sync: the repository is what is true, and Backups are made and removed after it.
//!
//! A snapshot of a backup that no Backup stands for gets one, from its own record; a Backup that could be restored and whose snapshot is gone is removed.
//! [`plan`] decides, purely; [`record`] makes the object. What is being deleted is left to [`crate::deletion`].

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use api::archive::{self, Record};
use api::delete_request::DeletePhase;
use api::{Backup, BackupPhase, BackupStatus, DeleteBackupRequest, PodVolumeBackup, words};
use engine::repository::{Repository, StoredSnapshot};
use engine::verbs::read::read;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use crate::backup::SYNCED;
use crate::context::{Context, is_conflict, is_not_found};
use crate::repositories::{Opened, blocking};

/// A snapshot of a backup, as a listing shows it.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The snapshot.
    pub snapshot: &'a StoredSnapshot,
    /// The name of its Backup.
    pub name: &'a str,
    /// The UID of its Backup in the cluster that made it.
    pub uid: &'a str,
}

impl Saved<'_> {
    /// Whether the repository says that it is held.
    pub fn is_held(&self) -> bool {
        is_held(self.snapshot)
    }
}

/// Whether a snapshot bears the tag of what is held.
pub fn is_held(snapshot: &StoredSnapshot) -> bool {
    snapshot.summary.tags.iter().any(|tag| tag == archive::TAG_HOLD)
}

/// The value of a snapshot's label.
pub fn label<'a>(snapshot: &'a StoredSnapshot, name: &str) -> Option<&'a str> {
    let labels = &snapshot.summary.labels;
    labels
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// The backups among snapshots.
pub fn saved(snapshots: &[StoredSnapshot]) -> Vec<Saved<'_>> {
    let backups = snapshots.iter().filter(|snapshot| !snapshot.summary.incomplete);
    let backups = backups.filter(|snapshot| label(snapshot, archive::LABEL_KIND) == Some(archive::KIND_BACKUP));
    let named = backups.filter_map(|snapshot| {
        Some(Saved {
            snapshot,
            name: label(snapshot, archive::LABEL_NAME)?,
            uid: label(snapshot, archive::LABEL_UID)?,
        })
    });
    named.collect()
}

/// Whether a Backup was found in a location, and not asked for here.
pub fn is_synced(backup: &Backup) -> bool {
    backup.annotations().contains_key(SYNCED)
}

/// Whether a Backup was made by this cluster; it may have been lost here and found again.
pub fn is_of(backup: &Backup, cluster: &str) -> bool {
    let from = backup.annotations().get(record::SYNCED_FROM).map(String::as_str);
    !is_synced(backup) || from == Some(cluster)
}

/// The UID that a Backup's snapshots bear: that of the Backup in the cluster that made it. Anybody may write labels on a Backup; only those of one that was
/// found in a location are ours.
pub fn origin_uid(backup: &Backup) -> Option<&str> {
    let origin = backup
        .labels()
        .get(words::BACKUP_UID)
        .or_else(|| backup.annotations().get(words::BACKUP_UID))
        .filter(|_| is_synced(backup));
    origin.or(backup.metadata.uid.as_ref()).map(String::as_str)
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Backups that are made, with their names.
    pub create: Vec<(Saved<'a>, String)>,
    /// Backups that were made and have no status yet.
    pub finish: Vec<(Saved<'a>, String)>,
    /// Backups of this location that can be restored, with their snapshots: what the one and the other say of holding it is compared.
    pub here: Vec<(Saved<'a>, Arc<Backup>)>,
    /// Backups whose data is gone.
    pub remove: Vec<Arc<Backup>>,
}

/// Decides. `backups` must have been looked at before the snapshots were listed; `whole` says that nothing may be missing from that list.
pub fn plan<'a>(
    saved: &[Saved<'a>],
    backups: &[Arc<Backup>],
    deletions: &[Arc<DeleteBackupRequest>],
    location: &str,
    whole: bool,
) -> Plan<'a> {
    let mut plan = Plan::default();
    let by_uid: BTreeMap<&str, &Arc<Backup>> = backups
        .iter()
        .filter_map(|backup| Some((origin_uid(backup)?, backup)))
        .collect();
    let by_snapshot: BTreeMap<&str, &Arc<Backup>> = backups
        .iter()
        .filter_map(|backup| Some((backup.status.as_ref()?.snapshot_id.as_deref()?, backup)))
        .collect();
    let mut taken: BTreeSet<String> = backups.iter().map(|backup| backup.name_any()).collect();
    let mut done = BTreeSet::new();
    // Of two snapshots of one Backup the newest counts.
    for saved in saved.iter().rev() {
        if !done.insert(saved.uid) {
            continue;
        }
        let known = by_snapshot
            .get(saved.snapshot.id.to_string().as_str())
            .or_else(|| by_uid.get(saved.uid));
        match known {
            Some(backup) => {
                let phase = backup.status.as_ref().map_or(BackupPhase::New, |status| status.phase);
                if phase == BackupPhase::New && is_synced(backup) {
                    plan.finish.push((*saved, backup.name_any()));
                }
                let is_here = |status: &BackupStatus| status.storage_location.as_deref() == Some(location);
                if phase.is_restorable() && backup.status.as_ref().is_some_and(is_here) {
                    plan.here.push((*saved, Arc::clone(backup)));
                }
            }
            None if deletions.iter().any(|deletion| means(deletion, saved)) => {}
            None => {
                if let Some(name) = free_name(saved, &taken) {
                    taken.insert(name.clone());
                    plan.create.push((*saved, name));
                }
            }
        }
    }
    if whole {
        let snapshots: BTreeSet<String> = saved.iter().map(|saved| saved.snapshot.id.to_string()).collect();
        let is_gone = |backup: &&Arc<Backup>| {
            backup.status.as_ref().is_some_and(|status| {
                status.phase.is_restorable()
                    && status.storage_location.as_deref() == Some(location)
                    && status
                        .snapshot_id
                        .as_ref()
                        .is_some_and(|snapshot| !snapshots.contains(snapshot))
            })
        };
        plan.remove = backups.iter().filter(is_gone).cloned().collect();
    }
    plan
}

/// Whether a request deletes this backup, or has: it may be listed for a moment longer.
fn means(deletion: &DeleteBackupRequest, saved: &Saved<'_>) -> bool {
    let uids = [
        deletion.spec.backup_uid.as_ref(),
        deletion.annotations().get(words::BACKUP_UID),
    ];
    let status = deletion.status.clone().unwrap_or_default();
    if uids.into_iter().flatten().any(|uid| uid == saved.uid) {
        return status.phase != DeletePhase::Failed;
    }
    let ended = status.completion_timestamp.map(|ended| ended.0.as_nanosecond());
    deletion.spec.backup_name == saved.name
        && deletion.spec.backup_uid.is_none()
        && match status.phase {
            DeletePhase::New | DeletePhase::InProgress => true,
            DeletePhase::Processed => ended.is_some_and(|ended| i128::from(saved.snapshot.summary.time.0) <= ended),
            DeletePhase::Failed => false,
        }
}

/// The name of a Backup: its own, or with digits of its UID when another has that.
fn free_name(saved: &Saved<'_>, taken: &BTreeSet<String>) -> Option<String> {
    let digits: String = saved.uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let names = [
        saved.name.to_owned(),
        format!("{}-{digits}", saved.name),
        words::derived_name(saved.name, &[saved.uid]),
    ];
    names.into_iter().find(|name| !taken.contains(name))
}

/// Does what was decided. Gives how many Backups were made and removed.
///
/// # Errors
/// What could not be done, the first of it; the rest is done all the same.
pub async fn act(context: &Context, opened: &Arc<Opened>, plan: Plan<'_>) -> Result<(usize, usize)> {
    let (mut made, mut removed, mut failed) = (0, 0, None);
    for (saved, name) in plan.create.iter().chain(&plan.finish) {
        match make(context, opened, saved, name).await {
            Ok(()) => made += 1,
            Err(error) => {
                let error = error.context(format!(
                    "The backup {} (snapshot {}) could not be taken over",
                    saved.name,
                    saved.snapshot.id.short()
                ));
                tracing::warn!("{error:#}");
                failed.get_or_insert(error);
            }
        }
    }
    for backup in &plan.remove {
        match remove(context, backup).await {
            Ok(()) => removed += 1,
            Err(error) => {
                failed.get_or_insert(
                    anyhow::Error::from(error)
                        .context(format!("The Backup {} could not be removed", backup.name_any())),
                );
            }
        }
    }
    match failed {
        None => Ok((made, removed)),
        Some(error) => Err(error),
    }
}

/// Makes the Backup, or finishes one that was made: its status comes after it, and whoever is killed in between is followed by one who goes on here.
async fn make(context: &Context, opened: &Arc<Opened>, saved: &Saved<'_>, name: &str) -> Result<()> {
    let (held, snapshot) = (Arc::clone(opened), saved.snapshot.clone());
    let record = blocking(move || read_record(&held.repository, &snapshot)).await??;
    let (backup, status) = record::backup_of(&record, saved, name, &context.args.namespace, &opened.location);
    match context.api::<Backup>().create(&PostParams::default(), &backup).await {
        Ok(_) => {}
        Err(error) if is_conflict(&error) => {
            // It is ours if it stands for the same backup; otherwise the next sync finds another name.
            let known = context.api::<Backup>().get(name).await?;
            let ours = origin_uid(&known) == Some(saved.uid) && is_synced(&known);
            let is_new = known
                .status
                .as_ref()
                .is_none_or(|status| status.phase == BackupPhase::New);
            if !(ours && is_new) {
                return Ok(());
            }
            // Whether it is held may have changed since somebody began it.
            if known.spec.hold != backup.spec.hold {
                let hold = json!({ "metadata": { "resourceVersion": known.resource_version() }, "spec": { "hold": backup.spec.hold } });
                let parameters = PatchParams::default();
                context
                    .api::<Backup>()
                    .patch(name, &parameters, &Patch::Merge(hold))
                    .await?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    context.patch_status::<Backup>(name, &status).await?;
    Ok(())
}

/// The record in a backup's snapshot.
///
/// # Errors
/// What the store says; a record that is missing, damaged or of a newer layout.
pub fn read_record(repository: &Repository, snapshot: &StoredSnapshot) -> Result<Record> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let mut document = None;
    read(repository, snapshot, archive::RECORD.as_bytes(), &mut |_, content| {
        document = Some(content.to_vec());
        Ok(())
    })?;
    let document = document.with_context(|| format!("It has no {}", archive::RECORD))?;
    // The layout is known before the rest is read, which may be of another one.
    let Format { format } =
        serde_json::from_slice(&document).with_context(|| format!("Its {} cannot be read", archive::RECORD))?;
    if format > archive::FORMAT {
        bail!(
            "It was written by a newer version of Ararat (layout {format}, this one knows {}); install a newer version",
            archive::FORMAT
        );
    }
    serde_json::from_slice(&document).with_context(|| format!("Its {} cannot be read", archive::RECORD))
}

/// Removes a Backup and what belongs to it, and no data.
async fn remove(context: &Context, backup: &Backup) -> kube::Result<()> {
    remove_volumes(context, backup).await?;
    let parameters = DeleteParams {
        // The very one that was looked at: nothing has happened to it since.
        preconditions: Some(Preconditions {
            resource_version: backup.resource_version(),
            uid: backup.uid(),
        }),
        ..DeleteParams::default()
    };
    match context.api::<Backup>().delete(&backup.name_any(), &parameters).await {
        Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Removes the PodVolumeBackups of a Backup.
///
/// # Errors
/// What the API server says.
pub async fn remove_volumes(context: &Context, backup: &Backup) -> kube::Result<()> {
    for volume in context.watches.volume_backups.all() {
        if Some(&volume.spec.backup_uid) == backup.metadata.uid.as_ref() {
            match context
                .api::<PodVolumeBackup>()
                .delete(&volume.name_any(), &DeleteParams::default())
                .await
            {
                Err(error) if !is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "sync/tests.rs"]
mod tests;
