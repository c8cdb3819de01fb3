//! Restoring over what is there: only what differs is fetched, modes are kept to, extra files go only when asked for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use engine::source::Pattern;
use engine::target::Overwrite;
use engine::verbs::restore::{RestoreOptions, Selection, StepKind};
use rustix::fs::{FileType, Mode, XattrFlags};

use crate::bench::{Bench, noise};
use crate::likeness::difference;
use crate::verb::{fill, is_root, run, to, touch, try_restore};

/// A file of which a changed byte costs less than half, wherever the repository's key has put the cuts: a chunk has up to 8 MiB.
const LARGE: usize = 32_000_000;
const HALF: u64 = LARGE as u64 / 2;

#[test]
fn a_second_restore_finds_everything_unchanged_and_repairs_what_was_changed() {
    let bench = Bench::new();
    fill(&bench);
    bench.write("large", noise(1001, LARGE));
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new");
    let first = run(&bench, &to(&target));
    let second = run(&bench, &to(&target));
    assert_eq!((second.files, second.bytes_fetched), (0, 0), "{second:?}");
    assert_eq!(
        second.unchanged,
        first.files + 3 + u64::from(is_root()) - 1,
        "fifo, socket and device, too: {second:?}"
    );

    // One byte in a large file: one piece is fetched, and the rest is taken from what is there.
    let large = fs::File::options().write(true).open(target.join("large")).unwrap();
    large.write_all_at(b"!", 5_000_000).unwrap();
    fs::write(target.join("small/1/1"), "changed").unwrap();
    fs::remove_file(target.join("small/2/2")).unwrap();
    fs::set_permissions(target.join("small/3"), fs::Permissions::from_mode(0o777)).unwrap();
    touch(&target.join("small/4/4"), 77);
    let third = run(&bench, &to(&target));
    assert_eq!(difference(bench.folder.path(), &target), None);
    assert_eq!((third.files, third.replaced), (3, 2), "{third:?}");
    assert!(third.bytes_reused > HALF && third.bytes_fetched < HALF, "{third:?}");
}

#[test]
fn a_large_file_is_changed_in_place_when_asked_for() {
    let bench = Bench::new();
    bench.write("large", noise(1001, LARGE));
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("large");
    let mut old = noise(1001, LARGE + 500_000);
    old[4_000_000] ^= 1;
    fs::write(&path, old).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let report = run(
        &bench,
        &RestoreOptions {
            in_place: true,
            ..to(place.path())
        },
    );
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(difference(bench.folder.path(), place.path()), None, "{report:?}");
    assert!(report.bytes_reused > HALF, "{report:?}");
    // A file with another name is not changed under it.
    fs::hard_link(&path, place.path().join("other")).unwrap();
    fs::write(&path, "changed").unwrap();
    run(
        &bench,
        &RestoreOptions {
            in_place: true,
            ..to(place.path())
        },
    );
    assert_eq!(fs::read(place.path().join("other")).unwrap(), b"changed");
    assert!(fs::read(&path).unwrap() == noise(1001, LARGE));
}

#[test]
fn overwrite_modes_do_what_they_say() {
    let bench = Bench::new();
    bench.write("older", "snapshot");
    bench.write("newer", "snapshot");
    bench.write("same", "snapshot");
    bench.write("missing", "snapshot");
    for name in ["older", "newer", "same"] {
        touch(&bench.path(name), 1_000);
    }
    bench.backup();
    let restored = |overwrite: Overwrite| {
        let place = tempfile::tempdir().unwrap();
        for (name, seconds) in [("older", 999), ("newer", 1_001), ("same", 1_000)] {
            fs::write(place.path().join(name), "existing").unwrap();
            touch(&place.path().join(name), seconds);
        }
        let report = run(
            &bench,
            &RestoreOptions {
                overwrite,
                ..to(place.path())
            },
        );
        let names = ["older", "newer", "same", "missing"];
        let from_snapshot: Vec<_> = names
            .into_iter()
            .filter(|name| fs::read(place.path().join(name)).unwrap() == b"snapshot")
            .collect();
        assert_eq!(report.kept + report.unchanged + report.files, 4, "{report:?}");
        from_snapshot
    };
    assert_eq!(restored(Overwrite::Always), ["older", "newer", "same", "missing"]);
    // What has the same size and time is taken for the same.
    assert_eq!(restored(Overwrite::IfChanged), ["older", "newer", "missing"]);
    assert_eq!(restored(Overwrite::IfNewer), ["older", "missing"]);
    assert_eq!(restored(Overwrite::Never), ["missing"]);
}

