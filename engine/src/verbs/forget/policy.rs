//! Which snapshots a policy keeps, and why. Pure.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::repository::StoredSnapshot;
use crate::words::{Error, Result, Timestamp};

/// What is kept; every rule keeps by itself, and what no rule keeps is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepPolicy {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many hours that have one.
    pub hourly: u32,
    /// Of days.
    pub daily: u32,
    /// Of weeks, from Monday on.
    pub weekly: u32,
    /// Of months.
    pub monthly: u32,
    /// Of years.
    pub yearly: u32,
    /// All that are at most so many seconds older than the newest of their group.
    pub within_seconds: Option<i64>,
    /// All that have every tag of one of these lists.
    pub tags: Vec<Vec<String>>,
}

impl KeepPolicy {
    /// Whether no rule keeps anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// [`Error::Invalid`] when no rule keeps anything, or one can keep nothing by a slip of the pen: an empty tag (a variable that is not set), a
    /// negative length of time.
    pub fn check(&self) -> Result<()> {
        let why = if self.is_empty() {
            "The policy keeps nothing; say what to keep, or name snapshots"
        } else if self
            .tags
            .iter()
            .any(|tags| tags.is_empty() || tags.iter().any(String::is_empty))
        {
            "A tag to keep is empty"
        } else if self.within_seconds.is_some_and(|seconds| seconds < 0) {
            "The length of time to keep is negative"
        } else {
            return Ok(());
        };
        Err(Error::Invalid(why.into()))
    }
}

/// Which snapshots are judged together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBy {
    /// Those of one host.
    pub host: bool,
    /// Those of the same sources.
    pub paths: bool,
    /// Those with the same tags.
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self {
            host: true,
            paths: true,
            tags: false,
        }
    }
}

/// Why a snapshot is kept, or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// Young enough.
    Within,
    /// It has the tags.
    Tags,
    /// An interrupted backup newer than every complete one: the next backup goes on from it.
    NewestIncomplete,
    /// A person named it.
    Named,
}

impl Reason {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Last => "one of the last",
            Self::Hourly => "newest of its hour",
            Self::Daily => "newest of its day",
            Self::Weekly => "newest of its week",
            Self::Monthly => "newest of its month",
            Self::Yearly => "newest of its year",
            Self::Within => "young enough",
            Self::Tags => "has the tags",
            Self::NewestIncomplete => "interrupted, to be continued",
            Self::Named => "named",
        }
    }
}

/// What becomes of a snapshot.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The snapshot.
    pub snapshot: StoredSnapshot,
    /// It stays.
    pub keep: bool,
    /// Every rule that keeps it; for one that goes, none or that it was named.
    pub reasons: Vec<Reason>,
}

type Group = (Vec<u8>, Vec<Vec<u8>>, Vec<String>);

/// Judges the snapshots, group by group, newest first.
///
/// Interrupted backups count for no rule: the newest is kept while no complete one is newer, the others go.
pub fn plan(
    snapshots: &[StoredSnapshot],
    keep: &KeepPolicy,
    group_by: GroupBy,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Vec<Decision>> {
    grouped(snapshots, group_by)
        .into_iter()
        .map(|group| judge(group, keep, now, zone))
        .collect()
}

/// Puts those together that have the same of what is grouped by; within a group they stay in the order given.
pub fn grouped(snapshots: &[StoredSnapshot], group_by: GroupBy) -> Vec<Vec<&StoredSnapshot>> {
    let mut groups: BTreeMap<Group, Vec<&StoredSnapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        let summary = &snapshot.summary;
        let mut group = Group::default();
        if group_by.host {
            group.0.clone_from(&summary.host);
        }
        if group_by.paths {
            group.1.clone_from(&summary.paths);
            group.1.sort();
        }
        if group_by.tags {
            group.2.clone_from(&summary.tags);
            group.2.sort();
        }
        groups.entry(group).or_default().push(snapshot);
    }
    groups.into_values().collect()
}

fn judge(mut group: Vec<&StoredSnapshot>, keep: &KeepPolicy, now: Timestamp, zone: &TimeZone) -> Vec<Decision> {
    group.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.summary.time, snapshot.id)));
    let newest = group
        .iter()
        .find(|snapshot| !snapshot.summary.incomplete)
        .map(|snapshot| snapshot.summary.time);
    let mut periods = [
        (Reason::Last, keep.last, None),
        (Reason::Hourly, keep.hourly, None),
        (Reason::Daily, keep.daily, None),
        (Reason::Weekly, keep.weekly, None),
        (Reason::Monthly, keep.monthly, None),
        (Reason::Yearly, keep.yearly, None),
    ];
    let mut incomplete_kept = false;
    let mut decisions = Vec::with_capacity(group.len());
    for snapshot in group {
        let summary = &snapshot.summary;
        let mut reasons = Vec::new();
        if summary.incomplete {
            if !incomplete_kept && newest.is_none_or(|newest| summary.time > newest) {
                incomplete_kept = true;
                reasons.push(Reason::NewestIncomplete);
            }
            decisions.push(Decision {
                snapshot: snapshot.clone(),
                keep: !reasons.is_empty(),
                reasons,
            });
            continue;
        }
        for (reason, left, last) in &mut periods {
            let period = period(*reason, snapshot, zone);
            if *left > 0 && *last != Some(period) {
                *left -= 1;
                *last = Some(period);
                reasons.push(*reason);
            }
        }
        let reference = newest.unwrap_or(now);
        if keep
            .within_seconds
            .is_some_and(|seconds| reference.seconds_since(summary.time) <= seconds)
        {
            reasons.push(Reason::Within);
        }
        if keep
            .tags
            .iter()
            .any(|tags| tags.iter().all(|tag| summary.tags.contains(tag)))
        {
            reasons.push(Reason::Tags);
        }
        decisions.push(Decision {
            snapshot: snapshot.clone(),
            keep: !reasons.is_empty(),
            reasons,
        });
    }
    decisions
}

