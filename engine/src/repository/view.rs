//! One moment of a repository: its newest generation, the sessions that are not folded yet, and the index over both.
//!
//! The order of reading is the protocol's (FORMAT.md, 11): first the generation, then the list of sessions. A writer writes its `open` before
//! either, so that maintenance that does not see this view's reader in its list cannot have published what this view missed.

mod footers;
mod segments;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::damage::Damage;
use super::open::Repository;
use crate::format::end::{End, Outcome, end_name};
use crate::format::generation::{CataloguePart, Generation, ObjectReference, generation_name};
use crate::format::open::{Open, at_name, check_at, open_name};
use crate::index::Index;
use crate::words::{Error, ObjectName, PackName, Result, SessionId, Timestamp};

/// What the list of sessions and `end` say of a session that is not folded.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Its `open` was in the list.
    pub open: bool,
    /// When the store received the newest of its objects in the list; for liveness alone.
    pub newest: Timestamp,
    /// Generations that it has advanced to, by the names of its markers, which anybody can write: see [`Repository::advanced_to`].
    pub at: BTreeSet<u64>,
    /// How it ended, if it did and that can be read.
    pub end: Option<Arc<End>>,
    /// There is an `end` that cannot be read: it has ended, and nobody knows how.
    pub unreadable: bool,
}

impl SessionState {
    /// Whether it has begun and, as far as anybody can see, not ended: running or dead.
    pub fn is_running(&self) -> bool {
        self.open && self.end.is_none() && !self.unreadable
    }
}

/// A session that the generation has folded.
#[derive(Clone, Debug)]
pub struct Folded {
    /// Its `open`, whole.
    pub open: Bytes,
    /// Its `end`; absent once the snapshot is forgotten.
    pub end: Option<Arc<End>>,
    /// Its `end`, whole; in a view for maintenance alone.
    pub end_object: Option<Bytes>,
    /// Its `r/<sid>`, whole; in a view for maintenance alone.
    pub references: Option<Bytes>,
}

/// How often a view is read again when maintenance is faster.
const VIEW_ATTEMPTS: usize = 8;

/// Which packs the index leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// A writer may not refer to condemned packs, nor to dead ones.
    Condemned,
    /// A reader may read condemned packs while they are there.
    Dead,
}

/// Who loads a view, and for what.
#[derive(Clone, Copy)]
struct Manner {
    leave: Leave,
    /// The session that loads it, which is not a part of it.
    own: Option<SessionId>,
    /// For maintenance, which deletes what it does not see: what is listed and cannot be found is damage, and references are kept.
    whole: bool,
}

/// One moment of a repository.
pub struct View {
    /// The newest generation; number 0 when there is none. Who can tell passes over those that maintenance has not written.
    pub generation: Generation,
    /// The highest number that there was, forged or not.
    pub highest: u64,
    /// `hash` of its whole object; zeros for number 0.
    pub generation_hash: [u8; 32],
    /// Sessions that are not folded.
    pub sessions: BTreeMap<SessionId, SessionState>,
    /// Sessions that are.
    pub folded: BTreeMap<SessionId, Folded>,
    /// Where blobs are.
    pub index: Index,
    /// What could not be read of all this. The index has what the packs themselves say in its place, as far as that serves (see [`segments`]).
    pub damaged: Vec<Damage>,
}

impl View {
    /// The committed session's `end`, folded or not; a COMMIT without `open` counts only when it is folded.
    pub fn committed(&self, session: SessionId) -> Option<&Arc<End>> {
        if let Some(folded) = self.folded.get(&session) {
            return folded.end.as_ref().filter(|end| end.outcome == Outcome::Commit);
        }
        let state = self.sessions.get(&session).filter(|state| state.open)?;
        state.end.as_ref().filter(|end| end.outcome == Outcome::Commit)
    }

    /// Every session whose COMMIT counts.
    pub fn all_committed(&self) -> impl Iterator<Item = (SessionId, &Arc<End>)> {
        let ids: std::collections::BTreeSet<SessionId> =
            self.folded.keys().chain(self.sessions.keys()).copied().collect();
        ids.into_iter()
            .filter_map(|session| Some((session, self.committed(session)?)))
    }
}

