//! Backups whose time to live is over. [`judge`] decides, purely.
//!
//! The last backup of a schedule that can be restored never expires, and neither does the last that is complete: a schedule that has failed for longer than its
//! backups live would otherwise leave nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::condition::{self, Said};
use api::{Backup, BackupPhase, BackupStorageLocation, words};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use crate::context::{Context, now};
use crate::location;

/// The condition of a backup that is kept though its time to live is over.
const KEPT: &str = "Kept";

/// What becomes of backups.
#[derive(Debug, Default)]
struct Judged {
    /// These are deleted.
    expired: Vec<Arc<Backup>>,
    /// These would be, and are the last of their schedule.
    kept: Vec<Arc<Backup>>,
}

/// Asks for the deletion of what has expired.
pub async fn run(context: &Context) {
    let Judged { expired, kept } = judge(&context.watches.backups.all(), &context.watches.locations.all(), now());
    for backup in &expired {
        super::ask(context, backup, "expired").await;
    }
    for backup in &kept {
        let mut conditions = backup
            .status
            .as_ref()
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        if conditions
            .iter()
            .any(|said| said.type_ == KEPT && said.status == "True")
        {
            continue;
        }
        let schedule = backup.labels().get(words::SCHEDULE_NAME).map_or("", String::as_str);
        let message = format!(
            "Its time to live is over, and it is kept, for it is the last good backup of the schedule {schedule}"
        );
        let said = Said {
            kind: KEPT,
            holds: true,
            reason: "LastOfSchedule",
            message: message.clone(),
            generation: backup.metadata.generation,
        };
        condition::set(&mut conditions, &said, now());
        match context
            .patch_status::<Backup>(&backup.name_any(), &json!({ "conditions": conditions }))
            .await
        {
            Ok(()) => context.event(backup.as_ref(), true, "LastOfSchedule", message).await,
            Err(error) => tracing::warn!(
                "The status of {} could not be written: {}",
                backup.name_any(),
                crate::context::say(&error)
            ),
        }
    }
}

/// Decides which backups go, of those that are in locations which may be written to.
fn judge(backups: &[Arc<Backup>], locations: &[Arc<BackupStorageLocation>], now: Timestamp) -> Judged {
    let last = last_of_schedules(backups);
    let mut judged = Judged::default();
    for backup in backups {
        let Some(status) = &backup.status else { continue };
        let over = status.expiration.as_ref().is_some_and(|expiration| expiration.0 <= now);
        if !over || backup.spec.hold || !status.phase.is_final() || status.phase == BackupPhase::Deleting {
            continue;
        }
        let location = location::chosen(
            locations,
            status
                .storage_location
                .as_deref()
                .or(backup.spec.storage_location.as_deref()),
        );
        // Without a snapshot there is nothing to be deleted there.
        let may_go =
            location.is_ok_and(|location| location::can_write(&location).is_ok()) || status.snapshot_id.is_none();
        if !may_go {
            continue;
        }
        if last.iter().any(|name| *name == backup.name_any()) {
            judged.kept.push(Arc::clone(backup));
        } else {
            judged.expired.push(Arc::clone(backup));
        }
    }
    judged
}

