//! Ended sessions into the catalogue, and their segments into levels, without what is dead.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use super::PruneOptions;
use super::publish::Barrier;
use super::survey::{Survey, list_packs};
use crate::format::end::{Outcome, end_name};
use crate::format::envelope::Kind;
use crate::format::generation::{CataloguePart, FoldedSession, ObjectReference, catalogue_name, level_name};
use crate::format::object::Binding;
use crate::format::open::{Open, SessionKind, open_name};
use crate::format::references::references_name;
use crate::format::segment::SegmentBuilder;
use crate::repository::Repository;
use crate::words::{Error, PackName, Result, SessionId};

/// Sessions in one part of the catalogue at most.
const CATALOGUE_SESSIONS: usize = 1000;
/// Bytes of one part of the catalogue, about.
const CATALOGUE_BYTES: usize = 16 << 20;
/// Entries in one level segment at most: 32 MiB.
const LEVEL_ENTRIES: usize = 1 << 20;

/// What the next generation says of index and catalogue.
pub(super) struct FoldedIndex {
    pub(super) levels: Vec<ObjectReference>,
    pub(super) catalogue: Vec<ObjectReference>,
    pub(super) moved: Vec<SessionId>,
    pub(super) folded: u64,
    pub(super) sessions_done: Vec<SessionId>,
    pub(super) orphans: Vec<SessionId>,
    pub(super) marks_done: Vec<String>,
    pub(super) replaced: Vec<String>,
}

/// Writes levels and catalogue of generation `number`; they mean nothing until it is published.
pub(super) fn fold(
    repository: &Repository,
    survey: &Survey,
    barrier: &Barrier,
    number: u64,
    dead: &BTreeSet<PackName>,
    options: &PruneOptions,
) -> Result<FoldedIndex> {
    let ended: BTreeSet<SessionId> = barrier
        .sessions
        .iter()
        .filter(|(_, state)| state.end.is_some())
        .map(|(session, _)| *session)
        .collect();
    let (levels, key_sessions, mut replaced) = write_levels(repository, survey, barrier, number, dead, &ended)?;
    let mut sessions = gather(repository, survey, barrier, &ended)?;
    let mut marks_done = Vec::new();
    let now = (options.clock)();
    sessions.retain(|session, folded| {
        // A table that references still need, or that says where blobs of packs went that are not dead yet.
        let table = folded.kind == Some(SessionKind::Repack) && (survey.needs_table(session) || folded.committed_now);
        let marked = survey.marks.get(session);
        let forgotten = marked.is_some_and(|marked| marked.forgotten);
        let kept = folded.kind == Some(SessionKind::Backup) && !forgotten
            || forgotten
                && marked.is_some_and(|marked| now.seconds_since(marked.forgotten_at) < options.undelete_seconds);
        if !(kept || table) {
            if forgotten {
                marks_done.extend(marked.into_iter().flat_map(|marked| marked.names.iter().cloned()));
            }
            folded.session.end = None;
            folded.session.references = None;
        }
        folded.session.end.is_some() || key_sessions.contains(session)
    });
    let moved = sessions
        .iter()
        .filter(|(_, folded)| folded.kind == Some(SessionKind::Repack) && folded.session.end.is_some());
    let moved = moved.map(|(session, _)| *session).collect();
    let folded = barrier
        .sessions
        .values()
        .filter(|state| state.end.is_some() && state.open)
        .count() as u64;
    let catalogue = write_catalogue(repository, number, sessions)?;
    replaced.extend(survey.catalogue().iter().map(|part| part.name.clone()));
    let (opened, orphans): (Vec<_>, Vec<_>) = barrier.sessions.iter().partition(|(_, state)| state.open);
    let orphans = orphans.into_iter().map(|(session, _)| *session).collect();
    let sessions_done: Vec<SessionId> = opened
        .into_iter()
        .map(|(session, _)| *session)
        .filter(|session| ended.contains(session))
        .chain(survey.view.folded.keys().copied())
        .collect();
    Ok(FoldedIndex {
        levels,
        catalogue,
        moved,
        folded,
        sessions_done,
        orphans,
        marks_done,
        replaced,
    })
}

