//! What goes wrong: damaged repositories, full and read-only disks, a restore that is killed, planted links.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine::format::tree::Node;
use engine::store::Location;
use engine::target::file::Way;
use engine::target::{NewFile, Overwrite};
use engine::verbs::restore::RestoreOptions;
use engine::words::{BlobKind, Error};

use crate::bench::{Bench, noise};
use crate::likeness::{difference, likeness};
use crate::mount::Mount;
use crate::remount::remount;
use crate::verb::{is_root, run, to, try_restore};

#[test]
fn links_planted_in_the_target_are_replaced_or_block_but_never_followed() {
    let bench = Bench::new();
    bench.write("folder/file", "snapshot");
    bench.write("folder/deep/file", "snapshot");
    bench.write("file", "snapshot");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let (outside, target) = (place.path().join("outside"), place.path().join("target"));
    for overwrite in [
        Overwrite::Always,
        Overwrite::IfChanged,
        Overwrite::IfNewer,
        Overwrite::Never,
    ] {
        for delete in [false, true] {
            let _ = fs::remove_dir_all(&target);
            let _ = fs::remove_dir_all(&outside);
            fs::create_dir_all(outside.join("deep")).unwrap();
            fs::create_dir(&target).unwrap();
            for path in ["victim", "file", "deep/file", "extra"] {
                fs::write(outside.join(path), "untouched").unwrap();
            }
            symlink(&outside, target.join("folder")).unwrap();
            symlink(outside.join("victim"), target.join("file")).unwrap();
            symlink(&outside, target.join("extra")).unwrap();
            let before = likeness(&outside);
            let report = try_restore(
                &bench,
                &RestoreOptions {
                    overwrite,
                    delete,
                    ..to(&target)
                },
            )
            .unwrap();
            assert_eq!(likeness(&outside), before, "{overwrite:?}");
            let replaced = matches!(overwrite, Overwrite::Always | Overwrite::IfChanged);
            assert_eq!(
                target.join("folder").symlink_metadata().unwrap().is_dir(),
                replaced,
                "{overwrite:?}"
            );
            assert_eq!(target.join("file").symlink_metadata().unwrap().is_file(), replaced);
            assert_eq!(target.join("extra").symlink_metadata().is_err(), delete);
            // What could not be restored is told: the folder, and each thing in it.
            assert_eq!(report.failed, if replaced { 0 } else { 4 }, "{report:?}");
        }
    }
}

#[test]
fn a_damaged_pack_hurts_only_the_files_that_are_in_it() {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::at(Location::local(place.path().join("repository")).unwrap());
    for number in 0..8 {
        bench.write(&format!("large/{number}"), noise(number, 900_000));
    }
    for number in 0..100 {
        bench.write(&format!("small/{number}"), noise(1000 + number, 3_000));
    }
    bench.backup();
    let mut packs = Vec::new();
    for session in fs::read_dir(place.path().join("repository/p")).unwrap() {
        packs.extend(
            fs::read_dir(session.unwrap().path())
                .unwrap()
                .map(|pack| pack.unwrap().path()),
        );
    }
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    let pack = packs.pop().unwrap();
    let good = fs::read(&pack).unwrap();

    let hurt = |bytes: Option<Vec<u8>>| {
        fs::remove_file(&pack).unwrap();
        if let Some(bytes) = bytes {
            fs::write(&pack, bytes).unwrap();
        }
        let target = place.path().join("target");
        let _ = fs::remove_dir_all(&target);
        let report = try_restore(&bench, &to(&target)).unwrap();
        assert!(
            report.failed > 0 && report.failed < 108 && report.failures.len() as u64 == report.failed,
            "{report:?}"
        );
        assert_eq!(report.files + report.failed, 108, "{report:?}");
        for (path, why) in &report.failures {
            assert!(
                why.contains("damaged") || why.contains("missing") || why.contains("in no pack"),
                "{why}"
            );
            let path = target.join(std::str::from_utf8(path).unwrap());
            assert!(!path.exists(), "a file that is not whole is not there: {path:?}");
        }
        let (source, target) = (likeness(bench.folder.path()), likeness(&target));
        for (path, likeness) in target {
            assert_eq!(source[&path], likeness, "{path:?}");
        }
    };
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    hurt(Some(flipped));
    hurt(Some(good[..good.len() / 2].to_vec()));
    hurt(Some(Vec::new()));
    hurt(None);
}

