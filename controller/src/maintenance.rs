//! Maintenance: each repository is pruned (what no backup needs is deleted from the store) and checked, a slice at a time.
//!
//! That work has begun is written down before it begins: whoever dies meanwhile is followed by one who begins it again, which neither verb minds. [`due`]
//! decides, purely, what is to be done; [`verbs`] does it.

mod due;
mod verbs;

use std::sync::Arc;
use std::time::Duration;

use api::condition::{self, Said};
use api::repository::Maintenance;
use api::{BackupRepository, BackupRepositoryStatus, BackupStorageLocation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use self::due::Work;
use self::verbs::Outcome;
use crate::context::{Context, now};
use crate::location;
use crate::tasks::Tasks;
use crate::watched::change;

/// Repositories that are maintained at once: prune and check want memory.
const AT_ONCE: usize = 1;
/// How often it is looked whether something is due.
const PERIOD: Duration = Duration::from_secs(10);

/// Maintains every repository, until the process ends.
pub async fn run(context: Arc<Context>) {
    let tasks = Tasks::new(AT_ONCE);
    let mut repositories = context.watches.repositories.changes();
    loop {
        repositories.mark_unchanged();
        for repository in context.watches.repositories.all() {
            let uid = repository.uid().unwrap_or_default();
            if tasks.is_running(&uid) {
                continue;
            }
            let Some(location) = context.watches.locations.named(&repository.spec.storage_location) else {
                continue;
            };
            if let Some(work) = due::due(&repository, &location.spec, now())
                && (location::can_write(&context, &location).is_ok() || due::is_wished(&repository, work))
            {
                tasks.start(
                    &uid,
                    maintain(Arc::clone(&context), Arc::clone(&repository), location, work),
                );
            }
        }
        change(&mut repositories, PERIOD).await;
    }
}

/// Does one piece of work.
async fn maintain(
    context: Arc<Context>,
    repository: Arc<BackupRepository>,
    location: Arc<BackupStorageLocation>,
    work: Work,
) {
    // It may have waited for its turn, and things may be otherwise.
    let newest = context
        .api::<BackupStorageLocation>()
        .get_opt(&location.name_any())
        .await;
    let Some(location) = newest.ok().flatten().filter(|newest| newest.uid() == location.uid()) else {
        return;
    };
    let name = repository.name_any();
    let newest = context.api::<BackupRepository>().get_opt(&name).await;
    let Some(repository) = newest.ok().flatten().filter(|newest| newest.uid() == repository.uid()) else {
        return;
    };
    if due::due(&repository, &location.spec, now()) != Some(work) {
        return;
    }
    if let Err(why) = location::can_write(&context, &location) {
        return refuse(&context, &repository, &location, work, why).await;
    }
    let opened = match context.repositories.open(&location).await {
        Ok(opened) => opened,
        Err(error) => {
            return tracing::warn!(
                "{name} could not be maintained: {}",
                location::explain(&error, &location.spec)
            );
        }
    };
    let begun = begin(&repository, work);
    if !write(&context, &repository, &begun).await {
        return;
    }
    let outcome = match work {
        Work::Prune => verbs::prune(&opened, &context.args.pod).await,
        Work::Check { slice, of } => verbs::check(&opened, slice, of).await,
    };
    tracing::info!("{} of {name}: {}", work.name(), outcome.message);
    let mut now_there = repository;
    now_there.status = Some(begun);
    let ended = end(&now_there, work, &outcome);
    write(&context, &now_there, &ended).await;
    if !outcome.succeeded {
        let reason = match work {
            Work::Prune => "PruneFailed",
            Work::Check { .. } if outcome.findings > 0 => "DamageFound",
            Work::Check { .. } => "CheckFailed",
        };
        context.event(&now_there, true, reason, outcome.message).await;
    }
}

/// Says once why somebody's wish is not obeyed. What is only due is waited for, without a word.
async fn refuse(
    context: &Context,
    repository: &BackupRepository,
    location: &BackupStorageLocation,
    work: Work,
    why: String,
) {
    let wished = due::is_wished(repository, work);
    if !wished || location::may_write(location).is_ok() {
        return;
    }
    let mut status = repository.status.clone().unwrap_or_default();
    obeyed(&mut status, repository, work);
    say(
        &mut status,
        repository,
        work.condition(),
        false,
        "NotWritable",
        why.clone(),
    );
    write(context, repository, &status).await;
    context.event(repository, true, "NotWritable", why).await;
}

/// The status when work begins.
fn begin(repository: &BackupRepository, work: Work) -> BackupRepositoryStatus {
    let mut status = repository.status.clone().unwrap_or_default();
    obeyed(&mut status, repository, work);
    let piece = Maintenance {
        started: Some(Time(now())),
        ..Maintenance::default()
    };
    match work {
        Work::Prune => status.last_prune = Some(piece),
        Work::Check { slice, .. } => {
            status.last_check = Some(piece);
            status.next_slice = Some(slice);
        }
    }
    status
}

/// The status when work has ended.
fn end(repository: &BackupRepository, work: Work, outcome: &Outcome) -> BackupRepositoryStatus {
    let mut status = repository.status.clone().unwrap_or_default();
    let piece = match work {
        Work::Prune => &mut status.last_prune,
        Work::Check { .. } => &mut status.last_check,
    };
    let piece = piece.get_or_insert_default();
    piece.completed = Some(Time(now()));
    piece.succeeded = outcome.succeeded;
    piece.message = Some(outcome.message.clone());
    // A slice that was read is done, whatever was found; one that could not be read comes again.
    if let Work::Check { slice, of } = work
        && (outcome.succeeded || outcome.findings > 0)
    {
        status.next_slice = Some(if slice >= of { 1 } else { slice + 1 });
    }
    let reason = match (outcome.succeeded, outcome.findings) {
        (true, _) => "Succeeded",
        (false, 0) => "Failed",
        (false, _) => "DamageFound",
    };
    say(
        &mut status,
        repository,
        work.condition(),
        outcome.succeeded,
        reason,
        outcome.message.clone(),
    );
    status
}

/// Notes which wishes this work fulfils.
fn obeyed(status: &mut BackupRepositoryStatus, repository: &BackupRepository, work: Work) {
    match work {
        Work::Prune => status.prune_now.clone_from(&repository.spec.prune_now),
        Work::Check { .. } => status.check_now.clone_from(&repository.spec.check_now),
    }
    status.observed_generation = repository.metadata.generation;
}

fn say(
    status: &mut BackupRepositoryStatus,
    repository: &BackupRepository,
    kind: &str,
    holds: bool,
    reason: &str,
    message: String,
) {
    let said = Said {
        kind,
        holds,
        reason,
        message,
        generation: repository.metadata.generation,
    };
    condition::set(&mut status.conditions, &said, now());
}

/// Writes a status; false when that was not possible, and then nothing is begun.
async fn write(context: &Context, repository: &BackupRepository, after: &BackupRepositoryStatus) -> bool {
    let before = repository.status.clone().unwrap_or_default();
    let Some(patch) = crate::merge::patch(&before, after) else {
        return true;
    };
    match context
        .patch_status::<BackupRepository>(&repository.name_any(), &patch)
        .await
    {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "The status of {} could not be written: {}",
                repository.name_any(),
                crate::context::say(&error)
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use api::BackupRepositorySpec;

    use super::*;

    fn outcome(succeeded: bool, findings: usize) -> Outcome {
        Outcome {
            succeeded,
            findings,
            message: "said".to_owned(),
        }
    }

    #[test]
    fn work_is_written_down_before_and_after_and_slices_go_round() {
        let spec = BackupRepositorySpec {
            storage_location: "main".to_owned(),
            prune_now: Some("now".to_owned()),
            ..BackupRepositorySpec::default()
        };
        let mut repository = BackupRepository::new("main", spec);
        let status = begin(&repository, Work::Prune);
        let last = status.last_prune.clone().unwrap_or_default();
        assert!(last.started.is_some() && last.completed.is_none());
        assert_eq!(status.prune_now.as_deref(), Some("now"));
        repository.status = Some(status);
        let status = end(&repository, Work::Prune, &outcome(true, 0));
        assert!(
            status
                .last_prune
                .is_some_and(|last| last.completed.is_some() && last.succeeded)
        );
        assert_eq!(status.conditions[0].type_, "Pruned");
        for (slice, succeeded, findings, next, reason) in [
            (1, true, 0, 2, "Succeeded"),
            (30, true, 0, 1, "Succeeded"),
            (4, false, 2, 5, "DamageFound"),
            (4, false, 0, 4, "Failed"),
        ] {
            let work = Work::Check { slice, of: 30 };
            repository.status = Some(begin(&repository, work));
            let status = end(&repository, work, &outcome(succeeded, findings));
            assert_eq!(status.next_slice, Some(next), "{slice} {succeeded} {findings}");
            let healthy = condition::find(&status.conditions, "Healthy");
            assert_eq!(healthy.map(|said| said.reason.as_str()), Some(reason));
        }
    }
}
