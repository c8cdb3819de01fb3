//! Marks and interrupted maintenance: what a clock that is behind must not undo, and where a prune can be stopped.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::format::mark::MarkKind;
use engine::verbs::prune::{foresee, prune};
use engine::words::{Error, NoProgress, Progress, Timestamp};

use crate::bench::{Bench, noise};

/// Tags of a machine whose clock was behind once changed nothing, and it was told that they had.
#[test]
fn tags_given_later_count_whatever_the_clocks_say() {
    let bench = Bench::new();
    bench.write("a", "a");
    let snapshot = bench.backup().snapshot.unwrap();
    for (tag, now) in [("first", 1_000_000), ("second", 5), ("third", 0)] {
        let tags = vec![tag.to_owned()];
        bench
            .open()
            .mark(snapshot, MarkKind::Tags { tags: tags.clone() }, Timestamp(now))
            .unwrap();
        assert_eq!(bench.snapshots()[0].summary.tags, tags);
    }
}

#[test]
fn what_would_be_forgotten_is_foreseen_as_unused() {
    let bench = Bench::new();
    bench.write("a", noise(1, 3_000_000));
    let first = bench.backup().snapshot.unwrap();
    bench.write("a", noise(2, 3_000_000));
    bench.backup();
    let repository = bench.open();
    let options = bench.prune_options();
    let before = foresee(&repository, &BTreeSet::new(), &options, &NoProgress).unwrap();
    assert_eq!(before.plan.unused_packs, 0);
    let after = foresee(&repository, &BTreeSet::from([first]), &options, &NoProgress).unwrap();
    assert!(after.plan.unused_bytes >= 2_000_000, "{:?}", after.plan);
    assert_eq!(
        (after.generation, bench.snapshots().len()),
        (None, 2),
        "nothing was done"
    );
    bench.forget(first);
    assert_eq!(bench.prune().plan.unused_bytes, after.plan.unused_bytes);
}

/// A person who presses Ctrl-C in the so-manieth stage.
struct Stopping {
    stages_left: AtomicU32,
}

impl Progress for Stopping {
    fn stage(&self, _name: &str, _items: &'static str) {
        let _ = self
            .stages_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }

    fn interrupted(&self) -> bool {
        self.stages_left.load(Ordering::Relaxed) == 0
    }
}

/// It once went on with what was left of it and called that done.
#[test]
fn a_prune_that_is_stopped_says_so_and_the_next_finishes() {
    for stages in 1..5 {
        let bench = Bench::new();
        bench.write("stays", noise(1, 400_000));
        bench.write("goes", noise(2, 400_000));
        let first = bench.backup().snapshot.unwrap();
        std::fs::remove_file(bench.path("goes")).unwrap();
        let second = bench.backup().snapshot.unwrap();
        let expected = bench.expected();
        bench.forget(first);
        let stopping = Stopping {
            stages_left: AtomicU32::new(stages),
        };
        let error = prune(&bench.open(), &bench.prune_options(), &stopping).unwrap_err();
        assert!(matches!(error, Error::Interrupted), "stage {stages}: {error}");
        assert_eq!(bench.contents(second), expected);
        let report = bench.prune();
        assert!(report.bytes_deleted > 400_000, "stage {stages}: {report:?}");
        assert_eq!(bench.contents(second), expected);
        assert!(bench.findings().is_empty());
    }
}
