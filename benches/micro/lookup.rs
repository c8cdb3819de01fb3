//! From an id to a place, and the claims of a running session.

use std::path::Path;

use criterion::{BenchmarkId, Criterion};
use engine::index::{Index, Pending};
use engine::words::BlobKind;

use crate::segments::{self, id};

fn build(folder: Option<&Path>, blobs: u64) -> Index {
    let names = segments::names(blobs);
    let mut index = Index::builder(folder, names.iter().map(String::as_str));
    for (number, name) in names.iter().enumerate() {
        index
            .add_segment(name, &segments::plaintext(number as u64, blobs))
            .unwrap();
    }
    index.finish().unwrap()
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
