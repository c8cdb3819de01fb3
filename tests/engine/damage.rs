//! Every byte and every object damaged in turn: it is said, and wrong data never comes back.
//!
//! The objects of the newest sessions, which no generation has folded yet, are what nothing else vouches for: when an `open` or `end` of theirs is
//! missing, the backup looks as if it had never ended, and its snapshot is not there. That is the one loss that a check cannot see.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use engine::store::backend::{Attempt, Backend, Failure, ObjectInfo, Put};
use engine::store::{Store, StoreOptions};
use engine::verbs::check::check;
use engine::words::{NoProgress, ObjectName, SessionId};

use crate::bench::{Bench, noise};
use crate::life::{Contents, contents, everything};

/// A store in which some objects are others.
#[derive(Debug)]
struct Damaged {
    inner: Arc<dyn Backend>,
    /// By name; without bytes they are not there.
    changed: BTreeMap<ObjectName, Option<Bytes>>,
}

impl Backend for Damaged {
    fn create_root(&self) -> Attempt<()> {
        self.inner.create_root()
    }

    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        let Some(changed) = self.changed.get(name) else {
            return self.inner.get(name, range);
        };
        let bytes = changed.as_ref().ok_or_else(Failure::not_found)?;
        let range = range.unwrap_or(0..bytes.len() as u64);
        let bound = |at: u64| (at as usize).min(bytes.len());
        Ok(bytes.slice(bound(range.start)..bound(range.end)))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        self.inner.put(name, bytes)
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        let mut listed = self.inner.list(prefix, after)?;
        listed.retain_mut(|object| match self.changed.get(&object.name) {
            None => true,
            Some(None) => false,
            Some(Some(bytes)) => {
                object.size = bytes.len() as u64;
                true
            }
        });
        Ok(listed)
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        self.inner.delete(names)
    }
}

/// What a damaged repository does.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Opening or checking says so.
    Said,
    /// Nothing is said, and everything can be read.
    Harmless,
    /// Nothing is said, and snapshots are not there.
    Silent,
}

struct Victim {
    bench: Bench,
    objects: BTreeMap<ObjectName, Bytes>,
    snapshots: BTreeMap<SessionId, Contents>,
}

impl Victim {
    /// Contents that repeat: they make long files and small packs, every byte of which can be tried.
    fn new() -> Self {
        let bench = Bench::new();
        bench.write("small/a", "a");
        bench.write("small/b", noise(1, 3000));
        bench.write("large", noise(2, 3000).repeat(50));
        let first = bench.backup().snapshot.unwrap();
        bench.write("large", noise(3, 3000).repeat(45));
        let second = bench.backup().snapshot.unwrap();
        bench.forget(first);
        bench.prune();
        let mut snapshots = BTreeMap::from([(second, bench.expected())]);
        bench.write("small/c", "c");
        bench.write("more", noise(4, 3000).repeat(7));
        let third = bench.backup().snapshot.unwrap();
        snapshots.insert(third, bench.expected());
        let fourth = bench.backup().snapshot.unwrap();
        bench.forget(fourth);
        let store = bench.store();
        let listed = store.list("").unwrap().into_iter();
        let objects = listed.map(|object| (object.name.clone(), store.get(&object.name).unwrap()));
        Self {
            objects: objects.collect(),
            bench,
            snapshots,
        }
    }

    fn with(&self, changed: impl IntoIterator<Item = (ObjectName, Option<Bytes>)>) -> Outcome {
        let changed: BTreeMap<_, _> = changed.into_iter().collect();
        let hasty = StoreOptions {
            retries_max: 0,
            ..StoreOptions::default()
        };
        let store: Store = self
            .bench
            .store()
            .wrapped(&hasty, |inner| Arc::new(Damaged { inner, changed }));
        let Ok(repository) = self.bench.open_through(store.clone()) else {
            return Outcome::Said;
        };
        let is_clean =
            matches!(check(&repository, &everything(), &NoProgress), Ok(report) if report.findings.is_empty());
        let Ok(repository) = self.bench.open_through(store) else {
            return Outcome::Said;
        };
        let mut are_whole = true;
        for (snapshot, content) in &self.snapshots {
            match contents(&repository, *snapshot) {
                // Never wrong data, whatever was said.
                Ok(read) => assert!(read == *content, "{snapshot} reads wrong"),
                Err(_) => are_whole = false,
            }
        }
        match (is_clean, are_whole) {
            (false, _) => Outcome::Said,
            (true, true) => Outcome::Harmless,
            (true, false) => Outcome::Silent,
        }
    }