impl Repository {
    /// The view as it was last read, or read now when there is none.
    ///
    /// # Errors
    /// What the store says; [`Error::Damaged`].
    pub fn view(&self) -> Result<Arc<View>> {
        if let Ok(known) = self.view.read()
            && let Some(view) = known.as_ref()
        {
            return Ok(Arc::clone(view));
        }
        self.refresh()
    }

    /// Reads the newest view, for reading: dead packs are left out.
    ///
    /// # Errors
    /// What the store says; [`Error::Damaged`].
    pub fn refresh(&self) -> Result<Arc<View>> {
        // Sessions can be folded and removed between our two lists; then we look again, so that no snapshot is missed.
        let mut view = self.load_view(Leave::Dead)?;
        for _ in 0..8 {
            let newest = self.newest_generation_number(view.highest)?;
            if newest == view.highest {
                break;
            }
            view = self.load_view(Leave::Dead)?;
        }
        self.adopt(Arc::new(view))
    }

    /// Makes `view` the one that [`Repository::view`] gives.
    pub(crate) fn adopt(&self, view: Arc<View>) -> Result<Arc<View>> {
        let mut known = self
            .view
            .write()
            .map_err(|_| Error::Internal("a thread died with the view".into()))?;
        *known = Some(Arc::clone(&view));
        Ok(view)
    }

    fn newest_generation_number(&self, known: u64) -> Result<u64> {
        let listed = if known == 0 {
            self.store.list("g/")?
        } else {
            self.store.list_after("g/", &generation_name(known))?
        };
        let numbers = listed.iter().filter_map(|object| generation_number(&object.name));
        Ok(numbers.max().unwrap_or(known).max(known))
    }

    /// The newest generation and the hash of its object.
    ///
    /// # Errors
    /// What the store says; [`Error::Damaged`]; [`Error::Forged`] when this key can tell that maintenance did not write it.
    pub fn newest_generation(&self, known: u64) -> Result<(Generation, [u8; 32])> {
        self.generation(self.newest_generation_number(known)?)
    }

    fn generation(&self, number: u64) -> Result<(Generation, [u8; 32])> {
        if number == 0 {
            return Ok((Generation::default(), [0; 32]));
        }
        // Never from the cache: a bucket that was brought back to an earlier state, or a copy that lagged, gets other generations of known numbers,
        // and a forged one that a person has removed must not live on there.
        let object = self.store.get(&generation_name(number))?;
        let vouch = self.keys.vouch();
        let generation = Generation::from_object(self.id(), number, &self.keys.index, vouch.as_ref(), &object)?;
        Ok((generation, *blake3::hash(&object).as_bytes()))
    }

    /// The newest generation from `newest` downwards that is not forged. All that maintenance has ever said is in it, for maintenance builds
    /// on no forged one. Roles that cannot tell take the newest.
    fn newest_vouched(&self, newest: u64) -> Result<(Generation, [u8; 32])> {
        let forged = match self.generation(newest) {
            Err(Error::Forged { name }) => name,
            other => return other,
        };
        let listed = self.store.list("g/")?;
        let below = listed.iter().filter(|object| object.name < forged);
        let mut numbers: Vec<u64> = below.filter_map(|object| generation_number(&object.name)).collect();
        numbers.sort_unstable();
        for number in numbers.into_iter().rev() {
            match self.generation(number) {
                Err(Error::Forged { .. }) => {}
                other => return other,
            }
        }
        self.generation(0)
    }

