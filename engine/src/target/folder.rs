//! The target of a restore and the folders in it.
//!
//! A [`Folder`] is alive as long as somebody still has something to do in it; when the last one lets go, its metadata is set and it lets go of the
//! folder that it is in. So folders are finished from leaf to root, whatever threads do the work, and only as many are in memory as are being worked on.
//!
//! Descriptors are opened when they are first needed and kept while the folder lives, up to a limit; beyond that a folder is opened anew for each
//! use, from its nearest ancestor that has a descriptor. Paths therefore have no greatest length, and deep trees do not run out of descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::decide::{Existing, ExistingKind};
use super::failure::{Failure, Tried};
use super::loss::Losses;
use super::metadata;
use super::name::check_name;
use super::owner::OwnerMap;
use super::remove;
use crate::format::tree::Metadata;
use crate::words::{Error, Result, Timestamp};

/// How things are made in a target.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// Whose things become.
    pub owners: OwnerMap,
    /// Look, but change nothing: folders that are missing are taken as made and empty.
    pub dry_run: bool,
}

/// A folder that a restore fills, and what all work in it shares.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    pub(super) options: TargetOptions,
    /// The process's effective user and group.
    pub(super) user: u32,
    pub(super) group: u32,
    open: AtomicUsize,
    open_max: usize,
    temporary: AtomicU64,
    /// Whether there was nothing in it, or not even itself.
    empty: bool,
    /// What could not be given back exactly.
    pub losses: Losses,
    unfinished: Mutex<Vec<(Vec<u8>, Failure)>>,
}

/// A folder in a target.
#[derive(Debug)]
pub struct Folder {
    pub(super) target: Arc<Target>,
    parent: Option<Arc<Folder>>,
    name: Box<[u8]>,
    descriptor: OnceLock<OwnedFd>,
    /// Set when the folder is finished; none for folders whose metadata is to stay.
    metadata: OnceLock<Metadata>,
    /// This restore made it, so that nothing can be in it that this restore did not put there.
    fresh: bool,
    /// New things in it are born with an ACL.
    inherits: bool,
    /// It is there only in a dry run's mind.
    imagined: bool,
}

/// A folder's descriptor, kept or for this use alone.
pub(super) enum Descriptor<'a> {
    Kept(&'a OwnedFd),
    Passing(OwnedFd),
}

