//! Tests of trees as a whole: what is written is read, wherever the cuts fall, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

/// A store of tree blobs in memory that counts, and entries of every kind.
mod samples;
/// Whatever can be an entry comes back as it was.
mod round_trip;
/// Cuts: where they fall and how little a change moves.
mod cuts;
/// Seeking, subtrees and looking up paths.
mod seeking;
/// Differences between two trees, and loading ahead.
mod comparing;
/// Bytes that nobody wrote.
mod hostile;
