//! What is there, and what of it is used. Reads lists, ends and references; no trees, and no key to data.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::format::generation::{ObjectReference, generation_name};
use crate::format::open::SessionKind;
use crate::format::references::{Moved, Used};
use crate::repository::view::{Leave, View};
use crate::repository::{Repository, snapshots::Marked};
use crate::verbs::stats::references;
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
    /// Repack sessions whose tables some references still need.
    pub(super) needed_tables: HashSet<SessionId>,
    /// Tables by the old pack.
    tables: Tables,
    /// Packs that the newest generation condemns.
    condemned: HashSet<PackName>,
}

/// Where blobs of old packs went, by old pack.
///
/// A reference is followed to a place that is there and neither condemned nor dead in the generation that this maintainer will succeed, and stays
/// where it is when there is none. Only one maintainer can succeed a generation, so what one follows, the next finds alive; and a writer that
/// refers to an old place while its new one is condemned keeps the old one (the model's findings 2 and 3 are the stories behind this).
#[derive(Default)]
pub(super) struct Tables {
    by_pack: HashMap<PackName, Vec<Table>>,
}

/// What one repack session moved out of one pack: new place by old ordinal.
struct Table {
    session: SessionId,
    to: HashMap<u16, (PackName, u16)>,
}

impl Tables {
    fn add(&mut self, session: SessionId, moved: Vec<Moved>) {
        for table in moved {
            let place = |pack: u32, ordinal: u16| (PackName { session, number: pack }, ordinal);
            let to = table
                .to
                .iter()
                .map(|(old, pack, new)| (*old, place(*pack, *new)))
                .collect();
            self.by_pack
                .entry(table.pack())
                .or_default()
                .push(Table { session, to });
        }
    }

    /// Adds `used` of `pack` to `all`, following moved blobs; `needed` gets the sessions whose tables were needed.
    fn follow(
        &self,
        (pack, used): (PackName, &Used),
        blobs: &dyn Fn(PackName) -> u32,
        is_alive: &dyn Fn(PackName) -> bool,
        all: &mut HashMap<PackName, Used>,
        needed: &mut HashSet<SessionId>,
    ) {
        if !self.by_pack.contains_key(&pack) {
            merge(all, pack, used);
            return;
        }
        // A pack that is gone has tables that say where all its used blobs are; how many it had they do not say.
        let count = match (used, blobs(pack)) {
            (Used::Some { blobs, .. }, _) => *blobs,
            (Used::All, 0) => u32::from(u16::MAX),
            (Used::All, blobs) => blobs,
        };
        let mut stay = Used::none(count);
        let mut stays = false;
        for ordinal in (0..count)
            .filter_map(|ordinal| u16::try_from(ordinal).ok())
            .filter(|at| used.contains(*at))
        {
            match self.resolve((pack, ordinal), is_alive, needed, 0) {
                Some((to, place)) => {
                    let fresh = || Used::none(blobs(to).max(u32::from(place) + 1));
                    all.entry(to).or_insert_with(fresh).insert(place);
                }
                None => {
                    stay.insert(ordinal);
                    stays = true;
                }
            }
        }
        if stays {
            merge(all, pack, &stay);
        }
    }

    /// Where a blob is now: what was moved may have been moved again.
    fn resolve(
        &self,
        (pack, ordinal): (PackName, u16),
        is_alive: &dyn Fn(PackName) -> bool,
        needed: &mut HashSet<SessionId>,
        depth: usize,
    ) -> Option<(PackName, u16)> {
        if depth > MOVES_MAX {
            return None;
        }
        for table in self.by_pack.get(&pack)? {
            let Some(next) = table.to.get(&ordinal).copied() else {
                continue;
            };
            let last = self
                .resolve(next, is_alive, needed, depth + 1)
                .or(is_alive(next.0).then_some(next));
            if last.is_some() {
                needed.insert(table.session);
                return last;
            }
        }
        None
    }
}

/// A blob that was moved more often than this between two rewrites of references is looked for where it was.
const MOVES_MAX: usize = 64;

fn merge(all: &mut HashMap<PackName, Used>, pack: PackName, used: &Used) {
    match all.entry(pack) {
        std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().merge(used),
        std::collections::hash_map::Entry::Vacant(free) => {
            free.insert(used.clone());
        }
    }
}

