//! The target floor: nothing outside is touched, what was there stays until what replaces it is whole, metadata comes back exactly.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use engine::format::tree::{EntryKind, Metadata};
use engine::target::file::{Way, open_existing, refresh_file, write_file};
use engine::target::node::{make_link, make_node, make_symlink};
use engine::target::{ExistingKind, Folder, LossKind, NewFile, OwnerMap, Target, TargetOptions};
use engine::words::Timestamp;
use rustix::fs::OFlags;

use crate::skipped::skipped;

fn open(path: &Path) -> (Arc<Target>, Arc<Folder>) {
    Target::open(path, TargetOptions::default()).unwrap()
}

fn dressed(mode: u32) -> Metadata {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Metadata {
        mode,
        user,
        group,
        modified: Timestamp::new(1_234_567_890, 123_456_789),
        ..Metadata::default()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn folders_are_dressed_from_leaf_to_root_when_the_last_one_lets_go() {
    let place = tempfile::tempdir().unwrap();
    let (target, root) = open(&place.path().join("new/target"));
    let a = root.create(b"a", Some(dressed(0o500))).unwrap();
    let b = a.create(b"b", Some(dressed(0o555))).unwrap();
    write_file(&b, b"file", &dressed(0o640), Way::Fresh, b"content").unwrap();
    drop(a);
    let path = place.path().join("new/target/a");
    assert_eq!(
        fs::metadata(&path).unwrap().mode() & 0o7777,
        0o700,
        "still open, since b is"
    );
    drop(b);
    for (path, mode) in [
        (path.clone(), 0o500),
        (path.join("b"), 0o555),
        (path.join("b/file"), 0o640),
    ] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()),
            (mode, 1_234_567_890, 123_456_789),
            "{path:?}"
        );
    }
    assert_eq!(fs::read(path.join("b/file")).unwrap(), b"content");
    assert!(target.take_unfinished().is_empty());
    assert!(target.losses.list().is_empty());
}

#[test]
fn bad_names_are_refused_by_every_function() {
    let place = tempfile::tempdir().unwrap();
    let (_target, root) = open(&place.path().join("target"));
    for name in [&b""[..], b".", b"..", b"../x", b"/x", b"a/b", b"a\0b"] {
        assert!(root.create(name, None).is_err());
        assert!(root.existing(name).is_err());
        assert!(root.remove(name).is_err());
        assert!(root.remove_empty(name).is_err());
        assert!(write_file(&root, name, &dressed(0o600), Way::Fresh, b"x").is_err());
        assert!(write_file(&root, name, &dressed(0o600), Way::Replace, b"x").is_err());
        assert!(write_file(&root, name, &dressed(0o600), Way::Update, b"x").is_err());
        assert!(make_symlink(&root, name, b"x", &dressed(0o777), None).is_err());
        assert!(make_node(&root, name, &EntryKind::Fifo, &dressed(0o600), false).is_err());
        assert!(refresh_file(&root, name, &dressed(0o600)).is_err());
    }
    drop(root);
    let left: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["target"]);
    assert_eq!(fs::read_dir(place.path().join("target")).unwrap().count(), 0);
}

