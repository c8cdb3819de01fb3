//! Regular files: made beside what is there, filled by any number of threads, dressed, and only then put in its place.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::failure::{Failure, Tried};
use super::folder::Folder;
use super::metadata;
use super::name::check_name;
use super::place::{Hold, Place};
use crate::format::tree::Metadata;

/// Zeros are looked for in pieces of this many bytes; file systems give back nothing smaller.
const BLOCK: usize = 4096;

/// How a file comes to its new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing has its name. When it is broken off by force, what is there of it has its name, and the next restore goes on with that.
    Fresh,
    /// Nothing has its name, or is to have it before it is whole: for restores that leave alone what has a name.
    Aside,
    /// What has its name stays until the new file is whole.
    Replace,
    /// The file that is there is changed itself; when that is broken off, it is neither the old one nor the new one.
    Update,
}

/// A file that is being written. Dropped before [`NewFile::finish`], it leaves nothing behind (and an update what it has written).
#[derive(Debug)]
pub struct NewFile {
    file: OwnedFd,
    state: State,
    /// There are bytes in it that were not written by us: what is to be zero has to be made so.
    inhabited: AtomicBool,
}

#[derive(Debug)]
enum State {
    New { place: Place, strip: bool },
    Updated { folder: Arc<Folder>, name: Box<[u8]> },
}

impl NewFile {
    /// Makes the file, or opens the one to update.
    pub fn create(folder: &Arc<Folder>, name: &[u8], metadata: &Metadata, way: Way) -> Result<Self, Failure> {
        let hold = match way {
            Way::Fresh => Hold::Own,
            Way::Aside => Hold::Aside,
            Way::Replace => Hold::Instead,
            Way::Update => {
                let file = open_existing(folder, name, OFlags::RDWR)?;
                return Ok(Self {
                    file,
                    state: State::Updated {
                        folder: Arc::clone(folder),
                        name: name.into(),
                    },
                    inhabited: AtomicBool::new(true),
                });
            }
        };
        let mode = metadata::first_mode(folder.target(), metadata);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (place, file) = Place::take(folder, name, hold, "create the file", |folder, name| {
            rustix::fs::openat(folder, name, flags, mode)
        })?;
        Ok(Self {
            file,
            state: State::New {
                place,
                strip: folder.inherits(),
            },
            inhabited: AtomicBool::new(false),
        })
    }

