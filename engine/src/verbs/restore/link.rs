//! Files with several names: the first that can be restored gets the content, the others become links to it as soon as it is whole.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Item;
use crate::format::tree::{EntryKind, HardLink};

/// A file with several names, from the first of them on.
#[derive(Debug)]
pub(super) struct Link(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Where the name is that gets the content, below the target.
    first: Vec<u8>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// This content is not there yet; these names wait for it.
    Pending(EntryKind, VecDeque<LaterName>),
    Whole,
    /// None of the names so far could be restored.
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

/// What to do with the names that wait, now that it is known what became of the first.
pub(super) enum Settled {
    /// Link them.
    Whole(VecDeque<LaterName>),
    /// It could not be restored: this one becomes the first, and gets the content.
    Next(Box<(LaterName, EntryKind)>),
    /// None waits.
    Nothing,
}

impl Link {
    fn new(first: Vec<u8>, kind: EntryKind) -> Self {
        Self(Mutex::new(State {
            first,
            phase: Phase::Pending(kind, VecDeque::new()),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the name is that gets the content, below the target.
    pub(super) fn first(&self) -> Vec<u8> {
        self.lock().first.clone()
    }

    /// A further name was met; `kind` is its entry's.
    pub(super) fn later(&self, name: LaterName, kind: &EntryKind) -> Now {
        let mut state = self.lock();
        match &mut state.phase {
            Phase::Pending(_, waiting) => {
                waiting.push_back(name);
                Now::Waits
            }
            Phase::Whole => Now::Link(name),
            Phase::Failed => {
                state.first = name.item.path();
                state.phase = Phase::Pending(kind.clone(), VecDeque::new());
                Now::First(name)
            }
        }
    }

    /// The first name is whole, or will never be.
    pub(super) fn settle(&self, whole: bool) -> Settled {
        let mut state = self.lock();
        match std::mem::replace(&mut state.phase, if whole { Phase::Whole } else { Phase::Failed }) {
            Phase::Pending(_, waiting) if whole => Settled::Whole(waiting),
            Phase::Pending(kind, mut waiting) => match waiting.pop_front() {
                Some(next) => {
                    state.first = next.item.path();
                    state.phase = Phase::Pending(kind.clone(), waiting);
                    Settled::Next(Box::new((next, kind)))
                }
                None => Settled::Nothing,
            },
            Phase::Whole | Phase::Failed => Settled::Nothing,
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
    pub(super) fn begin(&mut self, link: HardLink, inode: u64, first: Vec<u8>, kind: &EntryKind) -> Option<Arc<Link>> {
        if link.links < 2 {
            return None;
        }
        let begun = Arc::new(Link::new(first, kind.clone()));
        self.0
            .insert((link.device, inode), (Arc::clone(&begun), link.links - 1));
        Some(begun)
    }
}
