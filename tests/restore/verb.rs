//! The whole verb: there and back again, whole and in parts.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use engine::source::Pattern;
use engine::target::Overwrite;
use engine::verbs::restore::{RestoreOptions, RestoreReport, Selection, restore};
use engine::words::{NoProgress, Result, SessionId};
use rustix::fs::{FileType, Mode, XattrFlags};

use crate::bench::{Bench, noise};
use crate::likeness::{bytes_on_disk, difference};

/// Restores the newest snapshot.
pub fn try_restore(bench: &Bench, options: &RestoreOptions) -> Result<RestoreReport> {
    let repository = bench.open();
    let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
    restore(&repository, &snapshot, options, &NoProgress)
}

pub fn run(bench: &Bench, options: &RestoreOptions) -> RestoreReport {
    let report = try_restore(bench, options).unwrap();
    assert_eq!(report.failures, [], "{report:?}");
    report
}

pub fn to(target: &Path) -> RestoreOptions {
    RestoreOptions {
        target: target.to_owned(),
        ..RestoreOptions::default()
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn touch(path: &Path, seconds: i64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds as u64, 123_456_789);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

/// A folder with everything that a file system can hold.
pub fn fill(bench: &Bench) {
    for number in 0..500u64 {
        bench.write(
            &format!("small/{}/{number}", number % 7),
            noise(number, (number as usize * 37) % 5000),
        );
    }
    bench.write("empty", "");
    bench.write("medium", noise(1000, 300_000));
    bench.write("large", noise(1001, 9_000_000));
    bench.write("twice/large", noise(1001, 9_000_000));
    bench.write("odd\nname", "x");
    bench.write("modes/set-user-id", "#!");
    bench.write("modes/read-only", "r");
    let sparse = fs::File::create(bench.path("sparse")).unwrap();
    sparse.write_all_at(&noise(1, 100_000), 3_000_000).unwrap();
    sparse.set_len(20_000_000).unwrap();
    fs::File::create(bench.path("hollow"))
        .unwrap()
        .set_len(5_000_000)
        .unwrap();
    symlink("medium", bench.path("link")).unwrap();
    symlink("/nowhere/at/all", bench.path("small/dangling")).unwrap();
    fs::hard_link(bench.path("medium"), bench.path("another name of medium")).unwrap();
    fs::hard_link(bench.path("medium"), bench.path("small/3/zzz")).unwrap();
    fs::hard_link(bench.path("link"), bench.path("twice/link")).unwrap();
    let folder = fs::File::open(bench.folder.path()).unwrap();
    rustix::fs::mknodat(&folder, "fifo", FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    rustix::fs::mknodat(&folder, "socket", FileType::Socket, Mode::from_raw_mode(0o755), 0).unwrap();
    rustix::fs::setxattr(bench.path("medium"), "user.note", b"hello", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(bench.path("small"), "user.note", b"folder", XattrFlags::empty()).unwrap();
    if is_root() {
        rustix::fs::mknodat(
            &folder,
            "device",
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            rustix::fs::makedev(1, 3),
        )
        .unwrap();
        std::os::unix::fs::chown(bench.path("small/1"), Some(1234), Some(4321)).unwrap();
        std::os::unix::fs::chown(bench.path("modes/set-user-id"), Some(7), Some(8)).unwrap();
        std::os::unix::fs::lchown(bench.path("small/dangling"), Some(99), Some(98)).unwrap();
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rustix::fs::setxattr(
            bench.path("small/3/3"),
            "security.capability",
            &capability,
            XattrFlags::empty(),
        )
        .unwrap();
        let acl = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16,
            0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
        ];
        rustix::fs::setxattr(
            bench.path("small/3/10"),
            "system.posix_acl_access",
            &acl,
            XattrFlags::empty(),
        )
        .unwrap();
        rustix::fs::setxattr(
            bench.path("small/2"),
            "system.posix_acl_default",
            &acl,
            XattrFlags::empty(),
        )
        .unwrap();
    }
    fs::set_permissions(bench.path("modes/set-user-id"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(bench.path("modes/read-only"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(bench.path("modes"), fs::Permissions::from_mode(0o1511)).unwrap();
    touch(&bench.path("medium"), 1_000_000_000);
    touch(&bench.path("empty"), 5);
}

#[test]
fn everything_comes_back_as_it_was() {
    let bench = Bench::new();
    fill(&bench);
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new");
    let report = run(
        &bench,
        &RestoreOptions {
            verify: true,
            sync: true,
            ..to(&target)
        },
    );
    assert_eq!(difference(bench.folder.path(), &target), None);
    assert_eq!(
        (report.losses.len(), report.links, report.verified),
        (0, 3, report.files + 2),
        "{report:?}"
    );
    assert!(bytes_on_disk(&target, b"sparse") < 300_000);
    assert_eq!(bytes_on_disk(&target, b"hollow"), 0);
}

#[test]
fn an_ordinary_user_gets_everything_but_owners_and_devices() {
    if is_root() {
        return super::as_ordinary_user("verb::an_ordinary_user_gets_everything_but_owners_and_devices");
    }
    let bench = Bench::new();
    fill(&bench);
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new");
    let report = run(&bench, &to(&target));
    assert_eq!(report.losses, []);
    assert_eq!(difference(bench.folder.path(), &target), None);
    for folder in [bench.path("modes"), target.join("modes")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_part_of_a_snapshot_goes_directly_into_the_target() {
    let bench = Bench::new();
    bench.write("a/b/file", "x");
    bench.write("a/b/c/deep", "y");
    bench.write("a/other", "z");
    bench.write("ab", "z");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let restored = |selection: Selection| {
        let target = place.path().join("part");
        let _ = fs::remove_dir_all(&target);
        run(
            &bench,
            &RestoreOptions {
                selection,
                ..to(&target)
            },
        );
        crate::likeness::likeness(&target)
            .into_keys()
            .skip(1)
            .map(|path| path.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(restored(Selection::of_path(b"/a/b")), ["c", "c/deep", "file"]);
    assert_eq!(restored(Selection::of_path(b"a/b/c/deep")), ["deep"]);
    let includes = vec![Pattern::new("deep"), Pattern::new("ab")];
    assert_eq!(
        restored(Selection {
            includes,
            ..Selection::default()
        }),
        ["a", "a/b", "a/b/c", "a/b/c/deep", "ab"]
    );
    let excludes = vec![Pattern::new("/a/b/c"), Pattern::new("other")];
    assert_eq!(
        restored(Selection {
            excludes,
            ..Selection::default()
        }),
        ["a", "a/b", "a/b/file", "ab"]
    );
    let error = try_restore(
        &bench,
        &RestoreOptions {
            selection: Selection::of_path(b"a/nothing"),
            ..to(place.path())
        },
    );
    assert_eq!(error.unwrap_err().to_string(), "`a/nothing` is not in the snapshot");
}

#[test]
fn a_dry_run_tells_everything_and_does_nothing() {
    let bench = Bench::new();
    fill(&bench);
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new");
    let dry = run(
        &bench,
        &RestoreOptions {
            dry_run: true,
            ..to(&target)
        },
    );
    assert!(!target.exists());
    let real = run(&bench, &to(&target));
    // Of hard links a dry run says only that there are so many files.
    assert_eq!(
        (dry.folders, dry.files + dry.others),
        (real.folders, real.files + real.others + real.links)
    );
    let before = crate::likeness::likeness(&target);
    let again = run(
        &bench,
        &RestoreOptions {
            dry_run: true,
            overwrite: Overwrite::Always,
            ..to(&target)
        },
    );
    assert_eq!(again.replaced, real.files + 2);
    assert_eq!(crate::likeness::likeness(&target), before);
}

#[test]
fn zeros_that_were_bytes_become_holes_when_asked_for() {
    let bench = Bench::new();
    let mut bytes = vec![0; 6_000_000];
    bytes[5_999_999] = 1;
    bench.write("zeros", bytes);
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    run(
        &bench,
        &RestoreOptions {
            sparse: true,
            ..to(&place.path().join("sparse"))
        },
    );
    run(&bench, &to(&place.path().join("full")));
    assert_eq!(
        difference(&place.path().join("sparse"), &place.path().join("full")),
        None
    );
    assert!(bytes_on_disk(&place.path().join("sparse"), b"zeros") <= 8192);
    assert!(bytes_on_disk(&place.path().join("full"), b"zeros") >= 6_000_000);
}

#[test]
fn two_hundred_thousand_entries_in_one_folder_come_back() {
    let bench = Bench::new();
    let folder = bench.path("flat");
    fs::create_dir(&folder).unwrap();
    for number in 0..200_000u32 {
        fs::write(
            folder.join(format!("{number:x}")),
            if number % 10 == 0 { "ten" } else { "" },
        )
        .unwrap();
    }
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let report = run(&bench, &to(place.path()));
    assert_eq!((report.files, report.folders), (200_000, 2));
    assert_eq!(fs::read_dir(place.path().join("flat")).unwrap().count(), 200_000);
    assert_eq!(fs::read(place.path().join("flat/a")).unwrap(), b"ten");
    let report = run(
        &bench,
        &RestoreOptions {
            delete: true,
            ..to(place.path())
        },
    );
    assert_eq!((report.unchanged, report.deleted), (200_000, 0));
}

#[test]
fn the_newest_snapshot_is_the_one_that_was_written_last() {
    let bench = Bench::new();
    bench.write("file", "old");
    let first: SessionId = bench.backup().snapshot.unwrap();
    bench.write("file", "new");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    run(&bench, &to(place.path()));
    assert_eq!(fs::read(place.path().join("file")).unwrap(), b"new");
    let repository = bench.open();
    let snapshot = repository
        .find_snapshot(&first.to_string(), &Default::default())
        .unwrap();
    restore(&repository, &snapshot, &to(place.path()), &NoProgress).unwrap();
    assert_eq!(fs::read(place.path().join("file")).unwrap(), b"old");
}
