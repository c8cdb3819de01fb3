//! From a file's bytes to a sealed blob.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use engine::chunker::{Chunker, ChunkerParameters, Window};
use engine::compress::{Compressor, Decompressor};
use engine::crypto::{BlobIds, BlobSealer, Secret, aead};
use engine::words::{BlobKind, RepositoryId, SessionId};

use crate::material::{noise, sources};

const SLAB: usize = 2 << 20;

pub fn cutting(criterion: &mut Criterion) {
    let data = noise(64 << 20);
    let chunker = Chunker::new(&ChunkerParameters::default(), &[1; 32]).unwrap();
    let mut group = criterion.benchmark_group("cutting");
    group.throughput(Throughput::Bytes(data.len() as u64)).sample_size(20);
    group.bench_function("in memory", |bencher| {
        bencher.iter(|| {
            let mut at = 0;
            while let Some(length) = chunker.cut(black_box(&data[at..]), true) {
                at += length;
            }
        });
    });
    let mut window = Window::new();
    group.bench_function("from a reader", |bencher| {
        bencher.iter(|| {
            let mut cuts = chunker.cuts(black_box(&data[..]), &mut window);
            while cuts.next().unwrap().is_some() {}
        });
    });
    group.finish();
}

pub fn hashing(criterion: &mut Criterion) {
    let ids = BlobIds::new(&Secret::new([1; 32]));
    let mut group = criterion.benchmark_group("hashing");
    for length in [1 << 10, 16 << 10, SLAB] {
        let data = noise(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_with_input(BenchmarkId::from_parameter(length), &data, |bencher, data| {
            bencher.iter(|| ids.id(BlobKind::Data, black_box(data)));
        });
    }
    group.finish();
}

pub fn compressing(criterion: &mut Criterion) {
    let (text, noise) = (sources(SLAB), noise(SLAB));
    let mut compressor = Compressor::new();
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("compressing");
    group.sample_size(30);
    for (what, data, levels) in [("sources", &text, &[-3, 1, 2, 3][..]), ("noise", &noise, &[3])] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        for level in levels {
            group.bench_with_input(BenchmarkId::new(what, level), data, |bencher, data| {
                bencher.iter(|| {
                    out.clear();
                    compressor.compress(*level, black_box(data), &mut out)
                });
            });
            println!(
                "{what} at level {level}: {:.1} % are left",
                out.len() as f64 * 100.0 / data.len() as f64
            );
        }
    }
    group.throughput(Throughput::Bytes(text.len() as u64));
    let mut framed = Vec::new();
    compressor.compress(3, &text, &mut framed);
    let mut decompressor = Decompressor::new();
    group.bench_function("back", |bencher| {
        bencher.iter(|| decompressor.decompress(black_box(&framed), &mut out).unwrap());
    });
    group.finish();
}

pub fn sealing(criterion: &mut Criterion) {
    let sealer = BlobSealer::new(
        RepositoryId([1; 16]),
        SessionId([2; 16]),
        BlobKind::Data,
        Secret::new([3; 32]),
    );
    let id = crate::segments::id(1);
    let mut group = criterion.benchmark_group("sealing");
    for length in [4 << 10, 512 << 10] {
        let data = noise(length);
        let mut buffer = Vec::with_capacity(length + 64);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_with_input(BenchmarkId::new("seal", length), &data, |bencher, data| {
            bencher.iter(|| {
                buffer.clear();
                buffer.resize(aead::NONCE, 0);
                buffer.extend_from_slice(black_box(data));
                sealer.seal(&id, &mut buffer);
            });
        });
        let mut opened = Vec::with_capacity(length);
        group.bench_function(BenchmarkId::new("open", length), |bencher| {
            bencher.iter(|| sealer.open(&id, black_box(&buffer), &mut opened).unwrap());
        });
    }
    group.finish();
}
