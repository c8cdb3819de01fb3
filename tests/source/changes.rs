//! What happens to a source while it is read: it grows, vanishes, is replaced, or refuses.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::source::{FoundKind, Walk};

use crate::skipped::skipped;
use crate::trees::{Tree, collect, is_root, walk};

#[test]
fn a_file_that_is_written_to_while_read_is_told_from_one_that_is_not() {
    let tree = Tree::new();
    tree.file("quiet", "x").file("grows", "x").file("same-size", "x");
    let walked = tree.walk().expect_no_errors();
    let open = |path: &str| walked.get(path).clone().open().unwrap();
    let (quiet, grows, same) = (open("quiet"), open("grows"), open("same-size"));
    std::fs::OpenOptions::new()
        .append(true)
        .open(tree.at("grows"))
        .unwrap()
        .write_all(b"y")
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::OpenOptions::new()
        .write(true)
        .open(tree.at("same-size"))
        .unwrap()
        .write_all(b"z")
        .unwrap();
    assert!(!quiet.has_changed().unwrap());
    assert!(grows.has_changed().unwrap());
    assert!(same.has_changed().unwrap());
}

#[test]
fn a_file_that_was_written_to_since_it_was_listed_is_read_as_it_is_now() {
    let tree = Tree::new();
    tree.file("file", "x").file("replaced", "old");
    let walked = tree.walk().expect_no_errors();
    std::fs::write(tree.at("file"), "longer").unwrap();
    tree.file("new", "another inode");
    std::fs::rename(tree.at("new"), tree.at("replaced")).unwrap();
    for (path, expected) in [("file", "longer"), ("replaced", "another inode")] {
        let mut found = walked.get(path).clone();
        let file = found.open().unwrap();
        assert_eq!(found.size(), expected.len() as u64);
        assert_eq!(file.size(), found.size());
        let mut content = Vec::new();
        file.read_all(&mut content, 100).unwrap();
        assert_eq!(content, expected.as_bytes());
        assert!(!file.has_changed().unwrap());
    }
}

