//! A block device as a target: bytes at offsets, holes as zeros, nothing beyond its end.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::folder::stat_given;
use crate::words::{Error, Result};

/// A block device that is being written.
#[derive(Debug)]
pub struct Device {
    device: OwnedFd,
    path: PathBuf,
    size: u64,
}

impl Device {
    /// Whether there is a block device at the path.
    pub fn is_at(path: &Path) -> bool {
        stat_given(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_block_device())
    }

    /// Opens the device for content of `size` bytes. Refuses one that is too small, and one that is mounted or otherwise in use.
    pub fn open(path: &Path, size: u64) -> Result<Self> {
        if !Self::is_at(path) {
            return Err(Error::Invalid(format!("{} is not a block device", path.display())));
        }
        // On a block device EXCL asks the kernel to refuse one that is in use.
        let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
        let device = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::BUSY) => {
                return Err(Error::Invalid(format!(
                    "{} is mounted or in use, so it is not overwritten",
                    path.display()
                )));
            }
            opened => opened.map_err(|error| Error::io("open the device", path, error.into()))?,
        };
        let room = rustix::fs::seek(&device, SeekFrom::End(0))
            .map_err(|error| Error::io("find the size of", path, error.into()))?;
        if room < size {
            return Err(Error::Invalid(format!(
                "{} has {room} bytes, but {size} are needed",
                path.display()
            )));
        }
        Ok(Self {
            device,
            path: path.to_owned(),
            size,
        })
    }

    /// Writes bytes at an offset. May be called from many threads.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        self.check(offset, bytes.len() as u64)?;
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.device, bytes, offset) {
                Ok(0) => return Err(self.failed(Errno::IO)),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Makes bytes zero; the device forgets them where it can.
    pub fn zero(&self, offset: u64, length: u64) -> Result<()> {
        self.check(offset, length)?;
        // The kernel promises that what is punched out of a device reads as zeros, and takes only whole sectors.
        let first = offset.next_multiple_of(4096).min(offset + length);
        let last = ((offset + length) / 4096 * 4096).max(first);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if last > first && rustix::fs::fallocate(&self.device, flags, first, last - first).is_ok() {
            self.write_zeros(offset, first)?;
            return self.write_zeros(last, offset + length);
        }
        self.write_zeros(offset, offset + length)
    }

    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        let zeros = vec![0; usize::try_from((to - from).min(1 << 20)).unwrap_or(1 << 20)];
        let mut at = from;
        while at < to {
            let piece = (to - at).min(zeros.len() as u64);
            self.write_at(&zeros[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }

    /// Waits until everything is on the device.
    pub fn finish(&self) -> Result<()> {
        rustix::fs::fsync(&self.device).map_err(|error| self.failed(error))
    }

    /// To read back what was written, after [`Device::finish`]: from the device, not from the memory, as far as the kernel lets go of that.
    pub fn to_read_back(&self) -> &OwnedFd {
        let _ = rustix::fs::fadvise(&self.device, 0, None, rustix::fs::Advice::DontNeed);
        &self.device
    }

    fn check(&self, offset: u64, length: u64) -> Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(Error::Internal(format!(
                "a write behind the end of what was to be restored to {}",
                self.path.display()
            ))),
        }
    }

    fn failed(&self, error: Errno) -> Error {
        Error::io("write", &self.path, error.into())
    }
}