#[test]
fn planted_links_are_never_followed() {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    fs::set_permissions(outside.join("victim"), fs::Permissions::from_mode(0o600)).unwrap();
    let path = place.path().join("target");
    fs::create_dir(&path).unwrap();
    symlink(&outside, path.join("folder")).unwrap();
    symlink(outside.join("victim"), path.join("file")).unwrap();
    let (_target, root) = open(&path);

    let there = root.existing(b"folder").unwrap().unwrap();
    assert_eq!(there.kind, ExistingKind::Symlink);
    assert!(root.create(b"folder", None).is_err());
    // Even if somebody swaps a folder for a link after it was looked at.
    assert!(root.enter(b"folder", &there, Some(dressed(0o755))).is_err());
    assert!(write_file(&root, b"file", &dressed(0o666), Way::Fresh, b"evil").is_err());
    assert!(write_file(&root, b"file", &dressed(0o666), Way::Update, b"evil").is_err());
    assert!(open_existing(&root, b"file", OFlags::RDONLY).is_err());
    assert!(refresh_file(&root, b"file", &dressed(0o666)).is_err());
    assert!(
        make_link(&root, b"folder/victim", &root, b"stolen", &dressed(0o600), false).is_err(),
        "not through a link to a folder"
    );
    make_link(&root, b"file", &root, b"second", &dressed(0o600), false).unwrap();
    assert!(
        fs::symlink_metadata(path.join("second")).unwrap().is_symlink(),
        "the link itself has two names, not what it points to"
    );
    write_file(&root, b"file", &dressed(0o644), Way::Replace, b"good").unwrap();
    assert!(fs::symlink_metadata(path.join("file")).unwrap().is_file());
    assert_eq!(root.remove(b"folder").unwrap(), 1);

    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
    let victim = fs::metadata(outside.join("victim")).unwrap();
    assert_eq!((victim.mode() & 0o777, victim.nlink()), (0o600, 1));
}

#[test]
fn what_was_there_stays_until_its_successor_is_whole() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "old").unwrap();
    let (_target, root) = open(place.path());
    let file = NewFile::create(&root, b"file", &dressed(0o600), Way::Replace).unwrap();
    file.write_at(b"new, but broken off", 0).unwrap();
    assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "old");
    drop(file);
    assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "old");
    assert_eq!(
        fs::read_dir(place.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
    let fresh = NewFile::create(&root, b"fresh", &dressed(0o600), Way::Fresh).unwrap();
    drop(fresh);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    write_file(&root, b"file", &dressed(0o600), Way::Replace, b"new").unwrap();
    assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "new");
}

#[test]
fn an_update_changes_the_file_itself_and_punches_its_holes() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), vec![7; 1 << 20]).unwrap();
    let inode = fs::metadata(place.path().join("file")).unwrap().ino();
    let (_target, root) = open(place.path());
    let file = NewFile::create(&root, b"file", &dressed(0o600), Way::Update).unwrap();
    file.hole(0, 512 << 10).unwrap();
    file.write_at(b"middle", 600_000).unwrap();
    file.finish(700_000, &dressed(0o600)).unwrap();
    let metadata = fs::metadata(place.path().join("file")).unwrap();
    assert_eq!((metadata.ino(), metadata.len()), (inode, 700_000));
    let content = fs::read(place.path().join("file")).unwrap();
    assert!(content[..512 << 10].iter().all(|byte| *byte == 0));
    assert_eq!(&content[599_999..600_007], b"\x07middle\x07");
    assert!(metadata.blocks() * 512 < 300_000, "the hole takes no space");
}

#[test]
fn zeros_and_holes_take_no_space_in_new_files() {
    let place = tempfile::tempdir().unwrap();
    let (_target, root) = open(place.path());
    let file = NewFile::create(&root, b"sparse", &dressed(0o600), Way::Fresh).unwrap();
    let mut bytes = vec![0; 1 << 20];
    bytes[5000] = 1;
    bytes[(1 << 20) - 1] = 2;
    file.write_sparse_at(&bytes, 3_000_001).unwrap();
    file.finish(50_000_000, &dressed(0o600)).unwrap();
    let content = fs::read(place.path().join("sparse")).unwrap();
    let mut expected = vec![0; 50_000_000];
    expected[3_000_001..3_000_001 + (1 << 20)].copy_from_slice(&bytes);
    assert!(content == expected);
    assert!(fs::metadata(place.path().join("sparse")).unwrap().blocks() * 512 <= 64 << 10);
}

