//! Counts what was asked of a store, so that speed and cost can be judged by requests.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests sent to a store and bytes moved since it was opened; every try counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Objects or parts of objects asked for.
    pub get: u64,
    /// Objects sent.
    pub put: u64,
    /// Pages of lists asked for.
    pub list: u64,
    /// Deletes asked for; one for many objects where the store can.
    pub delete: u64,
    /// Bytes of objects sent.
    pub bytes_up: u64,
    /// Bytes of objects received.
    pub bytes_down: u64,
}

impl Requests {
    /// All requests together.
    pub fn total(&self) -> u64 {
        self.get + self.put + self.list + self.delete
    }
}

/// The running counts that backends add to.
#[derive(Debug, Default)]
pub struct Counters {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

impl Counters {
    /// A read.
    pub fn get(&self) {
        add(&self.get, 1);
    }

    /// A write.
    pub fn put(&self) {
        add(&self.put, 1);
    }

    /// A page of a list.
    pub fn list(&self) {
        add(&self.list, 1);
    }

    /// A delete.
    pub fn delete(&self) {
        add(&self.delete, 1);
    }

    /// Bytes sent.
    pub fn up(&self, bytes: u64) {
        add(&self.bytes_up, bytes);
    }

    /// Bytes received.
    pub fn down(&self, bytes: u64) {
        add(&self.bytes_down, bytes);
    }

    /// The counts of this moment.
    pub fn now(&self) -> Requests {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            get: load(&self.get),
            put: load(&self.put),
            list: load(&self.list),
            delete: load(&self.delete),
            bytes_up: load(&self.bytes_up),
            bytes_down: load(&self.bytes_down),
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
