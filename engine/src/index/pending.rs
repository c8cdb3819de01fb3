//! The blobs that a running session has taken on: whoever claims one first saves it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use crate::words::{BlobId, BlobKind, Error, Result};

const SHARDS: usize = 64;

/// A set of blobs that many threads add to.
#[derive(Debug)]
pub struct Pending {
    shards: Vec<Mutex<HashSet<([u8; 16], BlobKind)>>>,
}

impl Pending {
    /// An empty set that may keep what grows large in a folder.
    pub fn new(_cache_folder: Option<&Path>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Adds a blob; true for whoever was first.
    ///
    /// # Errors
    /// [`Error::Internal`] after a thread died.
    pub fn claim(&self, kind: BlobKind, id: &BlobId) -> Result<bool> {
        Ok(self.shard(id)?.insert((id.prefix(), kind)))
    }

    /// Whether a blob is in the set.
    ///
    /// # Errors
    /// As [`Pending::claim`].
    pub fn contains(&self, kind: BlobKind, id: &BlobId) -> Result<bool> {
        Ok(self.shard(id)?.contains(&(id.prefix(), kind)))
    }

    fn shard(&self, id: &BlobId) -> Result<std::sync::MutexGuard<'_, HashSet<([u8; 16], BlobKind)>>> {
        let shard = &self.shards[usize::from(id.0[31]) % SHARDS];
        shard
            .lock()
            .map_err(|_| Error::Internal("a thread of the session died".into()))
    }
}
