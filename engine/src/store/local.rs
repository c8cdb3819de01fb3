//! A folder of this machine as a store, on plain system calls in the calling thread.
//!
//! Must hold:
//! - An object appears under its name whole or not at all, and never replaces another: it is written under a temporary name, synced, then renamed
//!   with "do not replace". File systems without that get a hard link instead; those with neither (exFAT) get "look, then rename", which the
//!   store probe tells from the real thing.
//! - When a put returns, object, name and new folders survive a power cut (file, then folder, are synced).
//! - No symbolic link below the root is ever followed.
//!
//! Temporary names begin with a dot, which no object's name does. A writer holds a lock on its temporary file, so the leftovers of dead writers can
//! be told from work under way without a clock.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::backend::{Attempt, Backend, Failure, ObjectInfo, Put, Wanted};
use super::naming::{Naming, name_if_free};
use super::requests::Counters;
use crate::words::id::random_bytes;
use crate::words::{ObjectName, StoreFailure, Timestamp};

mod beneath;

use beneath::{open_beneath, open_folder};

const TEMPORARY: &str = ".tmp-";
/// Up to here a read needs no look at the size first, and zeroing the memory costs next to nothing.
const SMALL_READ_BYTES: u64 = 1 << 20;
/// Tries of a put whose folder is removed under it by somebody's delete.
const PUT_TRIES: usize = 5;

/// A folder of this machine.
#[derive(Debug)]
pub(super) struct Local {
    path: PathBuf,
    root: OnceLock<OwnedFd>,
    counters: Arc<Counters>,
    /// Reads under way at once in one `get_many`.
    readers: usize,
    /// Folders below the root whose own names are known to be durable: synced by us since we made or found them.
    durable: Mutex<HashSet<String>>,
}

impl Local {
    /// Opens nothing yet.
    pub(super) fn new(path: &Path, counters: Arc<Counters>, connections: usize) -> Self {
        Self {
            path: path.to_owned(),
            root: OnceLock::new(),
            counters,
            readers: connections.clamp(1, 8),
            durable: Mutex::default(),
        }
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        if let Some(root) = self.root.get() {
            return Ok(root.as_fd());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.path, flags, Mode::empty())?;
        Ok(self.root.get_or_init(|| root).as_fd())
    }

