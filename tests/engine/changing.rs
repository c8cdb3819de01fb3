//! Files that are not what they were when their folder was listed: they are stored as they are, or said, and nothing waits for ever.

use std::path::PathBuf;
use std::sync::Mutex;

use engine::verbs::backup::{BackupReport, Input, backup};
use engine::words::Progress;

use crate::bench::{Bench, noise};

type Deed = Box<dyn FnOnce() + Send>;

/// A source that does not exist, and is last in path order: when it is said to be missing, all others have been listed.
const LAST: &str = "zzz-missing";

/// Does something when everything has been listed, and the small files are still to be read.
struct WhenListed(Mutex<Option<Deed>>);

impl Progress for WhenListed {
    fn note(&self, text: &str) {
        let deed = self.0.lock().unwrap().take_if(|_| text.contains(LAST));
        if let Some(deed) = deed {
            deed();
        }
    }
}

fn backup_while(bench: &Bench, deed: impl FnOnce() + Send + 'static) -> BackupReport {
    let paths = vec![PathBuf::from("."), PathBuf::from(LAST)];
    let progress = WhenListed(Mutex::new(Some(Box::new(deed))));
    let mut report = backup(&bench.open(), Input::Paths(paths), &bench.backup_options(), &progress).unwrap();
    let before = report.errors.len();
    report.errors.retain(|(path, _)| path != LAST.as_bytes());
    assert_eq!(report.errors.len() + 1, before);
    report.counts.errors -= 1;
    report
}

#[test]
fn files_that_are_filled_after_they_were_listed_make_as_many_slabs_as_they_need() {
    let bench = Bench::new();
    for number in 0..40 {
        bench.write(&format!("files/{number:02}"), "");
    }
    let folder = bench.path("files");
    let report = backup_while(&bench, move || {
        for number in 0..40 {
            std::fs::write(folder.join(format!("{number:02}")), noise(number, 700_000)).unwrap();
        }
    });
    assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
    assert_eq!(bench.findings(), []);
    assert_eq!(report.counts.bytes, 40 * 700_000);
}

#[test]
fn files_that_show_no_size_are_read_to_their_end() {
    let bench = Bench::new();
    let options = bench.backup_options();
    // The kernel's symbols are several MiB in a file whose size is 0.
    let paths = vec![PathBuf::from("/proc/kallsyms"), PathBuf::from("/proc/version")];
    let report = backup(&bench.open(), Input::Paths(paths), &options, &engine::words::NoProgress).unwrap();
    let contents = bench.contents(report.snapshot.unwrap());
    for name in ["kallsyms", "version"] {
        let stored = contents[format!("proc/{name}").as_bytes()].as_ref().unwrap();
        assert!(
            *stored == std::fs::read(format!("/proc/{name}")).unwrap(),
            "{name}: {} bytes",
            stored.len()
        );
    }
}

#[test]
fn a_name_is_read_when_the_first_name_of_its_file_is_gone() {
    let bench = Bench::new();
    bench.write("a", noise(1, 3000));
    std::fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    std::fs::hard_link(bench.path("a"), bench.path("c")).unwrap();
    let gone = bench.path("a");
    let report = backup_while(&bench, move || std::fs::remove_file(gone).unwrap());
    let stored = bench.contents(report.snapshot.unwrap());
    assert_eq!(stored, bench.expected());
    assert_eq!(stored.len(), 3);
    assert_eq!(bench.findings(), []);
}

#[test]
fn names_of_one_file_are_counted_as_what_the_parent_had_in_their_places() {
    let bench = Bench::new();
    bench.write("a", noise(1, 3000));
    bench.write("large", noise(2, 3_000_000));
    for (from, to) in [("a", "b"), ("large", "larger")] {
        std::fs::hard_link(bench.path(from), bench.path(to)).unwrap();
    }
    let counts = |report: &BackupReport| {
        let counts = &report.counts;
        (counts.files_new, counts.files_changed, counts.files_unmodified)
    };
    assert_eq!(counts(&bench.backup()), (4, 0, 0));
    assert_eq!(counts(&bench.backup()), (0, 0, 4));
    let mut options = bench.backup_options();
    options.ignore_ctime = true;
    std::fs::set_permissions(bench.path("b"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(counts(&bench.backup_with(&options)), (0, 0, 4));
    // One more name is a change of the file itself (its ctime), whose content is not read for it.
    std::fs::hard_link(bench.path("large"), bench.path("largest")).unwrap();
    let report = bench.backup();
    assert_eq!(report.counts.files_new, 1);
    assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
}

#[test]
fn every_name_of_a_file_that_is_written_to_meanwhile_has_what_is_there_now() {
    let bench = Bench::new();
    bench.write("a", noise(1, 1000));
    std::fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    std::fs::hard_link(bench.path("a"), bench.path("c")).unwrap();
    let written = bench.path("c");
    let report = backup_while(&bench, move || std::fs::write(written, noise(2, 2000)).unwrap());
    assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
}

#[test]
fn files_that_vanish_before_they_are_read_are_listed_and_counted() {
    let bench = Bench::new();
    for number in 0..150 {
        bench.write(&format!("files/{number:03}"), "content");
    }
    let gone = bench.path("files");
    let report = backup_while(&bench, move || {
        for number in 0..120 {
            std::fs::remove_file(gone.join(format!("{number:03}"))).unwrap();
        }
    });
    assert_eq!(report.counts.errors, 120);
    assert_eq!(report.counts.files, 30);
    // The first hundred by name, and how many there are in all.
    assert!(report.errors.len() >= 99, "{}", report.errors.len());
    let (path, why) = &report.errors[0];
    assert_eq!(path, b"files/000");
    assert_eq!(why, "files/000 vanished before it was read");
    let record = bench.snapshots().pop().unwrap().record.unwrap();
    assert_eq!((record.errors.len(), record.counts.errors), (100, 121));
}

/// Appends to a file when its first bytes have been read.
struct WhenRead(Mutex<Option<Deed>>);

impl Progress for WhenRead {
    fn done(&self, _items: u64, bytes: u64) {
        let deed = self.0.lock().unwrap().take_if(|_| bytes > 0);
        if let Some(deed) = deed {
            deed();
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_listed_counted_and_read_again_next_time() {
    let bench = Bench::new();
    bench.write("log", noise(1, 6 << 20));
    let path = bench.path("log");
    let progress = WhenRead(Mutex::new(Some(Box::new(move || {
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, b"more").unwrap();
    }))));
    let paths = || Input::Paths(vec![PathBuf::from(".")]);
    let report = backup(&bench.open(), paths(), &bench.backup_options(), &progress).unwrap();
    let said = "log changed while it was read".to_owned();
    assert_eq!(report.errors, [(b"log".to_vec(), said.clone())]);
    assert_eq!(report.counts.errors, 1);
    let record = bench.snapshots().pop().unwrap().record.unwrap();
    assert_eq!(record.errors, [(b"log".to_vec(), said)]);
    let again = bench.backup();
    assert_eq!((again.counts.errors, again.counts.files_changed), (0, 1));
    assert_eq!(bench.contents(again.snapshot.unwrap()), bench.expected());
}
