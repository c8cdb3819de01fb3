//! What is at each path, as lines of JSON in path order, so that two ways to the same tree can be compared, here and in other languages.
//!
//! `path`, `type`, `mode`, `user`, `group`, `modified` (nanoseconds); of files `size` and the BLAKE3 `hash`; `target` of links, `device` of devices;
//! `attributes` where there are any; `link`, the first path of the same inode. Bytes that are not plain are shown as %XX.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use engine::format::tree::{Content, EntryKind, Extent, HardLink, ListReader, TreeReader};
use engine::repository::Repository;
use engine::words::{BlobId, BlobKind};
use serde_json::{Map, Value, json};

pub fn shown(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte);
    bytes
        .iter()
        .map(|&byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

pub fn parse(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn to_text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Fails with the first lines that differ.
pub fn assert_equal(expected: &[Value], found: &[Value], what: &str) {
    for (expected, found) in expected.iter().zip(found) {
        assert_eq!(expected, found, "{what}");
    }
    assert_eq!(expected.len(), found.len(), "{what}");
}

fn attributes(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Option<Value> {
    let map: Map<String, Value> = pairs
        .into_iter()
        .map(|(name, value)| (shown(&name), shown(&value).into()))
        .collect();
    (!map.is_empty()).then_some(map.into())
}

/// The manifest of a folder on disk; the folder itself is the path of no bytes.
pub fn of_folder(folder: &Path) -> Vec<Value> {
    let (mut lines, mut links) = (Vec::new(), HashMap::new());
    walk(folder, b"", &mut lines, &mut links);
    lines
}

fn walk(full: &Path, path: &[u8], lines: &mut Vec<Value>, links: &mut HashMap<(u64, u64), Vec<u8>>) {
    let metadata = full.symlink_metadata().unwrap();
    let kind = metadata.file_type();
    let device = || {
        let number = metadata.rdev();
        json!([rustix::fs::major(number), rustix::fs::minor(number)])
    };
    let mut line = json!({
        "path": shown(path),
        "mode": metadata.permissions().mode() & 0o7777,
        "user": metadata.uid(),
        "group": metadata.gid(),
        "modified": metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
    });
    line["type"] = if kind.is_dir() {
        "folder"
    } else if kind.is_file() {
        line["size"] = metadata.len().into();
        line["hash"] = match std::fs::File::open(full) {
            Ok(file) => blake3::Hasher::new()
                .update_reader(file)
                .unwrap()
                .finalize()
                .to_string()
                .into(),
            // Its owner may not read it, and this is not root.
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
                Value::Null
            }
        };
        "file"
    } else if kind.is_symlink() {
        line["target"] = shown(std::fs::read_link(full).unwrap().as_os_str().as_bytes()).into();
        "symlink"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_char_device() {
        line["device"] = device();
        "character-device"
    } else {
        line["device"] = device();
        "block-device"
    }
    .into();
    if !kind.is_dir() && metadata.nlink() > 1 {
        let first = links
            .entry((metadata.dev(), metadata.ino()))
            .or_insert_with(|| path.to_vec());
        if first != path {
            line["link"] = shown(first).into();
        }
    }
    if let Some(attributes) = attributes(read_attributes(full)) {
        line["attributes"] = attributes;
    }
    lines.push(line);
    if kind.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(full)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let below = if path.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [path, b"/", name.as_bytes()].concat()
            };
            walk(&full.join(&name), &below, lines, links);
        }
    }
}

fn read_attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut buffer = vec![0u8; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap();
    let names: Vec<Vec<u8>> = buffer[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let value = |name: &Vec<u8>| {
        let mut value = vec![0u8; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name.as_slice(), &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names
        .into_iter()
        .map(|name| {
            let value = value(&name);
            (name, value)
        })
        .collect()
}

/// The manifest of a tree in a repository: every byte of every file is read.
pub fn of_tree(repository: &Repository, root: BlobId) -> Vec<Value> {
    let mut links: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let entries = TreeReader::new(repository, root).map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let metadata = &entry.metadata;
            let mut line = json!({
                "path": shown(&entry.path),
                "mode": metadata.mode,
                "user": metadata.user,
                "group": metadata.group,
                "modified": metadata.modified.0,
            });
            let mut hard_link: Option<HardLink> = None;
            line["type"] = match &entry.kind {
                EntryKind::Folder => "folder",
                EntryKind::File {
                    size, content, link, ..
                } => {
                    let (length, hash) = read(repository, content, *size);
                    assert_eq!(length, *size, "{}", shown(&entry.path));
                    line["size"] = length.into();
                    line["hash"] = hash.into();
                    hard_link = *link;
                    "file"
                }
                EntryKind::Symlink { target, link } => {
                    line["target"] = shown(target).into();
                    hard_link = *link;
                    "symlink"
                }
                EntryKind::Fifo => "fifo",
                EntryKind::Socket => "socket",
                EntryKind::CharacterDevice { major, minor } => {
                    line["device"] = json!([major, minor]);
                    "character-device"
                }
                EntryKind::BlockDevice { major, minor } => {
                    line["device"] = json!([major, minor]);
                    "block-device"
                }
            }
            .into();
            if let Some(HardLink { device, .. }) = hard_link {
                let first = links
                    .entry((device, metadata.inode))
                    .or_insert_with(|| entry.path.clone());
                if *first != entry.path {
                    line["link"] = shown(first).into();
                }
            }
            if let Some(attributes) = attributes(metadata.attributes.clone()) {
                line["attributes"] = attributes;
            }
            line
        })
        .collect()
}

fn read(repository: &Repository, content: &Content, size: u64) -> (u64, String) {
    let (mut length, mut hasher) = (0u64, blake3::Hasher::new());
    let mut add = |extent: &Extent| {
        match extent {
            Extent::Hole { length } => {
                std::io::copy(&mut std::io::Read::take(std::io::repeat(0), *length), &mut hasher).unwrap();
            }
            Extent::Chunk { blob, length } => {
                let bytes = repository.blob(BlobKind::Data, blob).unwrap();
                assert_eq!(bytes.len(), *length as usize);
                hasher.update(&bytes);
            }
        }
        length += extent.length();
    };
    match content {
        Content::Empty if size == 0 => {}
        Content::Empty => add(&Extent::Hole { length: size }),
        Content::Chunks(extents) => extents.iter().for_each(add),
        Content::List { blob } => ListReader::new(repository, *blob, size).for_each(|item| add(&item.unwrap().1)),
        Content::Slab { blob, offset, check } => {
            let slab = repository.blob(BlobKind::Data, blob).unwrap();
            let bytes = &slab[*offset as usize..][..size as usize];
            assert_eq!(repository.file_check(bytes).unwrap(), *check);
            hasher.update(bytes);
            length = size;
        }
    }
    (length, hasher.finalize().to_string())
}
