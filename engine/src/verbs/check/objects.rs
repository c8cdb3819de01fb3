//! Everything that is small: is each object that is listed what was written, and is each there that another one names?
//!
//! Past every cache, by envelope and hash, and opened where the key allows and nothing else of the check does it.

use std::collections::{BTreeMap, BTreeSet};

use super::{CheckOptions, Findings, ReadData};
use crate::format::config::{self, Config};
use crate::format::end::end_name;
use crate::format::envelope::{self, Access, Kind};
use crate::format::generation::{Generation, ObjectReference, Rewrap};
use crate::format::keys::Slot;
use crate::format::references::references_name;
use crate::repository::damage::{is_damage, object_of};
use crate::repository::view::segment_name;
use crate::repository::{Repository, View};
use crate::store::ObjectInfo;
use crate::verbs::moved::references;
use crate::words::{Error, ObjectName, Progress, Result, SessionId};

/// Where small objects are.
const PREFIXES: [&str; 8] = ["keys/", "s/", "g/", "c/", "x/", "r/", "k/", "f/"];
/// Larger ones are read only when packs are.
const SMALL_BYTES: u64 = 4 << 20;
/// Bytes and objects that are held at once.
const AT_ONCE_BYTES: u64 = 32 << 20;
const AT_ONCE: usize = 64;

/// What was listed, with the last 32 bytes of what was read.
#[derive(Default)]
pub(super) struct Objects {
    listed: BTreeMap<ObjectName, (u64, Option<[u8; 32]>)>,
}