/// The names of the newest backup of each schedule that can be restored, and of the newest that is complete.
fn last_of_schedules(backups: &[Arc<Backup>]) -> Vec<String> {
    let mut newest: BTreeMap<(&str, bool), (Timestamp, &Arc<Backup>)> = BTreeMap::new();
    for backup in backups {
        let (Some(schedule), Some(status)) = (backup.labels().get(words::SCHEDULE_NAME), &backup.status) else {
            continue;
        };
        if !status.phase.is_restorable() {
            continue;
        }
        let started = status
            .start_timestamp
            .as_ref()
            .map(|time| time.0)
            .or_else(|| Some(backup.creation_timestamp()?.0));
        let started = started.unwrap_or(Timestamp::MIN);
        let mut compete = |complete| {
            let best = newest.entry((schedule, complete)).or_insert((started, backup));
            if best.0 < started {
                *best = (started, backup);
            }
        };
        compete(false);
        if status.phase == BackupPhase::Completed {
            compete(true);
        }
    }
    newest.into_values().map(|(_, backup)| backup.name_any()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::BackupStatus;
    use api::backup::BackupSpec;
    use api::condition::Condition;
    use api::location::{BackupStorageLocationSpec, BackupStorageLocationStatus, LocationPhase};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn backup(
        name: &str,
        schedule: Option<&str>,
        phase: BackupPhase,
        started: i64,
        expires: Option<i64>,
    ) -> Arc<Backup> {
        let mut backup = Backup::new(name, BackupSpec::default());
        if let Some(schedule) = schedule {
            backup
                .labels_mut()
                .insert(words::SCHEDULE_NAME.to_owned(), schedule.to_owned());
        }
        backup.status = Some(BackupStatus {
            phase,
            start_timestamp: Some(at(started)),
            expiration: expires.map(at),
            snapshot_id: phase.is_restorable().then(|| "11".to_owned()),
            storage_location: Some("main".to_owned()),
            ..BackupStatus::default()
        });
        Arc::new(backup)
    }

    fn location(owned: bool) -> Arc<BackupStorageLocation> {
        let mut location = BackupStorageLocation::new("main", BackupStorageLocationSpec::default());
        location.status = Some(BackupStorageLocationStatus {
            phase: LocationPhase::Available,
            conditions: vec![Condition {
                last_transition_time: at(0),
                message: String::new(),
                observed_generation: None,
                reason: "Test".to_owned(),
                status: if owned { "True" } else { "False" }.to_owned(),
                type_: "Owned".to_owned(),
            }],
            ..BackupStorageLocationStatus::default()
        });
        Arc::new(location)
    }

    fn judged(backups: &[Arc<Backup>], owned: bool) -> [Vec<String>; 2] {
        let Judged { expired, kept } = judge(backups, &[location(owned)], at(100).0);
        [expired, kept].map(|backups| backups.iter().map(|backup| backup.name_any()).collect())
    }

    #[test]
    fn backups_expire_when_their_time_is_over_and_nothing_speaks_against_it() {
        let mut held = Backup::clone(&backup("held", None, BackupPhase::Completed, 1, Some(50)));
        held.spec.hold = true;
        let backups = [
            backup("over", None, BackupPhase::Completed, 1, Some(100)),
            backup("not-yet", None, BackupPhase::Completed, 1, Some(101)),
            backup("never", None, BackupPhase::Completed, 1, None),
            backup("runs", None, BackupPhase::InProgress, 1, Some(50)),
            backup("goes", None, BackupPhase::Deleting, 1, Some(50)),
            backup("failed", None, BackupPhase::Failed, 1, Some(50)),
            Arc::new(held),
        ];
        assert_eq!(
            judged(&backups, true),
            [vec!["over".to_owned(), "failed".to_owned()], vec![]]
        );
        // What is another cluster's is not deleted by this one.
        assert_eq!(judged(&backups, false), [vec!["failed".to_owned()], vec![]]);
    }

    #[test]
    fn the_last_good_backups_of_a_schedule_are_kept() {
        let one = |name, phase, started| backup(name, Some("nightly"), phase, started, Some(50));
        let backups = [
            one("first", BackupPhase::Completed, 1),
            one("second", BackupPhase::Completed, 2),
            one("third", BackupPhase::PartiallyFailed, 3),
            one("fourth", BackupPhase::Failed, 4),
        ];
        assert_eq!(
            judged(&backups, true),
            [
                vec!["first".to_owned(), "fourth".to_owned()],
                vec!["second".to_owned(), "third".to_owned()]
            ]
        );
        let younger = [
            one("first", BackupPhase::Completed, 1),
            backup("second", Some("nightly"), BackupPhase::Completed, 2, Some(500)),
        ];
        assert_eq!(judged(&younger, true), [vec!["first".to_owned()], vec![]]);
    }
}
