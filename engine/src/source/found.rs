//! What the walk finds: a path, what is there, its metadata, and the way back to it through the folder it is in.
//!
//! A [`Found`] keeps its folder reachable (not necessarily open), so that the file can be opened later without
//! resolving its path again: nothing that happens to the names above it leads the reader elsewhere.

use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Stat};

use super::folder::Folder;
use crate::format::tree::{Content, Entry, EntryKind, HardLink, Metadata};
use crate::words::Timestamp;

/// One item of a source.
#[derive(Clone, Debug)]
pub struct Found {
    /// The path inside the snapshot; no bytes for the root.
    pub path: Vec<u8>,
    /// What is there.
    pub kind: FoundKind,
    /// Mode, owner and times. The attributes are empty: reading them costs system calls, see [`Found::attributes`].
    pub metadata: Metadata,
    /// The folder it is in; for the root, the root itself.
    pub(super) at: Arc<Folder>,
    /// The folder itself, for folders that could be opened.
    pub(super) folder: Option<Arc<Folder>>,
}

/// What is at a path of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A folder. What is in it follows, unless it is excluded, unreadable or another file system.
    Folder,
    /// A regular file, or a block device that is read like one.
    File {
        /// Bytes, holes included.
        size: u64,
        /// Bytes that the file occupies; less than `size` for a file that has holes (or is compressed).
        allocated: u64,
        /// Names that the inode has.
        links: u64,
        /// The device number of the file system.
        device: u64,
        /// It is a block device that was named as a source.
        from_device: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Its target, as it stands in the link.
        target: Vec<u8>,
        /// Names that the inode has.
        links: u64,
        /// The device number of the file system.
        device: u64,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device, as a node.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// An item of a source that could not be read. The walk goes on.
#[derive(Debug, thiserror::Error)]
#[error("Could not {action} {}: {source}", String::from_utf8_lossy(.path))]
pub struct SourceError {
    /// The path inside the snapshot.
    pub path: Vec<u8>,
    /// What was tried: "list", "open", "read".
    pub action: &'static str,
    /// What the system said.
    pub source: io::Error,
    /// It was named as a source, or leads to one: a person expects it to be there.
    pub named: bool,
}

impl SourceError {
    pub(super) fn new(path: &[u8], action: &'static str, source: impl Into<io::Error>) -> Self {
        Self {
            path: path.to_vec(),
            action,
            source: source.into(),
            named: false,
        }
    }

    /// Whether the item was there when its folder was listed and is gone since: as if the folder had been listed a
    /// moment later. A source that is missing has not vanished.
    pub fn vanished(&self) -> bool {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::StaleNetworkFileHandle];
        !self.named && gone.contains(&self.source.kind())
    }
}

impl Found {
    /// The name in its folder; `.` for the root.
    pub fn name(&self) -> &[u8] {
        match self.path.rsplit(|byte| *byte == b'/').next() {
            Some(name) if !name.is_empty() => name,
            _ => b".",
        }
    }

    /// The file's size in bytes; 0 for everything else.
    pub fn size(&self) -> u64 {
        if let FoundKind::File { size, .. } = self.kind {
            size
        } else {
            0
        }
    }

    /// What marks the item as one of several names of one inode; for files and symbolic links.
    pub fn link(&self) -> Option<HardLink> {
        match self.kind {
            FoundKind::File {
                links,
                device,
                from_device: false,
                ..
            }
            | FoundKind::Symlink { links, device, .. }
                if links > 1 =>
            {
                Some(HardLink { links, device })
            }
            FoundKind::Folder
            | FoundKind::File { .. }
            | FoundKind::Symlink { .. }
            | FoundKind::Fifo
            | FoundKind::Socket
            | FoundKind::CharacterDevice { .. }
            | FoundKind::BlockDevice { .. } => None,
        }
    }

    /// Turns it into the snapshot's entry. `content` counts for files alone.
    pub fn into_entry(self, content: Content) -> Entry {
        let link = self.link();
        let kind = match self.kind {
            FoundKind::Folder => EntryKind::Folder,
            FoundKind::File { size, from_device, .. } => EntryKind::File {
                size,
                content,
                link,
                from_device,
            },
            FoundKind::Symlink { target, .. } => EntryKind::Symlink { target, link },
            FoundKind::Fifo => EntryKind::Fifo,
            FoundKind::Socket => EntryKind::Socket,
            FoundKind::CharacterDevice { major, minor } => EntryKind::CharacterDevice { major, minor },
            FoundKind::BlockDevice { major, minor } => EntryKind::BlockDevice { major, minor },
        };
        Entry {
            path: self.path,
            kind,
            metadata: self.metadata,
        }
    }

    /// Bytes that it occupies in memory, about: what the walk's budget counts.
    pub(super) fn weight(&self) -> usize {
        let target = if let FoundKind::Symlink { target, .. } = &self.kind {
            target.len()
        } else {
            0
        };
        size_of::<Self>() + self.path.len() + target
    }
}

/// What `stat` says, as the entry's metadata.
pub(super) fn metadata_of(stat: &Stat) -> Metadata {
    Metadata {
        mode: stat.st_mode & 0o7777,
        user: stat.st_uid,
        group: stat.st_gid,
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
        attributes: Vec::new(),
    }
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
fn time(seconds: impl Into<i64>, nanoseconds: impl TryInto<u32>) -> Timestamp {
    Timestamp::new(seconds.into(), nanoseconds.try_into().unwrap_or(0))
}

/// What `stat` says, as the kind; a symbolic link's target is read at its name. An unknown type is no kind at all.
pub(super) fn kind_of(stat: &Stat, target: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<FoundKind> {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FoundKind::Folder,
        FileType::RegularFile => file_of(stat),
        FileType::Symlink => FoundKind::Symlink {
            target: target()?,
            links: links_of(stat),
            device: stat.st_dev,
        },
        FileType::Fifo => FoundKind::Fifo,
        FileType::Socket => FoundKind::Socket,
        FileType::CharacterDevice => FoundKind::CharacterDevice { major, minor },
        FileType::BlockDevice => FoundKind::BlockDevice { major, minor },
        FileType::Unknown => return Err(io::Error::other("it is of a type that this system does not name")),
    })
}

pub(super) fn file_of(stat: &Stat) -> FoundKind {
    FoundKind::File {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        links: links_of(stat),
        device: stat.st_dev,
        from_device: false,
    }
}

#[allow(
    clippy::useless_conversion,
    reason = "the field's type differs between architectures"
)]
fn links_of(stat: &Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// How a name is looked at: itself, not what it points to, and without mounting anything.
pub(super) const LOOK: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);
