//! Deletion: a DeleteBackupRequest takes a Backup away, with its data, its volumes' data and its Restores.
//!
//! ```text
//! New ──▶ the backup runs? cancel it, wait ──▶ a restore reads it? wait ──▶ Deleting ──▶ forget its snapshot, then its volumes'
//!                                                                                             │
//! Processed ◀── the Backup goes last ◀── Restores and PodVolumeBackups go ◀────────────────────┘
//! ```
//!
//! Each step can be done again, and the Backup goes last: whoever dies anywhere is followed by one who finds it and goes on. What was deleted is marked in the
//! repository; its space comes back with the next prune. [`expiry`] makes the requests for backups whose time has come; [`data`] is what is done in the
//! repository; [`target`] says which backup is meant.

mod data;
mod expiry;
mod target;

use std::sync::Arc;
use std::time::Duration;

use api::delete_request::{DeleteBackupRequestStatus, DeletePhase};
use api::{Backup, BackupPhase, DeleteBackupRequest, DeleteBackupRequestSpec, PodVolumeRestore, Restore, words};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use self::target::Target;
use crate::context::{Context, is_conflict, is_not_found, now};
use crate::location::sync;
use crate::tasks::Tasks;
use crate::watched::change;

/// Requests that are worked on at once.
const AT_ONCE: usize = 4;
/// How soon what is waited for is looked at again.
const RETRY: Duration = Duration::from_secs(5);
/// For so long a request that is done stays.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Where a request is after a step.
enum Step {
    /// It is done.
    Processed(Option<String>),
    /// Something is waited for.
    Waits(String),
    /// The backup was not found where it could be looked for, and somewhere it could not be.
    Unknown(String),
    /// It cannot be done.
    Failed(String),
    /// What it was made for does not hold any more: it goes, and the backup stays.
    Withdrawn(String),
}

/// Obeys every DeleteBackupRequest, and makes those for expired backups, until the process ends.
pub async fn run(context: Arc<Context>) {
    let tasks = Tasks::new(AT_ONCE);
    let mut requests = context.watches.deletions.changes();
    let mut backups = context.watches.backups.changes();
    loop {
        requests.mark_unchanged();
        backups.mark_unchanged();
        let mut waiting = false;
        for request in context.watches.deletions.all() {
            let status = request.status.clone().unwrap_or_default();
            match status.phase {
                DeletePhase::New | DeletePhase::InProgress => {
                    waiting = true;
                    let uid = request.uid().unwrap_or_default();
                    tasks.start(&uid, obey(Arc::clone(&context), Arc::clone(&request)));
                }
                DeletePhase::Processed | DeletePhase::Failed => clear_away(&context, &request, &status).await,
            }
        }
        go_on(&context).await;
        expiry::run(&context).await;
        // What is waited for need not be an object of ours: a store, for instance.
        let wait = if waiting { RETRY } else { Duration::from_secs(30) };
        tokio::select! {
            () = change(&mut requests, wait) => {}
            () = change(&mut backups, wait) => {}
        }
    }
}

/// Removes a request that has been done for an hour.
async fn clear_away(context: &Context, request: &DeleteBackupRequest, status: &DeleteBackupRequestStatus) {
    let ended = status.completion_timestamp.as_ref().map(|ended| ended.0);
    let created = request.creation_timestamp().map(|created| created.0);
    if ended
        .or(created)
        .is_some_and(|ended| now().duration_since(ended) > KEPT)
    {
        let _ = context
            .api::<DeleteBackupRequest>()
            .delete(&request.name_any(), &DeleteParams::default())
            .await;
    }
}

/// A Backup whose deletion has begun is deleted, also when somebody removed the request.
async fn go_on(context: &Context) {
    let requests = context.watches.deletions.all();
    let open = |backup: &Backup| {
        requests.iter().any(|request| {
            let is_open = request
                .status
                .as_ref()
                .is_none_or(|status| matches!(status.phase, DeletePhase::New | DeletePhase::InProgress));
            let uid = &request.spec.backup_uid;
            is_open && request.spec.backup_name == backup.name_any() && (uid.is_none() || *uid == backup.metadata.uid)
        })
    };
    for backup in context.watches.backups.all() {
        let is_deleting = backup
            .status
            .as_ref()
            .is_some_and(|status| status.phase == BackupPhase::Deleting);
        if is_deleting && !open(&backup) {
            ask(context, &backup, "again").await;
        }
    }
}

/// The name of the request to delete a Backup for a reason.
fn name_of(backup: &Backup, uid: &str, reason: &str) -> String {
    words::derived_name(&backup.name_any(), &[uid, reason])
}

/// Makes the request to delete a Backup, once for each reason.
async fn ask(context: &Context, backup: &Backup, reason: &str) {
    let uid = backup.uid().unwrap_or_default();
    let spec = DeleteBackupRequestSpec {
        backup_name: backup.name_any(),
        backup_uid: Some(uid.clone()),
    };
    let mut request = DeleteBackupRequest::new(&name_of(backup, &uid, reason), spec);
    request.metadata.labels = Some([(words::BACKUP_NAME.to_owned(), words::label_value(&backup.name_any()))].into());
    match context
        .api::<DeleteBackupRequest>()
        .create(&PostParams::default(), &request)
        .await
    {
        Err(error) if !is_conflict(&error) => {
            tracing::warn!(
                "The deletion of {} could not be asked for: {}",
                backup.name_any(),
                crate::context::say(&error)
            );
        }
        _ => {}
    }
}

