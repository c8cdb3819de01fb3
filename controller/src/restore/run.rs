//! The steps of one Restore, from wherever it is to its end. Each step finds out what was done before: what this restore has made carries its UID, and a volume's name
//! follows from it. So whoever takes over goes on, and so does an attempt that found the store away.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use api::condition::{self, Said};
use api::restore::ExistingPolicy;
use api::selection::Selection;
use api::{Restore, RestorePhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::hooks::Hooks;
use super::mapping::Mapping;
use super::plan::Plan;
use super::rewrite::Circumstances;
use super::source::{Question, Source};
use super::stop::Stop;
use super::tally::Tally;
use super::validate::{self, Chosen};
use super::work::{Known, Work};
use super::{circumstances, existing, levels, record, volumes};
use crate::cluster::kinds::discover;
use crate::context::{Context, now, say};
use crate::issues::Issues;

/// How long a store, or a cluster, that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How a restore ended before its end.
pub enum Ended {
    /// What it says makes no sense.
    Invalid(Vec<String>),
    /// It was stopped.
    Stopped,
    /// It cannot be done.
    Failed(String),
    /// Trying again may help.
    Passing(anyhow::Error),
}

/// Does a Restore.
pub async fn run(context: Arc<Context>, seen: Arc<Restore>) {
    let name = seen.name_any();
    let api: Api<Restore> = context.api();
    let uid = seen.uid().unwrap_or_default();
    let stop = Stop::look(&context, &name, &uid);
    let mut first_failure: Option<Instant> = None;
    loop {
        // What the watch has shown may be behind what was written down last.
        let restore = match api.get_opt(&name).await {
            Ok(Some(restore)) if restore.uid().as_deref() == Some(&uid) => Arc::new(restore),
            Ok(_) => return,
            Err(error) => {
                tracing::warn!("Could not read the Restore {name}: {}", say(&error));
                tokio::time::sleep(Duration::from_secs(2)).await;
                continue;
            }
        };
        if restore.status.as_ref().is_some_and(|status| status.phase.is_final()) {
            return;
        }
        let ended = match steps(&context, &restore, &stop).await {
            Ok(()) => return,
            Err(ended) => ended,
        };
        let ended = match ended {
            Ended::Passing(error) => {
                let since = *first_failure.get_or_insert_with(Instant::now);
                if since.elapsed() < PATIENCE && !stop.is_asked() {
                    tracing::warn!("The Restore {name} is held up, trying again: {error:#}");
                    context
                        .event(&*restore, true, "HeldUp", format!("Trying again: {error:#}"))
                        .await;
                    let _ = stop.sleep(Duration::from_secs(10)).await;
                    continue;
                }
                Ended::Failed(format!("{error:#}"))
            }
            other => other,
        };
        end(&context, &restore, ended).await;
        return;
    }
}

/// Writes down how a restore ended before its end.
async fn end(context: &Arc<Context>, restore: &Restore, ended: Ended) {
    let (phase, reason, message) = match &ended {
        Ended::Invalid(errors) => (RestorePhase::FailedValidation, "Invalid", errors.join("; ")),
        Ended::Stopped => (
            RestorePhase::Canceled,
            "Canceled",
            "It was stopped; what was made so far is there".to_owned(),
        ),
        Ended::Failed(why) => (RestorePhase::Failed, "Failed", why.clone()),
        Ended::Passing(error) => (RestorePhase::Failed, "Failed", format!("{error:#}")),
    };
    let mut status = json!({
        "phase": phase,
        "completionTimestamp": Time(now()),
        "observedGeneration": restore.metadata.generation,
        "conditions": conditions(restore, false, reason, &message),
        "step": null,
    });
    if let Some(status) = status.as_object_mut() {
        match &ended {
            Ended::Invalid(errors) => drop(status.insert("validationErrors".to_owned(), json!(errors))),
            Ended::Failed(_) | Ended::Passing(_) => drop(status.insert("failureReason".to_owned(), json!(message))),
            Ended::Stopped => {}
        }
    }
    give_back(context, restore).await;
    write(context, &restore.name_any(), &status).await;
    context.event(restore, true, &format!("{phase:?}"), message).await;
}

/// Takes the reader's key back that agents had for this restore.
async fn give_back(context: &Arc<Context>, restore: &Restore) {
    let location = restore
        .status
        .as_ref()
        .and_then(|status| status.storage_location.clone());
    let Some(location) = location.and_then(|name| context.watches.locations.named(&name)) else {
        return;
    };
    let taken = async {
        let opened = context.repositories.open(&location).await?;
        context
            .repositories
            .end_restore(&opened, &restore.uid().unwrap_or_default())
            .await
    };
    if let Err(error) = taken.await {
        // Whoever looks after the location takes it back later.
        tracing::warn!(
            "The reader's key of the Restore {} could not be taken back yet: {error:#}",
            restore.name_any()
        );
    }
}

/// Conditions with what is said of the end.
pub fn conditions(restore: &Restore, holds: bool, reason: &str, message: &str) -> Value {
    let mut conditions = restore.status.clone().unwrap_or_default().conditions;
    let said = Said {
        kind: "Restored",
        holds,
        reason,
        message: message.chars().take(30_000).collect(),
        generation: restore.metadata.generation,
    };
    condition::set(&mut conditions, &said, now());
    if reason == "Canceled" {
        condition::set(
            &mut conditions,
            &Said {
                kind: "Canceled",
                holds: true,
                ..said
            },
            now(),
        );
    }
    json!(conditions)
}

/// Writes a status; a server that does not answer is waited for, since what is not written is done again.
pub async fn write(context: &Context, name: &str, status: &Value) {
    let until = Instant::now() + PATIENCE;
    while let Err(error) = context.patch_status::<Restore>(name, status).await {
        tracing::warn!("Could not write the status of the Restore {name}: {}", say(&error));
        if Instant::now() > until {
            return;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn steps(context: &Arc<Context>, restore: &Arc<Restore>, stop: &Stop) -> Result<(), Ended> {
    let status = restore.status.clone().unwrap_or_default();
    let errors = validate::errors(restore);
    if !errors.is_empty() {
        return Err(Ended::Invalid(errors));
    }
    if stop.is_asked() && status.start_timestamp.is_none() {
        return Err(Ended::Stopped);
    }
    let chosen = match (
        status.backup_name.clone(),
        status.snapshot_id.clone(),
        status.storage_location.clone(),
    ) {
        (Some(backup), Some(snapshot), Some(location)) => Chosen {
            backup,
            snapshot,
            location,
        },
        _ => validate::choose(context, restore).await.map_err(Ended::Invalid)?,
    };
    let began = status.start_timestamp.is_some();
    let source = open(context, &chosen, began).await?;
    let name = restore.name_any();
    let started = status.start_timestamp.clone().unwrap_or_else(|| Time(now()));
    let work = plan(context, restore, stop, &chosen, source).await?;
    let total = work.plan.restored().count() as u64;
    work.tally.total.store(total, Ordering::Relaxed);
    let begun = json!({
        "backupName": chosen.backup,
        "snapshotID": chosen.snapshot,
        "storageLocation": chosen.location,
        "startTimestamp": started,
        "observedGeneration": restore.metadata.generation,
        "progress": work.tally.objects(),
    });
    if restore.spec.dry_run {
        let mut planned = begun;
        super::fields::set(&mut planned, &["phase"], json!(RestorePhase::Planned));
        super::fields::set(&mut planned, &["completionTimestamp"], json!(Time(now())));
        let message = format!("{total} objects would be restored; `ararat restore describe {name}` shows them");
        super::fields::set(
            &mut planned,
            &["conditions"],
            conditions(restore, false, "Planned", &message),
        );
        write(context, &name, &planned).await;
        return Ok(());
    }
    let mut in_progress = begun;
    super::fields::set(&mut in_progress, &["phase"], json!(RestorePhase::InProgress));
    write(context, &name, &in_progress).await;
    if !began {
        context
            .event(
                &**restore,
                false,
                "Started",
                format!("Restoring {} objects of {}", total, chosen.backup),
            )
            .await;
    }
    tell_plan(&work);
    let told = tokio::spawn(tell(Arc::clone(&work)));
    let done = do_all(&work).await;
    told.abort();
    match done {
        Ok(()) => finish(&work).await,
        Err(Ended::Stopped) => {
            write(context, &name, &json!({ "phase": RestorePhase::Canceling })).await;
            finish(&work).await
        }
        Err(other) => Err(other),
    }
}

/// Opens the backup. Before anything is done, what keeps it from being opened is the user's to mend; afterwards it is waited for.
async fn open(context: &Arc<Context>, chosen: &Chosen, began: bool) -> Result<Arc<Source>, Ended> {
    let location = match validate::location(context, &chosen.location).await {
        Ok(location) => location,
        Err(why) if began => return Err(Ended::Passing(anyhow!(why))),
        Err(why) => return Err(Ended::Invalid(vec![why])),
    };
    let opened = context.repositories.open(&location).await.map_err(Ended::Passing)?;
    let source = Source::open(opened, chosen.snapshot.clone())
        .await
        .map_err(|error| judge(error, began))?;
    Ok(Arc::new(source))
}

/// Whether trying again may help.
fn judge(error: anyhow::Error, began: bool) -> Ended {
    use engine::words::{Error, StoreFailure};
    match error.downcast_ref::<Error>() {
        Some(Error::Interrupted) => Ended::Stopped,
        Some(Error::Store { failure, .. }) if !matches!(failure, StoreFailure::Full) => Ended::Passing(error),
        Some(Error::Missing { .. }) | None
            if error
                .downcast_ref::<kube::Error>()
                .is_some_and(crate::context::is_passing) =>
        {
            Ended::Passing(error)
        }
        _ if began => Ended::Failed(format!("{error:#}")),
        _ => Ended::Invalid(vec![format!("{error:#}")]),
    }
}

/// Reads the facts of the backup and of the cluster, and makes the plan.
async fn plan(
    context: &Arc<Context>,
    restore: &Arc<Restore>,
    stop: &Stop,
    chosen: &Chosen,
    source: Arc<Source>,
) -> Result<Arc<Work>, Ended> {
    let issues = Arc::new(Issues::default());
    let found = discover(&context.client)
        .await
        .map_err(|error| Ended::Passing(error.into()))?;
    for (group, why) in &found.broken {
        issues.warning("GroupUnavailable", group.clone(), why.clone());
    }
    let selection = Selection::of_restore(&restore.spec).map_err(Ended::Invalid)?;
    let cluster = circumstances::look(context, &found, &restore.spec)
        .await
        .map_err(|error| Ended::Passing(error.into()))?;
    let question = Question {
        selection: selection.clone(),
        found: found.clone(),
        installation: context.args.namespace.clone(),
        nodes: cluster.nodes.clone(),
    };
    let asked = stop.clone();
    let began = restore
        .status
        .as_ref()
        .is_some_and(|status| status.start_timestamp.is_some());
    let gathered = source
        .gather(question, move || asked.is_asked())
        .await
        .map_err(|error| judge(error, began))?;
    for (path, why) in &gathered.damaged {
        issues.error("Damaged", path.clone(), why.clone());
    }
    let mapping = Mapping::new(&restore.spec);
    let errors = mapping.errors(&gathered.namespaces);
    if !errors.is_empty() {
        return Err(Ended::Invalid(errors));
    }
    let plan = Plan::new(gathered.facts, gathered.kinds, &selection, &mapping);
    let circumstances = Circumstances {
        volumes: RwLock::new(plan.volumes.clone()),
        ..cluster
    };
    let hooks = Hooks::new(&restore.spec.hooks).map_err(Ended::Invalid)?;
    Ok(Arc::new(Work {
        context: Arc::clone(context),
        name: restore.name_any(),
        uid: restore.uid().unwrap_or_default(),
        restore: Arc::clone(restore),
        backup: chosen.backup.clone(),
        source,
        plan: Arc::new(plan),
        circumstances,
        hooks,
        issues,
        tally: Arc::new(Tally::default()),
        stop: stop.clone(),
        found: RwLock::new(found),
        known: Mutex::new(Known::default()),
    }))
}

/// A work without a Restore that is being done: for what a dry run shows.
pub async fn preview(context: &Arc<Context>, restore: &Arc<Restore>) -> Result<Arc<Work>, String> {
    let text = |ended: Ended| match ended {
        Ended::Invalid(errors) => errors.join("; "),
        Ended::Stopped => "The restore was stopped".to_owned(),
        Ended::Failed(why) => why,
        Ended::Passing(error) => format!("{error:#}"),
    };
    let status = restore.status.clone().unwrap_or_default();
    let chosen = match (status.backup_name, status.snapshot_id, status.storage_location) {
        (Some(backup), Some(snapshot), Some(location)) => Chosen {
            backup,
            snapshot,
            location,
        },
        _ => validate::choose(context, restore)
            .await
            .map_err(|errors| errors.join("; "))?,
    };
    let source = open(context, &chosen, true).await.map_err(text)?;
    let stop = Stop::look(context, &restore.name_any(), &restore.uid().unwrap_or_default());
    plan(context, restore, &stop, &chosen, source).await.map_err(text)
}

fn tell_plan(work: &Work) {
    let total = work.plan.restored().count();
    work.issues.log(&format!(
        "restore {} of backup {} begins: {total} objects",
        work.name, work.backup
    ));
    for (omission, count) in work.plan.omitted() {
        work.issues
            .log(&format!("{count} objects are left out: {}", omission.text()));
    }
}

/// Tells once a second how far it is, until it is dropped.
async fn tell(work: Arc<Work>) {
    let mut before = Value::Null;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = progress(&work);
        if status != before {
            let _ = work.context.patch_status::<Restore>(&work.name, &status).await;
            before = status;
        }
    }
}

/// How far it is, as the status has it.
pub fn progress(work: &Work) -> Value {
    let (warnings, errors) = work.issues.counts();
    let mut counts = work.tally.volumes();
    (counts.bytes_done, counts.bytes_total) = volumes::bytes(work);
    json!({
        "step": work.tally.step(),
        "progress": work.tally.objects(),
        "volumes": counts,
        "hooks": work.tally.hooks(),
        "warnings": warnings,
        "errors": errors,
    })
}

/// Everything that changes the cluster.
async fn do_all(work: &Arc<Work>) -> Result<(), Ended> {
    if work.spec().existing_resource_policy == ExistingPolicy::Fail {
        let counts = |item: &super::plan::Item| {
            // Accounts are merged, and a namespace is where things go.
            !matches!(&*item.facts.resource, "namespaces" | "serviceaccounts")
        };
        let found = existing::find(work, counts)
            .await
            .map_err(|error| Ended::Passing(error.into()))?;
        if !found.is_empty() {
            let names: Vec<String> = found
                .keys()
                .take(5)
                .map(|place| work.about(work.item(*place)))
                .collect();
            let more = found.len().saturating_sub(names.len());
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            return Err(Ended::Failed(format!(
                "{}{more} exist, and existingResourcePolicy is Fail: nothing was changed. Delete them, or choose Skip, Update or Recreate",
                names.join(", ")
            )));
        }
    }
    levels::run(work).await.map_err(|error| judge(error, true))?;
    if work.stop.is_asked() {
        Err(Ended::Stopped)
    } else {
        Ok(())
    }
}

/// Writes the record and the last status.
async fn finish(work: &Arc<Work>) -> Result<(), Ended> {
    let stopped = work.stop.is_asked();
    let (warnings, errors) = work.issues.counts();
    let objects = work.tally.objects();
    let phase = match (stopped, errors) {
        (true, _) => RestorePhase::Canceled,
        (false, 0) => RestorePhase::Completed,
        (false, _) => RestorePhase::PartiallyFailed,
    };
    let said = format!(
        "{} of {} objects: {} created, {} updated, {} as they were; {errors} errors, {warnings} warnings",
        objects.items_restored, objects.total_items, objects.created, objects.updated, objects.unchanged
    );
    work.issues.log(&format!("{phase:?}: {said}"));
    let mut message = said.clone();
    let record = match record::write(work).await {
        Ok(record) => Some(record),
        Err(why) => {
            message = format!(
                "{said}. Log and results are not kept ({why}){}",
                record::summary(&work.issues.results())
            );
            tracing::info!("Log of the Restore {}:\n{}", work.name, work.issues.text());
            None
        }
    };
    let restore = reread(work).await;
    give_back(&work.context, &restore).await;
    let reason = if stopped {
        "Canceled".to_owned()
    } else {
        format!("{phase:?}")
    };
    let mut status = progress(work);
    let last = BTreeMap::from([
        ("phase", json!(phase)),
        ("step", Value::Null),
        ("completionTimestamp", json!(Time(now()))),
        ("recordID", json!(record)),
        (
            "conditions",
            conditions(
                &*reread(work).await,
                phase == RestorePhase::Completed,
                &reason,
                &message,
            ),
        ),
    ]);
    for (field, value) in last {
        super::fields::set(&mut status, &[field], value);
    }
    write(&work.context, &work.name, &status).await;
    work.context
        .event(
            &*work.restore,
            phase != RestorePhase::Completed,
            &format!("{phase:?}"),
            said,
        )
        .await;
    Ok(())
}

/// The Restore as it was last seen: its status has where it is from.
async fn reread(work: &Work) -> Arc<Restore> {
    let api: Api<Restore> = work.context.api();
    match api.get_opt(&work.name).await {
        Ok(Some(restore)) if restore.uid().as_deref() == Some(&work.uid) => Arc::new(restore),
        _ => Arc::clone(&work.restore),
    }
}
