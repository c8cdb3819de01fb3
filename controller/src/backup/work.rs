//! The steps of one Backup: looked at, volumes read, objects and records committed. Each step finds out what was done before, so a controller that takes over goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};
use api::backup::VolumeAction;
use api::condition::{self, Condition};
use api::{Backup, BackupPhase, BackupStatus, duration, words};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::ending::{end, finish, set_finalizer};
use super::hooks::HookState;
use super::placing::Seen;
use super::survey::Survey;
use super::waiting::{self, PATIENCE, Way};
use super::{commit, groups, hooks, volumes};
use crate::context::{Context, is_servers_trouble, now};
use crate::issues::Issues;
use crate::location;
use crate::repositories::Opened;
use crate::volumes::choose::{Cluster, choose};
use crate::watched::change;

/// A backup without a word on it lives so long.
const TTL: Duration = Duration::from_secs(720 * 3600);

/// One Backup that is being made.
pub(super) struct Work {
    pub(super) context: Arc<Context>,
    pub(super) backup: Backup,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) location: String,
    /// Why there is no location that it could go to.
    no_location: Option<String>,
    /// Its location was reached, so whatever it has waited for is over.
    went_on: AtomicBool,
    pub(super) issues: Issues,
    pub(super) hooks: Mutex<HookState>,
    /// Held while that is written down.
    pub(super) writing_hooks: tokio::sync::Mutex<()>,
    /// What was looked at for claims that no running pod mounts.
    pub(super) seen: tokio::sync::Mutex<Seen>,
}

