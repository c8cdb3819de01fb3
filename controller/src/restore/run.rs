//! The steps of one Restore, from wherever it is to its end. Each step finds out what was done before: what this restore has made carries its UID, and a volume's name
//! follows from it. So whoever takes over goes on, and so does an attempt that found the store away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::restore::ExistingPolicy;
use api::{Restore, RestorePhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::prepare::{Ended, judge, open, plan};
use super::report::{conditions, end, finish, tell, write};
use super::stop::Stop;
use super::validate::{self, Chosen};
use super::work::Work;
use super::{existing, levels, volumes};
use crate::context::{Context, now, say};

/// How long a store, or a cluster, that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1800);

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
            Ended::Passing(_) if stop.is_asked() => Ended::Stopped,
            Ended::Passing(error) => {
                let since = *first_failure.get_or_insert_with(Instant::now);
                if since.elapsed() < PATIENCE {
                    tracing::warn!("The Restore {name} is held up, trying again: {error:#}");
                    context
                        .event(&*restore, true, "HeldUp", format!("Trying again: {error:#}"))
                        .await;
                    let _ = stop.sleep(Duration::from_secs(10)).await;
                    continue;
                }
                Ended::Failed(format!("{error:#}"))
            }
            other @ (Ended::Invalid(_) | Ended::Stopped | Ended::Failed(_)) => other,
        };
        end(&context, &restore, ended).await;
        return;
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
        _ => {
            let chosen = stop.or(validate::choose(context, restore)).await;
            chosen.map_err(|_| Ended::Stopped)?.map_err(Ended::Invalid)?
        }
    };
    let began = status.start_timestamp.is_some();
    let source = stop
        .or(open(context, &chosen, began))
        .await
        .map_err(|_| Ended::Stopped)??;
    let name = restore.name_any();
    let started = status.start_timestamp.clone().unwrap_or_else(|| Time(now()));
    let work = stop
        .or(plan(context, restore, stop, &chosen, source))
        .await
        .map_err(|_| Ended::Stopped)??;
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
    volumes::tell_lost(&work);
    let told = tokio::spawn(tell(Arc::clone(&work)));
    let done = do_all(&work).await;
    told.abort();
    match done {
        Ok(()) => finish(&work).await,
        Err(Ended::Stopped) => {
            write(context, &name, &json!({ "phase": RestorePhase::Canceling })).await;
            finish(&work).await;
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

fn tell_plan(work: &Work) {
    let total = work.plan.restored().count();
    work.issues.log(&format!(
        "restore {} of backup {} begins: {total} objects",
        work.name, work.backup
    ));
    for (omission, count) in work.plan.omitted() {
        work.issues
            .log(&format!("left out: {count}, because {}", omission.text()));
    }
}

/// Everything that changes the cluster.
async fn do_all(work: &Arc<Work>) -> Result<(), Ended> {
    if work.spec().existing_resource_policy == ExistingPolicy::Fail {
        let found = work
            .stop
            .or(existing::conflicts(work))
            .await
            .map_err(|_| Ended::Stopped)?;
        let found = found.map_err(|error| judge(error, true))?;
        if !found.is_empty() {
            let names: Vec<&str> = found.iter().take(5).map(String::as_str).collect();
            let more = found.len().saturating_sub(names.len());
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            return Err(Ended::Failed(format!(
                "{}{more} exist and differ from the backup, or have data that would come back, and existingResourcePolicy is Fail: nothing was changed. Delete them, or choose Skip, Update or Recreate",
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
