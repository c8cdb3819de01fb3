//! Backups whose time to live is over. [`judge`] decides, purely.
//!
//! The last backup of a schedule that can be restored never expires, and neither does the last that is complete: a schedule that has failed for longer than its
//! backups live would otherwise leave nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use api::condition::{self, Said};
use api::{Backup, BackupPhase, BackupStorageLocation, DeleteBackupRequest, words};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use crate::context::{Context, now};
use crate::location::{self, hold};

/// The condition of a backup that is kept though its time to live is over.
const KEPT: &str = "Kept";

/// Why a request to delete an expired backup is made, as its name has it.
const REASON: &str = "expired";

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
    let can_write = |location: &BackupStorageLocation| location::can_write(context, location).is_ok();
    let backups = context.watches.backups.all();
    let Judged { expired, kept } = judge(&backups, &context.watches.locations.all(), can_write, now());
    for backup in &expired {
        super::ask(context, backup, REASON).await;
    }
    for backup in &kept {
        let mut conditions = backup
            .status
            .as_ref()
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        if condition::holds(&conditions, KEPT) {
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
        // Others write conditions, too; when they have, it is said the next time.
        let status = json!({ "conditions": conditions });
        match context.patch_status_as_seen(backup.as_ref(), &status).await {
            Ok(false) => {}
            Ok(true) => context.event(backup.as_ref(), true, "LastOfSchedule", message).await,
            Err(error) => tracing::warn!(
                "The status of {} could not be written: {}",
                backup.name_any(),
                crate::context::say(&error)
            ),
        }
    }
}

/// Whether a request was made because the time of this Backup is over.
pub fn is_request(request: &DeleteBackupRequest, backup: &Backup) -> bool {
    let uid = backup.uid().unwrap_or_default();
    request.name_any() == super::name_of(backup, &uid, REASON)
}

/// Why a Backup that had expired does not go after all; none when it goes. Much may have happened since its request was made.
///
/// # Errors
/// What the API server says.
pub async fn objection(context: &Context, backup: &Backup) -> Result<Option<String>> {
    let newest = context.api::<Backup>().get_opt(&backup.name_any()).await?;
    let Some(newest) = newest.filter(|newest| newest.uid() == backup.uid()) else {
        return Ok(Some("its Backup is gone".to_owned()));
    };
    let mut backups = context.watches.backups.all();
    backups.retain(|known| known.uid() != newest.uid());
    backups.push(Arc::new(newest.clone()));
    Ok(why_it_stays(&newest, &backups, now()).map(ToOwned::to_owned))
}

/// Why a backup does not expire, being one of these.
fn why_it_stays(backup: &Backup, backups: &[Arc<Backup>], now: Timestamp) -> Option<&'static str> {
    if !is_over(backup, now) {
        return Some("its time is not over, or it is held");
    }
    is_last(backup, &last_of_schedules(backups)).then_some("it is the last good backup of its schedule")
}

/// Whether the time of a backup is over, and nobody holds it: not its spec, and not its repository, which hears of a release first.
fn is_over(backup: &Backup, now: Timestamp) -> bool {
    let expiration = backup.status.as_ref().and_then(|status| status.expiration.as_ref());
    expiration.is_some_and(|expiration| expiration.0 <= now) && !backup.spec.hold && !hold::is_said(backup)
}

fn is_last(backup: &Backup, last: &[String]) -> bool {
    last.iter().any(|name| *name == backup.name_any())
}

/// Decides which backups go, of those that are in locations which can be written to.
fn judge(
    backups: &[Arc<Backup>],
    locations: &[Arc<BackupStorageLocation>],
    can_write: impl Fn(&BackupStorageLocation) -> bool,
    now: Timestamp,
) -> Judged {
    let last = last_of_schedules(backups);
    let mut judged = Judged::default();
    for backup in backups {
        let Some(status) = &backup.status else { continue };
        if !is_over(backup, now) || !status.phase.is_final() || status.phase == BackupPhase::Deleting {
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
        let may_go = location.is_ok_and(|location| can_write(&location)) || status.snapshot_id.is_none();
        if !may_go {
            continue;
        }
        if is_last(backup, &last) {
            judged.kept.push(Arc::clone(backup));
        } else {
            judged.expired.push(Arc::clone(backup));
        }
    }
    judged
}

/// The names of the newest backup of each schedule that can be restored, and of the newest that is complete. A schedule of the same name in another cluster
/// is another one.
fn last_of_schedules(backups: &[Arc<Backup>]) -> Vec<String> {
    let mut newest: BTreeMap<(Option<&str>, &str, bool), (Timestamp, &Arc<Backup>)> = BTreeMap::new();
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
            let cluster = status.cluster_id.as_deref();
            let best = newest.entry((cluster, schedule, complete)).or_insert((started, backup));
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
    use api::backup::BackupSpec;
    use api::location::BackupStorageLocationSpec;
    use api::{BackupStatus, DeleteBackupRequestSpec};
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

    fn judged(backups: &[Arc<Backup>], owned: bool) -> [Vec<String>; 2] {
        let location = Arc::new(BackupStorageLocation::new("main", BackupStorageLocationSpec::default()));
        let Judged { expired, kept } = judge(backups, &[location], |_| owned, at(100).0);
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
        // One that was taken over from another cluster is of another schedule, whatever that is called.
        let mut elsewhere = Backup::clone(&younger[1]);
        elsewhere.status.as_mut().unwrap().cluster_id = Some("other".to_owned());
        let [ours, _] = younger;
        assert_eq!(
            judged(&[ours, Arc::new(elsewhere)], true),
            [vec![], vec!["first".to_owned()]]
        );
    }

    #[test]
    fn a_backup_that_is_held_or_has_become_the_last_one_stays_after_all() {
        let one =
            |name, started, expires| backup(name, Some("nightly"), BackupPhase::Completed, started, Some(expires));
        let (first, second) = (one("first", 1, 50), one("second", 2, 500));
        let why = |backup: &Arc<Backup>, others: &[&Arc<Backup>]| {
            let backups: Vec<Arc<Backup>> = others.iter().copied().chain([backup]).cloned().collect();
            why_it_stays(backup, &backups, at(100).0)
        };
        assert_eq!(why(&first, &[&second]), None);
        assert!(why(&first, &[]).is_some_and(|why| why.contains("last")));
        let mut held = Backup::clone(&first);
        held.spec.hold = true;
        assert!(why(&Arc::new(held), &[&second]).is_some_and(|why| why.contains("held")));
        assert!(why(&second, &[]).is_some_and(|why| why.contains("not over")));
    }

    #[test]
    fn requests_for_what_has_expired_are_told_from_those_of_people() {
        let mut backup = Backup::clone(&backup("a", None, BackupPhase::Completed, 1, Some(50)));
        backup.metadata.uid = Some("u1".to_owned());
        let request = |name: &str| DeleteBackupRequest::new(name, DeleteBackupRequestSpec::default());
        assert!(is_request(
            &request(&crate::deletion::name_of(&backup, "u1", REASON)),
            &backup
        ));
        assert!(!is_request(
            &request(&crate::deletion::name_of(&backup, "u1", "again")),
            &backup
        ));
        assert!(!is_request(&request("a"), &backup));
    }
}
