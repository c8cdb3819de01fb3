//! Check: is everything there, and is it what was written?
//!
//! The structure is always checked, past every cache: every small object is what was written, every indexed pack is in the store with its size, every
//! snapshot's record and tree opens, every blob that it names is indexed, and its references name what its tree does. With [`ReadData`] packs are read as
//! well, hashed, and their blobs opened and compared with their ids (a maintainer, who has no key to them, hashes alone). A finding names the object or
//! pack, and through it the snapshots and files that are hurt. Something is called missing only against a view that was read after the miss.
//!
//! In reading order: [`objects`] (everything small), [`trees`] (with [`fresh`], which reads them), [`packs`], and [`hurt`] (whom damage hurts).

mod fresh;
mod hurt;
mod objects;
mod packs;
mod trees;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use self::hurt::Hurt;
use crate::repository::damage::object_of;
use crate::repository::{Damage, Repository, SnapshotFilter};
use crate::words::{BlobKind, Error, ObjectName, PackName, Progress, Result, SessionId};

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
    /// Entries that need what is hurt, the first 20 of each snapshot. Where a part of a tree is lost, the first of it stands for all in it.
    pub files: Vec<(SessionId, Vec<u8>)>,
    /// How many entries need it, in all snapshots.
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

/// Packs and blobs that are known to be bad, by what is wrong with them.
#[derive(Debug, Default)]
struct Bad {
    packs: BTreeMap<PackName, BadPack>,
    blobs: BTreeMap<([u8; 16], BlobKind), (Option<PackName>, String)>,
}

#[derive(Debug)]
struct BadPack {
    message: String,
    /// Whether all that is in it must be taken for lost.
    hurts: bool,
}

impl Bad {
    fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.blobs.is_empty()
    }

    fn hurts(&self, pack: &PackName) -> bool {
        self.packs.get(pack).is_some_and(|bad| bad.hurts)
    }
}

/// Findings in objects that are no packs: each object is named once.
#[derive(Debug, Default)]
struct Findings {
    named: HashSet<ObjectName>,
    findings: Vec<Finding>,
    notes: Vec<String>,
}

impl Findings {
    fn object(&mut self, name: &str, error: &Error) {
        self.say(name, error.to_string());
    }

    fn damage(&mut self, damage: &Damage) {
        let message = match damage.snapshot {
            Some(snapshot) => format!("{} (snapshot {snapshot} cannot be read)", damage.message),
            None => damage.message.clone(),
        };
        // Whose snapshot it is, is said though the object was named before.
        if let (Some(_), Some(known)) = (
            damage.snapshot,
            self.findings.iter_mut().find(|known| known.message == damage.message),
        ) {
            known.message.clone_from(&message);
        }
        self.say(&damage.name, message);
    }

    fn say(&mut self, name: &str, message: String) {
        if self.named.insert(name.to_owned()) {
            self.findings.push(Finding {
                message,
                ..Finding::default()
            });
        }
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

/// Checks the repository. Damage is in the report; an error means that checking itself was impossible.
///
/// # Errors
/// [`Error::RoleTooSmall`] for writers; what the store says.
pub fn check(repository: &Repository, options: &CheckOptions, progress: &dyn Progress) -> Result<CheckReport> {
    if repository.keys().mark.is_none() {
        return Err(repository.role_too_small("a reader, a maintainer or an owner"));
    }
    let mut report = CheckReport {
        has_keys: can_read(repository),
        ..CheckReport::default()
    };
    let mut findings = Findings::default();
    progress.stage("Reading small objects", "");
    let objects = objects::read(repository, options, &mut findings, progress)?;
    progress.stage("Reading the index", "");
    let mut bad = Bad::default();
    let mut view = None;
    let snapshots = match repository.load_full_view() {
        Ok(full) => {
            let view = repository.adopt(Arc::clone(view.insert(Arc::new(full))))?;
            view.damaged.iter().for_each(|damage| findings.damage(damage));
            objects::named(repository, &view, &objects, &mut findings)?;
            progress.stage("Looking for packs", "");
            packs::presence(repository, &view, &mut bad, &mut report)?;
            let listing = repository.listing(&SnapshotFilter::default())?;
            listing.damaged.iter().for_each(|damage| findings.damage(damage));
            listing.snapshots
        }
        // Without a generation nothing more can be said.
        Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
            findings.object(object_of(&error).unwrap_or_default(), &error);
            report.findings = findings.findings;
            report.notes.extend(findings.notes);
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.findings = findings.findings;
    report.notes.extend(findings.notes);
    if let Some(view) = view.filter(|_| report.has_keys) {
        progress.stage("Walking trees", "snapshots");
        trees::walk_all(repository, view, &snapshots, &mut bad, &mut report, progress)?;
    }
    if options.read_data != ReadData::None {
        progress.stage("Reading packs", "packs");
        packs::read(repository, options, &mut bad, &mut report, progress)?;
    }
    if !bad.is_empty() {
        progress.stage("Finding out who is hurt", "");
        let hurt = if report.has_keys {
            hurt::hurt(repository, &snapshots, &bad, progress)?
        } else {
            BTreeMap::new()
        };
        report.findings.extend(findings_of(bad, hurt));
    }
    Ok(report)
}

/// One finding for each bad pack, and one for blobs that are in none.
fn findings_of(bad: Bad, mut hurt: BTreeMap<Option<PackName>, Hurt>) -> Vec<Finding> {
    let mut messages: BTreeMap<Option<PackName>, Vec<String>> = BTreeMap::new();
    for (pack, bad) in bad.packs {
        messages.entry(Some(pack)).or_default().push(bad.message);
    }
    for (pack, message) in bad.blobs.into_values() {
        messages.entry(pack).or_default().push(message);
    }
    let mut findings = Vec::new();
    for (pack, mut messages) in messages {
        let Hurt { files, count, .. } = hurt.remove(&pack).unwrap_or_default();
        let more = messages.len().saturating_sub(1);
        let mut message = messages.swap_remove(0);
        if let Some(pack) = pack.filter(|pack| !message.contains(&pack.to_string())) {
            message.push_str(&format!(" (in pack {pack})"));
        }
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
