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
//! leaves a generation from which the next one goes on. In reading order: [`survey`] (what is there and used), [`plan`] (pure: what to do),
//! [`repack`], [`publish`] (generations and the barrier), [`fold`] (sessions into the catalogue, segments into levels), [`remove`].

mod fold;
mod plan;
mod publish;
mod remove;
mod repack;
mod survey;

use std::collections::BTreeSet;

use crate::repository::Repository;
use crate::repository::writer::Machine;
use crate::store::probe::{self, Verdict};
use crate::words::{Error, PackName, Progress, Result, SessionId, Timestamp};

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
    /// Seconds that a pack stays condemned, and the record of a forgotten snapshot stays. Policy, not safety.
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
    /// Unused bytes in packs that stay.
    pub left_bytes: u64,
    /// Packs that should have been repacked and cannot be read, with the reason. They stay as they are.
    pub damaged: Vec<(PackName, String)>,
    /// Half-written files of dead processes that were removed from a local store.
    pub leftovers: u64,
    /// The generation that was published last; none by a dry run.
    pub generation: Option<u64>,
}

/// Somebody else published a generation first: how often we start again.
const ATTEMPTS: usize = 16;

/// Deletes what no snapshot needs, and repacks what is mostly unused.
///
/// # Errors
/// [`Error::RoleTooSmall`] for writers and readers; [`Error::Interrupted`], between two steps; [`Error::Damaged`] when something cannot be read that may
/// say what is needed, for then nothing may be deleted; [`Error::Invalid`] for a store that does not do what maintenance needs; what the store says.
pub fn prune(repository: &Repository, options: &PruneOptions, progress: &dyn Progress) -> Result<PruneReport> {
    let keys = repository.keys();
    if keys.maintenance.pair.is_none() || keys.mark.is_none() {
        return Err(repository.role_too_small("a maintainer or an owner"));
    }
    if !options.dry_run {
        match probe::for_maintenance(repository.store())? {
            Verdict::Everything => {}
            Verdict::ExclusiveMaintenance if options.exclusive => {}
            Verdict::ExclusiveMaintenance => {
                return Err(Error::Invalid(
                    "This store overwrites where it should refuse, so prune is safe only when nothing else runs; say so with --exclusive".into(),
                ));
            }
            // Who does not see what others have written cannot know what they need, alone or not.
            Verdict::NoMaintenance | Verdict::Nothing => {
                return Err(Error::Invalid(
                    "This store does not show at once what was written, so prune could delete what a backup has just stored; nothing was deleted, \
                     and --exclusive does not help. Copy the repository to a store that does"
                        .into(),
                ));
            }
        }
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

/// What a prune would do if these snapshots were forgotten. Changes nothing.
///
/// # Errors
/// As [`prune`].
pub fn foresee(
    repository: &Repository,
    forgotten: &BTreeSet<SessionId>,
    options: &PruneOptions,
    progress: &dyn Progress,
) -> Result<PruneReport> {
    progress.stage("Looking at what is used", "");
    let survey = survey::survey(repository, forgotten)?;
    let plan = plan::plan(&survey, options.unused_max, options.repack_bytes_max);
    Ok(PruneReport {
        left_bytes: plan.left_bytes,
        plan,
        ..PruneReport::default()
    })
}

/// Whoever asks for it stops a prune between its steps: what each has done is of use to the next run.
fn stop_if_asked(progress: &dyn Progress) -> Result<()> {
    if progress.interrupted() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}

/// One attempt; nothing when another maintainer was faster. `known` is the newest generation that it has seen or published.
fn attempt(
    repository: &Repository,
    options: &PruneOptions,
    known: &mut u64,
    progress: &dyn Progress,
) -> Result<Option<PruneReport>> {
    if options.dry_run {
        return foresee(repository, &BTreeSet::new(), options, progress).map(Some);
    }
    progress.stage("Looking at what is used", "");
    let mut survey = survey::survey(repository, &BTreeSet::new())?;
    *known = survey.view.generation.number;
    let mut report = PruneReport {
        plan: plan::plan(&survey, options.unused_max, options.repack_bytes_max),
        ..PruneReport::default()
    };
    report.left_bytes = report.plan.left_bytes;
    if report.plan.repack_packs > 0 {
        progress.stage("Repacking", "packs");
        progress.expect(report.plan.repack_packs, report.plan.repack_bytes);
        let moved = repack::repack(repository, &survey, &report.plan, options, progress)?;
        (report.packs_repacked, report.bytes_repacked) = (moved.packs, moved.bytes);
        report.damaged = moved.damaged;
        stop_if_asked(progress)?;
        // The repack is a committed session like any other: look again, and its old packs are unused.
        survey = survey::survey(repository, &BTreeSet::new())?;
        *known = survey.view.generation.number;
        let then = plan::plan(&survey, f64::INFINITY, 0);
        report.plan.fates = then.fates;
        report.left_bytes = then.left_bytes;
    }
    stop_if_asked(progress)?;
    progress.stage("Condemning", "");
    let Some(condemning) = publish::condemn(repository, &survey, &report.plan, options)? else {
        return Ok(None);
    };
    *known = condemning.generation.number;
    progress.stage("Waiting for running sessions", "");
    let barrier = publish::barrier(repository, &survey, &condemning, options, progress)?;
    stop_if_asked(progress)?;
    report.sessions_fenced.clone_from(&barrier.fenced);
    report.sessions_waited_for = barrier.waited_for.iter().copied().collect();
    progress.stage("Writing the index", "");
    let Some(published) = publish::bury(repository, &survey, &condemning, &barrier, options)? else {
        return Ok(None);
    };
    *known = published.generation.number;
    report.sessions_folded = published.folded;
    report.generation = Some(published.generation.number);
    progress.stage("Deleting", "packs");
    // Before the packs, so that the folder of a dead session goes with its last pack.
    match repository.store().sweep_leftovers() {
        Ok(leftovers) => report.leftovers = leftovers,
        Err(error) => progress.note(&format!("Half-written files of dead processes stay: {error}")),
    }
    let removed = remove::remove(repository, &published, progress)?;
    (report.packs_deleted, report.bytes_deleted) = removed;
    let waiting = published.generation.condemned.iter();
    report.packs_waiting = published.generation.condemned.len() as u64;
    report.bytes_waiting = waiting.filter_map(|condemned| survey.sizes.get(&condemned.pack)).sum();
    repository.refresh()?;
    Ok(Some(report))
}
