//! Two trees of the file system, compared in everything that a restore gives back.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything about one item.
#[derive(Debug, PartialEq, Eq)]
pub struct Likeness {
    pub mode: u32,
    pub owner: (u32, u32),
    pub modified: (i64, i64),
    pub device: u64,
    pub link: Option<PathBuf>,
    pub content: Option<(u64, blake3::Hash)>,
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first path in the tree that is the same inode.
    pub same_as: Option<PathBuf>,
}

/// All items of a tree by their path.
pub fn likeness(root: &Path) -> BTreeMap<PathBuf, Likeness> {
    let mut all = BTreeMap::new();
    collect(root, Path::new(""), &mut all, &mut HashMap::new());
    all
}

/// Says where two trees differ, in words; nothing if they do not.
pub fn difference(left: &Path, right: &Path) -> Option<String> {
    let (left, right) = (likeness(left), likeness(right));
    for (path, likeness) in &left {
        match right.get(path) {
            None => return Some(format!("{path:?} is missing")),
            Some(other) if other != likeness => return Some(format!("{path:?}: {likeness:?}\nbut {other:?}")),
            Some(_) => {}
        }
    }
    right
        .keys()
        .find(|path| !left.contains_key(*path))
        .map(|path| format!("{path:?} is too much"))
}

fn collect(root: &Path, path: &Path, all: &mut BTreeMap<PathBuf, Likeness>, inodes: &mut HashMap<u64, PathBuf>) {
    let full = if path.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    };
    let metadata = fs::symlink_metadata(&full).unwrap();
    let several = metadata.nlink() > 1 && !metadata.is_dir();
    let same_as = several.then(|| inodes.entry(metadata.ino()).or_insert_with(|| path.to_owned()).clone());
    let content = metadata.is_file().then(|| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs::File::open(&full).unwrap()).unwrap();
        (metadata.len(), hasher.finalize())
    });
    let likeness = Likeness {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        device: metadata.rdev(),
        link: metadata.is_symlink().then(|| fs::read_link(&full).unwrap()),
        content,
        attributes: attributes(&full),
        same_as,
    };
    all.insert(path.to_owned(), likeness);
    if metadata.is_dir() {
        let mut names: Vec<OsString> = fs::read_dir(&full)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            collect(root, &path.join(name), all, inodes);
        }
    }
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut attributes: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    attributes.sort();
    attributes
}

/// Bytes on disk of everything in the tree.
pub fn bytes_on_disk(root: &Path, name: &[u8]) -> u64 {
    fs::symlink_metadata(root.join(std::ffi::OsStr::from_bytes(name)))
        .unwrap()
        .blocks()
        * 512
}