    /// The highest generation that a session has advanced to, as far as its markers prove it; 0 means unknown, hence old.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn advanced_to(&self, view: &View, session: SessionId, claimed: &BTreeSet<u64>) -> Result<u64> {
        let Some(maintenance) = self.keys.maintenance.pair.as_ref().filter(|_| !claimed.is_empty()) else {
            return Ok(0);
        };
        let open = match self.session_open(view, session) {
            Ok(open) => open,
            Err(Error::Missing { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        let Some(at_key) = open.at_key(self.id(), session, maintenance) else {
            return Ok(0);
        };
        for number in claimed.iter().rev() {
            let checked = self.generation(*number).and_then(|(_, hash)| {
                let object = self.store.get(&at_name(session, *number))?;
                check_at(self.id(), session, (*number, &hash), &self.keys.index, &at_key, &object)
            });
            match checked {
                Ok(true) => return Ok(*number),
                // What is not the session's own, or is gone, proves nothing.
                Ok(false)
                | Err(
                    Error::Forged { .. } | Error::Missing { .. } | Error::Damaged { .. } | Error::NewerFormat { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// An immutable object, through the cache when there is one.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn fetch_object(&self, name: &str) -> Result<Bytes> {
        match &self.cache {
            Some(cache) => cache.get_or_fetch(name, || self.store.get(name)),
            None => self.store.get(name),
        }
    }

    fn fetch_objects(&self, names: Vec<ObjectName>) -> Vec<Result<Bytes>> {
        let Some(cache) = &self.cache else {
            return self
                .store
                .get_many(names.into_iter().map(|name| (name, None)).collect());
        };
        let mut found: Vec<Option<Result<Bytes>>> = names.iter().map(|name| cache.get(name).map(Ok)).collect();
        let wanted: Vec<usize> = (0..names.len()).filter(|place| found[*place].is_none()).collect();
        let fetched = self
            .store
            .get_many(wanted.iter().map(|place| (names[*place].clone(), None)).collect());
        for (place, object) in wanted.into_iter().zip(fetched) {
            if let Ok(object) = &object {
                cache.put(&names[place], object);
            }
            found[place] = Some(object);
        }
        found
            .into_iter()
            .map(|object| object.unwrap_or_else(|| Err(Error::Internal("an object was lost".into()))))
            .collect()
    }

    /// Reads generation, then sessions, then what is needed of them.
    ///
    /// # Errors
    /// What the store says; [`Error::Damaged`].
    pub fn load_view(&self, leave: Leave) -> Result<View> {
        self.load_view_for(Manner {
            leave,
            own: None,
            whole: false,
        })
    }

    /// [`Repository::load_view`] as the session `own` needs it for writing: without itself.
    pub(crate) fn load_view_beside(&self, own: SessionId) -> Result<View> {
        self.load_view_for(Manner {
            leave: Leave::Condemned,
            own: Some(own),
            whole: false,
        })
    }

    /// [`Repository::load_view`] with all references and whole objects, for who counts them: what is listed and cannot be found is damage.
    pub(crate) fn load_full_view(&self) -> Result<View> {
        self.load_view_for(Manner {
            leave: Leave::Dead,
            own: None,
            whole: true,
        })
    }

    fn load_view_for(&self, manner: Manner) -> Result<View> {
        for _ in 0..VIEW_ATTEMPTS {
            let newest = self.newest_generation_number(0)?;
            match self.load_view_once(newest, manner) {
                // Maintenance deletes what a newer generation has replaced: then that one is read.
                Err(Error::Missing { .. }) if self.newest_generation_number(newest)? > newest => {}
                Ok(view) => {
                    self.warn(&view.damaged);
                    return Ok(view);
                }
                Err(error) => return Err(error),
            }
        }
        self.load_view_once(self.newest_generation_number(0)?, manner)
    }

    /// Something that was named or listed is not there: either a newer generation has replaced it, and this view is no more, or it is lost.
    fn missing(&self, generation: u64, error: Error) -> Result<Error> {
        if matches!(error, Error::Missing { .. }) && self.newest_generation_number(generation)? > generation {
            return Err(error);
        }
        Ok(error)
    }

    fn load_view_once(&self, newest: u64, manner: Manner) -> Result<View> {
        let Manner { leave, own, whole } = manner;
        let (generation, generation_hash) = self.newest_vouched(newest)?;
        let mut damaged = Vec::new();
        let folded = self.load_catalogue(&generation, whole, &mut damaged)?;
        let list = || -> Result<_> {
            let mut sessions = self.list_sessions()?;
            sessions.retain(|session, state| {
                // What a fold has not removed yet, or keeps as a tombstone, is folded all the same.
                !folded.contains_key(session) && (state.open || state.end.is_some()) && Some(*session) != own
            });
            Ok(sessions)
        };
        let mut sessions = list()?;
        let mut listed = None;
        if leave == Leave::Condemned && sessions.values().any(|state| state.end.is_none()) {
            // Maintenance folds what a session wrote before it was fenced, and no more: of a session without `end`, a writer uses what was there
            // before that was seen. The other way round, it could refer to a pack that no index will ever name.
            listed = Some(self.list_segments()?);
            sessions = list()?;
        }
        damaged.extend(self.load_ends(&mut sessions, whole)?);
        let known = segments::Known {
            generation: &generation,
            folded: &folded,
            sessions: &sessions,
            segments: self.session_segments(&sessions, leave, listed)?,
            leave,
        };
        let (index, lost) = match self.load_index(&known) {
            // A damaged file of the cache is removed when it is found.
            Err(Error::Io { .. }) => self.load_index(&known)?,
            index => index?,
        };
        let mut left_out: HashSet<PackName> = generation.dead.iter().copied().collect();
        if leave == Leave::Condemned {
            left_out.extend(generation.condemned.iter().map(|condemned| condemned.pack));
            if !damaged.is_empty() {
                left_out.extend(known.keyless(&index)?);
            }
        }
        index.exclude(&left_out)?;
        damaged.extend(lost);
        Ok(View {
            generation,
            highest: newest,
            generation_hash,
            sessions,
            folded,
            index,
            damaged,
        })
    }

    /// The sessions that are folded. Whole objects and references, which grow with the repository, are for who counts them alone.
    fn load_catalogue(
        &self,
        generation: &Generation,
        whole: bool,
        damaged: &mut Vec<Damage>,
    ) -> Result<BTreeMap<SessionId, Folded>> {
        let mut folded = BTreeMap::new();
        let parts: &[ObjectReference] = &generation.catalogue;
        let objects = self.fetch_objects(parts.iter().map(|part| part.name.clone()).collect());
        for (part, object) in parts.iter().zip(objects) {
            let name = &part.name;
            let read = object.and_then(|object| {
                check_reference(part, &object)?;
                CataloguePart::from_object(self.id(), name, &self.keys.index, &object)
            });
            let part = match read {
                Ok(part) => part,
                Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
                    damaged.push(Damage::new(name, &self.missing(generation.number, error)?));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for session in part.sessions {
                let end = session.end.as_ref().map(|end| self.parse_end(session.session, end));
                let end = match end.transpose() {
                    Ok(end) => end,
                    Err(error @ Error::Damaged { .. }) => {
                        damaged.push(Damage {
                            snapshot: Some(session.session),
                            ..Damage::new(end_name(session.session), &error)
                        });
                        None
                    }
                    Err(error) => return Err(error),
                };
                let known = Folded {
                    open: session.open.into(),
                    end: end.map(Arc::new),
                    end_object: session.end.filter(|_| whole).map(Bytes::from),
                    references: session.references.filter(|_| whole).map(Bytes::from),
                };
                folded.insert(session.session, known);
            }
        }
        Ok(folded)
    }

    pub(crate) fn parse_end(&self, session: SessionId, object: &[u8]) -> Result<End> {
        End::from_object(self.id(), session, &self.keys.index, object)
    }

    /// Lists `s/`: which sessions there are, not yet how they ended.
    pub(crate) fn list_sessions(&self) -> Result<BTreeMap<SessionId, SessionState>> {
        let mut sessions: BTreeMap<SessionId, SessionState> = BTreeMap::new();
        for object in self.store.list("s/")? {
            let Some((session, what)) = object.name.strip_prefix("s/").and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let Ok(session) = session.parse::<SessionId>() else {
                continue;
            };
            let fresh = SessionState {
                open: false,
                newest: Timestamp::default(),
                at: BTreeSet::new(),
                end: None,
                unreadable: false,
            };
            let state = sessions.entry(session).or_insert(fresh);
            state.newest = state.newest.max(object.modified);
            match what.strip_prefix("at-") {
                Some(generation) => state.at.extend(u64::from_str_radix(generation, 16).ok()),
                None if what == "open" => state.open = true,
                None if what == "end" => state.end = Some(placeholder_end()),
                None => {}
            }
        }
        Ok(sessions)
    }

    /// Replaces the placeholders of [`Repository::list_sessions`] by what `end` says. Gives those that cannot be read; with `whole`, which maintenance
    /// needs, also those that are listed and are not there.
    pub(crate) fn load_ends(
        &self,
        sessions: &mut BTreeMap<SessionId, SessionState>,
        whole: bool,
    ) -> Result<Vec<Damage>> {
        let mut damaged = Vec::new();
        let ended: Vec<SessionId> = sessions
            .iter()
            .filter(|(_, state)| state.end.is_some())
            .map(|(session, _)| *session)
            .collect();
        let objects = self.fetch_objects(ended.iter().map(|session| end_name(*session)).collect());
        for (session, object) in ended.into_iter().zip(objects) {
            match object.and_then(|object| self.parse_end(session, &object)) {
                Ok(end) => {
                    if let Some(state) = sessions.get_mut(&session) {
                        state.end = Some(Arc::new(end));
                    }
                }
                Err(error @ Error::Damaged { .. }) => {
                    if let Some(state) = sessions.get_mut(&session) {
                        (state.end, state.unreadable) = (None, true);
                        // Without `open` it counts for nothing, whatever it said.
                        damaged.extend(state.open.then(|| Damage::new(end_name(session), &error)));
                    }
                }
                // Folded and removed since it was listed: a newer generation has it.
                Err(Error::Missing { .. }) if !whole || !self.is_listed(&end_name(session))? => {
                    sessions.remove(&session);
                }
                Err(error @ Error::Missing { .. }) => {
                    if let Some(state) = sessions.get_mut(&session) {
                        (state.end, state.unreadable) = (None, true);
                    }
                    damaged.push(Damage::new(end_name(session), &error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }

    /// Whether an object of a session that could not be read is listed all the same: then it is lost. What maintenance has removed is not listed.
    pub(crate) fn is_listed(&self, name: &str) -> Result<bool> {
        let folder = name.rfind('/').map_or("", |slash| &name[..=slash]);
        Ok(self.store.list(folder)?.iter().any(|object| object.name == name))
    }

    /// The segments of sessions that are in the store.
    pub(crate) fn list_segments(&self) -> Result<Vec<(SessionId, ObjectName)>> {
        let listed = self.store.list("x/")?.into_iter().map(|object| object.name);
        Ok(listed
            .filter_map(|name| {
                let (session, _) = name.strip_prefix("x/")?.split_once('/')?;
                Some((session.parse().ok()?, name))
            })
            .collect())
    }

    /// A session's `open`, wherever it is kept.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`]; what the store says.
    pub(crate) fn session_open(&self, view: &View, session: SessionId) -> Result<Open> {
        let object = match view.folded.get(&session) {
            Some(folded) => folded.open.clone(),
            None => self.fetch_object(&open_name(session))?,
        };
        Open::from_object(self.id(), session, &self.keys.index, &object)
    }
}

fn generation_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("g/")?, 16).ok()
}

/// Whether an object is the one that the generation means: what vouches for the generation then vouches for it.
fn check_reference(reference: &ObjectReference, object: &[u8]) -> Result<()> {
    if object.last_chunk() == Some(&reference.hash) && object.len() as u64 == reference.bytes {
        Ok(())
    } else {
        Err(Error::damaged(
            &reference.name,
            "it is not the one that the generation means",
        ))
    }
}

/// `x/<sid>/<n>`
pub fn segment_name(session: SessionId, number: u32) -> ObjectName {
    format!("x/{session}/{number:08x}")
}

/// Stands for an `end` that was listed and has not been read.
fn placeholder_end() -> Arc<End> {
    Arc::new(End::unread())
}
