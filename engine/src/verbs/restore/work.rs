//! What the threads of a restore do: fetch, open, write, dress, and settle what waited for it.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::job::{Complete, Item, Job, LargeFile, Little, Use};
use super::link::{LaterName, Link, Settled};
use super::pipeline::JobQueue;
use super::plan::{PackRange, RangeLimits, WantedBlob, gather, ranges};
use super::select::Chosen;
use super::tally::Tally;
use super::walk;
use super::{RestoreOptions, StepKind};
use crate::format::tree::EntryKind;
use crate::repository::Repository;
use crate::target::file::{NewFile, Way, refresh_file, write_file};
use crate::target::node::{make_link, make_node, make_symlink, refresh_node};
use crate::target::{Failure, Folder};
use crate::words::{BlobId, BlobKind, Error, Result};

/// A blob that goes to more places than this is written by several threads.
const USES_AT_ONCE: usize = 256;
/// How much is queued at most: each use of a blob and each small thing counts one.
const QUEUED_MAX: usize = 16 << 10;

/// What all threads of a restore share.
pub(super) struct Work<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a RestoreOptions,
    pub(super) tally: &'a Tally<'a>,
    pub(super) root: Arc<Folder>,
    pub(super) queue: JobQueue<Job>,
    limits: RangeLimits,
    /// Names that become their file's first, since that one could not be restored.
    promoted: Mutex<Vec<(Item, EntryKind)>>,
}

/// Restores the chosen part of a tree into a folder.
pub(super) fn run(
    repository: &Repository,
    tree: BlobId,
    options: &RestoreOptions,
    chosen: &Chosen,
    tally: &Tally<'_>,
    root: Arc<Folder>,
) -> Result<()> {
    let limits = if is_far(repository) {
        RangeLimits::FAR
    } else {
        RangeLimits::NEAR
    };
    let work = Work {
        repository,
        options,
        tally,
        root,
        queue: JobQueue::new(QUEUED_MAX),
        limits,
        promoted: Mutex::default(),
    };
    let found = work.queue.run(
        threads(repository),
        |job| work.act(job),
        || {
            let found = walk::walk(&work, tree, chosen);
            if tally.is_stopped() {
                work.queue.stop();
            }
            found
        },
    );
    match tally.take_error() {
        Some(error) => Err(error),
        None => found,
    }
}

/// Whether each request takes long, so that many are made at once and each is for much.
pub(super) fn is_far(repository: &Repository) -> bool {
    repository.store().location().local_path().is_none()
}

/// How many threads fetch and write. Where requests take long, most of them wait.
pub(in crate::verbs) fn threads(repository: &Repository) -> usize {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    if is_far(repository) {
        (4 * processors).clamp(8, 16)
    } else {
        processors.min(16)
    }
}

/// Whether an error concerns only what it happened to; anything else would happen to everything else too.
pub(super) fn is_local(error: &Error) -> bool {
    matches!(
        error,
        Error::Damaged { .. } | Error::Missing { .. } | Error::MissingBlob { .. }
    )
}