/// Does one step of a request and writes what came of it.
async fn obey(context: Arc<Context>, request: Arc<DeleteBackupRequest>) {
    let name = request.name_any();
    // The one that is watched may be older than what was written a moment ago.
    let request = match context.api::<DeleteBackupRequest>().get_opt(&name).await {
        Ok(Some(newest)) if newest.uid() == request.uid() => newest,
        Ok(_) => return,
        Err(error) => return tracing::warn!("The request {name} could not be read: {}", crate::context::say(&error)),
    };
    let before = request.status.clone().unwrap_or_default();
    if matches!(before.phase, DeletePhase::Processed | DeletePhase::Failed) {
        return;
    }
    let step = match step(&context, &request).await {
        Ok(step) => step,
        Err(error) => Step::Waits(format!("{error:#}; it is tried again")),
    };
    let mut after = DeleteBackupRequestStatus {
        observed_generation: request.metadata.generation,
        ..before.clone()
    };
    (after.phase, after.message) = match step {
        Step::Processed(note) => (DeletePhase::Processed, note),
        Step::Waits(why) => (DeletePhase::InProgress, Some(why)),
        Step::Unknown(why) => (before.phase, Some(why)),
        Step::Failed(why) => (DeletePhase::Failed, Some(why)),
        Step::Withdrawn(why) => return withdraw(&context, &request, &why).await,
    };
    if matches!(after.phase, DeletePhase::Processed | DeletePhase::Failed) {
        after.completion_timestamp = Some(Time(now()));
        tracing::info!(
            "Deletion of the backup {}: {:?}{}",
            request.spec.backup_name,
            after.phase,
            after
                .message
                .as_ref()
                .map(|message| format!(": {message}"))
                .unwrap_or_default()
        );
    }
    if let Some(patch) = crate::merge::patch(&before, &after)
        && let Err(error) = context.patch_status::<DeleteBackupRequest>(&name, &patch).await
    {
        tracing::warn!(
            "The status of {name} could not be written: {}",
            crate::context::say(&error)
        );
    }
}

/// Removes a request that nobody but this controller has made, so that it can be made again when its time has come.
async fn withdraw(context: &Context, request: &DeleteBackupRequest, why: &str) {
    tracing::info!("The backup {} is not deleted: {why}", request.spec.backup_name);
    match context
        .api::<DeleteBackupRequest>()
        .delete(&request.name_any(), &DeleteParams::default())
        .await
    {
        Err(error) if !is_not_found(&error) => {
            tracing::warn!(
                "The request {} could not be removed: {}",
                request.name_any(),
                crate::context::say(&error)
            );
        }
        _ => {}
    }
}

/// Does what can be done now.
async fn step(context: &Arc<Context>, request: &DeleteBackupRequest) -> anyhow::Result<Step> {
    match target::find(context, request).await? {
        Target::Backup(backup) => delete(context, request, &backup).await,
        Target::Data(places) => {
            for (opened, uid) in &places {
                target::remember(context, request, uid).await?;
                data::forget(opened, uid, None, &[]).await?;
            }
            let names: Vec<&str> = places.iter().map(|(opened, _)| opened.location.as_str()).collect();
            Ok(Step::Processed(Some(format!(
                "There was no Backup, only its data at {}",
                names.join(" and ")
            ))))
        }
        Target::Waits(why) => Ok(Step::Waits(why)),
        // It was found once, and what was to be deleted is gone: the step before this one was the last.
        Target::Nothing { .. } if request.annotations().contains_key(words::BACKUP_UID) => Ok(Step::Processed(None)),
        Target::Nothing { why, is_certain: true } => Ok(Step::Failed(why)),
        Target::Nothing { why, is_certain: false } => Ok(Step::Unknown(why)),
    }
}

