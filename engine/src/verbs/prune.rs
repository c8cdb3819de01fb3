//! Prune: space back from forgotten snapshots, beside running backups and restores.
//!
//! The protocol is FORMAT.md's, 11 (proved in DESIGN's reference and modelled in `tests/protocol`):
//!
//! ```text
//! survey ──▶ plan ──▶ repack ──▶ publish condemned (g+1) ──▶ barrier ──▶ count late commits ──▶ publish dead (g+2) ──▶ delete
//!   what is used   what to do   move blobs   nobody refers to them   wait or fence   take back      out of the index
//! ```
//!
//! Nothing waits for a lock; whatever the barrier still waits for stays condemned and is deleted by a later run. A run that dies at any point
//! leaves a generation from which the next one goes on. In reading order: [`survey`] (what is there and used), [`tables`] (where moved blobs are), [`plan`] (pure: what to do),
//! [`repack`], [`publish`] (generations and the barrier), [`fold`] (sessions into the catalogue, segments into levels), [`remove`].

mod fold;
mod plan;
mod publish;
mod remove;
mod repack;
mod survey;
mod tables;

use crate::repository::Repository;
use crate::repository::writer::Machine;
use crate::store::probe;
use crate::words::{Error, Progress, Result, SessionId, Timestamp};

pub use plan::{PackFate, PrunePlan};

/// How a prune is made.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// Tells the present.
    pub clock: fn() -> Timestamp,
    /// Where it runs.
    pub machine: Machine,
    /// Only the plan is made.
    pub dry_run: bool,
    /// Seconds that a pack stays condemned, so that forgetting can be undone. Policy, not safety.
    pub undelete_seconds: i64,
    /// A pack is repacked when more than this part of its bytes is unused, 0 to 1.
    pub unused_max: f64,
    /// Bytes that are repacked at most.
    pub repack_bytes_max: u64,
    /// Seconds without a sign after which a session of another machine is taken for dead and fenced. Policy, not safety.
    pub fence_seconds: i64,
    /// Seconds to wait for running sessions before the rest is left to the next run.
    pub wait_seconds: u64,
    /// The operator vouches that nothing else runs; needed on stores without create-if-absent.
    pub exclusive: bool,
}

/// What a prune did.
#[derive(Clone, Debug, Default)]
pub struct PruneReport {
    /// What was planned.
    pub plan: PrunePlan,
    /// Packs that were deleted.
    pub packs_deleted: u64,
    /// Their bytes.
    pub bytes_deleted: u64,
    /// Packs that were repacked.
    pub packs_repacked: u64,
    /// Bytes that were moved.
    pub bytes_repacked: u64,
    /// Packs that are condemned and wait for a session or for the undelete window.
    pub packs_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// Running sessions that some of them wait for.
    pub sessions_waited_for: Vec<SessionId>,
    /// Dead sessions that were ended.
    pub sessions_fenced: Vec<SessionId>,
    /// Sessions that were folded into the catalogue.
    pub sessions_folded: u64,
    /// The generation that is newest now.
    pub generation: u64,
}

/// Somebody else published a generation first: how often we start again.
const ATTEMPTS: usize = 16;

/// Deletes what no snapshot needs, and repacks what is mostly unused.
///
/// # Errors
/// [`Error::RoleTooSmall`] for writers and readers; [`Error::Damaged`] when references cannot be read, for then nothing may be deleted;
/// what the store says.
pub fn prune(repository: &Repository, options: &PruneOptions, progress: &dyn Progress) -> Result<PruneReport> {
    let keys = repository.keys();
    if keys.maintenance.pair.is_none() || keys.mark.is_none() {
        return Err(repository.role_too_small("a maintainer or an owner"));
    }
    if !options.exclusive && !options.dry_run && !probe::creates_if_absent(repository.store())? {
        return Err(Error::Invalid(
            "This store overwrites where it should refuse, so prune is safe only when nothing else runs; say so with --exclusive".into(),
        ));
    }
    for _ in 0..ATTEMPTS {
        let mut known = repository.newest_generation(0)?.0.number;
        match attempt(repository, options, &mut known, progress) {
            Ok(Some(report)) => return Ok(report),
            Ok(None) => progress.note("Another prune published first; starting again from what it left"),
            // What it has replaced it deletes: something that was listed a moment ago may be gone. Else it is lost, and nothing is deleted.
            Err(error @ (Error::Missing { .. } | Error::Damaged { .. })) => {
                if repository.newest_generation(0)?.0.number == known {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
    }
    Err(Error::Invalid(
        "Other prunes were faster sixteen times in a row; one is enough, try again later".into(),
    ))
}

/// One attempt; nothing when another maintainer was faster. `known` is the newest generation that it has seen or published.
fn attempt(
    repository: &Repository,
    options: &PruneOptions,
    known: &mut u64,
    progress: &dyn Progress,
) -> Result<Option<PruneReport>> {
    progress.stage("Looking at what is used");
    let survey = survey::survey(repository)?;
    *known = survey.view.generation.number;
    let plan = plan::plan(&survey, options.unused_max, options.repack_bytes_max);
    let mut report = PruneReport {
        plan,
        generation: survey.view.generation.number,
        ..PruneReport::default()
    };
    if options.dry_run {
        return Ok(Some(report));
    }
    let mut survey = survey;
    if report.plan.repack_packs > 0 {
        progress.stage("Repacking");
        let moved = repack::repack(repository, &survey, &report.plan, options, progress)?;
        (report.packs_repacked, report.bytes_repacked) = moved;
        // The repack is a committed session like any other: look again, and its old packs are unused.
        survey = survey::survey(repository)?;
        *known = survey.view.generation.number;
        let then = plan::plan(&survey, f64::INFINITY, 0);
        report.plan.fates = then.fates;
    }
    progress.stage("Condemning");
    let Some(condemning) = publish::condemn(repository, &survey, &report.plan, options)? else {
        return Ok(None);
    };
    *known = condemning.generation.number;
    progress.stage("Waiting for running sessions");
    let barrier = publish::barrier(repository, &survey, &condemning, options, progress)?;
    report.sessions_fenced.clone_from(&barrier.fenced);
    report.sessions_waited_for = barrier.waited_for.iter().copied().collect();
    progress.stage("Writing the index");
    let Some(published) = publish::bury(repository, &survey, &condemning, &barrier, options)? else {
        return Ok(None);
    };
    *known = published.generation.number;
    report.sessions_folded = published.folded;
    report.generation = published.generation.number;
    progress.stage("Deleting");
    let removed = remove::remove(repository, &published, progress)?;
    (report.packs_deleted, report.bytes_deleted) = removed;
    let waiting = published.generation.condemned.iter();
    report.packs_waiting = published.generation.condemned.len() as u64;
    report.bytes_waiting = waiting.filter_map(|condemned| survey.sizes.get(&condemned.pack)).sum();
    repository.refresh()?;
    Ok(Some(report))
}
