//! What a snapshot uses, so that maintenance reads no trees (FORMAT.md, 9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::Fields;
use super::envelope::{Access, Kind};
use super::object::Binding;
use crate::crypto::{PublicKey, Secret, SecretPair, hpke};
use crate::words::{Error, PackName, RepositoryId, Result, SessionId};

/// Which blobs of a pack are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// Every one.
    All,
    /// Bit i of byte i / 8 stands for ordinal i; as many bits as the pack has blobs.
    Some {
        /// The number of bits.
        blobs: u32,
        /// The bits.
        bits: Vec<u8>,
    },
}

impl Used {
    /// None of `blobs`.
    pub fn none(blobs: u32) -> Self {
        Self::Some {
            blobs,
            bits: vec![0; blobs.div_ceil(8) as usize],
        }
    }

    /// Adds one ordinal; out of range is ignored.
    pub fn insert(&mut self, ordinal: u16) {
        if let Self::Some { bits, .. } = self
            && let Some(byte) = bits.get_mut(usize::from(ordinal / 8))
        {
            *byte |= 1 << (ordinal % 8);
        }
    }

    /// Whether the ordinal is used.
    pub fn contains(&self, ordinal: u16) -> bool {
        match self {
            Self::All => true,
            Self::Some { bits, .. } => bits
                .get(usize::from(ordinal / 8))
                .is_some_and(|byte| byte & (1 << (ordinal % 8)) != 0),
        }
    }

    /// Adds all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (
                Self::Some { blobs, bits },
                Self::Some {
                    blobs: more,
                    bits: theirs,
                },
            ) => {
                *blobs = (*blobs).max(*more);
                bits.resize(bits.len().max(theirs.len()), 0);
                bits.iter_mut().zip(theirs).for_each(|(byte, theirs)| *byte |= theirs);
            }
        }
    }

    /// How many ordinals are used, of a pack with `blobs` blobs.
    pub fn count(&self, blobs: u32) -> u32 {
        match self {
            Self::All => blobs,
            Self::Some { bits, .. } => bits.iter().map(|byte| byte.count_ones()).sum(),
        }
    }

    /// Turns a full set into [`Used::All`].
    pub fn simplified(self) -> Self {
        if let Self::Some { blobs, .. } = &self
            && self.count(*blobs) == *blobs
        {
            return Self::All;
        }
        self
    }
}

/// The packs that a snapshot uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// By pack, what is used of it.
    pub packs: BTreeMap<PackName, Used>,
}

impl References {
    /// The plaintext of FORMAT.md, 9.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = (self.packs.len() as u32).to_le_bytes().to_vec();
        for (pack, used) in &self.packs {
            bytes.extend_from_slice(&pack.session.0);
            bytes.extend_from_slice(&pack.number.to_le_bytes());
            match used {
                Used::All => bytes.extend_from_slice(&0u32.to_le_bytes()),
                Used::Some { blobs, bits } => {
                    bytes.extend_from_slice(&blobs.to_le_bytes());
                    bytes.extend_from_slice(bits);
                }
            }
        }
        bytes
    }

    /// Reads the plaintext of the object `name`.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).ok_or_else(|| Error::damaged(name, "its references do not parse"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let count = fields.u32()?;
        let mut packs = BTreeMap::new();
        for _ in 0..count {
            let pack = PackName {
                session: SessionId(fields.array()?),
                number: fields.u32()?,
            };
            let blobs = fields.u32()?;
            let used = match blobs {
                0 => Used::All,
                blobs => Used::Some {
                    blobs,
                    bits: fields.take(blobs.div_ceil(8) as usize)?.to_vec(),
                },
            };
            packs.insert(pack, used);
        }
        fields.rest().is_empty().then_some(Self { packs })
    }

    /// The whole object `r/<sid>`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the public key is not usable.
    pub fn to_object(&self, repository: RepositoryId, session: SessionId, public: PublicKey) -> Result<Vec<u8>> {
        let name = references_name(session);
        let key = Secret::random();
        let head = hpke::wrap(public, &info(repository, session), key.expose())
            .map_err(|_| Error::Invalid("The maintenance key of the repository is not usable".into()))?;
        let binding = Binding {
            repository,
            kind: Kind::References,
            name: &name,
        };
        Ok(binding.framed_object(&key, &head, &self.encode()))
    }

    /// Reads the object `r/<sid>`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub fn from_object(repository: RepositoryId, session: SessionId, pair: &SecretPair, object: &[u8]) -> Result<Self> {
        let name = references_name(session);
        let binding = Binding {
            repository,
            kind: Kind::References,
            name: &name,
        };
        let plaintext = binding.open_framed(Access::Maintain, object, super::end::WRAPPED_KEY, |head| {
            let key = pair
                .unwrap(&info(repository, session), head)
                .ok()
                .and_then(|key| <[u8; 32]>::try_from(key).ok());
            key.map(Secret::new)
                .ok_or_else(|| Error::damaged(&name, "its key does not unwrap"))
        })?;
        Self::decode(&name, &plaintext)
    }
}

/// `r/<sid>`
pub fn references_name(session: SessionId) -> String {
    format!("r/{session}")
}

fn info(repository: RepositoryId, session: SessionId) -> Vec<u8> {
    [b"ararat v1 references".as_slice(), &repository.0, &session.0].concat()
}

/// Where the blobs of one old pack went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The session of the old pack.
    pub session: SessionId,
    /// Its number.
    pub number: u32,
    /// For each blob that was moved: its old ordinal, the number of its new pack in the repack session, its new ordinal.
    pub to: Vec<(u16, u32, u16)>,
}

impl Moved {
    /// The old pack.
    pub fn pack(&self) -> PackName {
        PackName {
            session: self.session,
            number: self.number,
        }
    }
}
