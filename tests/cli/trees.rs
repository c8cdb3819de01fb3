//! A source with one of each kind of thing, and whether a restored one is its like: content, mode, time, links.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

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