    /// Writes bytes at a place in the file. May be called from many threads.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.file, bytes, offset) {
                Ok(0) => return Err(Errno::IO).tried("write the file"),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).tried("write the file"),
            }
        }
        Ok(())
    }

    /// Writes bytes, but leaves whole blocks of zeros out, so that they take no space.
    pub fn write_sparse_at(&self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        // Blocks are those of the file, not of the piece.
        let lead = (BLOCK - (offset % BLOCK as u64) as usize) % BLOCK;
        let mut start = 0;
        let mut at = 0;
        while at < bytes.len() {
            let end = if at == 0 && lead > 0 { lead } else { at + BLOCK }.min(bytes.len());
            let zeros = end - at == BLOCK && bytes[at..end].iter().all(|byte| *byte == 0);
            if zeros {
                self.write_at(&bytes[start..at], offset + start as u64)?;
                self.hole(offset + at as u64, (end - at) as u64)?;
                start = end;
            }
            at = end;
        }
        self.write_at(&bytes[start..], offset + start as u64)
    }

    /// Makes a hole. In a new file there is nothing to do, since nothing else has been written there.
    pub fn hole(&self, offset: u64, length: u64) -> Result<(), Failure> {
        if length == 0 || !self.inhabited.load(Ordering::Relaxed) {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, offset, length) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => self.write_zeros(offset, length),
            Err(error) => Err(error).tried("make a hole in the file"),
        }
    }

    fn write_zeros(&self, offset: u64, length: u64) -> Result<(), Failure> {
        // Beyond the end of an old file nothing needs to be written: it grows by a hole.
        let size = rustix::fs::fstat(&self.file).tried("look at the file")?.st_size;
        let end = (offset + length).min(u64::try_from(size).unwrap_or(0));
        let zeros = vec![0; 1 << 16];
        let mut at = offset;
        while at < end {
            let piece = (end - at).min(zeros.len() as u64);
            self.write_at(&zeros[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }

    /// Takes over the blocks of another file of the same file system, where that can share them. Returns whether it did.
    pub fn share_with(&self, other: &OwnedFd) -> bool {
        let cloned = rustix::fs::ioctl_ficlone(&self.file, other).is_ok();
        self.inhabited.fetch_or(cloned, Ordering::Relaxed);
        cloned
    }

    /// Copies bytes from the same place of another file, which has them.
    pub fn copy_from(&self, other: &OwnedFd, offset: u64, length: u64) -> Result<(), Failure> {
        let end = offset.saturating_add(length);
        let mut at = offset;
        let mut buffer = Vec::new();
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            if buffer.is_empty() {
                let (mut from, mut to) = (at, at);
                match rustix::fs::copy_file_range(other, Some(&mut from), &self.file, Some(&mut to), most) {
                    Ok(0) => return Err(Errno::IO).tried("copy from the file that is there"),
                    Ok(copied) => at += copied as u64,
                    Err(Errno::INTR) => {}
                    Err(Errno::NOSPC | Errno::DQUOT) => return Err(Errno::NOSPC).tried("write the file"),
                    // Not every file system can; bytes can always be read and written.
                    Err(_) => buffer = vec![0; 1 << 20],
                }
                continue;
            }
            let most = most.min(buffer.len());
            match rustix::io::pread(other, &mut buffer[..most], at) {
                Ok(0) => return Err(Errno::IO).tried("copy from the file that is there"),
                Ok(count) => {
                    self.write_at(&buffer[..count], at)?;
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).tried("copy from the file that is there"),
            }
        }
        Ok(())
    }

    /// Everything is written: gives the file its length and metadata, and puts it in its place.
    pub fn finish(self, size: u64, metadata: &Metadata) -> Result<(), Failure> {
        match self.state {
            State::New { place, strip } => {
                let stat = rustix::fs::fstat(&self.file).tried("look at the file")?;
                if u64::try_from(stat.st_size) != Ok(size) {
                    rustix::fs::ftruncate(&self.file, size).tried("set the file's length")?;
                }
                let folder = &place.folder;
                metadata::apply_with_stat(folder.target(), self.file.as_fd(), &stat, metadata, strip, || {
                    folder.path_of(&place.name)
                })?;
                place.keep()
            }
            State::Updated { folder, name } => {
                rustix::fs::ftruncate(&self.file, size).tried("set the file's length")?;
                metadata::apply_to_open(folder.target(), self.file.as_fd(), metadata, true, || {
                    folder.path_of(&name)
                })
            }
        }
    }
}

/// Makes a small file in one go.
pub fn write_file(
    folder: &Arc<Folder>,
    name: &[u8],
    metadata: &Metadata,
    way: Way,
    bytes: &[u8],
) -> Result<(), Failure> {
    let file = NewFile::create(folder, name, metadata, way)?;
    file.write_at(bytes, 0)?;
    file.finish(bytes.len() as u64, metadata)
}

/// Opens a regular file that is there, without following a link and without waking a pipe or a device.
pub fn open_existing(folder: &Folder, name: &[u8], access: OFlags) -> Result<OwnedFd, Failure> {
    check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = folder.descriptor().tried("open the folder")?;
    let file = rustix::fs::openat(descriptor, name, flags, Mode::empty()).tried("open the file")?;
    let stat = rustix::fs::fstat(&file).tried("look at the file")?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Failure::refused("It is no longer a regular file"));
    }
    Ok(file)
}

/// Sets the metadata of a file whose content is right already.
pub fn refresh_file(folder: &Folder, name: &[u8], metadata: &Metadata) -> Result<(), Failure> {
    let strip = true;
    match open_existing(folder, name, OFlags::RDONLY) {
        Ok(file) => metadata::apply_to_open(folder.target(), file.as_fd(), metadata, strip, || folder.path_of(name)),
        // Its owner may change what it may not read.
        Err(failure) if failure.errno() == Some(Errno::ACCESS) => {
            let descriptor = folder.descriptor().tried("open the folder")?;
            metadata::apply_to_name(folder.target(), descriptor.as_fd(), name, metadata, false, || {
                folder.path_of(name)
            })
        }
        Err(failure) => Err(failure),
    }
}
