//! What is there, and what of it is used. Reads lists, ends and references; no trees, and no key to data.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::format::generation::{ObjectReference, generation_name};
use crate::format::open::open_name;
use crate::format::references::Used;
use crate::repository::damage::refuse;
use crate::repository::view::View;
use crate::repository::{Repository, snapshots::Marked};
use crate::verbs::moved::tables::{Followed, Ground, Tables, merge};
use crate::verbs::moved::{load_tables, references};
use crate::words::{Error, PackName, Result, SessionId};

/// Everything that a plan needs to know.
pub(super) struct Survey {
    /// Generation, sessions and index at one moment.
    pub(super) view: View,
    /// Every pack that is in the store, with its size in bytes.
    pub(super) sizes: HashMap<PackName, u64>,
    /// What snapshots use, after following moved blobs.
    pub(super) used: HashMap<PackName, Used>,
    /// Bytes of used blobs by pack.
    pub(super) used_bytes: HashMap<PackName, u64>,
    /// Sessions whose references were counted.
    pub(super) counted: HashSet<SessionId>,
    /// Marks by snapshot.
    pub(super) marks: BTreeMap<SessionId, Marked>,
    /// Tables by the old pack.
    tables: Tables,
    followed: Followed,
    /// Packs that the newest generation condemns.
    condemned: HashSet<PackName>,
    /// Packs that the newest generation calls dead.
    dead: HashSet<PackName>,
}

/// Looks at everything, taking `forgotten` for marked so as well. The list of packs comes before the list of sessions: whoever wrote a listed pack has
/// its `open` in the later list.
///
/// # Errors
/// What the store says; [`Error::Damaged`] when something cannot be read that may say that a pack is used.
pub(super) fn survey(repository: &Repository, forgotten: &BTreeSet<SessionId>) -> Result<Survey> {
    let sizes = list_packs(repository)?;
    let view = repository.load_whole_view()?;
    if view.highest != view.generation.number {
        // Its successor would be the first step on the word of whoever forged it.
        return Err(Error::Forged {
            name: generation_name(view.highest),
        });
    }
    let marks = repository.marks()?;
    refuse(&marks.damaged)?;
    let marks = marks.by_snapshot;
    let condemned = view
        .generation
        .condemned
        .iter()
        .map(|condemned| condemned.pack)
        .collect();
    let dead = view.generation.dead.iter().copied().collect();
    let mut survey = Survey {
        view,
        condemned,
        dead,
        sizes,
        used: HashMap::new(),
        used_bytes: HashMap::new(),
        counted: HashSet::new(),
        marks,
        tables: Tables::default(),
        followed: Followed::default(),
    };
    let pinned = pinned(repository, &survey.view)?;
    survey.tables = load_tables(repository, &survey.view)?;
    let committed: Vec<_> = survey
        .view
        .all_committed()
        .map(|(session, end)| (session, end.clone()))
        .collect();
    for (session, end) in &committed {
        if !end.is_snapshot() {
            continue;
        }
        let marked = survey.marks.get(session).is_some_and(|marked| marked.forgotten);
        if !(marked || forgotten.contains(session)) || pinned.contains(session) {
            survey.count(repository, *session)?;
        }
    }
    survey.weigh()?;
    Ok(survey)
}

pub(super) fn list_packs(repository: &Repository) -> Result<HashMap<PackName, u64>> {
    let listed = repository.store().list("p/")?;
    Ok(listed
        .into_iter()
        .filter_map(|object| Some((PackName::of_object(&object.name)?, object.size)))
        .collect())
}