    /// Opens a folder below the root, making it and its parents when they are missing. What was made is not durable yet.
    fn folder_for_writing(&self, folder: &str) -> Result<OwnedFd, Errno> {
        let root = self.root()?;
        match open_folder(root, folder) {
            Err(Errno::NOENT) if !folder.is_empty() => {}
            opened_or_failed => return opened_or_failed,
        }
        let (parent, leaf) = split(folder);
        let parent = self.folder_for_writing(parent)?;
        self.durable().remove(folder);
        match rustix::fs::mkdirat(&parent, leaf, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        open_folder(root, folder)
    }

    /// Makes the names of a folder and of those above it durable. Done after the first object is in it, when one journal commit has mostly
    /// written all of them; also for folders that others have made, since nobody knows whether they got that far.
    fn sync_names(&self, folder: &str) -> Result<(), Errno> {
        let mut at = folder;
        while !at.is_empty() && !self.durable().contains(at) {
            let (parent, _) = split(at);
            rustix::fs::fsync(open_folder(self.root()?, parent)?)?;
            self.durable().insert(at.to_owned());
            at = parent;
        }
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<String>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_new(&self, folder: &OwnedFd, leaf: &str, bytes: &[u8]) -> Result<Put, Errno> {
        let temporary = Temporary::create(folder)?;
        let mut file = &temporary.file;
        file.write_all(bytes)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::fdatasync(file)?;
        let put = temporary.publish(leaf)?;
        // Also when it exists: whoever finds equal bytes will call them stored, so the name has to be durable.
        rustix::fs::fsync(folder)?;
        Ok(put)
    }

    fn walk(&self, folder: &OwnedFd, at: &str, wanted: &Listing<'_>, found: &mut Vec<ObjectInfo>) -> Result<(), Errno> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let Ok(leaf) = entry.file_name().to_str() else { continue };
            if leaf.starts_with('.') {
                continue;
            }
            let name = if at.is_empty() {
                leaf.to_owned()
            } else {
                format!("{at}/{leaf}")
            };
            let kind = entry.file_type();
            if kind == FileType::Symlink && (wanted.may_hold(&name) || wanted.holds(&name)) {
                // Passing it over would make objects look gone that somebody has moved elsewhere.
                return Err(Errno::LOOP);
            }
            if kind == FileType::Directory || kind == FileType::Unknown {
                if !wanted.may_hold(&name) {
                    continue;
                }
                match open_beneath(folder.as_fd(), leaf, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Ok(below) => {
                        self.walk(&below, &name, wanted, found)?;
                        continue;
                    }
                    Err(Errno::NOTDIR) if kind == FileType::Unknown => {}
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error),
                }
            }
            if !wanted.holds(&name) {
                continue;
            }
            match rustix::fs::statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
                    let modified = Timestamp::new(stat.st_mtime, nanoseconds);
                    found.push(ObjectInfo {
                        name,
                        size: u64::try_from(stat.st_size).unwrap_or(0),
                        modified,
                    });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sweep(&self, folder: &OwnedFd) -> Result<u64, Errno> {
        let mut swept = 0;
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(TEMPORARY.as_bytes()) {
                swept += u64::from(remove_if_dead(folder, name));
            } else if entry.file_type() == FileType::Directory && !name.to_bytes().starts_with(b".") {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                if let Ok(below) = open_beneath(folder.as_fd(), OsStr::from_bytes(name.to_bytes()), flags) {
                    swept += self.sweep(&below)?;
                }
            }
        }
        Ok(swept)
    }

    fn delete_in(&self, folder: &str, leaves: &[&str]) -> Result<(), Errno> {
        let root = self.root()?;
        let opened = match open_folder(root, folder) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        for leaf in leaves {
            match rustix::fs::unlinkat(&opened, *leaf, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        // Deletes have an order that matters (FORMAT.md, 11): a later one must not survive a power cut that an earlier one does not.
        rustix::fs::fsync(&opened)?;
        let (parent, leaf) = split(folder);
        if !parent.is_empty() {
            let parent = open_folder(root, parent)?;
            self.durable().remove(folder);
            // Not empty, or somebody is quicker: either is fine.
            let _ = rustix::fs::unlinkat(&parent, leaf, AtFlags::REMOVEDIR);
        }
        Ok(())
    }
}

impl Backend for Local {
    fn create_root(&self) -> Attempt<()> {
        let missing: Vec<&Path> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| refused_io(&error))?;
        for made in missing {
            if let Some(parent) = made.parent() {
                File::open(parent)
                    .and_then(|parent| parent.sync_all())
                    .map_err(|error| refused_io(&error))?;
            }
        }
        Ok(())
    }

    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        self.counters.get();
        let root = match self.root() {
            Ok(root) => root,
            // No repository there is an answer, not a failure; a put says more.
            Err(Errno::NOENT) => return Err(Failure::not_found()),
            Err(error) => return Err(refused(error)),
        };
        let file = match open_beneath(root, name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(Failure::not_found()),
            Err(error) => return Err(refused(error)),
        };
        let bytes = read(File::from(file), range).map_err(|error| refused_io(&error))?;
        self.counters.down(bytes.len() as u64);
        Ok(bytes.into())
    }

    fn get_many(&self, wanted: &[Wanted]) -> Vec<Attempt<Bytes>> {
        let one = |wanted: &Wanted| self.get(&wanted.name, wanted.range.clone());
        let readers = self.readers.min(wanted.len() / 2);
        if readers < 2 {
            return wanted.iter().map(one).collect();
        }
        let share = wanted.len().div_ceil(readers);
        std::thread::scope(|scope| {
            let threads: Vec<_> = wanted
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(one).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_default())
                .collect()
        })
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        self.counters.put();
        self.counters.up(bytes.len() as u64);
        if let Err(Errno::NOENT) = self.root() {
            return Err(Failure::lasting(
                StoreFailure::NoBucket,
                format!("{} does not exist", self.path.display()),
            ));
        }
        let (folder, leaf) = split(name);
        let mut tries = 0;
        loop {
            tries += 1;
            let opened = self.folder_for_writing(folder);
            match opened.and_then(|opened| self.write_new(&opened, leaf, &bytes)) {
                Ok(put) => return self.sync_names(folder).map(|()| put).map_err(refused),
                Err(Errno::NOENT) if tries < PUT_TRIES => {}
                Err(error) => return Err(refused(error)),
            }
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        self.counters.list();
        let (folder, _) = split(prefix);
        let mut found = Vec::new();
        let opened = match self.root().and_then(|root| open_folder(root, folder)) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(found),
            Err(error) => return Err(refused(error)),
        };
        self.walk(
            &opened,
            folder,
            &Listing {
                prefix,
                after: after.unwrap_or(""),
            },
            &mut found,
        )
        .map_err(refused)?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        self.counters.delete();
        let mut folders: Vec<(&str, Vec<&str>)> = Vec::new();
        for name in names {
            let (folder, leaf) = split(name);
            match folders.iter_mut().find(|(known, _)| *known == folder) {
                Some((_, leaves)) => leaves.push(leaf),
                None => folders.push((folder, vec![leaf])),
            }
        }
        match self.root() {
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(refused(error)),
            Ok(_) => {}
        }
        folders
            .iter()
            .try_for_each(|(folder, leaves)| self.delete_in(folder, leaves))
            .map_err(refused)
    }