impl AsFd for Descriptor<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Kept(descriptor) => descriptor.as_fd(),
            Self::Passing(descriptor) => descriptor.as_fd(),
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Target {
    /// Opens the folder at `path`, and makes it, with those above it, if it is not there. Links in `path` itself are followed: it was given by a person.
    pub fn open(path: &Path, options: TargetOptions) -> Result<(Arc<Self>, Arc<Folder>)> {
        let dry_run = options.dry_run;
        let open = || {
            rustix::fs::open(
                path,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let (descriptor, made) = match open() {
            Ok(descriptor) => (Some(descriptor), false),
            Err(Errno::NOENT) if dry_run => (None, true),
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(path).map_err(|error| Error::io("create the folder", path, error))?;
                (
                    Some(open().map_err(|error| Error::io("open the folder", path, error.into()))?),
                    true,
                )
            }
            Err(error) => return Err(Error::io("open the folder", path, error.into())),
        };
        let empty = match &descriptor {
            Some(descriptor) if !made => {
                let mut names =
                    remove::names(descriptor).map_err(|error| Error::io("read the folder", path, error.into()))?;
                names.all(|name| name.is_ok_and(|name| name == b"lost+found"))
            }
            _ => true,
        };
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(1 << 20);
        let target = Arc::new(Self {
            path: path.to_owned(),
            options,
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            open: AtomicUsize::new(0),
            open_max: usize::try_from(limit / 3).unwrap_or(usize::MAX).clamp(16, 4096),
            temporary: AtomicU64::new(u64::from_le_bytes(crate::words::id::random_bytes())),
            empty,
            losses: Losses::default(),
            unfinished: Mutex::default(),
        });
        let inherits = descriptor.as_ref().is_some_and(metadata::gives_acl);
        let root = Folder {
            target: Arc::clone(&target),
            parent: None,
            name: Box::default(),
            imagined: descriptor.is_none(),
            descriptor: descriptor.map(OnceLock::from).unwrap_or_default(),
            metadata: OnceLock::new(),
            fresh: empty && made,
            inherits,
        };
        Ok((target, Arc::new(root)))
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder was made by this restore or had nothing in it (`lost+found` of a fresh file system aside).
    pub fn was_empty(&self) -> bool {
        self.empty
    }

    /// Folders whose metadata could not be set, and why, since the last call.
    pub fn take_unfinished(&self) -> Vec<(Vec<u8>, Failure)> {
        std::mem::take(&mut self.unfinished.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A name for something unfinished: hidden, and never given twice.
    pub(super) fn temporary_name(&self) -> Vec<u8> {
        format!(
            ".ararat-restore-{:016x}",
            self.temporary.fetch_add(1, Ordering::Relaxed)
        )
        .into_bytes()
    }

    /// Waits until everything that was written is on disk: one call for the whole file system.
    pub fn sync(&self) -> Result<()> {
        let io = |error: Errno| Error::io("write to disk what was restored to", &self.path, error.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(io)?;
        rustix::fs::syncfs(folder).map_err(io)
    }
}

impl Folder {
    /// What all folders of the target share.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether this restore made it.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether new things in it are born with an ACL, which has to be taken off.
    pub(super) fn inherits(&self) -> bool {
        self.inherits
    }

    /// The path from the target down, for messages.
    pub fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut folder = self;
        while let Some(parent) = &folder.parent {
            names.push(&folder.name[..]);
            folder = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path of something in this folder, for messages.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// The descriptor, opened if it is not.
    pub(super) fn descriptor(&self) -> Result<Descriptor<'_>, Errno> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(Descriptor::Kept(descriptor));
        }
        let opened = self.open()?;
        if self.target.open.fetch_add(1, Ordering::Relaxed) < self.target.open_max {
            match self.descriptor.set(opened) {
                Ok(()) => {}
                // Another thread was faster.
                Err(_) => drop(self.target.open.fetch_sub(1, Ordering::Relaxed)),
            }
            self.descriptor.get().map(Descriptor::Kept).ok_or(Errno::BADF)
        } else {
            self.target.open.fetch_sub(1, Ordering::Relaxed);
            Ok(Descriptor::Passing(opened))
        }
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        let mut names = vec![&self.name[..]];
        let mut above = self.parent.as_deref();
        while let Some(folder) = above {
            if let Some(descriptor) = folder.descriptor.get() {
                names.reverse();
                return open_below(descriptor.as_fd(), &names);
            }
            names.push(&folder.name);
            above = folder.parent.as_deref();
        }
        // The root's descriptor is there from the start, except in a dry run.
        Err(Errno::NOENT)
    }

    /// What has this name here, without following it. Costs nothing in a folder that this restore made.
    pub fn existing(&self, name: &[u8]) -> Result<Option<Existing>, Failure> {
        check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
        if self.fresh || self.imagined {
            return Ok(None);
        }
        match self
            .descriptor()
            .and_then(|descriptor| rustix::fs::statat(descriptor, name, AtFlags::SYMLINK_NOFOLLOW))
        {
            Ok(stat) => Ok(Some(existing_of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).tried("look at what is there"),
        }
    }

    /// Whether something here has attributes (an ACL, for one) that its entry does not have, so that they are to be taken off.
    pub fn has_surplus_attributes(&self, name: &[u8], wanted: &Metadata) -> bool {
        let descriptor = self.descriptor();
        descriptor.is_ok_and(|descriptor| metadata::has_surplus_attributes(descriptor.as_fd(), name, wanted))
    }

    /// Makes a folder here. `metadata` is set when it is finished.
    pub fn create(self: &Arc<Self>, name: &[u8], metadata: Option<Metadata>) -> Result<Arc<Self>, Failure> {
        check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
        let imagined = self.target.options.dry_run;
        if !imagined {
            // Nobody else looks in before the metadata is set.
            self.descriptor()
                .and_then(|descriptor| rustix::fs::mkdirat(descriptor, name, Mode::RWXU))
                .tried("create the folder")?;
        }
        Ok(self.below(name, metadata, true, imagined, self.inherits))
    }

    /// Goes into a folder that is here already. `metadata` is set when it is finished; without it, it keeps its own.
    pub fn enter(
        self: &Arc<Self>,
        name: &[u8],
        existing: &Existing,
        metadata: Option<Metadata>,
    ) -> Result<Arc<Self>, Failure> {
        check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
        // Its owner can always write into it; permissions that forbid that come back with its metadata.
        if existing.mode & 0o700 != 0o700
            && self.target.user != 0
            && existing.user == self.target.user
            && metadata.is_some()
            && !self.target.options.dry_run
        {
            self.descriptor()
                .and_then(|descriptor| metadata::change_mode(descriptor.as_fd(), name, existing.mode | 0o700))
                .tried("make the folder writable")?;
        }
        let folder = self.below(name, metadata, false, false, false);
        let descriptor = folder.descriptor().tried("open the folder")?;
        let inherits = metadata::gives_acl(&descriptor);
        drop(descriptor);
        if !inherits {
            return Ok(folder);
        }
        // Rare: a folder with a default ACL. Nobody else has this one yet.
        let mut folder = folder;
        if let Some(folder) = Arc::get_mut(&mut folder) {
            folder.inherits = true;
        }
        Ok(folder)
    }

    /// What the folder itself is, by its descriptor; nothing for one that is only imagined.
    pub fn itself(&self) -> Option<Existing> {
        let descriptor = self.descriptor().ok()?;
        rustix::fs::fstat(descriptor).ok().map(|stat| existing_of(&stat))
    }

    /// Says what metadata the folder gets when it is finished, unless that has been said: for the target's own folder.
    pub fn set_metadata(&self, metadata: Metadata) {
        let _ = self.metadata.set(metadata);
    }

    fn below(
        self: &Arc<Self>,
        name: &[u8],
        metadata: Option<Metadata>,
        fresh: bool,
        imagined: bool,
        inherits: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            target: Arc::clone(&self.target),
            parent: Some(Arc::clone(self)),
            name: name.into(),
            descriptor: OnceLock::new(),
            metadata: metadata.map(OnceLock::from).unwrap_or_default(),
            fresh,
            inherits,
            imagined,
        })
    }

    /// Sets the metadata: nothing more happens in this folder.
    fn finish(&mut self) {
        if let Some(wanted) = self
            .metadata
            .take()
            .filter(|_| !self.imagined && !self.target.options.dry_run)
        {
            let set = self.descriptor().tried("open the folder").and_then(|descriptor| {
                metadata::apply_to_open(
                    &self.target,
                    descriptor.as_fd(),
                    &wanted,
                    !self.fresh || self.inherits,
                    || self.path(),
                )
            });
            if let Err(failure) = set {
                let mut unfinished = self.target.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
                // What the verb lists is a hundred; a hostile snapshot must not fill the memory with more than some.
                if unfinished.len() < 10_000 {
                    unfinished.push((self.path(), failure));
                }
            }
        }
        if self.descriptor.take().is_some() && self.parent.is_some() {
            self.target.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Folder {
    /// Finishes this folder, and then those above it that nobody else holds; in a loop, since paths may be deeper than the stack.
    fn drop(&mut self) {
        self.finish();
        let mut parent = self.parent.take();
        while let Some(mut folder) = parent.and_then(Arc::into_inner) {
            folder.finish();
            parent = folder.parent.take();
        }
    }
}

/// Opens a folder below another one. No name is followed that is a symbolic link.
fn open_below(from: BorrowedFd<'_>, names: &[&[u8]]) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    let mut rest = names;
    while let Some(first) = rest.first() {
        // As many names at once as the kernel takes (PATH_MAX), where it promises not to leave the folder on the way.
        let mut path = first.to_vec();
        let mut count = 1;
        while let Some(name) = rest.get(count).filter(|name| path.len() + name.len() < 4000) {
            path.push(b'/');
            path.extend_from_slice(name);
            count += 1;
        }
        let here = at.as_ref().map_or(from, AsFd::as_fd);
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = if count == 1 {
            None
        } else {
            rustix::fs::openat2(here, &path, FOLDER, Mode::empty(), beneath).ok()
        };
        let opened = match opened {
            Some(opened) => opened,
            // One name alone needs no promise. An old kernel, or a filter that knows no openat2: one name at a time.
            None => {
                count = 1;
                rustix::fs::openat(here, *first, FOLDER, Mode::empty())?
            }
        };
        at = Some(opened);
        rest = &rest[count..];
    }
    at.ok_or(Errno::INVAL)
}

/// Opens a folder by its path below `root`, step by step without following anything: for links back to what was restored long ago.
pub(super) fn open_path(root: &Folder, path: &[u8]) -> Result<OwnedFd, Errno> {
    let descriptor = root.descriptor()?;
    if path.is_empty() {
        return rustix::fs::openat(descriptor, c".", FOLDER, Mode::empty());
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    open_below(descriptor.as_fd(), &names)
}

/// What a stat says, in our words.
pub(super) fn existing_of(stat: &Stat) -> Existing {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => ExistingKind::Folder,
        FileType::Symlink => ExistingKind::Symlink,
        FileType::Fifo => ExistingKind::Fifo,
        FileType::Socket => ExistingKind::Socket,
        FileType::CharacterDevice => ExistingKind::CharacterDevice(major, minor),
        FileType::BlockDevice => ExistingKind::BlockDevice(major, minor),
        FileType::RegularFile | FileType::Unknown => ExistingKind::File,
    };
    Existing {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: Timestamp::new(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        mode: stat.st_mode & 0o7777,
        user: stat.st_uid,
        group: stat.st_gid,
        device: stat.st_dev,
        inode: stat.st_ino,
        links: u64::from(stat.st_nlink as u32),
    }
}

/// A stat of a path that the caller was given, following links: for devices.
pub(super) fn stat_given(path: &Path) -> Result<Stat, Errno> {
    rustix::fs::statat(CWD, path, AtFlags::empty())
}