#[test]
fn every_kind_of_node_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let (target, root) = open(place.path());
    make_symlink(&root, b"link", b"../anywhere\xff", &dressed(0o777), None).unwrap();
    make_node(&root, b"fifo", &EntryKind::Fifo, &dressed(0o622), false).unwrap();
    make_node(&root, b"socket", &EntryKind::Socket, &dressed(0o755), false).unwrap();
    let link = fs::symlink_metadata(place.path().join("link")).unwrap();
    assert_eq!((link.mtime(), link.mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!(
        fs::read_link(place.path().join("link")).unwrap().as_os_str().as_bytes(),
        b"../anywhere\xff"
    );
    let fifo = fs::symlink_metadata(place.path().join("fifo")).unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!((fifo.mode() & 0o7777, fifo.mtime()), (0o622, 1_234_567_890));
    assert!(
        fs::symlink_metadata(place.path().join("socket"))
            .unwrap()
            .file_type()
            .is_socket()
    );
    let device = EntryKind::CharacterDevice { major: 1, minor: 300 };
    let made = make_node(&root, b"device", &device, &dressed(0o666), false);
    if is_root() {
        made.unwrap();
        let device = fs::symlink_metadata(place.path().join("device")).unwrap();
        assert!(device.file_type().is_char_device());
        assert_eq!(
            (rustix::fs::major(device.rdev()), rustix::fs::minor(device.rdev())),
            (1, 300)
        );
        assert_eq!(device.mode() & 0o7777, 0o666);
    } else {
        assert!(
            made.unwrap_err()
                .to_string()
                .starts_with("Could not create the character device: Operation not permitted")
        );
    }
    // The same link again is only dressed; another one replaces it.
    let there = root.existing(b"link").unwrap();
    let inode = link.ino();
    make_symlink(&root, b"link", b"../anywhere\xff", &dressed(0o777), there.as_ref()).unwrap();
    assert_eq!(fs::symlink_metadata(place.path().join("link")).unwrap().ino(), inode);
    make_symlink(&root, b"link", b"elsewhere", &dressed(0o777), there.as_ref()).unwrap();
    assert_eq!(
        fs::read_link(place.path().join("link")).unwrap(),
        Path::new("elsewhere")
    );
    assert!(target.losses.list().is_empty());
}

#[test]
fn attributes_acls_and_capabilities_come_back_and_strangers_are_taken_off() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    let (target, root) = open(place.path());
    let acl = [
        &[2, 0, 0, 0][..],
        &entry(1, 6, u32::MAX),
        &entry(2, 4, 1234),
        &entry(4, 4, u32::MAX),
        &entry(16, 6, u32::MAX),
        &entry(32, 0, u32::MAX),
    ]
    .concat();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut metadata = dressed(0o660);
    metadata.attributes.push((b"user.note".to_vec(), b"hello".to_vec()));
    if is_root() {
        metadata
            .attributes
            .insert(0, (b"security.capability".to_vec(), capability.to_vec()));
        metadata
            .attributes
            .insert(1, (b"system.posix_acl_access".to_vec(), acl.clone()));
    }
    write_file(&root, b"file", &metadata, Way::Fresh, b"x").unwrap();
    for (name, value) in &metadata.attributes {
        let mut buffer = [0; 100];
        let length = rustix::fs::getxattr(&path, &name[..], &mut buffer).unwrap();
        assert_eq!(&buffer[..length], &value[..], "{}", String::from_utf8_lossy(name));
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
    assert!(target.losses.list().is_empty(), "{:?}", target.losses.list());
    // The same file without them.
    refresh_file(&root, b"file", &dressed(0o640)).unwrap();
    assert_eq!(rustix::fs::listxattr_query(&path).unwrap(), 0);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
}

fn entry(tag: u16, rights: u16, id: u32) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
}

