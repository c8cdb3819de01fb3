//! Reads back what was restored, and compares it with the snapshot: the ids of chunks, the checks of small files, links and types.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::OFlags;

use super::RestoreOptions;
use super::compare::{is_zero, read_full};
use super::pipeline::JobQueue;
use super::salvage::{Found, Salvage};
use super::select::{Chosen, Verdict};
use super::tally::Tally;
use crate::format::tree::{Content, Entry, EntryKind, Extent, ListReader};
use crate::repository::Repository;
use crate::target::file::open_existing;
use crate::target::name::{is_inside, split_path};
use crate::target::node::read_symlink;
use crate::target::{Existing, ExistingKind, Folder, Overwrite, Target, TargetOptions};
use crate::words::{BlobId, BlobKind, Result};

/// How many files one thread takes in one go.
const LOT: usize = 64;

/// A file to read back.
struct Check {
    folder: Arc<Folder>,
    name: Box<[u8]>,
    size: u64,
    content: Content,
}

/// A folder on the way: its path in the snapshot, the folder if it is there, and whether it is chosen.
type Level = (Vec<u8>, Option<Arc<Folder>>, bool);

/// Compares the chosen part of the tree with what is in the target.
pub(super) fn run(
    repository: &Repository,
    tree: BlobId,
    options: &RestoreOptions,
    chosen: &Chosen,
    tally: &Tally<'_>,
) -> Result<()> {
    let (_target, root) = Target::open(&options.target, TargetOptions::default())?;
    let verify = Verify {
        repository,
        options,
        tally,
    };
    let queue = JobQueue::new(4 * LOT);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let work = |checks: Vec<Check>| {
        for check in checks {
            if tally.is_stopped() {
                return queue.stop();
            }
            verify.file(&check);
            tally.progress.done(1, check.size);
        }
    };
    let found = queue.run(threads, work, || verify.walk(tree, chosen, root, &queue));
    tally.take_error().map_or(found, Err)
}

struct Verify<'a> {
    repository: &'a Repository,
    options: &'a RestoreOptions,
    tally: &'a Tally<'a>,
}

impl Verify<'_> {
    fn walk(&self, tree: BlobId, chosen: &Chosen, root: Arc<Folder>, queue: &JobQueue<Vec<Check>>) -> Result<()> {
        let mut entries = Salvage::new(self.repository, self.repository, tree, &chosen.within)?;
        let mut levels: Vec<Level> = vec![(chosen.within.clone(), Some(root), chosen.takes_root())];
        let mut lot = Vec::new();
        while let Some(found) = entries.next()? {
            // What is lost was listed when it was not restored.
            let Found::Entry(entry) = found else { continue };
            if self.tally.is_stopped() {
                return Ok(());
            }
            let is_folder = matches!(entry.kind, EntryKind::Folder);
            if entry.path == chosen.within && is_folder {
                continue;
            }
            let Some((parent, name)) = split_path(&entry.path) else {
                continue;
            };
            reach(&mut levels, parent);
            let Some((_, folder, above)) = levels.last() else {
                continue;
            };
            let verdict = chosen.ask(&entry.path, is_folder, *above);
            if is_folder {
                let below = enter(folder.as_ref(), name);
                if verdict == Verdict::Chosen && below.is_none() {
                    self.tally.fail(|| entry.path.clone(), "It is not there when read back");
                }
                let path = entry.path.clone();
                if verdict == Verdict::LeftOut {
                    let after = [&path[..], &[1]].concat();
                    entries.seek(&after);
                } else {
                    levels.push((path, below, verdict == Verdict::Chosen));
                }
                continue;
            }
            if verdict != Verdict::Chosen {
                continue;
            }
            let Some(folder) = folder else {
                self.tally.fail(|| entry.path.clone(), "It is not there when read back");
                continue;
            };
            if let Some(check) = self.entry(folder, name, entry) {
                let large = check.size > 1 << 20;
                lot.push(check);
                if large || lot.len() >= LOT {
                    queue.push(std::mem::take(&mut lot), LOT);
                }
            }
        }
        queue.push(lot, 1);
        Ok(())
    }

    /// Compares everything that a stat can tell; gives a file whose content has to be read.
    fn entry(&self, folder: &Arc<Folder>, name: &[u8], entry: &Entry) -> Option<Check> {
        let existing = match folder.existing(name) {
            Ok(Some(existing)) => existing,
            Ok(None) => {
                self.tally
                    .fail(|| folder.path_of(name), "It is not there when read back");
                return None;
            }
            Err(failure) => {
                self.tally.fail(|| folder.path_of(name), failure);
                return None;
            }
        };
        if self.was_kept(&existing, entry) {
            return None;
        }
        let right = match &entry.kind {
            EntryKind::File { size, content, .. } if existing.kind == ExistingKind::File => {
                return Some(Check {
                    folder: Arc::clone(folder),
                    name: name.into(),
                    size: *size,
                    content: content.clone(),
                });
            }
            EntryKind::Symlink { target, .. } => {
                existing.kind == ExistingKind::Symlink && read_symlink(folder, name).is_ok_and(|there| there == *target)
            }
            EntryKind::Fifo => existing.kind == ExistingKind::Fifo,
            EntryKind::Socket => existing.kind == ExistingKind::Socket,
            EntryKind::CharacterDevice { major, minor } => {
                existing.kind == ExistingKind::CharacterDevice(*major, *minor)
            }
            EntryKind::BlockDevice { major, minor } => existing.kind == ExistingKind::BlockDevice(*major, *minor),
            EntryKind::Folder | EntryKind::File { .. } => false,
        };
        if !right {
            self.tally
                .fail(|| folder.path_of(name), "It is something else when read back");
        }
        None
    }

    /// Whether the overwrite mode may have left something else in its place.
    fn was_kept(&self, existing: &Existing, entry: &Entry) -> bool {
        let may_be = matches!(self.options.overwrite, Overwrite::Never | Overwrite::IfNewer);
        may_be && (existing.modified != entry.metadata.modified || existing.size != entry.size())
    }

    fn file(&self, check: &Check) {
        match self.differs(check) {
            Ok(None) => drop(self.tally.verified.fetch_add(1, Ordering::Relaxed)),
            Ok(Some(at)) => {
                self.tally.fail(|| check.folder.path_of(&check.name), differs_at(at));
            }
            Err(why) => self.tally.fail(|| check.folder.path_of(&check.name), why),
        }
    }

    /// Where the file begins to differ, if it does.
    fn differs(&self, check: &Check) -> Result<Option<u64>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let file = open_existing(&check.folder, &check.name, OFlags::RDONLY).map_err(|failure| text(&failure))?;
        let size = rustix::fs::fstat(&file).map_err(|error| text(&error))?.st_size;
        if u64::try_from(size) != Ok(check.size) {
            return Ok(Some(check.size.min(u64::try_from(size).unwrap_or(0))));
        }
        content_differs(self.repository, &file, check.size, &check.content, |_| {
            !self.tally.is_stopped()
        })
    }
}

