//! What a backup takes from earlier ones: as much as it can, whatever state they are in.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use engine::format::tree::{Content, EntryKind, TreeReader};
use engine::repository::SnapshotFilter;
use engine::verbs::backup::{BackupReport, Input, ParentChoice, backup};
use engine::words::{BlobId, BlobKind, NoProgress, Progress, SessionId};

use crate::bench::{Bench, noise};
use crate::life::contents;

/// A sparse file of so many pieces that its entry does not hold them.
fn write_fragmented(bench: &Bench, name: &str) {
    let file = std::fs::File::create(bench.path(name)).unwrap();
    for piece in 0..700 {
        file.write_all_at(&noise(piece, 4096), piece << 20).unwrap();
    }
}

fn list_of(bench: &Bench, snapshot: SessionId, path: &str) -> BlobId {
    let repository = bench.open();
    let found = repository
        .find_snapshot(&snapshot.to_string(), &SnapshotFilter::default())
        .unwrap();
    for entry in TreeReader::new(&repository, found.record.unwrap().root.0) {
        let entry = entry.unwrap();
        if entry.path == path.as_bytes()
            && let EntryKind::File {
                content: Content::List { blob },
                ..
            } = entry.kind
        {
            return blob;
        }
    }
    panic!("{path} has no list of chunks")
}

#[test]
fn a_damaged_list_of_chunks_costs_a_read_of_its_file_and_is_stored_anew() {
    let bench = Bench::new();
    write_fragmented(&bench, "disk.img");
    bench.write("other", noise(5000, 100_000));
    let first = bench.backup();
    let list = list_of(&bench, first.snapshot.unwrap(), "disk.img");
    let place = bench.open().find(BlobKind::Tree, &list).unwrap();
    let store = bench.store();
    let name = place.pack.object();
    let mut object = store.get(&name).unwrap().to_vec();
    object[place.offset as usize + place.length as usize / 2] ^= 1;
    store.delete(std::slice::from_ref(&name)).unwrap();
    store.put(&name, object.into()).unwrap();

    let repository = bench.open_through(bench.store()).unwrap();
    let paths = Input::Paths(vec![PathBuf::from(".")]);
    let second = backup(&repository, paths, &bench.backup_options(), &NoProgress).unwrap();
    assert_eq!(second.counts.errors, 0, "{:?}", second.errors);
    assert_eq!((second.counts.files_changed, second.counts.files_unmodified), (1, 1));
    assert!(second.written.blobs > 0, "the list was not stored anew");
    assert_eq!(second.counts.bytes_read, 700 * 4096);
}

#[test]
fn a_parent_whose_tree_is_gone_is_no_parent() {
    let bench = Bench::new();
    bench.write("file", noise(1, 100_000));
    let first = bench.backup();
    let root = first.root.unwrap();
    let place = bench.open().find(BlobKind::Tree, &root).unwrap();
    let store = bench.store();
    store.delete(&[place.pack.object()]).unwrap();
    let repository = bench.open_through(bench.store()).unwrap();
    let paths = Input::Paths(vec![PathBuf::from(".")]);
    let second = backup(&repository, paths, &bench.backup_options(), &NoProgress).unwrap();
    assert_eq!(second.counts.files_new, 1);
}

/// Stops as soon as so many bytes have been read.
struct StopAfter(u64, std::sync::atomic::AtomicU64);

impl Progress for StopAfter {
    fn done(&self, _items: u64, bytes: u64) {
        self.1.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
    }

    fn interrupted(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::SeqCst) >= self.0
    }
}

fn interrupted_after(bench: &Bench, bytes: u64) -> BackupReport {
    let progress = StopAfter(bytes, std::sync::atomic::AtomicU64::new(0));
    let paths = Input::Paths(vec![PathBuf::from(".")]);
    let report = backup(&bench.open(), paths, &bench.backup_options(), &progress).unwrap();
    assert!(report.interrupted);
    report
}

#[test]
fn after_an_interrupted_backup_the_complete_one_before_it_still_is_the_parent() {
    let bench = Bench::new();
    for number in 0..4000 {
        bench.write(&format!("files/{number:04}"), "content");
    }
    let complete = bench.backup();
    bench.write("files/0000", "otherwise");
    // The walk is stopped after the first things that it found.
    let interrupted = interrupted_after(&bench, 0);
    assert!(interrupted.snapshot.is_some() && interrupted.counts.files < 4000);
    let third = bench.backup();
    assert_eq!(third.parent, complete.snapshot);
    assert!(third.counts.files_unmodified >= 3999, "{:?}", third.counts);
    assert!(third.counts.bytes_read < 10, "{:?}", third.counts);
    assert_eq!(bench.contents(third.snapshot.unwrap()), bench.expected());
}

#[test]
fn a_backup_stops_in_the_middle_of_a_file_and_the_next_one_has_it_whole() {
    let bench = Bench::new();
    bench.write("a", noise(1, 1000));
    bench.write("large", noise(2, 60 << 20));
    let first = interrupted_after(&bench, 30 << 20);
    assert!(first.counts.bytes_read < 50 << 20, "{:?}", first.counts);
    assert!(
        !bench
            .contents(first.snapshot.unwrap())
            .contains_key(b"large".as_slice())
    );
    let second = bench.backup();
    assert_eq!(bench.contents(second.snapshot.unwrap()), bench.expected());
    // What was stored of it is used.
    assert!(second.counts.bytes_new < 50 << 20, "{:?}", second.counts);
    assert_eq!(bench.findings(), []);
}

