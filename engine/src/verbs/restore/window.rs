//! What has been found and not yet been handed to the threads: enough at once that blobs that lie together are fetched together.

use super::compare::SmallFile;
use super::job::{Job, Little, Use};
use super::work::Work;
use crate::words::BlobId;

/// A window is full with so many bytes of files …
const BYTES: u64 = 64 << 20;
/// … or so many places to write to …
const USES: usize = 8 << 10;
/// … but may go on to so many, while they use the blob that it ends with.
const USES_MAX: usize = 12 << 10;
/// Small things are handed over in lots of this many.
const LOT: usize = 128;
/// Comparisons are handed over when so many bytes have to be read.
const COMPARED_BYTES: u64 = 16 << 20;

/// What has been found.
#[derive(Default)]
pub(super) struct Window {
    wanted: Vec<(BlobId, Use)>,
    bytes: u64,
    little: Vec<Little>,
    small: Vec<SmallFile>,
    small_bytes: u64,
}

impl Window {
    /// A blob is wanted for `size` bytes of a file.
    pub(super) fn want(&mut self, work: &Work<'_>, blob: BlobId, size: u64, user: Use) {
        let full = self.bytes >= BYTES || self.wanted.len() >= USES;
        let goes_on = self.wanted.len() < USES_MAX && self.wanted.last().is_some_and(|(last, _)| *last == blob);
        if full && !goes_on {
            self.flush_wanted(work);
        }
        self.bytes += size;
        self.wanted.push((blob, user));
    }

    /// Something is to be made that needs no blob.
    pub(super) fn make(&mut self, work: &Work<'_>, little: Little) {
        self.little.push(little);
        if self.little.len() >= LOT {
            self.flush_little(work);
        }
    }

    /// A small file is to be compared with what is there.
    pub(super) fn compare(&mut self, work: &Work<'_>, file: SmallFile) {
        self.small_bytes += file.size;
        self.small.push(file);
        if self.small.len() >= USES || self.small_bytes >= COMPARED_BYTES {
            self.flush_small(work);
        }
    }

    /// Hands over everything.
    pub(super) fn flush(&mut self, work: &Work<'_>) {
        self.flush_little(work);
        self.flush_small(work);
        self.flush_wanted(work);
    }

    fn flush_wanted(&mut self, work: &Work<'_>) {
        self.bytes = 0;
        work.want(std::mem::take(&mut self.wanted), false);
    }

    fn flush_little(&mut self, work: &Work<'_>) {
        if !self.little.is_empty() {
            let little = std::mem::take(&mut self.little);
            let cost = little.len();
            work.queue.push(Job::Make(little), cost);
        }
    }

    fn flush_small(&mut self, work: &Work<'_>) {
        self.small_bytes = 0;
        if !self.small.is_empty() {
            let small = std::mem::take(&mut self.small);
            let cost = small.len();
            work.queue.push(Job::Compare(small), cost);
        }
    }
}
