//! In place: what is there is compared with the snapshot, and only what differs is fetched.
//!
//! A small file that has the right content only gets its metadata. Of a large one, what is right is taken over into the new file (shared with the
//! old one where the file system can), unless the file itself is to be changed.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use super::StepKind;
use super::job::{Item, LargeFile, Use};
use super::work::Work;
use crate::format::tree::Extent;
use crate::target::Failure;
use crate::target::file::{Way, open_existing, refresh_file};
use crate::words::{BlobId, BlobKind};

/// A file of one blob or less, and how to tell its content.
pub(super) struct SmallFile {
    pub(super) item: Item,
    pub(super) size: u64,
    pub(super) blob: BlobId,
    pub(super) offset: u32,
    /// The check of a part of a shared blob; nothing if the blob is the whole file, so that its id tells.
    pub(super) check: Option<[u8; 8]>,
}

/// A large file that is there, and what is known of it so far.
pub(super) struct Comparison {
    file: Arc<LargeFile>,
    old: OnceLock<Option<OwnedFd>>,
    old_size: u64,
    /// Stretches that are being compared, and one for whoever still finds more of them.
    left: AtomicU64,
    progress: Mutex<Progress>,
}

/// How far a comparison has come.
enum Progress {
    /// No difference so far: here the old file has the right bytes.
    Same(Vec<(u64, u64)>),
    /// There are differences, so a new file is made, or the old one changed. `shared`: what the old one has is in it already.
    Begun { shared: bool },
}

/// What was found in one stretch.
#[derive(Default)]
struct Found {
    /// Blobs to fetch, where they begin in the file, and how long they are.
    differing: Vec<(u64, BlobId, u32)>,
    /// Where the old file has the right bytes: beginning and length, neighbours joined when they come in order.
    same: Vec<(u64, u64)>,
    /// Where the old file has bytes but should have a hole.
    holes: Vec<(u64, u64)>,
}

impl Comparison {
    pub(super) fn new(file: Arc<LargeFile>, old_size: u64) -> Arc<Self> {
        Arc::new(Self {
            file,
            old: OnceLock::new(),
            old_size,
            left: AtomicU64::new(1),
            progress: Mutex::new(Progress::Same(Vec::new())),
        })
    }

    /// One more stretch is going to be compared.
    pub(super) fn hold(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    fn old(&self) -> Option<&OwnedFd> {
        let open = || {
            self.file
                .with_item(|item| open_existing(&item.folder, &item.name, OFlags::RDONLY).ok())
                .flatten()
        };
        self.old.get_or_init(open).as_ref()
    }
}

impl Work<'_> {
    /// Compares small files; those that differ are fetched.
    pub(super) fn compare_small(&self, files: Vec<SmallFile>) {
        let mut wanted = Vec::new();
        let mut buffer = Vec::new();
        for file in files {
            if self.is_same(&file, &mut buffer) {
                self.tally.bytes_reused.fetch_add(file.size, Ordering::Relaxed);
                let done = refresh_file(&file.item.folder, &file.item.name, &file.item.metadata);
                self.done(file.item, StepKind::Unchanged, file.size, done);
            } else {
                let SmallFile {
                    item,
                    size,
                    blob,
                    offset,
                    check,
                } = file;
                let whole = check.is_none();
                wanted.push((
                    blob,
                    if whole {
                        Use::Whole { item, size }
                    } else {
                        Use::Part { item, offset, size }
                    },
                ));
            }
        }
        self.want(wanted, true);
    }

    fn is_same(&self, file: &SmallFile, buffer: &mut Vec<u8>) -> bool {
        let Ok(old) = open_existing(&file.item.folder, &file.item.name, OFlags::RDONLY) else {
            return false;
        };
        let Ok(size) = usize::try_from(file.size) else {
            return false;
        };
        buffer.resize(size, 0);
        // One byte more would mean that it is longer.
        if read_full(&old, buffer, 0) != Ok(size) || rustix::io::pread(&old, &mut [0; 1], file.size) != Ok(0) {
            return false;
        }
        match file.check {
            Some(check) => self.repository.file_check(buffer).is_ok_and(|is| is == check),
            None => self.id_of(buffer) == Some(file.blob),
        }
    }

    /// The id of the blob that has this content; nothing for those who may not know it.
    pub(super) fn id_of(&self, content: &[u8]) -> Option<BlobId> {
        self.repository.ids().ok().map(|ids| ids.id(BlobKind::Data, content))
    }

