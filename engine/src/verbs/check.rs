//! Check: is everything there, and is it what was written?
//!
//! The structure is always checked: every indexed pack is in the store with its size, every snapshot's record and tree opens, every blob that it
//! names is indexed. With [`ReadData`] packs are read as well, hashed, and their blobs opened and compared with their ids (a maintainer, who
//! has no key to them, hashes alone). A finding names the pack, and through it the snapshots and files that are hurt. Something is called missing
//! only against a view that was read after the miss.

mod packs;
mod trees;

use std::collections::{BTreeMap, HashSet};

use crate::repository::{Repository, SnapshotFilter};
use crate::words::{BlobKind, Error, PackName, Progress, Result, SessionId};

/// How much of the packs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadData {
    /// Nothing.
    None,
    /// Every pack.
    All,
    /// The packs of slice `number` (from 1) of `of`; all slices together are every pack.
    Slice {
        /// Which.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// A random selection of about so many thousandths of the packs.
    Permille(u32),
    /// A random selection of about so many bytes.
    Bytes(u64),
}

/// How a check is made.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How much of the packs is read.
    pub read_data: ReadData,
    /// Threads that read packs, 1 to 64. Each holds a pack in memory.
    pub workers: usize,
    /// Chooses the random selection.
    pub seed: u64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub message: String,
    /// The pack that is hurt.
    pub pack: Option<PackName>,
    /// Files that need what is hurt, the first 20 of each snapshot.
    pub files: Vec<(SessionId, Vec<u8>)>,
    /// How many files need it, in all snapshots.
    pub file_count: u64,
}

/// What a check saw.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// What is wrong; nothing in a healthy repository.
    pub findings: Vec<Finding>,
    /// What is no damage, but worth knowing.
    pub notes: Vec<String>,
    /// Snapshots that were walked.
    pub snapshots: u64,
    /// Tree blobs that were opened.
    pub tree_blobs: u64,
    /// Packs in the index.
    pub packs: u64,
    /// Packs that were read.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Blobs that were opened and compared with their ids.
    pub blobs_read: u64,
    /// Whether trees and blobs could be opened: a maintainer's check sees hashes alone.
    pub has_keys: bool,
}

/// Blobs and packs that are known to be bad, by what is wrong with them.
#[derive(Debug, Default)]
struct Bad {
    packs: BTreeMap<PackName, String>,
    blobs: BTreeMap<([u8; 16], BlobKind), (Option<PackName>, String)>,
}

impl Bad {
    fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.blobs.is_empty()
    }
}

/// Checks the repository. Damage is in the report; an error means that checking itself was impossible.
///
/// # Errors
/// [`Error::RoleTooSmall`] for writers; what the store says.
pub fn check(repository: &Repository, options: &CheckOptions, progress: &dyn Progress) -> Result<CheckReport> {
    let mut report = CheckReport {
        has_keys: can_read(repository),
        ..CheckReport::default()
    };
    progress.stage("Reading the index");
    let view = match repository.refresh() {
        Ok(view) => view,
        Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
            // Without the index nothing more can be said.
            report.findings.push(Finding {
                message: error.to_string(),
                ..Finding::default()
            });
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    let mut bad = Bad::default();
    progress.stage("Looking for packs");
    packs::presence(repository, &view, &mut bad, &mut report)?;
    progress.stage("Walking trees");
    let snapshots = match repository.snapshots(&SnapshotFilter::default()) {
        Ok(snapshots) => snapshots,
        Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
            report.findings.push(Finding {
                message: error.to_string(),
                ..Finding::default()
            });
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    if report.has_keys {
        trees::walk_all(repository, &snapshots, &mut bad, &mut report, progress)?;
    }
    if options.read_data != ReadData::None {
        progress.stage("Reading packs");
        packs::read(repository, options, &mut bad, &mut report, progress)?;
    }
    if !bad.is_empty() {
        progress.stage("Finding out who is hurt");
        let hurt = if report.has_keys {
            trees::hurt(repository, &snapshots, &bad, progress)?
        } else {
            BTreeMap::new()
        };
        report.findings.extend(findings(bad, hurt));
    }
    Ok(report)
}

/// Files that need a bad blob or pack.
#[derive(Debug, Default)]
struct Hurt {
    files: Vec<(SessionId, Vec<u8>)>,
    count: u64,
    seen: HashSet<(SessionId, Vec<u8>)>,
}

fn findings(bad: Bad, mut hurt: BTreeMap<Option<PackName>, Hurt>) -> Vec<Finding> {
    let mut messages: BTreeMap<Option<PackName>, Vec<String>> = BTreeMap::new();
    for (pack, message) in bad.packs {
        messages.entry(Some(pack)).or_default().push(message);
    }
    for (pack, message) in bad.blobs.into_values() {
        messages.entry(pack).or_default().push(message);
    }
    let mut findings = Vec::new();
    for (pack, mut messages) in messages {
        let Hurt { files, count, .. } = hurt.remove(&pack).unwrap_or_default();
        let more = messages.len().saturating_sub(1);
        let mut message = messages.swap_remove(0);
        if more > 0 {
            message.push_str(&format!(" (and {more} more)"));
        }
        findings.push(Finding {
            message,
            pack,
            files,
            file_count: count,
        });
    }
    findings
}

fn can_read(repository: &Repository) -> bool {
    let secret = |epochs: &[(u32, crate::format::keys::Halves)]| epochs.iter().any(|(_, halves)| halves.pair.is_some());
    secret(&repository.keys().data) && secret(&repository.keys().tree) && repository.keys().id.is_some()
}
