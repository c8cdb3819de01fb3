//! Power that goes, replies that are lost, and sessions that are ended by others: the next process goes on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::repository::Repository;
use engine::repository::writer::Machine;
use engine::store::backend::{Attempt, Backend, ObjectInfo, Put};
use engine::store::faulty::{FaultPlan, Faulty};
use engine::store::{Store, StoreOptions};
use engine::verbs::backup::{BackupReport, Input, backup};
use engine::verbs::prune::{PruneReport, prune};
use engine::words::{NoProgress, ObjectName, Result, SessionId};

use crate::bench::{Bench, machine, noise};
use crate::life::{expected, half_forgotten};

/// The process that loses its power.
fn first_process() -> Machine {
    Machine {
        process: 1,
        is_running: |_| true,
        ..machine()
    }
}

/// The one after it, which sees that the first is gone.
fn next_process() -> Machine {
    Machine {
        process: 2,
        is_running: |process| process == 2,
        ..machine()
    }
}

fn hasty() -> StoreOptions {
    StoreOptions {
        retry_pause: Duration::from_millis(1),
        retries_max: 30,
        ..StoreOptions::default()
    }
}

/// The bench's store, spoiled by a plan.
fn spoiled(bench: &Bench, plan: FaultPlan) -> (Store, Arc<Faulty>) {
    let mut kept = None;
    let store = bench.store().wrapped(&hasty(), |inner| {
        let faulty = Arc::new(Faulty::new(inner, plan));
        kept = Some(faulty.clone());
        faulty
    });
    (store, kept.unwrap())
}

fn back_up(repository: &Repository, bench: &Bench, folder: &Path, machine: Machine) -> Result<BackupReport> {
    let mut options = bench.backup_options();
    options.source.here = folder.to_owned();
    options.machine = machine;
    backup(
        repository,
        Input::Paths(vec![PathBuf::from(".")]),
        &options,
        &NoProgress,
    )
}

fn prune_by(repository: &Repository, bench: &Bench, machine: Machine) -> Result<PruneReport> {
    let mut options = bench.prune_options();
    options.machine = machine;
    options.fence_seconds = i64::MAX;
    prune(repository, &options, &NoProgress)
}

fn pack_bytes(bench: &Bench) -> u64 {
    bench.store().list("p/").unwrap().iter().map(|pack| pack.size).sum()
}

#[test]
fn a_backup_may_lose_its_power_at_any_operation_and_the_next_one_goes_on() {
    let start = Bench::new();
    start.write("small", "small");
    let old = start.backup().snapshot.unwrap();
    let before = start.expected();
    start.write("large", noise(1, 20 << 20));
    for number in 0..40 {
        start.write(&format!("files/{number}"), noise(100 + number, 3000));
    }
    let folder = start.folder.path();
    let after = expected(folder);

    let whole = start.copied();
    let (store, faulty) = spoiled(&whole, FaultPlan::default());
    let repository = whole.open_through(store).unwrap();
    let report = back_up(&repository, &whole, folder, first_process()).unwrap();
    let (stored, operations) = (report.written.stored, faulty.operations());
    assert!(operations > 15, "{operations}");

    let mut continued = 0;
    for at in 0..operations + 2 {
        let bench = start.copied();
        let plan = FaultPlan {
            seed: at,
            power_lost_at: Some(at),
            ..FaultPlan::default()
        };
        let (store, faulty) = spoiled(&bench, plan);
        let first = bench
            .open_through(store)
            .and_then(|repository| back_up(&repository, &bench, folder, first_process()));
        assert!(
            first.is_ok() || !faulty.has_power(),
            "operation {at}: {:?}",
            first.err()
        );

        // What was there is there, and the repository is whole.
        assert_eq!(bench.contents(old), before, "operation {at}");
        assert_eq!(bench.findings(), [], "operation {at}");
        let stored_before = bench.store().list("p/").unwrap();
        let committed = bench.snapshots();
        let second = back_up(&bench.open(), &bench, folder, next_process()).unwrap();
        let snapshot = second.snapshot.unwrap();
        assert_eq!(bench.contents(snapshot), after, "operation {at}");
        if let [interrupted] = second.continued.as_slice() {
            continued += 1;
            assert!(
                second.written.stored + interrupted.bytes < stored + (3 << 20),
                "operation {at}: {} again after {}",
                second.written.stored,
                interrupted.bytes
            );
            // Every pack that was stored, named by a segment or not.
            let prefix = format!("p/{}/", interrupted.session);
            let packs: Vec<_> = stored_before
                .iter()
                .filter(|pack| pack.name.starts_with(&prefix))
                .collect();
            assert_eq!(interrupted.packs, packs.len() as u64, "operation {at}");
            assert_eq!(
                interrupted.bytes,
                packs.iter().map(|pack| pack.size).sum::<u64>(),
                "operation {at}"
            );
        } else {
            assert_eq!(second.continued, [], "operation {at}");
            // A commit of which nobody heard is one, and leaves nothing to go on with.
            let unheard = committed.iter().find(|snapshot| snapshot.id != old && first.is_err());
            if let Some(unheard) = unheard {
                assert_eq!(bench.contents(unheard.id), after, "operation {at}");
            }
            let old = format!("p/{old}/");
            let lost = stored_before.iter().any(|pack| !pack.name.starts_with(&old));
            assert!(
                first.is_ok() || unheard.is_some() || !lost,
                "operation {at}: {stored_before:?}"
            );
        }
        prune_by(&bench.open(), &bench, next_process()).unwrap();
        assert_eq!(bench.contents(old), before, "operation {at}");
        assert_eq!(bench.contents(snapshot), after, "operation {at}");
        assert_eq!(bench.findings(), [], "operation {at}");
    }
    assert!(continued > 0);
}

