//! What differs between two stored trees, in order of paths, without loading what they share.
//!
//! What must hold: a leaf or parent that both trees have at the same place is passed over unloaded; everything else is compared entry by entry.
//! What is restored is compared: not the status change time, and not the inode.

use std::cmp::Ordering;

use super::entry::{Content, Entry, EntryKind, Extent};
use super::leaf::LeafCursor;
use super::list::ListReader;
use super::parent::Child;
use super::path;
use super::reader::Node;
use super::source::TreeSource;
use crate::words::{BlobId, Result};

/// One path at which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the second tree has it.
    Added(Entry),
    /// Only the first tree has it.
    Removed(Entry),
    /// Both have it, not alike.
    Changed {
        /// In the first tree.
        before: Entry,
        /// In the second tree.
        after: Entry,
        /// In what they differ; at least one thing.
        change: Change,
    },
}

/// In what two entries of one path differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The type: a file here, a folder there. Nothing else is compared then.
    pub kind: bool,
    /// A file's bytes, a link's target, a device's numbers.
    pub content: bool,
    /// Mode, owner, modification time, extended attributes.
    pub metadata: bool,
}

impl Change {
    /// Whether anything differs.
    pub fn any(self) -> bool {
        self.kind || self.content || self.metadata
    }
}

/// Walks two trees of one repository and gives what differs.
#[derive(Debug)]
pub struct TreeDiff<S> {
    source: S,
    before: Side,
    after: Side,
    /// The two roots have not been looked at yet.
    roots: Option<(BlobId, BlobId)>,
    failed: bool,
}

/// What one tree has left: the nodes that follow, innermost last, and the leaf that is being read.
#[derive(Debug, Default)]
struct Side {
    /// Children of parents of that height, the next one last.
    levels: Vec<(u8, Vec<Child>)>,
    /// The leaf that is being read; its current entry comes next.
    leaf: Option<(BlobId, LeafCursor)>,
}

