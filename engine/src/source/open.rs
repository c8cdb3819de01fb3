//! A file of a source, open for reading.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::{self, Attributes};
use super::extents::DataExtents;
use super::found::{Found, FoundKind, file_of, metadata_of};
use crate::words::Timestamp;

/// A regular file or a block device, open for reading. Reading does not change its access time where that can be.
#[derive(Debug)]
pub struct OpenFile {
    descriptor: OwnedFd,
    version: Version,
    size: u64,
    allocated: u64,
    from_device: bool,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    size: i64,
    modified: Timestamp,
    changed: Timestamp,
}

impl Version {
    fn of(stat: &Stat) -> Self {
        let metadata = metadata_of(stat);
        Self {
            size: stat.st_size,
            modified: metadata.modified,
            changed: metadata.changed,
        }
    }
}

impl Found {
    /// Opens the file.
    ///
    /// What is open is what counts: kind and metadata become those of the open file, which may have been written to,
    /// or replaced by another regular file, since it was listed. Fails with `NotFound` when it has vanished, and when
    /// something is there that is no regular file.
    pub fn open(&mut self) -> io::Result<OpenFile> {
        let FoundKind::File { from_device, size, .. } = self.kind else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        };
        let handle = self.at.handle()?;
        let descriptors = self.at.descriptors();
        let owner = Some(self.metadata.user);
        let flags = if from_device { OFlags::empty() } else { OFlags::NOFOLLOW };
        let descriptor = match descriptors.open(handle.as_fd(), self.name(), flags, owner) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "another process holds a lease on it",
                ));
            }
            result => result?,
        };
        let stat = rustix::fs::fstat(&descriptor)?;
        let expected = if from_device {
            FileType::BlockDevice
        } else {
            FileType::RegularFile
        };
        if FileType::from_raw_mode(stat.st_mode) != expected {
            return Err(io::Error::other(
                "it was replaced by something else since it was listed",
            ));
        }
        if !from_device {
            self.kind = file_of(&stat);
            self.metadata = metadata_of(&stat);
        }
        let size = if from_device { size } else { self.size() };
        let allocated = if let FoundKind::File { allocated, .. } = self.kind {
            allocated
        } else {
            size
        };
        Ok(OpenFile {
            descriptor,
            version: Version::of(&stat),
            size,
            allocated,
            from_device,
        })
    }
}

impl OpenFile {
    /// Bytes that it had when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it was written to since it was opened: its size, modification or change time is another. Says nothing
    /// about block devices.
    pub fn has_changed(&self) -> io::Result<bool> {
        Ok(!self.from_device && Version::of(&rustix::fs::fstat(&self.descriptor)?) != self.version)
    }

    /// Where the data is, in order; between are holes. Asks the system only when the file may have holes.
    pub fn data_extents(&self) -> DataExtents<'_> {
        DataExtents::new(self.descriptor.as_fd(), self.size, self.allocated < self.size)
    }

    /// Fills the buffer from `offset`; gives fewer bytes only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        fill_at(&self.descriptor, buffer, offset)
    }

    /// Appends up to `length` bytes from `offset` to the buffer; gives fewer only at the end of the file.
    pub fn append_at(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<usize> {
        let before = buffer.len();
        buffer.resize(before + length, 0);
        let result = self.read_at(buffer.get_mut(before..).unwrap_or_default(), offset);
        buffer.truncate(before + result.as_ref().map_or(0, |got| *got));
        result
    }

    /// Reads a whole small file into the buffer, which is emptied before: one system call if the file has not grown.
    /// What is read ends where the file does now, not where it did when it was opened, but never beyond `most` bytes.
    pub fn read_all(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<()> {
        buffer.clear();
        let expected = usize::try_from(self.size).unwrap_or(most).min(most);
        buffer.reserve(expected.saturating_add(1));
        while buffer.len() <= most {
            let at = buffer.len() as u64;
            match rustix::io::pread(&self.descriptor, spare_capacity(buffer), at) {
                Ok(0) => break,
                // The file has shown the size it has, and there was room for more: that was all.
                Ok(_) if buffer.len() == expected && buffer.capacity() > expected => break,
                Ok(_) => buffer.reserve(4_096),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(most);
        Ok(())
    }

    /// Tells the system that the file will be read from its start to its end, so that it reads further ahead.
    pub fn advise_sequential(&self) {
        // Advice that is not taken costs nothing.
        let _ = rustix::fs::fadvise(&self.descriptor, 0, None, Advice::Sequential);
    }

    /// Tells the system that these bytes will be read soon.
    pub fn advise_soon(&self, offset: u64, length: u64) {
        let _ = rustix::fs::fadvise(&self.descriptor, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    /// Its extended attributes.
    pub fn attributes(&self) -> Attributes {
        attributes::of_descriptor(self.descriptor.as_fd())
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) fn fill_at(file: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&file, rest, offset + got as u64) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(got)
}
