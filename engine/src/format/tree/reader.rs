//! A stored tree back into entries: in order, from any path on, or below one path.
//!
//! What must hold: the entries rise across leaves as they do within; what a parent says of its children (height, first path, entries, bytes) is what they
//! hold, or reading ends with [`Error::Damaged`]; memory is one leaf and one parent per height. A leaf that a seek passes over is never loaded.

use std::cmp::Ordering;

use bytes::Bytes;

use super::entry::Entry;
use super::leaf::{Leaf, LeafCursor};
use super::parent::{Child, Parent};
use super::source::TreeSource;
use super::varint::Malformed;
use super::{kinds, path};
use crate::words::{BlobId, Error, Result};

/// How many leaves ahead the source is told of.
const LEAVES_AHEAD: usize = 16;
/// How many parents ahead the source is told of.
const PARENTS_AHEAD: usize = 1;

/// A tree blob that has children or entries.
#[derive(Clone, Debug)]
pub enum Node {
    /// Leaves or parents.
    Parent(Parent),
    /// Entries.
    Leaf(Leaf),
}

impl Node {
    /// Loads and parses the blob `id`.
    ///
    /// # Errors
    /// What the source says; [`Error::Damaged`] when it is neither a leaf nor a parent.
    pub fn load<S: TreeSource + ?Sized>(source: &S, id: &BlobId) -> Result<Self> {
        let blob = source.load(id)?;
        let node = match blob.first() {
            Some(&kinds::LEAF) => Leaf::parse(&blob).map(Self::Leaf),
            Some(&kinds::PARENT) => Parent::parse(&blob).map(Self::Parent),
            Some(_) | None => Err(Malformed("it is neither a leaf nor a parent")),
        };
        node.map_err(|malformed| malformed.of(id))
    }

    /// Loads `child` of a parent of that height, and checks what the parent says of it. (What is known of a leaf only at its end is checked there.)
    ///
    /// # Errors
    /// As [`Node::load`].
    pub fn load_child<S: TreeSource + ?Sized>(source: &S, height: u8, child: &Child) -> Result<Self> {
        let node = Self::load(source, &child.id)?;
        let fits = match &node {
            Self::Leaf(_) => height == 1,
            Self::Parent(parent) => {
                parent.height + 1 == height
                    && parent.children.first().is_some_and(|first| first.first == child.first)
                    && (parent.entries(), parent.bytes()) == (child.entries, child.bytes)
            }
        };
        if fits { Ok(node) } else { Err(not_as_said(&child.id)) }
    }
}

fn not_as_said(id: &BlobId) -> Error {
    Malformed("it is not what its parent says").of(id)
}

/// A parent on the way down, and which of its children comes next.
#[derive(Debug)]
struct Frame {
    parent: Parent,
    next: usize,
    /// The children before this one have been announced to the source.
    announced: usize,
}

/// The leaf that is being read.
#[derive(Debug)]
struct Open {
    id: BlobId,
    cursor: LeafCursor,
    /// What its parent says: entries, bytes, first path. Nothing for a leaf that is the root.
    said: Option<(u64, u64, Bytes)>,
}

/// Reads one tree, in order; [`TreeReader::seek`] goes anywhere.
#[derive(Debug)]
pub struct TreeReader<S> {
    source: S,
    root: BlobId,
    started: bool,
    frames: Vec<Frame>,
    leaf: Option<Open>,
    /// The leaf's current entry has not been given out yet.
    pending: bool,
    /// The last path of a leaf that was read to its end, and whether a folder was there.
    last: Option<(Vec<u8>, bool)>,
    within: Option<Vec<u8>>,
    /// The last leaf was read to its end, so the next ones will be wanted too.
    sequential: bool,
    failed: bool,
}

impl<S: TreeSource> TreeReader<S> {
    /// Reads the tree with that root from its beginning. Nothing is loaded before it is asked for.
    pub fn new(source: S, root: BlobId) -> Self {
        Self {
            source,
            root,
            started: false,
            frames: Vec::new(),
            leaf: None,
            pending: false,
            last: None,
            within: None,
            sequential: true,
            failed: false,
        }
    }

    /// Restricts the reader to what is at `path` and below, and goes to its beginning.
    ///
    /// # Errors
    /// As [`TreeReader::seek`].
    pub fn subtree(mut self, path: &[u8]) -> Result<Self> {
        self.within = None;
        self.seek(path)?;
        self.within = Some(path.to_vec());
        Ok(self)
    }

    /// Goes to the first entry that is at `path` or sorts after it. Forward costs what is passed in one leaf and the parents on the way; backward begins anew.
    ///
    /// # Errors
    /// What the source says, and [`Error::Damaged`].
    pub fn seek(&mut self, path: &[u8]) -> Result<()> {
        self.guarded(|reader| match reader.within.take() {
            Some(within) => {
                let before = path::compare(path, &within) == Ordering::Less;
                let done = reader.go_to(if before { &within } else { path });
                reader.within = Some(within);
                done
            }
            None => reader.go_to(path),
        })
    }

