//! Each rule removed: the checker finds what goes wrong. `breaks` also shows that with the rule the bounds hold.

use crate::config::Config;

mod fallback; // the commit without create-if-absent
mod maintenance; // condemning, the barrier, the verdict, retirement
mod readers; // pins, misses, listings
mod relocation; // tables
mod retirement; // folding, and what is removed in which order
mod spare; // rules that are not for safety
mod writers; // views, commits, long runs

/// One writer that finds its blob in the pack of a forgotten snapshot, one maintainer that condemns that pack.
fn one() -> Config {
    Config::default()
}

/// Two writers of a blob that the base pack lacks; the first one's pack is what the second may refer to.
fn two() -> Config {
    Config {
        wants: &[1, 1],
        base_blobs: 2,
        ..Config::default()
    }
}

/// Repacking the base pack (blobs 1 and 2), whose snapshot names blob 1.
fn relocation() -> Config {
    Config {
        base_blobs: 3,
        base_forgotten: false,
        repackers: 1,
        ..one()
    }
}
