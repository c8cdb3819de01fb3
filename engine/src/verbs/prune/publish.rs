//! Generations: what is condemned, the barrier, what is dead.
//!
//! Each generation is created only in succession to the one that the decision was made from, and `create` lets one maintainer alone through:
//! whoever comes second starts again from what the first left.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::PruneOptions;
use super::fold::{self, FoldedIndex};
use super::plan::{PackFate, PrunePlan};
use super::survey::Survey;
use crate::format::end::{IndexPart, NewEnd, Outcome, end_name};
use crate::format::generation::{Condemned, Generation, generation_name};
use crate::format::open::SessionKind;
use crate::format::references::Used;
use crate::repository::Repository;
use crate::repository::damage::refuse;
use crate::repository::view::{SessionState, View, segment_name};
use crate::store::Created;
use crate::verbs::moved::references;
use crate::words::id::random_bytes;
use crate::words::{Error, PackName, Progress, Result, SessionId, Timestamp};

/// How often the barrier looks again while it waits.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The generation that condemns.
pub(super) struct Condemning {
    pub(super) generation: Generation,
    pub(super) hash: [u8; 32],
}

/// What the barrier found.
#[derive(Default)]
pub(super) struct Barrier {
    /// Sessions as they were when the barrier was passed.
    pub(super) sessions: BTreeMap<SessionId, SessionState>,
    /// All sessions that were listed with an `open`, folded ones too.
    pub(super) open: HashSet<SessionId>,
    /// Running sessions, and the generation each has advanced to.
    pub(super) running: BTreeMap<SessionId, u64>,
    /// Running sessions that some condemned pack waits for.
    pub(super) waited_for: BTreeSet<SessionId>,
    /// Dead sessions that were ended by us.
    pub(super) fenced: Vec<SessionId>,
    /// What sessions use that were not counted before.
    pub(super) late: HashMap<PackName, Used>,
}

/// What was published last.
pub(super) struct Published {
    pub(super) generation: Generation,
    pub(super) folded: u64,
    /// Sessions that the catalogue has now, or that nothing needs.
    pub(super) sessions_done: Vec<SessionId>,
    /// Sessions without `open`: what an earlier run has left of them goes as well.
    pub(super) orphans: Vec<SessionId>,
    /// Their marks.
    pub(super) marks_done: Vec<String>,
    /// Objects of the catalogue and the index that the generation has replaced.
    pub(super) replaced: Vec<String>,
}

/// Publishes what the plan condemns. Nothing when another maintainer was faster.
pub(super) fn condemn(
    repository: &Repository,
    survey: &Survey,
    plan: &PrunePlan,
    options: &PruneOptions,
) -> Result<Option<Condemning>> {
    let before = &survey.view.generation;
    let number = before.number + 1;
    let now = (options.clock)();
    let known: HashMap<PackName, &Condemned> = before.condemned.iter().map(|known| (known.pack, known)).collect();
    let condemned: Vec<Condemned> = plan
        .fates
        .iter()
        .filter(|(_, fate)| **fate == PackFate::Condemn)
        .map(|(pack, _)| match known.get(pack) {
            Some(known) => **known,
            None => Condemned {
                pack: *pack,
                generation: number,
                time: now,
            },
        })
        .filter(|condemned| !before.dead.contains(&condemned.pack))
        .collect();
    let generation = Generation {
        number,
        predecessor: survey.view.generation_hash,
        created: now,
        condemned,
        counted: survey
            .counted
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        ..before.clone()
    };
    Ok(publish(repository, &generation)?.map(|hash| Condemning { generation, hash }))
}

/// Creates a generation; gives its hash, or nothing when its number is taken.
fn publish(repository: &Repository, generation: &Generation) -> Result<Option<[u8; 32]>> {
    let vouch = repository
        .keys()
        .vouch()
        .ok_or_else(|| repository.role_too_small("a maintainer or an owner"))?;
    let object = generation.to_object(repository.id(), &repository.keys().index, &vouch)?;
    let hash = *blake3::hash(&object).as_bytes();
    let (name, object) = (generation_name(generation.number), Bytes::from(object));
    match repository.store().create(&name, object.clone())? {
        Created::Done => {
            fold::is_stored(repository, &name, &object)?;
            Ok(Some(hash))
        }
        Created::Exists(_) => Ok(None),
    }
}