    fn sweep_leftovers(&self) -> Attempt<u64> {
        match self
            .root()
            .and_then(|root| open_folder(root, ""))
            .and_then(|root| self.sweep(&root))
        {
            Ok(swept) => Ok(swept),
            Err(Errno::NOENT) => Ok(0),
            Err(error) => Err(refused(error)),
        }
    }
}

/// What a list is to hold.
struct Listing<'a> {
    prefix: &'a str,
    after: &'a str,
}

impl Listing<'_> {
    fn holds(&self, name: &str) -> bool {
        name.starts_with(self.prefix) && name > self.after
    }

    /// Whether a folder of this name can have such objects below it.
    fn may_hold(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        (below.starts_with(self.prefix) || self.prefix.starts_with(&below))
            && (below.as_str() > self.after || self.after.starts_with(&below))
    }
}

/// A file under a temporary name; gone when dropped, unless it was published.
struct Temporary<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
    is_named: bool,
}

impl<'a> Temporary<'a> {
    fn create(folder: &'a OwnedFd) -> Result<Self, Errno> {
        let name = format!("{TEMPORARY}{:016x}", u64::from_le_bytes(random_bytes()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(folder, &name, flags, Mode::RUSR | Mode::WUSR)?);
        // Where there are no locks, leftovers are not swept either.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self {
            folder,
            name,
            file,
            is_named: true,
        })
    }

    fn publish(mut self, leaf: &str) -> Result<Put, Errno> {
        let named = name_if_free(self.folder.as_fd(), Path::new(&self.name), Path::new(leaf))?;
        self.is_named = named == Naming::Taken;
        Ok(match named {
            Naming::Done => Put::Done,
            Naming::Looked => Put::Looked,
            Naming::Taken => Put::Exists,
        })
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.is_named {
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes a temporary file whose writer is gone: nobody holds its lock.
fn remove_if_dead(folder: &OwnedFd, name: &std::ffi::CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else {
        return false;
    };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && rustix::fs::unlinkat(folder, name, AtFlags::empty()).is_ok()
}

fn read(mut file: File, range: Option<Range<u64>>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match range {
        None => {
            file.read_to_end(&mut bytes)?;
        }
        Some(range) => {
            let length = range.end.saturating_sub(range.start);
            if length <= SMALL_READ_BYTES {
                return read_small(&file, range.start, length);
            }
            let length = length.min(file.metadata()?.len().saturating_sub(range.start));
            file.seek(SeekFrom::Start(range.start))?;
            bytes.reserve_exact(usize::try_from(length).unwrap_or(0));
            file.take(length).read_to_end(&mut bytes)?;
        }
    }
    Ok(bytes)
}

/// In one call, without asking for the size first: most reads are single blobs.
fn read_small(file: &File, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The folder and the last part of a name; the folder is empty for the root.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn refused_io(error: &std::io::Error) -> Failure {
    refused(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

fn refused(error: Errno) -> Failure {
    let kind = match error {
        Errno::NOENT => StoreFailure::NotFound,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => StoreFailure::Full,
        Errno::ROFS => StoreFailure::ReadOnly,
        Errno::ACCESS | Errno::PERM => StoreFailure::NotAllowed,
        Errno::TIMEDOUT => StoreFailure::Timeout,
        Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::NETUNREACH | Errno::NOTCONN => {
            StoreFailure::Unreachable
        }
        Errno::LOOP => {
            return Failure::lasting(
                StoreFailure::Other,
                "it is a symbolic link, which is never followed inside a repository",
            );
        }
        _ => StoreFailure::Other,
    };
    let passing = matches!(error, Errno::INTR | Errno::AGAIN | Errno::TIMEDOUT | Errno::STALE);
    Failure {
        kind,
        passing,
        cause: std::io::Error::from(error).to_string(),
    }
}
