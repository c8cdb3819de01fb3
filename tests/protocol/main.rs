//! The protocol of a repository, as a model that is checked exhaustively within bounds. See README.md beside it.
//!
//! It shares no code with the engine: it says what must be true of any engine that follows the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod broken; // each rule removed: what goes wrong
mod checks; // every rule kept: nothing is lost
mod claims; // what must hold
mod config; // who takes part, and the bounds
mod maintainer; // condemn, wait or fence, declare dead
mod model; // all of it for stateright
mod plans; // what maintainers decide
mod reader; // locate, fetch, miss
mod run; // the checker
mod rules; // the switches
mod state; // what the store holds and where everybody stands
mod store; // what can be read out of the store
mod symmetry; // one name for equal states
mod upkeep; // forget, delete, retire
mod witnesses; // what must happen
mod writer; // backups and repacks
