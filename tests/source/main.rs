//! The source floor through the engine's public face: trees made on purpose, walked and read while they change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

/// Block devices over files.
#[path = "../machine/loop_device.rs"]
mod loop_device;
/// Small file systems.
#[path = "../machine/mount.rs"]
mod mount;
/// What is said of a test that cannot run.
#[path = "../machine/skipped.rs"]
mod skipped;
/// Trees for tests, and one way to walk them.
mod trees;
/// Every kind of item, its metadata, and names of any bytes.
mod kinds;
/// The order of the items: strictly rising and complete, whatever the tree and however many threads.
mod order;
/// Very wide, very deep, very many: with few descriptors.
mod sizes;
/// Where sources are stored, several of them, links and devices among them.
mod roots;
/// What is left out, and how much that was.
mod excludes;
/// Opening, reading, holes, reading ahead.
mod reading;
/// What happens to a source while it is read.
mod changes;
/// Extended attributes, ACLs, capabilities.
mod attributes;
