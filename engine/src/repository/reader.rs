//! Blobs back from packs: locate, fetch, open, verify.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::damage::is_damage;
use super::open::Repository;
use super::view::View;
use crate::compress::Decompressor;
use crate::crypto::{BlobSealer, Secret, SecretPair};
use crate::format::envelope::{self, Access, Kind};
use crate::format::generation::Rewrap;
use crate::format::keys::{Halves, WrappedKey};
use crate::format::open::{open_for_volume, unwrap_key, unwrap_rewrapped};
use crate::format::pack::{self, Table};
use crate::format::tree::TreeSource;
pub use crate::index::Place;
use crate::words::{BlobId, BlobKind, Error, PackName, Result, SessionId};

/// What a thread opens blobs with; fresh buffers would cost page faults, more than decrypting does.
struct Opener {
    decompressor: Decompressor,
    framed: Vec<u8>,
}

thread_local! {
    static OPENER: RefCell<Opener> = RefCell::new(Opener { decompressor: Decompressor::new(), framed: Vec::new() });
}

/// What a thread's buffer keeps for the next blob; few blobs are longer.
const OPENED_KEPT: usize = 4 << 20;

/// Bytes of tree packs that are read at once where no objects are cached.
const TREE_WINDOW: u32 = 2 << 20;

impl Repository {
    /// Where a blob is, as far as the view knows.
    ///
    /// # Errors
    /// What the store says when there is no view yet.
    pub fn locate(&self, kind: BlobKind, id: &BlobId) -> Result<Option<Place>> {
        Ok(self.view()?.index.locate(kind, id))
    }

    /// Where a blob is; looks again with the newest view before it calls it missing, since maintenance may have moved it.
    ///
    /// # Errors
    /// [`Error::MissingBlob`]; what the store says.
    pub fn find(&self, kind: BlobKind, id: &BlobId) -> Result<Place> {
        if let Some(place) = self.locate(kind, id)? {
            return Ok(place);
        }
        self.refresh()?
            .index
            .locate(kind, id)
            .ok_or(Error::MissingBlob { id: *id })
    }

    /// A part of a pack, by one request.
    ///
    /// # Errors
    /// What the store says.
    pub fn fetch(&self, pack: &PackName, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(&pack.object(), range)
    }

    /// Opens, decompresses and verifies a stored blob.
    ///
    /// # Errors
    /// [`Error::Damaged`] that names blob and pack; [`Error::RoleTooSmall`].
    pub fn unseal(&self, place: &Place, kind: BlobKind, id: &BlobId, sealed: &[u8]) -> Result<Vec<u8>> {
        let mut plaintext = Vec::new();
        self.unseal_into(place, kind, id, sealed, &mut plaintext)?;
        Ok(plaintext)
    }

