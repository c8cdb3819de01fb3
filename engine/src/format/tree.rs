//! Trees: the path-ordered stream of entries, its leaves, parents and lists of chunks (FORMAT.md, 6.2).

pub mod entry;

pub use entry::{Content, Entry, EntryKind, Extent, HardLink, Metadata};
