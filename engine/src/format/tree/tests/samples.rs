//! A store of tree blobs in memory that counts what is asked of it, and entries to put into trees.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::super::path;
use super::super::*;
use crate::words::{BlobId, Error, Result, Timestamp};

/// Tree blobs by id.
#[derive(Default)]
pub struct Blobs {
    pub blobs: HashMap<BlobId, Bytes>,
    pub loads: AtomicUsize,
}

impl Blobs {
    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }
}

impl TreeSink for Blobs {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        assert!(blob.len() <= 16 << 20, "a blob has at most 16 MiB");
        let id = BlobId(*blake3::keyed_hash(&[7; 32], &blob).as_bytes());
        self.blobs.insert(id, blob.into());
        Ok(id)
    }
}

impl TreeSource for Blobs {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.blobs.get(id).cloned().ok_or(Error::MissingBlob { id: *id })
    }
}

pub const CUT_KEY: [u8; 32] = [3; 32];

pub fn write(entries: &[Entry], blobs: &mut Blobs) -> Root {
    let mut writer = TreeWriter::new(CUT_KEY);
    for entry in entries {
        writer.push(entry, blobs).unwrap();
    }
    writer.finish(blobs).unwrap()
}

pub fn read(root: &Root, blobs: &Blobs) -> Vec<Entry> {
    TreeReader::new(blobs, root.id).collect::<Result<_>>().unwrap()
}

pub fn id(seed: u64) -> BlobId {
    BlobId(*blake3::hash(&seed.to_le_bytes()).as_bytes())
}

/// A small file at `path` whose metadata depend on nothing else.
pub fn file(path: &str) -> Entry {
    let hash = blake3::hash(path.as_bytes());
    let seed = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap());
    Entry {
        path: path.as_bytes().to_vec(),
        kind: EntryKind::File {
            size: seed % 100_000,
            content: Content::Slab {
                blob: id(seed % 50),
                offset: (seed % 1_000_000) as u32,
                check: hash.as_bytes()[..8].try_into().unwrap(),
            },
            link: None,
            from_device: false,
        },
        metadata: Metadata {
            mode: 0o644,
            user: 1000,
            group: 1000,
            modified: Timestamp(1_700_000_000_000_000_000 + (seed % 1_000_000_000_000_000) as i64),
            changed: Timestamp(1_700_000_000_000_000_000 + (seed % 3_000_000_000_000_000) as i64),
            inode: seed % 10_000_000,
            attributes: Vec::new(),
        },
    }
}

pub fn folder(path: &str) -> Entry {
    Entry {
        kind: EntryKind::Folder,
        ..file(path)
    }
}

/// Folders of a hundred files each.
pub fn files(count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for i in 0..count {
        if i % 100 == 0 {
            entries.push(folder(&format!("folder-{:05}", i / 100)));
        }
        entries.push(file(&format!("folder-{:05}/file-{i:07}.txt", i / 100)));
    }
    entries
}

prop_compose! {
    fn blob()(bytes in prop::array::uniform32(0u8..4)) -> BlobId { BlobId(bytes) }
}

fn link() -> impl Strategy<Value = Option<HardLink>> {
    prop::option::of((any::<u64>(), any::<u64>()).prop_map(|(links, device)| HardLink { links, device }))
}

fn extent() -> impl Strategy<Value = Extent> {
    prop_oneof![
        (1..u64::from(u32::MAX)).prop_map(|length| Extent::Hole { length }),
        (blob(), 1u32..=16 << 20).prop_map(|(blob, length)| Extent::Chunk { blob, length }),
    ]
}

/// A size and a content that fit each other.
fn content() -> impl Strategy<Value = (u64, Content)> {
    prop_oneof![
        any::<u64>().prop_map(|size| (size, Content::Empty)),
        (blob(), 0u32..8 << 20, any::<[u8; 8]>(), 0u64..8 << 20)
            .prop_map(|(blob, offset, check, size)| (size, Content::Slab { blob, offset, check })),
        vec(extent(), 0..20).prop_map(|extents| (extents.iter().map(Extent::length).sum(), Content::Chunks(extents))),
        (1..=u64::MAX, blob()).prop_map(|(size, blob)| (size, Content::List { blob })),
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    let device = || (any::<u32>(), any::<u32>());
    prop_oneof![
        3 => Just(EntryKind::Folder),
        5 => (content(), link(), any::<bool>()).prop_map(|((size, content), link, from_device)| EntryKind::File {
            size,
            content,
            link,
            from_device,
        }),
        1 => (vec(any::<u8>(), 0..50), link()).prop_map(|(target, link)| EntryKind::Symlink { target, link }),
        1 => Just(EntryKind::Fifo),
        1 => Just(EntryKind::Socket),
        1 => device().prop_map(|(major, minor)| EntryKind::CharacterDevice { major, minor }),
        1 => device().prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let attributes = btree_map(vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..40), 0..4);
    let time = || {
        prop_oneof![
            any::<i64>(),
            Just(i64::MIN),
            Just(i64::MAX),
            1_700_000_000_000_000_000i64..1_700_001_000_000_000_000
        ]
    };
    let owner = || prop_oneof![0u32..3, any::<u32>()];
    (
        0u32..=0o7777,
        owner(),
        owner(),
        time(),
        time(),
        any::<u64>(),
        attributes,
    )
        .prop_map(|(mode, user, group, modified, changed, inode, attributes)| Metadata {
            mode,
            user,
            group,
            modified: Timestamp(modified),
            changed: Timestamp(changed),
            inode,
            attributes: attributes.into_iter().collect(),
        })
}

/// A name of any bytes, with many that are alike.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'a'), Just(b'b'), Just(b'.'), Just(b'!'), any::<u8>()];
    vec(byte, 1..6).prop_map(|mut name| {
        name.iter_mut()
            .filter(|byte| matches!(byte, 0 | b'/'))
            .for_each(|byte| *byte = b'x');
        if name == b"." || name == b".." {
            name.push(b'x');
        }
        name
    })
}

/// Entries in order, of which nothing lies below what is not a folder.
pub fn entries(most: usize) -> impl Strategy<Value = Vec<Entry>> {
    let paths = vec(name(), 0..4).prop_map(|names| names.join(&b'/'));
    btree_map(paths, (kind(), metadata()), 0..most).prop_map(|all| {
        let mut all: Vec<(Vec<u8>, (EntryKind, Metadata))> = BTreeMap::into_iter(all).collect();
        all.sort_by(|left, right| path::compare(&left.0, &right.0));
        let mut entries: Vec<Entry> = Vec::new();
        for (path, (kind, metadata)) in all {
            if let Some(before) = entries.last_mut()
                && path::is_within(&path, &before.path)
            {
                before.kind = EntryKind::Folder;
            }
            entries.push(Entry { path, kind, metadata });
        }
        entries
    })
}
