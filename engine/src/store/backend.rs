//! What every kind of store has to do: the small trait under [`Store`](super::Store).
//!
//! A backend tries once and says precisely what happened; patience (retries, read-back, comparing) is the store's and written once.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::words::{ObjectName, StoreFailure, Timestamp};

/// One kind of store. Methods block, are called from many threads, and try once.
///
/// Names are checked before they come here: relative, ASCII, no empty part, no `.` or `..`.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Makes the place itself where that is ours to do (a local folder); a bucket is not.
    fn create_root(&self) -> Attempt<()>;

    /// Reads an object, or a part of it. A part beyond the end comes back shorter than asked.
    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes>;

    /// Reads several, at once where that helps, in the order asked for.
    fn get_many(&self, wanted: &[Wanted]) -> Vec<Attempt<Bytes>> {
        wanted
            .iter()
            .map(|wanted| self.get(&wanted.name, wanted.range.clone()))
            .collect()
    }

    /// Writes an object unless one of that name is there. Durable when it returns [`Put::Done`] or [`Put::Looked`].
    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put>;

    /// Lists objects whose names begin with `prefix` and sort after `after`, by name.
    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>>;

    /// Deletes objects; those that are not there are fine.
    fn delete(&self, names: &[ObjectName]) -> Attempt<()>;

    /// Removes what writers that died have left half done, and says how many. Only stores that have such leftovers do something.
    fn sweep_leftovers(&self) -> Attempt<u64> {
        Ok(0)
    }
}

/// What one try gives.
pub type Attempt<T> = Result<T, Failure>;

/// An object, or a part of it, to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The object.
    pub name: ObjectName,
    /// The part; all of it when `None`.
    pub range: Option<Range<u64>>,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is written, and the store itself saw to it that no object of that name was there.
    Done,
    /// It is written after a look that found the name free: the store knows no condition, so another writer may have come in between.
    Looked,
    /// There is an object of that name, perhaps our own from a try whose reply was lost.
    Exists,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name, relative to the repository.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size: u64,
    /// When the store says it was written.
    pub modified: Timestamp,
}

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: StoreFailure,
    /// Whether another try may well succeed.
    pub passing: bool,
    /// What the store said: short, and free of secrets.
    pub cause: String,
}

impl Failure {
    /// A failure that stays.
    pub fn lasting(kind: StoreFailure, cause: impl Into<String>) -> Self {
        Self {
            kind,
            passing: false,
            cause: cause.into(),
        }
    }

    /// A failure that may pass.
    pub fn passing(kind: StoreFailure, cause: impl Into<String>) -> Self {
        Self {
            kind,
            passing: true,
            cause: cause.into(),
        }
    }

    /// The object is not there.
    pub fn not_found() -> Self {
        Self::lasting(StoreFailure::NotFound, "")
    }
}
