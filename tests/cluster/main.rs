//! The stories: Ararat on a real Kubernetes, driven as a user drives it: `ararat` and `kubectl` as processes, YAML in, text and JSON out.
//!
//! `tests/run cluster` starts the cluster, loads the image and runs this inside it; anywhere else every story says that it is skipped.
//! Stories that only fit alone (they kill parts, or install anew) ask the bench for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code stops at the first surprise"
)]

/// The kinds at the API server: explained, listed, refused.
mod admission;
/// One installation for all stories, and each story's turn.
mod bench;
/// Stopping what runs.
mod cancel;
/// Programs run to their end.
mod command;
/// What is in a volume.
mod content;
/// The classic guide, word for word.
mod guide;
/// Hooks of backups and restores.
mod hooks;
/// Random ends of everything.
mod kills;
/// A cluster, as it is used from a terminal.
mod kubernetes;
/// Full disks, stale credentials, evictions, missing rights, a busy server.
mod misfortune;
/// A second node, and volumes that are one node's alone.
mod nodes;
/// Objects alone: kinds, rights, owners, webhooks.
mod objects;
/// Objects that exist, dry runs, filters.
mod policies;
/// A database under load.
mod postgres;
/// What is printed with a failure.
mod report;
/// Restricted namespaces, and sets of pods.
mod restricted;
/// What Ararat's accounts may not do.
mod rights;
/// Schedules, time to live, deletion.
mod schedules;
/// Another cluster, and none.
mod second;
/// Real servers.
#[path = "../servers/mod.rs"]
mod servers;
/// What is said of a test that cannot run.
#[path = "../machine/skipped.rs"]
mod skipped;
/// A namespace for a story.
mod space;
/// The store: away, and read by others.
mod store;
/// Volumes of every form.
mod volumes;
/// Documents that many stories apply.
mod workload;
