//! Backups that wait for their location. Such a Backup has no task and takes no slot from one that could go on: what it waits for, and since when, stands in its
//! condition Waiting, so a controller that takes over neither forgets it nor begins to count anew.
//!
//! ```text
//! New, or under way ──▶ the location cannot be used ──▶ Waiting ──▶ it can ──▶ on from what is written down
//!                                                          └──▶ for half an hour ──▶ Failed
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::condition::{self, Condition, Said};
use api::{Backup, BackupStorageLocation};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::context::{Context, now};
use crate::location;

/// How long a location that does not answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1800);
/// How soon a location that should be usable is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The condition of a backup that waits.
const WAITING: &str = "Waiting";

/// How a location stands to a backup that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It can be used, as far as is known.
    Open,
    /// It cannot, or is not there.
    Closed,
    /// This process has not looked at it yet.
    Unknown,
    /// It is not one that backups are made in any more.
    Refused,
}

impl Way {
    /// Of a location, if it is there.
    pub(super) fn of(context: &Context, location: Option<&BackupStorageLocation>) -> Self {
        let Some(location) = location else { return Self::Closed };
        if location::may_write(location).is_err() {
            Self::Refused
        } else if location::can_write(context, location).is_ok() {
            Self::Open
        } else if context.looks.has(location) {
            Self::Closed
        } else {
            Self::Unknown
        }
    }
}

/// Since when a backup waits, if it does.
pub(super) fn since(backup: &Backup) -> Option<Timestamp> {
    let said = said_before(backup).filter(|said| said.status == "True")?;
    Some(said.last_transition_time.0)
}

fn said_before(backup: &Backup) -> Option<&Condition> {
    condition::find(backup.status.iter().flat_map(|status| &status.conditions), WAITING)
}

/// Whether a backup has waited long enough. A controller that was away for longer looks at the location before it says so.
pub(super) fn is_over(since: Timestamp, way: Way, now: Timestamp) -> bool {
    way != Way::Unknown && now.duration_since(since).as_secs() >= i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX)
}

/// What is said of a backup that waits.
pub(super) fn said(location: &str, why: &str, generation: Option<i64>) -> Said<'static> {
    Said {
        kind: WAITING,
        holds: true,
        reason: "LocationUnavailable",
        message: format!("Waiting for the location {location}: {why}"),
        generation,
    }
}

/// Whether that was said before.
pub(super) fn says(backup: &Backup, said: &Said<'_>) -> bool {
    since(backup).is_some() && said_before(backup).is_some_and(|known| known.message == said.message)
}

/// Says of a backup that waited that it does no longer.
pub(super) fn end(conditions: &mut Vec<Condition>, generation: Option<i64>) {
    if condition::find(conditions.iter(), WAITING).is_none() {
        return;
    }
    let said = Said {
        kind: WAITING,
        holds: false,
        reason: "NotWaiting",
        message: "It waits for nothing".to_owned(),
        generation,
    };
    condition::set(conditions, &said, now());
}

/// Whether something can be done for a backup that waits: go on, or fail.
fn is_due(since: Timestamp, way: Way, now: Timestamp) -> bool {
    match way {
        Way::Open | Way::Refused => true,
        Way::Closed | Way::Unknown => is_over(since, way, now),
    }
}

/// Who of those that wait is let in.
#[derive(Default)]
pub(super) struct Queue {
    /// When each was let in last.
    tried: BTreeMap<String, Instant>,
    /// Somebody waits.
    waits: bool,
}

impl Queue {
    /// Whether a backup may begin, or be tried again.
    pub(super) fn lets(&mut self, context: &Context, backup: &Backup) -> bool {
        let location = backup
            .status
            .as_ref()
            .and_then(|status| status.storage_location.as_deref());
        let location = location.and_then(|name| context.watches.locations.named(name));
        self.admits(backup, Way::of(context, location.as_deref()), now())
    }

    fn admits(&mut self, backup: &Backup, way: Way, now: Timestamp) -> bool {
        let Some(since) = since(backup) else { return true };
        self.waits = true;
        let uid = backup.uid().unwrap_or_default();
        let is_early = self.tried.get(&uid).is_some_and(|tried| tried.elapsed() < RETRY);
        if is_early || !is_due(since, way, now) {
            return false;
        }
        self.tried.insert(uid, Instant::now());
        true
    }

    /// Forgets those that are gone.
    pub(super) fn keep(&mut self, backups: &[Arc<Backup>]) {
        let is_there = |uid: &String| backups.iter().any(|backup| backup.metadata.uid.as_ref() == Some(uid));
        self.tried.retain(|uid, _| is_there(uid));
    }

    /// How soon it is to be asked again.
    pub(super) fn wait(&mut self) -> Duration {
        if std::mem::take(&mut self.waits) {
            RETRY
        } else {
            Duration::from_secs(30)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::BackupStatus;
    use api::backup::BackupSpec;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A Backup that waits since second 1000, or not.
    fn backup(name: &str, waits: bool) -> Backup {
        let mut backup = Backup::new(name, BackupSpec::default());
        backup.metadata.uid = Some(name.to_owned());
        let mut status = BackupStatus::default();
        if waits {
            condition::set(&mut status.conditions, &said("main", "no answer", Some(1)), at(1000));
        }
        backup.status = Some(status);
        backup
    }

    /// The bug: four backups to a store that was down had all the slots for half an hour each, and a fifth, to another store, waited for them.
    #[tokio::test]
    async fn a_backup_that_waits_for_its_location_keeps_nobody_from_his_turn() {
        let mut queue = Queue::default();
        for name in ["a", "b", "c", "d"] {
            assert!(!queue.admits(&backup(name, true), Way::Closed, at(1010)), "{name}");
        }
        assert!(queue.admits(&backup("healthy", false), Way::Open, at(1010)));
        assert_eq!(queue.wait(), RETRY);
        // The store is back; what should be usable and is not is not tried all the time.
        assert!(queue.admits(&backup("a", true), Way::Open, at(1020)));
        assert!(!queue.admits(&backup("a", true), Way::Open, at(1020)));
        queue.keep(&[]);
        assert!(queue.admits(&backup("a", true), Way::Open, at(1020)));
    }

    #[test]
    fn it_fails_after_half_an_hour_whoever_counts_and_not_before_somebody_has_looked() {
        let since = since(&backup("a", true)).unwrap();
        assert!(!is_due(since, Way::Closed, at(2799)) && is_due(since, Way::Closed, at(2800)));
        assert!(!is_due(since, Way::Unknown, at(100_000)));
        assert!(is_due(since, Way::Refused, at(1001)), "it can end at once");
        assert!(
            is_over(since, Way::Open, at(2800)),
            "it could not be opened all the same"
        );
    }

    #[test]
    fn since_when_it_waits_stays_whatever_the_reason_becomes() {
        let mut backup = backup("a", true);
        assert!(says(&backup, &said("main", "no answer", Some(1))));
        let other = said("main", "no route", Some(1));
        assert!(!says(&backup, &other));
        let conditions = &mut backup.status.as_mut().unwrap().conditions;
        condition::set(conditions, &other, at(1500));
        assert_eq!(since(&backup), Some(at(1000)));
        end(&mut backup.status.as_mut().unwrap().conditions, Some(1));
        assert_eq!(since(&backup), None);
        let mut none = Vec::new();
        end(&mut none, None);
        assert!(none.is_empty());
    }
}
