//! Large files: shown piece by piece, compared stretch by stretch, and whole or not at all.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::format::open::SessionKind;
use engine::format::snapshot::{RootId, Snapshot};
use engine::format::tree::list::ContentWriter;
use engine::format::tree::{Entry, EntryKind, Extent, Metadata, TreeSink, TreeWriter};
use engine::repository::writer::{Scratch, Writer, WriterOptions};
use engine::source::Pattern;
use engine::target::Overwrite;
use engine::verbs::restore::{RestoreOptions, Selection, restore};
use engine::words::{BlobId, BlobKind, Progress, Result, Timestamp};

use crate::bench::{Bench, clock, machine, noise};
use crate::verb::{to, try_restore};

/// What was told of the progress.
#[derive(Default)]
struct Told {
    expected: Mutex<Vec<(u64, u64)>>,
    items: AtomicU64,
    bytes: AtomicU64,
    largest: AtomicU64,
    notes: Mutex<Vec<String>>,
}

impl Progress for Told {
    fn expect(&self, items: u64, bytes: u64) {
        self.expected.lock().unwrap().push((items, bytes));
    }

    fn done(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.largest.fetch_max(bytes, Ordering::Relaxed);
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }
}

fn told(bench: &Bench, options: &RestoreOptions) -> Told {
    let repository = bench.open();
    let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
    let told = Told::default();
    restore(&repository, &snapshot, options, &told).unwrap();
    told
}

const LARGE: usize = 40_000_000;

#[test]
fn a_large_file_is_shown_piece_by_piece_and_a_path_has_a_total() {
    let bench = Bench::new();
    bench.write("folder/large", noise(1, LARGE));
    bench.write("folder/small", "x");
    bench.write("beside", noise(2, 50_000));
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let part = RestoreOptions {
        selection: Selection::of_path(b"folder"),
        ..to(place.path())
    };
    let check = |told: &Told, what: &str| {
        assert_eq!(told.items.load(Ordering::Relaxed), 3, "{what}");
        assert_eq!(told.bytes.load(Ordering::Relaxed), LARGE as u64 + 1, "{what}");
        assert_eq!(*told.expected.lock().unwrap(), [(3, LARGE as u64 + 1)], "{what}");
    };
    let fresh = told(&bench, &part);
    check(&fresh, "fresh");
    assert!(fresh.largest.load(Ordering::Relaxed) <= 8 << 20);
    // One byte is another: what is right is shown while it is compared.
    let file = fs::File::options()
        .write(true)
        .open(place.path().join("large"))
        .unwrap();
    file.write_all_at(b"!", 20_000_000).unwrap();
    let changed = told(&bench, &part);
    check(&changed, "changed");
    assert!(changed.largest.load(Ordering::Relaxed) < LARGE as u64);
    let options = RestoreOptions {
        overwrite: Overwrite::Always,
        ..part
    };
    check(&told(&bench, &options), "the same");
    let patterns = Selection {
        includes: vec![Pattern::new("small")],
        ..Selection::default()
    };
    let options = RestoreOptions {
        selection: patterns,
        ..to(place.path())
    };
    assert!(told(&bench, &options).expected.lock().unwrap().is_empty());
}

#[test]
fn the_total_of_a_path_is_that_of_all_within_it_in_a_tree_of_many_leaves() {
    let bench = Bench::new();
    let padding = "x".repeat(200);
    for folder in ["a", "b", "b.c", "c"] {
        for number in 0..2000 {
            bench.write(&format!("{folder}/{number}{padding}"), "12345");
        }
    }
    bench.write("b/0/deep", "1");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    for (path, expected) in [
        ("a", (2001, 10_000)),
        ("b", (2003, 10_001)),
        ("c", (2001, 10_000)),
        ("b/0", (2, 1)),
    ] {
        let options = RestoreOptions {
            selection: Selection::of_path(path.as_bytes()),
            dry_run: true,
            ..to(&place.path().join("none"))
        };
        assert_eq!(*told(&bench, &options).expected.lock().unwrap(), [expected], "{path}");
    }
}

#[test]
fn every_file_that_fails_is_told_although_the_report_lists_a_hundred() {
    let bench = Bench::new();
    for number in 0..150 {
        bench.write(&format!("{number}"), "x");
    }
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    for number in 0..150 {
        fs::create_dir_all(place.path().join(format!("{number}/in the way"))).unwrap();
    }
    let told = told(&bench, &to(place.path()));
    assert_eq!(told.notes.lock().unwrap().len(), 150);
    let report = try_restore(&bench, &to(place.path())).unwrap();
    assert_eq!((report.failed, report.failures.len()), (150, 100));
}

