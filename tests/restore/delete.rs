//! Deleting what the snapshot does not have: only where it says so, and never what it says nothing about.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use engine::source::{Excludes, Marker, Pattern, SourceOptions};
use engine::verbs::backup::{BackupOptions, Input, backup};
use engine::verbs::restore::{RestoreOptions, RestoreReport, Selection, StepKind, restore};
use engine::words::{NoProgress, Progress};

use crate::bench::Bench;
use crate::likeness::likeness;
use crate::mount::Mount;
use crate::verb::{run, to, try_restore};

fn plant(target: &Path, paths: &[&str]) {
    for path in paths {
        let path = target.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "planted").unwrap();
    }
}

/// Files and empty folders below the target.
fn left(target: &Path) -> Vec<String> {
    let there = likeness(target);
    let paths = there.keys().filter(|path| {
        let inside = |other: &&PathBuf| other.starts_with(path) && other != path;
        !there.keys().any(|other| inside(&other))
    });
    let mut left: Vec<_> = paths.map(|path| path.to_str().unwrap().to_owned()).collect();
    left.sort();
    left
}

fn deleting(target: &Path) -> RestoreOptions {
    RestoreOptions {
        delete: true,
        ..to(target)
    }
}

fn only(patterns: &[&str]) -> Selection {
    Selection {
        includes: patterns.iter().map(|text| Pattern::new(*text)).collect(),
        ..Selection::default()
    }
}

/// Backs up with these excludes.
fn backup_without(bench: &Bench, excludes: Excludes) {
    let mut options = bench.backup_options();
    options.source.excludes = excludes;
    bench.backup_with(&options);
}

/// A folder in which not everything is wanted is opened only when the first wanted thing in it is met. What had been met in it before, and that thing
/// itself, were taken for surplus, and files that had just been found right were deleted.
#[test]
fn what_was_restored_by_a_pattern_is_not_deleted_afterwards() {
    let bench = Bench::new();
    let files = [
        "a.jpg",
        "x/a.jpg",
        "x/b.jpg",
        "x/y/c.jpg",
        "x/y/d.jpg",
        "x/z.jpg",
        "x/y/other.txt",
    ];
    plant(bench.folder.path(), &files);
    bench.backup();
    for dry_run in [true, false] {
        for pattern in ["*.jpg", "x/*.jpg", "x/y/*.jpg", "d.jpg"] {
            let place = tempfile::tempdir().unwrap();
            run(&bench, &to(place.path()));
            let options = RestoreOptions {
                selection: only(&[pattern]),
                dry_run,
                ..deleting(place.path())
            };
            assert_eq!(run(&bench, &options).deleted, 0, "{pattern}");
            let mut expected: Vec<_> = files.map(String::from).into();
            expected.sort();
            assert_eq!(left(place.path()), expected, "{pattern}");
        }
    }
}

#[test]
fn what_matches_a_pattern_and_is_not_in_the_snapshot_is_deleted_at_any_depth() {
    let bench = Bench::new();
    plant(bench.folder.path(), &["x/b.jpg", "x/y/deep/b.jpg", "x/0.txt"]);
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let extra = [
        "a.jpg",
        "x/a.jpg",
        "x/c.jpg",
        "x/a/a.jpg",
        "x/y/deep/a.jpg",
        "x/y/deep/c.jpg",
        "x/z.txt",
    ];
    for dry_run in [true, false] {
        run(&bench, &to(place.path()));
        plant(place.path(), &extra);
        let told = Arc::new(Mutex::new(Vec::new()));
        let listed = Arc::clone(&told);
        let options = RestoreOptions {
            selection: only(&["*.jpg"]),
            dry_run,
            observe: Some(Arc::new(move |step| {
                if step.kind == StepKind::Deleted {
                    listed
                        .lock()
                        .unwrap()
                        .push(String::from_utf8(step.path.to_vec()).unwrap());
                }
            })),
            ..deleting(place.path())
        };
        run(&bench, &options);
        let mut told = told.lock().unwrap().clone();
        told.sort();
        assert_eq!(
            told,
            [
                "a.jpg",
                "x/a.jpg",
                "x/a/a.jpg",
                "x/c.jpg",
                "x/y/deep/a.jpg",
                "x/y/deep/c.jpg"
            ]
        );
    }
    assert_eq!(
        left(place.path()),
        ["x/0.txt", "x/a", "x/b.jpg", "x/y/deep/b.jpg", "x/z.txt"]
    );
}

/// `restore latest:etc/passwd --target /etc --delete` emptied /etc, and so did a path with a slip in it.
#[test]
fn a_single_file_or_a_path_that_is_not_there_deletes_nothing() {
    let bench = Bench::new();
    plant(bench.folder.path(), &["etc/passwd", "etc/group"]);
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    plant(place.path(), &["passwd", "shadow"]);
    for path in ["etc/passwd", "etc/passwort"] {
        let options = RestoreOptions {
            selection: Selection::of_path(path.as_bytes()),
            ..deleting(place.path())
        };
        let _ = try_restore(&bench, &options);
        assert_eq!(left(place.path()), ["passwd", "shadow"], "{path}");
    }
}

