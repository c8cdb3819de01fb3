//! Writing and reading a tree, entry by entry: what an unchanged backup does for every file.

use std::collections::HashMap;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use engine::format::tree::{Content, Entry, EntryKind, Metadata, Root, TreeReader, TreeSink, TreeSource, TreeWriter};
use engine::words::{BlobId, Error, Result, Timestamp};

use crate::segments::id;

const ENTRIES: u64 = 100_000;

#[derive(Default)]
struct Blobs(HashMap<BlobId, Bytes>);

impl TreeSink for Blobs {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        let id = BlobId(*blake3::hash(&blob).as_bytes());
        self.0.insert(id, blob.into());
        Ok(id)
    }
}

impl TreeSource for Blobs {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        self.0.get(id).cloned().ok_or(Error::MissingBlob { id: *id })
    }
}

/// A hundred files a folder, each in a slab.
fn entries() -> Vec<Entry> {
    let metadata = |number: u64| Metadata {
        mode: 0o644,
        user: 1000,
        group: 1000,
        modified: Timestamp::new(1_700_000_000 + number as i64 * 37, 123_456_789),
        changed: Timestamp::new(1_700_000_000 + number as i64 * 37, 223_456_789),
        inode: 1_000_000 + number,
        attributes: Vec::new(),
    };
    let mut entries = Vec::new();
    for folder in 0..ENTRIES / 100 {
        entries.push(Entry {
            path: format!("home/folder-{folder:06}").into_bytes(),
            kind: EntryKind::Folder,
            metadata: metadata(folder),
        });
        entries.extend((0..99).map(|file| Entry {
            path: format!("home/folder-{folder:06}/some-file-{file:03}.rs").into_bytes(),
            kind: EntryKind::File {
                size: 4321 + file,
                content: Content::Slab {
                    blob: id(folder),
                    offset: file as u32 * 5000,
                    check: [file as u8; 8],
                },
                link: None,
                from_device: false,
            },
            metadata: metadata(folder * 100 + file),
        }));
    }
    entries
}

fn write(entries: &[Entry], blobs: &mut Blobs) -> Root {
    let mut writer = TreeWriter::new([1; 32]);
    for entry in entries {
        writer.push(entry, blobs).unwrap();
    }
    writer.finish(blobs).unwrap()
}

pub fn walking(criterion: &mut Criterion) {
    let entries = entries();
    let mut blobs = Blobs::default();
    let root = write(&entries, &mut blobs);
    let mut group = criterion.benchmark_group("tree");
    group
        .throughput(Throughput::Elements(entries.len() as u64))
        .sample_size(20);
    group.bench_function("write", |bencher| {
        bencher.iter(|| write(black_box(&entries), &mut Blobs::default()));
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut reader = TreeReader::new(&blobs, root.id);
            while let Some(entry) = reader.next_entry().unwrap() {
                black_box(entry);
            }
        });
    });
    group.finish();
}
