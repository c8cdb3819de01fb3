//! Finding snapshots, and saying something of them afterwards: forgotten, or other tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::damage::{Damage, object_of};
use super::open::Repository;
use super::view::View;
use crate::crypto::Secret;
use crate::format::end::{End, end_name};
use crate::format::mark::{Mark, MarkKind, mark_name, marked_session};
use crate::format::snapshot::{Snapshot, Summary};
use crate::words::id::random_bytes;
use crate::words::{BlobKind, Error, Result, SessionId, Timestamp};

/// A snapshot that counts: committed and not forgotten.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// Its id.
    pub id: SessionId,
    /// What everybody but writers may see; tags are the newest.
    pub summary: Summary,
    /// The whole record; maintainers have no key to it.
    pub record: Option<Snapshot>,
}

/// Which snapshots are meant. Every condition that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// One of these machines.
    pub hosts: Vec<Vec<u8>>,
    /// One of these lists of tags, each of which must all be there.
    pub tags: Vec<Vec<String>>,
    /// All of these sources, each by any of the names it may be stored by: absolute as a path, as it was given as a stream.
    pub paths: Vec<Vec<Vec<u8>>>,
    /// All of these labels.
    pub labels: Vec<(String, String)>,
    /// Not after this moment.
    pub until: Option<Timestamp>,
}

impl SnapshotFilter {
    /// Whether a snapshot is meant.
    pub fn matches(&self, summary: &Summary) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(&summary.host))
            && (self.tags.is_empty()
                || self
                    .tags
                    .iter()
                    .any(|tags| tags.iter().all(|tag| summary.tags.contains(tag))))
            && self
                .paths
                .iter()
                .all(|names| names.iter().any(|name| summary.paths.contains(name)))
            && self.labels.iter().all(|label| summary.labels.contains(label))
            && self.until.is_none_or(|until| summary.time <= until)
    }
}

/// What marks say of one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Marked {
    /// It is no longer wanted.
    pub forgotten: bool,
    /// Since when.
    pub forgotten_at: Timestamp,
    /// The newest tags and when they were given.
    pub tags: Option<(Timestamp, Vec<String>)>,
    /// The names of the marks.
    pub names: Vec<String>,
}

/// Every mark that can be read, and those that cannot.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// By snapshot.
    pub by_snapshot: BTreeMap<SessionId, Marked>,
    /// What cannot be read says nothing: its snapshot counts as wanted, with the tags that it had.
    pub damaged: Vec<Damage>,
}

/// Every snapshot that can be read, and what cannot.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Oldest first.
    pub snapshots: Vec<StoredSnapshot>,
    /// Damaged parts of the view, marks and records.
    pub damaged: Vec<Damage>,
}

