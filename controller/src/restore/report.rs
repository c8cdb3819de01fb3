//! What is said of a restore: its progress once a second, and how it ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::condition::{self, Said};
use api::{Restore, RestorePhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::prepare::Ended;
use super::work::Work;
use super::{record, volumes};
use crate::context::{Context, now, say};
use crate::repositories::Opened;

/// How long a server that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Tells once a second how far it is, until it is dropped.
pub async fn tell(work: Arc<Work>) {
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

/// Writes the record and the last status.
pub async fn finish(work: &Arc<Work>) {
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
    let Some(restore) = reread(work).await else {
        // Nobody wants to read of it any more.
        take_back(&work.context, &work.source.opened, &work.uid).await;
        return;
    };
    let reason = if stopped {
        "Canceled".to_owned()
    } else {
        format!("{phase:?}")
    };
    let restored = phase == RestorePhase::Completed;
    let mut status = progress(work);
    let last = BTreeMap::from([
        ("phase", json!(phase)),
        ("step", Value::Null),
        ("completionTimestamp", json!(Time(now()))),
        ("hooksDone", Value::Null),
        ("observedGeneration", json!(restore.metadata.generation)),
        ("conditions", conditions(&restore, restored, &reason, &said)),
    ]);
    for (field, value) in last {
        super::fields::set(&mut status, &[field], value);
    }
    match record::write(work, &restore, &status).await {
        Ok(record) => super::fields::set(&mut status, &["recordID"], json!(record)),
        Err(why) => {
            let message = format!(
                "{said}. Log and results are not kept ({why}){}",
                record::summary(&work.issues.results())
            );
            let told = conditions(&restore, restored, &reason, &message);
            super::fields::set(&mut status, &["conditions"], told);
            tracing::info!("Log of the Restore {}:\n{}", work.name, work.issues.text());
        }
    }
    take_back(&work.context, &work.source.opened, &work.uid).await;
    write(&work.context, &work.name, &status).await;
    work.context
        .event(
            &*work.restore,
            phase != RestorePhase::Completed,
            &format!("{phase:?}"),
            said,
        )
        .await;
}

/// The Restore as it is now; none when it is gone.
async fn reread(work: &Work) -> Option<Arc<Restore>> {
    let api: Api<Restore> = work.context.api();
    match api.get_opt(&work.name).await {
        Ok(Some(restore)) if restore.uid().as_deref() == Some(&work.uid) => Some(Arc::new(restore)),
        Ok(_) => None,
        Err(_) => Some(Arc::clone(&work.restore)),
    }
}

/// Writes down how a restore ended before its end.
pub async fn end(context: &Arc<Context>, restore: &Restore, ended: Ended) {
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
    volumes::cancel_all(context, &restore.uid().unwrap_or_default()).await;
    give_back(context, restore).await;
    write(context, &restore.name_any(), &status).await;
    context.event(restore, true, &format!("{phase:?}"), message).await;
}

/// Takes the reader's key back that agents had for this restore, if there is one.
async fn give_back(context: &Arc<Context>, restore: &Restore) {
    let location = restore
        .status
        .as_ref()
        .and_then(|status| status.storage_location.clone());
    let Some(location) = location.and_then(|name| context.watches.locations.named(&name)) else {
        return;
    };
    match context.repositories.open(&location).await {
        Ok(opened) => take_back(context, &opened, &restore.uid().unwrap_or_default()).await,
        Err(error) => tracing::warn!(
            "The reader's key of the Restore {} could not be taken back yet: {error:#}",
            restore.name_any()
        ),
    }
}

/// The same, of a location that is open. Whoever looks after the location takes back what could not be.
async fn take_back(context: &Context, opened: &Arc<Opened>, restore_uid: &str) {
    if let Err(error) = context.repositories.end_restore(opened, restore_uid).await {
        tracing::warn!("The reader's key of restore {restore_uid} could not be taken back yet: {error:#}");
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
