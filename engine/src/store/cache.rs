//! Copies of immutable objects in a folder of this machine. Losing any of them costs time, never data.
//!
//! Must hold:
//! - A copy is handed out only if the hash at its end fits; what does not fit is dropped and fetched again. So nothing has to be synced.
//! - Objects are kept as the store has them: what is sealed there is sealed here.
//! - The folder stays below its size, oldest use first, by whoever notices. Any number of processes share it: copies appear under their names
//!   whole (rename), and a copy that vanishes while it is wanted is merely not there.
//! - A cache never makes anything fail: what cannot be kept is not kept.

pub mod folders;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use crate::words::id::random_bytes;
use crate::words::{Error, Result};

/// The size of a folder of which nothing else is said.
pub const BYTES_MAX: u64 = 4 << 30;

/// What marks a half-written copy; no object's name has it.
const TEMPORARY: &str = "tmp+";
/// What stands for the slashes of a name; no object's name has it.
const SLASH: &str = "+";
/// Half-written copies that were not touched for so long belong to nobody.
const TEMPORARY_SECONDS_MAX: u64 = 3600;

/// A folder with copies of objects. Clones share it.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// Bytes that this process has written since the folder was last looked through.
    unseen: Arc<AtomicU64>,
}

impl Cache {
    /// Opens the folder, making it (for its owner alone) if need be.
    ///
    /// # Errors
    /// [`Error::Io`] when it can neither be made nor read.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_sized(folder, BYTES_MAX)
    }

    /// Opens the folder, which is to stay below so many bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when it can neither be made nor read.
    pub fn open_sized(folder: &Path, bytes_max: u64) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Error::io("make", folder, error))?;
        // Others' backups pass over what is marked so.
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# Copies of objects of Ararat repositories. They can be deleted at any time.\n";
        let mark = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(folder.join("CACHEDIR.TAG"));
        let _ = mark.and_then(|mut file| file.write_all(tag.as_bytes()));
        // A process that writes little need not look through the folder.
        let unseen = bytes_max / 8 - bytes_max / 64;
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max,
            unseen: Arc::new(AtomicU64::new(unseen)),
        })
    }

    /// The same folder, which is to stay below so many bytes from now on.
    #[must_use]
    pub fn bounded(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self.sweep();
        self
    }

    /// The copy of an object, if there is an undamaged one.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        let path = self.path(name)?;
        let mut file = File::open(&path).ok()?;
        let mut object = Vec::new();
        file.read_to_end(&mut object).ok()?;
        if !is_whole(&object) {
            let _ = std::fs::remove_file(&path);
            return None;
        }
        // What is used last is dropped last. The times that the system keeps by itself are often switched off.
        let _ = rustix::fs::futimens(&file, &NOW);
        Some(object.into())
    }

    /// Keeps a copy, if it can and the object is whole.
    pub fn put(&self, name: &str, object: &[u8]) {
        if let Some(path) = self.path(name)
            && is_whole(object)
            && object.len() as u64 <= self.bytes_max / 8
        {
            if let Err(error) = self.write(&path, object) {
                tracing::debug!(name, %error, "Could not keep a copy");
            }
            let before = self.unseen.fetch_add(object.len() as u64, Ordering::Relaxed);
            if before + object.len() as u64 > self.bytes_max / 8 {
                self.unseen.store(0, Ordering::Relaxed);
                self.sweep();
            }
        }
    }

    /// The copy, or what `fetch` gives, which is kept.
    ///
    /// # Errors
    /// What `fetch` says.
    pub fn get_or_fetch(&self, name: &str, fetch: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        if let Some(object) = self.get(name) {
            return Ok(object);
        }
        let object = fetch()?;
        self.put(name, &object);
        Ok(object)
    }

    /// Drops copies of objects that are gone from the store.
    pub fn forget<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for path in names.into_iter().filter_map(|name| self.path(name)) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Brings the folder down to seven eighths of its size, if it is above it.
    pub fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let mut copies: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut halves = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| *name != "CACHEDIR.TAG") else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else { continue };
            let (Ok(used), true) = (metadata.modified(), metadata.is_file()) else {
                continue;
            };
            if name.starts_with(TEMPORARY) {
                halves.push((used, entry.path()))
            } else {
                copies.push((used, metadata.len(), entry.path()))
            }
        }
        copies.sort_unstable();
        // The newest use is the clock of this folder: there is no other.
        if let Some((newest, ..)) = copies.last() {
            let is_old = |used: &SystemTime| {
                newest
                    .duration_since(*used)
                    .is_ok_and(|age| age.as_secs() > TEMPORARY_SECONDS_MAX)
            };
            halves
                .iter()
                .filter(|(used, _)| is_old(used))
                .for_each(|(_, path)| drop(std::fs::remove_file(path)));
        }
        let mut total: u64 = copies.iter().map(|(_, size, _)| size).sum();
        if total <= self.bytes_max {
            return;
        }
        for (_, size, path) in copies {
            if total <= self.bytes_max / 8 * 7 {
                break;
            }
            let _ = std::fs::remove_file(path);
            total -= size;
        }
    }

    fn write(&self, path: &Path, object: &[u8]) -> std::io::Result<()> {
        let temporary = self
            .folder
            .join(format!("{TEMPORARY}{:016x}", u64::from_le_bytes(random_bytes())));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let written = file.write_all(object).and_then(|()| std::fs::rename(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Where the copy is; nowhere for a name that no object can have.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        let leaf = name.replace('/', SLASH);
        (is_name && !leaf.is_empty() && !leaf.starts_with('.') && leaf.len() <= 255).then(|| self.folder.join(leaf))
    }
}

/// The kernel's own clock, for both times of a file.
const NOW: rustix::fs::Timestamps = {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    }
};

