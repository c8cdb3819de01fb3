//! Snapshot records (FORMAT.md, 6.3).

use serde::{Deserialize, Serialize};

use super::codec;
use crate::words::{BlobId, Result, SessionId, Timestamp};

/// Everything that is known of a snapshot apart from its tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The moment it stands for.
    pub time: Timestamp,
    /// When the backup began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The machine's name.
    pub host: Vec<u8>,
    /// Who ran the backup.
    pub user: Vec<u8>,
    /// The sources, as they were given.
    pub paths: Vec<Vec<u8>>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Names and values to find it by.
    pub labels: Vec<(String, String)>,
    /// Free text.
    pub description: String,
    /// The root of its tree.
    pub root: RootId,
    /// The snapshot that unchanged files were taken from.
    pub parent: Option<SessionId>,
    /// The backup was interrupted: what is after some path is missing.
    pub incomplete: bool,
    /// Name and version of the program that wrote it.
    pub program: String,
    /// Names of the owners that occur, by number.
    pub owners: Vec<(u32, Vec<u8>)>,
    /// Names of the groups that occur, by number.
    pub groups: Vec<(u32, Vec<u8>)>,
    /// The patterns that were left out.
    pub excludes: Vec<String>,
    /// What was found and done.
    pub counts: Counts,
    /// The first 100 items that could not be read: path and reason.
    pub errors: Vec<(Vec<u8>, String)>,
}

/// The id of a tree's root blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RootId(pub BlobId);

impl Default for RootId {
    fn default() -> Self {
        Self(BlobId([0; 32]))
    }
}

/// Counts of a backup. Bytes are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Files in the snapshot.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Everything else.
    pub others: u64,
    /// Sum of the sizes of files.
    pub bytes: u64,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that were read because they may have changed.
    pub files_changed: u64,
    /// Files taken from the parent unread.
    pub files_unmodified: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Blobs that were not in the repository.
    pub blobs_new: u64,
    /// Their plaintext bytes.
    pub bytes_new: u64,
    /// Bytes that the session wrote into packs.
    pub bytes_stored: u64,
    /// Items that could not be read.
    pub errors: u64,
}

#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Snapshot),
}

impl Snapshot {
    /// The document.
    ///
    /// # Errors
    /// [`crate::words::Error::Invalid`] when its lists are absurdly long.
    pub fn encode(&self) -> Result<Vec<u8>> {
        codec::encode(&Stored::V1(self.clone()))
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`crate::words::Error::Damaged`].
    pub fn decode(name: &str, document: &[u8]) -> Result<Self> {
        let Stored::V1(snapshot) = codec::decode(name, document)?;
        Ok(snapshot)
    }

    /// What maintenance may see of it.
    pub fn summary(&self) -> Summary {
        Summary {
            time: self.time,
            host: self.host.clone(),
            user: self.user.clone(),
            paths: self.paths.clone(),
            tags: self.tags.clone(),
            labels: self.labels.clone(),
            incomplete: self.incomplete,
        }
    }
}

/// What maintenance sees of a snapshot, to forget by policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The moment it stands for.
    pub time: Timestamp,
    /// The machine's name.
    pub host: Vec<u8>,
    /// Who ran the backup.
    pub user: Vec<u8>,
    /// The sources.
    pub paths: Vec<Vec<u8>>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Names and values to find it by.
    pub labels: Vec<(String, String)>,
    /// The backup was interrupted.
    pub incomplete: bool,
}
