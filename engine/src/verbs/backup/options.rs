//! What a backup is told, and what it reports.

use std::path::PathBuf;

use super::memory::MemoryFile;
use crate::crypto::Secret;
use crate::format::snapshot::Counts;
use crate::repository::writer::{Machine, Written};
use crate::source::{SourceOptions, StreamSource};
use crate::words::{BlobId, Result, SessionId, Timestamp};

/// What is backed up.
pub enum Input {
    /// Files and folders, as a person gave them; relative ones start from the options' `source.here`, which is absolute.
    Paths(Vec<PathBuf>),
    /// A stream, stored as one file.
    Stream {
        /// The file's path in the snapshot.
        name: Vec<u8>,
        /// The bytes, and who says whether they were all.
        source: StreamSource,
    },
    /// Documents in memory, in path order (names compared as bytes, one after the other); an error ends the backup. A backup that maintenance has ended
    /// is not begun again by itself, since they cannot be asked for a second time.
    Files {
        /// What the source is called in the snapshot's record.
        name: Vec<u8>,
        /// The documents.
        files: Box<dyn Iterator<Item = Result<MemoryFile>>>,
    },
}

/// Which snapshot unchanged files are taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ParentChoice {
    /// The newest of the same source that is complete; and what an interrupted backup after it has.
    #[default]
    Newest,
    /// This one.
    This(String),
    /// None: everything is read.
    None,
}

/// Gives the names of owners and groups by number.
#[derive(Clone, Copy)]
pub struct OwnerNames {
    /// Of an owner.
    pub user: fn(u32) -> Option<Vec<u8>>,
    /// Of a group.
    pub group: fn(u32) -> Option<Vec<u8>>,
}

/// How a backup is made.
pub struct BackupOptions {
    /// Tells the present.
    pub clock: fn() -> Timestamp,
    /// The moment that the snapshot stands for, when it is not now.
    pub time: Option<Timestamp>,
    /// The machine's name as the snapshot has it.
    pub host: Vec<u8>,
    /// Who runs the backup.
    pub user: Vec<u8>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Names and values to find it by.
    pub labels: Vec<(String, String)>,
    /// Free text.
    pub description: String,
    /// Where it runs.
    pub machine: Machine,
    /// Which snapshot unchanged files are taken from.
    pub parent: ParentChoice,
    /// A changed status change time alone does not make a file worth reading.
    pub ignore_ctime: bool,
    /// A changed inode number alone does not make a file worth reading.
    pub ignore_inode: bool,
    /// No snapshot is written when its tree would be the parent's.
    pub skip_if_unchanged: bool,
    /// Nothing is written; files are counted, not read.
    pub dry_run: bool,
    /// Somebody looks at the progress: without a parent that tells how much there is, a second walk finds out ahead.
    pub estimate: bool,
    /// The compression level, -7 to 19; without one, what suits slabs, chunks and trees.
    pub level: Option<i32>,
    /// Threads that read and compress, 1 to 12; more are not used.
    pub workers: usize,
    /// Packs that are uploaded at once, 1 to 64.
    pub uploads: usize,
    /// Seals the file list for the node that has the source.
    pub volume_key: Option<Secret>,
    /// What is left out.
    pub source: SourceOptions,
    /// What the source is called in the snapshot's record, and so what it is compared with the next time, when that is not where it lies: a volume is
    /// the same wherever it is mounted. For paths.
    pub source_name: Option<Vec<u8>>,
    /// Names of owners.
    pub names: OwnerNames,
}

/// What is left of an interrupted backup of the same source, and is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continued {
    /// The session that did not end.
    pub session: SessionId,
    /// When it began.
    pub started: Timestamp,
    /// Packs that it had stored.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a backup did.
#[derive(Clone, Debug, Default)]
pub struct BackupReport {
    /// The snapshot; none for a dry run or when nothing had changed.
    pub snapshot: Option<SessionId>,
    /// The root of its tree; none for a dry run.
    pub root: Option<BlobId>,
    /// The snapshot that unchanged files were taken from.
    pub parent: Option<SessionId>,
    /// What was found and done.
    pub counts: Counts,
    /// What was stored.
    pub written: Written,
    /// Items left out by patterns and rules.
    pub excluded: u64,
    /// Interrupted backups that this one continued.
    pub continued: Vec<Continued>,
    /// The tree is the parent's, and so no snapshot was written.
    pub unchanged: bool,
    /// A person interrupted it: the snapshot lacks what comes after some path.
    pub interrupted: bool,
    /// The first 100 items that could not be read, or not as they should be: path and reason. `counts.errors` says how many there are.
    pub errors: Vec<(Vec<u8>, String)>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}
