//! Very wide, very deep, very many: with few descriptors.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use engine::source::SourceOptions;
use rustix::fs::{CWD, Mode, OFlags};

use crate::trees::{Tree, Walked, walk};

/// Makes a chain of folders below the tree, deeper than any path can name; each holds a file beside the next folder.
fn chain(tree: &Tree, name: &str, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at: OwnedFd = rustix::fs::openat(CWD, tree.path(), flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
        at = rustix::fs::openat(&at, name, flags, Mode::empty()).unwrap();
        let file = rustix::fs::openat(&at, "z", OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(&file, b"deep").unwrap();
    }
}

/// `remove_dir_all` of the standard library goes by descriptors too, but keeps all of them open.
fn remove_chain(tree: &Tree, name: &str) {
    let status = std::process::Command::new("rm")
        .arg("-rf")
        .arg(tree.at(name))
        .status()
        .unwrap();
    assert!(status.success());
}

fn content(walked: &mut Walked, at: usize) -> Vec<u8> {
    let mut content = Vec::new();
    walked.found[at].open().unwrap().read_all(&mut content, 100).unwrap();
    content
}

#[test]
fn a_folder_of_two_hundred_thousand_entries_is_walked() {
    let tree = Tree::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = rustix::fs::openat(CWD, tree.path(), flags, Mode::empty()).unwrap();
    let first = tree.file("first", "").at("first");
    for at in 0..200_000_u32 {
        // Hard links are made faster than files. Their number is limited by file systems: 65,000 on ext4.
        let name = format!("entry-{:06}", at.wrapping_mul(7_919) % 200_000);
        if at % 50_000 == 0 {
            std::fs::write(&first, format!("{at}")).unwrap();
            std::fs::rename(&first, tree.at(&name)).unwrap();
            rustix::fs::linkat(&folder, name.as_str(), &folder, "first", rustix::fs::AtFlags::empty()).unwrap();
        } else {
            rustix::fs::linkat(&folder, "first", &folder, name.as_str(), rustix::fs::AtFlags::empty()).unwrap();
        }
        if at % 50_000 == 49_999 {
            std::fs::remove_file(&first).unwrap();
        }
    }
    let walked = tree.walk().expect_no_errors();
    assert_eq!(walked.found.len(), 200_001);
    assert_eq!(walked.found[200_000].path, b"entry-199999");
    let passes = walk(
        &["."],
        SourceOptions {
            names_at_once: 30_000,
            ..tree.options()
        },
    )
    .expect_no_errors();
    assert_eq!(passes.paths(), walked.paths());
}

#[test]
fn paths_longer_than_the_system_resolves_are_walked_and_read() {
    let tree = Tree::new();
    let long = "n".repeat(250);
    chain(&tree, &long, 40);
    for open_folders in [0, 1, 7] {
        let mut walked = walk(
            &["."],
            SourceOptions {
                open_folders,
                ..tree.options()
            },
        )
        .expect_no_errors();
        assert_eq!(walked.found.len(), 81);
        assert_eq!(walked.found[40].path.len(), 40 * 251 - 1);
        assert_eq!(content(&mut walked, 41), b"deep");
        assert_eq!(content(&mut walked, 80), b"deep");
        assert!(walked.found[40].attributes().failure.is_none());
    }
    remove_chain(&tree, &long);
}

#[test]
fn a_chain_of_thousands_of_folders_needs_few_descriptors() {
    let tree = Tree::new();
    chain(&tree, "d", 3_000);
    let mut walked = walk(
        &["."],
        SourceOptions {
            open_folders: 16,
            ..tree.options()
        },
    )
    .expect_no_errors();
    assert_eq!(walked.found.len(), 6_001);
    assert_eq!(content(&mut walked, 3_001), b"deep");
    // Dropping the chain from its end must not recurse through it.
    std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(move || drop(walked))
        .unwrap()
        .join()
        .unwrap();
    remove_chain(&tree, "d");
}

#[test]
fn many_folders_need_few_descriptors() {
    let tree = Tree::new();
    for at in 0..3_000 {
        tree.file(format!("{}/{at}/file", at % 3), format!("{at}"));
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut walked = walk(
        &["."],
        SourceOptions {
            open_folders: 20,
            ..tree.options()
        },
    )
    .expect_no_errors();
    // Other tests run beside this one; 3,000 would be too many all the same.
    assert!(descriptors() < before + 1_000, "{} descriptors are open", descriptors());
    for found in &mut walked.found {
        if found.name() == b"file" {
            let expected = found.path.split(|byte| *byte == b'/').nth(1).unwrap().to_vec();
            let mut content = Vec::new();
            found.open().unwrap().read_all(&mut content, 100).unwrap();
            assert_eq!(OsStr::from_bytes(&content), OsStr::from_bytes(&expected));
        }
    }
}
