//! Keeps entries in path order while workers finish them out of order.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use crate::format::tree::Entry;
use crate::source::Found;
use crate::words::{Error, Result};

/// What a job makes of one item.
#[derive(Debug)]
pub(super) enum Made {
    /// An entry.
    Entry(Box<Entry>),
    /// The item at this path could not be read, and why.
    Failed(Vec<u8>, String),
    /// It was deleted between being listed and being read.
    Vanished,
}

/// Where a job leaves what it made.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    state: Mutex<Option<Result<Vec<Option<Made>>>>>,
    ready: Condvar,
}

impl Outcome {
    /// Leaves the result; one for each item of the job, in order.
    pub(super) fn set(&self, made: Result<Vec<Made>>) {
        if let Ok(mut state) = self.state.lock() {
            *state = Some(made.map(|made| made.into_iter().map(Some).collect()));
        }
        self.ready.notify_all();
    }

    fn is_ready(&self) -> bool {
        self.state.lock().is_ok_and(|state| state.is_some())
    }

    /// Takes what was made of item `place`; waits for the job.
    fn take(&self, place: usize) -> Result<Made> {
        let died = || Error::Internal("a thread that reads files died".into());
        let mut state = self.state.lock().map_err(|_| died())?;
        loop {
            match &mut *state {
                None => state = self.ready.wait(state).map_err(|_| died())?,
                Some(Ok(made)) => return made.get_mut(place).and_then(Option::take).ok_or_else(died),
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
    Link(Box<Found>),
}

/// Why a file was read, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The parent did not have it.
    New,
    /// The parent had it otherwise.
    Changed,
}

/// What comes out of the queue.
pub(super) enum Next {
    /// An entry that the parent had, or that is no file.
    Ready(Box<Entry>),
    /// What a job made.
    Made(Made, Origin),
    /// Another name of a file that came out before.
    Link(Box<Found>),
}

/// The entries between the walk and the tree.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
}

impl Queue {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The first item, if it is ready or `wait` is set.
    pub(super) fn pop(&mut self, wait: bool) -> Result<Option<Next>> {
        match self.items.front() {
            None => return Ok(None),
            Some(Item::From(outcome, ..)) if !wait && !outcome.is_ready() => return Ok(None),
            Some(_) => {}
        }
        match self.items.pop_front() {
            None => Ok(None),
            Some(Item::Ready(entry)) => Ok(Some(Next::Ready(entry))),
            Some(Item::Link(found)) => Ok(Some(Next::Link(found))),
            Some(Item::From(outcome, place, origin)) => Ok(Some(Next::Made(outcome.take(place)?, origin))),
        }
    }
}