/// A backup of `/srv/data` says nothing about what else is in `/` and `/srv`: restoring it to `/` deleted the system.
#[test]
fn what_is_beside_the_sources_is_not_deleted() {
    let bench = Bench::new();
    plant(
        bench.folder.path(),
        &["srv/data/kept", "srv/data/deep/kept", "srv/beside", "etc/system"],
    );
    let options = bench.backup_options();
    let source = vec![PathBuf::from("srv/data")];
    backup(&bench.open(), Input::Paths(source), &options, &NoProgress).unwrap();
    plant(bench.folder.path(), &["srv/data/extra", "srv/data/deep/extra"]);
    assert_eq!(run(&bench, &deleting(bench.folder.path())).deleted, 2);
    let beside = ["etc/system", "srv/beside", "srv/data/deep/kept", "srv/data/kept"];
    assert_eq!(left(bench.folder.path()), beside);
    let part = RestoreOptions {
        selection: Selection::of_path(b"srv"),
        ..deleting(&bench.path("srv"))
    };
    assert_eq!(run(&bench, &part).deleted, 0);
    assert_eq!(left(bench.folder.path()), beside);
}

#[test]
fn what_the_backup_left_out_is_not_deleted() {
    let keeps = |excludes: Excludes, spared: &[&str]| {
        let bench = Bench::new();
        plant(
            bench.folder.path(),
            &["kept", "folder/kept", "Cache/kept", "Cache/.nobackup"],
        );
        backup_without(&bench, excludes);
        let planted = [
            "a.tmp",
            "folder/b.TMP",
            "Cache/a",
            "new/b.tmp",
            "new/large",
            "new/plain",
            "other/.nobackup",
            "other/x",
        ];
        plant(bench.folder.path(), &planted);
        fs::write(bench.path("new/large"), [0; 2000]).unwrap();
        let before = left(bench.folder.path());
        let dry = RestoreOptions {
            dry_run: true,
            ..deleting(bench.folder.path())
        };
        let plan = run(&bench, &dry);
        assert_eq!(left(bench.folder.path()), before);
        let report = run(&bench, &deleting(bench.folder.path()));
        assert_eq!(plan.deleted, report.deleted);
        let left = left(bench.folder.path());
        let there: Vec<_> = planted
            .into_iter()
            .filter(|path| left.iter().any(|left| left == path))
            .collect();
        assert_eq!(there, spared);
        assert!(bench.path("kept").exists() && bench.path("folder/kept").exists());
    };
    keeps(Excludes::default(), &[]);
    let patterns = vec![Pattern {
        text: "*.tmp".into(),
        any_case: true,
    }];
    keeps(
        Excludes {
            patterns,
            ..Excludes::default()
        },
        &["a.tmp", "folder/b.TMP", "new/b.tmp"],
    );
    keeps(
        Excludes {
            includes: vec![Pattern::new("kept"), Pattern::new("*.tmp"), Pattern::new(".nobackup")],
            ..Excludes::default()
        },
        &["folder/b.TMP", "Cache/a", "new/large", "new/plain", "other/x"],
    );
    keeps(
        Excludes {
            larger_than: Some(1000),
            ..Excludes::default()
        },
        &["new/large"],
    );
    keeps(
        Excludes {
            markers: vec![Marker::parse(b".nobackup").unwrap()],
            ..Excludes::default()
        },
        &["Cache/a", "other/.nobackup", "other/x"],
    );
    keeps(
        Excludes {
            markers: vec![Marker::parse(b".nobackup:planted, but not so").unwrap()],
            ..Excludes::default()
        },
        &["Cache/a"],
    );
}

/// A marker that is gone from the target marked the folder all the same when it was backed up.
#[test]
fn a_folder_whose_marker_is_only_in_the_snapshot_keeps_what_is_in_it() {
    let bench = Bench::new();
    plant(bench.folder.path(), &["cache/.nobackup", "cache/a", "x"]);
    backup_without(
        &bench,
        Excludes {
            markers: vec![Marker::parse(b".nobackup").unwrap()],
            ..Excludes::default()
        },
    );
    fs::remove_file(bench.path("cache/.nobackup")).unwrap();
    assert_eq!(run(&bench, &deleting(bench.folder.path())).deleted, 0);
    assert_eq!(left(bench.folder.path()), ["cache/.nobackup", "cache/a", "x"]);
}

#[test]
fn a_folder_in_a_files_place_goes_only_without_what_was_left_out() {
    let bench = Bench::new();
    plant(bench.folder.path(), &["thing"]);
    backup_without(
        &bench,
        Excludes {
            patterns: vec![Pattern::new("*.tmp")],
            ..Excludes::default()
        },
    );
    fs::remove_file(bench.path("thing")).unwrap();
    plant(bench.folder.path(), &["thing/a.tmp", "thing/b"]);
    let report = try_restore(&bench, &deleting(bench.folder.path())).unwrap();
    assert_eq!((report.failed, report.deleted), (1, 1), "{report:?}");
    assert_eq!(left(bench.folder.path()), ["thing/a.tmp"]);
    fs::remove_file(bench.path("thing/a.tmp")).unwrap();
    run(&bench, &deleting(bench.folder.path()));
    assert_eq!(left(bench.folder.path()), ["thing"]);
}

