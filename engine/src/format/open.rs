//! The object `s/<sid>/open`: a session began (FORMAT.md, 7), and its markers `at-<g>`.

use serde::{Deserialize, Serialize};

use super::codec;
use super::envelope::{Access, Kind};
use super::keys::WrappedKey;
use super::object::Binding;
use crate::crypto::{Secret, SecretPair, hpke};
use crate::words::{BlobKind, Error, RepositoryId, Result, SessionId, Timestamp};

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionKind {
    /// Writes a snapshot.
    Backup,
    /// Moves blobs into new packs.
    Repack,
    /// Holds snapshots while they are read.
    Read,
}

/// A session's first words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// What it does.
    pub kind: SessionKind,
    /// When it began.
    pub started: Timestamp,
    /// The machine's name.
    pub host: String,
    /// The process's number on that machine.
    pub process: u32,
    /// The kernel's boot id, so that numbers of another boot are not taken for ours.
    pub boot: String,
    /// Name and version of the program.
    pub program: String,
    /// The session's keys.
    pub keys: Vec<WrappedKey>,
    /// The tree key again, for the holder of the volume key with this id.
    pub volume: Option<([u8; 8], Vec<u8>)>,
    /// Which source it backs up: a keyed hash of host and paths; zeros for other kinds.
    pub source: [u8; 16],
    /// Snapshots that it holds.
    pub pins: Vec<SessionId>,
    /// The key of the session's markers, wrapped for maintenance; read sessions make none.
    pub at_key: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Open),
}

/// `s/<sid>/open`
pub fn open_name(session: SessionId) -> String {
    format!("s/{session}/open")
}

/// `s/<sid>/at-<g>`
pub fn at_name(session: SessionId, generation: u64) -> String {
    format!("s/{session}/at-{generation:016x}")
}

impl Open {
    /// The whole object.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is absurdly long.
    pub fn to_object(&self, repository: RepositoryId, session: SessionId, index: &Secret) -> Result<Vec<u8>> {
        let name = open_name(session);
        let binding = Binding {
            repository,
            kind: Kind::Open,
            name: &name,
        };
        Ok(binding.sealed_object(index, &codec::encode(&Stored::V1(self.clone()))?))
    }

    /// Reads the object.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub fn from_object(repository: RepositoryId, session: SessionId, index: &Secret, object: &[u8]) -> Result<Self> {
        let name = open_name(session);
        let binding = Binding {
            repository,
            kind: Kind::Open,
            name: &name,
        };
        let Stored::V1(open) = codec::decode(&name, &binding.open_object(index, Access::Read, object)?)?;
        Ok(open)
    }
}

/// The object `at-<g>`: the session, by the key that it alone and maintenance know, says which generation it has seen.
///
/// It names the generation's bytes, so that having seen a forged generation is not having seen the one that maintenance publishes under that number.
pub fn at_object(
    repository: RepositoryId,
    session: SessionId,
    (generation, hash): (u64, &[u8; 32]),
    index: &Secret,
    at_key: &Secret,
) -> Vec<u8> {
    let name = at_name(session, generation);
    let binding = Binding {
        repository,
        kind: Kind::At,
        name: &name,
    };
    binding.sealed_object(index, binding.voucher(at_key, hash).expose())
}

/// Whether the object `at-<g>` is the session's own, and of the generation whose object has this hash.
///
/// # Errors
/// [`Error::Damaged`], [`Error::NewerFormat`].
pub fn check_at(
    repository: RepositoryId,
    session: SessionId,
    (generation, hash): (u64, &[u8; 32]),
    index: &Secret,
    at_key: &Secret,
    object: &[u8],
) -> Result<bool> {
    let name = at_name(session, generation);
    let binding = Binding {
        repository,
        kind: Kind::At,
        name: &name,
    };
    let said = binding.open_object(index, Access::Maintain, object)?;
    let said = <[u8; 32]>::try_from(said).ok().map(Secret::new);
    Ok(said.is_some_and(|said| said == binding.voucher(at_key, hash)))
}

fn at_info(repository: RepositoryId, session: SessionId) -> Vec<u8> {
    [b"ararat v1 at key".as_slice(), &repository.0, &session.0].concat()
}

/// Wraps the key of a session's markers for maintenance.
///
/// # Errors
/// [`Error::Invalid`] when the public key is not one.
pub fn wrap_at_key(
    repository: RepositoryId,
    session: SessionId,
    maintenance: hpke::PublicKey,
    key: &Secret,
) -> Result<Vec<u8>> {
    hpke::wrap(maintenance, &at_info(repository, session), key.expose())
        .map_err(|_| Error::Invalid("The maintenance key of the repository is not usable".into()))
}