    /// [`Repository::unseal`] into a buffer that is used again. After an error it holds nothing of use.
    ///
    /// # Errors
    /// As [`Repository::unseal`].
    pub fn unseal_into(
        &self,
        place: &Place,
        kind: BlobKind,
        id: &BlobId,
        sealed: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<()> {
        let damaged = |why: &str| Error::damaged(format!("Blob {id} in pack {}", place.pack), why);
        let sealer = self.sealer_of(place, kind)?;
        plaintext.clear();
        plaintext.shrink_to(OPENED_KEPT);
        OPENER.with_borrow_mut(|Opener { decompressor, framed }| {
            framed.clear();
            framed.shrink_to(OPENED_KEPT);
            sealer
                .open(id, sealed, framed)
                .map_err(|_| damaged("it does not open with its key"))?;
            decompressor
                .decompress(framed, plaintext)
                .map_err(|error| damaged(&error.to_string()))
        })?;
        if self.ids()?.id(kind, plaintext) != *id {
            return Err(damaged("its content does not have this id"));
        }
        Ok(())
    }

    /// A whole blob: located, fetched, opened. Blobs of trees are kept in memory for a while.
    ///
    /// # Errors
    /// As [`Repository::find`] and [`Repository::unseal`].
    pub fn blob(&self, kind: BlobKind, id: &BlobId) -> Result<Bytes> {
        if kind == BlobKind::Tree
            && let Some(blob) = self.tree_blobs.get(id)
        {
            return Ok(blob);
        }
        let mut place = self.find(kind, id)?;
        let blob = loop {
            match self.fetch_blob(kind, id, &place) {
                Err(Error::Missing { name }) => {
                    // Deleted or moved since the view was read: the newest view decides, as often as it names another place. What is condemned is
                    // in a view, too, and may go while another copy stays.
                    let view = self.refresh()?;
                    let now = view.index.locate(kind, id).ok_or(Error::MissingBlob { id: *id })?;
                    if now.pack == place.pack {
                        break Err(Error::Missing { name });
                    }
                    place = now;
                }
                other => break other,
            }
        };
        let blob = match blob {
            Err(error) if is_damage(&error) => self.other_copy(kind, id, &place)?.ok_or(error)?,
            other => other?,
        };
        let blob = Bytes::from(blob);
        if kind == BlobKind::Tree {
            self.tree_blobs.insert(*id, blob.clone());
        }
        Ok(blob)
    }

    /// The same blob from another pack than the one where it does not open, if another has it: backups beside each other store one twice, and so
    /// does a backup that could not know of the first.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn other_copy(&self, kind: BlobKind, id: &BlobId, damaged: &Place) -> Result<Option<Vec<u8>>> {
        for place in self.view()?.index.places(kind, id)? {
            if place.pack == damaged.pack && place.ordinal == damaged.ordinal {
                continue;
            }
            match self.fetch_blob(kind, id, &place) {
                Ok(blob) => return Ok(Some(blob)),
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn fetch_blob(&self, kind: BlobKind, id: &BlobId, place: &Place) -> Result<Vec<u8>> {
        let (start, end) = (
            u64::from(place.offset),
            u64::from(place.offset) + u64::from(place.length),
        );
        let sealed = match &self.cache {
            // Tree packs are small and read by everybody: whole, into the cache.
            Some(_) if kind == BlobKind::Tree => {
                let object = self.fetch_object(&place.pack.object())?;
                let sealed = object
                    .get(start as usize..end as usize)
                    .map(|bytes| object.slice_ref(bytes));
                sealed.ok_or_else(|| Error::damaged(place.pack.object(), "it is shorter than the index says"))?
            }
            None if kind == BlobKind::Tree => {
                let windowed = self.fetch_in_windows(place);
                match windowed.and_then(|sealed| self.unseal(place, kind, id, &sealed)) {
                    // A store that fails elsewhere in the window says nothing of this blob, and a window that was hurt on its way here must not stay.
                    Err(Error::Damaged { .. } | Error::Store { .. }) => self.fetch(&place.pack, start..end)?,
                    opened => return opened,
                }
            }
            _ => self.fetch(&place.pack, start..end)?,
        };
        self.unseal(place, kind, id, &sealed)
    }

    /// Sealed bytes of a tree blob, by way of windows of its pack: whoever reads trees reads most of what lies beside each other, and where no objects
    /// are cached each blob would be a request.
    fn fetch_in_windows(&self, place: &Place) -> Result<Bytes> {
        let (start, end) = (place.offset, place.offset.saturating_add(place.length));
        let mut parts = Vec::new();
        for number in start / TREE_WINDOW..=end.saturating_sub(1).max(start) / TREE_WINDOW {
            let from = number * TREE_WINDOW;
            let until = from.saturating_add(TREE_WINDOW).min(place.pack_size);
            let load = || self.fetch(&place.pack, u64::from(from)..u64::from(until));
            let window = self.tree_windows.get_or_insert_with(&(place.pack, number), load)?;
            let within = start.saturating_sub(from) as usize..(end.min(until).saturating_sub(from)) as usize;
            let part = (within.start <= within.end && within.end <= window.len()).then(|| window.slice(within));
            parts.push(part.ok_or_else(|| Error::damaged(place.pack.object(), "it is shorter than the index says"))?);
        }
        match parts.as_slice() {
            [whole] => Ok(whole.clone()),
            several => Ok(several.concat().into()),
        }
    }

    /// The first 8 bytes of a small file's keyed hash, as its entry has them.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`].
    pub fn file_check(&self, content: &[u8]) -> Result<[u8; 8]> {
        let hash = self.ids()?.file_hash(content);
        Ok(std::array::from_fn(|i| hash[i]))
    }

    /// A pack's table, read from its end.
    ///
    /// # Errors
    /// [`Error::Damaged`]; what the store says.
    pub fn table(&self, pack: PackName, size: u64) -> Result<Arc<Table>> {
        if let Some(table) = self.tables.get(&pack) {
            return Ok(table);
        }
        let name = pack.object();
        if size < (pack::START + pack::FOOTER) as u64 {
            return Err(Error::damaged(name, format!("it has {size} bytes, too few for a pack")));
        }
        let header = self.fetch(&pack, 0..envelope::HEADER as u64)?;
        envelope::check_start(&name, Kind::Pack, Access::Read, &header)?;
        let tail = self.fetch(&pack, size - pack::FOOTER as u64..size)?;
        let footer = pack::footer(pack, size, &tail)?;
        let sealed = self.fetch(
            &pack,
            footer.table_offset..footer.table_offset + u64::from(footer.table_length),
        )?;
        let table = Arc::new(pack::table(
            self.id(),
            pack,
            &header,
            &footer,
            &sealed,
            &self.keys.index,
        )?);
        self.tables.insert(pack, Arc::clone(&table));
        Ok(table)
    }

    fn sealer_of(&self, place: &Place, kind: BlobKind) -> Result<BlobSealer> {
        let view = self.view()?;
        let session = match view.index.pack(&place.pack)? {
            Some(info) if info.key_sessions.len() == 1 => info.key_sessions[0],
            _ => {
                let table = self.table(place.pack, u64::from(place.pack_size))?;
                let entry = table
                    .entries
                    .get(usize::from(place.ordinal))
                    .filter(|entry| entry.offset == place.offset);
                let session = entry.and_then(|entry| table.key_sessions.get(usize::from(entry.key)));
                *session.ok_or_else(|| Error::damaged(place.pack.object(), "its table and the index disagree"))?
            }
        };
        self.sealer(&view, session, kind)
    }

    /// Opens blobs that were sealed by `session`.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`]; [`Error::Damaged`]; what the store says.
    pub fn sealer(&self, view: &View, session: SessionId, kind: BlobKind) -> Result<BlobSealer> {
        let poisoned = |_| Error::Internal("a thread died with the session keys".into());
        if let Some(sealer) = self.sealers.lock().map_err(poisoned)?.get(&(session, kind)) {
            return Ok(sealer.clone());
        }
        let sealer = BlobSealer::new(self.id(), session, kind, self.session_key(view, session, kind)?);
        self.sealers
            .lock()
            .map_err(poisoned)?
            .insert((session, kind), sealer.clone());
        Ok(sealer)
    }

    /// The key with which `session` sealed blobs of a kind.
    ///
    /// # Errors
    /// As [`Repository::sealer`].
    pub fn session_key(&self, view: &View, session: SessionId, kind: BlobKind) -> Result<Secret> {
        let epochs = match kind {
            BlobKind::Data => &self.keys.data,
            BlobKind::Tree => &self.keys.tree,
        };
        if !epochs.iter().any(|(_, halves)| halves.pair.is_some()) && self.volume_keys.is_empty() {
            return Err(self.role_too_small("a reader or an owner"));
        }
        let open = self.session_open(view, session)?;
        if let Some(key) = self.unwrap_session_key(session, kind, &open.keys, epochs)? {
            return Ok(key);
        }
        if let (BlobKind::Tree, Some(sealed)) = (kind, &open.volume) {
            for volume_key in &self.volume_keys {
                if let Some(key) = open_for_volume(self.id(), session, volume_key, sealed)? {
                    return Ok(key);
                }
            }
        }
        // A rotation may have wrapped it anew for the epochs that this key knows.
        for rewrapped in self.rewrapped(session)? {
            let pair = pair_of(epochs, rewrapped.epoch).filter(|_| rewrapped.kind == kind as u8);
            // One that no owner made says nothing.
            if let Some(key) =
                pair.and_then(|pair| unwrap_rewrapped(self.id(), session, &rewrapped, pair, self.config.root_public))
            {
                return Ok(key);
            }
        }
        Err(self.role_too_small("a reader or an owner"))
    }

    fn unwrap_session_key(
        &self,
        session: SessionId,
        kind: BlobKind,
        wrapped: &[WrappedKey],
        epochs: &[(u32, Halves)],
    ) -> Result<Option<Secret>> {
        for key in wrapped.iter().filter(|key| key.kind == kind as u8) {
            if let Some(pair) = pair_of(epochs, key.epoch) {
                return unwrap_key(self.id(), session, key, pair).map(Some);
            }
        }
        Ok(None)
    }

    fn rewrapped(&self, session: SessionId) -> Result<Vec<WrappedKey>> {
        let mut keys = Vec::new();
        for object in self.store.list("k/")?.into_iter().rev() {
            let bytes = self.fetch_object(&object.name)?;
            let rewrap = Rewrap::from_object(self.id(), &object.name, &self.keys.index, &bytes)?;
            keys.extend(
                rewrap
                    .keys
                    .into_iter()
                    .filter(|(of, _)| *of == session)
                    .map(|(_, key)| key),
            );
        }
        Ok(keys)
    }
}

fn pair_of(epochs: &[(u32, Halves)], epoch: u32) -> Option<&SecretPair> {
    let found = epochs.iter().find(|(number, _)| *number == epoch);
    found.and_then(|(_, halves)| halves.pair.as_ref())
}

impl TreeSource for Repository {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        self.blob(BlobKind::Tree, id)
    }
}
