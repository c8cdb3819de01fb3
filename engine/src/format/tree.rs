//! Trees: the path-ordered stream of entries, its leaves, parents and lists of chunks (FORMAT.md, 6.2).
//!
//! [`TreeWriter`] takes entries and gives blobs; [`TreeReader`] and [`Cursor`] take blobs and give entries. What blobs are stored in is not
//! known here: [`TreeSink`] and [`TreeSource`].

pub mod entry;
pub mod path;

mod kinds;
pub mod varint;
pub mod table;
pub mod leaf;
pub mod leaf_writer;
pub mod parent;
pub mod list;

pub mod source;
pub mod writer;
pub mod reader;
pub mod cursor;
pub mod ahead;
pub mod diff;

pub use ahead::ReadAhead;
pub use cursor::Cursor;
pub use diff::{Change, Difference, TreeDiff};
pub use entry::{Content, Entry, EntryKind, Extent, HardLink, Metadata};
pub use leaf_writer::refusal;
pub use list::{ContentWriter, ListReader};
pub use reader::{Node, TreeReader};
pub use source::{TreeSink, TreeSource};
pub use writer::{Root, TreeWriter};

#[cfg(test)]
mod tests;