struct Gathered {
    session: FoldedSession,
    /// What the COMMIT was of; nothing for sessions without one.
    kind: Option<SessionKind>,
    /// It was not in the catalogue before.
    committed_now: bool,
}

/// The old catalogue and the sessions that are folded now.
fn gather(
    repository: &Repository,
    survey: &Survey,
    barrier: &Barrier,
    ended: &BTreeSet<SessionId>,
) -> Result<BTreeMap<SessionId, Gathered>> {
    let mut sessions = BTreeMap::new();
    for (session, folded) in &survey.view.folded {
        let kind = folded
            .end
            .as_ref()
            .filter(|end| end.outcome == Outcome::Commit)
            .map(|end| end.index.kind);
        let session_object = FoldedSession {
            session: *session,
            open: folded.open.to_vec(),
            end: folded.end_object.as_ref().map(|end| end.to_vec()),
            references: folded.references.as_ref().map(|references| references.to_vec()),
        };
        sessions.insert(
            *session,
            Gathered {
                session: session_object,
                kind,
                committed_now: false,
            },
        );
    }
    for session in ended {
        let Some(state) = barrier.sessions.get(session).filter(|state| state.open) else {
            continue;
        };
        let open = match repository.fetch_object(&open_name(*session)) {
            Ok(open) => {
                // Its keys are in it: what replaces a damaged one must not be the damaged one.
                Open::from_object(repository.id(), *session, &repository.keys().index, &open)?;
                open.to_vec()
            }
            // Another maintainer has folded and removed it; one of us will publish. What is listed and not there is lost, and its snapshot with it.
            Err(Error::Missing { .. }) if !repository.is_listed(&open_name(*session))? => continue,
            Err(error) => return Err(error),
        };
        let end = state.end.as_ref().filter(|end| end.outcome == Outcome::Commit);
        let references = match end {
            Some(end) if end.index.external_references => {
                Some(repository.fetch_object(&references_name(*session))?.to_vec())
            }
            _ => None,
        };
        let object = match end {
            Some(_) => Some(repository.fetch_object(&end_name(*session))?.to_vec()),
            None => None,
        };
        let folded = FoldedSession {
            session: *session,
            open,
            end: object,
            references,
        };
        let kind = end.map(|end| end.index.kind);
        sessions.insert(
            *session,
            Gathered {
                session: folded,
                kind,
                committed_now: true,
            },
        );
    }
    Ok(sessions)
}

fn write_catalogue(
    repository: &Repository,
    number: u64,
    sessions: BTreeMap<SessionId, Gathered>,
) -> Result<Vec<ObjectReference>> {
    let mut parts: Vec<CataloguePart> = Vec::new();
    let mut bytes = usize::MAX;
    for (_, Gathered { session, .. }) in sessions {
        let size = session.open.len()
            + session.end.as_ref().map_or(0, Vec::len)
            + session.references.as_ref().map_or(0, Vec::len);
        if bytes.saturating_add(size) > CATALOGUE_BYTES
            || parts
                .last()
                .is_none_or(|part| part.sessions.len() >= CATALOGUE_SESSIONS)
        {
            parts.push(CataloguePart::default());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.sessions.push(session);
        }
    }
    let mut references = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let name = fresh_name(&catalogue_name(number, place as u32));
        let object = part.to_object(repository.id(), &name, &repository.keys().index)?;
        references.push(reference(&name, &object, part.sessions.len() as u64));
        put_and_compare(repository, &name, object)?;
    }
    Ok(references)
}

/// Writes an object and reads it back: what it replaces is deleted, and then it is the only copy of keys and records.
pub(super) fn put_and_compare(repository: &Repository, name: &str, object: Vec<u8>) -> Result<()> {
    let object = Bytes::from(object);
    repository.store().put(name, object.clone())?;
    is_stored(repository, name, &object)
}

