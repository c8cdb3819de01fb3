//! The steps of one Backup: looked at, volumes read, objects and records committed. Each step finds out what was done before, so a controller that takes over goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use api::backup::VolumeAction;
use api::condition::{self, Said};
use api::{Backup, BackupPhase, BackupStatus, duration, words};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::hooks::HookState;
use super::survey::Survey;
use super::{commit, groups, hooks, volumes};
use crate::context::{Context, is_passing, is_servers_trouble, now};
use crate::issues::Issues;
use crate::location;
use crate::repositories::Opened;
use crate::volumes::choose::{Cluster, choose};
use crate::watched::change;

/// Keeps a running Backup's object until its hooks are closed.
const FINALIZER: &str = "ararat.dev/backup";
/// A backup without a word on it lives so long.
const TTL: Duration = Duration::from_secs(720 * 3600);
/// How long a location that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1800);

/// One Backup that is being made.
pub(super) struct Work {
    pub(super) context: Arc<Context>,
    pub(super) backup: Backup,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) location: String,
    /// Why there is no location that it could go to.
    no_location: Option<String>,
    pub(super) issues: Issues,
    pub(super) hooks: Mutex<HookState>,
    /// Held while that is written down.
    pub(super) writing_hooks: tokio::sync::Mutex<()>,
}