    /// The next entry, valid until the next call: cheaper than the iterator.
    ///
    /// # Errors
    /// What the source says, and [`Error::Damaged`]; nothing comes after an error.
    pub fn next_entry(&mut self) -> Result<Option<&Entry>> {
        if !self.guarded(Self::advance)? {
            return Ok(None);
        }
        self.pending = false;
        self.current()
    }

    /// The entry that [`TreeReader::next_entry`] will give, without passing it.
    ///
    /// # Errors
    /// As [`TreeReader::next_entry`].
    pub fn peek(&mut self) -> Result<Option<&Entry>> {
        if !self.guarded(Self::advance)? {
            return Ok(None);
        }
        self.current()
    }

    /// The path that comes next; its entry is not decoded.
    ///
    /// # Errors
    /// As [`TreeReader::next_entry`].
    pub fn peek_path(&mut self) -> Result<Option<&[u8]>> {
        if !self.guarded(Self::advance)? {
            return Ok(None);
        }
        Ok(self.leaf.as_ref().map(|leaf| leaf.cursor.path()))
    }

    fn take(&mut self) -> Result<Option<Entry>> {
        if !self.guarded(Self::advance)? {
            return Ok(None);
        }
        self.pending = false;
        let Some(leaf) = &mut self.leaf else { return Ok(None) };
        let taken = leaf.cursor.take().map(Some).map_err(|malformed| malformed.of(&leaf.id));
        self.failed |= taken.is_err();
        taken
    }

    fn current(&mut self) -> Result<Option<&Entry>> {
        let Some(leaf) = &mut self.leaf else { return Ok(None) };
        let entry = leaf.cursor.entry().map_err(|malformed| malformed.of(&leaf.id));
        self.failed |= entry.is_err();
        entry.map(Some)
    }

