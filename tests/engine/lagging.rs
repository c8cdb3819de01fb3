//! Stores that do not do all that the protocol needs: backups and restores as ever, and no maintenance that would not be safe.

use std::sync::Arc;

use engine::store::faulty::{FaultPlan, Faulty};
use engine::store::{Store, StoreOptions};
use engine::verbs::prune::{PruneReport, prune};
use engine::words::{Error, NoProgress, Result};

use crate::bench::{Bench, noise};

fn pruned(bench: &Bench, plan: FaultPlan, exclusive: bool) -> Result<PruneReport> {
    let store: Store = bench
        .store()
        .wrapped(&StoreOptions::default(), |inner| Arc::new(Faulty::new(inner, plan)));
    let mut options = bench.prune_options();
    options.exclusive = exclusive;
    prune(&bench.open_through(store).unwrap(), &options, &NoProgress)
}

/// A repository with something to delete.
fn forgotten() -> Bench {
    let bench = Bench::new();
    bench.write("a", noise(1, 500_000));
    let snapshot = bench.backup().snapshot.unwrap();
    bench.forget(snapshot);
    bench
}

#[test]
fn a_store_that_lags_is_not_pruned_exclusive_or_not() {
    for (lists_lag, reads_lag) in [(1, 0), (0, 1)] {
        for exclusive in [false, true] {
            let bench = forgotten();
            let plan = FaultPlan {
                lists_lag,
                reads_lag,
                ..FaultPlan::default()
            };
            let before = bench.store().list("").unwrap();
            let refused = pruned(&bench, plan, exclusive);
            assert!(
                matches!(&refused, Err(Error::Invalid(why)) if why.contains("does not show at once")),
                "{refused:?}"
            );
            assert_eq!(
                bench.store().list("").unwrap(),
                before,
                "nothing is changed, and no trial stays behind"
            );
        }
    }
}

#[test]
fn a_store_that_overwrites_is_pruned_by_who_vouches_to_be_alone() {
    let bench = forgotten();
    let plan = FaultPlan {
        overwrites: true,
        ..FaultPlan::default()
    };
    let refused = pruned(&bench, plan.clone(), false);
    assert!(
        matches!(&refused, Err(Error::Invalid(why)) if why.contains("--exclusive")),
        "{refused:?}"
    );
    assert!(!bench.store().list("p/").unwrap().is_empty());
    pruned(&bench, plan, true).unwrap();
    assert!(bench.store().list("p/").unwrap().is_empty());
    assert!(bench.store().list("probe/").unwrap().is_empty());
}
