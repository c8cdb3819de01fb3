//! Huge files, cut in regions by many threads: the same chunks as one thread makes, and every byte back.
//!
//! With chunks of at most 64 KiB a file is huge from 8 MiB on.

use engine::format::config::Cutting;
use engine::verbs::backup::{BackupOptions, ParentChoice};

use crate::bench::{Bench, noise};

fn bench() -> Bench {
    Bench::with_cutting(Cutting {
        min: 4 << 10,
        average: 16 << 10,
        max: 64 << 10,
        ..Cutting::default()
    })
}

fn anew(bench: &Bench, workers: usize) -> BackupOptions {
    BackupOptions {
        parent: ParentChoice::None,
        workers,
        ..bench.backup_options()
    }
}

#[test]
fn many_threads_cut_a_huge_file_as_one_does() {
    let bench = bench();
    let mut bytes = noise(1, 13 << 20);
    // Stretches without a cut, across the places where regions meet.
    bytes[3 << 20..5 << 20].fill(0);
    bytes[9 << 20..(9 << 20) + 700_000].fill(b'x');
    bench.write("huge", &bytes);
    bench.write("beside/it", noise(2, 500_000));
    let one = bench.backup_with(&anew(&bench, 1));
    for workers in [2, 5] {
        let many = bench.backup_with(&anew(&bench, workers));
        assert_eq!(many.root, one.root, "{workers} threads");
        // A region that begins in zeros may give out a chunk or two in vain, before it agrees with the one before.
        assert!(many.counts.bytes_new < 1 << 20, "{workers} threads: {:?}", many.counts);
    }
    assert_eq!(bench.contents(one.snapshot.unwrap()), bench.expected());
}

#[test]
fn holes_in_a_huge_file_are_neither_read_nor_stored() {
    use std::os::unix::fs::FileExt;
    let bench = bench();
    bench.write("sparse", "");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(bench.path("sparse"))
        .unwrap();
    file.write_all_at(&noise(3, 8 << 20), 64 << 20).unwrap();
    file.write_all_at(&noise(4, 9 << 20), 128 << 20).unwrap();
    file.set_len(200 << 20).unwrap();
    let many = bench.backup_with(&anew(&bench, 4));
    // A region's head is read twice; holes are not.
    assert!(many.counts.bytes_read < 30 << 20, "{:?}", many.counts);
    assert_eq!(many.counts.bytes, 200 << 20);
    let one = bench.backup_with(&anew(&bench, 1));
    assert_eq!(many.root, one.root);
    assert_eq!(bench.contents(one.snapshot.unwrap()), bench.expected());
}
