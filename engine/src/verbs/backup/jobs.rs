//! What workers do: read small files into slabs, and larger ones in chunks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, select_biased};

use super::change::Known;
use super::large::{self, ChunkJob};
use super::queue::{Made, Outcome};
use crate::chunker::Chunker;
use crate::format::tree::Content;
use crate::repository::{Scratch, Writer};
use crate::source::{Found, SourceError};
use crate::words::{BlobKind, Progress, Result};

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

/// What all workers share.
pub(super) struct Workers<'a, 'r> {
    pub(super) writer: &'a Writer<'r>,
    pub(super) chunker: &'a Chunker,
    pub(super) progress: &'a dyn Progress,
    pub(super) bytes_read: AtomicU64,
    pub(super) chunks: (Sender<ChunkJob>, Receiver<ChunkJob>),
}

impl Workers<'_, '_> {
    /// Works until there is no more to come.
    pub(super) fn run(&self, jobs: &Receiver<Job>) {
        let mut scratch = Scratch::new();
        let mut slab = Vec::new();
        loop {
            // Chunks first: a large file is waiting for them, and they hold memory.
            select_biased! {
                recv(self.chunks.1) -> chunk => if let Ok(chunk) = chunk { chunk.run(self.writer, &mut scratch) },
                recv(jobs) -> job => match job {
                    Ok(job) => self.job(job, &mut scratch, &mut slab),
                    Err(_) => return,
                },
            }
        }
    }

    fn job(&self, job: Job, scratch: &mut Scratch, slab: &mut Vec<u8>) {
        match job {
            Job::Slab(files, outcome) => outcome.set(self.slab(files, scratch, slab)),
            Job::File(found, outcome) => outcome.set(self.file(*found, scratch).map(|made| vec![made])),
        }
    }

    /// Counts bytes that were read.
    pub(super) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.progress.done(0, bytes);
    }

    fn slab(&self, files: Vec<Small>, scratch: &mut Scratch, slab: &mut Vec<u8>) -> Result<Vec<Made>> {
        slab.clear();
        let mut made = Vec::with_capacity(files.len());
        let mut places: Vec<(usize, u32)> = Vec::with_capacity(files.len());
        let mut known_here: HashMap<[u8; 32], u32> = HashMap::new();
        for Small { found, known } in files {
            let start = slab.len();
            let read = found.open().and_then(|mut file| {
                let length = file.read_all(slab)?;
                Ok((length, file.attributes()?, file.changed()?))
            });
            let (attributes, changed) = match read {
                Ok((_, attributes, changed)) => (attributes, changed),
                Err(error) => {
                    slab.truncate(start);
                    made.push(failure(&error));
                    continue;
                }
            };
            let length = slab.len() - start;
            self.read(length as u64);
            if length as u64 > SLAB_BYTES_MAX {
                // It has grown since it was listed.
                slab.truncate(start);
                made.push(self.file(found, scratch)?);
                continue;
            }
            if changed {
                self.progress.note(&format!("{} changed while it was read", String::from_utf8_lossy(&found.path)));
            }
            let mut found = found;
            found.metadata.attributes = attributes;
            found.set_size(length as u64);
            let content = if length == 0 {
                Content::Empty
            } else {
                let hash = self.writer.file_hash(&slab[start..]);
                let check = std::array::from_fn(|i| hash[i]);
                match known {
                    // Touched, but not changed: what the parent has will do.
                    Some(known)
                        if known.check == check
                            && known.size == length as u64
                            && self.writer.carry(BlobKind::Data, &known.blob)? =>
                    {
                        slab.truncate(start);
                        Content::Slab { blob: known.blob, offset: known.offset, check }
                    }
                    _ => {
                        let offset = *known_here.entry(hash).or_insert(start as u32);
                        if offset != start as u32 {
                            slab.truncate(start);
                        }
                        places.push((made.len(), offset));
                        Content::Slab { blob: crate::words::BlobId([0; 32]), offset, check }
                    }
                }
            };
            made.push(Made::Entry(Box::new(found.into_entry(content))));
        }
        if !places.is_empty() {
            let id = self.writer.save(BlobKind::Data, slab, scratch)?;
            for (place, _) in places {
                if let Made::Entry(entry) = &mut made[place]
                    && let crate::format::tree::EntryKind::File { content: Content::Slab { blob, .. }, .. } = &mut entry.kind
                {
                    *blob = id;
                }
            }
        }
        Ok(made)
    }

    fn file(&self, found: Found, scratch: &mut Scratch) -> Result<Made> {
        large::read(self, found, scratch)
    }
}

/// What becomes of an item that could not be read.
pub(super) fn failure(error: &SourceError) -> Made {
    if error.vanished() { Made::Vanished } else { Made::Failed(error.path.clone(), error.to_string()) }
}
