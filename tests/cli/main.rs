//! The command line as a person meets it: the built `ararat`, a home of its own for each test, text and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// A home folder for a test, and `ararat` run in it.
mod home;
/// The whole way of a user: first backup to restore on the worst day.
mod story;
/// A source with one of each kind of thing, and whether a restored one is its like.
mod trees;