#[test]
fn a_file_that_vanished_since_it_was_listed_is_not_found() {
    let tree = Tree::new();
    tree.file("folder/file", "x");
    let mut found = tree.walk().get("folder/file").clone();
    std::fs::remove_dir_all(tree.at("folder")).unwrap();
    assert_eq!(found.open().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_took_a_files_place_is_not_read() {
    let tree = Tree::new();
    tree.file("to-link", "x")
        .file("to-fifo", "x")
        .file("to-folder", "x")
        .file("secret", "secret");
    let walked = tree.walk().expect_no_errors();
    for name in ["to-link", "to-fifo", "to-folder"] {
        std::fs::remove_file(tree.at(name)).unwrap();
    }
    tree.symlink("secret", "to-link").folder("to-folder");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, tree.at("to-fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for name in ["to-link", "to-fifo", "to-folder"] {
        assert!(walked.get(name).clone().open().is_err(), "{name}");
    }
}

#[test]
fn a_folder_that_was_replaced_leads_nowhere_else() {
    let tree = Tree::new();
    let elsewhere = Tree::new();
    elsewhere.file("file", "secret").file("deep/file", "secret");
    tree.file("a/file", "x").file("b/deep/file", "x");
    // With so few descriptors the folders are opened again when their files are.
    let options = engine::source::SourceOptions {
        open_folders: 1,
        ..tree.options()
    };
    let walked = walk(&["."], options).expect_no_errors();
    for name in ["a", "b"] {
        std::fs::rename(tree.at(name), tree.at(format!("moved-{name}"))).unwrap();
        tree.symlink(elsewhere.path(), name);
    }
    for path in ["a/file", "b/deep/file"] {
        let error = walked.get(path).clone().open().unwrap_err();
        assert_ne!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn links_that_come_and_go_are_never_followed() {
    let tree = Tree::new();
    let elsewhere = Tree::new();
    for at in 0..20 {
        elsewhere.file(format!("secret-{at}"), "");
    }
    for at in 0..300 {
        tree.file(format!("f/{at:03}/inside"), "");
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for at in (0..300).step_by(3) {
                    let (name, aside) = (tree.at(format!("f/{at:03}")), tree.at(format!("aside-{at}")));
                    std::fs::rename(&name, &aside).unwrap();
                    std::os::unix::fs::symlink(elsewhere.path(), &name).unwrap();
                    std::fs::remove_file(&name).unwrap();
                    std::fs::rename(&aside, &name).unwrap();
                }
            }
        });
        for _ in 0..30 {
            let walked = collect(Walk::new(&["f".into()], tree.options()).unwrap());
            let paths = walked.paths();
            assert!(paths.iter().all(|path| !path.contains("secret")), "a link was followed");
            for found in &walked.found {
                if let FoundKind::Symlink { target, .. } = &found.kind {
                    assert_eq!(target, elsewhere.path().as_os_str().as_encoded_bytes());
                }
            }
            assert!(
                walked
                    .errors
                    .iter()
                    .all(|error| error.vanished() || error.path.starts_with(b"f/"))
            );
            // Those that nobody touches are there with what is in them.
            for at in (1..300).step_by(3) {
                assert!(paths.contains(&format!("f/{at:03}/inside")), "{at} is missing");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn files_that_come_and_go_do_not_disturb_the_others() {
    let tree = Tree::new();
    for at in 0..500 {
        tree.file(format!("stays-{at:03}"), "");
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("stays-{:03}-{round}", round % 500);
                tree.file(&name, "");
                std::fs::rename(tree.at(&name), tree.at("goes")).unwrap();
                std::fs::remove_file(tree.at("goes")).unwrap();
            }
        });
        for _ in 0..30 {
            let walked = tree.walk();
            assert!(
                walked.errors.iter().all(|error| error.vanished()),
                "{:?}",
                walked.errors
            );
            let stay = walked.paths().iter().filter(|path| path.len() == 9).count();
            assert_eq!(stay, 500);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Runs this test program again as nobody, who may read less than root.
#[test]
fn what_may_not_be_read_is_reported_and_the_rest_is_read() {
    const NOBODY: u32 = 65_534;
    if std::env::var_os("SOURCE_TESTS_TREE").is_none() && is_root() {
        let tree = Tree::new();
        std::fs::set_permissions(tree.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = tree.at("program");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        forbid(&tree);
        let mut command = std::process::Command::new(&program);
        command.args([
            "--exact",
            "changes::what_may_not_be_read_is_reported_and_the_rest_is_read",
            "--nocapture",
        ]);
        command.env("SOURCE_TESTS_TREE", tree.path()).current_dir("/");
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        match command.output() {
            Ok(output) => {
                let text =
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{text}");
            }
            Err(error) => skipped(&format!("the test program does not start as nobody: {error}")),
        }
        allow(&tree);
        return;
    }
    let own = Tree::new();
    let here = match std::env::var_os("SOURCE_TESTS_TREE") {
        Some(path) => std::path::PathBuf::from(path),
        None => {
            forbid(&own);
            own.path().to_path_buf()
        }
    };
    let options = engine::source::SourceOptions { here, ..own.options() };
    let walked = walk(&["sealed", "blind", "file", "open"], options);
    assert_eq!(walked.paths(), ["blind", "file", "open", "open/x", "sealed"]);
    let errors: Vec<_> = walked
        .errors
        .iter()
        .map(|error| (error.action, error.path.as_slice()))
        .collect();
    assert_eq!(errors, [("read", b"blind/x".as_slice()), ("list", b"sealed")]);
    assert!(
        walked
            .errors
            .iter()
            .all(|error| error.source.kind() == ErrorKind::PermissionDenied)
    );
    assert_eq!(
        walked.get("file").clone().open().unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert!(walked.get("open/x").clone().open().is_ok());
    allow(&own);
}

/// A folder that cannot be listed, one that can be listed and not entered, a file that cannot be read.
fn forbid(tree: &Tree) {
    tree.file("sealed/x", "")
        .file("blind/x", "")
        .file("file", "")
        .file("open/x", "");
    for (name, mode) in [("sealed", 0o311), ("blind", 0o644), ("file", 0o200), ("open", 0o755)] {
        std::fs::set_permissions(tree.at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // Owners may still read by the first digit, others by the last.
    for (name, mode) in [("sealed", 0o300), ("blind", 0o444), ("file", 0o200)] {
        std::fs::set_permissions(tree.at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn allow(tree: &Tree) {
    for name in ["sealed", "blind"] {
        if tree.at(name).exists() {
            std::fs::set_permissions(tree.at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