/// A number that is the same for all snapshots of one period, and different for those of the next.
fn period(reason: Reason, snapshot: &StoredSnapshot, zone: &TimeZone) -> i128 {
    let time = jiff::Timestamp::from_nanosecond(i128::from(snapshot.summary.time.0)).unwrap_or_default();
    let zoned = time.to_zoned(zone.clone());
    let (year, month) = (i128::from(zoned.year()), i128::from(zoned.month()));
    match reason {
        Reason::Hourly => {
            (year * 400 + i128::from(zoned.day_of_year())) * 24
                + i128::from(zoned.hour())
                // When clocks go back, an hour comes twice.
                + i128::from(zoned.offset().seconds()) * 1_000_000_000
        }
        Reason::Daily => year * 400 + i128::from(zoned.day_of_year()),
        Reason::Weekly => {
            let week = zoned.date().iso_week_date();
            i128::from(week.year()) * 60 + i128::from(week.week())
        }
        Reason::Monthly => year * 12 + month,
        Reason::Yearly => year,
        Reason::Last | Reason::Within | Reason::Tags | Reason::NewestIncomplete | Reason::Named => {
            i128::from_le_bytes(snapshot.id.0)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::format::snapshot::Summary;
    use crate::words::SessionId;

    fn snapshot(number: u8, time: &str) -> StoredSnapshot {
        let time: jiff::Timestamp = time.parse().unwrap();
        let time = Timestamp(time.as_nanosecond() as i64);
        let summary = Summary {
            time,
            host: b"h".to_vec(),
            ..Summary::default()
        };
        StoredSnapshot {
            id: SessionId([number; 16]),
            summary,
            record: None,
        }
    }

    fn kept(snapshots: &[StoredSnapshot], keep: KeepPolicy) -> Vec<u8> {
        let groups = plan(snapshots, &keep, GroupBy::default(), Timestamp(0), &TimeZone::UTC);
        let mut kept: Vec<u8> = groups
            .iter()
            .flatten()
            .filter(|decision| decision.keep)
            .map(|decision| decision.snapshot.id.0[0])
            .collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_periods() {
        let all = [
            snapshot(1, "2025-12-31T23:00:00Z"),
            snapshot(2, "2026-01-01T01:00:00Z"),
            snapshot(3, "2026-01-31T10:00:00Z"),
            snapshot(4, "2026-02-01T10:00:00Z"),
            snapshot(5, "2026-02-02T10:00:00Z"),
            snapshot(6, "2026-02-02T10:30:00Z"),
            snapshot(7, "2026-02-02T11:00:00Z"),
        ];
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    last: 2,
                    ..Default::default()
                }
            ),
            [6, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    hourly: 2,
                    ..Default::default()
                }
            ),
            [6, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    daily: 3,
                    ..Default::default()
                }
            ),
            [3, 4, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    weekly: 2,
                    ..Default::default()
                }
            ),
            [4, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    monthly: 3,
                    ..Default::default()
                }
            ),
            [1, 3, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    yearly: 5,
                    ..Default::default()
                }
            ),
            [1, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    within_seconds: Some(3600),
                    ..Default::default()
                }
            ),
            [5, 6, 7]
        );
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    last: 1,
                    yearly: 2,
                    ..Default::default()
                }
            ),
            [1, 7]
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_no_policy() {
        let with_tags = |tags: &[&[&str]]| KeepPolicy {
            tags: tags
                .iter()
                .map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect())
                .collect(),
            ..KeepPolicy::default()
        };
        let within = |seconds| KeepPolicy {
            within_seconds: Some(seconds),
            last: 1,
            ..KeepPolicy::default()
        };
        for refused in [
            KeepPolicy::default(),
            with_tags(&[&[""]]),
            with_tags(&[&["good"], &["good", ""]]),
            with_tags(&[&[]]),
            within(-1),
        ] {
            assert!(refused.check().is_err(), "{refused:?}");
        }
        for taken in [with_tags(&[&["good", "kept"]]), within(0)] {
            taken.check().unwrap();
        }
    }

    #[test]
    fn an_interrupted_backup_is_kept_only_while_it_is_the_newest() {
        let mut all = [
            snapshot(1, "2026-01-01T00:00:00Z"),
            snapshot(2, "2026-01-02T00:00:00Z"),
            snapshot(3, "2026-01-03T00:00:00Z"),
        ];
        all[0].summary.incomplete = true;
        all[2].summary.incomplete = true;
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    last: 1,
                    ..Default::default()
                }
            ),
            [2, 3]
        );
    }

    #[test]
    fn hosts_and_sources_are_judged_apart_and_tags_keep() {
        let mut all = [
            snapshot(1, "2026-01-01T00:00:00Z"),
            snapshot(2, "2026-01-02T00:00:00Z"),
            snapshot(3, "2026-01-03T00:00:00Z"),
        ];
        all[0].summary.host = b"other".to_vec();
        all[1].summary.tags = vec!["precious".into()];
        assert_eq!(
            kept(
                &all,
                KeepPolicy {
                    last: 1,
                    ..Default::default()
                }
            ),
            [1, 3]
        );
        let keep = KeepPolicy {
            last: 1,
            tags: vec![vec!["precious".into()]],
            ..Default::default()
        };
        assert_eq!(kept(&all, keep), [1, 2, 3]);
    }
}
