//! The entries of a tree, and where it goes on behind a part that cannot be read: a damaged leaf costs the entries in it, not all that follow.

use std::cmp::Ordering;

use super::work::is_local;
use crate::format::tree::{Entry, Node, TreeReader, TreeSource, path};
use crate::repository::Repository;
use crate::words::{BlobId, Error, Result};

/// What comes next.
pub(super) enum Found<'e> {
    /// This entry.
    Entry(&'e Entry),
    /// Entries that cannot be read: the path where that begins, or the last one before it, and how many, as far as that is known.
    Lost { path: Vec<u8>, why: String, entries: u64 },
}

/// Reads what is within a path, in order.
pub(super) struct Salvage<'r, S> {
    repository: &'r Repository,
    source: S,
    root: BlobId,
    within: &'r [u8],
    reader: TreeReader<S>,
    /// The last path that was read, or passed over.
    last: Option<Vec<u8>>,
    /// The last seek has failed.
    astray: Option<Error>,
    /// An error after `last`, whose place is known only when something, or nothing, can be read where reading was taken up again.
    held: Option<Error>,
    /// Where that is.
    resumed: Option<Resumption>,
    ended: bool,
}

/// Where reading can go on.
struct Resumption {
    path: Vec<u8>,
    /// How many entries the part has that begins there.
    entries: u64,
}

impl<'r, S: TreeSource + Clone> Salvage<'r, S> {
    pub(super) fn new(repository: &'r Repository, source: S, root: BlobId, within: &'r [u8]) -> Result<Self> {
        // Without its root there is nothing to be read at all.
        Node::load(&source, &root)?;
        let reader = TreeReader::new(source.clone(), root);
        let mut salvage = Self {
            repository,
            source,
            root,
            within,
            reader,
            last: None,
            astray: None,
            held: None,
            resumed: None,
            ended: false,
        };
        if !within.is_empty() {
            salvage.seek(within);
        }
        Ok(salvage)
    }

    /// Goes forward to the first entry that is at the path or sorts after it.
    pub(super) fn seek(&mut self, path: &[u8]) {
        self.astray = self.reader.seek(path).err();
        self.last = Some(path.to_vec());
    }

    /// The next entry, or what was lost before it.
    ///
    /// # Errors
    /// What is not damage of a part: the store fails.
    pub(super) fn next(&mut self) -> Result<Option<Found<'_>>> {
        while !self.ended {
            match self.peek() {
                Ok(there) => {
                    self.resumed = None;
                    if let Some(error) = self.held.take() {
                        // Reading goes on here, so the trouble was in the midst of the leaf before.
                        return Ok(Some(lost(self.last.clone(), None, &error)));
                    }
                    if !there {
                        break;
                    }
                    let Some(entry) = self.reader.next_entry()? else { break };
                    let last = self.last.get_or_insert_default();
                    last.clear();
                    last.extend_from_slice(&entry.path);
                    return Ok(Some(Found::Entry(entry)));
                }
                Err(error) if is_local(&error) => {
                    // Nothing can be read where reading was taken up again: now it is known what is lost.
                    let known = self.resumed.take();
                    if let Some(known) = &known {
                        self.held = None;
                        self.last = Some(known.path.clone());
                    }
                    self.resume()?;
                    if let Some(Resumption { path, entries }) = known {
                        return Ok(Some(lost(Some(path), Some(entries), &error)));
                    }
                    if self.ended {
                        return Ok(Some(lost(self.last.clone(), None, &error)));
                    }
                    self.held = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.ended = true;
        Ok(None)
    }

    /// Whether there is an entry within the path.
    fn peek(&mut self) -> Result<bool> {
        if let Some(error) = self.astray.take() {
            return Err(error);
        }
        let within = self.within;
        Ok(self
            .reader
            .peek_path()?
            .is_some_and(|path| path::is_within(path, within)))
    }

    /// Takes reading up again where the next part of the tree begins.
    fn resume(&mut self) -> Result<()> {
        let next = resumption(self.repository, self.root, self.last.as_deref())?;
        self.resumed = next.filter(|next| path::is_within(&next.path, self.within));
        match &self.resumed {
            Some(next) => {
                self.reader = TreeReader::new(self.source.clone(), self.root);
                self.astray = self.reader.seek(&next.path).err();
            }
            None => self.ended = true,
        }
        Ok(())
    }
}

fn lost<'e>(path: Option<Vec<u8>>, entries: Option<u64>, error: &Error) -> Found<'e> {
    let what = match entries {
        Some(entries) => format!("{entries} entries from here on are"),
        None => "What comes right after it is".to_owned(),
    };
    Found::Lost {
        path: path.unwrap_or_default(),
        why: format!("{what} lost: {error}"),
        entries: entries.unwrap_or(1),
    }
}

/// The first leaf, or part that cannot be read, that begins after `after` (nothing: the very first).
fn resumption(repository: &Repository, root: BlobId, after: Option<&[u8]>) -> Result<Option<Resumption>> {
    let Node::Parent(parent) = Node::load(&repository, &root)? else {
        return Ok(None);
    };
    let begins_after = |first: &[u8]| after.is_none_or(|after| path::compare(first, after) == Ordering::Greater);
    let mut parents = vec![parent];
    let mut found = None;
    while let Some(parent) = parents.pop() {
        let next = parent.children.partition_point(|child| !begins_after(&child.first));
        if let Some(child) = parent.children.get(next) {
            found = Some(Resumption {
                path: child.first.to_vec(),
                entries: child.entries,
            });
        }
        // What begins after it may also be inside the child before, which is nearer.
        let before = next.checked_sub(1).and_then(|before| parent.children.get(before));
        if let Some(child) = before.filter(|_| parent.height > 1)
            && let Ok(Node::Parent(below)) = Node::load_child(&repository, parent.height, child)
        {
            parents.push(below);
        }
    }
    Ok(found)
}
