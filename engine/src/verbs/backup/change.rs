//! What the parent snapshot already has.
//!
//! What must hold: nothing that happens to the parent ends a backup. What cannot be read of it is as if it were not there: files are read anew, and
//! blobs that are lost are stored anew.

use bytes::Bytes;

use super::queue::Origin;
use crate::format::snapshot::{Counts, Snapshot};
use crate::format::tree::list::List;
use crate::format::tree::{Content, Cursor, Entry, EntryKind, Extent, Metadata, TreeSource};
use crate::repository::{Repository, Writer};
use crate::source::{self, Found, FoundKind};
use crate::words::{BlobId, BlobKind, Error, Result, SessionId, Timestamp};

/// File systems round times to a tick of their clock; a file changed within it of being read looks unchanged.
const RACE_NANOSECONDS: i64 = 1_000_000_000;

/// Names and values.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// What the last backups had, in the order of the walk.
pub(super) struct Parent<'r> {
    /// The snapshot that the new one is compared with.
    pub(super) session: SessionId,
    /// The root of its tree.
    pub(super) root: BlobId,
    /// What it counted.
    pub(super) counts: Counts,
    trees: Trees<'r>,
    /// Asked in this order: the first that has a path answers.
    snapshots: Vec<Before<'r>>,
    carried: Option<BlobId>,
    ignore_ctime: bool,
    ignore_inode: bool,
}

/// One snapshot before.
struct Before<'r> {
    started: Timestamp,
    /// Gone after the first failure.
    cursor: Option<Cursor<Trees<'r>>>,
}

/// What the parent says of a file.
pub(super) enum Verdict {
    /// The same content; its blobs are referred to already. Its attributes may have been read anew, and not all of them.
    Unchanged(Entry, Option<std::io::Error>),
    /// It was there, and may have changed; for small files the content that it had.
    Changed(Option<Known>),
    /// It was not there.
    New,
}

/// A small file's content in the parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) size: u64,
    pub(super) blob: BlobId,
    pub(super) offset: u32,
    pub(super) check: [u8; 8],
}

/// The parent's tree blobs. Those that cannot be read are given up, so that they are stored anew.
#[derive(Clone, Copy)]
struct Trees<'r> {
    repository: &'r Repository,
    writer: &'r Writer<'r>,
}

impl TreeSource for Trees<'_> {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        self.repository.load(id).inspect_err(|error| {
            if is_loss(error) {
                self.writer.give_up(id);
            }
        })
    }
}

/// Whether the error says that something is gone or wrong, and not that the store does not answer.
fn is_loss(error: &Error) -> bool {
    matches!(
        error,
        Error::Damaged { .. } | Error::Missing { .. } | Error::MissingBlob { .. }
    )
}

impl Before<'_> {
    /// Its entry at a path.
    fn find(&mut self, path: &[u8]) -> Result<Option<(Entry, Timestamp)>> {
        let Some(mut cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let found = cursor.find(path)?.cloned();
        self.cursor = Some(cursor);
        Ok(found.map(|entry| (entry, self.started)))
    }
}

/// Whether an entry's change time tells a later change from the one that it stands for.
fn is_settled(before: &Metadata, started: Timestamp, ignore_ctime: bool) -> bool {
    let newest = match before.modified {
        modified if ignore_ctime => modified,
        // People set times to what they like; the change time is the system's own.
        modified if modified > started => before.changed,
        modified => modified.max(before.changed),
    };
    newest.0 < started.0.saturating_sub(RACE_NANOSECONDS)
}

impl<'r> Parent<'r> {
    /// The parent is the last of the snapshots; those before it are interrupted backups that came after it.
    pub(super) fn new(
        writer: &'r Writer<'r>,
        snapshots: &[(SessionId, Snapshot)],
        ignore_ctime: bool,
        ignore_inode: bool,
    ) -> Option<Self> {
        let (session, parent) = snapshots.last()?;
        let trees = Trees {
            repository: writer.repository(),
            writer,
        };
        let before = |(_, snapshot): &(SessionId, Snapshot)| Before {
            started: snapshot.started,
            cursor: Some(Cursor::new(trees, snapshot.root.0)),
        };
        Some(Self {
            session: *session,
            root: parent.root.0,
            counts: parent.counts,
            trees,
            snapshots: snapshots.iter().map(before).collect(),
            carried: None,
            ignore_ctime,
            ignore_inode,
        })
    }

