//! Entries in, tree blobs out: cuts the stream of entries into leaves and these into parents (FORMAT.md, 6.2).
//!
//! What must hold: where a leaf is cut depends on its paths (and, at both ends of its allowed size, on its length), so that a change in one place leaves
//! every leaf but its own as it was; memory is one leaf and one parent per height, however many entries come.

use std::cmp::Ordering;

use bytes::Bytes;

use super::entry::{Entry, EntryKind};
use super::leaf_writer::LeafWriter;
use super::parent::{Child, HEIGHT_MAX, ParentWriter};
use super::path;
use super::source::TreeSink;
use crate::words::{BlobId, Error, Result};

/// A leaf is not cut by its paths before it has so many bytes.
const LEAF_MIN: usize = 16 << 10;
/// A leaf of so many bytes is cut in any case.
const LEAF_MAX: usize = 256 << 10;
/// One path in 1,024 ends a leaf.
const LEAF_MASK: u16 = (1 << 10) - 1;
/// A parent is not cut by its paths before it has so many children.
const CHILDREN_MIN: u64 = 16;
/// A parent of so many children is cut in any case.
const CHILDREN_MAX: u64 = 1024;
/// A parent of two children and so many bytes is cut in any case: paths may be long.
const PARENT_MAX: usize = 1 << 20;
/// One first path in 64 begins a parent.
const PARENT_MASK: u16 = (1 << 6) - 1;

/// A tree that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The topmost blob.
    pub id: BlobId,
    /// How many entries it has.
    pub entries: u64,
    /// The sum of the sizes of its files, `u64::MAX` if it is more.
    pub bytes: u64,
}

/// Writes one tree.
#[derive(Debug)]
pub struct TreeWriter {
    cut_key: [u8; 32],
    leaf: LeafWriter,
    /// The first path of the leaf that is being written.
    first: Vec<u8>,
    /// The path before.
    last: Vec<u8>,
    last_is_folder: bool,
    any: bool,
    /// By height, from 1 on.
    parents: Vec<ParentWriter>,
}

impl TreeWriter {
    /// Begins a tree that is cut with the repository's `cut` key.
    pub fn new(cut_key: [u8; 32]) -> Self {
        Self {
            cut_key,
            leaf: LeafWriter::default(),
            first: Vec::new(),
            last: Vec::new(),
            last_is_folder: true,
            any: false,
            parents: Vec::new(),
        }
    }

    /// Adds the next entry.
    ///
    /// # Errors
    /// [`Error::Internal`] when it does not sort after the one before it; [`Error::Invalid`] for an entry that the format cannot hold; what `sink` says.
    /// After any of them the writer is of no use any more.
    pub fn push<S: TreeSink + ?Sized>(&mut self, entry: &Entry, sink: &mut S) -> Result<()> {
        self.check_order(entry)?;
        if self.leaf.count() == 0 {
            self.first.clear();
            self.first.extend_from_slice(&entry.path);
        }
        self.leaf.push(entry)?;
        self.any = true;
        self.last.clear();
        self.last.extend_from_slice(&entry.path);
        self.last_is_folder = matches!(entry.kind, EntryKind::Folder);

        let size = self.leaf.size();
        if size >= LEAF_MAX || (size >= LEAF_MIN && bits(&self.cut_key, &entry.path, 0) & LEAF_MASK == 0) {
            self.finish_leaf(sink)?;
        }
        Ok(())
    }

    /// Stores what is left, and gives the tree.
    ///
    /// # Errors
    /// What `sink` says.
    pub fn finish<S: TreeSink + ?Sized>(mut self, sink: &mut S) -> Result<Root> {
        if !self.any {
            let id = sink.save(self.leaf.finish())?;
            return Ok(Root {
                id,
                entries: 0,
                bytes: 0,
            });
        }
        if self.leaf.count() > 0 {
            self.finish_leaf(sink)?;
        }
        let mut height = 1;
        loop {
            let top = height == self.parents.len();
            let Some(parent) = self.parents.get(height - 1) else {
                return Err(Error::Internal("A tree has entries, but no root".to_owned()));
            };
            if let (true, 1, Some(id)) = (top, parent.count(), parent.last()) {
                return Ok(Root {
                    id,
                    entries: parent.entries(),
                    bytes: parent.bytes(),
                });
            }
            if parent.count() > 0 {
                self.finish_parent(height, sink)?;
            }
            height += 1;
        }
    }

    fn check_order(&self, entry: &Entry) -> Result<()> {
        if !self.any {
            return Ok(());
        }
        let shown = || String::from_utf8_lossy(&entry.path).escape_debug().to_string();
        if path::compare(&self.last, &entry.path) != Ordering::Less {
            let last = String::from_utf8_lossy(&self.last).escape_debug().to_string();
            return Err(Error::Internal(format!(
                "`{}` came after `{last}`, which sorts after it",
                shown()
            )));
        }
        if !self.last_is_folder && path::is_within(&entry.path, &self.last) {
            return Err(Error::Internal(format!(
                "`{}` lies below something that is not a folder",
                shown()
            )));
        }
        Ok(())
    }

    fn finish_leaf<S: TreeSink + ?Sized>(&mut self, sink: &mut S) -> Result<()> {
        let (entries, bytes) = (self.leaf.count(), self.leaf.bytes());
        let child = Child {
            id: sink.save(self.leaf.finish())?,
            entries,
            bytes,
            first: Bytes::copy_from_slice(&self.first),
        };
        self.add(1, child, sink)
    }

    fn finish_parent<S: TreeSink + ?Sized>(&mut self, height: usize, sink: &mut S) -> Result<()> {
        let parent = &mut self.parents[height - 1];
        let (entries, bytes) = (parent.entries(), parent.bytes());
        let (blob, first) = parent.finish(height as u8);
        let child = Child {
            id: sink.save(blob)?,
            entries,
            bytes,
            first,
        };
        self.add(height + 1, child, sink)
    }

    /// Adds a child to the parent of that height, which is cut before it where its path says so.
    fn add<S: TreeSink + ?Sized>(&mut self, height: usize, child: Child, sink: &mut S) -> Result<()> {
        if height > usize::from(HEIGHT_MAX) {
            return Err(Error::Invalid(
                "A tree would be higher than the format allows".to_owned(),
            ));
        }
        if self.parents.len() < height {
            self.parents.push(ParentWriter::default());
        }
        let parent = &self.parents[height - 1];
        let full = parent.count() >= CHILDREN_MAX || (parent.count() >= 2 && parent.size() >= PARENT_MAX);
        let cut = || bits(&self.cut_key, &child.first, height - 1) & PARENT_MASK == 0;
        if full || (parent.count() >= CHILDREN_MIN && cut()) {
            self.finish_parent(height, sink)?;
        }
        self.parents[height - 1].push(&child);
        Ok(())
    }
}

/// The 16 bits of a path's keyed hash that stand for a height. Each height has bits of its own: the first path of a parent
/// is also that of its first child, and the same bits would cut both, always.
fn bits(cut_key: &[u8; 32], path: &[u8], place: usize) -> u16 {
    let hash = blake3::keyed_hash(cut_key, path);
    let bytes = hash.as_bytes();
    u16::from_le_bytes([bytes[2 * place], bytes[2 * place + 1]])
}
