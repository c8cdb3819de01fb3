//! Every stored byte: envelope, documents, packs, trees, segments. Pure; described in FORMAT.md.
//!
//! What must hold: a change here changes FORMAT.md too; every decoder checks lengths before it allocates, and errs, never panics, on any input.

pub mod codec;
pub mod config;
pub mod end;
pub mod envelope;
pub mod generation;
pub mod keys;
pub mod mark;
pub mod object;
pub mod open;
pub mod pack;
pub mod references;
pub mod segment;
pub mod snapshot;
pub mod tree;

pub use envelope::Kind;
