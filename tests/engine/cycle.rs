//! Backup, unchanged backup, change, forget, prune: everything that is kept can be read byte for byte.

use engine::format::envelope::Access;
use engine::repository::Repository;
use engine::store::Location;
use engine::verbs::backup::{Input, backup};
use engine::words::NoProgress;

use crate::bench::{Bench, noise};
use crate::hooked::{Hooks, hooked};

fn fill(bench: &Bench) {
    for number in 0..300u64 {
        bench.write(
            &format!("small/{}/{number}", number % 7),
            noise(number, (number as usize * 37) % 5000),
        );
    }
    bench.write("empty", "");
    bench.write("medium", noise(1000, 300_000));
    bench.write("large", noise(1001, 9_000_000));
    bench.write("16384", noise(1002, 8192 * 40));
    bench.write("odd\nname", "x");
    std::os::unix::fs::symlink("medium", bench.path("link")).unwrap();
    std::fs::hard_link(bench.path("medium"), bench.path("other name of medium")).unwrap();
}

#[test]
fn what_is_backed_up_is_what_was_there() {
    let bench = Bench::new();
    fill(&bench);
    let report = bench.backup();
    assert_eq!(report.counts.errors, 0, "{:?}", report.errors);
    assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
}

#[test]
fn an_unchanged_backup_reads_nothing_and_stores_next_to_nothing() {
    let bench = Bench::new();
    fill(&bench);
    let first = bench.backup();
    let second = bench.backup();
    assert_eq!(second.parent, first.snapshot);
    assert_eq!(second.counts.bytes_read, 0);
    assert_eq!(second.counts.files_unmodified, second.counts.files);
    assert_eq!(second.root, first.root);
    assert_eq!(second.written.blobs, 0);
    assert_eq!(bench.contents(second.snapshot.unwrap()), bench.expected());
}

#[test]
fn forgotten_snapshots_are_pruned_and_the_rest_stays_whole() {
    let bench = Bench::new();
    fill(&bench);
    let first = bench.backup();
    let before = bench.expected();
    bench.write("large", noise(7, 5_000_000));
    bench.write("small/3/3", "changed");
    std::fs::remove_file(bench.path("small/2/2")).unwrap();
    let second = bench.backup();
    let after = bench.expected();
    assert_eq!(bench.contents(first.snapshot.unwrap()), before);
    assert_eq!(bench.contents(second.snapshot.unwrap()), after);

    // Nothing is forgotten: nothing goes.
    let report = bench.prune();
    assert_eq!((report.packs_deleted, report.packs_waiting), (0, 0), "{report:?}");
    assert_eq!(bench.contents(first.snapshot.unwrap()), before);

    bench.forget(first.snapshot.unwrap());
    let report = bench.prune();
    assert!(report.bytes_deleted > 8_000_000, "{report:?}");
    assert_eq!(bench.snapshots().len(), 1);
    assert_eq!(bench.contents(second.snapshot.unwrap()), after);

    // A second prune finds nothing to do, and a backup after it goes on from what is there.
    let report = bench.prune();
    assert_eq!(
        (report.packs_deleted, report.packs_repacked, report.packs_waiting),
        (0, 0, 0),
        "{report:?}"
    );
    let third = bench.backup();
    assert_eq!(third.parent, second.snapshot);
    assert_eq!(third.counts.bytes_read, 0);
    assert_eq!(bench.contents(third.snapshot.unwrap()), after);

    bench.forget(second.snapshot.unwrap());
    bench.forget(third.snapshot.unwrap());
    bench.prune();
    let left = bench.store().list("p/").unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert!(bench.store().list("s/").unwrap().is_empty());
    assert!(bench.store().list("f/").unwrap().is_empty());
}

#[test]
fn a_small_backup_into_an_empty_repository_takes_at_most_six_requests() {
    let bench = Bench::new();
    bench.write("a", "a");
    bench.write("b/c", "c");
    // The first to open the repository on this machine reads its config; it is remembered.
    drop(bench.open());
    let repository = bench.open();
    let input = Input::Paths(vec![".".into()]);
    backup(&repository, input, &bench.backup_options(), &NoProgress).unwrap();
    let requests = repository.store().requests();
    assert!(requests.total() <= 6, "{requests:?}");
}

#[test]
fn an_unchanged_backup_reads_trees_in_few_requests_where_nothing_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::at(Location::parse(folder.path().join("repository").to_str().unwrap()).unwrap());
    // Names that do not compress: some thirty blobs of trees.
    for number in 0..15_000u32 {
        bench.write(&format!("{}/{}", number / 100, blake3::hash(&number.to_le_bytes())), "");
    }
    bench.backup();
    let repository = Repository::open(bench.store(), &bench.key, None, Access::Write).unwrap();
    let input = Input::Paths(vec![".".into()]);
    let report = backup(&repository, input, &bench.backup_options(), &NoProgress).unwrap();
    assert_eq!((report.counts.bytes_read, report.counts.files_unmodified), (0, 15_000));
    let requests = repository.store().requests();
    assert!(requests.total() <= 12, "{requests:?}");
}

#[test]
fn trees_that_were_hurt_on_their_way_are_read_again() {
    let bench = Bench::new();
    for number in 0..2000u32 {
        bench.write(&blake3::hash(&number.to_le_bytes()).to_string(), "");
    }
    bench.backup();
    let hooks = Hooks {
        rotten_once: Some("p/".into()),
        ..Hooks::default()
    };
    let repository = Repository::open(hooked(&bench.store(), hooks), &bench.key, None, Access::Write).unwrap();
    let input = Input::Paths(vec![".".into()]);
    let report = backup(&repository, input, &bench.backup_options(), &NoProgress).unwrap();
    assert_eq!(report.counts.files_unmodified, 2000, "{report:?}");
}
