//! The blobs that a running session has taken on: whoever claims one first saves it.
//!
//! What must hold: of all who claim one blob exactly one is first. Memory is bounded: each shard keeps its newest keys in memory, and sorts what
//! overflows into stretches of one nameless file, of which it remembers the first key of each page. A filter says of most new blobs that they are in none.

use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use hashbrown::HashSet;

use crate::words::{BlobId, BlobKind, Error, Result};

const SHARDS: usize = 64;
/// How many keys a shard keeps in memory before it spills: a million in all shards, about 36 MiB at most.
const KEYS_IN_MEMORY: usize = 16 << 10;
/// Keys of a page: 4 KiB.
const PAGE: usize = 256;
/// Bits of each shard's filter: 16 MiB in all shards, enough for ten million blobs; with more it errs more often, and an error costs a read.
const FILTER_BITS: u64 = 2 << 20;
/// Bits set for a key.
const FILTER_HASHES: u32 = 4;

/// A set of blobs that many threads add to.
#[derive(Debug)]
pub struct Pending {
    shards: Vec<Mutex<Shard>>,
    folder: Option<PathBuf>,
    /// Made when the first shard overflows; nothing if that failed, and then everything stays in memory.
    spill: OnceLock<Option<Spill>>,
    keys_in_memory: usize,
}

/// The first half of a blob's id with the kind in its last bit. Ids are uniform, so the key is its own hash.
type Key = u128;

#[derive(Debug, Default)]
struct Shard {
    fresh: HashSet<Key, BuildHasherDefault<Uniform>>,
    stretches: Vec<Stretch>,
    filter: Vec<u64>,
}

/// A sorted part of the file.
#[derive(Debug)]
struct Stretch {
    offset: u64,
    count: usize,
    /// The first key of each page.
    tops: Vec<Key>,
}

#[derive(Debug)]
struct Spill {
    file: File,
    end: AtomicU64,
}

#[derive(Debug, Default)]
struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64 ^ (key >> 64) as u64;
    }
}

impl Pending {
    /// An empty set that keeps what grows large in a nameless file in the folder; without one, in memory.
    pub fn new(cache_folder: Option<&Path>) -> Self {
        Self::with_keys_in_memory(cache_folder, KEYS_IN_MEMORY)
    }

    fn with_keys_in_memory(cache_folder: Option<&Path>, keys_in_memory: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            folder: cache_folder.map(Path::to_owned),
            spill: OnceLock::new(),
            keys_in_memory,
        }
    }

    /// Adds a blob; true for whoever was first.
    ///
    /// # Errors
    /// [`Error::Internal`] after a thread died; [`Error::Io`] when the file cannot be read any more.
    pub fn claim(&self, kind: BlobKind, id: &BlobId) -> Result<bool> {
        let key = key(kind, id);
        let mut shard = self.shard(key)?;
        if shard.contains(key, self.spill())? {
            return Ok(false);
        }
        shard.fresh.insert(key);
        if shard.fresh.len() >= self.keys_in_memory
            && let Some(spill) = self.spill.get_or_init(|| self.make_spill())
        {
            shard.spill(spill)?;
        }
        Ok(true)
    }

    /// Whether a blob is in the set.
    ///
    /// # Errors
    /// As [`Pending::claim`].
    pub fn contains(&self, kind: BlobKind, id: &BlobId) -> Result<bool> {
        let key = key(kind, id);
        self.shard(key)?.contains(key, self.spill())
    }

    fn shard(&self, key: Key) -> Result<MutexGuard<'_, Shard>> {
        let shard = &self.shards[(key >> 122) as usize % SHARDS];
        shard
            .lock()
            .map_err(|_| Error::Internal("a thread of the session died".into()))
    }

    fn spill(&self) -> Option<&Spill> {
        self.spill.get().and_then(Option::as_ref)
    }

    fn make_spill(&self) -> Option<Spill> {
        let folder = self.folder.as_ref()?;
        std::fs::create_dir_all(folder).ok()?;
        Some(Spill {
            file: tempfile::tempfile_in(folder).ok()?,
            end: AtomicU64::new(0),
        })
    }
}

fn key(kind: BlobKind, id: &BlobId) -> Key {
    u128::from_be_bytes(id.prefix()) & !1 | kind as Key
}

