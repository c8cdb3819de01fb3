//! What of a repository's maintenance is due. Pure.

use std::time::Duration;

use api::location::BackupStorageLocationSpec;
use api::repository::Maintenance;
use api::{BackupRepository, duration};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How often each is done unless the location says otherwise.
const PERIOD: Duration = Duration::from_secs(24 * 3600);
/// What failed is tried again after this, or sooner if it is done more often.
const RETRY: SignedDuration = SignedDuration::from_hours(1);
/// In how many checks a repository is read unless the location says otherwise.
const SLICES: u32 = 30;

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// What no backup needs is deleted from the store.
    Prune,
    /// A slice is read and checked.
    Check {
        /// Which, from 1.
        slice: u32,
        /// Of how many.
        of: u32,
    },
}

impl Work {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prune => "Prune",
            Self::Check { .. } => "Check",
        }
    }

    /// The condition that says how it went.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Prune => "Pruned",
            Self::Check { .. } => "Healthy",
        }
    }
}

/// What is due first, of what a repository and its location say.
pub fn due(repository: &BackupRepository, location: &BackupStorageLocationSpec, now: Timestamp) -> Option<Work> {
    let status = repository.status.clone().unwrap_or_default();
    let created = repository
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |created| created.0);
    let prune = Turn {
        wish: repository.spec.prune_now.as_ref(),
        obeyed: status.prune_now.as_ref(),
        last: status.last_prune.as_ref(),
        every: duration::of(location.prune_frequency.as_deref(), PERIOD),
    };
    if prune.is_due(created, now) {
        return Some(Work::Prune);
    }
    let check = Turn {
        wish: repository.spec.check_now.as_ref(),
        obeyed: status.check_now.as_ref(),
        last: status.last_check.as_ref(),
        every: duration::of(location.check_frequency.as_deref(), PERIOD),
    };
    let of = location.check_slices.unwrap_or(SLICES).max(1);
    // There may have been more slices before.
    let slice = status.next_slice.filter(|slice| (1..=of).contains(slice)).unwrap_or(1);
    check.is_due(created, now).then_some(Work::Check { slice, of })
}

/// Whether somebody wishes for that work, besides its being time for it.
pub fn is_wished(repository: &BackupRepository, work: Work) -> bool {
    let status = repository.status.clone().unwrap_or_default();
    let (wish, obeyed) = match work {
        Work::Prune => (&repository.spec.prune_now, status.prune_now),
        Work::Check { .. } => (&repository.spec.check_now, status.check_now),
    };
    wish.is_some() && *wish != obeyed
}

struct Turn<'a> {
    wish: Option<&'a String>,
    obeyed: Option<&'a String>,
    last: Option<&'a Maintenance>,
    every: Duration,
}

impl Turn<'_> {
    fn is_due(&self, created: Timestamp, now: Timestamp) -> bool {
        if self.wish.is_some() && self.wish != self.obeyed {
            return true;
        }
        let (since, succeeded) = match self.last {
            // It was begun, and whoever did it died.
            Some(Maintenance {
                started: Some(_),
                completed: None,
                ..
            }) => return true,
            Some(Maintenance {
                completed: Some(completed),
                succeeded,
                ..
            }) => (completed.0, *succeeded),
            _ => (created, true),
        };
        if self.every.is_zero() {
            return false;
        }
        let every = SignedDuration::try_from(self.every).unwrap_or(SignedDuration::MAX);
        let wait = if succeeded { every } else { every.min(RETRY) };
        now.duration_since(since) >= wait
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::{BackupRepositorySpec, BackupRepositoryStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn hours(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).unwrap()
    }

    fn piece(started: i64, completed: Option<i64>, succeeded: bool) -> Option<Maintenance> {
        Some(Maintenance {
            started: Some(Time(hours(started))),
            completed: completed.map(|completed| Time(hours(completed))),
            succeeded,
            message: None,
        })
    }

    fn repository(status: BackupRepositoryStatus) -> BackupRepository {
        let mut repository = BackupRepository::new("main", BackupRepositorySpec::default());
        repository.metadata.creation_timestamp = Some(Time(hours(0)));
        repository.status = Some(status);
        repository
    }

    const SECOND: Work = Work::Check { slice: 2, of: 30 };

    #[test]
    fn each_is_done_once_a_period_and_again_when_it_failed_or_was_cut_off() {
        let location = BackupStorageLocationSpec::default();
        let cases = [
            // prune, check, hour, due
            (None, None, 23, None),
            (None, None, 24, Some(Work::Prune)),
            (
                piece(24, Some(25), true),
                None,
                25,
                Some(Work::Check { slice: 2, of: 30 }),
            ),
            (piece(24, Some(25), true), piece(25, Some(26), true), 48, None),
            (
                piece(24, Some(25), true),
                piece(25, Some(26), true),
                49,
                Some(Work::Prune),
            ),
            (
                piece(24, Some(25), false),
                piece(25, Some(26), true),
                26,
                Some(Work::Prune),
            ),
            (piece(24, Some(25), true), piece(25, Some(26), false), 27, Some(SECOND)),
            (piece(24, None, false), None, 24, Some(Work::Prune)),
            (piece(24, Some(25), true), piece(24, None, false), 25, Some(SECOND)),
        ];
        for (number, (prune, check, hour, expected)) in cases.into_iter().enumerate() {
            let status = BackupRepositoryStatus {
                last_prune: prune,
                last_check: check,
                next_slice: Some(2),
                ..BackupRepositoryStatus::default()
            };
            assert_eq!(
                due(&repository(status), &location, hours(hour)),
                expected,
                "case {number}"
            );
        }
    }

    #[test]
    fn wishes_are_obeyed_at_once_and_once_also_where_it_is_never_time() {
        let never = BackupStorageLocationSpec {
            prune_frequency: Some("0s".to_owned()),
            check_frequency: Some("0s".to_owned()),
            check_slices: Some(1),
            ..BackupStorageLocationSpec::default()
        };
        let mut repository = repository(BackupRepositoryStatus::default());
        assert_eq!(due(&repository, &never, hours(9999)), None);
        repository.spec.check_now = Some("a".to_owned());
        let work = due(&repository, &never, hours(1));
        assert_eq!(work, Some(Work::Check { slice: 1, of: 1 }));
        assert!(is_wished(&repository, work.unwrap()) && !is_wished(&repository, Work::Prune));
        repository.status.as_mut().unwrap().check_now = Some("a".to_owned());
        assert_eq!(due(&repository, &never, hours(1)), None);
        // Fewer slices than before: it begins anew.
        repository.spec.check_now = Some("b".to_owned());
        repository.status.as_mut().unwrap().next_slice = Some(7);
        assert_eq!(
            due(&repository, &never, hours(1)),
            Some(Work::Check { slice: 1, of: 1 })
        );
    }
}