/// Reads an object back.
pub(super) fn is_stored(repository: &Repository, name: &str, object: &[u8]) -> Result<()> {
    if repository.store().get(name)? == object {
        return Ok(());
    }
    Err(Error::damaged(
        name,
        "the store gives back other bytes than were just written; nothing was deleted",
    ))
}

/// Two maintainers may prepare the same generation; their objects must not collide.
fn fresh_name(name: &str) -> String {
    format!(
        "{name}.{}",
        data_encoding::HEXLOWER.encode(&crate::words::id::random_bytes::<4>())
    )
}

fn reference(name: &str, object: &[u8], count: u64) -> ObjectReference {
    let hash = object.last_chunk().copied().unwrap_or_default();
    ObjectReference {
        name: name.to_owned(),
        bytes: object.len() as u64,
        hash,
        count,
    }
}

/// Levels that hold every living pack of the old levels and of the ended sessions. Gives them, the sessions whose keys those packs need, and the names of levels that are replaced.
fn write_levels(
    repository: &Repository,
    survey: &Survey,
    barrier: &Barrier,
    number: u64,
    dead: &BTreeSet<PackName>,
    ended: &BTreeSet<SessionId>,
) -> Result<(Vec<ObjectReference>, HashSet<SessionId>, Vec<String>)> {
    // What is running stays in segments of its own; everything else that is known and not dead is written anew.
    let view = repository.load_whole_view()?;
    for session in ended.iter().filter(|session| barrier.open.contains(session)) {
        let is_there = view.sessions.get(session).is_some_and(|state| state.open);
        // Its segments would be missing in the levels, and then be removed.
        if !is_there && repository.is_listed(&open_name(*session))? {
            return Err(Error::damaged(
                "The list of sessions",
                format!("it did not show {session} once"),
            ));
        }
    }
    // Not what the survey listed: sessions that committed since then are folded too, and their packs are younger than that list.
    let there = list_packs(repository)?;
    let is_used =
        |pack: &PackName| survey.is_used(pack) || barrier.late.get(pack).is_some_and(|used| used.count(1) > 0);
    let stays = |pack: &PackName| {
        !dead.contains(pack)
            && (ended.contains(&pack.session) || !view.sessions.contains_key(&pack.session))
            && (there.contains_key(pack) || is_used(pack))
    };
    let mut key_sessions = survey.used_sessions();
    let mut levels = Vec::new();
    let mut builder = SegmentBuilder::new();
    let flush = |builder: SegmentBuilder, levels: &mut Vec<ObjectReference>| -> Result<()> {
        let count = builder.entry_count() as u64;
        let name = fresh_name(&level_name(number, levels.len() as u32));
        let binding = Binding {
            repository: repository.id(),
            kind: Kind::Segment,
            name: &name,
        };
        let object = binding.framed_object(&repository.keys().index, b"", &builder.finish());
        levels.push(reference(&name, &object, count));
        put_and_compare(repository, &name, object)
    };
    for item in view.index.by_pack(|info| stays(&info.name))? {
        let (info, entries) = item?;
        if !there.contains_key(&info.name) {
            // It was there when what is used was counted. Nothing is published on top of a loss.
            return Err(Error::Missing {
                name: info.name.object(),
            });
        }
        key_sessions.extend(info.key_sessions.iter().copied());
        if builder.entry_count() > 0 && builder.entry_count() + entries.len() > LEVEL_ENTRIES {
            flush(std::mem::replace(&mut builder, SegmentBuilder::new()), &mut levels)?;
        }
        builder.add_entries(info, &entries);
    }
    if builder.entry_count() > 0 {
        flush(builder, &mut levels)?;
    }
    let replaced = survey
        .view
        .generation
        .levels
        .iter()
        .map(|level| level.name.clone())
        .collect();
    Ok((levels, key_sessions, replaced))
}
