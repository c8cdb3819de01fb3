//! The command line as a person meets it: the built `ararat`, a home of its own for each test, text and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// `backup` with all that can be said to it.
mod backups;
/// Each way in which a command fails: exit code, the thing, the cause, the next step.
mod errors;
/// A home folder for a test, and `ararat` run in it.
mod home;
/// What each role may do, and what it is refused.
mod roles;
/// Real servers, for the ways in which a cloud says no.
#[path = "../servers/mod.rs"]
mod servers;
/// The whole way of a user: first backup to restore on the worst day.
mod story;
/// A source with one of each kind of thing, and whether a restored one is its like.
mod trees;