/// Why something fails that differs when it is read back.
pub(super) fn differs_at(at: u64) -> String {
    format!("It differs from the snapshot when read back, at byte {at} or after it")
}

/// Where a file, or a device, begins to differ from a content of that size, if it does. `compared` is told how many bytes were right, and says whether to
/// go on.
pub(super) fn content_differs(
    repository: &Repository,
    file: &OwnedFd,
    size: u64,
    content: &Content,
    compared: impl Fn(u64) -> bool,
) -> Result<Option<u64>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut buffer: Vec<u8> = Vec::with_capacity(1 << 16);
    match content {
        Content::Empty => Ok((!is_zero(file, 0, size)).then_some(0)),
        Content::Slab { check: expected, .. } => {
            buffer.resize(usize::try_from(size).unwrap_or(0), 0);
            let read = read_full(file, &mut buffer, 0).map_err(|error| text(&error))?;
            let found = repository.file_check(&buffer).map_err(|error| text(&error))?;
            Ok((read != buffer.len() || found != *expected).then_some(0))
        }
        Content::Chunks(extents) => {
            let mut offset = 0u64;
            for extent in extents {
                if !is_right(repository, file, offset, *extent, &mut buffer) {
                    return Ok(Some(offset));
                }
                offset = offset.saturating_add(extent.length());
                if !compared(extent.length()) {
                    break;
                }
            }
            Ok(None)
        }
        Content::List { blob } => {
            for extent in ListReader::new(repository, *blob, size) {
                let (offset, extent) = extent.map_err(|error| text(&error))?;
                if !is_right(repository, file, offset, extent, &mut buffer) {
                    return Ok(Some(offset));
                }
                if !compared(extent.length()) {
                    break;
                }
            }
            Ok(None)
        }
    }
}

fn is_right(repository: &Repository, file: &OwnedFd, offset: u64, extent: Extent, buffer: &mut Vec<u8>) -> bool {
    match extent {
        Extent::Hole { length } => is_zero(file, offset, length),
        Extent::Chunk { blob, length } => {
            buffer.resize(length as usize, 0);
            read_full(file, buffer, offset) == Ok(buffer.len())
                && repository.ids().is_ok_and(|ids| ids.id(BlobKind::Data, buffer) == blob)
        }
    }
}

/// Leaves folders until the innermost is `parent`, or enters those on the way to it whose own entries are lost.
fn reach(levels: &mut Vec<Level>, parent: &[u8]) {
    while levels.len() > 1
        && levels
            .last()
            .is_some_and(|(path, ..)| path != parent && !is_inside(parent, path))
    {
        levels.pop();
    }
    while let Some((path, folder, chosen)) = levels.last()
        && path.len() < parent.len()
    {
        let start = if path.is_empty() { 0 } else { path.len() + 1 };
        let rest = parent.get(start..).unwrap_or_default();
        let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        let level = (
            parent[..start + name.len()].to_vec(),
            enter(folder.as_ref(), name),
            *chosen,
        );
        levels.push(level);
    }
}

fn enter(folder: Option<&Arc<Folder>>, name: &[u8]) -> Option<Arc<Folder>> {
    let existing = folder?.existing(name).ok()??;
    folder?.enter(name, &existing, None).ok()
}