/// Deletes a Backup, as far as that is possible now.
async fn delete(context: &Arc<Context>, request: &DeleteBackupRequest, backup: &Backup) -> anyhow::Result<Step> {
    let name = backup.name_any();
    let status = backup.status.clone().unwrap_or_default();
    // One that was found in a location runs nowhere, also while its status is not written yet.
    let is_synced = sync::is_synced(backup);
    if !status.phase.is_final() && !is_synced {
        if !backup.spec.cancel {
            let cancel = Patch::Merge(json!({ "spec": { "cancel": true } }));
            context
                .api::<Backup>()
                .patch(&name, &PatchParams::default(), &cancel)
                .await?;
        }
        return Ok(Step::Waits("The backup runs; it is being stopped first".to_owned()));
    }
    let mut restores = restores_of(&context.watches.restores.all(), backup);
    if let Some(why) = still_read(&restores) {
        return Ok(Step::Waits(why));
    }
    let uid = sync::origin_uid(backup).unwrap_or_default().to_owned();
    target::remember(context, request, &uid).await?;
    let place = target::place_of(context, backup).await;
    if status.phase != BackupPhase::Deleting && expiry::is_request(request, backup) {
        if let Some(why) = expiry::objection(context, backup).await? {
            return Ok(Step::Withdrawn(why));
        }
        // This cluster may not have heard of it yet: it has just taken the location over, or somebody has tagged the snapshot.
        if let Ok(opened) = &place
            && data::is_held(opened, &uid).await?
        {
            return Ok(Step::Withdrawn("its repository says that it is held".to_owned()));
        }
    }
    match place {
        Ok(opened) => {
            if status.phase != BackupPhase::Deleting {
                context
                    .patch_status::<Backup>(&name, &json!({ "phase": BackupPhase::Deleting }))
                    .await?;
            }
            // No Restore begins from now on; one may have begun before this was written.
            let newest = context.api::<Restore>().list(&ListParams::default()).await?;
            let newest: Vec<Arc<Restore>> = newest.items.into_iter().map(Arc::new).collect();
            restores = restores_of(&newest, backup);
            if let Some(why) = still_read(&restores) {
                return Ok(Step::Waits(why));
            }
            let snapshot = status.snapshot_id.as_deref().and_then(|id| id.parse().ok());
            let records: Vec<String> = restores.iter().filter_map(|restore| restore.uid()).collect();
            data::forget(&opened, &uid, snapshot, &records).await?;
        }
        Err(why) if status.snapshot_id.is_some() || is_synced => return Ok(Step::Waits(why)),
        // Nothing was committed. What it may have left is cleared away when the location can be used.
        Err(_) => {}
    }
    for restore in &restores {
        remove_restore(context, restore).await?;
    }
    sync::remove_volumes(context, backup).await?;
    let of_it = Preconditions {
        uid: backup.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams::default().preconditions(of_it);
    match context.api::<Backup>().delete(&name, &parameters).await {
        Err(error) if !is_not_found(&error) => Err(error.into()),
        _ => Ok(Step::Processed(None)),
    }
}

/// What a backup waits for before it goes, when one of its Restores has not ended.
fn still_read(restores: &[Arc<Restore>]) -> Option<String> {
    let running = restores
        .iter()
        .find(|restore| !restore.status.as_ref().is_some_and(|status| status.phase.is_final()))?
        .name_any();
    Some(format!(
        "The Restore {running} reads it; it is deleted when that has ended, or was stopped (`ararat restore cancel {running}`)"
    ))
}

/// The Restores of a Backup.
fn restores_of(restores: &[Arc<Restore>], backup: &Backup) -> Vec<Arc<Restore>> {
    let name = backup.name_any();
    let snapshot = backup.status.as_ref().and_then(|status| status.snapshot_id.as_ref());
    let of_it = |restore: &&Arc<Restore>| {
        let status = restore.status.clone().unwrap_or_default();
        match (&status.snapshot_id, snapshot) {
            // One of an earlier backup of the same name is not of this one.
            (Some(restored), Some(snapshot)) => restored == snapshot,
            _ => status.backup_name.as_ref().or(restore.spec.backup_name.as_ref()) == Some(&name),
        }
    };
    restores.iter().filter(of_it).cloned().collect()
}

async fn remove_restore(context: &Context, restore: &Restore) -> kube::Result<()> {
    for volume in context.watches.volume_restores.all() {
        if Some(&volume.spec.restore_uid) == restore.metadata.uid.as_ref() {
            match context
                .api::<PodVolumeRestore>()
                .delete(&volume.name_any(), &DeleteParams::default())
                .await
            {
                Err(error) if !is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
    }
    match context
        .api::<Restore>()
        .delete(&restore.name_any(), &DeleteParams::default())
        .await
    {
        Err(error) if !is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use api::backup::BackupSpec;
    use api::restore::RestoreSpec;
    use api::{BackupStatus, RestoreStatus};

    use super::*;

    #[test]
    fn restores_go_with_the_backup_that_they_are_of_and_not_with_its_namesake() {
        let mut backup = Backup::new("a", BackupSpec::default());
        backup.status = Some(BackupStatus {
            snapshot_id: Some("11".to_owned()),
            ..BackupStatus::default()
        });
        let restore = |name: &str, of: &str, snapshot: Option<&str>| {
            let spec = RestoreSpec {
                backup_name: Some(of.to_owned()),
                ..RestoreSpec::default()
            };
            let mut restore = Restore::new(name, spec);
            restore.status = Some(RestoreStatus {
                snapshot_id: snapshot.map(ToOwned::to_owned),
                ..RestoreStatus::default()
            });
            Arc::new(restore)
        };
        let restores = [
            restore("mine", "a", Some("11")),
            restore("not-begun", "a", None),
            restore("namesake", "a", Some("22")),
            restore("other", "b", None),
        ];
        let names: Vec<String> = restores_of(&restores, &backup)
            .iter()
            .map(|restore| restore.name_any())
            .collect();
        assert_eq!(names, ["mine", "not-begun"]);
    }
}