thread_local! {
    /// The blob that a thread writes, in a buffer that is used again.
    static OPENED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Work<'_> {
    fn act(&self, job: Job) {
        if self.tally.is_stopped() {
            return self.queue.stop();
        }
        match job {
            Job::Fetch(range) => self.fetch(range),
            Job::Write(content, uses) => self.write_all(&content, uses),
            Job::Make(little) => little.into_iter().for_each(|little| self.make(little)),
            Job::Compare(files) => self.compare_small(files),
            Job::CompareLarge(comparison, extents) => self.compare_large(&comparison, &extents),
        }
    }

    /// Plans and queues the fetching of blobs. `following`: from inside a job, so without waiting for room.
    pub(super) fn want(&self, wanted: Vec<(BlobId, Use)>, following: bool) {
        let mut located = Vec::new();
        let mut missing = Vec::new();
        for (id, uses) in gather(wanted) {
            match self.repository.locate(BlobKind::Data, &id) {
                Ok(Some(place)) => located.push(WantedBlob { id, place, uses }),
                Ok(None) => missing.push((id, uses)),
                Err(error) => self.lose(error, uses),
            }
        }
        if !missing.is_empty() {
            // Maintenance may have moved them: the newest state of the repository decides.
            let refreshed = self.repository.refresh().map(drop);
            for (id, uses) in missing {
                match refreshed
                    .as_ref()
                    .map_err(copy_of)
                    .and_then(|()| self.repository.locate(BlobKind::Data, &id))
                {
                    Ok(Some(place)) => located.push(WantedBlob { id, place, uses }),
                    Ok(None) => self.lose(Error::MissingBlob { id }, uses),
                    Err(error) => self.lose(error, uses),
                }
            }
        }
        for range in ranges(located, self.limits) {
            let cost = range.blobs.iter().map(|blob| blob.uses.len()).sum();
            if following {
                self.queue.push_following(Job::Fetch(range));
            } else {
                self.queue.push(Job::Fetch(range), cost);
            }
        }
    }

    fn fetch(&self, range: PackRange<Use>) {
        let fetched = match self.repository.fetch(&range.pack, range.start..range.end) {
            Ok(fetched) => fetched,
            Err(error) if is_local(&error) => {
                // The pack is gone, perhaps to another place; or it is shorter than it should be.
                if let Err(error) = self.repository.refresh() {
                    return self.tally.stop(error);
                }
                for blob in range.blobs {
                    self.give_or_lose(self.fetch_again(&blob.id), blob.uses);
                }
                return;
            }
            Err(error) => return self.tally.stop(error),
        };
        self.tally
            .bytes_fetched
            .fetch_add(fetched.len() as u64, Ordering::Relaxed);
        let mut content = OPENED.take();
        for blob in range.blobs {
            if self.tally.is_stopped() {
                return;
            }
            match self.open(&fetched, range.start, &blob, &mut content) {
                Ok(()) => self.give(&content, blob.uses),
                // What does not open may have been hurt on its way here.
                Err(error) if is_local(&error) => self.give_or_lose(self.fetch_again(&blob.id), blob.uses),
                Err(error) => self.lose(error, blob.uses),
            }
        }
        OPENED.set(content);
    }

    fn open(&self, fetched: &Bytes, start: u64, blob: &WantedBlob<Use>, content: &mut Vec<u8>) -> Result<()> {
        let from = usize::try_from(u64::from(blob.place.offset) - start).unwrap_or(usize::MAX);
        let sealed = from
            .checked_add(blob.place.length as usize)
            .and_then(|end| fetched.get(from..end));
        let sealed =
            sealed.ok_or_else(|| Error::damaged(blob.place.pack.object(), "it is shorter than the index says"))?;
        self.repository
            .unseal_into(&blob.place, BlobKind::Data, &blob.id, sealed, content)
    }

    /// Fetches one blob by itself, from where the newest index has it, however often maintenance moves it meanwhile.
    fn fetch_again(&self, id: &BlobId) -> Result<Bytes> {
        let content = self.repository.blob(BlobKind::Data, id)?;
        self.tally
            .bytes_fetched
            .fetch_add(content.len() as u64, Ordering::Relaxed);
        Ok(content)
    }

    fn give_or_lose(&self, opened: Result<Bytes>, uses: Vec<Use>) {
        match opened {
            Ok(content) => self.give(&content, uses),
            Err(error) => self.lose(error, uses),
        }
    }

    /// Writes a blob wherever it goes; many small files are shared with other threads.
    fn give(&self, content: &[u8], mut uses: Vec<Use>) {
        let mut shared = None;
        while uses.len() > 2 * USES_AT_ONCE {
            let some = uses.split_off(uses.len() - USES_AT_ONCE);
            let shared = shared.get_or_insert_with(|| Bytes::copy_from_slice(content));
            self.queue.push_following(Job::Write(shared.clone(), some));
        }
        self.write_all(content, uses);
    }

    fn write_all(&self, content: &[u8], uses: Vec<Use>) {
        for user in uses {
            match user {
                Use::Part { item, offset, size } => {
                    let part = usize::try_from(size)
                        .ok()
                        .and_then(|size| content.get(offset as usize..)?.get(..size));
                    self.write_small(item, size, part);
                }
                Use::Whole { item, size } => {
                    self.write_small(item, size, Some(content).filter(|content| content.len() as u64 == size));
                }
                Use::Piece { file, offset, length } => {
                    if !file.has_failed() {
                        match self.write_piece(&file, offset, length, content) {
                            Ok(()) => self.show(&file, u64::from(length)),
                            Err(failure) => self.fail_large(&file, failure),
                        }
                    }
                    self.release(&file);
                }
            }
        }
    }

    fn write_small(&self, item: Item, size: u64, bytes: Option<&[u8]>) {
        let made = match bytes {
            Some(bytes) => self.write_whole(&item, bytes),
            None => Err(Failure::refused(
                "The blob that it is in has another length than the snapshot says",
            )),
        };
        self.made(item, size, made);
    }

    fn write_whole(&self, item: &Item, bytes: &[u8]) -> Result<(), Failure> {
        if !self.options.sparse {
            return write_file(&item.folder, &item.name, &item.metadata, item.way, bytes);
        }
        let file = NewFile::create(&item.folder, &item.name, &item.metadata, item.way)?;
        file.write_sparse_at(bytes, 0)?;
        file.finish(bytes.len() as u64, &item.metadata)
    }

    fn write_piece(&self, file: &LargeFile, offset: u64, length: u32, content: &[u8]) -> Result<(), Failure> {
        if content.len() != length as usize {
            return Err(Failure::refused(
                "A piece of it has another length than the snapshot says",
            ));
        }
        let open = file.open()?;
        if self.options.sparse {
            open.write_sparse_at(content, offset)
        } else {
            open.write_at(content, offset)
        }
    }

    /// Shows bytes of a large file as done, before all of it is.
    pub(super) fn show(&self, file: &LargeFile, bytes: u64) {
        self.tally.progress.done(0, file.show(bytes));
    }

    /// One piece of a large file is done, or there are no more to be found.
    pub(super) fn release(&self, file: &LargeFile) {
        let Some(Complete { item, file: open }) = file.release() else {
            return;
        };
        if file.has_failed() {
            // Listed when it failed. What was written of it goes away with `open`.
            return self.settle(item.link.as_ref(), false);
        }
        let made = match open {
            Some(open) => open.finish(file.size, &item.metadata),
            // All hole.
            None => NewFile::create(&item.folder, &item.name, &item.metadata, item.way)
                .and_then(|open| open.finish(file.size, &item.metadata)),
        };
        let kind = kind_of(item.way);
        self.done_shown(item, kind, file.size, file.shown(), made);
    }

    /// A large file cannot be whole any more.
    pub(super) fn fail_large(&self, file: &LargeFile, failure: Failure) {
        if file.fail() {
            self.failed(|| file.path.clone(), failure);
        }
    }

    /// Lists a failure, or ends everything if nothing else could succeed.
    pub(super) fn failed(&self, path: impl FnOnce() -> Vec<u8>, failure: Failure) {
        match failure {
            Failure::System { action, source } if failure.stops_everything() => {
                let path = String::from_utf8_lossy(&path()).into_owned();
                self.tally
                    .stop(Error::io(action, self.options.target.join(path), source.into()));
            }
            failure @ (Failure::System { .. } | Failure::Refused(_)) => self.tally.fail(path, failure),
        }
    }

    /// Counts something that was made, or could not be, and settles what waits for it.
    pub(super) fn made(&self, item: Item, size: u64, made: Result<(), Failure>) {
        let kind = kind_of(item.way);
        self.done(item, kind, size, made);
    }

    /// The same for anything.
    pub(super) fn done(&self, item: Item, kind: StepKind, size: u64, done: Result<(), Failure>) {
        self.done_shown(item, kind, size, 0, done);
    }

    /// The same, when so many bytes have been shown as done already.
    pub(super) fn done_shown(&self, item: Item, kind: StepKind, size: u64, shown: u64, done: Result<(), Failure>) {
        let whole = done.is_ok();
        match done {
            Ok(()) => self.tally.step_shown(kind, size, shown, || item.path()),
            Err(failure) => self.failed(|| item.path(), failure),
        }
        self.settle(item.link.as_ref(), whole);
    }

    fn settle(&self, link: Option<&Arc<Link>>, whole: bool) {
        let Some(link) = link else { return };
        match link.settle(whole) {
            Settled::Whole(waiting) => waiting.into_iter().for_each(|later| self.link(link, later)),
            Settled::Next(next) => {
                let (LaterName { mut item, .. }, kind) = *next;
                item.link = Some(Arc::clone(link));
                let mut promoted = self.promoted.lock().unwrap_or_else(PoisonError::into_inner);
                promoted.push((item, kind));
            }
            Settled::Nothing => {}
        }
    }

    /// Names that have become their file's first since the last call: whoever finds things hands them over again.
    pub(super) fn take_promoted(&self) -> Vec<(Item, EntryKind)> {
        std::mem::take(&mut self.promoted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn link(&self, link: &Link, later: LaterName) {
        let LaterName { item, replace } = later;
        let made = make_link(
            &self.root,
            &link.first(),
            &item.folder,
            &item.name,
            &item.metadata,
            replace,
        );
        self.done(item, StepKind::Link, 0, made);
    }

    /// A blob cannot be had: whatever needs it fails; or everything ends, if nothing else would fare better.
    fn lose(&self, error: Error, uses: Vec<Use>) {
        if !is_local(&error) {
            return self.tally.stop(error);
        }
        for user in uses {
            match user {
                Use::Part { item, .. } | Use::Whole { item, .. } => {
                    self.done(item, StepKind::File, 0, Err(Failure::refused(error.to_string())))
                }
                Use::Piece { file, .. } => {
                    self.fail_large(&file, Failure::refused(error.to_string()));
                    self.release(&file);
                }
            }
        }
    }

    pub(super) fn make(&self, little: Little) {
        match little {
            Little::Empty { item, size } => {
                let made = NewFile::create(&item.folder, &item.name, &item.metadata, item.way)
                    .and_then(|file| file.finish(size, &item.metadata));
                self.made(item, size, made);
            }
            Little::Symlink { item, target, existing } => {
                let made = make_symlink(&item.folder, &item.name, &target, &item.metadata, existing.as_ref());
                self.done(item, StepKind::Other, 0, made);
            }
            Little::Node { item, kind } => {
                let replace = matches!(item.way, Way::Replace | Way::Update);
                let made = make_node(&item.folder, &item.name, &kind, &item.metadata, replace);
                self.done(item, StepKind::Other, 0, made);
            }
            Little::RefreshFile { item, size } => {
                let done = refresh_file(&item.folder, &item.name, &item.metadata);
                self.done(item, StepKind::Unchanged, size, done);
            }
            Little::RefreshNode { item } => {
                let done = refresh_node(&item.folder, &item.name, &item.metadata, false);
                self.done(item, StepKind::Unchanged, 0, done);
            }
            Little::LaterName(link, later) => self.link(&link, later),
        }
    }
}

fn kind_of(way: Way) -> StepKind {
    match way {
        Way::Fresh | Way::Aside => StepKind::File,
        Way::Replace | Way::Update => StepKind::Replaced,
    }
}

/// An error for each of several that it concerns.
fn copy_of(error: &Error) -> Error {
    if let Error::Store {
        action,
        name,
        failure,
        cause,
    } = error
    {
        return Error::Store {
            action,
            name: name.clone(),
            failure: *failure,
            cause: cause.clone(),
        };
    }
    Error::Invalid(error.to_string())
}
