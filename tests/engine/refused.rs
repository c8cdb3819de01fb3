//! A pack that the store refuses: whoever was told of it may have had other things to do, but nothing is committed without it.

use std::sync::Arc;

use engine::format::open::SessionKind;
use engine::format::snapshot::{RootId, Snapshot};
use engine::repository::writer::WriterOptions;
use engine::repository::{Scratch, Writer};
use engine::store::StoreOptions;
use engine::store::faulty::{FaultPlan, Faulty};
use engine::verbs::backup::{Input, backup};
use engine::words::{BlobKind, Error, NoProgress, StoreFailure};

use crate::bench::{Bench, clock, machine, noise};

fn refusing(bench: &Bench, pack: u64) -> engine::store::Store {
    let plan = FaultPlan {
        refuses_pack: Some(pack),
        ..FaultPlan::default()
    };
    bench
        .store()
        .wrapped(&StoreOptions::default(), |inner| Arc::new(Faulty::new(inner, plan)))
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Store {
            failure: StoreFailure::Denied,
            ..
        }
    )
}

#[test]
fn a_refused_pack_fails_every_later_blob_and_the_commit_however_often_it_was_told() {
    let bench = Bench::new();
    let repository = bench.open_through(refusing(&bench, 0)).unwrap();
    let options = WriterOptions {
        now: clock(),
        machine: machine(),
        kind: SessionKind::Backup,
        source: [1; 16],
        level: None,
        uploads: 2,
        volume_key: None,
    };
    let writer = Writer::begin(&repository, options).unwrap();
    let mut scratch = Scratch::new();
    let mut told = 0;
    let mut root = None;
    for seed in 0..40 {
        // What a reader does that meets a bad file at this moment: it has no use for the answer.
        match writer.save(BlobKind::Data, &noise(seed, 300_000), &mut scratch) {
            Ok(id) => root = root.or(Some(id)),
            Err(error) => {
                assert!(is_refusal(&error), "{error}");
                told += 1;
            }
        }
    }
    assert!(told > 1, "told {told} times");
    let snapshot = Snapshot {
        root: RootId(root.unwrap()),
        ..Snapshot::default()
    };
    let error = writer.commit(snapshot).unwrap_err();
    assert!(is_refusal(&error), "{error}");
    assert_eq!(bench.snapshots().len(), 0);
}

#[test]
fn a_backup_fails_when_any_one_of_its_packs_is_refused_and_the_next_one_uses_the_others() {
    let bench = Bench::new();
    bench.write("large", noise(1, 9 << 20));
    for number in 0..30 {
        bench.write(&format!("small/{number}"), noise(100 + number, 40_000));
    }
    for pack in [0, 3, 5] {
        let bench_copy = bench.copied();
        let mut options = bench.backup_options();
        options.machine.is_running = |_| false;
        let repository = bench_copy.open_through(refusing(&bench_copy, pack)).unwrap();
        let paths = || Input::Paths(vec![".".into()]);
        let error = backup(&repository, paths(), &options, &NoProgress).unwrap_err();
        assert!(is_refusal(&error), "pack {pack}: {error}");
        assert_eq!(bench_copy.snapshots().len(), 0);
        assert_eq!(bench_copy.findings(), [], "pack {pack}");
        let report = backup(&bench_copy.open(), paths(), &options, &NoProgress).unwrap();
        assert_eq!(bench_copy.contents(report.snapshot.unwrap()), bench.expected());
        if pack > 0 {
            let continued: u64 = report.continued.iter().map(|continued| continued.packs).sum();
            assert!(continued > 0, "pack {pack}: {report:?}");
            assert!(report.counts.bytes_new < 10 << 20, "pack {pack}: {report:?}");
        }
        // What was continued once is not continued again.
        let report = backup(&bench_copy.open(), paths(), &options, &NoProgress).unwrap();
        assert_eq!(report.continued, []);
    }
}
