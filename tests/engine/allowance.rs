//! Workers that share the machine with others: how many may be at work is changed while a backup runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use engine::verbs::backup::{BackupOptions, Input, ParentChoice, backup};
use engine::words::Progress;

use crate::bench::{Bench, noise};

/// Lets so many work, and others from the next number of bytes on; counts what each thread has read, before and after.
struct Allowance {
    allowed: AtomicUsize,
    then: (u64, usize),
    read: Mutex<(u64, [HashMap<ThreadId, u64>; 2])>,
}

impl Allowance {
    fn new(first: usize, then: (u64, usize)) -> Self {
        let allowed = AtomicUsize::new(first);
        Self {
            allowed,
            then,
            read: Mutex::default(),
        }
    }

    /// How many threads have read before, and after.
    fn readers(&self) -> [usize; 2] {
        let read = self.read.lock().unwrap();
        [read.1[0].len(), read.1[1].len()]
    }
}

impl Progress for Allowance {
    fn done(&self, _items: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut read = self.read.lock().unwrap();
        read.0 += bytes;
        let after = read.0 > self.then.0;
        *read.1[usize::from(after)]
            .entry(std::thread::current().id())
            .or_default() += bytes;
        if after {
            self.allowed.store(self.then.1, Ordering::Relaxed);
        }
        drop(read);
        // Reading takes its time elsewhere: those who may work get to.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }

    fn workers(&self) -> usize {
        self.allowed.load(Ordering::Relaxed)
    }
}

fn read(bench: &Bench, allowance: &Arc<Allowance>) -> engine::words::BlobId {
    let options = BackupOptions {
        parent: ParentChoice::None,
        workers: 4,
        ..bench.backup_options()
    };
    let input = Input::Paths(vec![PathBuf::from(".")]);
    backup(&bench.open(), input, &options, &**allowance)
        .unwrap()
        .root
        .unwrap()
}

#[test]
fn no_more_work_than_may_and_others_join_when_they_may() {
    let bench = Bench::new();
    let mut total = 0;
    for number in 0..60 {
        let bytes = noise(number, 400_000);
        total += bytes.len() as u64;
        bench.write(&format!("folder/{number}"), &bytes);
    }
    let alone = Arc::new(Allowance::new(1, (u64::MAX, 1)));
    let root = read(&bench, &alone);
    assert_eq!(alone.readers(), [1, 0], "one may work, and one does");
    let more = Arc::new(Allowance::new(1, (total / 4, 4)));
    assert_eq!(read(&bench, &more), root);
    let [before, after] = more.readers();
    assert!(before == 1 && after > 1, "{before} worked before, {after} after");
    // None at all are allowed for a moment: the first goes on all the same.
    let none = Arc::new(Allowance::new(0, (u64::MAX, 0)));
    assert_eq!(read(&bench, &none), root);
    assert_eq!(none.readers(), [1, 0]);
}

/// Lets one work, and lets that one die on its first bytes.
#[derive(Default)]
struct Fatal(AtomicBool);

impl Progress for Fatal {
    fn done(&self, _items: u64, bytes: u64) {
        assert!(
            bytes == 0 || self.0.swap(true, Ordering::Relaxed),
            "a worker dies in this test"
        );
    }

    fn workers(&self) -> usize {
        1
    }
}

/// The bug: those that waited for their turn waited for ever, and so did whoever fed them.
#[test]
fn a_worker_that_dies_ends_the_backup_and_hangs_nobody() {
    let bench = Bench::new();
    for number in 0..60 {
        bench.write(&format!("folder/{number}"), noise(number, 400_000));
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let options = BackupOptions {
            parent: ParentChoice::None,
            workers: 4,
            ..bench.backup_options()
        };
        let input = Input::Paths(vec![PathBuf::from(".")]);
        sender
            .send(backup(&bench.open(), input, &options, &Fatal::default()).is_err())
            .unwrap();
    });
    let failed = receiver.recv_timeout(std::time::Duration::from_secs(120));
    assert_eq!(failed, Ok(true));
}