/// Lists the sessions after the condemning generation is public: fences the dead, waits for the rest as long as allowed, and counts what they committed.
pub(super) fn barrier(
    repository: &Repository,
    survey: &Survey,
    condemning: &Condemning,
    options: &PruneOptions,
    progress: &dyn Progress,
) -> Result<Barrier> {
    let until = Instant::now() + Duration::from_secs(options.wait_seconds);
    let oldest = condemning
        .generation
        .condemned
        .iter()
        .map(|condemned| condemned.generation)
        .max()
        .unwrap_or(0);
    let mut fenced = Vec::new();
    // What a killed backup had finished is not lost for the next one, though its session ends here.
    repository.name_packs_of_killed(&survey.view, &options.machine);
    loop {
        let mut sessions = repository.list_sessions()?;
        let open = sessions.iter().filter(|(_, state)| state.open);
        let open = open.map(|(session, _)| *session).collect();
        sessions.retain(|session, _| !survey.view.folded.contains_key(session));
        refuse(&repository.load_ends(&mut sessions, true)?)?;
        for (session, state) in &mut sessions {
            if state.is_running() && is_dead(repository, &survey.view, *session, state, options)? {
                fence(repository, *session, options)?;
                let end = repository.fetch_object(&end_name(*session))?;
                state.end = Some(std::sync::Arc::new(repository.parse_end(*session, &end)?));
                fenced.push(*session);
            }
        }
        let mut running: BTreeMap<SessionId, u64> = BTreeMap::new();
        for (session, state) in sessions.iter().filter(|(_, state)| state.is_running()) {
            let at = repository.advanced_to(&survey.view, *session, &state.at)?;
            running.insert(*session, at);
        }
        let waited_for: BTreeSet<SessionId> = running
            .iter()
            .filter(|(_, at)| **at < oldest)
            .map(|(session, _)| *session)
            .collect();
        if waited_for.is_empty() || Instant::now() >= until || progress.interrupted() {
            let mut barrier = Barrier {
                open,
                running,
                waited_for,
                fenced,
                late: HashMap::new(),
                sessions,
            };
            barrier.late = late_references(repository, survey, &barrier)?;
            return Ok(barrier);
        }
        progress.note(&format!("Waiting for {} running sessions", waited_for.len()));
        std::thread::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
    }
}

