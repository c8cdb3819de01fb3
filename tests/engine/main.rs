//! The engine through its public face, on stores in memory and on disk.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// One helper does the calling.
mod bench;
/// Backup, unchanged backup, change, forget, prune: everything that is kept can be read byte for byte.
mod cycle;
/// Power that goes, replies that are lost, and sessions that are ended by others: the next process goes on.
mod interrupted;
/// What a writer's key cannot do.
mod writer_only;
/// Every byte and every object damaged in turn: it is said, and wrong data never comes back.
mod damage;
/// Backups, prunes and readers at once.
mod concurrent;
/// A pack that the store refuses.
mod refused;
/// Files that are not what they were when their folder was listed.
mod changing;
/// What a backup takes from earlier ones.
mod parents;
/// Streams, sparse images, and the repository itself among what is backed up.
mod sources;
