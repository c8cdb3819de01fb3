//! Loads tree blobs before they are asked for, in threads of its own: a wrapper around any source.
//!
//! What must hold: no more blobs are held than was said, one per thread apart; a blob that was not loaded ahead, or whose loading failed, is loaded when it is asked for,
//! so that this changes only when things happen, never what.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use bytes::Bytes;

use super::source::TreeSource;
use crate::words::{BlobId, Result};

/// A source that follows the hints of [`TreeSource::prefetch`].
#[derive(Debug)]
pub struct ReadAhead<S> {
    source: S,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something to load has come, or the end.
    wanted: Condvar,
    /// Something has been loaded.
    loaded: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<BlobId>,
    slots: HashMap<BlobId, Slot>,
    held_max: usize,
    ended: bool,
}

#[derive(Debug)]
enum Slot {
    /// In the queue.
    Waiting,
    /// A thread is at it.
    Loading,
    /// There it is.
    Loaded(Bytes),
}

impl<S: TreeSource + Clone + Send> ReadAhead<S> {
    /// Loads ahead from `source` in so many threads (1 if 0) of `scope`, and holds at most `held_max` blobs that have not been asked for.
    /// The threads end when this is dropped.
    pub fn new<'scope>(scope: &'scope Scope<'scope, '_>, source: S, threads: usize, held_max: usize) -> Self
    where
        S: 'scope,
    {
        let shared = Arc::new(Shared::default());
        shared.lock().held_max = held_max;
        for _ in 0..threads.max(1) {
            let (source, shared) = (source.clone(), Arc::clone(&shared));
            let spawned = Builder::new()
                .name("tree read-ahead".to_owned())
                .spawn_scoped(scope, move || shared.work(&source));
            // Without a thread everything is loaded when it is asked for.
            drop(spawned);
        }
        Self { source, shared }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work<S: TreeSource>(&self, source: &S) {
        let mut state = self.lock();
        while !state.ended {
            let Some(id) = state.queue.pop_front() else {
                state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // Whoever asked for it meanwhile has taken it off the slots.
            let Some(slot @ Slot::Waiting) = state.slots.get_mut(&id) else {
                continue;
            };
            *slot = Slot::Loading;
            drop(state);
            let blob = source.load(&id);
            state = self.lock();
            match blob {
                Ok(blob) => drop(state.slots.insert(id, Slot::Loaded(blob))),
                // Whoever asks for it meets the error himself.
                Err(_) => drop(state.slots.remove(&id)),
            }
            self.loaded.notify_all();
        }
    }
}

impl<S: TreeSource + Send> TreeSource for ReadAhead<S> {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        let mut state = self.shared.lock();
        loop {
            match state.slots.remove(id) {
                Some(Slot::Loaded(blob)) => return Ok(blob),
                Some(Slot::Loading) => {
                    state.slots.insert(*id, Slot::Loading);
                    state = self.shared.loaded.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                // No thread has come to it: this one is here already.
                Some(Slot::Waiting) | None => break,
            }
        }
        drop(state);
        self.source.load(id)
    }

    fn prefetch(&self, ids: &[BlobId]) {
        let mut state = self.shared.lock();
        for id in ids {
            if state.slots.len() >= state.held_max {
                // Blobs that were announced and passed over would fill this for ever: they make room for what comes now.
                state.slots.retain(|_, slot| matches!(slot, Slot::Loading));
                state.queue.clear();
            }
            if !state.slots.contains_key(id) {
                state.slots.insert(*id, Slot::Waiting);
                state.queue.push_back(*id);
            }
        }
        drop(state);
        self.shared.wanted.notify_all();
    }
}

impl<S> Drop for ReadAhead<S> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        state.slots.clear();
        drop(state);
        self.shared.wanted.notify_all();
    }
}
