//! Backups, prunes and readers at once in one repository: nothing is refused, nothing is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::format::mark::MarkKind;
use engine::verbs::backup::{BackupReport, Input, backup};
use engine::verbs::prune::{PruneReport, prune};
use engine::words::{NoProgress, SessionId};

use crate::bench::{Bench, clock, noise};
use crate::life::{Contents, contents, expected};

fn back_up(bench: &Bench, folder: &Path) -> BackupReport {
    let mut options = bench.backup_options();
    options.source.here = folder.to_owned();
    let input = Input::Paths(vec![PathBuf::from(".")]);
    backup(&bench.open(), input, &options, &NoProgress).unwrap()
}

fn prune_beside_others(bench: &Bench) -> PruneReport {
    let mut options = bench.prune_options();
    // Stores in memory have no time of day; all sessions are those of threads that run.
    options.fence_seconds = i64::MAX;
    options.unused_max = 0.2;
    let report = prune(&bench.open(), &options, &NoProgress).unwrap();
    assert_eq!(report.sessions_fenced, []);
    report
}

/// How much longer they go on while nothing has been deleted.
const MORE_TIME: Duration = Duration::from_secs(90);

/// How long the threads go on: seconds from the environment for a campaign, else a few.
fn time() -> Duration {
    let seconds = std::env::var("ARARAT_CONCURRENT_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(6))
}

/// Changes some of a folder's files; contents come back later and are shared between writers.
fn change(folder: &Path, writer: u64, round: u64) {
    for number in 0..12 {
        let name = folder.join(format!("{number}"));
        let seed = (round * 7 + number * (writer + 1)) % 23;
        if (round + number).is_multiple_of(3) {
            std::fs::write(name, noise(seed, 2000 + seed as usize * 9000)).unwrap();
        } else if (round + number).is_multiple_of(11) {
            let _ = std::fs::remove_file(name);
        }
    }
    std::fs::write(folder.join("round"), format!("{writer} {round}")).unwrap();
}

#[test]
fn backups_prunes_and_readers_do_not_hurt_each_other() {
    let bench = Bench::new();
    let kept: Mutex<BTreeMap<SessionId, Contents>> = Mutex::default();
    let (stop, until) = (AtomicBool::new(false), Instant::now() + time());
    let (rounds, prunes, reads, deleted) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    std::thread::scope(|scope| {
        let (bench, kept, stop) = (&bench, &kept, &stop);
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (rounds, deleted) = (&rounds, &deleted);
                scope.spawn(move || {
                    let folder = tempfile::tempdir().unwrap();
                    let mut passing = Vec::new();
                    for round in 0.. {
                        // On a busy machine no prune may have found a gap between the backups yet, and there would be nothing to look at.
                        let too_early = deleted.load(Ordering::Relaxed) == 0 && until.elapsed() < MORE_TIME;
                        if until.elapsed() > Duration::ZERO && !too_early || stop.load(Ordering::Relaxed) {
                            break;
                        }
                        change(folder.path(), writer, round);
                        let content = expected(folder.path());
                        let snapshot = back_up(bench, folder.path()).snapshot.unwrap();
                        rounds.fetch_add(1, Ordering::Relaxed);
                        if round % 4 == 0 {
                            kept.lock().unwrap().insert(snapshot, content);
                            continue;
                        }
                        passing.push(snapshot);
                        if passing.len() > 2 {
                            let what = MarkKind::Forget { reason: "old".into() };
                            bench.open().mark(passing.remove(0), what, clock()).unwrap();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                deleted.fetch_add(prune_beside_others(bench).packs_deleted, Ordering::Relaxed);
                prunes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = reads.fetch_add(1, Ordering::Relaxed) as usize;
                let some = {
                    let kept = kept.lock().unwrap();
                    let place = number % kept.len().max(1);
                    kept.iter().nth(place).map(|(id, content)| (*id, content.clone()))
                };
                if let Some((snapshot, content)) = some {
                    match contents(&bench.open(), snapshot) {
                        Ok(read) => assert!(read == content, "{snapshot}"),
                        Err(error) => {
                            let again = contents(&bench.open(), snapshot).map(|read| read == content);
                            let fresh = bench.open_through(bench.store()).unwrap();
                            let uncached = contents(&fresh, snapshot).map(|read| read == content);
                            panic!("{snapshot}: {error}; again: {again:?}; without a cache: {uncached:?}");
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    let kept = kept.into_inner().unwrap();
    for (snapshot, content) in &kept {
        assert!(bench.contents(*snapshot) == *content, "{snapshot}");
    }
    assert_eq!(bench.findings(), []);
    prune_beside_others(&bench);
    for (snapshot, content) in &kept {
        assert!(bench.contents(*snapshot) == *content, "{snapshot} after the last prune");
    }
    assert_eq!(bench.findings(), []);
    let counts = [rounds, prunes, reads, deleted].map(AtomicU64::into_inner);
    assert!(counts.iter().all(|count| *count > 1), "{counts:?}");
}

#[test]
fn several_writers_of_the_same_new_data_at_once_lose_nothing() {
    let bench = Bench::new();
    for number in 0..40 {
        bench.write(&format!("{number}"), noise(number, 4000));
    }
    bench.write("large", noise(1000, 4 << 20));
    let reports: Vec<BackupReport> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| back_up(&bench, bench.folder.path())))
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let content = bench.expected();
    for report in &reports {
        assert!(bench.contents(report.snapshot.unwrap()) == content);
    }
    assert_eq!(bench.findings(), []);
    // Maintenance drops the copies; forgetting all but one takes nothing from that one.
    for report in &reports[1..] {
        bench.forget(report.snapshot.unwrap());
    }
    for _ in 0..2 {
        prune_beside_others(&bench);
    }
    assert!(bench.contents(reports[0].snapshot.unwrap()) == content);
    assert_eq!(bench.findings(), []);
    let stored: u64 = bench.store().list("p/").unwrap().iter().map(|pack| pack.size).sum();
    assert!(stored < 6 << 20, "{stored}");
}

#[test]
fn prunes_at_once_agree() {
    for _ in 0..4 {
        let bench = Bench::new();
        let mut snapshots = Vec::new();
        for round in 0..4 {
            change(bench.folder.path(), 0, round);
            snapshots.push((bench.backup().snapshot.unwrap(), bench.expected()));
        }
        bench.forget(snapshots.remove(0).0);
        bench.forget(snapshots.remove(1).0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| prune_beside_others(&bench));
            }
        });
        for (snapshot, content) in &snapshots {
            assert!(bench.contents(*snapshot) == *content);
        }
        assert_eq!(bench.snapshots().len(), 2);
        assert_eq!(bench.findings(), []);
        prune_beside_others(&bench);
        assert_eq!(prune_beside_others(&bench).packs_waiting, 0);
        assert_eq!(bench.findings(), []);
    }
}