/// What comes next in a tree.
enum Next<'a> {
    Node(&'a Child),
    Entry(&'a [u8]),
    End,
}

impl<S: TreeSource> TreeDiff<S> {
    /// Compares the tree with the root `before` to that with the root `after`.
    pub fn new(source: S, before: BlobId, after: BlobId) -> Self {
        Self {
            source,
            before: Side::default(),
            after: Side::default(),
            roots: Some((before, after)),
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Option<Difference>> {
        if let Some((before, after)) = self.roots.take() {
            if before == after {
                return Ok(None);
            }
            self.before.open(before, Node::load(&self.source, &before)?)?;
            self.after.open(after, Node::load(&self.source, &after)?)?;
        }
        loop {
            let source = &self.source;
            match (self.before.next(), self.after.next()) {
                (Next::End, Next::End) => return Ok(None),
                (Next::Node(left), Next::Node(right)) if left.id == right.id => {
                    self.before.pass();
                    self.after.pass();
                }
                (Next::Node(left), Next::Node(right)) => match path::compare(&left.first, &right.first) {
                    Ordering::Less => self.before.descend(source)?,
                    Ordering::Greater => self.after.descend(source)?,
                    // The higher one may hold the other; of equals neither holds the other.
                    Ordering::Equal => match self.before.height().cmp(&self.after.height()) {
                        Ordering::Less => self.after.descend(source)?,
                        Ordering::Greater => self.before.descend(source)?,
                        Ordering::Equal => {
                            self.before.descend(source)?;
                            self.after.descend(source)?;
                        }
                    },
                },
                (Next::Node(left), Next::Entry(right)) => match path::compare(&left.first, right) {
                    Ordering::Less | Ordering::Equal => self.before.descend(source)?,
                    Ordering::Greater => return self.after.take().map(|entry| entry.map(Difference::Added)),
                },
                (Next::Entry(left), Next::Node(right)) => match path::compare(left, &right.first) {
                    Ordering::Less => return self.before.take().map(|entry| entry.map(Difference::Removed)),
                    Ordering::Equal | Ordering::Greater => self.after.descend(source)?,
                },
                (Next::Entry(left), Next::Entry(right)) => match path::compare(left, right) {
                    Ordering::Less => return self.before.take().map(|entry| entry.map(Difference::Removed)),
                    Ordering::Greater => return self.after.take().map(|entry| entry.map(Difference::Added)),
                    Ordering::Equal => {
                        let (Some(before), Some(after)) = (self.before.take()?, self.after.take()?) else {
                            return Ok(None);
                        };
                        let change = compare(source, &before, &after)?;
                        if change.any() {
                            return Ok(Some(Difference::Changed { before, after, change }));
                        }
                    }
                },
                (Next::Entry(_), Next::End) => return self.before.take().map(|entry| entry.map(Difference::Removed)),
                (Next::End, Next::Entry(_)) => return self.after.take().map(|entry| entry.map(Difference::Added)),
                (Next::Node(_), Next::End) => self.before.descend(source)?,
                (Next::End, Next::Node(_)) => self.after.descend(source)?,
            }
        }
    }
}

impl<S: TreeSource> Iterator for TreeDiff<S> {
    type Item = Result<Difference>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.step();
        self.failed |= next.is_err();
        next.transpose()
    }
}

impl Side {
    fn next(&self) -> Next<'_> {
        match (&self.leaf, self.levels.last()) {
            (Some((_, cursor)), _) => Next::Entry(cursor.path()),
            (None, Some((_, children))) => children.last().map_or(Next::End, Next::Node),
            (None, None) => Next::End,
        }
    }

    /// The height of the parent of the next node.
    fn height(&self) -> u8 {
        self.levels.last().map_or(0, |(height, _)| *height)
    }

    /// Leaves out the next node.
    fn pass(&mut self) {
        self.next_child();
    }

    fn next_child(&mut self) -> Option<(u8, Child)> {
        let (height, children) = self.levels.last_mut()?;
        let next = children.pop().map(|child| (*height, child));
        // No level stays empty, so that the last one always holds what comes next.
        while self.levels.last().is_some_and(|(_, children)| children.is_empty()) {
            self.levels.pop();
        }
        next
    }

    /// Replaces the next node by what is in it.
    fn descend<S: TreeSource>(&mut self, source: &S) -> Result<()> {
        match self.next_child() {
            Some((height, child)) => {
                let node = Node::load_child(source, height, &child)?;
                self.open(child.id, node)
            }
            None => Ok(()),
        }
    }

    fn open(&mut self, id: BlobId, node: Node) -> Result<()> {
        match node {
            Node::Parent(parent) => {
                let mut children = parent.children;
                children.reverse();
                self.levels.push((parent.height, children));
            }
            Node::Leaf(leaf) => {
                self.leaf = Some((id, leaf.cursor()));
                self.step()?;
            }
        }
        Ok(())
    }

    /// Goes to the leaf's next entry; at its end there is no leaf any more.
    fn step(&mut self) -> Result<()> {
        if let Some((id, cursor)) = &mut self.leaf
            && !cursor.step().map_err(|malformed| malformed.of(id))?
        {
            self.leaf = None;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Entry>> {
        let Some((id, cursor)) = &mut self.leaf else {
            return Ok(None);
        };
        let entry = cursor.take().map_err(|malformed| malformed.of(id))?;
        self.step()?;
        Ok(Some(entry))
    }
}

/// In what two entries differ. Lists of chunks are loaded where their ids differ.
///
/// # Errors
/// What the source says, and damage of lists.
pub fn compare<S: TreeSource>(source: &S, before: &Entry, after: &Entry) -> Result<Change> {
    let (left, right) = (&before.metadata, &after.metadata);
    let metadata = (left.mode, left.user, left.group, left.modified)
        != (right.mode, right.user, right.group, right.modified)
        || left.attributes != right.attributes;
    let content = match (&before.kind, &after.kind) {
        (EntryKind::Folder, EntryKind::Folder)
        | (EntryKind::Fifo, EntryKind::Fifo)
        | (EntryKind::Socket, EntryKind::Socket) => false,
        (
            EntryKind::File {
                size: left_size,
                content: left,
                ..
            },
            EntryKind::File {
                size: right_size,
                content: right,
                ..
            },
        ) => left_size != right_size || contents_differ(source, *left_size, left, right)?,
        (EntryKind::Symlink { target: left, .. }, EntryKind::Symlink { target: right, .. }) => left != right,
        (
            EntryKind::CharacterDevice { major, minor },
            EntryKind::CharacterDevice {
                major: right_major,
                minor: right_minor,
            },
        )
        | (
            EntryKind::BlockDevice { major, minor },
            EntryKind::BlockDevice {
                major: right_major,
                minor: right_minor,
            },
        ) => (major, minor) != (right_major, right_minor),
        (_, _) => {
            return Ok(Change {
                kind: true,
                ..Change::default()
            });
        }
    };
    Ok(Change {
        kind: false,
        content,
        metadata,
    })
}

/// Whether two files of one size differ, as far as can be said without reading them: the same bytes that were cut in another way count as different.
fn contents_differ<S: TreeSource>(source: &S, size: u64, left: &Content, right: &Content) -> Result<bool> {
    match (left, right) {
        // Where a small file lies is of no interest; its check is a keyed hash of its bytes.
        (Content::Slab { check: left, .. }, Content::Slab { check: right, .. }) => Ok(left != right),
        (Content::Slab { .. }, _) | (_, Content::Slab { .. }) => Ok(true),
        (Content::List { blob: left }, Content::List { blob: right }) if left == right => Ok(false),
        (left, right) => {
            let (mut left, mut right) = (Runs::new(source, size, left), Runs::new(source, size, right));
            loop {
                match (left.next()?, right.next()?) {
                    (None, None) => return Ok(false),
                    (left, right) if left != right => return Ok(true),
                    (_, _) => {}
                }
            }
        }
    }
}

/// The extents of a file, touching holes made one.
struct Runs<'a, S> {
    extents: Extents<'a, S>,
    held: Option<Extent>,
}

enum Extents<'a, S> {
    Inline(std::slice::Iter<'a, Extent>),
    Hole(Option<Extent>),
    List(ListReader<&'a S>),
}

impl<'a, S: TreeSource> Runs<'a, S> {
    fn new(source: &'a S, size: u64, content: &'a Content) -> Self {
        let extents = match content {
            Content::Chunks(extents) => Extents::Inline(extents.iter()),
            Content::List { blob } => Extents::List(ListReader::new(source, *blob, size)),
            Content::Empty | Content::Slab { .. } => Extents::Hole((size > 0).then_some(Extent::Hole { length: size })),
        };
        Self { extents, held: None }
    }

    fn next(&mut self) -> Result<Option<Extent>> {
        let Some(mut extent) = (match self.held.take() {
            Some(held) => Some(held),
            None => self.extents.next()?,
        }) else {
            return Ok(None);
        };
        while let Extent::Hole { length } = &mut extent {
            match self.extents.next()? {
                Some(Extent::Hole { length: more }) => *length = length.saturating_add(more),
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        Ok(Some(extent))
    }
}

impl<S: TreeSource> Extents<'_, S> {
    fn next(&mut self) -> Result<Option<Extent>> {
        match self {
            Self::Inline(extents) => Ok(extents.next().copied()),
            Self::Hole(extent) => Ok(extent.take()),
            Self::List(reader) => Ok(reader.next().transpose()?.map(|(_, extent)| extent)),
        }
    }
}
