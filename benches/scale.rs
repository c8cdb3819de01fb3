//! The index at the size of a very large repository: how long it takes to build and to open, how fast it answers, and how much memory it needs.
//!
//! `cargo bench -p engine --bench scale -- MILLIONS [FOLDER]` (10 if nothing is said). A run of a hundred millions needs about 7 GB in FOLDER
//! for a while, and a quarter of an hour. Without `--bench`, as tests are run, it does a hundredth of a million.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "It stops at the first surprise, and prints"
)]

#[path = "micro/segments.rs"]
mod segments;

use std::path::PathBuf;
use std::time::Instant;

use engine::index::{Index, Pending};
use engine::words::BlobKind;

use segments::id;

const LOOKUPS: u64 = 200_000;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let full = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| !argument.starts_with("--"));
    let millions: f64 = arguments.first().map_or(10.0, |millions| millions.parse().unwrap());
    let blobs = if full { (millions * 1e6) as u64 } else { 10_000 };
    let temporary = tempfile::tempdir().unwrap();
    let folder = arguments
        .get(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);

    let names = segments::names(blobs);
    let start = Instant::now();
    let mut builder = Index::builder(Some(&folder), names.iter().map(String::as_str));
    for (number, name) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| !builder.has(name))
        .collect::<Vec<_>>()
    {
        builder
            .add_segment(name, &segments::plaintext(number as u64, blobs))
            .unwrap();
    }
    drop(builder.finish().unwrap());
    say("built in", start.elapsed().as_secs_f64(), "s");

    let start = Instant::now();
    let index = Index::builder(Some(&folder), names.iter().map(String::as_str))
        .finish()
        .unwrap();
    say("opened in", start.elapsed().as_secs_f64() * 1e3, "ms");
    assert_eq!(
        index.entry_count(),
        blobs / segments::BLOBS_PER_PACK * segments::BLOBS_PER_PACK
    );

    // Ids are made beforehand: only the index is measured.
    let known: Vec<_> = (0..LOOKUPS)
        .map(|number| id(number * 1_000_003 % index.entry_count()))
        .collect();
    let strangers: Vec<_> = (0..LOOKUPS).map(|number| id(number | 1 << 40)).collect();
    for (what, ids, found) in [
        ("found", &known, true),
        ("not found", &strangers, false),
        ("found again", &known, true),
    ] {
        let start = Instant::now();
        let count = ids
            .iter()
            .filter(|id| index.locate(BlobKind::Data, id).is_some())
            .count();
        say(what, start.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64, "ns each");
        assert_eq!(count as u64, if found { LOOKUPS } else { 0 });
    }

    let start = Instant::now();
    let mut entries = 0;
    for item in index.by_pack(|_| true).unwrap() {
        entries += item.unwrap().1.len() as u64;
    }
    assert_eq!(entries, index.entry_count());
    say("pack by pack in", start.elapsed().as_secs_f64(), "s");

    let pending = Pending::new(Some(&folder));
    let claims = blobs.min(20_000_000);
    let start = Instant::now();
    for number in 0..claims {
        assert!(pending.claim(BlobKind::Data, &id(number)).unwrap());
    }
    say(
        "claimed at",
        start.elapsed().as_secs_f64() * 1e9 / claims as f64,
        "ns each, hashing of the id among it",
    );
}

/// Prints a figure with the memory that the process has and had.
fn say(what: &str, figure: f64, unit: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0)
    };
    println!(
        "{what:>16} {figure:9.1} {unit} (memory {} MiB, at most {} MiB)",
        kib("VmRSS") >> 10,
        kib("VmHWM") >> 10
    );
}