/// How a backup ended before its end.
pub(super) enum Stop {
    Invalid(Vec<String>),
    Cancelled,
    Failed(anyhow::Error),
    /// Not at all: it is taken up again when its location can be used.
    Waits(String),
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
        // It was there, and may come back.
        Err(_) if waiting::since(&backup).is_some() => (named.unwrap_or_default(), None),
        Err(why) => (named.unwrap_or_default(), Some(why)),
    };
    let work = Arc::new(Work {
        name,
        uid: backup.uid().unwrap_or_default(),
        location,
        no_location,
        went_on: AtomicBool::new(false),
        issues: Issues::default(),
        hooks: Mutex::new(HookState::of(&status)),
        writing_hooks: tokio::sync::Mutex::default(),
        seen: tokio::sync::Mutex::default(),
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
        Err(Stop::Waits(why)) => return wait(&work, &why).await,
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
        conditions: work.conditions(),
        ..BackupStatus::default()
    };
    work.went_on.store(true, Ordering::Relaxed);
    let survey;
    if spec.dry_run {
        let looked = work.unless_cancelled(Survey::look(&work.context, spec, &work.issues));
        survey = looked.await??;
        let volumes = chosen(work, &survey)?.len() as u64;
        let planned = json!({
            "phase": BackupPhase::Planned,
            "observedGeneration": work.backup.metadata.generation,
            "startTimestamp": started,
            "completionTimestamp": Time(now()),
            "storageLocation": work.location,
            "conditions": work.conditions(),
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
    let looked = work.unless_cancelled(Survey::look(&work.context, spec, &work.issues));
    survey = looked.await??;
    let records = read_volumes(work, &survey).await?;
    if work.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    work.patch(&json!({ "phase": BackupPhase::Finalizing })).await?;
    let before = work.issues.checkpoint();
    let mut failing: Option<Instant> = None;
    let committed = loop {
        let began = Instant::now();
        match commit::commit(work, &opened, &survey, &records, &began_status(work, &started)).await {
            Ok(committed) => break committed,
            Err(_) if work.is_cancelled() => return Err(Stop::Cancelled),
            // What was read so far is found again.
            Err(error) if commit::may_pass(&error) && refused(work).is_some() => {
                return Err(waits_or_fails(work, format!("{error:#}")));
            }
            // However long its volumes took: what counts is how long the commit fails.
            Err(error)
                if commit::may_pass(&error)
                    && failing.get_or_insert_with(Instant::now).elapsed() < PATIENCE.saturating_mul(2) =>
            {
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
    match work.unless_cancelled(commit::find(opened, &work.uid)).await? {
        Ok(found) => Ok(found),
        Err(error) if commit::may_pass(&error) => Err(waits_or_fails(work, format!("{error:#}"))),
        Err(error) => Err(Stop::Failed(error)),
    }
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

/// Opens the location. One that cannot be used now is waited for, and not here: others may have a turn meanwhile.
async fn open(work: &Work) -> Result<Arc<Opened>, Stop> {
    let why = match work.context.watches.locations.named(&work.location) {
        None => format!("The BackupStorageLocation {} is not there any more", work.location),
        Some(location) => {
            if let Err(why) = location::may_write(&location) {
                return Err(Stop::Invalid(vec![why]));
            }
            // Who owns it must be known of the spec as it is now: what was said before it was changed says nothing.
            match location::can_write(&work.context, &location) {
                Err(why) => why,
                Ok(()) => match work.unless_cancelled(work.context.repositories.open(&location)).await? {
                    Ok(opened) => return Ok(opened),
                    Err(error) => format!("{error:#}"),
                },
            }
        }
    };
    if work.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    Err(waits_or_fails(work, why))
}

/// Why the location cannot be used at this moment, as far as it is known.
fn refused(work: &Work) -> Option<String> {
    let location = work.context.watches.locations.named(&work.location)?;
    location::can_write(&work.context, &location).err()
}

/// A backup that has waited long enough fails.
fn waits_or_fails(work: &Work, why: String) -> Stop {
    let location = work.context.watches.locations.named(&work.location);
    let way = Way::of(&work.context, location.as_deref());
    match work.waits_since() {
        Some(since) if waiting::is_over(since, way, now()) => {
            Stop::Failed(anyhow!("The location {} cannot be used: {why}", work.location))
        }
        Some(_) | None => Stop::Waits(why),
    }
}

/// Writes down what a backup waits for; since when stays as it is.
async fn wait(work: &Work, why: &str) {
    let said = waiting::said(&work.location, why, work.backup.metadata.generation);
    let mut conditions = work.conditions();
    if work.waits_since().is_some() {
        if waiting::says(&work.backup, &said) {
            return;
        }
        conditions = work.backup.status.clone().unwrap_or_default().conditions;
    }
    condition::set(&mut conditions, &said, now());
    let patch = json!({ "conditions": conditions, "storageLocation": work.location });
    if let Err(error) = work.patch(&patch).await {
        return tracing::warn!("Could not write what the Backup {} waits for: {error:#}", work.name);
    }
    work.context
        .event(&work.backup, true, "LocationUnavailable", said.message)
        .await;
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

/// Does something until it is done, or gives it up where it stands when `stop` is over.
pub(super) async fn unless<T>(stop: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop => None,
        done = work => Some(done),
    }
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

    /// Is over when somebody wants it to stop.
    pub(super) async fn cancelled(&self) {
        let mut changes = self.context.watches.backups.changes();
        loop {
            changes.mark_unchanged();
            if self.is_cancelled() {
                return;
            }
            change(&mut changes, Duration::from_secs(5)).await;
        }
    }

    /// Does something that is dropped where it stands when somebody wants the backup to stop.
    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        unless(self.cancelled(), work).await.ok_or(Stop::Cancelled)
    }

    /// Since when it waits for its location without a break.
    fn waits_since(&self) -> Option<Timestamp> {
        let went_on = self.went_on.load(Ordering::Relaxed);
        waiting::since(&self.backup).filter(|_| !went_on)
    }

    /// What was said of it, but that it waits.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        let mut conditions = self.backup.status.clone().unwrap_or_default().conditions;
        waiting::end(&mut conditions, self.backup.metadata.generation);
        conditions
    }

    /// Whether somebody holds it by now.
    pub(super) fn is_held(&self) -> bool {
        match self.context.watches.backups.named(&self.name) {
            Some(backup) if backup.uid().as_deref() == Some(&self.uid) => backup.spec.hold,
            _ => self.backup.spec.hold,
        }
    }

    /// Changes the status.
    pub(super) async fn patch(&self, status: &impl serde::Serialize) -> Result<()> {
        Ok(self.context.patch_status::<Backup>(&self.name, status).await?)
    }
}
