//! The store floor through the engine's public face: one suite for every kind of store, each error with its own test, faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

/// What clouds do beyond the suite: limits, resuming, retries over a network that fails.
mod clouds;
/// What every store must do, whatever it is made of.
mod conformance;
/// Where credentials come from.
mod credentials;
/// Failures in passing, lost replies, lost power: what the store makes of them.
mod faults;
/// What only a folder of this machine has: permissions, links, full disks, leftovers.
mod local;
/// Small file systems.
#[path = "../machine/mount.rs"]
mod mount;
/// Small file systems that change.
#[path = "../machine/remount.rs"]
mod remount;
/// What is said of a test that cannot run.
#[path = "../machine/skipped.rs"]
mod skipped;
/// How stores are opened for tests.
mod opening;
/// What the probe says of good stores and of stores that lie.
mod probes;
/// Each way in which a store says no, and what a person gets to read.
mod refusals;
/// Real servers and ways to break the way to them.
#[path = "../servers/mod.rs"]
mod servers;