    /// The entry at a path, and when its backup began; paths must rise from call to call. A snapshot that cannot be read is given up, and why is told
    /// once: the backup goes on without it.
    fn find(&mut self, path: &[u8]) -> (Option<(Entry, Timestamp)>, Option<Error>) {
        let mut failed = None;
        for snapshot in &mut self.snapshots {
            match snapshot.find(path) {
                Ok(Some(found)) => return (Some(found), failed),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        (None, failed)
    }

    /// The attributes of something that is no file, when nothing about its inode has changed since they were read.
    pub(super) fn attributes(&mut self, found: &Found) -> (Option<Attributes>, Option<Error>) {
        let (before, failed) = self.find(&found.path);
        let same = before.filter(|(before, started)| {
            before.metadata.changed == found.metadata.changed
                && before.metadata.inode == found.metadata.inode
                && is_settled(&before.metadata, *started, false)
        });
        (same.map(|(before, _)| before.metadata.attributes), failed)
    }

    /// What the parent has in the place of another name of a file: the content comes from the first name, this is for the counts.
    pub(super) fn origin(&mut self, found: &Found) -> (Origin, Option<Error>) {
        let (before, failed) = self.find(&found.path);
        let origin = match before {
            None => Origin::New,
            Some((before, _)) if self.looks_the_same(&before, found) => Origin::Same,
            Some(_) => Origin::Changed,
        };
        (origin, failed)
    }

    /// A small file's content in the parent, for one that is known by its content alone.
    pub(super) fn known(&mut self, path: &[u8]) -> (Option<Known>, Option<Error>) {
        let (before, failed) = self.find(path);
        let known = before.and_then(|(entry, _)| {
            let EntryKind::File { size, content, .. } = entry.kind else {
                return None;
            };
            known_of(size, &content)
        });
        (known, failed)
    }

    /// By what a stat tells.
    fn looks_the_same(&self, before: &Entry, found: &Found) -> bool {
        let (then, now) = (&before.metadata, &found.metadata);
        before.size() == found.size()
            && then.modified == now.modified
            && (self.ignore_ctime || then.changed == now.changed)
            && (self.ignore_inode || then.inode == now.inode)
    }

    /// Judges a file by what the parent has at its path.
    pub(super) fn judge(&mut self, found: &Found) -> Result<(Verdict, Option<Error>)> {
        let (trees, writer) = (self.trees, self.trees.writer);
        let (before, failed) = self.find(&found.path);
        let Some((mut entry, started)) = before else {
            return Ok((Verdict::New, failed));
        };
        let EntryKind::File { size, content, .. } = &entry.kind else {
            return Ok((Verdict::New, failed));
        };
        let (then, now) = (&entry.metadata, &found.metadata);
        let same = self.looks_the_same(&entry, found)
            && is_settled(then, started, self.ignore_ctime)
            && matches!(found.kind, FoundKind::File { from_device: false, .. });
        let known = known_of(*size, content);
        if !same {
            return Ok((Verdict::Changed(known), failed));
        }
        // Small files beside each other share a slab: it is looked up once.
        let there = match known {
            Some(known) if self.carried == Some(known.blob) => true,
            Some(known) => writer.carry(BlobKind::Data, &known.blob)?,
            None => carry_content(content, &trees)?,
        };
        if !there {
            return Ok((Verdict::Changed(None), failed));
        }
        self.carried = known.map(|known| known.blob).or(self.carried);
        let attributes = if then.changed == now.changed {
            source::Attributes {
                values: std::mem::take(&mut entry.metadata.attributes),
                failure: None,
            }
        } else {
            found.attributes()
        };
        entry.metadata = found.metadata.clone();
        entry.metadata.attributes = attributes.values;
        if let EntryKind::File { link, .. } = &mut entry.kind {
            *link = found.link();
        }
        Ok((Verdict::Unchanged(entry, attributes.failure), failed))
    }
}

/// A small file's content, if it is one.
fn known_of(size: u64, content: &Content) -> Option<Known> {
    match content {
        Content::Slab { blob, offset, check } => Some(Known {
            size,
            blob: *blob,
            offset: *offset,
            check: *check,
        }),
        Content::Empty | Content::Chunks(_) | Content::List { .. } => None,
    }
}

/// Refers to every blob of a file. False when one of them may not be referred to, or cannot be read: then the file is read.
fn carry_content(content: &Content, trees: &Trees<'_>) -> Result<bool> {
    let writer = trees.writer;
    match content {
        Content::Empty => Ok(true),
        Content::Slab { blob, .. } => writer.carry(BlobKind::Data, blob),
        Content::Chunks(extents) => {
            for extent in extents {
                if let Extent::Chunk { blob, .. } = extent
                    && !writer.carry(BlobKind::Data, blob)?
                {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Content::List { blob } => {
            let mut lists = vec![*blob];
            while let Some(id) = lists.pop() {
                if !writer.carry(BlobKind::Tree, &id)? {
                    return Ok(false);
                }
                // A list that does not come costs reading the file, whatever the reason.
                let Ok(blob) = trees.load(&id) else { return Ok(false) };
                let Ok(list) = List::parse(&blob) else { return Ok(false) };
                if list.height > 0 {
                    lists.extend(list.table().iter());
                    continue;
                }
                for chunk in list.table().iter() {
                    if !writer.carry(BlobKind::Data, &chunk)? {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        }
    }
}
