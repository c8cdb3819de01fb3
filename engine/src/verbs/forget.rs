//! Forget: which snapshots are no longer wanted. It marks them; space comes back by [`super::prune`].
//!
//! [`plan`] decides, purely, and says why for each snapshot; [`forget`] marks what the plan lets go.

mod policy;

pub use policy::{Decision, GroupBy, KeepPolicy, Reason, grouped, plan};

use crate::format::mark::MarkKind;
use crate::repository::damage::refuse;
use crate::repository::snapshots::Listing;
use crate::repository::{Repository, SnapshotFilter};
use crate::words::{Error, Progress, Result, SessionId, Timestamp};

/// What is forgotten.
#[derive(Clone, Debug)]
pub enum What {
    /// What the policy lets go, of the snapshots that the filter means.
    Policy {
        /// What is kept.
        keep: KeepPolicy,
        /// Which snapshots are judged; others are not touched.
        filter: SnapshotFilter,
        /// Which snapshots are judged together.
        group_by: GroupBy,
        /// A group may lose all its snapshots. Without this, a slip of the pen in a policy forgets nothing.
        allow_empty_groups: bool,
        /// The name of a label whose bearers are not judged: somebody else knows which of them belong together.
        spared: Option<String>,
    },
    /// These, as a person names them.
    Snapshots {
        /// An id or its beginning, `latest`, `latest~N`.
        names: Vec<String>,
        /// Among which snapshots the names are looked for.
        filter: SnapshotFilter,
        /// A tag whose bearers are not forgotten.
        held: Option<String>,
    },
}

/// How it is done.
#[derive(Clone, Debug)]
pub struct ForgetOptions {
    /// What is forgotten.
    pub what: What,
    /// The present.
    pub now: Timestamp,
    /// The time zone in which days begin.
    pub time_zone: jiff::tz::TimeZone,
    /// Only the plan is made.
    pub dry_run: bool,
}

/// What was decided, and done unless it was a dry run.
#[derive(Clone, Debug, Default)]
pub struct ForgetReport {
    /// By group, newest first.
    pub groups: Vec<Vec<Decision>>,
    /// Snapshots that were marked.
    pub forgotten: Vec<SessionId>,
    /// How many snapshots the policy was not to judge.
    pub spared: usize,
}

/// Decides, and marks.
///
/// # Errors
/// [`Error::Invalid`] when the policy makes no sense, keeps nothing at all or would leave a group without snapshots, or a snapshot is held; [`Error::Damaged`] when a policy
/// is to judge and something cannot be read; [`Error::NoSnapshot`]; what the store says. Then nothing is marked.
pub fn forget(repository: &Repository, options: &ForgetOptions, progress: &dyn Progress) -> Result<ForgetReport> {
    progress.stage("Choosing snapshots", "snapshots");
    let mut report = ForgetReport::default();
    match &options.what {
        What::Policy {
            keep,
            filter,
            group_by,
            allow_empty_groups,
            spared,
        } => {
            keep.check()?;
            let Listing { mut snapshots, damaged } = repository.listing(filter)?;
            // A snapshot that cannot be read may be the one that a rule would keep in place of another.
            refuse(&damaged)?;
            if let Some(label) = spared {
                let before = snapshots.len();
                snapshots.retain(|snapshot| snapshot.summary.labels.iter().all(|(name, _)| name != label));
                report.spared = before - snapshots.len();
            }
            report.groups = plan(&snapshots, keep, *group_by, options.now, &options.time_zone);
            if !allow_empty_groups && let Some(group) = report.groups.iter().find(|group| loses_all(group)) {
                return Err(Error::Invalid(format!(
                    "The policy would forget {} and keep none, so nothing was forgotten; say so with --allow-empty-groups if that is meant",
                    described(group)
                )));
            }
        }
        What::Snapshots { names, filter, held } => {
            let mut decisions: Vec<Decision> = Vec::new();
            for name in names {
                let snapshot = repository.find_snapshot(name, filter)?;
                if decisions.iter().any(|decision| decision.snapshot.id == snapshot.id) {
                    continue;
                }
                if let Some(tag) = held.as_ref().filter(|tag| snapshot.summary.tags.contains(tag)) {
                    return Err(Error::Invalid(format!(
                        "The snapshot {id} is held by its tag {tag}, so nothing was forgotten; take the tag away first: ararat repo tag --remove {tag} {id}",
                        id = snapshot.id.short()
                    )));
                }
                decisions.push(Decision {
                    snapshot,
                    keep: false,
                    reasons: vec![Reason::Named],
                });
            }
            report.groups.push(decisions);
        }
    }
    if options.dry_run {
        return Ok(report);
    }
    for decision in report.groups.iter().flatten().filter(|decision| !decision.keep) {
        let reason = match &options.what {
            What::Policy { .. } => "no rule of the policy keeps it",
            What::Snapshots { .. } => "named by a person",
        };
        repository.mark(
            decision.snapshot.id,
            MarkKind::Forget { reason: reason.into() },
            options.now,
        )?;
        report.forgotten.push(decision.snapshot.id);
        progress.done(1, 0);
    }
    Ok(report)
}

fn loses_all(group: &[Decision]) -> bool {
    group.iter().all(|decision| !decision.keep)
}

/// "all 3 snapshots of /srv on web1": a group by its newest.
fn described(group: &[Decision]) -> String {
    let count = match group.len() {
        1 => "the only snapshot".to_owned(),
        count => format!("all {count} snapshots"),
    };
    let of = group.first().map_or_else(String::new, |decision| {
        let summary = &decision.snapshot.summary;
        let paths: Vec<_> = summary.paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
        format!(" of {} on {}", paths.join(" "), String::from_utf8_lossy(&summary.host))
    });
    count + &of
}
