//! What workers do: read small files into slabs, and larger ones in chunks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select_biased};

use super::change::Known;
use super::large::{self, ChunkJob, Spare};
use super::queue::{Made, Promise};
use super::regions::RegionJob;
use crate::chunker::Chunker;
use crate::format::tree::{Content, EntryKind};
use crate::repository::{Scratch, Writer};
use crate::source::{Attributes, Found};
use crate::words::{BlobId, BlobKind, Progress, Result, Timestamp};

/// Files up to this length share slabs.
pub(super) const SMALL_BYTES: u64 = 128 << 10;
/// A slab is cut at the latest here.
pub(super) const SLAB_BYTES_MAX: u64 = 2 << 20;
/// A slab is cut at the earliest here.
const SLAB_BYTES_MIN: u64 = 512 << 10;
/// A slab has at most so many files.
const SLAB_FILES_MAX: usize = 8192;
/// Files that turn out longer than they were listed make a slab no longer than this: another begins.
const SLAB_BYTES_ROOM: usize = 4 << 20;

/// How long a worker that may not be at work lets pass until it looks again.
const SPARED: Duration = Duration::from_millis(20);

/// A small file, and what the parent had in its place.
pub(super) struct Small {
    pub(super) found: Found,
    pub(super) known: Option<Known>,
}

/// Small files in path order that go into one slab.
///
/// Where a slab ends is decided by the files' names and sizes, before anything is read: so slabs can be made at the same time, and the same files
/// in the same order give the same slabs in another place or another backup.
#[derive(Default)]
pub(super) struct SlabPlan {
    files: Vec<Small>,
    bytes: u64,
}

impl SlabPlan {
    /// Adds a file; true when the slab is complete with it.
    pub(super) fn add(&mut self, small: Small) -> bool {
        self.bytes += small.found.size();
        let name = blake3::hash(small.found.name());
        self.files.push(small);
        let ripe = self.bytes >= SLAB_BYTES_MIN && name.as_bytes()[0] & 0x0f == 0;
        ripe || self.bytes >= SLAB_BYTES_MAX - SMALL_BYTES || self.files.len() >= SLAB_FILES_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<Small> {
        self.bytes = 0;
        std::mem::take(&mut self.files)
    }
}

/// Makes a slab of these files.
pub(super) struct SlabJob {
    pub(super) files: Vec<Small>,
    pub(super) promise: Promise,
}

/// Files up to this length need no more than a slab does: any worker reads them.
pub(super) const MEDIUM_BYTES: u64 = 2 << 20;
/// Workers that read longer files; each of them holds a buffer of more than the longest chunk. All others save the chunks.
pub(super) const LARGE_AT_ONCE: usize = 2;
/// Workers at most. Each holds a few MiB, and the whole should stay below 256 MiB; more of them would wait for the store.
pub(super) const WORKERS_MAX: usize = 10;

/// Reads a file in chunks.
pub(super) struct FileJob {
    pub(super) found: Box<Found>,
    pub(super) promise: Promise,
}

/// Work for a worker.
pub(super) enum Job {
    Slab(SlabJob),
    File(FileJob),
}

/// Where a worker gets its jobs.
pub(super) struct Jobs {
    /// Slabs and files of medium length.
    pub(super) short: Receiver<Job>,
    /// Longer files; for some workers alone.
    pub(super) long: Option<Receiver<FileJob>>,
}

/// A part of a large file.
pub(super) enum Piece {
    /// A chunk to be saved.
    Chunk(ChunkJob),
    /// Regions to be cut.
    Region(RegionJob),
}

impl Piece {
    /// Does it.
    pub(super) fn run(self, workers: &Workers<'_, '_>, scratch: &mut Scratch) {
        match self {
            Self::Chunk(chunk) => chunk.run(workers, scratch),
            Self::Region(regions) => regions.run(workers, scratch),
        }
    }
}

/// What a worker was given; nothing where nothing will come any more.
enum Next {
    Piece(Option<Piece>),
    Long(Option<FileJob>),
    Short(Option<Job>),
}

/// What all workers share.
pub(super) struct Workers<'a, 'r> {
    pub(super) writer: &'a Writer<'r>,
    pub(super) chunker: &'a Chunker,
    pub(super) progress: &'a dyn Progress,
    pub(super) bytes_read: AtomicU64,
    pub(super) chunks: (Sender<Piece>, Receiver<Piece>),
    /// How many there are.
    pub(super) count: usize,
    /// Bytes of the chunks that wait or are worked on.
    pub(super) chunk_bytes: AtomicUsize,
    /// Workers that wait for something to do.
    pub(super) idle: AtomicUsize,
    /// Everything has been given to them, and is done.
    pub(super) ended: AtomicBool,
    /// One of them has died: the others do what there is, however many may be at work.
    pub(super) died: AtomicBool,
    pub(super) chunk_buffers: Spare,
    pub(super) long_buffers: Spare,
    pub(super) short_buffers: Spare,
}

/// Says that a worker has died, when it is dropped by a panic.
struct Death<'a>(&'a AtomicBool);

