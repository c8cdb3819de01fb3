//! The file system as a backup reads it: the walk in path order, files, attributes, streams.
//!
//! What must hold, whatever happens to the file system meanwhile:
//! - Items come in the order of FORMAT.md, 6.2, strictly rising: a folder right before what is in it.
//! - Nothing outside the sources is read: folders are reached by descriptors, links below a source are never followed.
//! - Memory and descriptors are bounded, however many folders there are, however large or deep.
//! - What cannot be read is delivered as an error in its place, and the walk goes on.
//!
//! Linux alone: the system calls are those of `rustix`.

mod folder;
mod names;
mod found;
mod excludes;
mod left_out;
mod markers;
mod roots;
mod stretch;
mod step;
mod walk;
mod open;
mod extents;
mod attributes;
mod ahead;
mod stream;

pub use ahead::{Ahead, Piece, ReadAhead};
pub use attributes::Attributes;
pub(crate) use excludes::Filter;
pub use excludes::{Excludes, Marker, Pattern};
pub use extents::DataExtents;
pub use found::{Found, FoundKind, SourceError};
pub use left_out::LeftOut;
pub use open::OpenFile;
pub use roots::paths_of_list;
pub use stream::{Completion, StreamSource};
pub use walk::{Batch, SourceOptions, Walk};
