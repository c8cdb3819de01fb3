//! What snapshots refer to, and where that is now: references are never written again, and repacks move blobs.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::crypto::SecretPair;
use crate::format::end::end_name;
use crate::format::open::SessionKind;
use crate::format::references::{Moved, References, Used, references_name};
use crate::repository::{Repository, View};
use crate::words::{Error, PackName, Result, SessionId};

/// What snapshots use, by the packs in which it is now, as a reader sees it.
pub(super) struct Usage<'v> {
    repository: &'v Repository,
    view: &'v View,
    condemned: HashSet<PackName>,
    tables: Tables,
}

impl<'v> Usage<'v> {
    /// # Errors
    /// As [`Tables::load`].
    pub(super) fn new(repository: &'v Repository, view: &'v View) -> Result<Self> {
        Ok(Self {
            tables: Tables::load(repository, view)?,
            condemned: view
                .generation
                .condemned
                .iter()
                .map(|condemned| condemned.pack)
                .collect(),
            repository,
            view,
        })
    }

    /// What one snapshot uses.
    ///
    /// # Errors
    /// As [`references`]; [`Error::Io`] when the cache is damaged.
    pub(super) fn of(&self, session: SessionId) -> Result<HashMap<PackName, Used>> {
        let failure = RefCell::new(None);
        let index = &self.view.index;
        let info = |pack: PackName| {
            index.pack(&pack).unwrap_or_else(|error| {
                failure.replace(Some(error));
                None
            })
        };
        let blobs = |pack| info(pack).map_or(0, |info| info.blobs);
        let is_alive = |pack| info(pack).is_some() && !self.condemned.contains(&pack);
        let mut all = HashMap::new();
        for (pack, used) in &references(self.repository, self.view, session)?.packs {
            let needed = &mut HashSet::new();
            self.tables.follow((*pack, used), &blobs, &is_alive, &mut all, needed);
        }
        failure.into_inner().map_or(Ok(all), Err)
    }
}

fn maintenance_key(repository: &Repository) -> Result<&SecretPair> {
    let pair = repository.keys().maintenance.pair.as_ref();
    pair.ok_or_else(|| repository.role_too_small("a maintainer or an owner"))
}

/// What a committed session refers to.
///
/// # Errors
/// [`Error::RoleTooSmall`]; [`Error::Damaged`]; what the store says.
pub(super) fn references(repository: &Repository, view: &View, session: SessionId) -> Result<References> {
    let pair = maintenance_key(repository)?;
    let end = view
        .committed(session)
        .ok_or_else(|| Error::Internal(format!("session {session} is not committed")))?;
    if end.index.external_references {
        let object = match view.folded.get(&session).and_then(|folded| folded.references.clone()) {
            Some(object) => object,
            None => repository.fetch_object(&references_name(session))?,
        };
        return References::from_object(repository.id(), session, pair, &object);
    }
    let part = end.maintenance(repository.id(), session, pair)?;
    let name = end_name(session);
    let references = part
        .references
        .ok_or_else(|| Error::damaged(&name, "it has no references"))?;
    References::decode(&name, &references)
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
    /// The tables of every repack session that counts.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] without the maintenance key; [`Error::Damaged`].
    pub(super) fn load(repository: &Repository, view: &View) -> Result<Self> {
        let mut tables = Self::default();
        for (session, end) in view.all_committed() {
            if end.index.kind == SessionKind::Repack {
                let part = end.maintenance(repository.id(), session, maintenance_key(repository)?)?;
                tables.add(session, part.moved);
            }
        }
        Ok(tables)
    }

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
    pub(super) fn follow(
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
        Entry::Occupied(mut known) => known.get_mut().merge(used),
        Entry::Vacant(free) => {
            free.insert(used.clone());
        }
    }
}
