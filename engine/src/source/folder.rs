//! A folder of a source, reachable by descriptors alone.
//!
//! A [`Folder`] knows its parent and its name there; the descriptor is kept while there are few open, and otherwise
//! opened again from the nearest ancestor that has one. So any number of folders can be in flight with a bounded
//! number of descriptors, and no path is ever longer than the system allows. What is opened again must be the inode
//! that was there first: a folder that was replaced meanwhile is an error, never a way to somewhere else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// The longest piece of a path that is resolved at once; the system takes 4,096 bytes with the NUL.
const PIECE_BYTES: usize = 4_000;

/// Says how many folders may stay open, and what the system lets us do.
#[derive(Debug)]
pub(super) struct Descriptors {
    open: AtomicUsize,
    most: usize,
    /// Set once the system has refused to leave the access time alone.
    access_time_refused: AtomicBool,
    user: u32,
}

impl Descriptors {
    /// At most `most` folders stay open; 0 means a quarter of what the process may open, up to 4,096.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(65_536);
        let quarter = usize::try_from(allowed / 4).unwrap_or(4_096).clamp(16, 4_096);
        Arc::new(Self {
            open: AtomicUsize::new(0),
            most: if most == 0 { quarter } else { most },
            access_time_refused: AtomicBool::new(false),
            user: rustix::process::geteuid().as_raw(),
        })
    }

    fn reserve(&self) -> bool {
        let granted = self.open.fetch_add(1, Ordering::Relaxed) < self.most;
        if !granted {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        granted
    }

    /// Opens for reading, without touching the access time where that is permitted (to the owner and to root).
    pub(super) fn open(
        &self,
        at: BorrowedFd<'_>,
        name: &[u8],
        flags: OFlags,
        owner: Option<u32>,
    ) -> io::Result<OwnedFd> {
        // NONBLOCK: a pipe that took the file's place must not hang us.
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let permitted = owner == Some(self.user) || !self.access_time_refused.load(Ordering::Relaxed);
        if permitted {
            match open_at(at, name, flags | OFlags::NOATIME) {
                Err(Errno::PERM) => self.access_time_refused.store(true, Ordering::Relaxed),
                result => return Ok(result?),
            }
        }
        Ok(open_at(at, name, flags)?)
    }
}

/// Opens, and again when a signal came between.
fn open_at(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::openat(at, name, flags, Mode::empty()))
}

/// A folder of a source.
#[derive(Debug)]
pub(super) struct Folder {
    parent: Option<Arc<Folder>>,
    name: Box<[u8]>,
    /// Symbolic links are followed at this name: it leads to a source, or was given with a slash at its end.
    follow: bool,
    device: u64,
    inode: u64,
    descriptor: OnceLock<OwnedFd>,
    descriptors: Arc<Descriptors>,
}

/// An open folder: its own descriptor or one for the moment.
#[derive(Debug)]
pub(super) enum Handle<'a> {
    Kept(BorrowedFd<'a>),
    Own(OwnedFd),
}

impl AsFd for Handle<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Kept(descriptor) => *descriptor,
            Self::Own(descriptor) => descriptor.as_fd(),
        }
    }
}

/// How a folder is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entering {
    /// To list it; a symbolic link at its name is refused.
    List,
    /// To list it; a symbolic link at its name is followed.
    ListFollowing,
    /// To reach what is below; links are followed, and no right to list it is needed.
    Pass,
}

/// A folder that was just entered, what it is, and its descriptor if the folder itself does not keep it.
pub(super) struct Entered {
    pub(super) folder: Arc<Folder>,
    pub(super) stat: Stat,
    pub(super) spare: Option<OwnedFd>,
}

