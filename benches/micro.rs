//! What each primitive costs, one by one, on one thread: cutting, hashing, compressing, sealing, looking up, reading trees.
//!
//! `cargo bench -p engine --bench micro [-- NAME]`. Figures are compared within one run; none is asserted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "It is a bench: it stops at the first surprise, and prints"
)]

#[path = "micro/material.rs"]
mod material;
#[path = "micro/segments.rs"]
mod segments;
#[path = "micro/bytes.rs"]
mod bytes;
#[path = "micro/lookup.rs"]
mod lookup;
#[path = "micro/tree.rs"]
mod tree;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    bytes::cutting,
    bytes::hashing,
    bytes::compressing,
    bytes::sealing,
    lookup::index,
    lookup::pending,
    tree::walking,
);
criterion_main!(benches);