    /// Compares a stretch of a large file.
    pub(super) fn compare_large(&self, comparison: &Arc<Comparison>, extents: &[(u64, Extent)]) {
        let mut found = Found::default();
        let mut buffer = Vec::new();
        for (offset, extent) in extents {
            if self.tally.is_stopped() {
                return;
            }
            match *extent {
                Extent::Hole { length } => {
                    if comparison.old().is_none_or(|old| !is_zero(old, *offset, length)) {
                        found.holes.push((*offset, length));
                    }
                }
                Extent::Chunk { blob, length } => {
                    let size = length as usize;
                    buffer.resize(size, 0);
                    let same = comparison.old().is_some_and(|old| {
                        read_full(old, &mut buffer, *offset) == Ok(size) && self.id_of(&buffer) == Some(blob)
                    });
                    match found.same.last_mut() {
                        Some((start, total)) if same && *start + *total == *offset => *total += u64::from(length),
                        _ if same => found.same.push((*offset, u64::from(length))),
                        _ => found.differing.push((*offset, blob, length)),
                    }
                }
            }
        }
        if !comparison.file.has_failed()
            && let Err(failure) = self.hand_on(comparison, found)
        {
            self.fail_large(&comparison.file, failure);
        }
        self.release_comparison(comparison);
    }

    /// Takes over what is right, and fetches what is not: stretch by stretch, so that no more than what differs in a few of them waits at once.
    fn hand_on(&self, comparison: &Comparison, found: Found) -> Result<(), Failure> {
        let file = &comparison.file;
        let reused = found.same.iter().map(|(_, length)| length).sum();
        self.tally.bytes_reused.fetch_add(reused, Ordering::Relaxed);
        self.show(file, reused);
        let shared = {
            let mut progress = comparison.progress.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *progress {
                Progress::Begun { shared } => *shared,
                Progress::Same(same) => {
                    let is_same = found.differing.is_empty() && found.holes.is_empty();
                    if is_same && comparison.old_size == file.size {
                        same.extend(found.same);
                        return Ok(());
                    }
                    let shared = begin(comparison)?;
                    if !shared {
                        copy_all(comparison, same)?;
                    }
                    *progress = Progress::Begun { shared };
                    shared
                }
            }
        };
        if shared {
            let new = file.open()?;
            for (offset, length) in &found.holes {
                new.hole(*offset, *length)?;
            }
        } else {
            copy_all(comparison, &found.same)?;
        }
        let wanted = found
            .differing
            .into_iter()
            .map(|(offset, blob, length)| (blob, file.piece(offset, length)))
            .collect();
        self.want(wanted, true);
        Ok(())
    }

    /// A stretch has been compared, or there are no more to be found. The last one draws the conclusion.
    pub(super) fn release_comparison(&self, comparison: &Comparison) {
        if comparison.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let file = &comparison.file;
        let begun = {
            let progress = comparison.progress.lock().unwrap_or_else(PoisonError::into_inner);
            matches!(*progress, Progress::Begun { .. })
        };
        // A file that has failed may be right as far as it could be compared, which is not all of it: it must not look as if it were.
        if begun || file.has_failed() {
            return self.release(file);
        }
        if comparison.old_size != file.size {
            // Nothing was to be compared.
            if let Err(failure) = begin(comparison) {
                self.fail_large(file, failure);
            }
            return self.release(file);
        }
        let shown = file.shown();
        let Some(complete) = file.release() else { return };
        let item = complete.item;
        let done = refresh_file(&item.folder, &item.name, &item.metadata);
        self.done_shown(item, StepKind::Unchanged, file.size, shown, done);
    }
}

/// Opens the new file, or the old one to change it. Returns whether what the old one has is in it.
fn begin(comparison: &Comparison) -> Result<bool, Failure> {
    let file = &comparison.file;
    if file.with_item(|item| item.way) == Some(Way::Update) && file.open().is_err() {
        // It may be changed only by putting another one in its place: a file that its owner may not write, for one.
        file.with_item(|item| item.way = Way::Replace);
    }
    let new = file.open()?;
    let updated = file.with_item(|item| item.way) == Some(Way::Update);
    Ok(updated || comparison.old().is_some_and(|old| new.share_with(old)))
}

/// Copies what the old file has into the new one.
fn copy_all(comparison: &Comparison, same: &[(u64, u64)]) -> Result<(), Failure> {
    let Some(old) = comparison.old() else { return Ok(()) };
    let new = comparison.file.open()?;
    same.iter()
        .try_for_each(|(offset, length)| new.copy_from(old, *offset, *length))
}

/// Reads until the buffer is full or the file ends; gives how many bytes came.
pub(super) fn read_full(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(file, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether a stretch of a file is there and nothing but zeros. Its holes are not read.
pub(super) fn is_zero(file: &OwnedFd, offset: u64, length: u64) -> bool {
    let Ok(size) = rustix::fs::seek(file, SeekFrom::End(0)) else {
        return false;
    };
    let end = offset.saturating_add(length);
    if size < end {
        return false;
    }
    let mut at = offset;
    let mut buffer = Vec::new();
    while at < end {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            // Nothing but a hole to the end.
            Err(Errno::NXIO) => return true,
            Err(_) => at,
        };
        if at >= end {
            return true;
        }
        buffer.resize(usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 18), 0);
        match rustix::io::pread(file, &mut buffer[..], at) {
            Ok(count) if count > 0 && buffer[..count].iter().all(|byte| *byte == 0) => at += count as u64,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}
