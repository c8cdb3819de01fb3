//! A place for something new in a folder: its own name, or a hidden name beside it until it is whole.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::failure::{Failure, Tried};
use super::folder::{Descriptor, Folder};
use super::name::check_name;
use crate::store::naming::{Naming, name_if_free};

/// Which name something new has until it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Its own, which is free.
    Own,
    /// A hidden one; then its own, if that is still free.
    Aside,
    /// A hidden one; then what has its own name gives way.
    Instead,
}

impl Hold {
    /// For what is made in one step: whether something has its name already and is to give way.
    pub(super) fn replacing(replace: bool) -> Self {
        if replace { Self::Instead } else { Self::Own }
    }
}

/// A place that has been taken. Dropped before [`Place::keep`], what was made there is removed, and what was there before is as it was.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Box<[u8]>,
    temporary: Option<Vec<u8>>,
    hold: Hold,
    kept: bool,
}

impl Place {
    /// Takes the place of `name` and makes something there with `make`, which is given the folder and the name to use and must fail with
    /// `EEXIST` rather than touch what exists.
    pub(super) fn take<T>(
        folder: &Arc<Folder>,
        name: &[u8],
        hold: Hold,
        action: &'static str,
        mut make: impl FnMut(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<(Self, T), Failure> {
        check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
        let descriptor = folder.descriptor().tried("open the folder")?;
        let place = |temporary| Self {
            folder: Arc::clone(folder),
            name: name.into(),
            temporary,
            hold,
            kept: false,
        };
        if hold == Hold::Own {
            return match make(descriptor.as_fd(), name) {
                Ok(made) => Ok((place(None), made)),
                Err(Errno::EXIST) => Err(appeared()),
                Err(error) => Err(error).tried(action),
            };
        }
        // Names are drawn at random once and then counted; one that is taken is from another restore.
        for _ in 0..100 {
            let temporary = folder.target().temporary_name();
            match make(descriptor.as_fd(), &temporary) {
                Ok(made) => return Ok((place(Some(temporary)), made)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error).tried(action),
            }
        }
        Err(Errno::EXIST).tried(action)
    }

    /// The folder's descriptor and the name that what was made has until it is in its place.
    pub(super) fn at(&self) -> Result<(Descriptor<'_>, &[u8]), Failure> {
        Ok((
            self.folder.descriptor().tried("open the folder")?,
            self.temporary.as_deref().unwrap_or(&self.name),
        ))
    }

    /// What was made is whole: it gets its name, and what had it before is gone.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        if let Some(temporary) = &self.temporary {
            let descriptor = self.folder.descriptor().tried("open the folder")?;
            let (from, to) = (&temporary[..], &self.name[..]);
            let renamed = match self.hold {
                Hold::Aside => name_if_free(descriptor.as_fd(), path(from), path(to)),
                Hold::Own | Hold::Instead => {
                    rustix::fs::renameat(&descriptor, from, &descriptor, to).map(|()| Naming::Done)
                }
            };
            if renamed.tried("put it in its place")? == Naming::Taken {
                return Err(appeared());
            }
        }
        self.kept = true;
        Ok(())
    }
}

fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

fn appeared() -> Failure {
    Failure::refused(
        "Something with this name appeared while it was restored, or the file system takes two names for one; it was left as it is",
    )
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept
            && let Ok((descriptor, name)) = self.at()
        {
            let _ = rustix::fs::unlinkat(descriptor, name, AtFlags::empty());
        }
    }
}
