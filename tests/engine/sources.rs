//! What is backed up besides plain folders: streams, the output of commands, sparse images; and what is not: the repository itself.

use std::ffi::OsStr;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use engine::source::StreamSource;
use engine::store::Location;
use engine::verbs::backup::{Input, backup};
use engine::words::{NoProgress, Result};

use crate::bench::{Bench, noise};

fn stream(bench: &Bench, name: &str, source: StreamSource) -> Result<engine::verbs::backup::BackupReport> {
    let input = Input::Stream {
        name: name.as_bytes().to_vec(),
        source,
    };
    backup(&bench.open(), input, &bench.backup_options(), &NoProgress)
}

fn shell(script: &str) -> StreamSource {
    StreamSource::of_command(OsStr::new("sh"), &["-c".into(), script.into()]).unwrap()
}

#[test]
fn a_stream_becomes_a_file_below_its_folders() {
    let bench = Bench::new();
    for length in [0, 10, 5_000_000, 30_000_000] {
        let content = noise(length as u64, length);
        let source = StreamSource::of_reader(Cursor::new(content.clone()));
        let report = stream(&bench, "dumps/today/all.sql", source).unwrap();
        let stored = bench.contents(report.snapshot.unwrap());
        let paths: Vec<&[u8]> = stored.keys().map(Vec::as_slice).collect();
        assert_eq!(paths, [b"dumps".as_slice(), b"dumps/today", b"dumps/today/all.sql"]);
        assert!(
            stored[b"dumps/today/all.sql".as_slice()].as_ref() == Some(&content),
            "{length}"
        );
        assert_eq!(report.counts.bytes, length as u64);
    }
    assert_eq!(bench.findings(), []);
}

#[test]
fn a_command_that_fails_leaves_no_snapshot() {
    let bench = Bench::new();
    let error = stream(&bench, "dump", shell("echo half; exit 3"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert_eq!(bench.snapshots().len(), 0);
    let report = stream(&bench, "dump", shell("echo whole")).unwrap();
    let stored = bench.contents(report.snapshot.unwrap());
    assert_eq!(stored[b"dump".as_slice()].as_deref(), Some(b"whole\n".as_slice()));
}

#[test]
fn a_stream_whose_name_no_snapshot_can_hold_is_refused_before_it_is_read() {
    struct Unread;
    impl std::io::Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("it was read")
        }
    }
    let bench = Bench::new();
    for name in ["", "a//b", "../a", "a/"] {
        let error = stream(&bench, name, StreamSource::of_reader(Unread)).unwrap_err();
        assert!(matches!(error, engine::words::Error::Invalid(_)), "{name}: {error}");
    }
    assert_eq!(bench.snapshots().len(), 0);
}

/// A guest writes the block before an extent that was there: everything behind it stays where it was in the file, so its blocks stay too.
#[test]
fn blocks_of_a_sparse_image_are_aligned_to_the_image_and_not_to_its_extents() {
    let bench = Bench::new();
    let file = std::fs::File::create(bench.path("disk.img")).unwrap();
    let start = (1 << 20) + 8192;
    file.write_all_at(&noise(1, 6 << 20), start).unwrap();
    file.set_len(64 << 20).unwrap();
    let first = bench.backup();
    assert!(
        first.counts.bytes_read < 7 << 20,
        "the file system keeps no holes: {:?}",
        first.counts
    );
    file.write_all_at(&noise(2, 4096), start - 4096).unwrap();
    file.sync_all().unwrap();
    let second = bench.backup();
    assert_eq!(bench.contents(second.snapshot.unwrap()), bench.expected());
    assert!(second.counts.bytes_new < 300 << 10, "{:?}", second.counts);
}

#[test]
fn the_repository_and_its_cache_are_not_backed_up_into_themselves() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join(".local/repository");
    let mut bench = Bench::at(Location::local(place.clone()).unwrap());
    bench.folder = home;
    bench.write("file", noise(1, 100_000));
    std::os::unix::fs::symlink(".local", bench.path("way")).unwrap();
    let caches = tempfile::tempdir_in(bench.folder.path()).unwrap();
    bench.cache = caches;
    for round in 0..3 {
        let report = bench.backup();
        let stored = bench.contents(report.snapshot.unwrap());
        assert!(stored.contains_key(b".local".as_slice()) && stored.contains_key(b"file".as_slice()));
        let inside = stored.keys().find(|path| path.starts_with(b".local/"));
        assert_eq!(inside, None, "round {round}");
        assert!((1..=2).contains(&report.excluded), "round {round}: {}", report.excluded);
        assert_eq!(report.counts.files, 1, "round {round}");
    }
    // Who names it means it.
    let named = Input::Paths(vec![PathBuf::from(".local/repository/config")]);
    let report = backup(&bench.open(), named, &bench.backup_options(), &NoProgress).unwrap();
    assert_eq!((report.counts.files, report.excluded), (1, 0));
    let named = Input::Paths(vec![place]);
    let report = backup(&bench.open(), named, &bench.backup_options(), &NoProgress).unwrap();
    assert!(report.counts.files > 3 && report.excluded == 0, "{:?}", report.counts);
}