impl Drop for Death<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Workers<'_, '_> {
    /// Works until there is no more to come, as the worker of this number.
    pub(super) fn run(&self, number: usize, jobs: Jobs) {
        let _death = Death(&self.died);
        let (mut scratch, mut slab) = (Scratch::new(), Slab::default());
        let Jobs { mut short, long } = jobs;
        let mut open = 1 + usize::from(long.is_some());
        let mut long = long.unwrap_or_else(never);
        while open > 0 {
            // Those before it do what there is.
            while number > 0 && number >= self.progress.workers() && !self.died.load(Ordering::Relaxed) {
                if self.ended.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(SPARED);
            }
            self.idle.fetch_add(1, Ordering::Relaxed);
            // Chunks first: a large file is waiting for them, and they hold memory.
            let next = select_biased! {
                recv(self.chunks.1) -> piece => Next::Piece(piece.ok()),
                recv(long) -> job => Next::Long(job.ok()),
                recv(short) -> job => Next::Short(job.ok()),
            };
            self.idle.fetch_sub(1, Ordering::Relaxed);
            match next {
                Next::Piece(piece) => piece.into_iter().for_each(|piece| piece.run(self, &mut scratch)),
                Next::Long(Some(job)) => self.file(job, &mut scratch),
                Next::Long(None) => (long, open) = (never(), open - 1),
                Next::Short(Some(Job::Slab(SlabJob { files, promise }))) => {
                    promise.keep(self.slab(files, &mut scratch, &mut slab));
                }
                Next::Short(Some(Job::File(job))) => self.file(job, &mut scratch),
                Next::Short(None) => (short, open) = (never(), open - 1),
            }
        }
    }

    fn file(&self, job: FileJob, scratch: &mut Scratch) {
        let FileJob { found, promise } = job;
        promise.keep(large::read(self, *found, scratch).map(|made| vec![made]));
    }

    /// Buffers for a file of about this length.
    pub(super) fn buffers_for(&self, bytes: u64) -> &Spare {
        if bytes > MEDIUM_BYTES {
            &self.long_buffers
        } else {
            &self.short_buffers
        }
    }

