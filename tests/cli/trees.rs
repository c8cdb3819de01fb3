//! A source with one of each kind of thing, and whether a restored one is its like: content, mode, time, links.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::home::noise;

/// Fills a folder: small and large files, an empty one, modes, times, symlinks, hard links, an odd name, an empty folder.
pub fn fill(folder: &Path) {
    for number in 0..60u64 {
        let path = folder.join(format!("small/{}/{number}", number % 5));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, noise(number + 1, (number as usize * 173) % 9000)).unwrap();
    }
    std::fs::create_dir(folder.join("nothing in it")).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("large"), noise(1000, 6_000_000)).unwrap();
    std::fs::write(folder.join("program"), "#!/bin/sh\n").unwrap();
    std::fs::write(folder.join("odd\nname \u{1F5FB}"), "odd").unwrap();
    std::fs::write(folder.join("old"), "old").unwrap();
    std::fs::hard_link(folder.join("large"), folder.join("small/again large")).unwrap();
    std::os::unix::fs::symlink("../large", folder.join("small/link")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("dangling")).unwrap();
    for (name, mode) in [
        ("program", 0o755),
        ("empty", 0o600),
        ("old", 0o444),
        ("nothing in it", 0o700),
    ] {
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let long_ago = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    std::fs::File::open(folder.join("old"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
}

/// Adds what only some file systems, and some of it only root, can have: attributes, holes, pipes, devices, names and owners of any kind.
/// What this one cannot have is left out.
pub fn fill_rare(folder: &Path) {
    let at = |name: &[u8]| folder.join(OsStr::from_bytes(name));
    for name in [&b"n\xff\xfe\x80me"[..], b"-e", b" ", b"*", &[b'n'; 255], b"new\nline\n"] {
        // Some file systems take text alone.
        let _ = std::fs::write(at(name), name);
    }
    let _ = std::os::unix::fs::symlink(OsStr::from_bytes(b"no\xffwhere"), at(b"odd link"));
    let sparse = std::fs::File::create(at(b"sparse")).unwrap();
    sparse.write_all_at(&noise(1100, 100_000), 3 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
    std::fs::File::create(at(b"one hole"))
        .unwrap()
        .set_len(5 << 20)
        .unwrap();
    std::fs::create_dir_all(at(b"rare/deep/deeper")).unwrap();
    let owned = |name: &[u8]| {
        // The mode after the owner, who changes it.
        let _ = std::os::unix::fs::lchown(at(name), Some(12_345), Some(54_321));
    };
    for (name, kind) in [(&b"pipe"[..], FileType::Fifo), (b"null", FileType::CharacterDevice)] {
        let mode = Mode::from_raw_mode(0o640);
        let _ = rustix::fs::mknodat(CWD, at(name), kind, mode, rustix::fs::makedev(1, 3));
    }
    let _ = std::fs::hard_link(at(b"odd link"), at(b"rare/odd link again"));
    for name in [&b"rare"[..], b"sparse", b"odd link"] {
        owned(name);
    }
    for (name, mode) in [(&b"rare"[..], 0o3751), (b"sparse", 0o6711), (b"rare/deep", 0o1700)] {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, attribute, value) in [
        (&b"sparse"[..], "user.any", &b"\0\xff\n"[..]),
        (b"sparse", "user.empty", b""),
        (b"sparse", "user.long", &[b'l'; 3000]),
        (b"rare", "user.folder", b"yes"),
        (b"rare/deep", "trusted.of-root", b"alone"),
        (b"odd link", "trusted.link", b"itself"),
    ] {
        let _ = rustix::fs::lsetxattr(at(name), attribute, value, XattrFlags::empty());
    }
    // Before 1970, in the time of our grandchildren, and a symlink's own.
    for (name, seconds, nanoseconds) in [
        (&b"one hole"[..], -2, 500_000_000),
        (b"rare/deep", 4_000_000_000, 1),
        (b"odd link", 7, 8),
    ] {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let _ = rustix::fs::utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// Waits until nothing looks as if it had just been changed: a backup reads such files again, to be sure.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(1100));
}

/// What must be the same of an item.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Option<Vec<u8>>,
    points_to: Option<PathBuf>,
    /// The first name of the file that this is another name of.
    same_as: Option<PathBuf>,
}

/// Everything below a folder, by its path in it.
pub fn items(folder: &Path) -> BTreeMap<PathBuf, Item> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    let mut first_names = BTreeMap::new();
    let mut items = BTreeMap::new();
    for path in paths {
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(folder).unwrap().to_owned();
        let same_as = (metadata.is_file() && metadata.nlink() > 1)
            .then(|| first_names.entry(metadata.ino()).or_insert(name.clone()).clone());
        let item = Item {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            content: metadata.is_file().then(|| std::fs::read(&path).unwrap()),
            points_to: metadata.is_symlink().then(|| std::fs::read_link(&path).unwrap()),
            same_as,
        };
        items.insert(name, item);
    }
    items
}

/// The two folders hold the same.
#[track_caller]
pub fn same(expected: &Path, restored: &Path) {
    let (expected, mut restored) = (items(expected), items(restored));
    for (name, item) in expected {
        let found = restored
            .remove(&name)
            .unwrap_or_else(|| panic!("{} is not restored", name.display()));
        assert!(item == found, "{} is not what it was", name.display());
    }
    assert!(restored.is_empty(), "{:?}", restored.keys());
}
