//! The command line as a person meets it: the built `ararat`, a home of its own for each test, text and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

/// What a machine keeps of repositories: seen, bounded and removed.
mod caches;
/// Forgetting, pruning and grouping: what goes, what stays, and what is said of it.
mod care;
/// `backup` with all that can be said to it.
mod backups;
/// The whole way of a user on a server of each cloud, and what it costs.
mod clouds;
/// The commands for a cluster where there is none.
mod cluster;
/// Block devices, backed up and restored onto.
mod devices;
/// Each way in which a command fails: exit code, the thing, the cause, the next step.
mod errors;
/// The documents for programs, beside what is written of them.
mod documents;
/// Damage: who is named, what goes on, what does not.
mod damage;
/// A home folder for a test, and `ararat` run in it.
mod home;
/// A backup that is killed, and the next one.
mod killed;
/// A small slice of the kill loop.
mod kills;
/// Restoring: over what is there, in parts, onto a stream.
mod restore;
/// Keys: drawn, kept, chosen; and a writer's volume key.
mod keys;
/// Trees compared in everything that a restore gives back.
#[path = "../restore/likeness.rs"]
mod likeness;
/// Block devices over files.
#[path = "../machine/loop_device.rs"]
mod loop_device;
/// Small file systems.
#[path = "../machine/mount.rs"]
mod mount;
/// Small file systems that change.
#[path = "../machine/remount.rs"]
mod remount;
/// What is said of a test that cannot run.
#[path = "../machine/skipped.rs"]
mod skipped;
/// Options of which no other file tells.
mod options;
/// Places that are full or may not be written.
mod places;
/// Recipients let in and out, and the recovery sheet.
mod recipients;
/// What each role may do, and what it is refused.
mod roles;
/// Real servers, for the ways in which a cloud says no.
#[path = "../servers/mod.rs"]
mod servers;
/// Ararat among shells, terminals and signals.
mod shell;
/// How a store is reached, and each way in which a cloud says no that takes a proxy to bring about.
mod stores;
/// The whole way of a user: first backup to restore on the worst day.
mod story;
/// A source with one of each kind of thing, and whether a restored one is its like.
mod trees;
