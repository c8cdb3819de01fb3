//! Ids and seals of blobs (FORMAT.md, 4).

use super::{Secret, aead};
use crate::words::{BlobId, BlobKind, RepositoryId, SessionId};

/// Names blobs, and checks small files.
#[derive(Clone)]
pub struct BlobIds {
    data: Secret,
    tree: Secret,
    file_check: Secret,
}

impl BlobIds {
    /// From the repository's `id` key.
    pub fn new(id_key: &Secret) -> Self {
        Self {
            data: id_key.derive("ararat v1 blob id data"),
            tree: id_key.derive("ararat v1 blob id tree"),
            file_check: id_key.derive("ararat v1 file check"),
        }
    }

    /// The id of a blob's plaintext.
    pub fn id(&self, kind: BlobKind, plaintext: &[u8]) -> BlobId {
        let key = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.tree,
        };
        BlobId(*blake3::keyed_hash(key.expose(), plaintext).as_bytes())
    }

    /// A keyed hash of a small file's content; its first 8 bytes are the file's check in the tree.
    pub fn file_hash(&self, content: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(self.file_check.expose(), content).as_bytes()
    }
}

/// Seals and opens blobs with the session key of their kind.
#[derive(Clone)]
pub struct BlobSealer {
    repository: RepositoryId,
    session: SessionId,
    kind: BlobKind,
    key: Secret,
}

impl BlobSealer {
    /// For one session and kind.
    pub fn new(repository: RepositoryId, session: SessionId, kind: BlobKind, key: Secret) -> Self {
        Self {
            repository,
            session,
            kind,
            key,
        }
    }

    /// The session whose key this is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Seals what follows the first 12 bytes of `buffer` (a framed blob: codec, length, payload) in place.
    pub fn seal(&self, id: &BlobId, buffer: &mut Vec<u8>) {
        aead::seal_in_place(&self.key.subkey(&id.0), &self.associated(id), buffer);
    }

    /// Opens a stored blob into `framed` (codec, length, payload).
    pub fn open(&self, id: &BlobId, sealed: &[u8], framed: &mut Vec<u8>) -> Result<(), aead::NotAuthentic> {
        aead::open_into(&self.key.subkey(&id.0), &self.associated(id), sealed, framed)
    }

    fn associated(&self, id: &BlobId) -> [u8; 77] {
        let mut bytes = [0; 77];
        bytes[..12].copy_from_slice(b"ararat1 blob");
        bytes[12..28].copy_from_slice(&self.repository.0);
        bytes[28] = self.kind as u8;
        bytes[29..61].copy_from_slice(&id.0);
        bytes[61..].copy_from_slice(&self.session.0);
        bytes
    }
}