/// Looks at everything. The list of packs comes before the list of sessions: whoever wrote a listed pack has its `open` in the later list.
///
/// # Errors
/// What the store says; [`Error::Damaged`] when a reference list cannot be read.
pub(super) fn survey(repository: &Repository) -> Result<Survey> {
    let sizes = list_packs(repository)?;
    let view = repository.load_view(Leave::Dead)?;
    if view.highest != view.generation.number {
        // Its successor would be the first step on the word of whoever forged it.
        return Err(Error::Forged {
            name: generation_name(view.highest),
        });
    }
    let marks = repository.marks()?;
    let condemned = view
        .generation
        .condemned
        .iter()
        .map(|condemned| condemned.pack)
        .collect();
    let mut survey = Survey {
        view,
        condemned,
        sizes,
        used: HashMap::new(),
        used_bytes: HashMap::new(),
        counted: HashSet::new(),
        marks,
        needed_tables: HashSet::new(),
        tables: Tables::default(),
    };
    let pinned = pinned(repository, &survey.view)?;
    let pair = repository.keys().maintenance.pair.as_ref();
    let pair = pair.ok_or_else(|| repository.role_too_small("a maintainer or an owner"))?;
    let committed: Vec<_> = survey
        .view
        .all_committed()
        .map(|(session, end)| (session, end.clone()))
        .collect();
    for (session, end) in &committed {
        if end.index.kind == SessionKind::Repack {
            let part = end.maintenance(repository.id(), *session, pair)?;
            survey.tables.add(*session, part.moved);
        }
    }
    let snapshots = committed.iter().filter(|(_, end)| end.is_snapshot());
    let (forgotten, kept): (Vec<_>, Vec<_>) = snapshots
        .map(|(session, _)| *session)
        .partition(|session| survey.marks.get(session).is_some_and(|marked| marked.forgotten));
    for session in kept {
        survey.count(repository, session)?;
    }
    survey.check_dead()?;
    for session in forgotten.into_iter().filter(|session| pinned.contains(session)) {
        survey.count(repository, session)?;
    }
    survey.weigh()?;
    Ok(survey)
}

pub(super) fn list_packs(repository: &Repository) -> Result<HashMap<PackName, u64>> {
    let listed = repository.store().list("p/")?;
    Ok(listed
        .into_iter()
        .filter_map(|object| Some((pack_of(&object.name)?, object.size)))
        .collect())
}

/// The pack that an object's name stands for.
pub(super) fn pack_of(name: &str) -> Option<PackName> {
    let (session, number) = name.strip_prefix("p/")?.split_once('/')?;
    Some(PackName {
        session: session.parse().ok()?,
        number: u32::from_str_radix(number, 16).ok()?,
    })
}

/// Snapshots that running read sessions hold.
fn pinned(repository: &Repository, view: &View) -> Result<HashSet<SessionId>> {
    let mut pinned = HashSet::new();
    for (session, _) in view
        .sessions
        .iter()
        .filter(|(_, state)| state.open && state.end.is_none())
    {
        match repository.session_open(view, *session) {
            Ok(open) => pinned.extend(open.pins),
            // Ended and removed since it was listed.
            Err(Error::Missing { .. }) => {}
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
        let (sizes, condemned) = (&self.sizes, &self.condemned);
        let is_alive = |pack: PackName| {
            let indexed = index.pack(&pack).unwrap_or_else(|error| {
                failure.replace(Some(error));
                None
            });
            indexed.is_some() && sizes.contains_key(&pack) && !condemned.contains(&pack)
        };
        for (pack, used) in &references.packs {
            self.tables.follow(
                (*pack, used),
                &blobs,
                &is_alive,
                &mut self.used,
                &mut self.needed_tables,
            );
        }
        if let Some(error) = failure.into_inner() {
            return Err(error);
        }
        self.counted.insert(session);
        Ok(())
    }

    /// A braces to the protocol's belt: what is called dead and is still there must not be needed by a snapshot that counts.
    fn check_dead(&self) -> Result<()> {
        let mut dead = self.view.generation.dead.iter();
        match dead.find(|pack| self.sizes.contains_key(pack) && self.is_used(pack)) {
            None => Ok(()),
            Some(pack) => Err(Error::damaged(
                generation_name(self.view.generation.number),
                format!("it calls pack {pack} dead, which snapshots need; nothing is deleted"),
            )),
        }
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
