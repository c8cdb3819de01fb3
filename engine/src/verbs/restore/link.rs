//! Files with several names: the first that is restored gets the content, the others become links to it as soon as it is whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::job::Item;
use crate::format::tree::HardLink;

/// A file with several names, from the first of them on.
#[derive(Debug)]
pub(super) struct Link {
    /// Where the first name is, below the target.
    pub(super) first: Vec<u8>,
    phase: Mutex<Phase>,
}

#[derive(Debug)]
enum Phase {
    /// Its content is not there yet; these wait for it.
    Pending(Vec<LaterName>),
    Whole,
    Failed,
}

/// A further name of a file.
#[derive(Debug)]
pub(super) struct LaterName {
    /// Where it goes, with what metadata should it become a copy.
    pub(super) item: Item,
    /// Something has that name, and is replaced.
    pub(super) replace: bool,
}

/// What to do with a further name now.
pub(super) enum Now {
    /// Nothing: it was left with the first name's maker.
    Waits,
    /// Link it: the first name is whole.
    Link(LaterName),
    /// The first name could not be restored: this one becomes the first.
    First(LaterName),
}

impl Link {
    fn new(first: Vec<u8>) -> Self {
        Self {
            first,
            phase: Mutex::new(Phase::Pending(Vec::new())),
        }
    }

    /// A further name was met.
    pub(super) fn later(&self, name: LaterName) -> Now {
        match &mut *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Pending(waiting) => {
                waiting.push(name);
                Now::Waits
            }
            Phase::Whole => Now::Link(name),
            Phase::Failed => Now::First(name),
        }
    }

    /// The first name is whole, or will never be. Gives those that waited for it.
    pub(super) fn settle(&self, whole: bool) -> Vec<LaterName> {
        let phase = if whole { Phase::Whole } else { Phase::Failed };
        match std::mem::replace(&mut *self.phase.lock().unwrap_or_else(PoisonError::into_inner), phase) {
            Phase::Pending(waiting) => waiting,
            Phase::Whole | Phase::Failed => Vec::new(),
        }
    }
}

/// The files with several names that have been met, by device and inode, until all their names have.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<(u64, u64), (Arc<Link>, u64)>);

impl Links {
    /// What is known of the file, if one of its names was met before.
    pub(super) fn met(&mut self, link: HardLink, inode: u64) -> Option<Arc<Link>> {
        let key = (link.device, inode);
        let (known, left) = self.0.get_mut(&key)?;
        *left = left.saturating_sub(1);
        let known = Arc::clone(known);
        if self.0.get(&key).is_some_and(|(_, left)| *left == 0) {
            self.0.remove(&key);
        }
        Some(known)
    }

    /// The file's first name is restored at `first`. Nothing to remember for a file that says it has no further names.
    pub(super) fn begin(&mut self, link: HardLink, inode: u64, first: Vec<u8>) -> Option<Arc<Link>> {
        if link.links < 2 {
            return None;
        }
        let begun = Arc::new(Link::new(first));
        self.0
            .insert((link.device, inode), (Arc::clone(&begun), link.links - 1));
        Some(begun)
    }
}
