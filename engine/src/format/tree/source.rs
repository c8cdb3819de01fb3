//! Where tree blobs come from and go to. The repository implements both; tests use a map.

use std::sync::Arc;

use bytes::Bytes;

use crate::words::{BlobId, Result};

/// Takes tree blobs.
pub trait TreeSink {
    /// Stores the plaintext of a tree blob, unless it is stored already, and gives its id.
    ///
    /// # Errors
    /// What the store says.
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId>;
}

/// Gives tree blobs.
pub trait TreeSource: Sync {
    /// The plaintext of a tree blob, which has been checked against its id.
    ///
    /// # Errors
    /// What the store says, damage, or that the blob is missing.
    fn load(&self, id: &BlobId) -> Result<Bytes>;

    /// These blobs will probably be loaded next, in this order. A hint: doing nothing is right too.
    fn prefetch(&self, _ids: &[BlobId]) {}
}

impl<S: TreeSink + ?Sized> TreeSink for &mut S {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        (**self).save(blob)
    }
}

impl<S: TreeSource + ?Sized> TreeSource for &S {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        (**self).load(id)
    }

    fn prefetch(&self, ids: &[BlobId]) {
        (**self).prefetch(ids);
    }
}

impl<S: TreeSource + Send + ?Sized> TreeSource for Arc<S> {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        (**self).load(id)
    }

    fn prefetch(&self, ids: &[BlobId]) {
        (**self).prefetch(ids);
    }
}