#[test]
fn an_acl_that_is_inherited_from_the_target_is_taken_off() {
    let place = tempfile::tempdir().unwrap();
    let acl = [
        &[2, 0, 0, 0][..],
        &entry(1, 7, u32::MAX),
        &entry(2, 7, 1234),
        &entry(4, 5, u32::MAX),
        &entry(16, 7, u32::MAX),
        &entry(32, 5, u32::MAX),
    ]
    .concat();
    rustix::fs::setxattr(
        place.path(),
        c"system.posix_acl_default",
        &acl,
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let (_target, root) = open(place.path());
    let folder = root.create(b"folder", Some(dressed(0o755))).unwrap();
    write_file(&folder, b"file", &dressed(0o644), Way::Fresh, b"x").unwrap();
    drop(folder);
    for name in ["folder", "folder/file"] {
        assert_eq!(
            rustix::fs::listxattr_query(place.path().join(name)).unwrap(),
            0,
            "{name}"
        );
    }
    assert_eq!(
        fs::metadata(place.path().join("folder/file")).unwrap().mode() & 0o7777,
        0o644
    );
}

#[test]
fn owners_are_given_back_with_set_id_bits_by_root_and_mapped_by_name() {
    if !is_root() {
        return skipped("only root gives files away");
    }
    let place = tempfile::tempdir().unwrap();
    let owners = OwnerMap {
        users: [(1000, 4242)].into(),
        ..OwnerMap::default()
    };
    let (target, root) = Target::open(place.path(), TargetOptions { owners, dry_run: false }).unwrap();
    let metadata = Metadata {
        user: 1000,
        group: 77,
        ..dressed(0o6755)
    };
    write_file(&root, b"program", &metadata, Way::Fresh, b"#!").unwrap();
    make_symlink(&root, b"link", b"program", &metadata, None).unwrap();
    root.create(b"folder", Some(metadata)).unwrap();
    for (name, mode) in [("program", 0o6755), ("link", 0o777), ("folder", 0o6755)] {
        let metadata = fs::symlink_metadata(place.path().join(name)).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
            (4242, 77, mode),
            "{name}"
        );
    }
    assert!(target.losses.list().is_empty());
}

