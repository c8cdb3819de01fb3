//! Restore: a snapshot, or a part of one, back into a folder or onto a block device.
//!
//! The tree is read once, in path order. What has to be written is gathered into windows; a window's blobs are sorted by where they lie in the packs,
//! neighbours are fetched together, and each blob is opened once and written to every place that uses it. Files are dressed when their last byte is
//! there, folders when everything in them is. Memory depends on the size of windows and the number of threads, never on the size of the snapshot
//! (hard-linked files aside: one path each, and what its content is until that is there, until all their names have been met).
//!
//! In reading order: [`walk`] decides about every entry, with [`select`], [`spare`], [`link`] and [`salvage`]; [`plan`] (pure) makes ranges of packs out of a window; [`pipeline`] runs
//! [`job`]s, which [`work`] and [`compare`] do; [`device`] and [`verify`] are the two other ways through a tree; [`total`] says beforehand how much there is,
//! [`tally`] counts.

mod compare;
mod device;
pub(in crate::verbs) mod extents;
mod job;
mod link;
pub(in crate::verbs) mod pipeline;
mod plan;
mod select;
mod salvage;
mod spare;
mod surplus;
mod tally;
mod total;
mod verify;
mod walk;
mod window;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use crate::format::tree::TreeReader;
use crate::repository::{Repository, StoredSnapshot};
use crate::target::{Device, Loss, Overwrite, OwnerMap, Target, TargetOptions};
use crate::words::{Error, Progress, Result};

pub use select::Selection;
pub(in crate::verbs) use work::threads;

/// What to restore, where, and how.
#[derive(Clone, Default)]
pub struct RestoreOptions {
    /// The folder to fill, made if it is not there; or a block device, for a single file.
    pub target: PathBuf,
    /// Which part of the snapshot.
    pub selection: Selection,
    /// What happens to what is there already.
    pub overwrite: Overwrite,
    /// Change large files themselves instead of writing them anew beside the old: needs no space for a second copy and writes less, but a file is
    /// neither old nor new while that goes on.
    pub in_place: bool,
    /// In the folders that are restored, remove what the snapshot does not have. What the selection leaves out stays, and so does everything that the
    /// snapshot says nothing about: what the backup left out or could not read, what is beside its sources, and what other file systems hold.
    pub delete: bool,
    /// Leave runs of zeros out of files, so that they take no space. Holes that were holes in the source are holes in any case.
    pub sparse: bool,
    /// Whose things become.
    pub owners: OwnerMap,
    /// Find out and tell, but change nothing.
    pub dry_run: bool,
    /// Read everything back afterwards and compare it with the snapshot.
    pub verify: bool,
    /// Wait at the end until everything is on disk.
    pub sync: bool,
    /// Is told of every step; in a dry run, this is the plan.
    pub observe: Option<Arc<Observe>>,
}

/// Is told of every step, from many threads.
pub type Observe = dyn Fn(&Step<'_>) + Send + Sync;

/// One thing that was done, or in a dry run would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// What.
    pub kind: StepKind,
    /// With what: a path below the target.
    pub path: &'a [u8],
    /// Bytes of the file; 0 for everything else.
    pub size: u64,
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// A folder was made, or gone into.
    Folder,
    /// A file was made.
    File,
    /// A file took the place of an older one.
    Replaced,
    /// A further name of a file was made.
    Link,
    /// A symbolic link, pipe, socket or device was made.
    Other,
    /// It was right already; at most its metadata was set.
    Unchanged,
    /// It was there and left alone, as the overwrite mode says.
    Kept,
    /// It was there but not in the snapshot, and was removed.
    Deleted,
}

impl StepKind {
    const COUNT: usize = 8;

