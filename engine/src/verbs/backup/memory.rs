//! Files that are in memory: many small documents that a program has gathered, as one snapshot.
//!
//! They are stored like small files of a folder: in slabs, and where the parent has the same content at the same path, by reference. Nothing in them says
//! when they were made, so the same documents give the same tree.

use std::collections::HashMap;
use std::io::Cursor;

use super::change::Known;
use super::jobs::{SLAB_BYTES_MAX, SMALL_BYTES, Workers};
use super::streams;
use crate::format::tree::{Content, Entry, EntryKind, Metadata};
use crate::repository::Scratch;
use crate::words::{BlobId, BlobKind, Result, Timestamp};

/// A slab is cut at the earliest here.
const SLAB_BYTES_MIN: usize = 512 << 10;

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFile {
    /// Its path in the snapshot: names joined by `/`.
    pub path: Vec<u8>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Documents in path order that go into one slab.
#[derive(Default)]
pub(super) struct Lot {
    files: Vec<(MemoryFile, Option<Known>)>,
    bytes: usize,
}

impl Lot {
    /// Adds one; true when the slab is complete with it. As for files, names and sizes alone decide.
    pub(super) fn add(&mut self, file: MemoryFile, known: Option<Known>) -> bool {
        self.bytes += file.content.len();
        let name = file.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let ripe = self.bytes >= SLAB_BYTES_MIN && blake3::hash(name).as_bytes()[0] & 0x0f == 0;
        self.files.push((file, known));
        ripe || self.bytes as u64 >= SLAB_BYTES_MAX - SMALL_BYTES
    }

    /// Stores what is there and gives its entries, in order.
    pub(super) fn store(&mut self, workers: &Workers<'_, '_>, scratch: &mut Scratch) -> Result<Vec<Entry>> {
        let writer = workers.writer;
        let (mut slab, mut entries, mut here) = (Vec::new(), Vec::new(), Vec::new());
        let mut offsets: HashMap<[u8; 32], u32> = HashMap::new();
        for (MemoryFile { path, content }, known) in self.files.drain(..) {
            workers.read(content.len() as u64);
            let size = content.len() as u64;
            if size > SMALL_BYTES {
                let entry = streams::read(workers, &path, &mut Cursor::new(content), (0, 0, Timestamp(0)))?;
                entries.push(entry);
                continue;
            }
            let content = if content.is_empty() {
                Content::Empty
            } else {
                let hash = writer.file_hash(&content);
                let check = std::array::from_fn(|i| hash[i]);
                let known = known.filter(|known| known.check == check && known.size == size);
                match known {
                    Some(known) if writer.carry(BlobKind::Data, &known.blob)? => Content::Slab {
                        blob: known.blob,
                        offset: known.offset,
                        check,
                    },
                    _ => {
                        let offset = *offsets.entry(hash).or_insert_with(|| {
                            slab.extend_from_slice(&content);
                            (slab.len() - content.len()) as u32
                        });
                        here.push(entries.len());
                        let blob = BlobId([0; 32]);
                        Content::Slab { blob, offset, check }
                    }
                }
            };
            entries.push(entry(path, size, content));
        }
        self.bytes = 0;
        if !here.is_empty() {
            let id = writer.save_large(&slab, scratch)?;
            for place in here {
                if let Some(entry) = entries.get_mut(place)
                    && let EntryKind::File {
                        content: Content::Slab { blob, .. },
                        ..
                    } = &mut entry.kind
                {
                    *blob = id;
                }
            }
        }
        Ok(entries)
    }
}

fn entry(path: Vec<u8>, size: u64, content: Content) -> Entry {
    Entry {
        path,
        kind: EntryKind::File {
            size,
            content,
            link: None,
            from_device: false,
        },
        metadata: Metadata {
            mode: 0o600,
            ..Metadata::default()
        },
    }
}

/// The folder at a path.
pub(super) fn folder(path: &[u8]) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: EntryKind::Folder,
        metadata: Metadata {
            mode: 0o700,
            ..Metadata::default()
        },
    }
}