    /// Counts bytes that were read.
    pub(super) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.progress.done(0, bytes);
    }

    fn slab(&self, files: Vec<Small>, scratch: &mut Scratch, slab: &mut Slab) -> Result<Vec<Made>> {
        let Slab { bytes: slab, file } = slab;
        slab.clear();
        let mut made = Vec::with_capacity(files.len());
        // Files whose content goes into this slab, whose id is known only when it is complete.
        let mut here: Vec<usize> = Vec::with_capacity(files.len());
        let mut known_here: HashMap<[u8; 32], u32> = HashMap::new();
        for Small { mut found, known } in files {
            let read = found.open().and_then(|open| {
                open.read_all(file, SLAB_BYTES_MAX as usize + 1)?;
                Ok((open.attributes(), open.has_changed()?))
            });
            let (attributes, changed) = match read {
                Ok(read) => read,
                Err(error) => {
                    made.push(failure(&found, &error));
                    continue;
                }
            };
            if file.len() as u64 > SLAB_BYTES_MAX {
                // It has grown since it was listed.
                made.push(large::read(self, found, scratch)?);
                continue;
            }
            self.read(file.len() as u64);
            let remarks = finish(&mut found, changed, attributes);
            let size = file.len() as u64;
            let content = if size == 0 {
                Content::Empty
            } else {
                let hash = self.writer.file_hash(file);
                let check = std::array::from_fn(|i| hash[i]);
                match known {
                    // Touched, but not changed: what the parent has will do.
                    Some(known)
                        if known.check == check
                            && known.size == size
                            && self.writer.carry(BlobKind::Data, &known.blob)? =>
                    {
                        Content::Slab {
                            blob: known.blob,
                            offset: known.offset,
                            check,
                        }
                    }
                    _ => {
                        if slab.len() + file.len() > SLAB_BYTES_ROOM {
                            self.save_slab(slab, &mut here, &mut made, scratch)?;
                            known_here.clear();
                        }
                        let offset = *known_here.entry(hash).or_insert_with(|| {
                            slab.extend_from_slice(file);
                            (slab.len() - file.len()) as u32
                        });
                        here.push(made.len());
                        Content::Slab {
                            blob: BlobId([0; 32]),
                            offset,
                            check,
                        }
                    }
                }
            };
            made.push(entry(found, size, content, remarks));
        }
        self.save_slab(slab, &mut here, &mut made, scratch)?;
        Ok(made)
    }

    /// Saves a slab, and tells the files in it which one it is.
    fn save_slab(
        &self,
        slab: &mut Vec<u8>,
        here: &mut Vec<usize>,
        made: &mut [Made],
        scratch: &mut Scratch,
    ) -> Result<()> {
        if here.is_empty() {
            return Ok(());
        }
        let id = self.writer.save_large(slab, scratch)?;
        for place in here.drain(..) {
            if let Made::Entry(entry, _) = &mut made[place]
                && let EntryKind::File {
                    content: Content::Slab { blob, .. },
                    ..
                } = &mut entry.kind
            {
                *blob = id;
            }
        }
        slab.clear();
        Ok(())
    }
}

/// Buffers of a worker.
#[derive(Default)]
struct Slab {
    bytes: Vec<u8>,
    file: Vec<u8>,
}

/// The change time of an item that some attributes are missing of: no later backup takes it for unchanged, and each one tells of the loss.
pub(super) const UNKNOWN_CHANGE: Timestamp = Timestamp(0);

/// Takes over the attributes of a file that was read. Gives what a person should know about it.
pub(super) fn finish(found: &mut Found, changed: bool, attributes: Attributes) -> Vec<String> {
    let mut remarks = Vec::new();
    let path = String::from_utf8_lossy(&found.path);
    if changed {
        remarks.push(format!("{path} changed while it was read"));
    }
    if let Some(error) = attributes.failure {
        remarks.push(format!("Some attributes of {path} could not be read: {error}"));
        found.metadata.changed = UNKNOWN_CHANGE;
    }
    found.metadata.attributes = attributes.values;
    remarks
}

/// The entry of a file of which `size` bytes were read.
pub(super) fn entry(found: Found, size: u64, content: Content, remarks: Vec<String>) -> Made {
    let mut entry = found.into_entry(content);
    if let EntryKind::File { size: stored, .. } = &mut entry.kind {
        *stored = size;
    }
    Made::Entry(Box::new(entry), remarks)
}

/// What becomes of an item that could not be read.
pub(super) fn failure(found: &Found, error: &std::io::Error) -> Made {
    let path = String::from_utf8_lossy(&found.path);
    let why = if error.kind() == std::io::ErrorKind::NotFound {
        format!("{path} vanished before it was read")
    } else {
        format!("Could not read {path}: {error}")
    };
    Made::Failed(found.path.clone(), why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::source::{SourceOptions, Walk};

    #[test]
    fn an_item_that_lost_attributes_is_said_and_never_looks_unchanged_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "content").unwrap();
        let walk = Walk::new(&[folder.path().to_owned()], SourceOptions::default()).unwrap();
        let mut found = walk.flatten().last().unwrap().unwrap();
        let changed = found.metadata.changed;
        let whole = Attributes {
            values: vec![(b"user.a".to_vec(), b"1".to_vec())],
            failure: None,
        };
        assert_eq!(finish(&mut found, false, whole), Vec::<String>::new());
        assert_eq!(found.metadata.changed, changed);
        assert_eq!(found.metadata.attributes.len(), 1);
        let part = Attributes {
            values: Vec::new(),
            failure: Some(std::io::ErrorKind::PermissionDenied.into()),
        };
        let remarks = finish(&mut found, true, part);
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert_ne!(found.metadata.changed, changed);
    }
}