/// How a backup ended before its end.
enum Stop {
    Invalid(Vec<String>),
    Cancelled,
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes a Backup, from wherever it is, to its end.
pub(super) async fn work(context: Arc<Context>, seen: Arc<Backup>) {
    let name = seen.name_any();
    let api: Api<Backup> = context.api();
    // What the watch has shown may be behind what was written down last.
    let backup = loop {
        match api.get_opt(&name).await {
            Ok(Some(backup)) if backup.uid() == seen.uid() => break backup,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!("Could not read the Backup {name}: {}", crate::context::say(&error));
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    };
    let status = backup.status.clone().unwrap_or_default();
    if status.phase.is_final() {
        let _ = set_finalizer(&context, &backup, false).await;
        return;
    }
    let named = backup.spec.storage_location.clone().or(status.storage_location.clone());
    let location = location::chosen(&context.watches.locations.all(), named.as_deref());
    let (location, no_location) = match location {
        Ok(location) => (location.name_any(), None),
        Err(why) => (named.unwrap_or_default(), Some(why)),
    };
    let work = Arc::new(Work {
        name,
        uid: backup.uid().unwrap_or_default(),
        location,
        no_location,
        issues: Issues::default(),
        hooks: Mutex::new(HookState::of(&status)),
        writing_hooks: tokio::sync::Mutex::default(),
        context,
        backup,
    });
    work.tell_hook_failures();
    match steps(&work, &status).await {
        Ok(()) => {}
        // What is written down is enough to go on from, as after a restart of this controller.
        Err(Stop::Failed(error)) if is_servers_trouble(&error) => {
            return tracing::warn!("The Backup {} is taken up again: {error:#}", work.name);
        }
        Err(stop) => {
            hooks::thaw(&work).await;
            end(&work, stop).await;
        }
    }
    volumes::cancel_all(&work.context, &work.uid).await;
    if let Err(error) = set_finalizer(&work.context, &work.backup, false).await {
        tracing::warn!("Could not take the finalizer off the Backup {}: {error:#}", work.name);
    }
}

async fn steps(work: &Arc<Work>, status: &BackupStatus) -> Result<(), Stop> {
    let spec = &work.backup.spec;
    let mut errors = api::selection::Selection::of_backup(spec).err().unwrap_or_default();
    for text in spec.ttl.iter() {
        errors.extend(duration::parse(text).err());
    }
    errors.extend(work.no_location.clone());
    if !errors.is_empty() {
        return Err(Stop::Invalid(errors));
    }
    let opened = open(work).await?;
    if work.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    // A controller that died between the commit and the word of it.
    if status.start_timestamp.is_some()
        && let Some(committed) = committed_before(work, &opened).await?
    {
        return finish(work, committed).await;
    }
    let started = status.start_timestamp.clone().unwrap_or_else(|| Time(now()));
    let began = BackupStatus {
        phase: BackupPhase::InProgress,
        observed_generation: work.backup.metadata.generation,
        start_timestamp: Some(started.clone()),
        expiration: expiration(spec.ttl.as_deref(), &started),
        cluster_id: Some(work.context.cluster.clone()),
        storage_location: Some(work.location.clone()),
        ..BackupStatus::default()
    };
    let survey;
    if spec.dry_run {
        survey = Survey::look(&work.context, spec, &work.issues).await?;
        let volumes = chosen(work, &survey)?.len() as u64;
        let planned = json!({
            "phase": BackupPhase::Planned,
            "observedGeneration": work.backup.metadata.generation,
            "startTimestamp": started,
            "completionTimestamp": Time(now()),
            "storageLocation": work.location,
            "volumes": { "total": volumes, "completed": 0, "failed": 0 },
        });
        work.patch(&planned).await?;
        return Ok(());
    }
    set_finalizer(&work.context, &work.backup, true).await?;
    work.patch(&began).await?;
    work.context
        .event(
            &work.backup,
            false,
            "Started",
            format!("Backing up to {}", work.location),
        )
        .await;
    work.issues.log(&format!(
        "backup {} begins; location {}, cluster {}",
        work.name, work.location, work.context.cluster
    ));
    survey = Survey::look(&work.context, spec, &work.issues).await?;
    let records = read_volumes(work, &survey).await?;
    if work.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    work.patch(&json!({ "phase": BackupPhase::Finalizing })).await?;
    let before = work.issues.checkpoint();
    let committed = loop {
        let began = Instant::now();
        match commit::commit(work, &opened, &survey, &records, &began_status(work, &started)).await {
            Ok(committed) => break committed,
            Err(_) if work.is_cancelled() => return Err(Stop::Cancelled),
            Err(error) if commit::may_pass(&error) && started_within(&started, PATIENCE.saturating_mul(2)) => {
                tracing::warn!(
                    "The Backup {} could not be committed, trying again: {error:#}",
                    work.name
                );
                // What was collected is collected anew, and told anew.
                work.issues.back_to(&before);
                work.issues
                    .log(&format!("could not be committed, trying again: {error:#}"));
                tokio::time::sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;
                if let Some(committed) = commit::find(&opened, &work.uid).await.ok().flatten() {
                    break committed;
                }
            }
            Err(error) => return Err(Stop::Failed(error)),
        }
    };
    finish(work, committed).await
}

/// Looks for the commit of a controller that died after it; a store that does not answer is waited for.
async fn committed_before(work: &Work, opened: &Arc<Opened>) -> Result<Option<commit::Committed>, Stop> {
    let until = Instant::now() + PATIENCE;
    loop {
        match commit::find(opened, &work.uid).await {
            Ok(found) => return Ok(found),
            Err(_) if work.is_cancelled() => return Err(Stop::Cancelled),
            Err(error) if commit::may_pass(&error) && Instant::now() < until => {
                tracing::warn!("{} could not be looked for at {}: {error:#}", work.name, work.location);
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            Err(error) => return Err(Stop::Failed(error)),
        }
    }
}

fn started_within(started: &Time, patience: Duration) -> bool {
    now().duration_since(started.0).as_secs() < i64::try_from(patience.as_secs()).unwrap_or(i64::MAX)
}

/// The status as the record has it, but for what is known only in the end.
fn began_status(work: &Work, started: &Time) -> BackupStatus {
    BackupStatus {
        phase: BackupPhase::Completed,
        start_timestamp: Some(started.clone()),
        expiration: expiration(work.backup.spec.ttl.as_deref(), started),
        cluster_id: Some(work.context.cluster.clone()),
        storage_location: Some(work.location.clone()),
        hooks: Some(work.hook_counts()),
        ..BackupStatus::default()
    }
}

fn expiration(ttl: Option<&str>, started: &Time) -> Option<Time> {
    let ttl = duration::of(ttl, TTL);
    if ttl.is_zero() {
        return None;
    }
    started.0.checked_add(ttl).ok().map(Time)
}

/// Opens the location; one that does not answer is waited for, with the reason in the status.
async fn open(work: &Work) -> Result<Arc<Opened>, Stop> {
    let until = Instant::now() + PATIENCE;
    let mut said = String::new();
    let mut changes = work.context.watches.locations.changes();
    loop {
        changes.mark_unchanged();
        let why = match work.context.watches.locations.named(&work.location) {
            None => format!("The BackupStorageLocation {} is not there any more", work.location),
            Some(location) => {
                if let Err(why) = location::may_write(&location) {
                    return Err(Stop::Invalid(vec![why]));
                }
                // Who owns it must be known of the spec as it is now: what was said before it was changed says nothing.
                match location::can_write(&work.context, &location) {
                    Err(why) => why,
                    Ok(()) => match work.context.repositories.open(&location).await {
                        Ok(opened) => return Ok(opened),
                        Err(error) => format!("{error:#}"),
                    },
                }
            }
        };
        if work.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if Instant::now() > until {
            return Err(Stop::Failed(anyhow!(
                "The location {} cannot be used: {why}",
                work.location
            )));
        }
        if said != why {
            work.context
                .event(
                    &work.backup,
                    true,
                    "LocationUnavailable",
                    format!("Waiting for the location {}: {why}", work.location),
                )
                .await;
            said = why;
        }
        change(&mut changes, Duration::from_secs(5)).await;
    }
}

fn chosen(work: &Work, survey: &Survey) -> Result<Vec<crate::volumes::choose::Choice>, Stop> {
    let cluster = Cluster {
        pods: &survey.pods,
        claims: &survey.claims,
        volumes: &survey.volumes,
        pods_saved: &survey.pods_saved,
        claims_saved: &survey.claims_saved,
    };
    choose(&work.backup.spec, &cluster).map_err(|why| Stop::Invalid(vec![why]))
}

async fn read_volumes(work: &Arc<Work>, survey: &Survey) -> Result<Vec<api::archive::VolumeRecord>, Stop> {
    let choices = chosen(work, survey)?;
    let total = choices
        .iter()
        .filter(|choice| choice.record.action == VolumeAction::FsBackup)
        .count() as u64;
    let skipped = choices.len() as u64 - total;
    let is_saved =
        |pod: &crate::volumes::facts::PodFacts| survey.pods_saved.contains(&(pod.namespace.clone(), pod.name.clone()));
    let groups = groups::group(&work.backup.spec, &survey.pods, is_saved, choices, |pod, why| {
        work.issues
            .error("HookInvalid", format!("pod {}/{}", pod.namespace, pod.name), why);
    });
    let groups = groups.map_err(|why| Stop::Invalid(vec![why]))?;
    for vain in groups::vain_orders(&work.backup.spec, &groups) {
        work.issues.warning("OrderIgnored", "orderedResources", vain);
    }
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let progress = tokio::spawn(volumes::tell_progress(Arc::clone(work), total, skipped));
    let records = volumes::read(work, groups).await;
    progress.abort();
    let mut counts = volumes::counts(work, total, skipped);
    counts.completed = records.iter().filter(|record| record.snapshot_id.is_some()).count() as u64;
    counts.failed = total.saturating_sub(counts.completed);
    work.patch(&json!({ "volumes": counts })).await?;
    Ok(records)
}

/// Says how it ended, once it is committed.
async fn finish(work: &Work, committed: commit::Committed) -> Result<(), Stop> {
    let mut status = committed.status;
    let mut conditions = work.backup.status.clone().unwrap_or_default().conditions;
    let said = Said {
        kind: "Committed",
        holds: true,
        reason: "Committed",
        message: format!("Snapshot {} has it", committed.snapshot),
        generation: work.backup.metadata.generation,
    };
    condition::set(&mut conditions, &said, now());
    status.conditions = conditions;
    status.observed_generation = work.backup.metadata.generation;
    status.snapshot_id = Some(committed.snapshot);
    let mut patch = serde_json::to_value(&status).context("The status is no JSON")?;
    if let Some(patch) = patch.as_object_mut() {
        for emptied in ["openHooks", "hooksDone"] {
            patch.insert(emptied.to_owned(), json!([]));
        }
    }
    work.patch(&patch).await?;
    let (errors, warnings) = (status.errors.unwrap_or_default(), status.warnings.unwrap_or_default());
    let note = format!("{:?}: {errors} errors, {warnings} warnings", status.phase);
    work.context
        .event(&work.backup, errors > 0, "Ended", note.clone())
        .await;
    tracing::info!("Backup {}: {note}", work.name);
    Ok(())
}

/// Says how it ended, without a commit.
async fn end(work: &Work, stop: Stop) {
    let (phase, reason, message) = match &stop {
        Stop::Invalid(errors) => (BackupPhase::FailedValidation, "Invalid", errors.join("; ")),
        Stop::Cancelled => (BackupPhase::Canceled, "Canceled", "It was cancelled".to_owned()),
        Stop::Failed(error) => (BackupPhase::Failed, "Failed", format!("{error:#}")),
    };
    let mut conditions = work.backup.status.clone().unwrap_or_default().conditions;
    let said = Said {
        kind: "Committed",
        holds: false,
        reason,
        message: message.clone(),
        generation: work.backup.metadata.generation,
    };
    condition::set(&mut conditions, &said, now());
    let (warnings, errors) = work.issues.counts();
    let mut patch = json!({
        "phase": phase,
        "conditions": conditions,
        "observedGeneration": work.backup.metadata.generation,
        "completionTimestamp": Time(now()),
        "openHooks": [],
        "hooksDone": [],
        "warnings": warnings,
        "errors": errors,
    });
    if let Some(patch) = patch.as_object_mut() {
        match &stop {
            Stop::Invalid(errors) => patch.insert("validationErrors".to_owned(), json!(errors)),
            Stop::Failed(_) => patch.insert("failureReason".to_owned(), json!(message)),
            Stop::Cancelled => None,
        };
    }
    if let Err(error) = work.patch(&patch).await {
        tracing::warn!("Could not write how the Backup {} ended: {error:#}", work.name);
    }
    work.context
        .event(&work.backup, phase != BackupPhase::Canceled, reason, message.clone())
        .await;
    tracing::info!("Backup {}: {phase:?}: {message}", work.name);
}

async fn set_finalizer(context: &Context, backup: &Backup, wanted: bool) -> Result<()> {
    let api: Api<Backup> = context.api();
    for _ in 0..60 {
        let current = match api.get_opt(&backup.name_any()).await {
            Ok(Some(current)) if current.uid() == backup.uid() => current,
            Ok(_) => return Ok(()),
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut finalizers = current.metadata.finalizers.clone().unwrap_or_default();
        let has = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if has == wanted || (wanted && current.metadata.deletion_timestamp.is_some()) {
            return Ok(());
        }
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": current.resource_version() } });
        match api
            .patch(&backup.name_any(), &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if crate::context::is_not_found(&error) => return Ok(()),
            // Somebody else has written meanwhile.
            Err(error) if crate::context::is_conflict(&error) || is_passing(&error) => {
                tokio::time::sleep(Duration::from_millis(200)).await
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(anyhow!("the API server does not answer"))
}

impl Work {
    /// Labels of what belongs to the backup.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (words::BACKUP_NAME.to_owned(), words::label_value(&self.name)),
            (words::BACKUP_UID.to_owned(), self.uid.clone()),
            (words::LOCATION.to_owned(), words::label_value(&self.location)),
        ])
    }

    /// Whether somebody wants it to stop: by spec.cancel, or by deleting it.
    pub(super) fn is_cancelled(&self) -> bool {
        match self.context.watches.backups.named(&self.name) {
            Some(backup) if backup.uid().as_deref() == Some(&self.uid) => {
                backup.spec.cancel || backup.metadata.deletion_timestamp.is_some()
            }
            _ => false,
        }
    }

    /// Changes the status.
    pub(super) async fn patch(&self, status: &impl serde::Serialize) -> Result<()> {
        Ok(self.context.patch_status::<Backup>(&self.name, status).await?)
    }
}