#[test]
fn a_prune_may_lose_its_power_at_any_operation_and_the_next_one_finishes() {
    let (start, kept) = half_forgotten(3 << 20);
    let content = start.expected();
    let whole = start.copied();
    let (store, faulty) = spoiled(&whole, FaultPlan::default());
    let repository = whole.open_through(store).unwrap();
    let report = prune_by(&repository, &whole, first_process()).unwrap();
    assert!(
        report.packs_deleted > 0 && report.packs_repacked > 0 && report.packs_waiting == 0,
        "{report:?}"
    );
    let left = pack_bytes(&whole);
    assert_eq!(whole.contents(kept), content);

    for at in 0..faulty.operations() + 2 {
        let bench = start.copied();
        let plan = FaultPlan {
            seed: at,
            power_lost_at: Some(at),
            ..FaultPlan::default()
        };
        let (store, faulty) = spoiled(&bench, plan);
        let first = bench
            .open_through(store)
            .and_then(|repository| prune_by(&repository, &bench, first_process()));
        assert!(
            first.is_ok() || !faulty.has_power(),
            "operation {at}: {:?}",
            first.err()
        );
        assert_eq!(bench.contents(kept), content, "operation {at}");
        assert_eq!(bench.findings(), [], "operation {at}");

        let report = prune_by(&bench.open(), &bench, next_process()).unwrap();
        assert_eq!(report.packs_waiting, 0, "operation {at}: {report:?}");
        assert_eq!(bench.contents(kept), content, "operation {at}");
        assert_eq!(bench.findings(), [], "operation {at}");
        assert_eq!(bench.snapshots().len(), 1);
        // Nothing of the first one's work is left behind for good.
        prune_by(&bench.open(), &bench, next_process()).unwrap();
        let now = pack_bytes(&bench);
        assert!(
            now <= left + left / 10,
            "operation {at}: {now} bytes are left instead of {left}"
        );
    }
}

#[test]
fn lost_replies_and_failing_requests_change_nothing() {
    let (start, kept) = half_forgotten(3 << 20);
    let content = start.expected();
    for seed in 0..12 {
        let bench = start.copied();
        let plan = FaultPlan {
            seed,
            fails: 150,
            loses_replies: 250,
            is_busy: 100,
            ..FaultPlan::default()
        };
        let (store, _) = spoiled(&bench, plan);
        let repository = bench.open_through(store).unwrap();
        let folder = start.folder.path();
        let new = back_up(&repository, &bench, folder, first_process()).unwrap();
        assert_eq!(new.counts.bytes_read, 0);
        prune_by(&repository, &bench, first_process()).unwrap();
        let again = back_up(&repository, &bench, folder, first_process()).unwrap();
        for snapshot in [kept, new.snapshot.unwrap(), again.snapshot.unwrap()] {
            assert_eq!(bench.contents(snapshot), content, "seed {seed}");
        }
        assert_eq!(bench.snapshots().len(), 3, "seed {seed}");
        assert_eq!(bench.findings(), [], "seed {seed}");
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// Does something once, just before the first pack is written.
struct BeforeFirstPack {
    inner: Arc<dyn Backend>,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for BeforeFirstPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Backend for BeforeFirstPack {
    fn create_root(&self) -> Attempt<()> {
        self.inner.create_root()
    }

    fn get(&self, name: &str, range: Option<std::ops::Range<u64>>) -> Attempt<Bytes> {
        self.inner.get(name, range)
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        let hook = self.hook.lock().unwrap().take_if(|_| name.starts_with("p/"));
        if let Some(hook) = hook {
            hook();
        }
        self.inner.put(name, bytes)
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        self.inner.list(prefix, after)
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        self.inner.delete(names)
    }
}

#[test]
fn a_backup_that_was_fenced_while_it_ran_starts_again_by_itself() {
    let (bench, kept) = half_forgotten(3 << 20);
    let before = bench.expected();
    bench.write("new", noise(5000, 2 << 20));
    // It was there before the fence, is forgotten, and would be referred to by the fenced session.
    bench.write("large", noise(1000, 3 << 20));
    let after = bench.expected();
    let other = bench.open();
    let mut options = bench.prune_options();
    options.machine = next_process();
    let fenced: Arc<Mutex<Vec<SessionId>>> = Arc::default();
    let seen = fenced.clone();
    let hook: Hook = Box::new(move || {
        let report = prune(&other, &options, &NoProgress).unwrap();
        *seen.lock().unwrap() = report.sessions_fenced;
    });
    let store = bench.store().wrapped(&hasty(), |inner| {
        Arc::new(BeforeFirstPack {
            inner,
            hook: Mutex::new(Some(hook)),
        })
    });
    let repository = bench.open_through(store).unwrap();
    let report = back_up(&repository, &bench, bench.folder.path(), first_process()).unwrap();
    let fenced = fenced.lock().unwrap().clone();
    assert_eq!(fenced.len(), 1);
    let snapshot = report.snapshot.unwrap();
    assert_ne!(snapshot, fenced[0]);
    assert_eq!(bench.contents(snapshot), after);
    assert_eq!(bench.contents(kept), before);
    assert_eq!(bench.findings(), []);
    prune_by(&bench.open(), &bench, next_process()).unwrap();
    assert_eq!(bench.contents(snapshot), after);
    assert_eq!(bench.contents(kept), before);
}
