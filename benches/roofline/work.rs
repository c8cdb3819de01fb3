//! The work itself: list, then read, cut, hash, compress, seal and store by as many threads as are given.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::chunker::style::{Style, style_of};
use engine::chunker::{Chunker, ChunkerParameters};
use engine::compress::{Compressor, LEVEL_LARGE, LEVEL_SMALL};
use engine::crypto::{BlobIds, BlobSealer, Secret, aead};
use engine::words::{BlobId, BlobKind, RepositoryId, SessionId};

use super::clock::{Part, Spent};

/// As in a backup: files up to this length share slabs, of about this many bytes; packs have this many.
const SMALL: u64 = 128 << 10;
const SLAB: u64 = 2 << 20;
const PACK: usize = 16 << 20;
/// A large file is read in pieces of this many bytes, each cut as if it were a file; the cuts at their edges cost nothing worth counting.
const PIECE: u64 = 64 << 20;

/// What was done.
#[derive(Default)]
pub struct Done {
    pub files: u64,
    pub read: u64,
    pub stored: u64,
    pub spent: Spent,
}

enum Unit {
    Slab(Vec<(PathBuf, u64)>),
    Piece(PathBuf, u64, u64, u64),
}

/// Does all of it; packs go into `folder`.
pub fn run(path: &Path, folder: &Path, workers: usize) -> Done {
    let mut done = Done::default();
    let units = {
        let mut spent = Spent::default();
        let units = spent.on(Part::List, || units(path, &mut done.files));
        done.spent = spent;
        units
    };
    let (next, known, packs) = (AtomicUsize::new(0), Mutex::new(HashSet::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut thread = Thread::new(folder, &known, &packs);
                    while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                        thread.unit(unit);
                    }
                    thread.flush();
                    thread.done
                })
            })
            .collect();
        for thread in threads {
            let theirs = thread.join().unwrap();
            done.spent.add(&theirs.spent);
            done.read += theirs.read;
            done.stored += theirs.stored;
        }
    });
    done
}

/// Lists what is below `path`, in order.
fn units(path: &Path, files: &mut u64) -> Vec<Unit> {
    let (mut units, mut slab, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            let mut names: Vec<PathBuf> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort_by(|a, b| b.cmp(a));
            waiting.extend(names);
        } else if metadata.is_file() {
            *files += 1;
            let size = metadata.size();
            if size > SMALL {
                units.extend(
                    (0..size.div_ceil(PIECE))
                        .map(|n| Unit::Piece(path.clone(), n * PIECE, PIECE.min(size - n * PIECE), size)),
                );
                continue;
            }
            bytes += size;
            slab.push((path, size));
            if bytes >= SLAB - SMALL {
                units.push(Unit::Slab(std::mem::take(&mut slab)));
                bytes = 0;
            }
        }
    }
    units.push(Unit::Slab(slab));
    units
}

struct Thread<'a> {
    folder: &'a Path,
    known: &'a Mutex<HashSet<BlobId>>,
    packs: &'a AtomicUsize,
    chunker: Chunker,
    ids: BlobIds,
    sealer: BlobSealer,
    compressor: Compressor,
    bytes: Vec<u8>,
    blob: Vec<u8>,
    pack: Vec<u8>,
    done: Done,
}

impl<'a> Thread<'a> {
    fn new(folder: &'a Path, known: &'a Mutex<HashSet<BlobId>>, packs: &'a AtomicUsize) -> Self {
        let (repository, session) = (RepositoryId([1; 16]), SessionId([2; 16]));
        Self {
            folder,
            known,
            packs,
            chunker: Chunker::new(&ChunkerParameters::default(), &[1; 32]).unwrap(),
            ids: BlobIds::new(&Secret::new([1; 32])),
            sealer: BlobSealer::new(repository, session, BlobKind::Data, Secret::new([3; 32])),
            compressor: Compressor::new(),
            bytes: Vec::new(),
            blob: Vec::new(),
            pack: Vec::with_capacity(PACK),
            done: Done::default(),
        }
    }

    fn unit(&mut self, unit: &Unit) {
        let mut bytes = std::mem::take(&mut self.bytes);
        match unit {
            Unit::Slab(files) => {
                bytes.clear();
                for (path, size) in files {
                    let start = bytes.len();
                    self.done.spent.on(Part::Read, || read(path, 0, *size, &mut bytes));
                    // A file in a slab has a check of its own.
                    self.done.spent.on(Part::Hash, || self.ids.file_hash(&bytes[start..]));
                }
                self.done.read += bytes.len() as u64;
                self.blob(&bytes, LEVEL_LARGE);
            }
            Unit::Piece(path, offset, length, size) => {
                bytes.clear();
                self.done
                    .spent
                    .on(Part::Read, || read(path, *offset, *length, &mut bytes));
                self.done.read += bytes.len() as u64;
                let name = path.file_name().unwrap_or_default().as_encoded_bytes();
                let style = style_of(name, *size, if *offset == 0 { &bytes } else { &[] });
                let mut at = 0;
                while at < bytes.len() {
                    let rest = &bytes[at..];
                    let (length, level) = match style {
                        Style::Fixed(block) => (block.min(rest.len()), LEVEL_SMALL),
                        Style::Content => (
                            self.done.spent.on(Part::Cut, || self.chunker.cut(rest, true)).unwrap(),
                            LEVEL_LARGE,
                        ),
                    };
                    // Zeros are holes.
                    if rest[..length].iter().any(|byte| *byte != 0) {
                        self.blob(&rest[..length], level);
                    }
                    at += length;
                }
            }
        }
        self.bytes = bytes;
    }

    fn blob(&mut self, plaintext: &[u8], level: i32) {
        let id = self
            .done
            .spent
            .on(Part::Hash, || self.ids.id(BlobKind::Data, plaintext));
        if plaintext.is_empty() || !self.known.lock().unwrap().insert(id) {
            return;
        }
        self.blob.clear();
        self.blob.resize(aead::NONCE, 0);
        self.done.spent.on(Part::Compress, || {
            self.compressor.compress(level, plaintext, &mut self.blob)
        });
        self.done.spent.on(Part::Seal, || self.sealer.seal(&id, &mut self.blob));
        self.pack.extend_from_slice(&self.blob);
        if self.pack.len() >= PACK {
            self.flush();
        }
    }

    /// Stores the pack as the local store does: durable.
    fn flush(&mut self) {
        self.done.stored += self.pack.len() as u64;
        let path = self.folder.join(self.packs.fetch_add(1, Ordering::Relaxed).to_string());
        self.done.spent.on(Part::Store, || {
            let mut file = File::create(path).unwrap();
            file.write_all(&self.pack).unwrap();
            file.sync_data().unwrap();
        });
        self.pack.clear();
    }
}

/// Appends `length` bytes of a file to `bytes`.
fn read(path: &Path, offset: u64, length: u64, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + length as usize, 0);
    let read = File::open(path).unwrap().read_at(&mut bytes[start..], offset).unwrap();
    bytes.truncate(start + read);
}