/// Snapshots that running read sessions hold.
fn pinned(repository: &Repository, view: &View) -> Result<HashSet<SessionId>> {
    let mut pinned = HashSet::new();
    for (session, _) in view.sessions.iter().filter(|(_, state)| state.is_running()) {
        match repository.session_open(view, *session) {
            Ok(open) => pinned.extend(open.pins),
            // Ended and removed since it was listed.
            Err(Error::Missing { .. }) if !repository.is_listed(&open_name(*session))? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pinned)
}

impl Survey {
    /// Counts what one snapshot uses.
    pub(super) fn count(&mut self, repository: &Repository, session: SessionId) -> Result<()> {
        let references = references(repository, &self.view, session)?;
        let index = &self.view.index;
        // A pack that cannot be looked up is not one that is gone: its references would be lost.
        let failure = RefCell::new(None);
        let blobs = |pack: PackName| match index.pack(&pack) {
            Ok(info) => info.map_or(0, |info| info.blobs),
            Err(error) => {
                failure.replace(Some(error));
                0
            }
        };
        let (sizes, condemned, dead) = (&self.sizes, &self.condemned, &self.dead);
        let is_there = |pack: PackName| {
            let indexed = index.pack(&pack).unwrap_or_else(|error| {
                failure.replace(Some(error));
                None
            });
            indexed.is_some() && sizes.contains_key(&pack) && !dead.contains(&pack)
        };
        let ground = Ground {
            blobs: &blobs,
            is_alive: &|pack| is_there(pack) && !condemned.contains(&pack),
            is_there: &is_there,
        };
        let mut used = HashMap::new();
        for (pack, some) in &references.packs {
            self.tables
                .follow((*pack, some), &ground, &mut used, &mut self.followed);
        }
        if let Some(error) = failure.into_inner() {
            return Err(error);
        }
        for (pack, some) in used {
            if some.count(1) > 0 {
                self.is_in_store(repository, pack, session)?;
            }
            merge(&mut self.used, pack, &some);
        }
        self.counted.insert(session);
        Ok(())
    }

    /// Refuses to go on when a pack that a snapshot needs is not there: what else is deleted could be what brings it back.
    fn is_in_store(&mut self, repository: &Repository, pack: PackName, snapshot: SessionId) -> Result<()> {
        if !self.sizes.contains_key(&pack) && !self.dead.contains(&pack) {
            // Perhaps it is younger than the list of packs.
            let name = pack.object();
            let listed = repository.store().list(&name)?;
            let size = listed
                .iter()
                .find(|object| object.name == name)
                .map(|object| object.size);
            self.sizes.extend(size.map(|size| (pack, size)));
        }
        if self.sizes.contains_key(&pack) && !self.dead.contains(&pack) {
            return Ok(());
        }
        Err(Error::damaged(
            format!("Snapshot {snapshot}"),
            format!(
                "pack {pack} that it needs is not there, so nothing was deleted; bring the pack back from a copy, or forget the snapshot, and prune again"
            ),
        ))
    }

    /// Whether references still need the table of a repack session.
    pub(super) fn needs_table(&self, session: &SessionId) -> bool {
        self.followed.needed.contains(session)
    }

    /// Sessions that wrote packs which are used.
    pub(super) fn used_sessions(&self) -> HashSet<SessionId> {
        let used = self.used.keys().filter(|pack| self.is_used(pack));
        used.map(|pack| pack.session).collect()
    }

    fn weigh(&mut self) -> Result<()> {
        let (used, weights) = (&self.used, &mut self.used_bytes);
        let partly = self.view.index.by_pack(|info| match used.get(&info.name) {
            Some(used) if matches!(used, Used::All) || used.count(info.blobs) == info.blobs => {
                weights.insert(info.name, u64::from(info.size));
                false
            }
            used => used.is_some(),
        })?;
        for item in partly {
            let (info, entries) = item?;
            let used = used.get(&info.name);
            let entries = entries
                .iter()
                .filter(|entry| used.is_some_and(|used| used.contains(entry.ordinal)));
            let bytes: u64 = entries.map(|entry| u64::from(entry.length)).sum();
            if bytes > 0 {
                self.used_bytes.insert(info.name, bytes);
            }
        }
        Ok(())
    }

    /// Whether some counted snapshot uses a blob of the pack.
    pub(super) fn is_used(&self, pack: &PackName) -> bool {
        self.used.get(pack).is_some_and(|used| used.count(1) > 0)
    }

    /// Whether the session that wrote the pack has ended, so that the pack may be judged.
    pub(super) fn has_ended(&self, session: SessionId) -> bool {
        self.view
            .sessions
            .get(&session)
            .is_none_or(|state| state.end.is_some() || !state.open)
    }

    /// Parts of the newest catalogue.
    pub(super) fn catalogue(&self) -> &[ObjectReference] {
        &self.view.generation.catalogue
    }
}
