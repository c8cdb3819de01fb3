//! The index of a view: from levels and segments, and from the packs themselves where one of those cannot be read (FORMAT.md, 5 and 8).
//!
//! What must hold: a reader finds every blob that some pack holds and whose segment is lost. A writer refers only to packs that some segment names,
//! be it lost or not: what no segment names is in no level after the next prune, and would be missing then. So of packs without a segment a writer
//! takes those of sessions that are known to have written a segment for each.

use std::collections::{BTreeMap, BTreeSet};

use super::{Folded, Leave, SessionState, check_reference};
use crate::format::end::{Outcome, end_name};
use crate::format::envelope::{Access, Kind};
use crate::format::generation::Generation;
use crate::format::object::Binding;
use crate::format::open::open_name;
use crate::format::segment::SegmentBuilder;
use crate::index::Index;
use crate::repository::Repository;
use crate::repository::damage::Damage;
use crate::words::{Error, ObjectName, PackName, Result, SessionId};

/// Levels of more bytes are kept by the index alone.
const LEVEL_CACHED_MAX: u64 = 4 << 20;
/// How many small segments are held in memory at once.
const SEGMENTS_AT_ONCE: usize = 64;

/// What is known before the index is.
pub(super) struct Known<'v> {
    pub(super) generation: &'v Generation,
    pub(super) folded: &'v BTreeMap<SessionId, Folded>,
    pub(super) sessions: &'v BTreeMap<SessionId, SessionState>,
    /// The segments that these sessions have written as objects.
    pub(super) segments: Vec<ObjectName>,
    pub(super) leave: Leave,
}

/// Whose packs some segment that cannot be read may have named.
#[derive(Default)]
struct Lost {
    sessions: BTreeSet<SessionId>,
    /// A level: any session that is not in the list any more.
    level: bool,
    damaged: Vec<Damage>,
}

impl Known<'_> {
    /// Whether every pack of the session is named by a segment.
    fn names_all(&self, session: SessionId) -> bool {
        match self.sessions.get(&session) {
            Some(state) => {
                state.open
                    && state
                        .end
                        .as_ref()
                        .is_some_and(|end| matches!(end.outcome, Outcome::Commit | Outcome::Abort))
            }
            // What a fold found of a committed session is in a level unless it is dead.
            None => self.folded.get(&session).is_some_and(|folded| folded.end.is_some()),
        }
    }

    /// Packs with blobs that nobody can open, because the session that has their key is not known.
    pub(super) fn keyless(&self, index: &Index) -> Result<Vec<PackName>> {
        let has_key = |session: &SessionId| {
            self.folded.contains_key(session) || self.sessions.get(session).is_some_and(|state| state.open)
        };
        let mut keyless = Vec::new();
        for info in index.packs()? {
            let info = info?;
            if !info.key_sessions.iter().all(has_key) {
                keyless.push(info.name);
            }
        }
        Ok(keyless)
    }
}

impl Repository {
    /// The index over the levels and the segments of these sessions, and what of it is damaged. Segments that an earlier index left in the cache are
    /// not read again.
    pub(super) fn load_index(&self, known: &Known<'_>) -> Result<(Index, Vec<Damage>)> {
        let (levels, sessions) = (&known.generation.levels, known.sessions);
        let mut names: Vec<ObjectName> = levels.iter().map(|level| level.name.clone()).collect();
        let required = names.len();
        names.extend(known.segments.iter().cloned());
        let inline = sessions.iter().filter_map(|(session, state)| {
            let end = state.end.as_ref().filter(|_| state.open)?;
            Some((*session, end_name(*session), end.index.segment.as_ref()?))
        });
        let inline: Vec<(SessionId, ObjectName, &Vec<u8>)> = inline.collect();
        let wanted = names.iter().chain(inline.iter().map(|(_, name, _)| name));
        let folder = self.cache_folder.as_deref().map(|folder| folder.join("index"));
        let mut index = Index::builder(folder.as_deref(), wanted.map(String::as_str));
        let mut lost = Lost::default();
        let unreadable = sessions.iter().filter(|(_, state)| state.open && state.unreadable);
        lost.sessions.extend(unreadable.map(|(session, _)| *session));
        for (session, name, segment) in inline {
            if let Some(damage) = self.damage(known, &name, index.add_segment_of(session, &name, segment))? {
                lost.damaged.push(damage);
                lost.sessions.insert(session);
            }
        }
        for level in levels {
            if index.has(&level.name) {
                continue;
            }
            // One at a time, and the large ones past the cache of objects: the index keeps what they say.
            let object = match level.bytes {
                0..=LEVEL_CACHED_MAX => self.fetch_object(&level.name),
                _ => self.store.get(&level.name),
            };
            let added = object
                .and_then(|object| {
                    check_reference(level, &object)?;
                    self.open_segment(&level.name, &object)
                })
                .and_then(|segment| index.add_segment(&level.name, &segment));
            if let Some(damage) = self.damage(known, &level.name, added)? {
                lost.damaged.push(damage);
                lost.level = true;
            }
        }
        names.drain(..required);
        names.retain(|name| !index.has(name));
        for some in names.chunks(SEGMENTS_AT_ONCE) {
            for (name, object) in some.iter().zip(self.fetch_objects(some.to_vec())) {
                let session = session_of(name);
                let added =
                    object
                        .and_then(|object| self.open_segment(name, &object))
                        .and_then(|segment| match session {
                            Some(session) => index.add_segment_of(session, name, &segment),
                            None => Err(Error::damaged(name, "it is of no session")),
                        });
                if let Some(damage) = self.damage(known, name, added)?
                    && !(damage.is_missing && session.is_some_and(|session| self.is_removed(session)))
                {
                    lost.damaged.push(damage);
                    lost.sessions.extend(session);
                }
            }
        }
        let index = index.finish()?;
        if lost.sessions.is_empty() && !lost.level {
            return Ok((index, Vec::new()));
        }
        let index = self.add_footers(index, known, &mut lost)?;
        Ok((index, lost.damaged))
    }