impl Folder {
    /// A folder that the walk starts from. It stays open.
    pub(super) fn base(path: &Path, descriptors: &Arc<Descriptors>) -> io::Result<Arc<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&descriptor)?;
        descriptors.open.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self {
            parent: None,
            name: Box::default(),
            follow: true,
            device: stat.st_dev,
            inode: stat.st_ino,
            descriptor: OnceLock::from(descriptor),
            descriptors: Arc::clone(descriptors),
        }))
    }

    /// Opens the folder `name` in this one, whose descriptor is `at`.
    pub(super) fn enter(self: &Arc<Self>, at: BorrowedFd<'_>, name: &[u8], entering: Entering) -> io::Result<Entered> {
        let descriptor = match entering {
            Entering::List => self
                .descriptors
                .open(at, name, OFlags::DIRECTORY | OFlags::NOFOLLOW, None)?,
            Entering::ListFollowing => self.descriptors.open(at, name, OFlags::DIRECTORY, None)?,
            Entering::Pass => open_at(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?,
        };
        let stat = rustix::fs::fstat(&descriptor)?;
        let (descriptor, spare) = if self.descriptors.reserve() {
            (OnceLock::from(descriptor), None)
        } else {
            (OnceLock::new(), Some(descriptor))
        };
        let folder = Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name: name.into(),
            follow: entering != Entering::List,
            device: stat.st_dev,
            inode: stat.st_ino,
            descriptor,
            descriptors: Arc::clone(&self.descriptors),
        });
        Ok(Entered { folder, stat, spare })
    }

    /// Opens the folder to list it once more, from its start; `at` is a descriptor of it.
    pub(super) fn list_again(&self, at: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        self.descriptors.open(at, b".", OFlags::DIRECTORY, None)
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    pub(super) fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// A descriptor to reach what is in the folder; perhaps one that cannot list it.
    pub(super) fn handle(&self) -> io::Result<Handle<'_>> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(Handle::Kept(descriptor.as_fd()));
        }
        let descriptor = self.open_again()?;
        if self.descriptors.reserve() {
            if self.descriptor.set(descriptor).is_err() {
                // Another thread was faster.
                self.descriptors.open.fetch_sub(1, Ordering::Relaxed);
            }
            if let Some(descriptor) = self.descriptor.get() {
                return Ok(Handle::Kept(descriptor.as_fd()));
            }
            return Err(io::Error::from(Errno::BADF));
        }
        Ok(Handle::Own(descriptor))
    }

    /// Opens the way down from the nearest ancestor that is open.
    fn open_again(&self) -> io::Result<OwnedFd> {
        let mut way = vec![self];
        let mut above = self.parent.as_deref();
        let start = loop {
            let folder = above.ok_or(Errno::BADF)?;
            if let Some(descriptor) = folder.descriptor.get() {
                break descriptor.as_fd();
            }
            way.push(folder);
            above = folder.parent.as_deref();
        };
        way.reverse();
        let mut reached = Handle::Kept(start);
        let mut rest = way.as_slice();
        while let [next, ..] = rest {
            let (piece, count) = next.piece(rest);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = if count > 1 {
                rustix::fs::openat2(
                    &reached,
                    piece.as_slice(),
                    flags,
                    Mode::empty(),
                    ResolveFlags::NO_SYMLINKS,
                )
            } else {
                Err(Errno::NOSYS)
            };
            let (descriptor, count) = match opened {
                Ok(descriptor) => (descriptor, count),
                // A kernel or a sandbox without openat2: name by name.
                Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::INTR) => {
                    let flags = if next.follow { flags } else { flags | OFlags::NOFOLLOW };
                    (open_at(reached.as_fd(), &next.name, flags)?, 1)
                }
                Err(error) => return Err(error.into()),
            };
            reached = Handle::Own(descriptor);
            rest = rest.get(count..).unwrap_or_default();
        }
        let stat = rustix::fs::fstat(&reached)?;
        match reached {
            Handle::Own(descriptor) if stat.st_ino == self.inode && stat.st_dev == self.device => Ok(descriptor),
            Handle::Own(_) | Handle::Kept(_) => Err(io::Error::other("its folder was replaced while it was read")),
        }
    }

    /// As many names of the way as can be resolved at once, none of which may be a link; at least one.
    fn piece(&self, way: &[&Folder]) -> (Vec<u8>, usize) {
        let mut piece = self.name.to_vec();
        let mut count = 1;
        for folder in way.iter().skip(1) {
            if self.follow || folder.follow || piece.len() + 1 + folder.name.len() > PIECE_BYTES {
                break;
            }
            piece.push(b'/');
            piece.extend_from_slice(&folder.name);
            count += 1;
        }
        (piece, count)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.descriptor.get().is_some() {
            self.descriptors.open.fetch_sub(1, Ordering::Relaxed);
        }
        // A very deep chain must not be dropped by recursion: the stack would not hold it.
        let mut above = self.parent.take();
        while let Some(folder) = above {
            above = Arc::into_inner(folder).and_then(|mut folder| folder.parent.take());
        }
    }
}
