//! From an id to a place, and the claims of a running session.

use std::path::Path;

use criterion::{BenchmarkId, Criterion};
use engine::format::segment::{PackInfo, SegmentBuilder, SegmentEntry};
use engine::index::{Index, Pending};
use engine::words::{BlobKind, PackName, SessionId};

use crate::material::id;

const BLOBS_PER_PACK: u64 = 16;

/// An index of so many blobs, in segments of at most a quarter of a million.
fn build(folder: Option<&Path>, blobs: u64) -> Index {
    let segments = blobs.div_ceil(1 << 18);
    let names: Vec<String> = (0..segments).map(|number| format!("x/{number}")).collect();
    let mut index = Index::builder(folder, names.iter().map(String::as_str));
    for (segment, name) in (0..segments).zip(&names) {
        let mut builder = SegmentBuilder::new();
        let (first, end) = (segment << 18, ((segment + 1) << 18).min(blobs));
        for pack in first / BLOBS_PER_PACK..end / BLOBS_PER_PACK {
            builder.add_entries(info(pack), &entries(pack));
        }
        index.add_segment(name, &builder.finish()).unwrap();
    }
    index.finish().unwrap()
}

fn info(pack: u64) -> PackInfo {
    let session = SessionId(*id(pack >> 12 | 1 << 50).0.first_chunk().unwrap());
    PackInfo {
        name: PackName {
            session,
            number: pack as u32 & 0xfff,
        },
        contents: 1,
        size: 24 << 20,
        blobs: BLOBS_PER_PACK as u32,
        table_offset: 23 << 20,
        table_length: 1000,
        hash: [7; 32],
        key_sessions: vec![session],
    }
}

fn entries(pack: u64) -> Vec<SegmentEntry> {
    let entries = (0..BLOBS_PER_PACK).map(|ordinal| SegmentEntry {
        prefix: id(pack * BLOBS_PER_PACK + ordinal).prefix(),
        pack: 0,
        offset: 72 + (ordinal as u32) * 1_000_000,
        length: 1_000_000,
        ordinal: ordinal as u16,
        kind: BlobKind::Data,
    });
    entries.collect()
}

pub fn index(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("index");
    for (what, blobs, cached) in [("memory", 10_000u64, false), ("file", 1 << 20, true)] {
        let index = build(cached.then_some(folder.path()), blobs);
        // Asked for in an order that visits everything, and costs no hash while the clock runs.
        let ids: Vec<_> = (0..4096).map(|number| id(number * 7919 % blobs)).collect();
        let strangers: Vec<_> = (0..4096).map(|number| id(number | 1 << 40)).collect();
        for (answer, ids) in [("found", &ids), ("not found", &strangers)] {
            let mut next = 0;
            group.bench_function(BenchmarkId::new(answer, format!("{what} of {blobs}")), |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % ids.len();
                    index.locate(BlobKind::Data, &ids[next])
                });
            });
        }
    }
    group.finish();
}

pub fn pending(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let pending = Pending::new(Some(folder.path()));
    let mut next = 0u64;
    criterion.bench_function("claiming", |bencher| {
        bencher.iter(|| {
            next += 1;
            pending.claim(BlobKind::Data, &id(next)).unwrap()
        });
    });
}