impl Open {
    /// The key of the session's markers; nothing when there is none that unwraps: then none of its markers counts.
    pub fn at_key(&self, repository: RepositoryId, session: SessionId, maintenance: &SecretPair) -> Option<Secret> {
        let opened = maintenance.unwrap(&at_info(repository, session), self.at_key.as_ref()?);
        opened.ok()?.try_into().ok().map(Secret::new)
    }
}

fn wrap_info(repository: RepositoryId, session: SessionId, kind: u8) -> Vec<u8> {
    [b"ararat v1 session key".as_slice(), &repository.0, &session.0, &[kind]].concat()
}

/// Wraps a session key for an epoch's public key.
///
/// # Errors
/// [`Error::Invalid`] when the public key is not one.
pub fn wrap_key(
    repository: RepositoryId,
    session: SessionId,
    kind: BlobKind,
    (epoch, public): (u32, hpke::PublicKey),
    key: &Secret,
) -> Result<WrappedKey> {
    let kind = kind as u8;
    let wrapped = hpke::wrap(public, &wrap_info(repository, session, kind), key.expose())
        .map_err(|_| Error::Invalid("A public key of the repository is not usable".into()))?;
    Ok(WrappedKey { kind, epoch, wrapped })
}

/// Wraps a session key anew for a later epoch, so that it shows that an owner did.
///
/// # Errors
/// [`Error::Invalid`] when the public key is not one.
pub fn rewrap_key(
    repository: RepositoryId,
    session: SessionId,
    kind: BlobKind,
    (epoch, public): (u32, hpke::PublicKey),
    key: &Secret,
    root: &SecretPair,
) -> Result<WrappedKey> {
    let kind = kind as u8;
    let wrapped = root
        .wrap_from(public, &wrap_info(repository, session, kind), key.expose())
        .map_err(|_| Error::Invalid("A public key of the repository is not usable".into()))?;
    Ok(WrappedKey { kind, epoch, wrapped })
}

/// Unwraps a session key that an owner wrapped anew; nothing when it was somebody else.
pub fn unwrap_rewrapped(
    repository: RepositoryId,
    session: SessionId,
    wrapped: &WrappedKey,
    pair: &SecretPair,
    root: hpke::PublicKey,
) -> Option<Secret> {
    let opened = pair.unwrap_from(root, &wrap_info(repository, session, wrapped.kind), &wrapped.wrapped);
    opened.ok()?.try_into().ok().map(Secret::new)
}

/// Unwraps a session key.
///
/// # Errors
/// [`Error::Damaged`].
pub fn unwrap_key(
    repository: RepositoryId,
    session: SessionId,
    wrapped: &WrappedKey,
    pair: &SecretPair,
) -> Result<Secret> {
    let opened = pair.unwrap(&wrap_info(repository, session, wrapped.kind), &wrapped.wrapped);
    let key = opened.ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.map(Secret::new)
        .ok_or_else(|| Error::damaged(open_name(session), "a key in it does not unwrap"))
}

/// The id of a volume key, and the tree session key sealed with it.
pub fn seal_for_volume(
    repository: RepositoryId,
    session: SessionId,
    volume_key: &Secret,
    tree_key: &Secret,
) -> ([u8; 8], Vec<u8>) {
    let name = open_name(session);
    let binding = Binding {
        repository,
        kind: Kind::Open,
        name: &name,
    };
    (
        volume_key_id(volume_key),
        binding.seal(volume_key, b"", 2, tree_key.expose()),
    )
}

/// Opens the tree session key with a volume key; nothing when it was sealed with another.
///
/// # Errors
/// [`Error::Damaged`].
pub fn open_for_volume(
    repository: RepositoryId,
    session: SessionId,
    volume_key: &Secret,
    sealed: &([u8; 8], Vec<u8>),
) -> Result<Option<Secret>> {
    if sealed.0 != volume_key_id(volume_key) {
        return Ok(None);
    }
    let name = open_name(session);
    let binding = Binding {
        repository,
        kind: Kind::Open,
        name: &name,
    };
    let key = binding.open(volume_key, b"", 2, &sealed.1)?;
    let key = <[u8; 32]>::try_from(key).map_err(|_| Error::damaged(&name, "its volume key has the wrong length"))?;
    Ok(Some(Secret::new(key)))
}

fn volume_key_id(volume_key: &Secret) -> [u8; 8] {
    let id = volume_key.subkey(b"id");
    std::array::from_fn(|i| id.expose()[i])
}