fn is_whole(object: &[u8]) -> bool {
    object
        .split_last_chunk::<32>()
        .is_some_and(|(rest, hash)| blake3::hash(rest).as_bytes() == hash)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use std::fs::FileTimes;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn object(length: usize, seed: u8) -> Bytes {
        let mut bytes = vec![seed; length - 32];
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes.into()
    }

    fn used_ago(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        let then = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(seconds);
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
    }

    #[test]
    fn what_was_fetched_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/cache");
        let cache = Cache::open(&path).unwrap();
        assert_eq!(
            cache.get_or_fetch("x/a/00000001", || Ok(object(100, 1))).unwrap(),
            object(100, 1)
        );
        let again = Cache::open(&path)
            .unwrap()
            .get_or_fetch("x/a/00000001", || panic!("it is there"));
        assert_eq!(again.unwrap(), object(100, 1));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(
            cache
                .get_or_fetch("x/b", || Err(Error::Missing { name: "x/b".into() }))
                .is_err()
        );
        cache.forget(["x/a/00000001", "x/none"]);
        assert_eq!(cache.get("x/a/00000001"), None);
    }

    #[test]
    fn every_damage_to_a_copy_is_noticed_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let path = cache.path("g/1").unwrap();
        for damage in 0..4_usize {
            cache.put("g/1", &object(100, 1));
            let mut bytes = std::fs::read(&path).unwrap();
            match damage {
                0 => bytes[3] ^= 1,
                1 => bytes[99] ^= 128,
                2 => bytes.truncate(60),
                _ => bytes.clear(),
            }
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(cache.get("g/1"), None);
            assert!(!path.exists());
        }
        assert_eq!(
            cache.get_or_fetch("g/1", || Ok(object(100, 1))).unwrap(),
            object(100, 1)
        );
    }

    #[test]
    fn what_is_not_whole_or_has_no_name_is_handed_on_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let damaged = Bytes::from_static(b"damaged");
        assert_eq!(cache.get_or_fetch("g/1", || Ok(damaged.clone())).unwrap(), damaged);
        assert_eq!(
            cache.get_or_fetch("../../g", || Ok(object(50, 1))).unwrap(),
            object(50, 1)
        );
        cache.put("", &object(50, 1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the tag alone");
    }

    #[test]
    fn the_folder_stays_small_and_keeps_what_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open_sized(folder.path(), 100_000).unwrap();
        for number in 0..200_u64 {
            let name = format!("x/a/{number:08x}");
            cache.put(&name, &object(1_000, 1));
            if let Some(path) = cache.path(&name).filter(|path| path.exists()) {
                used_ago(&path, 10_000 - number);
            }
            assert!(cache.get("x/a/00000000").is_some(), "in use at {number}");
        }
        cache.sweep();
        let left = (0..200)
            .filter(|number| cache.get(&format!("x/a/{number:08x}")).is_some())
            .count();
        assert!((80..=100).contains(&left), "{left}");
        assert!(cache.get("x/a/000000c7").is_some(), "the newest is there");
    }

    #[test]
    fn a_lower_bound_holds_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        for number in 0..20_u64 {
            let name = format!("x/a/{number:08x}");
            cache.put(&name, &object(1_000, 1));
            used_ago(&cache.path(&name).unwrap(), 10_000 - number);
        }
        let cache = cache.bounded(8_000);
        let left: Vec<u64> = (0..20)
            .filter(|number| cache.get(&format!("x/a/{number:08x}")).is_some())
            .collect();
        assert_eq!(left, (13..20).collect::<Vec<_>>(), "those that were used last");
    }

    #[test]
    fn halves_of_the_dead_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (old, new) = (folder.path().join("tmp+old"), folder.path().join("tmp+new"));
        std::fs::write(&old, "half").unwrap();
        std::fs::write(&new, "half").unwrap();
        used_ago(&old, TEMPORARY_SECONDS_MAX * 2);
        cache.put("g/1", &object(100, 1));
        cache.sweep();
        assert!(!old.exists() && new.exists());
    }

    #[test]
    fn many_at_once_share_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = Cache::open_sized(folder.path(), 20_000).unwrap();
                    for number in 0..100_u8 {
                        let name = format!("x/a/{number}");
                        assert_eq!(
                            cache.get_or_fetch(&name, || Ok(object(500, number))).unwrap(),
                            object(500, number)
                        );
                    }
                });
            }
        });
    }
}
