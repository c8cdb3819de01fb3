//! Packs in the making: sealed blobs are appended in memory until the pack is full; then it is one object, put at once.

use bytes::Bytes;

use crate::crypto::Secret;
use crate::format::pack::{self, Footer, Table, TableEntry};
use crate::format::segment::PackInfo;
use crate::words::{BlobId, BlobKind, PackName, RepositoryId, SessionId};

/// A pack that still takes blobs.
pub struct OpenPack {
    name: PackName,
    repository: RepositoryId,
    object: Vec<u8>,
    table: Table,
}

/// A pack that is ready to be stored.
pub struct SealedPack {
    /// Its name.
    pub name: PackName,
    /// All its bytes.
    pub object: Bytes,
    /// What is in it.
    pub table: Table,
    /// Where its table is.
    pub footer: Footer,
}

impl SealedPack {
    /// Its buffer for another pack, unless somebody still reads it.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        self.object.is_unique().then(|| self.object.into())
    }

    /// What the index keeps of it.
    pub fn info(&self) -> PackInfo {
        PackInfo {
            name: self.name,
            contents: self
                .table
                .entries
                .iter()
                .fold(0, |bits, entry| bits | 1 << entry.kind as u8),
            size: self.object.len() as u32,
            blobs: self.footer.blobs,
            table_offset: self.footer.table_offset as u32,
            table_length: self.footer.table_length,
            hash: self.object.last_chunk().copied().unwrap_or_default(),
            key_sessions: self.table.key_sessions.clone(),
        }
    }
}

impl OpenPack {
    /// An empty pack that expects about `capacity` bytes.
    pub fn new(repository: RepositoryId, name: PackName, capacity: usize) -> Self {
        Self::within(Vec::new(), repository, name, capacity)
    }

    /// [`OpenPack::new`] in the buffer of an earlier pack. Fresh ones are large: allocators keep what was freed for a while, and the system clears
    /// each of their pages.
    pub fn within(mut object: Vec<u8>, repository: RepositoryId, name: PackName, capacity: usize) -> Self {
        object.clear();
        // The table and the padding come on top; growing for them would copy the whole pack into twice the memory.
        object.reserve_exact(capacity + capacity / 32 + (128 << 10));
        object.extend_from_slice(&pack::start(repository, name));
        Self {
            name,
            repository,
            object,
            table: Table::default(),
        }
    }

    /// Appends a sealed blob whose key belongs to `key_session`. Gives its ordinal.
    pub fn append(&mut self, id: BlobId, kind: BlobKind, plaintext: u32, key_session: SessionId, sealed: &[u8]) -> u16 {
        let known = self
            .table
            .key_sessions
            .iter()
            .position(|session| *session == key_session);
        let key = known.unwrap_or_else(|| {
            self.table.key_sessions.push(key_session);
            self.table.key_sessions.len() - 1
        });
        let ordinal = self.table.entries.len() as u16;
        self.table.entries.push(TableEntry {
            id,
            kind,
            offset: self.object.len() as u32,
            length: sealed.len() as u32,
            plaintext,
            key: key as u16,
        });
        self.object.extend_from_slice(sealed);
        ordinal
    }

    /// Its name.
    pub fn name(&self) -> PackName {
        self.name
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.object.len()
    }

    /// Whether there is no blob in it.
    pub fn is_empty(&self) -> bool {
        self.table.entries.is_empty()
    }

    /// Whether a pack that aims at `target` bytes should take no further blob.
    pub fn is_full(&self, target: usize) -> bool {
        self.object.len() >= target
            || self.table.entries.len() >= pack::BLOBS_MAX
            || self.table.key_sessions.len() >= usize::from(u16::MAX)
    }

    /// Moves every blob of `other` into this one.
    pub fn absorb(&mut self, other: &Self) {
        for entry in &other.table.entries {
            let sealed = &other.object[entry.offset as usize..][..entry.length as usize];
            let session = other.table.key_sessions[usize::from(entry.key)];
            self.append(entry.id, entry.kind, entry.plaintext, session, sealed);
        }
    }

    /// Closes the pack.
    pub fn seal(self, padding: bool, index: &Secret) -> SealedPack {
        let (object, footer) = pack::finish(self.object, self.repository, self.name, &self.table, padding, index);
        SealedPack {
            name: self.name,
            object: object.into(),
            table: self.table,
            footer,
        }
    }
}
