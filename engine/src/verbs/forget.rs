//! Forget: which snapshots are no longer wanted. It marks them; space comes back by [`super::prune`].
//!
//! [`plan`] decides, purely, and says why for each snapshot; [`forget`] marks what the plan lets go.

mod policy;

pub use policy::{Decision, GroupBy, KeepPolicy, Reason, plan};

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
    },
    /// These, as a person names them.
    Snapshots(Vec<String>),
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
}

/// Decides, and marks.
///
/// # Errors
/// [`Error::Invalid`] when the policy keeps nothing at all; [`Error::Damaged`] when a policy is to judge and something cannot be read;
/// [`Error::NoSnapshot`]; what the store says.
pub fn forget(repository: &Repository, options: &ForgetOptions, progress: &dyn Progress) -> Result<ForgetReport> {
    progress.stage("Choosing snapshots");
    let mut report = ForgetReport::default();
    match &options.what {
        What::Policy { keep, filter, group_by } => {
            if keep.is_empty() {
                return Err(Error::Invalid(
                    "The policy keeps nothing; say what to keep, or name snapshots".into(),
                ));
            }
            let Listing { snapshots, damaged } = repository.listing(filter)?;
            // A snapshot that cannot be read may be the one that a rule would keep in place of another.
            refuse(&damaged)?;
            report.groups = plan(&snapshots, keep, *group_by, options.now, &options.time_zone);
        }
        What::Snapshots(wanted) => {
            let mut decisions = Vec::new();
            for wanted in wanted {
                let snapshot = repository.find_snapshot(wanted, &SnapshotFilter::default())?;
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
            What::Snapshots(_) => "named by a person",
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
