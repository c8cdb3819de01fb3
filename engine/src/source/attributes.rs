//! Extended attributes, ACLs and file capabilities among them, as the kernel shows them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::found::{Found, FoundKind};

/// Bytes that are tried first; the system's own limit is 64 KiB for a list and for a value.
const FIRST_BYTES: usize = 1_024;
const MOST_BYTES: usize = 64 * 1024;

/// The extended attributes of an item.
#[derive(Debug, Default)]
pub struct Attributes {
    /// Names and values, sorted by name.
    pub values: Vec<(Vec<u8>, Vec<u8>)>,
    /// Set when the list or a value could not be read; the values hold what could.
    pub failure: Option<io::Error>,
}

impl Found {
    /// Reads the extended attributes. For a file that is open, [`super::OpenFile::attributes`] is cheaper.
    pub fn attributes(&self) -> Attributes {
        let read = || -> io::Result<Attributes> {
            // A descriptor's link in /proc is the way to reach an inode that is not to be opened, or cannot be.
            if let (FoundKind::Folder, Some(folder)) = (&self.kind, &self.folder) {
                let handle = folder.handle()?;
                return Ok(of_folder(handle.as_fd()));
            }
            let handle = self.at.handle()?;
            let mut path = link_of(handle.as_fd());
            path.push(b'/');
            path.extend_from_slice(self.name());
            let follow = matches!(self.kind, FoundKind::File { from_device: true, .. });
            let place = if follow {
                Place::Followed(&path)
            } else {
                Place::Named(&path)
            };
            Ok(collect(&place))
        };
        read().unwrap_or_else(|error| Attributes {
            values: Vec::new(),
            failure: Some(error),
        })
    }
}

/// The extended attributes of what is open for reading.
pub(super) fn of_descriptor(descriptor: BorrowedFd<'_>) -> Attributes {
    collect(&Place::Open(descriptor))
}

fn of_folder(descriptor: BorrowedFd<'_>) -> Attributes {
    match rustix::fs::flistxattr_query(descriptor) {
        // It is open for passing through, not for reading.
        Err(Errno::BADF) => collect(&Place::Followed(&link_of(descriptor))),
        Ok(0) => Attributes::default(),
        Ok(_) | Err(_) => of_descriptor(descriptor),
    }
}

fn link_of(descriptor: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into_bytes()
}

/// How the inode is reached.
enum Place<'a> {
    Open(BorrowedFd<'a>),
    /// A path whose last name is not followed.
    Named(&'a [u8]),
    Followed(&'a [u8]),
}

impl Place<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(descriptor) => rustix::fs::flistxattr(descriptor, buffer),
            Self::Named(path) => rustix::fs::llistxattr(*path, buffer),
            Self::Followed(path) => rustix::fs::listxattr(*path, buffer),
        }
    }

    fn value(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(descriptor) => rustix::fs::fgetxattr(descriptor, name, buffer),
            Self::Named(path) => rustix::fs::lgetxattr(*path, name, buffer),
            Self::Followed(path) => rustix::fs::getxattr(*path, name, buffer),
        }
    }
}

fn collect(place: &Place<'_>) -> Attributes {
    let mut attributes = Attributes::default();
    let list = match growing(|buffer| place.list(buffer)) {
        Ok(list) => list,
        // The file system has none, or the inode's kind cannot have any.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return attributes,
        Err(error) => {
            attributes.failure = Some(error.into());
            return attributes;
        }
    };
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match growing(|buffer| place.value(name, buffer)) {
            Ok(value) => attributes.values.push((name.to_vec(), value)),
            // Taken away since it was listed, or listed by a file system that does not keep it.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => {
                let name = String::from_utf8_lossy(name);
                let error = io::Error::from(error);
                let error = io::Error::new(error.kind(), format!("attribute {name}: {error}"));
                attributes.failure.get_or_insert(error);
            }
        }
    }
    attributes.values.sort();
    attributes.values.dedup_by(|left, right| left.0 == right.0);
    attributes
}

fn growing(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut first = [0; FIRST_BYTES];
    match read(&mut first) {
        Ok(length) => return Ok(first.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut buffer = vec![0; MOST_BYTES];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    buffer.shrink_to_fit();
    Ok(buffer)
}
