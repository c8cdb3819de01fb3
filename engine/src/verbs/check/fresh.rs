//! Trees as the store has them now: a check that reads a cache's copies says nothing of the store.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::format::tree::TreeSource;
use crate::index::Place;
use crate::repository::Repository;
use crate::words::{BlobId, BlobKind, Error, PackName, Result};

/// Packs that are kept for the blobs that come next, which mostly lie in the same ones.
const PACKS_KEPT: usize = 4;
/// Larger packs are read blob by blob.
const PACK_BYTES_MAX: u32 = 16 << 20;

/// Reads tree blobs past every cache.
pub(super) struct Fresh<'r> {
    repository: &'r Repository,
    packs: Mutex<VecDeque<(PackName, Bytes)>>,
}

impl<'r> Fresh<'r> {
    pub(super) fn new(repository: &'r Repository) -> Self {
        Self {
            repository,
            packs: Mutex::default(),
        }
    }

    fn blob(&self, id: &BlobId, place: &Place) -> Result<Vec<u8>> {
        let start = u64::from(place.offset);
        let end = start + u64::from(place.length);
        let sealed = if place.pack_size > PACK_BYTES_MAX {
            self.repository.fetch(&place.pack, start..end)?
        } else {
            let pack = self.pack(place.pack)?;
            let sealed = pack
                .get(start as usize..end as usize)
                .map(|bytes| pack.slice_ref(bytes));
            sealed.ok_or_else(|| Error::damaged(place.pack.object(), "it is shorter than the index says"))?
        };
        self.repository.unseal(place, BlobKind::Tree, id, &sealed)
    }

    fn pack(&self, name: PackName) -> Result<Bytes> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pack)) = packs.iter().find(|(known, _)| *known == name) {
            return Ok(pack.clone());
        }
        let pack = self.repository.store().get(&name.object())?;
        packs.truncate(PACKS_KEPT - 1);
        packs.push_front((name, pack.clone()));
        Ok(pack)
    }
}

impl TreeSource for Fresh<'_> {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        let place = self.repository.find(BlobKind::Tree, id)?;
        let blob = match self.blob(id, &place) {
            // Deleted or moved since the view was read: the newest view decides.
            Err(Error::Missing { .. }) => {
                let place = self.repository.refresh()?.index.locate(BlobKind::Tree, id);
                self.blob(id, &place.ok_or(Error::MissingBlob { id: *id })?)?
            }
            other => other?,
        };
        Ok(blob.into())
    }
}
