//! Everything in a folder that has no content of its own: symbolic links, pipes, sockets, devices, and further names of files.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::decide::{Existing, ExistingKind};
use super::failure::{Failure, Tried};
use super::file::{NewFile, Way, open_existing};
use super::folder::{Folder, existing_of, open_path};
use super::loss::LossKind;
use super::metadata;
use super::name::{check_name, split_path};
use super::place::{Hold, Place};
use crate::format::tree::{EntryKind, Metadata};

/// Makes a symbolic link, or only sets its metadata when the one that is there points to the same place.
pub fn make_symlink(
    folder: &Arc<Folder>,
    name: &[u8],
    target: &[u8],
    metadata: &Metadata,
    existing: Option<&Existing>,
) -> Result<(), Failure> {
    if existing.is_some_and(|existing| existing.kind == ExistingKind::Symlink) && read_symlink(folder, name)? == target
    {
        return refresh_node(folder, name, metadata, true);
    }
    let (place, ()) = Place::take(
        folder,
        name,
        Hold::replacing(existing.is_some()),
        "create the symbolic link",
        |folder, name| rustix::fs::symlinkat(target, folder, name),
    )?;
    dress(&place, metadata, true)?;
    place.keep()
}

/// Where a symbolic link points to.
pub fn read_symlink(folder: &Folder, name: &[u8]) -> Result<Vec<u8>, Failure> {
    check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
    let descriptor = folder.descriptor().tried("open the folder")?;
    Ok(rustix::fs::readlinkat(descriptor, name, Vec::new())
        .tried("read the symbolic link")?
        .into_bytes())
}

/// Makes a pipe, a socket or a device.
pub fn make_node(
    folder: &Arc<Folder>,
    name: &[u8],
    kind: &EntryKind,
    metadata: &Metadata,
    replace: bool,
) -> Result<(), Failure> {
    let (file_type, device, action) = match kind {
        EntryKind::Fifo => (FileType::Fifo, 0, "create the named pipe"),
        EntryKind::Socket => (FileType::Socket, 0, "create the socket"),
        EntryKind::CharacterDevice { major, minor } => (
            FileType::CharacterDevice,
            rustix::fs::makedev(*major, *minor),
            "create the character device",
        ),
        EntryKind::BlockDevice { major, minor } => (
            FileType::BlockDevice,
            rustix::fs::makedev(*major, *minor),
            "create the block device",
        ),
        EntryKind::Folder | EntryKind::File { .. } | EntryKind::Symlink { .. } => {
            return Err(Failure::refused("It is not a pipe, a socket or a device"));
        }
    };
    // Nobody may open it before it is dressed.
    let (place, ()) = Place::take(folder, name, Hold::replacing(replace), action, |folder, name| {
        rustix::fs::mknodat(folder, name, file_type, Mode::empty(), device)
    })?;
    dress(&place, metadata, false)?;
    place.keep()
}

/// Sets the metadata of something that is right as it is. `link`: a symbolic link.
pub fn refresh_node(folder: &Folder, name: &[u8], metadata: &Metadata, link: bool) -> Result<(), Failure> {
    check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
    let descriptor = folder.descriptor().tried("open the folder")?;
    metadata::apply_to_name(folder.target(), descriptor.as_fd(), name, metadata, link, || {
        folder.path_of(name)
    })
}

/// Gives what was restored at `first` (a path below `root`) another name. Where the file system has no such names, a regular file becomes a copy
/// with the given size and metadata, which is counted as a loss.
pub fn make_link(
    root: &Folder,
    first: &[u8],
    folder: &Arc<Folder>,
    name: &[u8],
    metadata: &Metadata,
    replace: bool,
) -> Result<(), Failure> {
    let Some((first_folder, first_name)) = split_path(first) else {
        return Err(Failure::refused("A folder cannot have two names"));
    };
    let from = open_path(root, first_folder).tried("open the folder of the file's other name")?;
    let stat =
        rustix::fs::statat(&from, first_name, AtFlags::SYMLINK_NOFOLLOW).tried("look at the file's other name")?;
    if replace {
        let there = folder.existing(name)?;
        if there.is_some_and(|there| (there.device, there.inode) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
    }
    let linked = Place::take(
        folder,
        name,
        Hold::replacing(replace),
        "create the hard link",
        |folder, name| rustix::fs::linkat(&from, first_name, folder, name, AtFlags::empty()),
    );
    match linked {
        Ok((place, ())) => place.keep(),
        Err(failure) if failure.errno().is_some() && existing_of(&stat).kind == ExistingKind::File => {
            let why = failure.to_string();
            copy_file(&from, first_name, folder, name, metadata, replace)?;
            folder
                .target()
                .losses
                .add(LossKind::HardLink, || folder.path_of(name), why);
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

fn copy_file(
    from: impl AsFd,
    first: &[u8],
    folder: &Arc<Folder>,
    name: &[u8],
    metadata: &Metadata,
    replace: bool,
) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, first, flags, Mode::empty()).tried("open the file's other name")?;
    let size = u64::try_from(rustix::fs::fstat(&source).tried("look at the file")?.st_size).unwrap_or(0);
    let copy = NewFile::create(folder, name, metadata, if replace { Way::Replace } else { Way::Fresh })?;
    if !copy.share_with(&source) {
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            match rustix::io::pread(&source, &mut buffer[..], at) {
                Ok(0) => break,
                Ok(count) => {
                    copy.write_sparse_at(&buffer[..count], at)?;
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).tried("read the file's other name"),
            }
        }
    }
    copy.finish(size, metadata)
}

fn dress(place: &Place, metadata: &Metadata, link: bool) -> Result<(), Failure> {
    let (descriptor, name) = place.at()?;
    metadata::apply_to_name(place.folder.target(), descriptor.as_fd(), name, metadata, link, || {
        place.folder.path_of(&place.name)
    })
}

/// Opens a regular file to compare it with what the snapshot has.
pub fn open_to_read(folder: &Folder, name: &[u8]) -> Result<std::os::fd::OwnedFd, Failure> {
    open_existing(folder, name, OFlags::RDONLY)
}