#[test]
fn a_damaged_leaf_of_the_tree_costs_the_entries_in_it_and_deletes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::at(Location::local(place.path().join("repository")).unwrap());
    // Where paths cut a tree is up to the repository's keys. With names so long, leaves are full before most of those places
    // come: never fewer than 6 leaves, and next to never so many that there are two parents.
    let padding = "x".repeat(240);
    for number in 0..6000 {
        bench.write(&format!("{}/{number}{padding}", number % 3), noise(number, 10));
    }
    let root = bench.backup().root.unwrap();
    let repository = bench.open();
    let Node::Parent(parent) = Node::load(&repository, &root).unwrap() else {
        panic!("the tree is too small")
    };
    let leaves = parent.children.len();
    assert!(parent.height == 1 && leaves > 4, "{leaves}");
    let target = place.path().join("target");
    run(&bench, &to(&target));
    let whole = likeness(&target);
    fs::write(target.join("extra"), "x").unwrap();
    for hurt in [vec![1], vec![2, 3], vec![leaves - 1], vec![0]] {
        let mut packs = Vec::new();
        for leaf in &hurt {
            let blob = repository
                .locate(BlobKind::Tree, &parent.children[*leaf].id)
                .unwrap()
                .unwrap();
            let path = place.path().join("repository").join(blob.pack.object());
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[blob.offset as usize + 50] ^= 1;
            fs::write(&path, bad).unwrap();
            packs.push((path, good));
        }
        let lost: u64 = hurt.iter().map(|leaf| parent.children[*leaf].entries).sum();
        let fresh = place.path().join("fresh");
        let report = try_restore(
            &bench,
            &RestoreOptions {
                verify: true,
                ..to(&fresh)
            },
        )
        .unwrap();
        assert_eq!((report.failed, report.failures.len()), (lost, hurt.len()), "{report:?}");
        for (leaf, (_, why)) in hurt.iter().zip(&report.failures) {
            let entries = parent.children[*leaf].entries;
            assert!(
                why.starts_with(&format!("{entries} entries from here on are lost: ")),
                "{why}"
            );
        }
        let restored = likeness(&fresh);
        // A folder whose own entry is lost is made all the same for what is in it.
        assert!(restored.len() as u64 >= whole.len() as u64 - lost && restored.len() < whole.len());
        fs::remove_dir_all(&fresh).unwrap();
        let report = try_restore(
            &bench,
            &RestoreOptions {
                delete: true,
                ..to(&target)
            },
        )
        .unwrap();
        assert_eq!((report.deleted, report.failed), (0, lost), "{report:?}");
        for (path, good) in packs.into_iter().rev() {
            fs::write(path, good).unwrap();
        }
    }
    fs::remove_dir_all(&target).unwrap();
    run(&bench, &to(&target));
    assert_eq!(difference(bench.folder.path(), &target), None);
}

#[test]
fn a_full_disk_ends_the_restore_and_leaves_old_files_whole() {
    let disk = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(disk.path(), "size=4m") else {
        return;
    };
    let bench = Bench::new();
    for number in 0..10 {
        bench.write(&format!("file{number}"), noise(number, 1_000_000));
    }
    bench.write("zlarge", noise(99, 3_000_000));
    bench.backup();
    let target = disk.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("file0"), "old").unwrap();
    fs::write(target.join("zlarge"), noise(98, 2_000_000)).unwrap();
    let error = try_restore(&bench, &to(&target)).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(target.join("zlarge")).unwrap(), noise(98, 2_000_000));
    for (path, likeness) in likeness(&target) {
        let name = path.to_str().unwrap();
        assert!(!name.contains("ararat"), "nothing unfinished is left: {name}");
        if name.starts_with("file") {
            let size = likeness.content.unwrap().0;
            assert!(size == 1_000_000 || (name == "file0" && size == 3), "{name} {size}");
        }
    }
}

/// Where what has a name is left alone, nothing may have its name by halves, and the next restore finishes the rest.
#[test]
fn a_full_disk_leaves_whole_files_or_none_where_nothing_is_overwritten() {
    let disk = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(disk.path(), "size=4m") else {
        return;
    };
    let bench = Bench::new();
    for number in 0..10 {
        bench.write(&format!("file{number}"), noise(number, 1_000_000));
    }
    bench.backup();
    let target = disk.path().join("target");
    let error = try_restore(&bench, &over(&target, Overwrite::Never)).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    let there: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(!there.is_empty());
    for entry in there {
        assert!(entry.file_name().to_str().unwrap().starts_with("file"), "{entry:?}");
        assert_eq!(entry.metadata().unwrap().len(), 1_000_000, "{entry:?}");
    }
    remount(disk.path(), "size=20m");
    run(&bench, &over(&target, Overwrite::Never));
    // The folder was there, so its own metadata is left alone.
    for number in 0..10 {
        let content = fs::read(target.join(format!("file{number}"))).unwrap();
        assert!(content == noise(number, 1_000_000), "file{number}");
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 10);
}