    /// Objects that nothing vouches for: the newest sessions' own.
    fn is_of_new_session(&self, name: &str) -> bool {
        name.starts_with("s/")
    }
}

/// The kind of an object by its name: what it may be swapped with.
fn kind(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    let last = rest.rsplit('/').next().filter(|_| first == "s").unwrap_or("");
    let last: String = last.chars().take_while(char::is_ascii_alphabetic).collect();
    format!("{first}/{last}")
}

#[test]
fn a_flipped_bit_is_said_or_harms_nothing() {
    let victim = Victim::new();
    assert_eq!(victim.with([]), Outcome::Harmless);
    let every_byte = std::env::var_os("ARARAT_EVERY_BYTE").is_some();
    let mut places = Vec::new();
    for (name, object) in &victim.objects {
        let length = object.len();
        // The ends, where headers and footers are, are looked at more closely than what is between them.
        let near = |at: usize| (at < 48 || length - at <= 48) && at.is_multiple_of(3);
        let stride = if every_byte { 1 } else { (length / 24).max(11) | 1 };
        let wanted = (0..length).filter(|at| every_byte || near(*at) || at % stride == 0);
        places.extend(wanted.map(|at| (name, object, at)));
    }
    let (next, said) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((name, object, at)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut bytes = object.to_vec();
            bytes[*at] ^= 1 << (at % 8);
            let outcome = victim.with([((*name).clone(), Some(bytes.into()))]);
            assert_ne!(outcome, Outcome::Silent, "{name}, byte {at} of {}", object.len());
            said.fetch_add(usize::from(outcome == Outcome::Said), Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (tried, said) = (places.len(), said.into_inner());
    // Nearly all that is stored is depended on.
    assert!(said * 20 >= tried * 17, "{said} of {tried} were said");
}

#[test]
fn an_object_cut_short_or_grown_is_said_or_harms_nothing() {
    let victim = Victim::new();
    for (name, object) in &victim.objects {
        let length = object.len();
        for to in [0, 1, 8, 16, 40, length / 2, length - 17, length - 1] {
            let outcome = victim.with([(name.clone(), Some(object.slice(..to.min(length))))]);
            assert_ne!(outcome, Outcome::Silent, "{name}, {to} of {length} bytes");
        }
        let grown = [object.as_ref(), &[0; 7]].concat();
        let outcome = victim.with([(name.clone(), Some(grown.into()))]);
        assert_ne!(outcome, Outcome::Silent, "{name}, grown");
    }
}

#[test]
fn a_missing_object_is_said_or_harms_nothing() {
    let victim = Victim::new();
    for name in victim.objects.keys() {
        let outcome = victim.with([(name.clone(), None)]);
        if !victim.is_of_new_session(name) {
            assert_ne!(outcome, Outcome::Silent, "{name}");
        }
    }
}

#[test]
fn an_object_in_the_place_of_another_is_said_or_harms_nothing() {
    let victim = Victim::new();
    let mut swapped = 0;
    for (name, object) in &victim.objects {
        for (other, replacement) in victim.objects.range(name.clone()..).skip(1) {
            if kind(name) != kind(other) {
                continue;
            }
            let outcome = victim.with([
                (name.clone(), Some(replacement.clone())),
                (other.clone(), Some(object.clone())),
            ]);
            assert_ne!(outcome, Outcome::Silent, "{name} and {other}");
            swapped += 1;
        }
    }
    assert!(swapped > 3, "{swapped}");
}
