//! A stretch of the walk: folders begun and not finished, and the step that takes the next name of the innermost one.
//!
//! A stretch is walked by one thread until it has found enough; what is left of it is a stretch again. Stretches never
//! overlap, and all that one finds comes before all that the next one finds: that is why many threads can walk at once
//! and the walk still comes out in path order.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::excludes::Filter;
use super::folder::{Descriptors, Folder, Handle};
use super::found::{Found, SourceError};
use super::names::{ListingBuffer, Names};
use super::roots::Roots;

/// What is delivered: an item, or one that could not be read.
pub(super) type Item = Result<Found, SourceError>;

/// Names that a thread takes from a folder at once.
const TAKE_NAMES: usize = 512;

/// Found items and their weight after which a stretch is handed over.
const ENOUGH_ITEMS: usize = 512;
const ENOUGH_BYTES: usize = 256 * 1024;

/// Frames of one thread that may hold a descriptor which their folder does not keep.
const SPARE_DESCRIPTORS: usize = 8;

/// Names of one folder held at once; more are read in several passes.
pub(super) const NAMES_MOST: usize = 1 << 20;

/// What holds for the whole walk.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) roots: Roots,
    pub(super) filter: Filter,
    pub(super) one_file_system: bool,
    /// Folders, by device and inode, that are left out wherever they are met.
    pub(super) left_out: Vec<(u64, u64)>,
    /// Where they were met.
    pub(super) met: Mutex<Vec<Vec<u8>>>,
    pub(super) descriptors: Arc<Descriptors>,
    pub(super) names_most: usize,
    /// Items left out.
    pub(super) excluded: AtomicU64,
}

impl Rules {
    pub(super) fn count_excluded(&self, items: usize) {
        self.excluded.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Leaves out one of the folders that are to be left out.
    pub(super) fn leave_out(&self, path: &[u8]) {
        self.count_excluded(1);
        self.met
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path.to_vec());
    }
}

/// Buffers of one thread.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) listing: ListingBuffer,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            listing: ListingBuffer::new(),
        }
    }
}

/// A folder that is being walked, and the range of its names that is still to be taken.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) folder: Arc<Folder>,
    pub(super) spare: Option<OwnedFd>,
    pub(super) names: Arc<Names>,
    pub(super) next: usize,
    pub(super) end: usize,
    /// The node of the sources' tree that this folder is, if it is one.
    pub(super) node: Option<usize>,
    /// Everything in it is read, not only what leads to a source.
    pub(super) whole: bool,
    /// It matches an include.
    pub(super) included: bool,
    /// The file system that the walk stays in, if it does.
    pub(super) device: u64,
    /// Length of the folder's path.
    pub(super) path_length: usize,
    /// When its names are used up, another pass gives more.
    pub(super) again: bool,
}

/// Folders begun and not finished, the innermost last.
#[derive(Debug)]
pub(super) struct Stretch {
    /// The innermost folder's path; those of the others are its beginnings.
    path: Vec<u8>,
    frames: Vec<Frame>,
}

/// What a stretch has found.
#[derive(Debug, Default)]
pub(super) struct Finds {
    pub(super) items: Vec<Item>,
    pub(super) weight: usize,
}

impl Finds {
    pub(super) fn push(&mut self, found: Found) {
        self.weight += found.weight();
        self.items.push(Ok(found));
    }

    pub(super) fn fail(&mut self, error: SourceError) {
        self.weight += size_of::<Item>() + error.path.len();
        self.items.push(Err(error));
    }

    fn enough(&self) -> bool {
        self.items.len() >= ENOUGH_ITEMS || self.weight >= ENOUGH_BYTES
    }
}

impl Frame {
    fn finished(&self) -> bool {
        self.next >= self.end && !self.again
    }

    /// A descriptor to reach what is in the folder.
    pub(super) fn handle(&self) -> std::io::Result<Handle<'_>> {
        match &self.spare {
            Some(descriptor) => Ok(Handle::Kept(descriptor.as_fd())),
            None => self.folder.handle(),
        }
    }
}

