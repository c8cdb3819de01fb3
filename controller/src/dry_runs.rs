//! Dry runs whose answer nobody waits for any more: Backups and Restores that only looked.
//!
//! Whoever asks for one (`--dry-run`) removes it as soon as he has read what it found. When he is killed before that, it stays, says nothing to anybody and is
//! in every list: it is removed here, an hour after its end.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use api::{Backup, Restore};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::context::{Context, is_conflict, is_not_found, now, say};

/// For so long a dry run that has ended stays, as a request that is done does.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(60);

/// Removes what nobody waits for, until the process ends.
pub async fn run(context: Arc<Context>) {
    loop {
        let backups = context.watches.backups.all();
        for backup in backups.iter().filter(|backup| backup_is_over(backup, now())) {
            remove(&context, &**backup).await;
        }
        let restores = context.watches.restores.all();
        for restore in restores.iter().filter(|restore| restore_is_over(restore, now())) {
            remove(&context, &**restore).await;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Whether a Backup is a dry run that nobody waits for.
fn backup_is_over(backup: &Backup, now: Timestamp) -> bool {
    let status = backup.status.clone().unwrap_or_default();
    let ended = status.completion_timestamp.or_else(|| backup.creation_timestamp());
    backup.spec.dry_run && status.phase.is_final() && is_long_ago(ended, now)
}

/// Whether a Restore is a dry run that nobody waits for.
fn restore_is_over(restore: &Restore, now: Timestamp) -> bool {
    let status = restore.status.clone().unwrap_or_default();
    let ended = status.completion_timestamp.or_else(|| restore.creation_timestamp());
    restore.spec.dry_run && status.phase.is_final() && is_long_ago(ended, now)
}

fn is_long_ago(ended: Option<Time>, now: Timestamp) -> bool {
    ended.is_some_and(|ended| now.duration_since(ended.0) > KEPT)
}

/// Removes this very object.
async fn remove<K>(context: &Context, dry_run: &K)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let this = Preconditions {
        uid: dry_run.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams::default().preconditions(this);
    match context.api::<K>().delete(&dry_run.name_any(), &parameters).await {
        Err(error) if !is_not_found(&error) && !is_conflict(&error) => tracing::warn!(
            "The dry run {} could not be removed: {}",
            dry_run.name_any(),
            say(&error)
        ),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::{BackupPhase, BackupSpec, BackupStatus, RestorePhase, RestoreSpec, RestoreStatus};

    use super::*;

    fn at(minute: i64) -> Time {
        Time(Timestamp::from_second(minute * 60).unwrap())
    }

    fn restore(dry_run: bool, phase: RestorePhase, ended: Option<i64>) -> Restore {
        let spec = RestoreSpec {
            dry_run,
            ..RestoreSpec::default()
        };
        let mut restore = Restore::new("shop-dry-run-20261123040506", spec);
        restore.metadata.creation_timestamp = Some(at(0));
        restore.status = Some(RestoreStatus {
            phase,
            completion_timestamp: ended.map(at),
            ..RestoreStatus::default()
        });
        restore
    }

    #[test]
    fn a_dry_run_goes_an_hour_after_its_end_and_a_restore_never() {
        use RestorePhase::{Completed, FailedValidation, New, Planned};
        for (dry_run, phase, ended, now, over) in [
            (true, Planned, Some(10), 70, false),
            (true, Planned, Some(10), 71, true),
            (true, FailedValidation, Some(10), 71, true),
            (true, FailedValidation, None, 61, true),
            (true, New, None, 999, false),
            (false, Completed, Some(10), 999, false),
            (false, FailedValidation, Some(10), 999, false),
        ] {
            let restore = restore(dry_run, phase, ended);
            assert_eq!(restore_is_over(&restore, at(now).0), over, "{restore:?} {now}");
        }
    }

    #[test]
    fn a_backup_that_only_looked_goes_as_well_and_one_that_saved_does_not() {
        for (dry_run, phase, over) in [
            (true, BackupPhase::Planned, true),
            (true, BackupPhase::InProgress, false),
            (false, BackupPhase::Completed, false),
        ] {
            let spec = BackupSpec {
                dry_run,
                ..BackupSpec::default()
            };
            let mut backup = Backup::new("shop-dry-run-20261123040506", spec);
            backup.status = Some(BackupStatus {
                phase,
                completion_timestamp: Some(at(0)),
                ..BackupStatus::default()
            });
            assert_eq!(backup_is_over(&backup, at(61).0), over, "{phase:?}");
            assert!(!backup_is_over(&backup, at(60).0));
        }
    }
}