    /// Damage is remembered; what a newer generation has replaced, and everything else that fails, is an error.
    fn damage(&self, known: &Known<'_>, name: &str, outcome: Result<()>) -> Result<Option<Damage>> {
        match outcome {
            Ok(()) => Ok(None),
            Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
                let error = self.missing(known.generation.number, error)?;
                Ok(Some(Damage::new(name, &error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether maintenance is removing the session, because nothing needs it any more: `open` goes first.
    fn is_removed(&self, session: SessionId) -> bool {
        let name = open_name(session);
        let listed = self.store.list(&name);
        listed.is_ok_and(|listed| !listed.iter().any(|object| object.name == name))
    }

    /// Adds the packs that no segment names to the index, by their own tables.
    fn add_footers(&self, index: Index, known: &Known<'_>, lost: &mut Lost) -> Result<Index> {
        let mut listed = Vec::new();
        if lost.level {
            listed = self.store.list("p/")?;
        } else {
            for session in &lost.sessions {
                listed.extend(self.store.list(&format!("p/{session}/"))?);
            }
        }
        let mut packs: Vec<(PackName, u64)> = Vec::new();
        for object in listed {
            let Some(pack) = PackName::of_object(&object.name) else {
                continue;
            };
            let is_lost =
                lost.sessions.contains(&pack.session) || lost.level && !known.sessions.contains_key(&pack.session);
            let may = known.leave == Leave::Dead || known.names_all(pack.session);
            if is_lost && may && index.pack(&pack)?.is_none() {
                packs.push((pack, object.size));
            }
        }
        let mut more = index.reopened();
        for some in packs.chunks(SEGMENTS_AT_ONCE) {
            for ((pack, _), contents) in some.iter().zip(self.pack_contents(some)) {
                match contents {
                    Ok((info, entries)) => {
                        let mut segment = SegmentBuilder::new();
                        segment.add(info, &entries);
                        more.add_segment(&pack.object(), &segment.finish())?;
                    }
                    // Deleted since it was listed, as nobody needs it.
                    Err(Error::Missing { .. }) => {}
                    Err(error @ Error::Damaged { .. }) => lost.damaged.push(Damage::new(pack.object(), &error)),
                    Err(error) => return Err(error),
                }
            }
        }
        more.finish()
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

    /// The names of the segments that these sessions have written as objects. For a writer, `listed` was listed before the sessions were; others
    /// list when they need to.
    pub(super) fn session_segments(
        &self,
        sessions: &BTreeMap<SessionId, SessionState>,
        leave: Leave,
        listed: Option<Vec<(SessionId, ObjectName)>>,
    ) -> Result<Vec<ObjectName>> {
        // Only sessions whose `open` was listed after the generation was read count (FORMAT.md, 11).
        let is_unsure = |state: &SessionState| match &state.end {
            // Whoever was fenced may have written segments that its `end`, by another hand, does not count. Maintenance does not fold them.
            Some(end) => state.open && end.outcome == Outcome::Fenced && leave == Leave::Dead,
            // It runs, or is dead; an `end` that cannot be read may be a fence.
            None => state.open && (!state.unreadable || leave == Leave::Dead),
        };
        let mut names = BTreeSet::new();
        for (session, state) in sessions.iter().filter(|(_, state)| state.open) {
            let segments = state.end.as_ref().map_or(0, |end| end.index.segments);
            names.extend((0..segments).map(|number| super::segment_name(*session, number)));
        }
        if sessions.values().any(is_unsure) {
            let listed = match listed {
                Some(listed) => listed,
                None => self.list_segments()?,
            };
            let unsure = listed
                .into_iter()
                .filter(|(session, _)| sessions.get(session).is_some_and(is_unsure));
            names.extend(unsure.map(|(_, name)| name));
        }
        Ok(names.into_iter().collect())
    }
}

/// The session that a segment's name speaks of.
fn session_of(name: &str) -> Option<SessionId> {
    name.strip_prefix("x/")?.split_once('/')?.0.parse().ok()
}
