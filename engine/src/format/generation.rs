//! Generations, their catalogue of folded sessions, and rewrapped keys (FORMAT.md, 10).

use serde::{Deserialize, Serialize};

use super::codec;
use super::envelope::{Access, Kind};
use super::keys::WrappedKey;
use super::object::Binding;
use crate::crypto::Secret;
use crate::words::{ObjectName, PackName, RepositoryId, Result, SessionId, Timestamp};

/// An object that a generation names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReference {
    /// Its name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its last 32 bytes.
    pub hash: [u8; 32],
    /// How many entries or sessions it has.
    pub count: u64,
}

/// A pack that is to be deleted unless somebody turns out to need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// The pack.
    pub pack: PackName,
    /// The generation that condemned it first.
    pub generation: u64,
    /// When that was; for the undelete window, never for safety.
    pub time: Timestamp,
}

/// What maintenance knows and has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number, from 1; 0 is the empty one before the first.
    pub number: u64,
    /// `hash` of the whole object before it; zeros for 1.
    pub predecessor: [u8; 32],
    /// When it was made; for people.
    pub created: Timestamp,
    /// Compacted segments, for the sessions of the catalogue.
    pub levels: Vec<ObjectReference>,
    /// Parts of the catalogue.
    pub catalogue: Vec<ObjectReference>,
    /// Packs to be deleted.
    pub condemned: Vec<Condemned>,
    /// Sessions whose references were counted when the newest condemned packs were chosen.
    pub counted: Vec<SessionId>,
    /// Packs that are deleted or being deleted.
    pub dead: Vec<PackName>,
    /// Repack sessions whose tables are still needed.
    pub moved: Vec<SessionId>,
}

#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Generation),
}

/// `g/<n>`
pub fn generation_name(number: u64) -> ObjectName {
    format!("g/{number:016x}")
}

/// `c/<n>/<i>`
pub fn catalogue_name(number: u64, part: u32) -> ObjectName {
    format!("c/{number:016x}/{part:08x}")
}

/// `x/g<n>/<i>`
pub fn level_name(number: u64, part: u32) -> ObjectName {
    format!("x/g{number:016x}/{part:08x}")
}

impl Generation {
    /// The whole object.
    ///
    /// # Errors
    /// [`crate::words::Error::Invalid`] when it is absurdly long.
    pub fn to_object(&self, repository: RepositoryId, index: &Secret, vouch: &Secret) -> Result<Vec<u8>> {
        let name = generation_name(self.number);
        let binding = Binding {
            repository,
            kind: Kind::Generation,
            name: &name,
        };
        let document = codec::encode(&Stored::V1(self.clone()))?;
        Ok(binding.framed_object(index, b"", &binding.vouched(vouch, document)))
    }

    /// Reads the object `g/<number>`. Who has the key of vouchers learns whether maintenance wrote it.
    ///
    /// # Errors
    /// [`crate::words::Error::Forged`], [`crate::words::Error::Damaged`], [`crate::words::Error::NewerFormat`].
    pub fn from_object(
        repository: RepositoryId,
        number: u64,
        index: &Secret,
        vouch: Option<&Secret>,
        object: &[u8],
    ) -> Result<Self> {
        let name = generation_name(number);
        let binding = Binding {
            repository,
            kind: Kind::Generation,
            name: &name,
        };
        let plaintext = binding.open_framed(Access::Read, object, 0, |_| Ok(index.clone()))?;
        let Stored::V1(generation) = codec::decode(&name, binding.check_vouched(vouch, &plaintext)?)?;
        if generation.number != number {
            return Err(crate::words::Error::damaged(
                name,
                format!("it says that it is number {}", generation.number),
            ));
        }
        Ok(generation)
    }
}

/// A session that a generation has folded: its objects whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedSession {
    /// Its id.
    pub session: SessionId,
    /// The object `open`.
    pub open: Vec<u8>,
    /// The object `end`; absent once the snapshot is forgotten.
    pub end: Option<Vec<u8>>,
    /// The object `r/<sid>`, if there is one.
    pub references: Option<Vec<u8>>,
}

/// A part of a generation's catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CataloguePart {
    /// By id.
    pub sessions: Vec<FoldedSession>,
}

#[derive(Serialize, Deserialize)]
enum StoredCatalogue {
    V1(CataloguePart),
}

impl CataloguePart {
    /// The whole object called `name`.
    ///
    /// # Errors
    /// [`crate::words::Error::Invalid`] when it is absurdly long.
    pub fn to_object(&self, repository: RepositoryId, name: &str, index: &Secret) -> Result<Vec<u8>> {
        let binding = Binding {
            repository,
            kind: Kind::Catalogue,
            name,
        };
        Ok(binding.framed_object(index, b"", &codec::encode(&StoredCatalogue::V1(self.clone()))?))
    }

    /// Reads the object called `name`.
    ///
    /// # Errors
    /// [`crate::words::Error::Damaged`], [`crate::words::Error::NewerFormat`].
    pub fn from_object(repository: RepositoryId, name: &str, index: &Secret, object: &[u8]) -> Result<Self> {
        let binding = Binding {
            repository,
            kind: Kind::Catalogue,
            name,
        };
        let plaintext = binding.open_framed(Access::Read, object, 0, |_| Ok(index.clone()))?;
        let StoredCatalogue::V1(part) = codec::decode(name, &plaintext)?;
        Ok(part)
    }
}

/// Session keys that a rotation wrapped for new epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrap {
    /// By session.
    pub keys: Vec<(SessionId, WrappedKey)>,
}

#[derive(Serialize, Deserialize)]
enum StoredRewrap {
    V1(Rewrap),
}

/// `k/<epoch>/<n>`
pub fn rewrap_name(epoch: u32, number: u32) -> ObjectName {
    format!("k/{epoch:08x}/{number:08x}")
}

impl Rewrap {
    /// The whole object called `name`.
    ///
    /// # Errors
    /// [`crate::words::Error::Invalid`] when it is absurdly long.
    pub fn to_object(&self, repository: RepositoryId, name: &str, index: &Secret) -> Result<Vec<u8>> {
        let binding = Binding {
            repository,
            kind: Kind::Rewrap,
            name,
        };
        Ok(binding.framed_object(index, b"", &codec::encode(&StoredRewrap::V1(self.clone()))?))
    }

    /// Reads the object called `name`.
    ///
    /// # Errors
    /// [`crate::words::Error::Damaged`], [`crate::words::Error::NewerFormat`].
    pub fn from_object(repository: RepositoryId, name: &str, index: &Secret, object: &[u8]) -> Result<Self> {
        let binding = Binding {
            repository,
            kind: Kind::Rewrap,
            name,
        };
        let plaintext = binding.open_framed(Access::Read, object, 0, |_| Ok(index.clone()))?;
        let StoredRewrap::V1(rewrap) = codec::decode(name, &plaintext)?;
        Ok(rewrap)
    }
}
