//! Keeps entries in path order while workers finish them out of order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::format::tree::{Content, Entry, EntryKind, Extent};
use crate::source::Found;
use crate::words::{Error, Result};

/// What a job makes of one item.
#[derive(Debug)]
pub(super) enum Made {
    /// An entry, and what a person should know of it: that it changed while it was read, that some of it is missing.
    Entry(Box<Entry>, Vec<String>),
    /// The item at this path could not be read, and why.
    Failed(Vec<u8>, String),
    /// Reading it was broken off, since a person wants to stop.
    Interrupted,
}

impl Made {
    /// Bytes that it occupies, about.
    fn weight(&self) -> usize {
        match self {
            Self::Entry(entry, _) => weight_of(entry),
            Self::Failed(path, why) => path.len() + why.len(),
            Self::Interrupted => 0,
        }
    }
}

/// Bytes that an entry occupies, about.
fn weight_of(entry: &Entry) -> usize {
    let content = match &entry.kind {
        EntryKind::File {
            content: Content::Chunks(extents),
            ..
        } => extents.len() * size_of::<Extent>(),
        EntryKind::Symlink { target, .. } => target.len(),
        EntryKind::File { .. }
        | EntryKind::Folder
        | EntryKind::Fifo
        | EntryKind::Socket
        | EntryKind::CharacterDevice { .. }
        | EntryKind::BlockDevice { .. } => 0,
    };
    let attributes = entry.metadata.attributes.iter();
    let attributes: usize = attributes.map(|(name, value)| 48 + name.len() + value.len()).sum();
    size_of::<Entry>() + entry.path.len() + content + attributes
}

/// Where a job leaves what it made.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    state: Mutex<Option<Result<Vec<Option<Made>>>>>,
    ready: Condvar,
    /// The queue's.
    weight: Arc<AtomicUsize>,
}

/// The duty to leave an outcome. Whoever drops it without having done so, as a thread does that dies, leaves an error: nobody waits for ever.
#[derive(Debug)]
pub(super) struct Promise(Option<Arc<Outcome>>);

impl Promise {
    /// To leave this outcome.
    pub(super) fn of(outcome: Arc<Outcome>) -> Self {
        Self(Some(outcome))
    }

    /// Leaves the result; one for each item of the job, in order.
    pub(super) fn keep(mut self, made: Result<Vec<Made>>) {
        if let Some(outcome) = self.0.take() {
            outcome.set(made);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(outcome) = self.0.take() {
            outcome.set(Err(died()));
        }
    }
}

fn died() -> Error {
    Error::Internal("a thread that reads files died".into())
}

impl Outcome {
    fn set(&self, made: Result<Vec<Made>>) {
        let weight = made.iter().flatten().map(Made::weight).sum();
        self.weight.fetch_add(weight, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = Some(made.map(|made| made.into_iter().map(Some).collect()));
        drop(state);
        self.ready.notify_all();
    }

    fn is_ready(&self) -> bool {
        self.state.lock().is_ok_and(|state| state.is_some())
    }

    /// Takes what was made of item `place`; waits for the job.
    fn take(&self, place: usize) -> Result<Made> {
        let mut state = self.state.lock().map_err(|_| died())?;
        loop {
            match &mut *state {
                None => state = self.ready.wait(state).map_err(|_| died())?,
                Some(Ok(made)) => {
                    let made = made.get_mut(place).and_then(Option::take).ok_or_else(died)?;
                    self.weight.fetch_sub(made.weight(), Ordering::Relaxed);
                    return Ok(made);
                }
                Some(Err(_)) => {
                    let failed = state.take();
                    *state = Some(Err(Error::Internal("the backup has failed already".into())));
                    return match failed {
                        Some(Err(error)) => Err(error),
                        _ => Err(died()),
                    };
                }
            }
        }
    }
}

/// One item in the queue.
pub(super) enum Item {
    /// Ready to be written.
    Ready(Box<Entry>),
    /// Made by a job.
    From(Arc<Outcome>, usize, Origin),
    /// Another name of a file that came before it.
    Link(Box<Found>, Origin),
}

/// What the parent has in the place of a file, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The parent did not have it.
    New,
    /// The parent had it otherwise.
    Changed,
    /// The parent had the same.
    Same,
}

/// What comes out of the queue.
pub(super) enum Next {
    /// An entry that the parent had, or that is no file.
    Ready(Box<Entry>),
    /// What a job made.
    Made(Made, Origin),
    /// Another name of a file that came out before.
    Link(Box<Found>, Origin),
}

/// The entries between the walk and the tree.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// Bytes that items and outcomes occupy, about.
    weight: Arc<AtomicUsize>,
}

