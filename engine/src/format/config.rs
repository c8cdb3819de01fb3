//! The object `config`: identity and parameters, clear (FORMAT.md, 3.1).

use serde::{Deserialize, Serialize};

use super::codec;
use super::envelope::{self, Access, Kind};
use crate::crypto::PublicKey;
use crate::words::{RepositoryId, Result, Timestamp};

/// The name of the object.
pub const NAME: &str = "config";

/// Identity and parameters of a repository; never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The identity.
    pub repository: RepositoryId,
    /// When it was made.
    pub created: Timestamp,
    /// Vouches for key slots.
    pub root_public: PublicKey,
    /// How files are cut.
    pub chunker: Cutting,
    /// Size in bytes that data packs aim at.
    pub pack_bytes: u32,
    /// Size in bytes that tree packs aim at.
    pub tree_pack_bytes: u32,
    /// 1: packs are padded (FORMAT.md, 5); 0: they are not.
    pub padding: u8,
}

/// How files are cut. Sizes are bytes and powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutting {
    /// 1: FastCDC, 2020 edition.
    pub algorithm: u8,
    /// How strongly sizes are drawn to the average, 0 to 3.
    pub normalization: u8,
    /// No chunk but a file's last is smaller.
    pub min: u32,
    /// About the mean.
    pub average: u32,
    /// No chunk is larger.
    pub max: u32,
}

impl Default for Cutting {
    fn default() -> Self {
        Self {
            algorithm: 1,
            normalization: 2,
            min: 512 << 10,
            average: 2 << 20,
            max: 8 << 20,
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Config),
}

impl Config {
    /// The whole object.
    ///
    /// # Errors
    /// None that can happen with a document this small.
    pub fn to_object(&self) -> Result<Vec<u8>> {
        Ok(envelope::clear(
            Kind::Config,
            &codec::encode(&Stored::V1(self.clone()))?,
        ))
    }

    /// Reads the object.
    ///
    /// # Errors
    /// [`crate::words::Error::Damaged`], [`crate::words::Error::NewerFormat`].
    pub fn from_object(object: &[u8], access: Access) -> Result<Self> {
        let envelope = envelope::parse(NAME, Kind::Config, access, object)?;
        let Stored::V1(config) = codec::decode(NAME, envelope.body)?;
        Ok(config)
    }
}