#[test]
fn an_ordinary_user_loses_owners_once_in_kind_and_never_keeps_set_id_for_somebody_else() {
    if is_root() {
        return super::as_ordinary_user(
            "floor::an_ordinary_user_loses_owners_once_in_kind_and_never_keeps_set_id_for_somebody_else",
        );
    }
    let place = tempfile::tempdir().unwrap();
    let (target, root) = open(place.path());
    let metadata = Metadata {
        user: 0,
        ..dressed(0o4755)
    };
    write_file(&root, b"one", &metadata, Way::Fresh, b"#!").unwrap();
    write_file(&root, b"two", &metadata, Way::Fresh, b"#!").unwrap();
    assert_eq!(fs::metadata(place.path().join("one")).unwrap().mode() & 0o7777, 0o755);
    write_file(&root, b"mine", &dressed(0o4755), Way::Fresh, b"#!").unwrap();
    assert_eq!(fs::metadata(place.path().join("mine")).unwrap().mode() & 0o7777, 0o4755);
    let losses: Vec<_> = target
        .losses
        .list()
        .into_iter()
        .map(|loss| (loss.kind, loss.count, loss.first))
        .collect();
    assert_eq!(
        losses,
        [
            (LossKind::Owner, 2, b"one".to_vec()),
            (LossKind::SetId, 2, b"one".to_vec())
        ]
    );
    // A folder that forbids its owner to write is filled all the same.
    fs::create_dir(place.path().join("locked")).unwrap();
    fs::set_permissions(place.path().join("locked"), fs::Permissions::from_mode(0o500)).unwrap();
    let there = root.existing(b"locked").unwrap().unwrap();
    let locked = root.enter(b"locked", &there, Some(dressed(0o500))).unwrap();
    write_file(&locked, b"file", &dressed(0o400), Way::Fresh, b"x").unwrap();
    drop(locked);
    assert_eq!(
        fs::metadata(place.path().join("locked")).unwrap().mode() & 0o7777,
        0o500
    );
    assert_eq!(
        fs::metadata(place.path().join("locked/file")).unwrap().mode() & 0o7777,
        0o400
    );
    fs::set_permissions(place.path().join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn hard_links_keep_one_inode_and_replace_strangers() {
    let place = tempfile::tempdir().unwrap();
    let (_target, root) = open(place.path());
    let folder = root.create(b"folder", Some(dressed(0o755))).unwrap();
    write_file(&root, b"first", &dressed(0o644), Way::Fresh, b"x").unwrap();
    fs::write(place.path().join("folder/second"), "stranger").unwrap();
    make_link(&root, b"first", &folder, b"second", &dressed(0o644), true).unwrap();
    make_link(&root, b"folder/second", &root, b"third", &dressed(0o644), false).unwrap();
    drop(folder);
    let inode = |name: &str| fs::metadata(place.path().join(name)).unwrap().ino();
    assert_eq!(inode("first"), inode("folder/second"));
    assert_eq!(inode("first"), inode("third"));
    assert_eq!(fs::read_dir(place.path().join("folder")).unwrap().count(), 1);
}

#[test]
fn paths_longer_than_the_system_takes_and_deeper_than_there_are_descriptors_are_made_and_removed() {
    if rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .is_none_or(|limit| limit > 200)
    {
        return super::with_few_descriptors(
            "floor::paths_longer_than_the_system_takes_and_deeper_than_there_are_descriptors_are_made_and_removed",
        );
    }
    let place = tempfile::tempdir().unwrap();
    let (target, root) = open(place.path());
    let mut folder = Arc::clone(&root);
    let long = vec![b'n'; 200];
    for depth in 0..1500 {
        let name = if depth < 40 { &long[..] } else { b"d" };
        folder = folder.create(name, Some(dressed(0o750))).unwrap();
    }
    assert!(folder.path().len() > 10_000);
    write_file(&folder, b"deepest", &dressed(0o644), Way::Fresh, b"x").unwrap();
    write_file(&folder, b"deeper", &dressed(0o644), Way::Fresh, b"x").unwrap();
    let path = folder.path_of(b"deepest");
    drop(folder);
    assert!(target.take_unfinished().is_empty());
    make_link(&root, &path, &root, b"near", &dressed(0o644), false).unwrap();
    assert_eq!(fs::metadata(place.path().join("near")).unwrap().nlink(), 2);
    assert_eq!(
        fs::metadata(place.path().join(std::ffi::OsStr::from_bytes(&long)))
            .unwrap()
            .mode()
            & 0o7777,
        0o750
    );
    assert_eq!(root.remove(&long).unwrap(), 1502);
    assert_eq!(root.remove(b"nothing").unwrap(), 0);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn removal_stops_at_links_and_lists_names_in_order() {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    let path = place.path().join("target");
    fs::create_dir_all(path.join("b/c/d")).unwrap();
    symlink(&outside, path.join("b/c/link")).unwrap();
    for number in 0..3000 {
        fs::write(path.join("b").join(format!("{number}")), "").unwrap();
    }
    fs::write(path.join("b-"), "").unwrap();
    fs::write(path.join("a"), "").unwrap();
    let (_target, root) = open(&path);
    let names = root.list().unwrap();
    let listed: Vec<_> = (0..).map_while(|index| names.get(index)).collect();
    assert_eq!(listed, [&b"a"[..], b"b", b"b-"]);
    assert!(root.remove_empty(b"b").is_err());
    assert_eq!(root.remove(b"b").unwrap(), 3004);
    assert!(outside.join("kept").exists());
}

#[test]
fn a_dry_run_changes_nothing_and_imagines_what_is_missing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("missing");
    let (_target, root) = Target::open(
        &path,
        TargetOptions {
            dry_run: true,
            ..TargetOptions::default()
        },
    )
    .unwrap();
    let folder = root.create(b"folder", Some(dressed(0o700))).unwrap();
    assert_eq!(folder.existing(b"file").unwrap(), None);
    drop((folder, root));
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    fs::create_dir(path.join("there")).unwrap();
    fs::write(path.join("there/file"), "x").unwrap();
    let before = fs::metadata(path.join("there")).unwrap().mtime_nsec();
    let (_target, root) = Target::open(
        &path,
        TargetOptions {
            dry_run: true,
            ..TargetOptions::default()
        },
    )
    .unwrap();
    let there = root.existing(b"there").unwrap().unwrap();
    let folder = root.enter(b"there", &there, Some(dressed(0o500))).unwrap();
    assert_eq!(folder.existing(b"file").unwrap().unwrap().size, 1);
    drop((folder, root));
    assert_eq!(fs::metadata(path.join("there")).unwrap().mtime_nsec(), before);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}
