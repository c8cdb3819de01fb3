//! Giving a finished file its name, never over another's.
//!
//! One step where the file system can refuse to rename over what is there, else a hard link, which every file system with links refuses. Where there are
//! neither (FAT, some network file systems), one can only look first.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The file has its name, and has its former one no longer.
    Done,
    /// The same, but the file system could not refuse: nothing was there a moment before.
    Looked,
    /// Something has the name already, and is untouched; so is the file, under its former name.
    Taken,
}

/// Renames `from` to `to`, both in `folder` or absolute, unless something is called `to`.
///
/// # Errors
/// What the file system says; nothing has changed then.
pub fn name_if_free(folder: BorrowedFd<'_>, from: &Path, to: &Path) -> Result<Naming, Errno> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Naming::Done),
        Err(Errno::EXIST) => Ok(Naming::Taken),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => by_link(folder, from, to),
        Err(error) => Err(error),
    }
}

fn by_link(folder: BorrowedFd<'_>, from: &Path, to: &Path) -> Result<Naming, Errno> {
    match rustix::fs::linkat(folder, from, folder, to, AtFlags::empty()) {
        Ok(()) => {
            // It has its name; a second one that stays is no harm.
            let _ = rustix::fs::unlinkat(folder, from, AtFlags::empty());
            Ok(Naming::Done)
        }
        Err(Errno::EXIST) => Ok(Naming::Taken),
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => by_looking(folder, from, to),
        Err(error) => Err(error),
    }
}

fn by_looking(folder: BorrowedFd<'_>, from: &Path, to: &Path) -> Result<Naming, Errno> {
    match rustix::fs::statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(Naming::Taken),
        Err(Errno::NOENT) => rustix::fs::renameat(folder, from, folder, to).map(|()| Naming::Looked),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    /// The ways in which file systems differ, tried on one that has all of them.
    #[test]
    fn every_way_names_what_is_free_and_touches_nothing_that_is_there() {
        type Way = fn(BorrowedFd<'_>, &Path, &Path) -> Result<Naming, Errno>;
        for (way, done) in [
            (name_if_free as Way, Naming::Done),
            (by_link, Naming::Done),
            (by_looking, Naming::Looked),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (handle, path) = (fs::File::open(folder.path()).unwrap(), |name: &str| {
                folder.path().join(name)
            });
            fs::write(path("new"), "new").unwrap();
            fs::write(path("there"), "there").unwrap();
            std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
            for taken in ["there", "link"] {
                let named = way(handle.as_fd(), Path::new("new"), Path::new(taken)).unwrap();
                assert_eq!(named, Naming::Taken);
            }
            assert_eq!(fs::read(path("there")).unwrap(), b"there");
            assert_eq!(fs::read(path("new")).unwrap(), b"new");
            assert_eq!(way(handle.as_fd(), Path::new("new"), Path::new("free")).unwrap(), done);
            assert_eq!(fs::read(path("free")).unwrap(), b"new");
            assert!(!path("new").exists() && !path("nowhere").exists());
            let missing = way(handle.as_fd(), Path::new("missing"), Path::new("other"));
            assert_eq!(missing.unwrap_err(), Errno::NOENT);
        }
    }
}