/// Entries between the walk and the tree at most, and bytes of them: what workers may be behind.
const ITEMS_MAX: usize = 32 << 10;
const WEIGHT_MAX: usize = 24 << 20;

impl Item {
    /// Bytes that it occupies, about; what a job makes is counted when it is made.
    fn weight(&self) -> usize {
        match self {
            Self::Ready(entry) => weight_of(entry),
            Self::From(..) => 3 * size_of::<Self>(),
            Self::Link(found, _) => size_of::<Found>() + found.path.len(),
        }
    }
}

impl Queue {
    pub(super) fn push(&mut self, item: Item) {
        self.weight.fetch_add(item.weight(), Ordering::Relaxed);
        self.items.push_back(item);
    }

    /// What is to come out next.
    pub(super) fn push_first(&mut self, item: Item) {
        self.weight.fetch_add(item.weight(), Ordering::Relaxed);
        self.items.push_front(item);
    }

    /// Where a job may leave what it makes of an item of this queue.
    pub(super) fn outcome(&self) -> Arc<Outcome> {
        Arc::new(Outcome {
            weight: Arc::clone(&self.weight),
            ..Outcome::default()
        })
    }

    /// Whether it should be emptied before more is put into it.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() > ITEMS_MAX || self.weight.load(Ordering::Relaxed) > WEIGHT_MAX
    }

    /// The first item, if it is ready or `wait` is set.
    pub(super) fn pop(&mut self, wait: bool) -> Result<Option<Next>> {
        match self.items.front() {
            None => return Ok(None),
            Some(Item::From(outcome, ..)) if !wait && !outcome.is_ready() => return Ok(None),
            Some(_) => {}
        }
        let item = self.items.pop_front();
        let weight = item.as_ref().map_or(0, Item::weight);
        self.weight.fetch_sub(weight, Ordering::Relaxed);
        match item {
            None => Ok(None),
            Some(Item::Ready(entry)) => Ok(Some(Next::Ready(entry))),
            Some(Item::Link(found, origin)) => Ok(Some(Next::Link(found, origin))),
            Some(Item::From(outcome, place, origin)) => Ok(Some(Next::Made(outcome.take(place)?, origin))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_job_whose_thread_dies_leaves_an_error_instead_of_a_wait_for_ever() {
        let mut queue = Queue::default();
        let outcome = queue.outcome();
        queue.push(Item::From(Arc::clone(&outcome), 0, Origin::New));
        let promise = Promise::of(outcome);
        let dead = std::thread::spawn(move || {
            let _mine = promise;
            panic!("on purpose");
        });
        let told = std::thread::spawn(move || queue.pop(true).err().map(|error| error.to_string()));
        assert!(dead.join().is_err());
        let told = told.join().unwrap().unwrap();
        assert!(told.contains("died"), "{told}");
    }

    #[test]
    fn entries_that_are_heavy_fill_the_queue_long_before_there_are_many() {
        let mut queue = Queue::default();
        let heavy = || Entry {
            path: b"path".to_vec(),
            kind: EntryKind::File {
                size: 1024,
                content: Content::Chunks(vec![Extent::Hole { length: 1 }; 1024]),
                link: None,
                from_device: false,
            },
            metadata: crate::format::tree::Metadata::default(),
        };
        let outcome = queue.outcome();
        queue.push(Item::From(Arc::clone(&outcome), 0, Origin::New));
        Promise::of(outcome).keep(Ok(vec![Made::Entry(Box::new(heavy()), Vec::new())]));
        while !queue.is_full() {
            queue.push(Item::Ready(Box::new(heavy())));
        }
        assert!(queue.items.len() < ITEMS_MAX / 16, "{}", queue.items.len());
        while queue.pop(true).unwrap().is_some() {}
        assert_eq!(queue.weight.load(Ordering::Relaxed), 0);
    }
}
