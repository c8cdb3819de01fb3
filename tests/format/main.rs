//! The stored bytes: golden repositories that every later version must read, and the vectors of FORMAT.md.
//!
//! `UPDATE=1` writes what is missing; what is there is never written over, for old repositories stay as they are.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

/// What is at each path, as lines of JSON: of a folder, and of a snapshot.
mod manifest;
/// The folders that the golden repositories are backups of.
mod sources;
/// Makes the golden repositories.
mod generate;
/// Reads the golden repositories.
mod golden;
/// The vectors of FORMAT.md.
mod vectors;
/// The decoders that are fuzzed.
mod decoders;
