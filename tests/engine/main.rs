//! The engine through its public face, on stores in memory and on disk.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

/// One helper does the calling.
mod bench;
/// And the rest of a repository's life: forgetting, pruning, copies, contents.
mod life;
/// Marks and interrupted maintenance.
mod care;
/// Backup, unchanged backup, change, forget, prune: everything that is kept can be read byte for byte.
mod cycle;
/// Power that goes, replies that are lost, and sessions that are ended by others: the next process goes on.
mod interrupted;
/// Huge files are cut by many as by one.
mod huge;
/// What a writer's key cannot do.
mod writer_only;
/// Every byte and every object damaged in turn: it is said, and wrong data never comes back.
mod damage;
/// One object damaged or lost: what is not in it is read and backed up, and nothing is deleted.
mod lesions;
/// What a check says of damage: the pack or object, the snapshots, the files.
mod victims;
/// What `stats` says, to the byte.
mod sizes;
/// Stores that lag or overwrite get no maintenance that would not be safe.
mod lagging;
/// Backups, prunes and readers at once.
mod concurrent;
/// Maintenance where it is thinnest: what happens between its requests, and what is lost under it.
mod edges;
/// A store in which other things happen between two requests.
mod hooked;
/// Forged objects of somebody who holds a writer's whole secret.
mod forged;
/// Key slots: who can open, and what an interrupted rotation or init leaves.
mod slots;
/// A pack that the store refuses.
mod refused;
/// Files that are not what they were when their folder was listed.
mod changing;
/// Documents in memory.
mod documents;
/// What a backup takes from earlier ones.
mod parents;
/// Streams, sparse images, and the repository itself among what is backed up.
mod sources;
/// Workers that share the machine with other backups.
mod allowance;