struct Trees<'w, 'r>(&'w Writer<'r>, Scratch);

impl TreeSink for Trees<'_, '_> {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        self.0.save(BlobKind::Tree, &blob, &mut self.1)
    }
}

/// A snapshot of one file of so many pieces of 16 bytes, of which a hundred are different; it says that it has `more` bytes.
fn with_pieces(bench: &Bench, pieces: usize, more: u64) {
    let repository = bench.open();
    let options = WriterOptions {
        now: clock(),
        machine: machine(),
        kind: SessionKind::Backup,
        source: [0; 16],
        level: Some(1),
        uploads: 1,
        volume_key: None,
    };
    let writer = Writer::begin(&repository, options).unwrap();
    let mut scratch = Scratch::new();
    let mut save = |number: usize| writer.save(BlobKind::Data, &piece(number), &mut scratch).unwrap();
    let blobs: Vec<_> = (0..100).map(&mut save).collect();
    let mut trees = Trees(&writer, Scratch::new());
    let mut content = ContentWriter::new();
    for number in 0..pieces {
        let extent = Extent::Chunk {
            blob: blobs[number % 100],
            length: 16,
        };
        content.push(extent, &mut trees).unwrap();
    }
    let size = content.size() + more;
    let content = content.finish(&mut trees).unwrap();
    let mut tree = TreeWriter::new([7; 32]);
    let metadata = Metadata {
        mode: 0o644,
        modified: Timestamp(5_000_000_000),
        ..Metadata::default()
    };
    let kind = EntryKind::File {
        size,
        content,
        link: None,
        from_device: false,
    };
    let entry = Entry {
        path: b"file".to_vec(),
        kind,
        metadata,
    };
    tree.push(&entry, &mut trees).unwrap();
    let root = tree.finish(&mut trees).unwrap().id;
    let record = Snapshot {
        root: RootId(root),
        ..Snapshot::default()
    };
    writer.commit(record).unwrap();
}

fn piece(number: usize) -> [u8; 16] {
    *format!("piece {:10}", number % 100).as_bytes().first_chunk().unwrap()
}

fn pieces(count: usize) -> Vec<u8> {
    (0..count).flat_map(piece).collect()
}

/// The list of a file's pieces breaks off, and so far the file that is there was right. It got the snapshot's time, and from then on was taken for the
/// snapshot's although nobody had ever compared the rest of it.
#[test]
fn a_file_whose_list_is_damaged_does_not_look_as_if_it_were_right() {
    let bench = Bench::new();
    with_pieces(&bench, 3000, 16);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    for in_place in [false, true] {
        let mut there = pieces(3000);
        there.extend([b'?'; 16]);
        fs::write(&path, &there).unwrap();
        let options = RestoreOptions {
            in_place,
            ..to(place.path())
        };
        for _ in 0..2 {
            let before = fs::metadata(&path).unwrap().modified().unwrap();
            let report = try_restore(&bench, &options).unwrap();
            assert_eq!((report.failed, report.unchanged, report.files), (1, 0, 0), "{report:?}");
            assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
            assert_eq!(fs::read(&path).unwrap(), there);
        }
    }
}

/// All pieces that differed were gathered until the whole file was compared, half a kilobyte each.
#[test]
fn comparing_a_file_of_very_many_pieces_takes_little_memory() {
    const ALONE: &str = "ARARAT_TEST_ALONE";
    const PIECES: usize = 300_000;
    let name = "large::comparing_a_file_of_very_many_pieces_takes_little_memory";
    if std::env::var_os(ALONE).is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        return super::run_again(command.args(["--exact", name, "--nocapture"]).env(ALONE, "1"));
    }
    let bench = Bench::new();
    with_pieces(&bench, PIECES, 0);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    for in_place in [false, true] {
        fs::write(&path, vec![b'?'; PIECES * 16]).unwrap();
        let before = peak_bytes();
        let options = RestoreOptions {
            in_place,
            ..to(place.path())
        };
        let report = try_restore(&bench, &options).unwrap();
        assert_eq!((report.failed, report.replaced), (0, 1), "{report:?}");
        let more = peak_bytes() - before;
        assert!(more < 64 << 20, "{more} bytes more");
        assert!(fs::read(&path).unwrap() == pieces(PIECES));
    }
}

/// The most memory that this process has had.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
