//! What only a folder of this machine has: permissions, links, full disks, leftovers of the dead.

use std::os::unix::fs::{PermissionsExt, symlink};

use bytes::Bytes;
use engine::words::{Error, StoreFailure};

use crate::conformance::noise;
use crate::mount::Mount;
use crate::opening;
use crate::remount::remount;

fn failure(error: &Error) -> StoreFailure {
    let Error::Store { failure, .. } = error else {
        panic!("{error}")
    };
    *failure
}

#[test]
fn nothing_is_made_before_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/repository");
    let store = opening::open(path.to_str().unwrap(), &opening::options());
    assert!(matches!(store.get("config"), Err(Error::Missing { .. })));
    assert_eq!(store.list("s/").unwrap(), []);
    store.delete(&["config".to_owned()]).unwrap();
    // A disk that is not mounted must not be mistaken for an empty one.
    assert_eq!(
        failure(&store.put("config", Bytes::new()).unwrap_err()),
        StoreFailure::NoBucket
    );
    assert!(!path.exists());
    store.create_root().unwrap();
    store.create_root().unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    store.put("p/a/1", Bytes::from_static(b"x")).unwrap();
    assert_eq!(path.join("p/a").metadata().unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(path.join("p/a/1").metadata().unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn links_that_lead_out_are_never_followed() {
    let (folder, store) = opening::local();
    let root = folder.path().join("repository");
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("1"), "secret").unwrap();
    std::fs::create_dir(root.join("p")).unwrap();
    symlink(&outside, root.join("p/a")).unwrap();
    symlink(outside.join("1"), root.join("config")).unwrap();
    for error in [
        store.get("p/a/1").unwrap_err(),
        store.get("config").unwrap_err(),
        store.put("p/a/2", Bytes::from_static(b"x")).unwrap_err(),
        store.delete(&["p/a/1".to_owned()]).unwrap_err(),
        store.list("p/a/").unwrap_err(),
        store.list("").unwrap_err(),
    ] {
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    assert_eq!(store.list("x/").unwrap(), []);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn leftovers_of_the_dead_are_swept_and_work_under_way_is_not() {
    let (folder, store) = opening::local();
    store.put("p/a/1", noise(10, 0)).unwrap();
    let (dead, alive) = (
        folder.path().join("repository/p/a/.tmp-dead"),
        folder.path().join("repository/p/a/.tmp-alive"),
    );
    std::fs::write(&dead, "half").unwrap();
    let writer = std::fs::File::create(&alive).unwrap();
    writer.lock().unwrap();
    assert_eq!(store.list("").unwrap().len(), 1);
    assert_eq!(store.sweep_leftovers().unwrap(), 1);
    assert!(!dead.exists() && alive.exists());
    drop(writer);
    assert_eq!(store.sweep_leftovers().unwrap(), 1);
    assert!(!alive.exists());
    store.delete(&["p/a/1".to_owned()]).unwrap();
    assert!(
        !folder.path().join("repository/p/a").exists(),
        "a session's empty folder goes with its last object"
    );
}

#[test]
fn writers_and_deleters_of_one_folder_do_not_hurt_each_other() {
    let (_folder, store) = opening::local();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..50 {
                    let name = format!("p/a/{writer}-{number}");
                    store.put(&name, noise(100, number)).unwrap();
                    assert_eq!(store.get(&name).unwrap(), noise(100, number));
                    store.delete(&[name]).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list("").unwrap(), []);
}

/// Root may do everything: runs the test again as somebody who may not.
fn as_nobody(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("stores");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), all).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", test]);
    let output = command
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && says.contains("1 passed"),
        "{says} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_is_forbidden_says_so() {
    if rustix::process::geteuid().is_root() {
        return as_nobody("local::what_is_forbidden_says_so");
    }
    let (folder, store) = opening::local();
    store.put("config", Bytes::new()).unwrap();
    let root = folder.path().join("repository");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(
        failure(&store.put("p/1", Bytes::new()).unwrap_err()),
        StoreFailure::NotAllowed
    );
    assert_eq!(
        failure(&store.delete(&["config".to_owned()]).unwrap_err()),
        StoreFailure::NotAllowed
    );
    std::fs::set_permissions(root.join("config"), std::fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(failure(&store.get("config").unwrap_err()), StoreFailure::NotAllowed);
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_full_disk_says_so_and_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(folder.path(), "size=1m") else {
        return;
    };
    let store = opening::open(folder.path().to_str().unwrap(), &opening::options());
    store.put("p/a/1", noise(300_000, 1)).unwrap();
    let error = store.put("p/a/2", noise(900_000, 2)).unwrap_err();
    assert_eq!(failure(&error), StoreFailure::Full);
    assert!(error.to_string().contains("no space is left"), "{error}");
    assert_eq!(
        std::fs::read_dir(folder.path().join("p/a")).unwrap().count(),
        1,
        "the half is gone again"
    );
    store.put("p/a/3", noise(300_000, 3)).unwrap();
    assert_eq!(store.get("p/a/1").unwrap(), noise(300_000, 1));
}

#[test]
fn a_read_only_disk_says_so_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(folder.path(), "size=1m") else {
        return;
    };
    let store = opening::open(folder.path().to_str().unwrap(), &opening::options());
    store.put("p/a/1", noise(300, 1)).unwrap();
    remount(folder.path(), "ro");
    assert_eq!(
        failure(&store.put("p/a/2", noise(300, 2)).unwrap_err()),
        StoreFailure::ReadOnly
    );
    assert_eq!(
        failure(&store.delete(&["p/a/1".to_owned()]).unwrap_err()),
        StoreFailure::ReadOnly
    );
    assert_eq!(store.get("p/a/1").unwrap(), noise(300, 1));
    assert_eq!(store.list("").unwrap().len(), 1);
}