#[test]
fn a_read_only_target_is_told_at_once() {
    let disk = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(disk.path(), "size=4m,ro") else {
        return;
    };
    let bench = Bench::new();
    bench.write("file", "x");
    bench.backup();
    for target in [disk.path().to_owned(), disk.path().join("new")] {
        let error = try_restore(&bench, &to(&target)).unwrap_err();
        assert!(error.to_string().contains("Read-only file system"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_fails_with_what_is_in_it_and_the_rest_goes_on() {
    if is_root() {
        return super::as_ordinary_user(
            "faults::a_folder_that_cannot_be_written_fails_with_what_is_in_it_and_the_rest_goes_on",
        );
    }
    let bench = Bench::new();
    bench.write("a/file", "x");
    bench.write("b/file", "x");
    bench.write("c", "x");
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("target");
    fs::create_dir_all(target.join("a")).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o500)).unwrap();
    let report = try_restore(&bench, &to(&target)).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
    let failures: Vec<_> = report
        .failures
        .iter()
        .map(|(path, why)| (std::str::from_utf8(path).unwrap(), why.as_str()))
        .collect();
    let denied = |what: &str| format!("Could not create the {what}: Permission denied");
    let mut expected = vec![
        ("b", denied("folder")),
        ("b/file", "The folder it is in could not be restored".to_owned()),
        ("c", denied("file")),
    ];
    expected.sort();
    let mut found: Vec<_> = failures.iter().map(|(path, why)| (*path, (*why).to_owned())).collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(target.join("a/file").exists());
}

/// The files of the killed restore, and what they hold before and after.
fn versions(name: &str) -> (Vec<u8>, Vec<u8>) {
    let seed = u64::from(name.as_bytes()[0]);
    match name {
        "large" => (noise(seed, 3_000_000), noise(seed + 1, 6_000_000)),
        _ => (noise(seed, 40_000), noise(seed + 1, 30_000)),
    }
}

const NAMES: [&str; 4] = ["large", "medium", "small", "tiny"];

/// Starts this test again as a process that restores into the target, and kills it after so many milliseconds.
fn killed_after(test: &str, target: &Path, milliseconds: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("ARARAT_TEST_KILLED_TARGET", target)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("restoring now")));
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What such a process does.
fn restore_until_killed(target: &Path, overwrite: Overwrite) {
    let bench = newer();
    println!("restoring now");
    run(&bench, &over(target, overwrite));
    std::thread::sleep(std::time::Duration::from_secs(60));
}

/// A backup of the new versions.
fn newer() -> Bench {
    let bench = Bench::new();
    for name in NAMES {
        bench.write(name, versions(name).1);
    }
    bench.backup();
    bench
}

fn over(target: &Path, overwrite: Overwrite) -> RestoreOptions {
    RestoreOptions {
        overwrite,
        ..to(target)
    }
}

#[test]
fn a_killed_restore_leaves_every_file_old_or_new_but_never_between() {
    if let Some(target) = std::env::var_os("ARARAT_TEST_KILLED_TARGET") {
        return restore_until_killed(Path::new(&target), Overwrite::IfChanged);
    }
    let place = tempfile::tempdir().unwrap();
    let mut seen = [0, 0];
    for round in 0..12u64 {
        let target = place.path().join(format!("{round}"));
        fs::create_dir(&target).unwrap();
        for name in NAMES {
            fs::write(target.join(name), versions(name).0).unwrap();
        }
        killed_after(
            "faults::a_killed_restore_leaves_every_file_old_or_new_but_never_between",
            &target,
            round * 3,
        );
        for name in NAMES {
            let (old, new) = versions(name);
            let found = fs::read(target.join(name)).unwrap();
            assert!(
                found == old || found == new,
                "{name} is neither old nor new in round {round}"
            );
            seen[usize::from(found == new)] += 1;
        }
    }
    assert!(seen[0] + seen[1] == 48, "{seen:?}");
}

/// What has a name is left alone, so half a file under its name would stay half for ever.
#[test]
fn a_killed_restore_that_overwrites_nothing_is_finished_by_the_next() {
    if let Some(target) = std::env::var_os("ARARAT_TEST_KILLED_TARGET") {
        return restore_until_killed(Path::new(&target), Overwrite::Never);
    }
    let place = tempfile::tempdir().unwrap();
    let bench = newer();
    for round in 0..12u64 {
        let target = place.path().join(format!("{round}"));
        killed_after(
            "faults::a_killed_restore_that_overwrites_nothing_is_finished_by_the_next",
            &target,
            round * 3,
        );
        for name in NAMES {
            let found = fs::read(target.join(name)).ok();
            assert!(
                found.is_none_or(|found| found == versions(name).1),
                "{name} is not whole in round {round}"
            );
        }
        run(&bench, &over(&target, Overwrite::Never));
        for name in NAMES {
            assert_eq!(fs::read(target.join(name)).unwrap(), versions(name).1, "{name}");
        }
        let names = || {
            let entries = fs::read_dir(&target).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !NAMES.contains(&name.as_str())).collect::<Vec<_>>()
        };
        assert!(
            names().iter().all(|name| name.starts_with(".ararat-restore-")),
            "{:?}",
            names()
        );
        let deleting = RestoreOptions {
            delete: true,
            ..over(&target, Overwrite::Never)
        };
        run(&bench, &deleting);
        assert_eq!(names(), [""; 0]);
    }
}

