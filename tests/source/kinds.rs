//! Every kind of item, its metadata, and names of any bytes.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use engine::source::FoundKind;
use rustix::fs::{CWD, FileType, Mode};

use crate::skipped::skipped;
use crate::trees::{Tree, is_root};

#[test]
fn every_kind_is_found_with_what_makes_it() {
    let tree = Tree::new();
    tree.folder("folder")
        .file("file", "12345")
        .symlink("nowhere/at\nall", "link");
    let _socket = UnixListener::bind(tree.at("socket")).unwrap();
    rustix::fs::mknodat(CWD, tree.at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let walked = tree.walk().expect_no_errors();
    assert_eq!(walked.paths(), ["", "fifo", "file", "folder", "link", "socket"]);
    assert_eq!(*walked.kind(""), FoundKind::Folder);
    assert_eq!(*walked.kind("folder"), FoundKind::Folder);
    assert_eq!(*walked.kind("fifo"), FoundKind::Fifo);
    assert_eq!(*walked.kind("socket"), FoundKind::Socket);
    assert!(matches!(
        walked.kind("file"),
        FoundKind::File {
            size: 5,
            links: 1,
            from_device: false,
            ..
        }
    ));
    let FoundKind::Symlink { target, .. } = walked.kind("link") else {
        panic!("no link")
    };
    assert_eq!(target, b"nowhere/at\nall");
}

#[test]
fn devices_are_nodes_when_they_are_in_a_folder() {
    if !is_root() {
        return skipped("only root makes devices");
    }
    let tree = Tree::new();
    let node = |name: &str, kind, major, minor| {
        rustix::fs::mknodat(
            CWD,
            tree.at(name),
            kind,
            Mode::from_raw_mode(0o600),
            rustix::fs::makedev(major, minor),
        )
    };
    if node("null", FileType::CharacterDevice, 1, 3).is_err() {
        return skipped("this sandbox makes no devices");
    }
    node("disk", FileType::BlockDevice, 259, 0x12345).unwrap();
    let walked = tree.walk().expect_no_errors();
    assert_eq!(*walked.kind("null"), FoundKind::CharacterDevice { major: 1, minor: 3 });
    assert_eq!(
        *walked.kind("disk"),
        FoundKind::BlockDevice {
            major: 259,
            minor: 0x12345
        }
    );
}

#[test]
fn metadata_is_what_the_system_says_to_the_nanosecond() {
    let tree = Tree::new();
    tree.file("file", "x");
    std::fs::set_permissions(tree.at("file"), std::fs::Permissions::from_mode(0o6751)).unwrap();
    let before_1970 = rustix::fs::Timespec {
        tv_sec: -2,
        tv_nsec: 999_999_999,
    };
    let times = rustix::fs::Timestamps {
        last_access: before_1970,
        last_modification: before_1970,
    };
    rustix::fs::utimensat(CWD, tree.at("file"), &times, rustix::fs::AtFlags::empty()).unwrap();
    let walked = tree.walk().expect_no_errors();
    let seen = &walked.get("file").metadata;
    let expected = std::fs::metadata(tree.at("file")).unwrap();
    assert_eq!(seen.mode, 0o6751);
    assert_eq!(
        (seen.user, seen.group, seen.inode),
        (expected.uid(), expected.gid(), expected.ino())
    );
    assert_eq!(seen.modified.0, -1_000_000_001);
    assert_eq!(seen.changed.0, expected.ctime() * 1_000_000_000 + expected.ctime_nsec());
    assert!(seen.attributes.is_empty());
}

#[test]
fn names_are_bytes_whatever_they_are() {
    let tree = Tree::new();
    let names: [&[u8]; 7] = [
        b"new\nline",
        b"\xff\xfe",
        b" ",
        b"-rf",
        b"\x01",
        b"...",
        "\u{1f600}".as_bytes(),
    ];
    for name in names {
        tree.file(name, name);
    }
    let walked = tree.walk().expect_no_errors();
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    expected.push(Vec::new());
    expected.sort();
    assert_eq!(
        walked.found.iter().map(|found| found.path.clone()).collect::<Vec<_>>(),
        expected
    );
    for mut found in walked.found.into_iter().skip(1) {
        let mut content = Vec::new();
        found.open().unwrap().read_all(&mut content, 1_000).unwrap();
        assert_eq!(content, found.path);
    }
}

#[test]
fn names_of_one_inode_tell_that_they_are() {
    let tree = Tree::new();
    tree.file("a", "x")
        .folder("below")
        .symlink("a", "link")
        .file("alone", "");
    std::fs::hard_link(tree.at("a"), tree.at("below/b")).unwrap();
    std::fs::hard_link(tree.at("link"), tree.at("below/link")).unwrap();
    let walked = tree.walk().expect_no_errors();
    let (first, second) = (walked.get("a"), walked.get("below/b"));
    assert_eq!(first.metadata.inode, second.metadata.inode);
    assert_eq!(first.link().unwrap(), second.link().unwrap());
    assert_eq!(first.link().unwrap().links, 2);
    assert_eq!(walked.get("link").link().unwrap().links, 2);
    assert_eq!(walked.get("alone").link(), None);
    assert_eq!(
        walked.get("below").link(),
        None,
        "a folder has many links, and they are no names"
    );
}
