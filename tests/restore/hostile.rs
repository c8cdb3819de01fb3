//! Snapshots that somebody wrote to do harm: whatever their names and links say, nothing outside the target is touched.

use std::fs;
use std::path::Path;

use engine::format::open::SessionKind;
use engine::format::snapshot::{RootId, Snapshot};
use engine::repository::writer::{Scratch, Writer, WriterOptions};
use engine::words::{BlobId, BlobKind, NoProgress};

use crate::bench::{Bench, clock, machine};
use crate::likeness::likeness;
use crate::verb::to;

/// One entry, byte by byte as FORMAT.md has it, with nothing checked.
struct RawEntry {
    path: Vec<u8>,
    kind: u8,
    inode: i64,
    body: Vec<u8>,
    fields: Vec<u8>,
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn entry(kind: u8, path: &[u8]) -> RawEntry {
    RawEntry {
        path: path.to_vec(),
        kind,
        inode: 0,
        body: Vec::new(),
        fields: Vec::new(),
    }
}

fn folder(path: &[u8]) -> RawEntry {
    entry(1, path)
}

/// A file whose content is `size` bytes of the first blob.
fn file(path: &[u8], size: u64, offset: u64) -> RawEntry {
    let mut body = Vec::new();
    varint(&mut body, size);
    body.push(1);
    varint(&mut body, 0);
    varint(&mut body, offset);
    body.extend([0; 8]);
    RawEntry { body, ..entry(2, path) }
}

/// A file that says its only chunk, the first blob, has `length` bytes.
fn chunk(path: &[u8], length: u64) -> RawEntry {
    let mut body = Vec::new();
    varint(&mut body, length * 2);
    body.push(2);
    varint(&mut body, 2);
    for _ in 0..2 {
        varint(&mut body, 1);
        varint(&mut body, length);
    }
    RawEntry { body, ..entry(2, path) }
}

fn link(path: &[u8], target: &[u8]) -> RawEntry {
    let mut fields = vec![1];
    varint(&mut fields, target.len() as u64);
    fields.extend(target);
    RawEntry {
        fields,
        ..entry(3, path)
    }
}

/// Says that it is one of several names of an inode.
fn several(mut entry: RawEntry) -> RawEntry {
    entry.fields.extend([4, 2, 9, 9]);
    entry.inode = 0;
    entry
}

fn leaf(blob: BlobId, entries: &[RawEntry]) -> Vec<u8> {
    let mut bytes = vec![1];
    varint(&mut bytes, 1);
    bytes.extend(blob.0);
    let mut before: Vec<u8> = Vec::new();
    for entry in entries {
        let shared = before.iter().zip(&entry.path).take_while(|(a, b)| a == b).count();
        let mut rest = Vec::new();
        varint(&mut rest, shared as u64);
        varint(&mut rest, (entry.path.len() - shared) as u64);
        rest.extend(&entry.path[shared..]);
        rest.push(entry.kind);
        varint(&mut rest, 0o755);
        varint(&mut rest, 0);
        varint(&mut rest, 0);
        for _ in 0..2 {
            varint(&mut rest, 0);
            rest.extend([0; 4]);
        }
        varint(&mut rest, entry.inode as u64);
        rest.extend(&entry.body);
        rest.extend(&entry.fields);
        varint(&mut bytes, rest.len() as u64);
        bytes.extend(rest);
        before = entry.path.clone();
    }
    bytes
}

/// Restores such a tree, and sees to it that nothing outside the target has changed. Says what became of it.
fn restored(entries: &[RawEntry]) -> Result<engine::verbs::restore::RestoreReport, String> {
    let bench = Bench::new();
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
    let blob = writer.save(BlobKind::Data, b"content", &mut scratch).unwrap();
    let root = writer.save(BlobKind::Tree, &leaf(blob, entries), &mut scratch).unwrap();
    writer
        .commit(Snapshot {
            root: RootId(root),
            ..Snapshot::default()
        })
        .unwrap();

    let place = tempfile::tempdir_in("/tmp").unwrap();
    let outside = place.path().join("outside");
    fs::create_dir_all(outside.join("folder")).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    fs::write(place.path().join("beside"), "untouched").unwrap();
    let before = (
        likeness(&outside),
        fs::metadata(place.path()).unwrap().modified().unwrap(),
    );
    let target = place.path().join("target");
    fs::create_dir(&target).unwrap();
    // Twice: what the first one made must not be a bridge for the second.
    let repository = bench.open();
    let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
    let restore = || engine::verbs::restore::restore(&repository, &snapshot, &to(&target), &NoProgress);
    let first = restore();
    let second = restore();
    assert_eq!(first.is_ok(), second.is_ok());
    assert_eq!(likeness(&outside), before.0);
    let mut names: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["beside", "outside", "target"]);
    assert_eq!(fs::read(place.path().join("beside")).unwrap(), b"untouched");
    for path in [Path::new("/evil"), Path::new("/tmp/evil"), &place.path().join("evil")] {
        assert!(!path.exists(), "{path:?}");
    }
    first.map_err(|error| error.to_string())
}