impl Shard {
    fn contains(&self, key: Key, spill: Option<&Spill>) -> Result<bool> {
        if self.fresh.contains(&key) {
            return Ok(true);
        }
        let Some(spill) = spill.filter(|_| !self.filter.is_empty() && self.filtered(key)) else {
            return Ok(false);
        };
        for stretch in &self.stretches {
            if stretch.contains(key, spill)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves the keys in memory into the file, with the stretches that are no longer than they are: so there are few. Without room they stay in memory.
    fn spill(&mut self, spill: &Spill) -> Result<()> {
        let mut keys: Vec<Key> = self.fresh.iter().copied().collect();
        let mut kept = self.stretches.len();
        while kept > 0 && self.stretches[kept - 1].count <= keys.len() {
            kept -= 1;
            self.stretches[kept].read(spill, &mut keys)?;
        }
        keys.sort_unstable();
        let Ok(stretch) = Stretch::write(&keys, spill) else {
            return Ok(());
        };
        if self.filter.is_empty() {
            self.filter = vec![0; (FILTER_BITS / 64) as usize];
        }
        for key in &self.fresh {
            for (word, bit) in bits(*key) {
                self.filter[word] |= bit;
            }
        }
        for old in self.stretches.drain(kept..) {
            spill.free(&old);
        }
        self.stretches.push(stretch);
        self.fresh.clear();
        Ok(())
    }

    fn filtered(&self, key: Key) -> bool {
        bits(key).all(|(word, bit)| self.filter[word] & bit != 0)
    }
}

/// The words and bits of a shard's filter that a key sets: all within one cache line.
fn bits(key: Key) -> impl Iterator<Item = (usize, u64)> {
    let line = (key as u64 >> 1) % (FILTER_BITS / 512);
    (0..FILTER_HASHES).map(move |number| {
        let bit = (key >> (64 + 9 * number)) as usize & 511;
        (line as usize * 8 + bit / 64, 1 << (bit % 64))
    })
}

impl Stretch {
    fn write(keys: &[Key], spill: &Spill) -> std::io::Result<Self> {
        let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_be_bytes()).collect();
        let offset = spill.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        spill.file.write_all_at(&bytes, offset)?;
        Ok(Self {
            offset,
            count: keys.len(),
            tops: keys.iter().step_by(PAGE).copied().collect(),
        })
    }

    fn contains(&self, key: Key, spill: &Spill) -> Result<bool> {
        let Some(page) = self.tops.partition_point(|top| *top <= key).checked_sub(1) else {
            return Ok(false);
        };
        let mut bytes = [0; PAGE * 16];
        let count = (self.count - page * PAGE).min(PAGE);
        let bytes = &mut bytes[..count * 16];
        spill.read(bytes, self.offset + (page * PAGE * 16) as u64)?;
        Ok(bytes.as_chunks::<16>().0.binary_search(&key.to_be_bytes()).is_ok())
    }

    fn read(&self, spill: &Spill, keys: &mut Vec<Key>) -> Result<()> {
        let mut bytes = vec![0; self.count * 16];
        spill.read(&mut bytes, self.offset)?;
        keys.extend(bytes.as_chunks::<16>().0.iter().map(|key| Key::from_be_bytes(*key)));
        Ok(())
    }
}

impl Spill {
    /// Gives the space of a stretch back, where the file system can: else the file grows to several times what is in it.
    fn free(&self, stretch: &Stretch) {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(&self.file, flags, stretch.offset, stretch.count as u64 * 16);
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        let read = self.file.read_exact_at(bytes, offset);
        read.map_err(|error| Error::io("read", "a temporary file of the session", error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn id(number: u64) -> BlobId {
        BlobId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn every_blob_has_exactly_one_first_claimant_however_many_spill() {
        let folder = tempfile::tempdir().unwrap();
        for cache_folder in [None, Some(folder.path()), Some(Path::new("/proc/nowhere"))] {
            let pending = Pending::with_keys_in_memory(cache_folder, 16);
            let firsts = AtomicU64::new(0);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (pending, firsts) = (&pending, &firsts);
                    scope.spawn(move || {
                        for number in 0..30_000 {
                            // Everybody claims everything, each in an order of its own.
                            let number = (number * 7919 + thread * 1000) % 30_000;
                            let kind = if number % 2 == 0 {
                                BlobKind::Data
                            } else {
                                BlobKind::Tree
                            };
                            if pending.claim(kind, &id(number)).unwrap() {
                                firsts.fetch_add(1, Ordering::Relaxed);
                            }
                            assert!(pending.contains(kind, &id(number)).unwrap());
                        }
                    });
                }
            });
            assert_eq!(firsts.into_inner(), 30_000);
            for number in 0..30_000 {
                let other = if number % 2 == 0 {
                    BlobKind::Tree
                } else {
                    BlobKind::Data
                };
                assert!(
                    !pending.contains(other, &id(number)).unwrap(),
                    "{number} is of another kind"
                );
            }
            let stretches = |shard: &Mutex<Shard>| shard.lock().unwrap().stretches.len();
            let most = pending.shards.iter().map(stretches).max().unwrap();
            assert!(most <= 8, "{most} stretches");
            assert_eq!(most > 0, cache_folder == Some(folder.path()));
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "a file was left behind"
        );
    }
}