/// Whether a session without `end` may be taken for dead. Unknown is not dead; being wrong costs its writer a new session, never data.
fn is_dead(
    repository: &Repository,
    view: &View,
    session: SessionId,
    state: &SessionState,
    options: &PruneOptions,
) -> Result<bool> {
    let is_old = |time: Timestamp| (options.clock)().seconds_since(time) > options.fence_seconds;
    if is_old(state.newest) {
        // A session that has nothing to say but uploads lives.
        let mut newest = state.newest;
        for prefix in [format!("p/{session}/"), format!("x/{session}/")] {
            let listed = repository.store().list(&prefix)?;
            newest = listed.into_iter().map(|object| object.modified).fold(newest, Ord::max);
        }
        if is_old(newest) {
            return Ok(true);
        }
    }
    match repository.session_open(view, session) {
        Ok(open) => Ok(options.machine.misses(&open)),
        Err(Error::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends a session in its writer's place. That it has ended by itself meanwhile is as good. Its writer may go on for a while; only segments that
/// were there before count for others who write, since what comes later may come too late for the levels it is folded into.
fn fence(repository: &Repository, session: SessionId, options: &PruneOptions) -> Result<()> {
    let prefix = format!("x/{session}/");
    let there: HashSet<String> = repository
        .store()
        .list(&prefix)?
        .into_iter()
        .map(|object| object.name)
        .collect();
    let segments = (0..).take_while(|number| there.contains(&segment_name(session, *number)));
    let segments = segments.count() as u32;
    let index = IndexPart {
        open_hash: [0; 32],
        ended: (options.clock)(),
        source: [0; 16],
        segments,
        segment: None,
        packs: 0,
        kind: SessionKind::Backup,
        external_references: false,
    };
    let end = NewEnd {
        outcome: Outcome::Fenced,
        nonce: random_bytes(),
        index: &index,
        maintenance: None,
        snapshot: None,
    };
    let object = end.to_object(repository.id(), session, &repository.keys().index)?;
    match repository.store().create(&end_name(session), object.into())? {
        Created::Done | Created::Exists(_) => Ok(()),
    }
}

/// What sessions use that committed after the survey counted, and snapshots that are pinned by sessions that are still reading.
fn late_references(repository: &Repository, survey: &Survey, barrier: &Barrier) -> Result<HashMap<PackName, Used>> {
    let view = repository.load_whole_view()?;
    let mut late: HashSet<SessionId> = view
        .all_committed()
        .filter(|(session, end)| {
            let forgotten = survey.marks.get(session).is_some_and(|marked| marked.forgotten);
            end.is_snapshot() && !forgotten && !survey.counted.contains(session)
        })
        .map(|(session, _)| session)
        .collect();
    for session in barrier.running.keys() {
        match repository.session_open(&view, *session) {
            Ok(open) => late.extend(open.pins.iter().filter(|pin| view.committed(**pin).is_some())),
            Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut used: HashMap<PackName, Used> = HashMap::new();
    for session in late {
        for (pack, more) in references(repository, &view, session)?.packs {
            used.entry(pack).and_modify(|known| known.merge(&more)).or_insert(more);
        }
    }
    Ok(used)
}

/// Publishes what is dead, with the index and the catalogue without it. Nothing when another maintainer was faster.
pub(super) fn bury(
    repository: &Repository,
    survey: &Survey,
    condemning: &Condemning,
    barrier: &Barrier,
    options: &PruneOptions,
) -> Result<Option<Published>> {
    let now = (options.clock)();
    let number = condemning.generation.number + 1;
    let mut dead: BTreeSet<PackName> = condemning.generation.dead.iter().copied().collect();
    let mut condemned = Vec::new();
    for candidate in &condemning.generation.condemned {
        // A blob that a late commit names and whose pack is condemned takes the whole pack back, moved or not: the next run sees the table.
        if barrier.late.get(&candidate.pack).is_some_and(|used| used.count(1) > 0) {
            continue;
        }
        let waits = barrier.running.values().any(|at| *at < candidate.generation);
        if waits || now.seconds_since(candidate.time) < options.undelete_seconds {
            condemned.push(*candidate);
        } else {
            dead.insert(candidate.pack);
        }
    }
    // The dead stay listed until nothing is left of them: neither the pack nor a segment that names it, also of sessions that were folded by a run
    // that died before it removed them.
    let mut named = barrier.open.clone();
    if !dead.is_empty() {
        named.extend(repository.list_segments()?.into_iter().map(|(session, _)| session));
    }
    dead.retain(|pack| survey.sizes.contains_key(pack) || named.contains(&pack.session));
    let FoldedIndex {
        levels,
        catalogue,
        moved,
        folded,
        sessions_done,
        orphans,
        marks_done,
        replaced,
    } = fold::fold(repository, survey, barrier, number, &dead, options)?;
    let generation = Generation {
        number,
        predecessor: condemning.hash,
        created: now,
        levels,
        catalogue,
        condemned,
        dead: dead.into_iter().collect(),
        moved,
        counted: condemning.generation.counted.clone(),
    };
    let published = Published {
        generation,
        folded,
        sessions_done,
        orphans,
        marks_done,
        replaced,
    };
    Ok(publish(repository, &published.generation)?.map(|_| published))
}