#[test]
fn a_file_whose_time_is_in_the_future_is_read_once() {
    let bench = Bench::new();
    bench.write("file", noise(1, 10_000));
    let future = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let file = std::fs::File::options().write(true).open(bench.path("file")).unwrap();
    file.set_modified(future).unwrap();
    bench.backup();
    assert_eq!(bench.backup().counts.bytes_read, 0);
}

#[test]
fn the_order_of_the_paths_and_their_repetition_make_no_other_source() {
    let bench = Bench::new();
    bench.write("a/file", noise(1, 10_000));
    bench.write("b/file", noise(2, 10_000));
    let back_up = |paths: &[&str]| {
        let input = Input::Paths(paths.iter().map(PathBuf::from).collect());
        backup(&bench.open(), input, &bench.backup_options(), &NoProgress).unwrap()
    };
    let first = back_up(&["a", "b"]);
    let second = back_up(&["b", "a", "b"]);
    assert_eq!(second.parent, first.snapshot);
    assert_eq!(second.counts.bytes_read, 0);
    // They are shown as they were given.
    let newest = bench.snapshots().pop().unwrap();
    let shown: Vec<bool> = newest
        .record
        .unwrap()
        .paths
        .iter()
        .map(|path| path.ends_with(b"/a"))
        .collect();
    assert_eq!(shown, [false, true, false]);
    assert_eq!(back_up(&["a"]).parent, None);
}

#[test]
fn the_parent_is_the_one_that_was_chosen() {
    let bench = Bench::new();
    bench.write("file", noise(1, 10_000));
    let first = bench.backup();
    let mut options = bench.backup_options();
    options.parent = ParentChoice::None;
    let second = bench.backup_with(&options);
    assert_eq!((second.parent, second.counts.bytes_read), (None, 10_000));
    assert_eq!(second.written.blobs, 0);
    options.parent = ParentChoice::This(first.snapshot.unwrap().to_string());
    let third = bench.backup_with(&options);
    assert_eq!((third.parent, third.counts.bytes_read), (first.snapshot, 0));
    options.parent = ParentChoice::This("ffffffff".into());
    let paths = Input::Paths(vec![PathBuf::from(".")]);
    let error = backup(&bench.open(), paths, &options, &NoProgress).unwrap_err();
    assert!(error.to_string().contains("no snapshot `ffffffff`"), "{error}");
}

#[test]
fn change_times_and_inode_numbers_count_unless_they_are_to_be_ignored() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.write("file", noise(1, 200_000));
    bench.backup();
    // Another mode is another change time: it is read, and what is stored is the same.
    std::fs::set_permissions(bench.path("file"), PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(bench.backup().counts.bytes_read, 200_000);
    std::fs::set_permissions(bench.path("file"), PermissionsExt::from_mode(0o600)).unwrap();
    let mut options = bench.backup_options();
    options.ignore_ctime = true;
    let report = bench.backup_with(&options);
    assert_eq!(report.counts.bytes_read, 0);
    let tree = bench.open();
    let record = bench.snapshots().pop().unwrap().record.unwrap();
    let entry = TreeReader::new(&tree, record.root.0).last().unwrap().unwrap();
    assert_eq!(
        (entry.path.as_slice(), entry.metadata.mode),
        (b"file".as_slice(), 0o600)
    );

    // A copy in its place, with the same size and modification time.
    let modified = bench.path("file").metadata().unwrap().modified().unwrap();
    std::fs::copy(bench.path("file"), bench.path("new")).unwrap();
    let copy = std::fs::File::options().write(true).open(bench.path("new")).unwrap();
    copy.set_modified(modified).unwrap();
    std::fs::rename(bench.path("new"), bench.path("file")).unwrap();
    assert_eq!(bench.backup_with(&options).counts.bytes_read, 200_000);
    std::fs::copy(bench.path("file"), bench.path("new")).unwrap();
    let copy = std::fs::File::options().write(true).open(bench.path("new")).unwrap();
    copy.set_modified(modified).unwrap();
    std::fs::rename(bench.path("new"), bench.path("file")).unwrap();
    options.ignore_inode = true;
    assert_eq!(bench.backup_with(&options).counts.bytes_read, 0);
}

#[test]
fn nothing_is_written_when_nothing_has_changed_or_for_a_trial() {
    let bench = Bench::new();
    bench.write("folder/file", noise(1, 10_000));
    bench.write("empty", "");
    let mut options = bench.backup_options();
    options.dry_run = true;
    let objects = || bench.store().list("").unwrap().len();
    let before = objects();
    let trial = bench.backup_with(&options);
    assert_eq!((trial.snapshot, trial.counts.bytes_read, objects()), (None, 0, before));
    assert_eq!(
        (trial.counts.files, trial.counts.folders, trial.counts.bytes),
        (2, 2, 10_000)
    );

    options = bench.backup_options();
    options.skip_if_unchanged = true;
    let first = bench.backup_with(&options);
    assert!(first.snapshot.is_some() && !first.unchanged);
    let second = bench.backup_with(&options);
    assert!(second.snapshot.is_none() && second.unchanged);
    bench.write("empty", "no more");
    let third = bench.backup_with(&options);
    assert!(third.snapshot.is_some() && !third.unchanged);
    assert_eq!(bench.snapshots().len(), 2);
    assert!(contents(&bench.open(), third.snapshot.unwrap()).unwrap() == bench.expected());
}
