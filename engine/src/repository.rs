//! A repository: its keys, what has been committed, and how to read and write it beside anybody else.
//!
//! In reading order: [`open`] (init and open), [`slots`] (who may do what), [`view`] (one moment's generation, sessions and index),
//! [`damage`] (what of it cannot be read), [`reader`] (blobs back from packs), [`writer`] (a session from `open` to `end`), [`pins`] (holding what is read), [`snapshots`] (finding and marking them), [`rotation`] (new keys).

pub mod damage;
pub mod open;
pub mod pins;
pub mod reader;
pub mod rotation;
pub mod slots;
pub mod snapshots;
pub mod view;
pub mod writer;

pub use damage::Damage;
pub use open::{Credential, InitOptions, Locked, Repository, new_first_key, repository_of_first_key};
pub use pins::Pin;
pub use reader::Place;
pub use snapshots::{SnapshotFilter, StoredSnapshot};
pub use view::{SessionState, View};
pub use writer::{Scratch, Writer, WriterOptions};