/// Somebody else's file that appears meanwhile stays.
#[test]
fn what_appears_while_it_is_restored_is_not_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let (_target, root) = engine::target::Target::open(place.path(), engine::target::TargetOptions::default()).unwrap();
    let metadata = engine::format::tree::Metadata::default();
    let file = NewFile::create(&root, b"file", &metadata, Way::Aside).unwrap();
    file.write_at(b"restored", 0).unwrap();
    assert!(!place.path().join("file").exists());
    fs::write(place.path().join("file"), "somebody's").unwrap();
    let failure = file.finish(8, &metadata).unwrap_err();
    assert!(
        failure.to_string().contains("appeared while it was restored"),
        "{failure}"
    );
    assert_eq!(fs::read(place.path().join("file")).unwrap(), b"somebody's");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn paths_longer_than_the_system_takes_come_back() {
    let bench = Bench::new();
    // Made step by step, since no call takes so long a path at once.
    let mut folder = fs::File::open(bench.folder.path()).unwrap();
    for _ in 0..30 {
        let name = "n".repeat(200);
        rustix::fs::mkdirat(&folder, &*name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        folder = rustix::fs::openat(&folder, &*name, flags, rustix::fs::Mode::empty())
            .unwrap()
            .into();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::openat(&folder, "deepest", flags, rustix::fs::Mode::RUSR).unwrap();
    fs::File::from(file).write_all_at(b"x", 0).unwrap();
    let report = bench.backup();
    assert_eq!(
        (report.counts.folders, report.counts.errors),
        (31, 0),
        "{:?}",
        report.errors
    );
    let place = tempfile::tempdir().unwrap();
    let report = run(
        &bench,
        &RestoreOptions {
            verify: true,
            ..to(place.path())
        },
    );
    assert_eq!((report.folders, report.files, report.verified), (31, 1, 1));
    assert_eq!(run(&bench, &to(place.path())).unchanged, 1);
}

#[test]
fn an_interrupted_restore_says_so_and_the_next_one_goes_on() {
    struct Impatient(std::sync::atomic::AtomicU64);
    impl engine::words::Progress for Impatient {
        fn done(&self, items: u64, _bytes: u64) {
            self.0.fetch_add(items, std::sync::atomic::Ordering::Relaxed);
        }
        fn interrupted(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed) > 50
        }
    }
    let bench = Bench::new();
    for number in 0..2000 {
        bench.write(&format!("{}/{number}", number % 40), noise(number, 500));
    }
    bench.backup();
    let target = bench.cache.path().join("target");
    let repository = bench.open();
    let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
    let impatient = Impatient(Default::default());
    let stopped = engine::verbs::restore::restore(&repository, &snapshot, &to(&target), &impatient);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    run(&bench, &to(&target));
    assert_eq!(difference(bench.folder.path(), &target), None);
}

#[test]
fn what_is_in_the_way_of_a_file_is_removed_only_when_that_was_asked_for() {
    let bench = Bench::new();
    bench.write("a", "snapshot");
    bench.write("b", "snapshot");
    bench.backup();
    let target: PathBuf = bench.cache.path().join("target");
    fs::create_dir_all(target.join("a")).unwrap();
    fs::create_dir_all(target.join("b/full")).unwrap();
    let report = try_restore(&bench, &to(&target)).unwrap();
    assert_eq!((report.files, report.failed), (1, 1), "{report:?}");
    assert_eq!(report.failures[0].0, b"b");
    assert!(report.failures[0].1.contains("Directory not empty"), "{report:?}");
    run(
        &bench,
        &RestoreOptions {
            delete: true,
            ..to(&target)
        },
    );
    assert_eq!(difference(bench.folder.path(), &target), None);
}