/// Collects what a person is told.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<String>>);

impl Progress for Notes {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

fn noted(bench: &Bench, options: &RestoreOptions) -> (RestoreReport, Vec<String>) {
    let repository = bench.open();
    let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
    let notes = Notes::default();
    let report = restore(&repository, &snapshot, options, &notes).unwrap();
    (report, notes.0.into_inner().unwrap())
}

/// `backup -x /` has `/mnt/disk` as an empty folder; what was on the disk was deleted when it was restored to `/`.
#[test]
fn other_file_systems_in_the_target_are_left_alone() {
    let bench = Bench::new();
    plant(bench.folder.path(), &["kept", "mounted/folder/kept"]);
    fs::create_dir(bench.path("disk")).unwrap();
    fs::create_dir(bench.path("empty")).unwrap();
    let one_file_system = |one_file_system| BackupOptions {
        source: SourceOptions {
            one_file_system,
            ..bench.backup_options().source
        },
        ..bench.backup_options()
    };
    bench.backup_with(&one_file_system(true));
    let place = tempfile::tempdir().unwrap();
    run(&bench, &to(place.path()));
    plant(place.path(), &["disk/precious", "extra", "mounted/extra"]);
    // It is not mounted now, but the snapshot cannot tell whether it was then.
    let (report, notes) = noted(&bench, &deleting(place.path()));
    assert_eq!(report.deleted, 2, "{notes:?}");
    assert!(place.path().join("disk/precious").exists());
    assert!(notes.len() == 1 && notes[0].contains("(first: disk)"), "{notes:?}");

    let Some(_disk) = Mount::new(&place.path().join("disk"), "size=4m") else {
        return;
    };
    let Some(_mounted) = Mount::new(&place.path().join("mounted"), "size=4m") else {
        return;
    };
    bench.backup_with(&one_file_system(false));
    plant(
        place.path(),
        &[
            "disk/precious",
            "extra",
            "mounted/extra",
            "mounted/folder/extra",
            "empty/extra",
        ],
    );
    let (report, notes) = noted(&bench, &deleting(place.path()));
    assert_eq!(report.deleted, 2, "{notes:?}");
    assert!(notes.len() == 1 && notes[0].contains("other file systems"), "{notes:?}");
    let expected = [
        "disk/precious",
        "empty",
        "kept",
        "mounted/extra",
        "mounted/folder/extra",
    ];
    let there = left(place.path());
    assert!(
        expected.iter().all(|path| there.iter().any(|there| there == path)),
        "{there:?}"
    );
    assert!(!there.iter().any(|path| path == "extra"), "{there:?}");
}

/// A record names the first hundred items that could not be read, and only those were spared.
#[test]
fn a_snapshot_with_more_errors_than_it_names_deletes_nothing() {
    if crate::verb::is_root() {
        return super::as_ordinary_user("delete::a_snapshot_with_more_errors_than_it_names_deletes_nothing");
    }
    let bench = Bench::new();
    plant(bench.folder.path(), &["kept"]);
    let names: Vec<_> = (0..101).map(|number| format!("locked/{number}")).collect();
    plant(
        bench.folder.path(),
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    for name in &names {
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let report = bench.backup();
    assert_eq!((report.counts.errors, report.errors.len()), (101, 100));
    plant(bench.folder.path(), &["extra"]);
    fs::remove_file(bench.path("kept")).unwrap();
    let error = try_restore(&bench, &deleting(bench.folder.path()))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("101 items could not be read when snapshot "),
        "{error}"
    );
    assert!(bench.path("extra").exists() && !bench.path("kept").exists());
    assert!(names.iter().all(|name| bench.path(name).exists()));
}

/// Every ext4 has `lost+found`, so backups have it, too. Met in the snapshot and in the target, it was taken for a name that the file system takes twice,
/// and nothing at the root was deleted.
#[test]
fn lost_and_found_on_both_sides_spares_nothing_but_itself() {
    let bench = Bench::new();
    plant(bench.folder.path(), &["kept", "lost+found/a"]);
    bench.backup();
    for there in ["lost+found/a", "lost+found/b"] {
        let place = tempfile::tempdir().unwrap();
        plant(place.path(), &[there, "surplus", "m/surplus"]);
        run(&bench, &deleting(place.path()));
        assert_eq!(left(place.path()), ["kept", "lost+found/a"], "{there}");
    }
    let without = Bench::new();
    plant(without.folder.path(), &["kept"]);
    without.backup();
    let place = tempfile::tempdir().unwrap();
    plant(place.path(), &["lost+found/a", "surplus"]);
    assert_eq!(run(&without, &deleting(place.path())).deleted, 1);
    assert_eq!(left(place.path()), ["kept", "lost+found/a"]);
}
