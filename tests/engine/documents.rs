//! Documents in memory: stored like small files, the same ones by reference, and read back one by one.

use engine::repository::SnapshotFilter;
use engine::verbs::backup::{BackupReport, Input, MemoryFile, backup};
use engine::verbs::read::read;
use engine::words::{Error, NoProgress, Result};

use crate::bench::{Bench, noise};

fn documents(count: u64, changed: Option<u64>) -> Vec<MemoryFile> {
    let mut files: Vec<MemoryFile> = (0..count)
        .map(|number| {
            let seed = if Some(number) == changed {
                number + 1_000_000
            } else {
                number
            };
            MemoryFile {
                path: format!("objects/secrets/namespaces/n{}/s{number:05}", number % 7).into_bytes(),
                content: noise(seed, 1000 + (number % 50) as usize),
            }
        })
        .collect();
    files.push(MemoryFile {
        path: b"record".to_vec(),
        content: noise(7, 300 << 10),
    });
    files.push(MemoryFile {
        path: b"results".to_vec(),
        content: Vec::new(),
    });
    files.sort_by(|left, right| {
        left.path
            .split(|byte| *byte == b'/')
            .cmp(right.path.split(|byte| *byte == b'/'))
    });
    files
}

fn store(bench: &Bench, files: Vec<Result<MemoryFile>>) -> Result<BackupReport> {
    let input = Input::Files {
        name: b"documents".to_vec(),
        files: Box::new(files.into_iter()),
    };
    backup(&bench.open(), input, &bench.backup_options(), &NoProgress)
}

fn stored(bench: &Bench, files: &[MemoryFile]) -> BackupReport {
    store(bench, files.iter().cloned().map(Ok).collect()).unwrap()
}

fn contents(bench: &Bench, report: &BackupReport, path: &str) -> Vec<MemoryFile> {
    let repository = bench.open();
    let id = report.snapshot.unwrap().to_string();
    let snapshot = repository.find_snapshot(&id, &SnapshotFilter::default()).unwrap();
    let mut files = Vec::new();
    read(&repository, &snapshot, path.as_bytes(), &mut |path, content| {
        files.push(MemoryFile {
            path: path.to_vec(),
            content: content.to_vec(),
        });
        Ok(())
    })
    .unwrap();
    files
}

#[test]
fn documents_come_back_whole_or_by_their_folder() {
    let bench = Bench::new();
    let files = documents(3000, None);
    let report = stored(&bench, &files);
    assert_eq!(contents(&bench, &report, ""), files);
    let one = contents(&bench, &report, "objects/secrets/namespaces/n3");
    assert_eq!(one.len(), 3000 / 7 + 1);
    assert_eq!(contents(&bench, &report, "record").len(), 1);
}

#[test]
fn the_same_documents_add_next_to_nothing_and_one_that_changed_little_more() {
    let bench = Bench::new();
    let files = documents(3000, None);
    let first = stored(&bench, &files);
    let again = stored(&bench, &files);
    assert_eq!(again.root, first.root);
    assert_eq!(again.counts.blobs_new, 0);
    let changed = documents(3000, Some(1234));
    let report = stored(&bench, &changed);
    assert!(
        report.counts.bytes_new < 200 << 10,
        "{} new bytes for one document",
        report.counts.bytes_new
    );
    assert_eq!(contents(&bench, &report, ""), changed);
    assert_eq!(contents(&bench, &again, ""), files);
}

#[test]
fn an_error_on_the_way_or_a_wrong_order_commits_nothing() {
    let bench = Bench::new();
    let mut files: Vec<Result<MemoryFile>> = documents(100, None).into_iter().map(Ok).collect();
    files.push(Err(Error::Interrupted));
    assert!(matches!(store(&bench, files), Err(Error::Interrupted)));
    let mut wrong: Vec<Result<MemoryFile>> = documents(100, None).into_iter().map(Ok).collect();
    wrong.swap(3, 4);
    assert!(store(&bench, wrong).is_err());
    for path in ["", "a//b", "/a", "a/../b"] {
        let file = MemoryFile {
            path: path.as_bytes().to_vec(),
            content: b"x".to_vec(),
        };
        assert!(store(&bench, vec![Ok(file)]).is_err(), "{path}");
    }
    assert!(bench.open().snapshots(&SnapshotFilter::default()).unwrap().is_empty());
}

#[test]
fn a_source_with_a_name_finds_its_parent_wherever_it_lies() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.write(&format!("one/f{number}"), noise(number, 5000));
    }
    let run = |folder: &str| {
        let mut options = bench.backup_options();
        options.source.here = bench.path(folder);
        options.source_name = Some(b"claims/web/data".to_vec());
        bench.backup_with(&options)
    };
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let first = run("one");
    std::fs::rename(bench.path("one"), bench.path("two")).unwrap();
    let second = run("two");
    assert_eq!(second.parent, first.snapshot);
    assert_eq!((second.counts.files_unmodified, second.counts.bytes_read), (20, 0));
    let repository = bench.open();
    let found = repository.snapshots(&SnapshotFilter::default()).unwrap();
    assert!(
        found
            .iter()
            .all(|snapshot| snapshot.summary.paths == [b"claims/web/data".to_vec()])
    );
}