    /// After an error the position means nothing any more: the reader stays at its end.
    fn guarded<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let done = act(self);
        self.failed |= done.is_err();
        done
    }

    /// Sees to it that an entry is pending; says whether there is one, within the subtree.
    fn advance(&mut self) -> Result<bool> {
        if self.failed || !(self.pending || self.step()?) {
            return Ok(false);
        }
        self.pending = true;
        match (&self.within, &self.leaf) {
            (Some(within), Some(leaf)) => Ok(path::is_within(leaf.cursor.path(), within)),
            (_, _) => Ok(true),
        }
    }

    /// Goes to the next entry, into the next leaf if need be.
    fn step(&mut self) -> Result<bool> {
        loop {
            if let Some(leaf) = &mut self.leaf {
                if leaf.cursor.step().map_err(|malformed| malformed.of(&leaf.id))? {
                    if leaf.cursor.count() == 1 {
                        self.check_first()?;
                    }
                    return Ok(true);
                }
                self.check_end()?;
            }
            if !self.open_next()? {
                return Ok(false);
            }
        }
    }

    /// Checks a leaf's first entry against its parent and the leaf before.
    fn check_first(&self) -> Result<()> {
        let Some(Open { id, cursor, said }) = &self.leaf else {
            return Ok(());
        };
        if said.as_ref().is_some_and(|(_, _, first)| first != cursor.path()) {
            return Err(not_as_said(id));
        }
        if let Some((last, folder)) = &self.last {
            if path::compare(last, cursor.path()) != Ordering::Less {
                return Err(Malformed("its paths do not rise after those of the leaf before").of(id));
            }
            if !folder && path::is_within(cursor.path(), last) {
                return Err(Malformed("an entry lies below something that is not a folder").of(id));
            }
        }
        Ok(())
    }

    /// Closes a leaf that was read to its end, and checks its sums.
    fn check_end(&mut self) -> Result<()> {
        let Some(Open { id, cursor, said }) = self.leaf.take() else {
            return Ok(());
        };
        if said.is_some_and(|(entries, bytes, _)| (entries, bytes) != (cursor.count(), cursor.bytes())) {
            return Err(not_as_said(&id));
        }
        self.sequential = true;
        if cursor.count() > 0 {
            let (mut last, _) = self.last.take().unwrap_or_default();
            last.clear();
            last.extend_from_slice(cursor.path());
            self.last = Some((last, cursor.is_folder()));
        }
        Ok(())
    }

    /// Opens the leaf that comes next in the tree; says whether there is one.
    fn open_next(&mut self) -> Result<bool> {
        if !self.started {
            self.started = true;
            match Node::load(&self.source, &self.root)? {
                Node::Leaf(leaf) => {
                    self.leaf = Some(Open {
                        id: self.root,
                        cursor: leaf.cursor(),
                        said: None,
                    });
                    return Ok(true);
                }
                Node::Parent(parent) => self.frames.push(Frame::new(parent)),
            }
        }
        while let Some(frame) = self.frames.last_mut() {
            let Some(child) = frame.parent.children.get(frame.next).cloned() else {
                self.frames.pop();
                continue;
            };
            if self.sequential {
                frame.announce(&self.source);
            }
            frame.next += 1;
            match Node::load_child(&self.source, frame.parent.height, &child)? {
                Node::Leaf(leaf) => {
                    self.leaf = Some(Open {
                        id: child.id,
                        cursor: leaf.cursor(),
                        said: Some((child.entries, child.bytes, child.first)),
                    });
                    return Ok(true);
                }
                Node::Parent(parent) => self.frames.push(Frame::new(parent)),
            }
        }
        Ok(false)
    }

    fn go_to(&mut self, target: &[u8]) -> Result<()> {
        if self.failed {
            return Ok(());
        }
        if let Some(leaf) = &self.leaf
            && leaf.cursor.count() > 0
        {
            // The current entry stands before what has not been given out, or is the first of that.
            match (path::compare(leaf.cursor.path(), target), self.pending) {
                (Ordering::Less, _) => {}
                (Ordering::Equal, true) => return Ok(()),
                (Ordering::Equal | Ordering::Greater, _) => self.rewind(),
            }
        } else if self.started {
            self.rewind();
        }
        self.skip_to(target)?;
        self.pending = false;
        while self.step()? {
            let found = match &self.leaf {
                Some(leaf) => path::compare(leaf.cursor.path(), target) != Ordering::Less,
                None => false,
            };
            if found {
                self.pending = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn rewind(&mut self) {
        self.frames.clear();
        (self.leaf, self.last) = (None, None);
        (self.started, self.pending) = (false, false);
    }

    /// Leaves the open leaf and opens parents so that the leaf in which `target` would be is open or comes next.
    fn skip_to(&mut self, target: &[u8]) -> Result<()> {
        if !self.started {
            self.started = true;
            match Node::load(&self.source, &self.root)? {
                Node::Leaf(leaf) => {
                    self.leaf = Some(Open {
                        id: self.root,
                        cursor: leaf.cursor(),
                        said: None,
                    });
                    return Ok(());
                }
                Node::Parent(parent) => self.frames.push(Frame::new(parent)),
            }
        } else if !self.is_beyond_leaf(target) {
            return Ok(());
        }
        self.leave_leaf();
        self.sequential = false;
        // The highest parent whose next child begins at or before the target is where the way down begins.
        let starts_before = |frame: &Frame| {
            let next = frame.parent.children.get(frame.next);
            next.is_some_and(|child| path::compare(&child.first, target) != Ordering::Greater)
        };
        let Some(top) = self.frames.iter().position(starts_before) else {
            return Ok(());
        };
        self.frames.truncate(top + 1);
        while let Some(frame) = self.frames.last_mut() {
            let children = &frame.parent.children;
            let behind = children.partition_point(|child| path::compare(&child.first, target) != Ordering::Greater);
            frame.next = behind.saturating_sub(1).max(frame.next);
            frame.announced = frame.announced.max(frame.next);
            if frame.parent.height == 1 {
                return Ok(());
            }
            let Some(child) = children.get(frame.next) else {
                return Ok(());
            };
            let node = Node::load_child(&self.source, frame.parent.height, child)?;
            frame.next += 1;
            match node {
                Node::Parent(parent) => self.frames.push(Frame::new(parent)),
                Node::Leaf(_) => return Err(Error::Internal("A leaf was taken for a parent".to_owned())),
            }
        }
        Ok(())
    }

    /// Whether some leaf after the open one begins at or before `target`.
    fn is_beyond_leaf(&self, target: &[u8]) -> bool {
        let mut next = self
            .frames
            .iter()
            .rev()
            .filter_map(|frame| frame.parent.children.get(frame.next));
        next.next()
            .is_some_and(|child| path::compare(&child.first, target) != Ordering::Greater)
    }

    fn leave_leaf(&mut self) {
        if let Some(leaf) = self.leaf.take()
            && leaf.cursor.count() > 0
        {
            self.last = Some((leaf.cursor.path().to_vec(), leaf.cursor.is_folder()));
        }
        self.pending = false;
    }
}

impl Frame {
    fn new(parent: Parent) -> Self {
        Self {
            parent,
            next: 0,
            announced: 0,
        }
    }

    /// Tells the source what will be loaded after the next child, a bunch at a time.
    fn announce<S: TreeSource>(&mut self, source: &S) {
        let ahead = if self.parent.height == 1 {
            LEAVES_AHEAD
        } else {
            PARENTS_AHEAD
        };
        let from = self.announced.max(self.next + 1);
        let to = (self.next + 1 + ahead).min(self.parent.children.len());
        // Half a bunch at least, so that the source is not called for every leaf.
        if from < to && (to - from) * 2 >= ahead {
            let ids: Vec<BlobId> = self.parent.children[from..to].iter().map(|child| child.id).collect();
            source.prefetch(&ids);
            self.announced = to;
        }
    }
}

impl<S: TreeSource> Iterator for TreeReader<S> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}
