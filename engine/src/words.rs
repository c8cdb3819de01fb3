//! The words that every floor uses: ids, errors, progress. Nothing here does I/O.

pub mod error;
pub mod id;
pub mod progress;
pub mod time;

pub use error::{Error, Result, StoreFailure};
pub use id::{BlobId, BlobKind, ObjectName, PackName, RepositoryId, SessionId};
pub use progress::{NoProgress, Progress};
pub use time::Timestamp;