impl Repository {
    /// All marks, by snapshot.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for writers; what the store says.
    pub fn marks(&self) -> Result<Marks> {
        let key = self
            .keys
            .mark
            .as_ref()
            .ok_or_else(|| self.role_too_small("a reader, a maintainer or an owner"))?;
        let vouch = self.keys.vouch();
        let mut marks = Marks::default();
        for object in self.store.list("f/")? {
            let Some(session) = marked_session(&object.name) else {
                continue;
            };
            let read = self.fetch_object(&object.name);
            let mark = read.and_then(|bytes| Mark::from_object(self.id(), &object.name, key, vouch.as_ref(), &bytes));
            let mark = match mark {
                Ok(mark) => mark,
                // Not said by anybody who may: nothing is forgotten on its word.
                Err(Error::Missing { .. } | Error::Forged { .. }) => continue,
                Err(error @ Error::Damaged { .. }) => {
                    marks.damaged.push(Damage::new(object.name, &error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let known = marks.by_snapshot.entry(session).or_default();
            known.names.push(object.name);
            match mark.what {
                MarkKind::Forget { .. } => {
                    known.forgotten_at = if known.forgotten {
                        known.forgotten_at.min(mark.time)
                    } else {
                        mark.time
                    };
                    known.forgotten = true;
                }
                MarkKind::Tags { tags } => {
                    if known.tags.as_ref().is_none_or(|(time, _)| *time <= mark.time) {
                        known.tags = Some((mark.time, tags));
                    }
                }
            }
        }
        Ok(marks)
    }

    /// Every snapshot that counts and can be read, oldest first, as the newest view has them. It warns of what cannot be read.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for writers; [`Error::Damaged`] when nothing at all can be read; what the store says.
    pub fn snapshots(&self, filter: &SnapshotFilter) -> Result<Vec<StoredSnapshot>> {
        let listing = self.listing(filter)?;
        self.warn(&listing.damaged);
        Ok(listing.snapshots)
    }

    /// [`Repository::snapshots`] with what cannot be read, of whatever snapshot.
    ///
    /// # Errors
    /// As [`Repository::snapshots`].
    pub fn listing(&self, filter: &SnapshotFilter) -> Result<Listing> {
        let view = self.refresh()?;
        let marks = self.marks()?;
        let (mut found, mut damaged) = (Vec::new(), view.damaged.clone());
        damaged.extend(marks.damaged);
        for (session, end) in view.all_committed() {
            let marked = marks.by_snapshot.get(&session);
            if !end.is_snapshot() || marked.is_some_and(|marked| marked.forgotten) {
                continue;
            }
            let (mut summary, record) = match self.describe(&view, session, end) {
                Ok(described) => described,
                Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
                    let name = object_of(&error).map_or_else(|| end_name(session), str::to_owned);
                    damaged.push(Damage {
                        snapshot: Some(session),
                        ..Damage::new(name, &error)
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some((_, tags)) = marked.and_then(|marked| marked.tags.as_ref()) {
                summary.tags.clone_from(tags);
            }
            if filter.matches(&summary) {
                found.push(StoredSnapshot {
                    id: session,
                    summary,
                    record,
                });
            }
        }
        found.sort_by_key(|snapshot| (snapshot.summary.time, snapshot.id));
        Ok(Listing {
            snapshots: found,
            damaged,
        })
    }

    fn describe(&self, view: &View, session: SessionId, end: &Arc<End>) -> Result<(Summary, Option<Snapshot>)> {
        if self.keys.tree.iter().any(|(_, halves)| halves.pair.is_some()) {
            let record = self.record(view, session, end)?;
            return Ok((record.summary(), Some(record)));
        }
        let pair = self.keys.maintenance.pair.as_ref();
        let pair = pair.ok_or_else(|| self.role_too_small("a reader, a maintainer or an owner"))?;
        Ok((end.maintenance(self.id(), session, pair)?.summary, None))
    }

    /// The record of a committed session.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`]; [`Error::Damaged`]; what the store says.
    pub fn record(&self, view: &View, session: SessionId, end: &End) -> Result<Snapshot> {
        end.snapshot(self.id(), session, &self.session_key(view, session, BlobKind::Tree)?)
    }

    /// The snapshot that a person means: an id or the beginning of one, `latest`, or `latest~N` for the Nth before it.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`] with the nearest that there is; [`Error::Damaged`] when the one that is meant cannot be read; what
    /// [`Repository::snapshots`] says.
    pub fn find_snapshot(&self, wanted: &str, filter: &SnapshotFilter) -> Result<StoredSnapshot> {
        let Listing {
            snapshots: mut found,
            damaged,
        } = self.listing(filter)?;
        let hint = |found: &[StoredSnapshot]| match found.last() {
            None => "; there is none that fits".to_owned(),
            Some(newest) => format!("; there are {}, the newest is {}", found.len(), newest.id.short()),
        };
        let missing = |found: &[StoredSnapshot]| Error::NoSnapshot {
            wanted: wanted.to_owned(),
            hint: hint(found),
        };
        if let Some(rest) = wanted.strip_prefix("latest") {
            // The one that is meant may be among them.
            self.warn(&damaged);
            let back = match rest.strip_prefix('~') {
                Some(number) => number.parse::<usize>().ok(),
                None if rest.is_empty() => Some(0),
                None => None,
            };
            let complete = found.iter().filter(|snapshot| !snapshot.summary.incomplete).count();
            let place = back.and_then(|back| complete.checked_sub(back.checked_add(1)?));
            let place = place.ok_or_else(|| missing(&found))?;
            found.retain(|snapshot| !snapshot.summary.incomplete);
            return Ok(found.swap_remove(place));
        }
        let is_prefix = !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wanted_prefix = wanted.to_ascii_lowercase();
        let is_meant = |id: &SessionId| is_prefix && id.to_string().starts_with(&wanted_prefix);
        let mut matching = found.iter().enumerate().filter(|(_, snapshot)| is_meant(&snapshot.id));
        match (matching.next(), matching.next()) {
            (Some((place, _)), None) => Ok(found.swap_remove(place)),
            (Some(_), Some(_)) => Err(Error::Invalid(format!(
                "More than one snapshot begins with `{wanted}`; more digits are needed"
            ))),
            // Damaged is not missing.
            (None, _) => {
                let mut damaged = damaged.iter();
                let meant = damaged.find(|damage| damage.session().is_some_and(|session| is_meant(&session)));
                Err(meant.map_or_else(|| missing(&found), Damage::to_error))
            }
        }
    }

    /// Marks a snapshot. Of the marks with tags the newest counts, so one is never given a time before those that are there: a machine whose clock is
    /// behind would change nothing.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for writers and readers; what the store says.
    pub fn mark(&self, session: SessionId, what: MarkKind, now: Timestamp) -> Result<()> {
        let (Some(key), Some(vouch)) = (&self.keys.mark, self.keys.vouch()) else {
            return Err(self.role_too_small("a maintainer or an owner"));
        };
        let time = match &what {
            MarkKind::Forget { .. } => now,
            MarkKind::Tags { .. } => self
                .newest_tags(session, key)?
                .map_or(now, |newest| now.max(Timestamp(newest.0.saturating_add(1)))),
        };
        let name = mark_name(session, u64::from_le_bytes(random_bytes()));
        let object = Mark { time, what }.to_object(self.id(), &name, key, &vouch)?;
        self.store.put(&name, object.into())
    }

    /// The time of the newest mark with tags of a snapshot.
    fn newest_tags(&self, session: SessionId, key: &Secret) -> Result<Option<Timestamp>> {
        let mut newest = None;
        for object in self.store.list(&format!("f/{session}"))? {
            let bytes = match self.fetch_object(&object.name) {
                Ok(bytes) => bytes,
                Err(Error::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let mark = match Mark::from_object(self.id(), &object.name, key, self.keys.vouch().as_ref(), &bytes) {
                Ok(mark) => mark,
                Err(Error::Forged { .. }) => continue,
                Err(error) => return Err(error),
            };
            if matches!(mark.what, MarkKind::Tags { .. }) {
                newest = newest.max(Some(mark.time));
            }
        }
        Ok(newest)
    }
}
