//! Extended attributes, ACLs, capabilities.

use std::process::Command;

use rustix::fs::XattrFlags;

use crate::skipped::skipped;
use crate::trees::{Tree, is_root, walk};

fn set(tree: &Tree, path: &str, name: &str, value: &[u8]) -> bool {
    match rustix::fs::lsetxattr(tree.at(path), name, value, XattrFlags::empty()) {
        Ok(()) => true,
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Both ways to read them: by the item, and by the open file.
fn attributes(tree: &Tree, path: &str, open_folders: usize) -> Vec<(String, Vec<u8>)> {
    let options = engine::source::SourceOptions {
        open_folders,
        ..tree.options()
    };
    let walked = walk(&["."], options).expect_no_errors();
    let mut found = walked.get(path).clone();
    let attributes = found.attributes();
    assert!(attributes.failure.is_none(), "{:?}", attributes.failure);
    if let Ok(file) = found.open() {
        assert_eq!(file.attributes().values, attributes.values);
    }
    let text = |(name, value): (Vec<u8>, Vec<u8>)| (String::from_utf8(name).unwrap(), value);
    // Security labels of the machine that runs the tests are not what they are after.
    let all = attributes.values.into_iter().map(text);
    all.filter(|(name, _)| name != "security.selinux").collect()
}

#[test]
fn attributes_come_sorted_with_any_bytes() {
    let tree = Tree::new();
    tree.file("file", "")
        .folder("folder")
        .file("bare", "")
        .symlink("file", "link");
    let long = vec![9; 3_000];
    if !set(&tree, "file", "user.b", b"\0\xff") {
        return skipped("this file system keeps no attributes");
    }
    assert!(set(&tree, "file", "user.a", &long) && set(&tree, "file", "user.empty", b""));
    assert!(set(&tree, "folder", "user.folder", b"yes") && set(&tree, "", "user.root", b"yes"));
    for open_folders in [0, 1] {
        let expected = [("user.a", long.as_slice()), ("user.b", b"\0\xff"), ("user.empty", b"")];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_vec()))
            .collect();
        assert_eq!(attributes(&tree, "file", open_folders), expected);
        assert_eq!(
            attributes(&tree, "folder", open_folders),
            [("user.folder".to_string(), b"yes".to_vec())]
        );
        assert_eq!(
            attributes(&tree, "", open_folders),
            [("user.root".to_string(), b"yes".to_vec())]
        );
        assert_eq!(attributes(&tree, "bare", open_folders), []);
        assert_eq!(
            attributes(&tree, "link", open_folders),
            [],
            "a link's own, not those of what it points to"
        );
    }
}

#[test]
fn more_names_than_fit_at_once_are_all_read() {
    let tree = Tree::new();
    tree.file("file", "");
    if !set(&tree, "file", "user.first", b"") {
        return skipped("this file system keeps no attributes");
    }
    let set_all = (0..60).all(|at| set(&tree, "file", &format!("user.{}{at}", "n".repeat(30)), b"v"));
    assert!(set_all);
    assert_eq!(attributes(&tree, "file", 0).len(), 61);
}

#[test]
fn links_have_attributes_of_their_own() {
    let tree = Tree::new();
    tree.symlink("nowhere", "link");
    if !is_root() || !set(&tree, "link", "trusted.mine", b"1") {
        return skipped("only root sets attributes of links");
    }
    assert_eq!(
        attributes(&tree, "link", 0),
        [("trusted.mine".to_string(), b"1".to_vec())]
    );
}

#[test]
fn access_lists_are_kept_as_the_kernel_shows_them() {
    let tree = Tree::new();
    tree.file("file", "").folder("folder");
    let setfacl = |rule: &str, path: &str| {
        Command::new("setfacl")
            .args(["-m", rule])
            .arg(tree.at(path))
            .status()
            .is_ok_and(|status| status.success())
    };
    if !setfacl("u:12345:rwx", "file") {
        return skipped("there is no setfacl, or this file system keeps no access lists");
    }
    assert!(setfacl("d:g:54321:rx", "folder"));
    let names = |path| {
        attributes(&tree, path, 0)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("file"), ["system.posix_acl_access"]);
    assert_eq!(names("folder"), ["system.posix_acl_default"]);
    let (_, value) = attributes(&tree, "file", 0).remove(0);
    assert!(
        value.windows(4).any(|bytes| bytes == 12_345_u32.to_le_bytes()),
        "the number stands in it"
    );
}

#[test]
fn capabilities_of_files_are_kept() {
    let tree = Tree::new();
    tree.file("file", "");
    let setcap = Command::new("setcap")
        .arg("cap_net_raw+ep")
        .arg(tree.at("file"))
        .status();
    if !setcap.is_ok_and(|status| status.success()) {
        return skipped("there is no setcap, or it may not");
    }
    let kept = attributes(&tree, "file", 0);
    assert_eq!(kept[0].0, "security.capability");
    assert!(kept[0].1.len() >= 20);
}
