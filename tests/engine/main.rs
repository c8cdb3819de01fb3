//! The engine through its public face, on stores in memory and on disk.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// One helper does the calling.
mod bench;
/// Backup, unchanged backup, change, forget, prune: everything that is kept can be read byte for byte.
mod cycle;