/// Restores such a tree, of which a part must be refused as damaged, and gives the reason.
fn refused(entries: &[RawEntry]) -> String {
    match restored(entries) {
        Err(error) => error,
        Ok(report) => {
            let (_, why) = report.failures.into_iter().next().unwrap();
            assert!(why.contains("lost: Tree blob"), "{why}");
            why
        }
    }
}

#[test]
fn the_raw_entries_of_these_tests_are_read_when_they_are_good() {
    let report = restored(&[
        folder(b""),
        folder(b"a"),
        file(b"a/b", 4, 3),
        link(b"a/c", b"b"),
        file(b"d", 7, 0),
    ])
    .unwrap();
    assert_eq!(
        (report.folders, report.files, report.others, report.failed),
        (2, 2, 1, 0),
        "{report:?}"
    );
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for path in [
        &b".."[..],
        b"../evil",
        b"../outside/victim",
        b"/evil",
        b"/tmp/evil",
        b"a/../../evil",
        b"a//evil",
        b"./evil",
        b"a/.",
        b"evil\0",
        b"../../../../../../../../tmp/evil",
    ] {
        for entry in [file(path, 7, 0), folder(path), link(path, b"x")] {
            refused(&[folder(b"a"), entry]);
        }
        // By itself, where nothing but its name is wrong.
        refused(&[file(path, 7, 0)]);
    }
}

#[test]
fn a_path_through_a_link_of_the_same_snapshot_is_refused() {
    for target in [&b"../outside"[..], b"/tmp", b".", b".."] {
        let error = refused(&[link(b"a", target), file(b"a/evil", 7, 0)]);
        assert!(error.contains("damaged"), "{error}");
        let error = refused(&[link(b"a", target), folder(b"a"), file(b"a/evil", 7, 0)]);
        assert!(error.contains("damaged"), "{error}");
    }
}

#[test]
fn names_that_come_twice_or_out_of_order_are_refused() {
    for entries in [
        vec![file(b"a", 7, 0), file(b"a", 7, 0)],
        vec![folder(b"a"), link(b"a", b"../outside"), file(b"a/evil", 7, 0)],
        vec![file(b"b", 7, 0), file(b"a", 7, 0)],
        vec![folder(b"b"), file(b"b/x", 7, 0), link(b"b", b"../outside")],
    ] {
        assert!(refused(&entries).contains("damaged"));
    }
}

#[test]
fn links_in_circles_and_to_everywhere_are_only_made() {
    let report = restored(&[
        link(b"a", b"a"),
        link(b"b", b"c"),
        link(b"c", b"b"),
        link(b"d", b"../outside/victim"),
        link(b"e", b"/etc/passwd"),
    ]);
    let report = report.unwrap();
    assert_eq!((report.others, report.failed), (5, 0), "{report:?}");
}

#[test]
fn other_names_of_a_link_do_not_lead_to_what_it_points_to() {
    let entries = [
        several(link(b"a", b"../outside/victim")),
        several(file(b"b", 7, 0)),
        several(link(b"c", b"x")),
    ];
    let report = restored(&entries).unwrap();
    assert_eq!((report.others, report.links), (1, 2), "{report:?}");
}

#[test]
fn contents_that_do_not_fit_fail_by_themselves() {
    let report = restored(&[
        file(b"a", 8, 0),
        file(b"b", 7, 1),
        file(b"c", 1 << 16, 0),
        file(b"d", 1, 1 << 20),
        chunk(b"e", 6),
        chunk(b"f", 8),
        chunk(b"g", 7),
    ]);
    let report = report.unwrap();
    assert_eq!((report.files, report.failed), (1, 6), "{report:?}");
}

#[test]
fn names_longer_than_the_system_takes_fail_by_themselves() {
    let report = restored(&[folder(b""), file(&[b'n'; 255], 7, 0)]).unwrap();
    assert_eq!((report.files, report.failed), (1, 0), "{report:?}");
    refused(&[file(&[b'n'; 256], 7, 0)]);
}
