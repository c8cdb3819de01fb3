//! What `stats` says, to the byte, of a repository that is small enough to be counted by hand; and that a repack changes none of it.

use engine::format::envelope::Access;
use engine::format::keys::Role;
use engine::repository::slots::Holder;
use engine::repository::{Credential, Repository, SnapshotFilter};
use engine::verbs::stats::{FileStats, Stats, UsedStats, stats};
use engine::words::{BlobKind, Error, NoProgress, PackName};

use crate::bench::{Bench, clock, noise};

/// One chunk each: larger than what shares a slab, smaller than what is cut.
const LENGTH: usize = 300_000;
/// What sealing and framing add to a chunk that does not compress.
const OVERHEAD: u64 = 12 + 5 + 16;

fn of(repository: &Repository) -> Stats {
    stats(repository, &SnapshotFilter::default(), &NoProgress).unwrap()
}

/// Everything that is in the packs, by their own tables.
fn stored(bench: &Bench) -> UsedStats {
    let repository = bench.open();
    let mut sum = UsedStats::default();
    for object in bench.store().list("p/").unwrap() {
        let pack = PackName::of_object(&object.name).unwrap();
        for entry in &repository.table(pack, object.size).unwrap().entries {
            sum.blobs += 1;
            sum.stored_bytes += u64::from(entry.length);
            match entry.kind {
                BlobKind::Data => sum.data_bytes += u64::from(entry.plaintext),
                BlobKind::Tree => sum.tree_bytes += u64::from(entry.plaintext),
            }
        }
    }
    sum
}

fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn every_number_is_right_before_and_after_a_repack() {
    let bench = Bench::new();
    let repository = bench.open();
    let nothing = of(&repository);
    assert_eq!((nothing.snapshots, nothing.packs, nothing.stored_bytes), (0, 0, 0));
    assert_eq!(nothing.files, Some(FileStats::default()));
    assert_eq!(
        (nothing.deduplication(), nothing.compression(), nothing.reduction()),
        (None, None, None)
    );

    let twice = noise(1, LENGTH);
    bench.write("a", &twice);
    bench.write("b", &twice);
    bench.write("c", "abc".repeat(LENGTH / 3));
    bench.backup();
    let one = of(&bench.open());
    let used = one.used.unwrap();
    assert_eq!((one.snapshots, one.files.unwrap().files), (1, 3));
    assert_eq!(one.files.unwrap().logical_bytes, 3 * LENGTH as u64);
    assert_eq!(used.data_bytes, 2 * LENGTH as u64);
    assert_eq!(used, stored(&bench));
    close(one.deduplication(), 1.5);
    close(
        one.compression(),
        (used.data_bytes + used.tree_bytes) as f64 / used.stored_bytes as f64,
    );
    close(one.reduction(), 3.0 * LENGTH as f64 / used.stored_bytes as f64);
    assert_eq!(one.alone[0].1, Some(used.stored_bytes));
    let packs = bench.store().list("p/").unwrap();
    assert_eq!(one.packs, packs.len() as u64);
    assert_eq!(one.stored_bytes, packs.iter().map(|pack| pack.size).sum::<u64>());

    bench.write("c", noise(2, LENGTH));
    bench.backup();
    let two = of(&bench.open());
    let used = two.used.unwrap();
    assert_eq!(two.files.unwrap().logical_bytes, 6 * LENGTH as u64);
    assert_eq!(used.data_bytes, 3 * LENGTH as u64);
    assert_eq!(used, stored(&bench));
    close(two.deduplication(), 2.0);
    let alone: u64 = two.alone.iter().map(|(_, bytes)| bytes.unwrap()).sum();
    // All that both need is what was there twice.
    assert_eq!(used.stored_bytes - alone, LENGTH as u64 + OVERHEAD);

    // Of the older snapshot's pack, one chunk is needed still: it is moved, and everything that is said of it stays the same.
    bench.forget(two.alone[0].0.id);
    let before = of(&bench.open());
    let mut options = bench.prune_options();
    options.unused_max = 0.0;
    let report = engine::verbs::prune::prune(&bench.open(), &options, &NoProgress).unwrap();
    assert_eq!(report.packs_repacked, 1, "{report:?}");
    let after = of(&bench.open());
    assert_eq!(before.used, after.used);
    assert_eq!((before.files, before.snapshots), (after.files, 1));
    assert_eq!(after.used.unwrap().data_bytes, 2 * LENGTH as u64);
    assert_eq!(after.used.unwrap(), stored(&bench));
    assert_eq!(after.alone[0].1, Some(after.used.unwrap().stored_bytes));
    close(after.deduplication(), 1.5);
    assert_eq!(before.compression(), after.compression());
    assert_eq!(before.reduction(), after.reduction());
    // The chunk that is gone was small: what is stored may be padded to the same.
    assert!(after.stored_bytes <= before.stored_bytes && after.packs == before.packs);
}

#[test]
fn what_a_key_does_not_show_is_not_called_zero() {
    let bench = Bench::new();
    bench.write("a", noise(1, LENGTH));
    bench.backup();
    let all = of(&bench.open());
    let as_role = |role| {
        let (_, key) = bench
            .open()
            .add_slot(Holder::NewKey, role, "role".into(), clock())
            .unwrap();
        let key = Credential::Key(key.unwrap());
        let repository = Repository::open(bench.store(), &key, None, Access::Read).unwrap();
        stats(&repository, &SnapshotFilter::default(), &NoProgress)
    };
    let maintainer = as_role(Role::Maintainer).unwrap();
    assert_eq!((maintainer.files, maintainer.used), (None, all.used));
    assert_eq!((maintainer.deduplication(), maintainer.reduction()), (None, None));
    assert_eq!(maintainer.compression(), all.compression());
    assert_eq!(maintainer.alone[0].1, all.alone[0].1);
    let reader = as_role(Role::Reader).unwrap();
    assert_eq!((reader.files, reader.used), (all.files, None));
    assert_eq!((reader.packs, reader.stored_bytes), (all.packs, all.stored_bytes));
    assert_eq!(reader.alone[0].1, None);
    assert!(matches!(as_role(Role::Writer), Err(Error::RoleTooSmall { .. })));
}
