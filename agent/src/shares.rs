//! The node's processors are shared by the volumes that are worked on: with each one that begins or ends, the others get fewer or more threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::decide::share;

/// What there is to share.
#[derive(Debug)]
pub struct Shares {
    processors: usize,
    /// The threads of each, the oldest first.
    given: Mutex<Vec<Arc<AtomicUsize>>>,
}

/// The share of one volume, until it is dropped.
#[derive(Debug)]
pub struct Share {
    all: Arc<Shares>,
    threads: Arc<AtomicUsize>,
}

impl Shares {
    /// Of so many processors.
    pub fn new(processors: usize) -> Arc<Self> {
        Arc::new(Self {
            processors,
            given: Mutex::default(),
        })
    }

    /// One more wants a share.
    pub fn join(self: &Arc<Self>) -> Share {
        let threads = Arc::new(AtomicUsize::new(1));
        self.change(|given| given.push(Arc::clone(&threads)));
        Share {
            all: Arc::clone(self),
            threads,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<AtomicUsize>>)) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut given);
        let working = given.len();
        for (place, threads) in given.iter().enumerate() {
            threads.store(share(self.processors, working, place), Ordering::Relaxed);
        }
    }
}

impl Share {
    /// How many threads it is now.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// How many it could become.
    pub fn threads_max(&self) -> usize {
        share(self.all.processors, 1, 0)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all
            .change(|given| given.retain(|threads| !Arc::ptr_eq(threads, &self.threads)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_left_gets_what_another_had() {
        let shares = Shares::new(5);
        let first = shares.join();
        assert_eq!((first.threads(), first.threads_max()), (5, 5));
        let second = shares.join();
        assert_eq!((first.threads(), second.threads()), (3, 2));
        let third = shares.join();
        assert_eq!((first.threads(), second.threads(), third.threads()), (2, 2, 1));
        drop(first);
        assert_eq!((second.threads(), third.threads()), (3, 2));
        drop((second, third));
        assert_eq!(shares.join().threads(), 5);
    }
}