    /// The word for it, in the past.
    pub fn text(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Replaced => "replaced",
            Self::Link => "link",
            Self::Other => "other",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::Deleted => "deleted",
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Folders made or gone into.
    pub folders: u64,
    /// Files written, replaced ones included.
    pub files: u64,
    /// Files that took the place of older ones.
    pub replaced: u64,
    /// Further names of files (hard links).
    pub links: u64,
    /// Symbolic links, pipes, sockets and devices.
    pub others: u64,
    /// Items that were right already.
    pub unchanged: u64,
    /// Items that were left alone, as the overwrite mode says.
    pub kept: u64,
    /// Things removed because the snapshot does not have them; a folder with all that was in it counts once, unless something in it stays.
    pub deleted: u64,
    /// Bytes of the files written, holes included.
    pub bytes: u64,
    /// Of these, bytes that were taken from what was there.
    pub bytes_reused: u64,
    /// Bytes fetched from packs.
    pub bytes_fetched: u64,
    /// Files that were read back and compared.
    pub verified: u64,
    /// Items that could not be restored, or differ when read back.
    pub failed: u64,
    /// The first hundred of them: path and reason.
    pub failures: Vec<(Vec<u8>, String)>,
    /// What could not be given back exactly, by kind.
    pub losses: Vec<Loss>,
}

impl RestoreReport {
    /// Whether everything that was selected is there, apart from losses.
    pub fn is_complete(&self) -> bool {
        self.failed == 0
    }
}

/// Restores a snapshot.
///
/// # Errors
/// What ends everything: the store cannot be reached, the tree is damaged, the disk is full, the target cannot be written, [`Error::Interrupted`].
/// What concerns single items is in the report.
pub fn restore(
    repository: &Repository,
    snapshot: &StoredSnapshot,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let record = snapshot.record.as_ref().ok_or(Error::RoleTooSmall {
        needed: "a reader or an owner",
        role: "a maintainer",
    })?;
    progress.stage("Restoring", "files");
    let mut expected = None;
    if options.selection.is_everything() {
        let counts = &record.counts;
        expected = Some((counts.files + counts.folders + counts.others, counts.bytes));
    }
    let mut chosen = options.selection.filter()?;
    let root = record.root.0;
    if !options.selection.is_everything() && !options.selection.has_patterns() {
        match total::total(&repository, root, &chosen.within) {
            Ok(total) => expected = Some(total),
            // It is told when it is met again.
            Err(error) if work::is_local(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some((entries, bytes)) = expected {
        progress.expect(entries, bytes);
    }
    if options.delete {
        let has = |path: &[u8]| {
            let mut reader = TreeReader::new(repository, root).subtree(path)?;
            Ok(reader.peek_path()? == Some(path))
        };
        match spare::Spared::of(&snapshot.id.short(), record, has) {
            Ok(spared) => chosen.spared = Some(spared),
            // What of it can be read is restored all the same.
            Err(error) if work::is_local(&error) => progress.note(&format!("Nothing is deleted: {error}")),
            Err(error) => return Err(error),
        }
    }
    let tally = tally::Tally::new(progress, options.observe.as_deref());
    if Device::is_at(&options.target) {
        device::run(repository, root, options, &tally)?;
        return Ok(tally.report());
    }
    let losses = {
        let target_options = TargetOptions {
            owners: options.owners.clone(),
            dry_run: options.dry_run,
        };
        let (target, folder) = Target::open(&options.target, target_options)?;
        let done = work::run(repository, root, options, &chosen, &tally, Arc::clone(&folder));
        // The last holder: the folder itself is dressed now.
        drop(folder);
        for (path, failure) in target.take_unfinished() {
            tally.fail(|| path, failure);
        }
        done?;
        if options.sync && !options.dry_run {
            target.sync()?;
        }
        target.losses.list()
    };
    if options.verify && !options.dry_run {
        progress.stage("Verifying", "files");
        if let Some((entries, bytes)) = expected {
            progress.expect(entries, bytes);
        }
        verify::run(repository, root, options, &chosen, &tally)?;
    }
    Ok(RestoreReport {
        losses,
        ..tally.report()
    })
}
