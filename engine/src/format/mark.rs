//! Marks on snapshots: forgotten, or other tags (FORMAT.md, 10).

use serde::{Deserialize, Serialize};

use super::codec;
use super::envelope::{Access, Kind};
use super::object::Binding;
use crate::crypto::Secret;
use crate::words::{ObjectName, RepositoryId, Result, SessionId, Timestamp};

/// Something that was said of a snapshot after it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub time: Timestamp,
    /// What.
    pub what: MarkKind,
}

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkKind {
    /// The snapshot is no longer wanted.
    Forget {
        /// Why, for people.
        reason: String,
    },
    /// From now on it has these tags; of several the newest counts.
    Tags {
        /// All of them.
        tags: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Mark),
}

/// `f/<sid>.<m>`
pub fn mark_name(session: SessionId, random: u64) -> ObjectName {
    format!("f/{session}.{random:016x}")
}

/// The session that a mark's name speaks of.
pub fn marked_session(name: &str) -> Option<SessionId> {
    name.strip_prefix("f/")?.split_once('.')?.0.parse().ok()
}

impl Mark {
    /// The whole object called `name`.
    ///
    /// # Errors
    /// [`crate::words::Error::Invalid`] when it is absurdly long.
    pub fn to_object(&self, repository: RepositoryId, name: &str, mark: &Secret, vouch: &Secret) -> Result<Vec<u8>> {
        let binding = Binding {
            repository,
            kind: Kind::Mark,
            name,
        };
        let document = codec::encode(&Stored::V1(self.clone()))?;
        Ok(binding.sealed_object(mark, &binding.vouched(vouch, document)))
    }

    /// Reads the object called `name`. Who has the key of vouchers learns whether maintenance wrote it.
    ///
    /// # Errors
    /// [`crate::words::Error::Forged`], [`crate::words::Error::Damaged`], [`crate::words::Error::NewerFormat`].
    pub fn from_object(
        repository: RepositoryId,
        name: &str,
        mark: &Secret,
        vouch: Option<&Secret>,
        object: &[u8],
    ) -> Result<Self> {
        let binding = Binding {
            repository,
            kind: Kind::Mark,
            name,
        };
        let vouched = binding.open_object(mark, Access::Read, object)?;
        let Stored::V1(mark) = codec::decode(name, binding.check_vouched(vouch, &vouched)?)?;
        Ok(mark)
    }
}
