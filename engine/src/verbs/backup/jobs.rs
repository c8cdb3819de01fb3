//! What workers do: read small files into slabs, and larger ones in chunks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, select_biased};

use super::change::Known;
use super::large::{self, ChunkJob, Spare};
use super::queue::{Made, Outcome};
use super::regions::RegionJob;
use crate::chunker::Chunker;
use crate::format::tree::{Content, EntryKind};
use crate::repository::{Scratch, Writer};
use crate::source::Found;
use crate::words::{BlobId, BlobKind, Progress, Result};

/// Files up to this length share slabs.
pub(super) const SMALL_BYTES: u64 = 128 << 10;
/// A slab is cut at the latest here.
pub(super) const SLAB_BYTES_MAX: u64 = 2 << 20;
/// A slab is cut at the earliest here.
const SLAB_BYTES_MIN: u64 = 512 << 10;
/// A slab has at most so many files.
const SLAB_FILES_MAX: usize = 8192;

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

/// Work for a worker.
pub(super) enum Job {
    /// Make a slab.
    Slab(Vec<Small>, Arc<Outcome>),
    /// Read a larger file.
    File(Box<Found>, Arc<Outcome>),
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
            Self::Chunk(chunk) => chunk.run(workers.writer, &workers.chunk_buffers, scratch),
            Self::Region(regions) => regions.run(workers, scratch),
        }
    }
}

/// What all workers share.
pub(super) struct Workers<'a, 'r> {
    pub(super) writer: &'a Writer<'r>,
    pub(super) chunker: &'a Chunker,
    pub(super) progress: &'a dyn Progress,
    pub(super) bytes_read: AtomicU64,
    /// Files that changed while they were read, or lost some of their attributes.
    pub(super) changed: AtomicU64,
    pub(super) chunks: (Sender<Piece>, Receiver<Piece>),
    /// How many there are.
    pub(super) count: usize,
    pub(super) chunk_buffers: Spare,
    pub(super) stream_buffers: Spare,
}

impl Workers<'_, '_> {
    /// Works until there is no more to come.
    pub(super) fn run(&self, jobs: &Receiver<Job>) {
        let mut scratch = Scratch::new();
        let mut slab = Slab::default();
        loop {
            // Chunks first: a large file is waiting for them, and they hold memory.
            select_biased! {
                recv(self.chunks.1) -> piece => if let Ok(piece) = piece { piece.run(self, &mut scratch) },
                recv(jobs) -> job => match job {
                    Ok(job) => self.job(job, &mut scratch, &mut slab),
                    Err(_) => return,
                },
            }
        }
    }

    fn job(&self, job: Job, scratch: &mut Scratch, slab: &mut Slab) {
        match job {
            Job::Slab(files, outcome) => outcome.set(self.slab(files, scratch, slab)),
            Job::File(found, outcome) => outcome.set(large::read(self, *found, scratch).map(|made| vec![made])),
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
            self.remark(&found, changed, attributes.failure.as_ref());
            found.metadata.attributes = attributes.values;
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
            made.push(entry(found, size, content));
        }
        if !here.is_empty() {
            let id = self.writer.save_large(slab, scratch)?;
            for place in here {
                if let Made::Entry(entry) = &mut made[place]
                    && let EntryKind::File {
                        content: Content::Slab { blob, .. },
                        ..
                    } = &mut entry.kind
                {
                    *blob = id;
                }
            }
        }
        Ok(made)
    }

    /// Tells of what a person should know about a file that was read.
    pub(super) fn remark(&self, found: &Found, changed: bool, attributes: Option<&std::io::Error>) {
        let path = || String::from_utf8_lossy(&found.path).into_owned();
        if changed {
            self.changed.fetch_add(1, Ordering::Relaxed);
            self.progress.note(&format!("{} changed while it was read", path()));
        }
        if let Some(error) = attributes {
            self.changed.fetch_add(1, Ordering::Relaxed);
            self.progress
                .note(&format!("Some attributes of {} could not be read: {error}", path()));
        }
    }
}

/// Buffers of a worker.
#[derive(Default)]
struct Slab {
    bytes: Vec<u8>,
    file: Vec<u8>,
}

/// The entry of a file of which `size` bytes were read.
pub(super) fn entry(found: Found, size: u64, content: Content) -> Made {
    let mut entry = found.into_entry(content);
    if let EntryKind::File { size: stored, .. } = &mut entry.kind {
        *stored = size;
    }
    Made::Entry(Box::new(entry))
}

/// What becomes of an item that could not be read.
pub(super) fn failure(found: &Found, error: &std::io::Error) -> Made {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Made::Vanished;
    }
    Made::Failed(
        found.path.clone(),
        format!("Could not read {}: {error}", String::from_utf8_lossy(&found.path)),
    )
}
