//! Opens files below a folder without ever following a symbolic link, whatever stands in the way.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens a folder below `root`; the empty name is the root itself.
pub(super) fn open_folder(root: BorrowedFd<'_>, folder: &str) -> Result<OwnedFd, Errno> {
    let folder = if folder.is_empty() { "." } else { folder };
    open_beneath(root, folder, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens what is at `path` below `root`. A symbolic link anywhere below gives `LOOP`.
pub(super) fn open_beneath(root: BorrowedFd<'_>, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = path.as_ref();
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::ResolveFlags;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // An old kernel, or a sandbox that does not know the call (some answer EPERM), or a rename beside us.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {}
            // Perhaps a symbolic link at the end, which the walk tells from a file.
            Err(Errno::NOTDIR) => {}
            opened_or_failed => return opened_or_failed,
        }
    }
    walk_beneath(root, path, flags)
}

/// The same in steps, where there is no `openat2`.
fn walk_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder: Option<OwnedFd> = None;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let at = folder.as_ref().map_or(root, |folder| folder.as_fd());
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => std::ffi::OsStr::new("."),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV),
        };
        let is_last = parts.peek().is_none();
        let opened = rustix::fs::openat(at, name, if is_last { flags } else { step }, Mode::empty());
        let opened = match opened {
            // O_DIRECTORY on a symbolic link says "not a folder"; say what it is.
            Err(Errno::NOTDIR) if is_link(at, name) => return Err(Errno::LOOP),
            opened => opened?,
        };
        if is_last {
            return Ok(opened);
        }
        folder = Some(opened);
    }
    Err(Errno::NOENT)
}

fn is_link(folder: BorrowedFd<'_>, name: &std::ffi::OsStr) -> bool {
    rustix::fs::statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn both_ways_of_opening_refuse_links_and_ways_out() {
        let folder = tempfile::tempdir().unwrap();
        let root_path = folder.path().join("root");
        std::fs::create_dir_all(root_path.join("a/b")).unwrap();
        std::fs::write(root_path.join("a/b/file"), "x").unwrap();
        std::fs::write(folder.path().join("outside"), "secret").unwrap();
        symlink("../../outside", root_path.join("a/out")).unwrap();
        symlink("a", root_path.join("link")).unwrap();
        let root = std::fs::File::open(&root_path).unwrap();
        for open in [
            (|root, path: &str| open_beneath(root, path, OFlags::RDONLY))
                as fn(BorrowedFd<'_>, &str) -> Result<OwnedFd, Errno>,
            |root, path| {
                walk_beneath(
                    root,
                    Path::new(path),
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                )
            },
        ] {
            assert!(open(root.as_fd(), "a/b/file").is_ok());
            assert_eq!(open(root.as_fd(), "a/b/none").unwrap_err(), Errno::NOENT);
            assert_eq!(open(root.as_fd(), "a/out").unwrap_err(), Errno::LOOP);
            assert_eq!(open(root.as_fd(), "link/b/file").unwrap_err(), Errno::LOOP);
            assert_eq!(open(root.as_fd(), "../outside").unwrap_err(), Errno::XDEV);
        }
    }
}
