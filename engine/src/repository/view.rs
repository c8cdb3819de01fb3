//! One moment of a repository: its newest generation, the sessions that are not folded yet, and the index over both.
//!
//! The order of reading is the protocol's (FORMAT.md, 11): first the generation, then the list of sessions. A writer writes its `open` before
//! either, so that maintenance that does not see this view's reader in its list cannot have published what this view missed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::open::Repository;
use crate::format::end::{End, Outcome, end_name};
use crate::format::envelope::{Access, Kind};
use crate::format::generation::{CataloguePart, Generation, ObjectReference, generation_name};
use crate::format::object::Binding;
use crate::format::open::{Open, at_name, check_at, open_name};
use crate::index::Index;
use crate::words::{Error, ObjectName, PackName, Result, SessionId, Timestamp};

/// Levels of more bytes are kept by the index alone.
const LEVEL_CACHED_MAX: u64 = 4 << 20;
/// How many small segments are held in memory at once.
const SEGMENTS_AT_ONCE: usize = 64;

/// What the list of sessions and `end` say of a session that is not folded.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Its `open` was in the list.
    pub open: bool,
    /// When the store received the newest of its objects in the list; for liveness alone.
    pub newest: Timestamp,
    /// Generations that it has advanced to, by the names of its markers, which anybody can write: see [`Repository::advanced_to`].
    pub at: BTreeSet<u64>,
    /// How it ended, if it did.
    pub end: Option<Arc<End>>,
}