/// Reads them all.
pub(super) fn read(
    repository: &Repository,
    options: &CheckOptions,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<Objects> {
    let mut objects = Objects::default();
    check(repository, &[(config::NAME.to_owned(), 0)], &mut objects, findings)?;
    for prefix in PREFIXES {
        let listed = repository.store().list(prefix)?;
        let mut some: Vec<(ObjectName, u64)> = Vec::new();
        let mut bytes = 0;
        for ObjectInfo { name, size, .. } in listed {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            // Readers pass over every name that is not the format's.
            if kind_of(&name).is_none() {
                continue;
            }
            objects.listed.insert(name.clone(), (size, None));
            if size > SMALL_BYTES && options.read_data == ReadData::None {
                continue;
            }
            bytes += size;
            some.push((name, size));
            if some.len() >= AT_ONCE || bytes >= AT_ONCE_BYTES {
                check(repository, &some, &mut objects, findings)?;
                some.clear();
                bytes = 0;
            }
        }
        check(repository, &some, &mut objects, findings)?;
    }
    Ok(objects)
}

fn check(
    repository: &Repository,
    names: &[(ObjectName, u64)],
    objects: &mut Objects,
    findings: &mut Findings,
) -> Result<()> {
    let wanted = names.iter().map(|(name, _)| (name.clone(), None)).collect();
    for ((name, size), object) in names.iter().zip(repository.store().get_many(wanted)) {
        match object.and_then(|object| {
            open(repository, name, &object)?;
            Ok(object.last_chunk().copied())
        }) {
            Ok(hash) => {
                objects.listed.insert(name.clone(), (*size, hash));
            }
            // Removed since it was listed: what should be there is found by who names it.
            Err(Error::Missing { .. }) => {
                objects.listed.remove(name);
            }
            Err(error @ (Error::Damaged { .. } | Error::Forged { .. })) => findings.object(name, &error),
            Err(error @ Error::NewerFormat { .. }) => findings.note(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn open(repository: &Repository, name: &str, object: &[u8]) -> Result<()> {
    let Some(kind) = kind_of(name) else { return Ok(()) };
    envelope::parse(name, kind, Access::Read, object)?;
    let (id, index) = (repository.id(), &repository.keys().index);
    match kind {
        Kind::Config => Config::from_object(object, Access::Read).map(drop),
        Kind::Slot => Slot::from_object(name, object).map(drop),
        Kind::Generation => match name.strip_prefix("g/").map(|number| u64::from_str_radix(number, 16)) {
            Some(Ok(number)) => {
                let vouch = repository.keys().vouch();
                Generation::from_object(id, number, index, vouch.as_ref(), object).map(drop)
            }
            _ => Ok(()),
        },
        Kind::Rewrap => Rewrap::from_object(id, name, index, object).map(drop),
        // The view, the marks and the references are opened by who needs them.
        Kind::Open
        | Kind::At
        | Kind::End
        | Kind::Catalogue
        | Kind::Pack
        | Kind::Segment
        | Kind::References
        | Kind::Mark => Ok(()),
    }
}

/// What an object is by its name.
fn kind_of(name: &str) -> Option<Kind> {
    let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let session = |text: &str| text.parse::<SessionId>().is_ok();
    let Some((first, rest)) = name.split_once('/') else {
        return (name == config::NAME).then_some(Kind::Config);
    };
    let (head, tail) = rest.split_once(['/', '.']).unwrap_or((rest, ""));
    match first {
        "keys" => hex(head, 32).then_some(Kind::Slot),
        "s" if session(head) && tail == "open" => Some(Kind::Open),
        "s" if session(head) && tail == "end" => Some(Kind::End),
        "s" if session(head) && tail.starts_with("at-") => Some(Kind::At),
        "g" => hex(rest, 16).then_some(Kind::Generation),
        "c" => (hex(head, 16) && !tail.is_empty()).then_some(Kind::Catalogue),
        "x" => {
            let level = head.strip_prefix('g').is_some_and(|number| hex(number, 16));
            ((level || session(head)) && !tail.is_empty()).then_some(Kind::Segment)
        }
        "r" => session(rest).then_some(Kind::References),
        "k" => (hex(head, 8) && hex(tail, 8)).then_some(Kind::Rewrap),
        "f" => (session(head) && !tail.is_empty()).then_some(Kind::Mark),
        _ => None,
    }
}

/// What the view names: levels and parts of the catalogue are those that its generation means, segments and references are there, and maintenance can
/// read what each session left for it.
pub(super) fn named(repository: &Repository, view: &View, objects: &Objects, findings: &mut Findings) -> Result<()> {
    let mut lost = Lost::default();
    let (levels, catalogue) = (&view.generation.levels, &view.generation.catalogue);
    for ObjectReference { name, bytes, hash, .. } in levels.iter().chain(catalogue) {
        match objects.listed.get(name) {
            Some((size, read)) if size != bytes || read.is_some_and(|read| read != *hash) => {
                let why = "it is not the one that the newest generation names";
                findings.object(name, &Error::damaged(name, why));
            }
            Some(_) => {}
            // A cache may have a copy: the view does not notice.
            None => lost.of_generation.push(name.clone()),
        }
    }
    for (session, state) in view.sessions.iter().filter(|(_, state)| state.open) {
        let segments = state.end.as_ref().map_or(0, |end| end.index.segments);
        let names = (0..segments).map(|number| segment_name(*session, number));
        let names = names.filter(|name| !objects.listed.contains_key(name));
        lost.of_sessions.extend(names.map(|name| (*session, name)));
    }
    for (session, end) in view.all_committed() {
        let name = references_name(session);
        if end.index.external_references && !has_references(view, session) && !objects.listed.contains_key(&name) {
            lost.references.insert(session);
        } else if let Some(pair) = &repository.keys().maintenance.pair {
            let opened = end.maintenance(repository.id(), session, pair).and_then(|_| {
                let is_snapshot = end.is_snapshot();
                is_snapshot.then(|| references(repository, view, session)).transpose()
            });
            match opened {
                Ok(_) => {}
                Err(error) if is_damage(&error) => {
                    let name = object_of(&error).map_or_else(|| end_name(session), str::to_owned);
                    findings.object(&name, &error);
                }
                Err(error) => return Err(error),
            }
        }
    }
    lost.say(repository, view.generation.number, findings)
}

/// Whether the catalogue has them.
fn has_references(view: &View, session: SessionId) -> bool {
    let folded = view.folded.get(&session);
    folded.is_some_and(|folded| folded.references.is_some())
}

/// What is named and was not listed.
#[derive(Default)]
struct Lost {
    of_generation: Vec<ObjectName>,
    of_sessions: Vec<(SessionId, ObjectName)>,
    references: BTreeSet<SessionId>,
}

impl Lost {
    /// Only what the newest view still names is missing: the rest was replaced or removed meanwhile.
    fn say(self, repository: &Repository, generation: u64, findings: &mut Findings) -> Result<()> {
        if self.of_generation.is_empty() && self.of_sessions.is_empty() && self.references.is_empty() {
            return Ok(());
        }
        // What was written since the list was made is there now.
        let is_there = |name: &str| -> Result<bool> {
            let listed = repository.store().list(name)?;
            Ok(listed.iter().any(|object| object.name == name))
        };
        let mut missing = Vec::new();
        let named = self.of_generation.into_iter().map(|name| (None, name));
        let of_sessions = self.of_sessions.into_iter();
        for (session, name) in named.chain(of_sessions.map(|(session, name)| (Some(session), name))) {
            if !is_there(&name)? {
                missing.push((session, name));
            }
        }
        let mut references = Vec::new();
        for session in self.references {
            if !is_there(&references_name(session))? {
                references.push(session);
            }
        }
        let newest = repository.refresh()?;
        for (session, name) in missing {
            let still = match session {
                Some(session) => newest.sessions.get(&session).is_some_and(|state| state.open),
                None => newest.generation.number == generation,
            };
            if still {
                findings.object(&name, &Error::Missing { name: name.clone() });
            }
        }
        for session in references {
            if newest.committed(session).is_some() && !has_references(&newest, session) {
                let name = references_name(session);
                let why = format!(
                    "{name} is missing from the store: without it prune cannot tell what snapshot {session} needs, and refuses"
                );
                findings.say(&name, why);
            }
        }
        Ok(())
    }
}