#[test]
fn extra_files_are_removed_only_when_asked_for_and_only_where_something_is_restored() {
    let bench = Bench::new();
    bench.write("a/kept", "x");
    bench.write("b/kept", "x");
    bench.write("c.txt", "x");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let plant = || {
        for path in [
            "a/extra/deep/file",
            "a/first",
            "a/zzz",
            "b/extra.txt",
            "extra",
            "c.extra",
        ] {
            fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
            fs::write(place.path().join(path), "extra").unwrap();
        }
    };
    plant();
    assert_eq!(run(&bench, &to(place.path())).deleted, 0);
    assert!(place.path().join("a/extra/deep/file").exists());

    let part = Selection {
        includes: vec![Pattern::new("/a")],
        ..Selection::default()
    };
    assert_eq!(
        run(
            &bench,
            &RestoreOptions {
                delete: true,
                selection: part,
                ..to(place.path())
            }
        )
        .deleted,
        5,
        "three files and the two folders of one of them"
    );
    assert!(place.path().join("b/extra.txt").exists() && place.path().join("extra").exists());
    assert!(!place.path().join("a/extra").exists() && place.path().join("a/kept").exists());

    plant();
    let spared = Selection {
        excludes: vec![Pattern::new("*.txt")],
        ..Selection::default()
    };
    let told = Arc::new(Mutex::new(BTreeSet::new()));
    let listed = Arc::clone(&told);
    let plan = RestoreOptions {
        delete: true,
        dry_run: true,
        selection: spared.clone(),
        observe: Some(Arc::new(move |step| {
            if step.kind == StepKind::Deleted {
                listed
                    .lock()
                    .unwrap()
                    .insert(String::from_utf8(step.path.to_vec()).unwrap());
            }
        })),
        ..to(place.path())
    };
    assert_eq!(run(&bench, &plan).deleted, 7);
    let expected = [
        "a/extra",
        "a/extra/deep",
        "a/extra/deep/file",
        "a/first",
        "a/zzz",
        "c.extra",
        "extra",
    ]
    .map(String::from);
    assert_eq!(*told.lock().unwrap(), BTreeSet::from(expected));
    assert!(place.path().join("extra").exists(), "a dry run removes nothing");
    assert_eq!(
        run(
            &bench,
            &RestoreOptions {
                dry_run: false,
                observe: None,
                ..plan
            }
        )
        .deleted,
        7
    );
    assert!(place.path().join("b/extra.txt").exists() && place.path().join("c.txt").exists());
    run(
        &bench,
        &RestoreOptions {
            delete: true,
            ..to(place.path())
        },
    );
    assert_eq!(difference(bench.folder.path(), place.path()), None);
}

#[test]
fn what_was_changed_after_the_restore_is_found_when_it_is_read_back() {
    let bench = Bench::new();
    bench.write("file", "content");
    bench.write("large", noise(1, 5_000_000));
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    run(
        &bench,
        &RestoreOptions {
            verify: true,
            ..to(place.path())
        },
    );
    let time = fs::metadata(place.path().join("large")).unwrap().modified().unwrap();
    let large = fs::File::options()
        .write(true)
        .open(place.path().join("large"))
        .unwrap();
    large.write_all_at(b"!", 4_000_000).unwrap();
    large.set_modified(time).unwrap();
    let report = try_restore(
        &bench,
        &RestoreOptions {
            verify: true,
            ..to(place.path())
        },
    )
    .unwrap();
    assert_eq!(
        (report.unchanged, report.verified, report.failed),
        (2, 1, 1),
        "{report:?}"
    );
    assert!(
        report.failures[0]
            .1
            .starts_with("It differs from the snapshot when read back, at byte "),
        "{report:?}"
    );
    // Always means: compare, and repair.
    let report = run(
        &bench,
        &RestoreOptions {
            overwrite: Overwrite::Always,
            verify: true,
            ..to(place.path())
        },
    );
    assert_eq!((report.verified, report.replaced), (2, 1), "{report:?}");
}

#[test]
fn what_the_backup_could_not_read_is_not_deleted() {
    if is_root() {
        return super::as_ordinary_user("in_place::what_the_backup_could_not_read_is_not_deleted");
    }
    let bench = Bench::new();
    bench.write("a/readable", "x");
    bench.write("b/locked/inside", "x");
    bench.write("b/other", "x");
    let lock = |mode| fs::set_permissions(bench.path("b/locked"), fs::Permissions::from_mode(mode)).unwrap();
    lock(0);
    let report = bench.backup();
    lock(0o700);
    assert_eq!(report.counts.errors, 1, "{:?}", report.errors);
    bench.write("extra/file", "x");
    // In place: the very folder that was backed up.
    let report = run(
        &bench,
        &RestoreOptions {
            delete: true,
            ..to(bench.folder.path())
        },
    );
    assert_eq!(report.deleted, 1, "{report:?}");
    lock(0o700);
    assert!(bench.path("b/locked/inside").exists() && !bench.path("extra").exists());
}

#[test]
fn what_is_left_out_stays_in_folders_that_are_removed() {
    let bench = Bench::new();
    bench.write("kept", "x");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    for path in ["gone/a.tmp", "gone/b", "gone/deep/c", "gone/deep/d.tmp", "whole/e"] {
        fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
        fs::write(place.path().join(path), "x").unwrap();
    }
    let selection = Selection {
        excludes: vec![Pattern::new("*.tmp")],
        ..Selection::default()
    };
    let report = run(
        &bench,
        &RestoreOptions {
            delete: true,
            selection,
            ..to(place.path())
        },
    );
    assert_eq!(report.deleted, 4, "b, c, e and the folder it was in");
    let left: Vec<_> = crate::likeness::likeness(place.path()).into_keys().skip(1).collect();
    assert_eq!(
        left,
        ["gone", "gone/a.tmp", "gone/deep", "gone/deep/d.tmp", "kept"].map(std::path::PathBuf::from)
    );
}

/// What size, time, owner and permissions do not show: an attribute, or an ACL, that was added since.
#[test]
fn attributes_that_the_snapshot_does_not_have_are_taken_off_what_is_unchanged() {
    let bench = Bench::new();
    bench.write("file", "x");
    let folder = fs::File::open(bench.folder.path()).unwrap();
    rustix::fs::mknodat(&folder, "fifo", FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    run(&bench, &to(place.path()));
    let set = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::setxattr(place.path().join(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    set("file", "user.note", b"added");
    // Another user may read it, which the permissions (of group and mask) do not tell from before.
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4,
        0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
    ];
    set("file", "system.posix_acl_access", &acl);
    set("fifo", "system.posix_acl_access", &acl);
    assert!(difference(bench.folder.path(), place.path()).is_some());
    let report = run(&bench, &to(place.path()));
    assert_eq!((report.unchanged, report.bytes_fetched), (2, 0), "{report:?}");
    assert_eq!(difference(bench.folder.path(), place.path()), None);
}