impl Stretch {
    pub(super) fn new(path: Vec<u8>, frame: Frame) -> Option<Self> {
        Self {
            path,
            frames: vec![frame],
        }
        .unfinished()
    }

    /// The place in path order where its finds begin.
    pub(super) fn begins(&self) -> Vec<u8> {
        let mut begins = self.path.clone();
        let Some(frame) = self.frames.last() else { return begins };
        let (at, suffix) = if frame.next < frame.end {
            (frame.next, None)
        } else {
            (frame.end.wrapping_sub(1), Some(1))
        };
        if let Some((name, _)) = frame.names.get(at) {
            join(&mut begins, name);
        }
        // Between the last name with all that is in it and the next name.
        begins.extend(suffix);
        begins
    }

    /// Splits off the first names of the innermost folder; the rest is for another thread.
    pub(super) fn split(mut self) -> (Self, Option<Self>) {
        let Some(mut frame) = self.frames.pop() else {
            return (self, None);
        };
        let path = self.path.clone();
        let rest = frame.next + TAKE_NAMES;
        if rest < frame.end {
            let first = Frame {
                folder: Arc::clone(&frame.folder),
                spare: frame.spare.take(),
                names: Arc::clone(&frame.names),
                end: rest,
                again: false,
                ..frame
            };
            frame.next = rest;
            self.frames.push(frame);
            return (
                Self {
                    path,
                    frames: vec![first],
                },
                Some(self),
            );
        }
        (
            Self {
                path,
                frames: vec![frame],
            },
            self.unfinished(),
        )
    }

    /// Walks until enough is found; gives what is left.
    pub(super) fn walk(mut self, rules: &Rules, scratch: &mut Scratch, finds: &mut Finds) -> Option<Self> {
        loop {
            self = self.unfinished()?;
            let frame = self.frames.last_mut()?;
            if frame.next >= frame.end {
                list_again(frame, rules, scratch, &self.path, finds);
                continue;
            }
            if finds.enough() {
                // Descriptors that nobody keeps are not for waiting with.
                self.frames.iter_mut().for_each(|frame| frame.spare = None);
                return Some(self);
            }
            if let Some(entered) = super::step::take_name(frame, &mut self.path, rules, scratch, finds) {
                let shallow = self.frames.len().checked_sub(SPARE_DESCRIPTORS);
                if let Some(frame) = shallow.and_then(|at| self.frames.get_mut(at)) {
                    frame.spare = None;
                }
                self.frames.push(entered);
            }
        }
    }

    /// Leaves the folders that are finished.
    fn unfinished(mut self) -> Option<Self> {
        while self.frames.last()?.finished() {
            self.frames.pop();
        }
        self.path.truncate(self.frames.last()?.path_length);
        Some(self)
    }
}

/// Takes the next names of a folder too large to be held at once.
fn list_again(frame: &mut Frame, rules: &Rules, scratch: &mut Scratch, path: &[u8], finds: &mut Finds) {
    frame.again = false;
    let after = frame
        .names
        .get(frame.names.len().wrapping_sub(1))
        .map(|(name, _)| name.to_vec());
    let opened = frame
        .handle()
        .and_then(|handle| frame.folder.list_again(handle.as_fd()));
    let (mut names, failure) = match opened {
        Ok(open) => Names::read(&open, &mut scratch.listing, after.as_deref(), rules.names_most),
        Err(error) => (Names::default(), Some(error)),
    };
    if let Some(error) = failure {
        finds.fail(SourceError::new(path, "list", error));
    }
    if let Some(node) = frame.node.and_then(|at| rules.roots.node(at)) {
        names.add(node.names(), after.as_deref());
    }
    frame.next = 0;
    frame.end = names.len();
    frame.again = names.more;
    frame.names = Arc::new(names);
}

/// Adds a name to a folder's path.
pub(super) fn join(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