/// A session that the generation has folded.
#[derive(Clone, Debug)]
pub struct Folded {
    /// Its `open`, whole.
    pub open: Bytes,
    /// Its `end`; absent once the snapshot is forgotten.
    pub end: Option<Arc<End>>,
    /// Its `end`, whole.
    pub end_object: Option<Bytes>,
    /// Its `r/<sid>`, whole.
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
            if view.sessions.is_empty() && view.generation.number == 0 {
                break;
            }
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
        // Never from the cache: a forged one that a person has removed must not live on there.
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
        self.load_view_beside(leave, None)
    }

    /// [`Repository::load_view`] as the session `own` needs it: without itself.
    pub(crate) fn load_view_beside(&self, leave: Leave, own: Option<SessionId>) -> Result<View> {
        for _ in 0..VIEW_ATTEMPTS {
            let newest = self.newest_generation_number(0)?;
            match self.load_view_once(newest, leave, own) {
                // Maintenance deletes what a newer generation has replaced: then that one is read.
                Err(Error::Missing { .. }) if self.newest_generation_number(newest)? > newest => {}
                other => return other,
            }
        }
        self.load_view_once(self.newest_generation_number(0)?, leave, own)
    }

    fn load_view_once(&self, newest: u64, leave: Leave, own: Option<SessionId>) -> Result<View> {
        let (generation, generation_hash) = self.newest_vouched(newest)?;
        let folded = self.load_catalogue(&generation.catalogue)?;
        let mut sessions = self.list_sessions()?;
        sessions.retain(|session, state| {
            // What a fold has not removed yet, or keeps as a tombstone, is folded all the same.
            !folded.contains_key(session) && (state.open || state.end.is_some()) && Some(*session) != own
        });
        self.load_ends(&mut sessions)?;
        let index = match self.load_index(&generation.levels, &sessions) {
            // A damaged file of the cache is removed when it is found.
            Err(Error::Io { .. }) => self.load_index(&generation.levels, &sessions)?,
            index => index?,
        };
        let mut left_out: HashSet<PackName> = generation.dead.iter().copied().collect();
        if leave == Leave::Condemned {
            left_out.extend(generation.condemned.iter().map(|condemned| condemned.pack));
        }
        index.exclude(&left_out)?;
        Ok(View {
            generation,
            highest: newest,
            generation_hash,
            sessions,
            folded,
            index,
        })
    }

    pub(crate) fn load_catalogue(&self, parts: &[ObjectReference]) -> Result<BTreeMap<SessionId, Folded>> {
        let mut folded = BTreeMap::new();
        let objects = self.fetch_objects(parts.iter().map(|part| part.name.clone()).collect());
        for (part, object) in parts.iter().zip(objects) {
            let object = object?;
            check_reference(part, &object)?;
            let part = CataloguePart::from_object(self.id(), &part.name, &self.keys.index, &object)?;
            for session in part.sessions {
                let end = session
                    .end
                    .as_ref()
                    .map(|end| self.parse_end(session.session, end))
                    .transpose()?;
                let known = Folded {
                    open: session.open.into(),
                    end: end.map(Arc::new),
                    end_object: session.end.map(Bytes::from),
                    references: session.references.map(Bytes::from),
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

    /// Replaces the placeholders of [`Repository::list_sessions`] by what `end` says.
    pub(crate) fn load_ends(&self, sessions: &mut BTreeMap<SessionId, SessionState>) -> Result<()> {
        let ended: Vec<SessionId> = sessions
            .iter()
            .filter(|(_, state)| state.end.is_some())
            .map(|(session, _)| *session)
            .collect();
        let objects = self.fetch_objects(ended.iter().map(|session| end_name(*session)).collect());
        for (session, object) in ended.into_iter().zip(objects) {
            match object {
                Ok(object) => {
                    let end = self.parse_end(session, &object)?;
                    if let Some(state) = sessions.get_mut(&session) {
                        state.end = Some(Arc::new(end));
                    }
                }
                // Folded and removed since it was listed: a newer generation has it.
                Err(Error::Missing { .. }) => {
                    sessions.remove(&session);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The index over the levels and the segments of these sessions. Segments that an earlier index left in the cache are not read again.
    fn load_index(&self, levels: &[ObjectReference], sessions: &BTreeMap<SessionId, SessionState>) -> Result<Index> {
        let mut names: Vec<ObjectName> = levels.iter().map(|level| level.name.clone()).collect();
        let required = names.len();
        names.extend(self.session_segments(sessions)?);
        let inline = sessions.iter().filter_map(|(session, state)| {
            let end = state.end.as_ref().filter(|_| state.open)?;
            Some((end_name(*session), end.index.segment.as_ref()?))
        });
        let inline: Vec<(ObjectName, &Vec<u8>)> = inline.collect();
        let wanted = names.iter().chain(inline.iter().map(|(name, _)| name));
        let folder = self.cache_folder.as_deref().map(|folder| folder.join("index"));
        let mut index = Index::builder(folder.as_deref(), wanted.map(String::as_str));
        for (name, segment) in inline {
            index.add_segment(&name, segment)?;
        }
        for level in levels {
            if index.has(&level.name) {
                continue;
            }
            // One at a time, and the large ones past the cache of objects: the index keeps what they say.
            let object = match level.bytes {
                0..=LEVEL_CACHED_MAX => self.fetch_object(&level.name)?,
                _ => self.store.get(&level.name)?,
            };
            check_reference(level, &object)?;
            index.add_segment(&level.name, &self.open_segment(&level.name, &object)?)?;
        }
        names.drain(..required);
        names.retain(|name| !index.has(name));
        for some in names.chunks(SEGMENTS_AT_ONCE) {
            for (name, object) in some.iter().zip(self.fetch_objects(some.to_vec())) {
                match object {
                    Ok(object) => index.add_segment(name, &self.open_segment(name, &object)?)?,
                    // Folded and removed since its session was listed: a newer generation has it.
                    Err(Error::Missing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        index.finish()
    }

    /// The plaintext of a segment.
    pub(crate) fn open_segment(&self, name: &str, object: &[u8]) -> Result<Vec<u8>> {
        Binding {
            repository: self.id(),
            kind: Kind::Segment,
            name,
        }
        .open_framed(Access::Read, object, 0, |_| Ok(self.keys.index.clone()))
    }

    /// The names of the segments that these sessions have written as objects.
    fn session_segments(&self, sessions: &BTreeMap<SessionId, SessionState>) -> Result<Vec<ObjectName>> {
        let mut names = Vec::new();
        let mut running = false;
        for (session, state) in sessions {
            match &state.end {
                // Only sessions whose `open` was listed after the generation was read count (FORMAT.md, 11).
                Some(end) if state.open => {
                    names.extend((0..end.index.segments).map(|number| segment_name(*session, number)));
                    // Whoever was fenced may have written segments that its `end`, by another hand, does not count.
                    running |= end.outcome == Outcome::Fenced;
                }
                Some(_) => {}
                None => running |= state.open,
            }
        }
        if running {
            let listed = self.store.list("x/")?;
            names.extend(listed.into_iter().map(|object| object.name).filter(|name| {
                let session = name.strip_prefix("x/").and_then(|rest| rest.split_once('/'));
                let session = session.and_then(|(session, _)| session.parse::<SessionId>().ok());
                session.and_then(|session| sessions.get(&session)).is_some_and(|state| {
                    state.open && state.end.as_ref().is_none_or(|end| end.outcome == Outcome::Fenced)
                })
            }));
        }
        Ok(names)
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
