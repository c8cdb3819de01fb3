//! What the parent snapshot already has.

use crate::format::tree::list::List;
use crate::format::tree::{Content, Cursor, Entry, EntryKind, Extent, TreeSource};
use crate::repository::{Repository, Writer};
use crate::source::{Found, FoundKind};
use crate::words::{BlobId, BlobKind, Error, Result, SessionId, Timestamp};

/// File systems round times to a tick of their clock; a file changed within it of being read looks unchanged.
const RACE_NANOSECONDS: i64 = 1_000_000_000;

/// The parent's entries, in the order of the walk.
pub(super) struct Parent<'r> {
    /// The snapshot.
    pub(super) session: SessionId,
    /// The root of its tree.
    pub(super) root: BlobId,
    started: Timestamp,
    repository: &'r Repository,
    cursor: Option<Cursor<&'r Repository>>,
    found: Option<Entry>,
    carried: Option<BlobId>,
    ignore_ctime: bool,
    ignore_inode: bool,
}

/// What the parent says of a file.
pub(super) enum Verdict {
    /// The same content; its blobs are referred to already.
    Unchanged(Entry),
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

impl<'r> Parent<'r> {
    pub(super) fn new(
        repository: &'r Repository,
        (session, root, started): (SessionId, BlobId, Timestamp),
        ignore_ctime: bool,
        ignore_inode: bool,
    ) -> Self {
        let cursor = Some(Cursor::new(repository, root));
        Self {
            session,
            root,
            started,
            repository,
            cursor,
            found: None,
            carried: None,
            ignore_ctime,
            ignore_inode,
        }
    }

    /// The parent's entry at a path; paths must rise from call to call. A parent that cannot be read is given up: the backup goes on without.
    pub(super) fn find(&mut self, path: &[u8]) -> (Option<&Entry>, Option<Error>) {
        let Some(mut cursor) = self.cursor.take() else {
            return (None, None);
        };
        match cursor.find(path) {
            Ok(found) => self.found = found.cloned(),
            Err(error) => return (None, Some(error)),
        }
        self.cursor = Some(cursor);
        (self.found.as_ref(), None)
    }

    /// Judges a file by what the parent has at its path.
    pub(super) fn judge(&mut self, found: &Found, writer: &Writer<'_>) -> Result<(Verdict, Option<Error>)> {
        let (started, ignore_ctime, ignore_inode) = (self.started, self.ignore_ctime, self.ignore_inode);
        let carried = self.carried;
        let (before, failed) = self.find(&found.path);
        let Some(before) = before else {
            return Ok((Verdict::New, failed));
        };
        let EntryKind::File { size, content, .. } = &before.kind else {
            return Ok((Verdict::New, failed));
        };
        let (then, now) = (&before.metadata, &found.metadata);
        let same = *size == found.size()
            && then.modified == now.modified
            && (ignore_ctime || then.changed == now.changed)
            && (ignore_inode || then.inode == now.inode)
            && then.changed.max(then.modified).0 < started.0.saturating_sub(RACE_NANOSECONDS)
            && matches!(found.kind, FoundKind::File { from_device: false, .. });
        let known = match content {
            Content::Slab { blob, offset, check } => Some(Known {
                size: *size,
                blob: *blob,
                offset: *offset,
                check: *check,
            }),
            Content::Empty | Content::Chunks(_) | Content::List { .. } => None,
        };
        if !same {
            return Ok((Verdict::Changed(known), failed));
        }
        let mut entry = before.clone();
        // Small files beside each other share a slab: it is looked up once.
        let there = match (&entry.kind, known) {
            (_, Some(known)) if carried == Some(known.blob) => true,
            (_, Some(known)) => writer.carry(BlobKind::Data, &known.blob)?,
            (EntryKind::File { content, .. }, None) => carry_content(content, self.repository, writer)?,
            _ => false,
        };
        if !there {
            return Ok((Verdict::Changed(None), failed));
        }
        self.carried = known.map(|known| known.blob).or(carried);
        let attributes = std::mem::take(&mut entry.metadata.attributes);
        let attributes_hold = entry.metadata.changed == found.metadata.changed;
        entry.metadata = found.metadata.clone();
        entry.metadata.attributes = if attributes_hold {
            attributes
        } else {
            found.attributes().values
        };
        if let EntryKind::File { link, .. } = &mut entry.kind {
            *link = found.link();
        }
        Ok((Verdict::Unchanged(entry), failed))
    }
}

/// Refers to every blob of a file. False when one of them may not be referred to: then the file is read.
fn carry_content(content: &Content, repository: &Repository, writer: &Writer<'_>) -> Result<bool> {
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
                let list = List::parse(&repository.load(&id)?).map_err(|malformed| malformed.of(&id))?;
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
