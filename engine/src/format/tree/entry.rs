//! One entry of a snapshot: a path, what is there, and its metadata, as plain values.

pub use super::path::compare as compare_paths;
use crate::words::{BlobId, Timestamp};

/// A path and what is there. Paths are raw bytes, names joined by `/`, with no leading `/`; no bytes means the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole path inside the snapshot.
    pub path: Vec<u8>,
    /// What is there.
    pub kind: EntryKind,
    /// Mode, owner, times, extended attributes.
    pub metadata: Metadata,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder; what is in it follows as entries of their own.
    Folder,
    /// A regular file, or the content of a block device or stream.
    File {
        /// Bytes, holes included.
        size: u64,
        /// Where they are.
        content: Content,
        /// Set when the inode has more names than one.
        link: Option<HardLink>,
        /// The content of a block device.
        from_device: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Its target, as it stands in the link.
        target: Vec<u8>,
        /// Set when the inode has more names than one.
        link: Option<HardLink>,
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
    /// A block device, as a node (its content is a `File` with `from_device`).
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Mode, owner, times and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The lower twelve bits of the mode: permissions, set-user-id, set-group-id, sticky.
    pub mode: u32,
    /// The owner's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// When the content changed last.
    pub modified: Timestamp,
    /// When the inode changed last; for change detection, never restored.
    pub changed: Timestamp,
    /// The inode's number; for change detection and hard links, never restored.
    pub inode: u64,
    /// Extended attributes sorted by name, ACLs and file capabilities among them.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Marks entries that are one file: equal device, equal inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardLink {
    /// How many names the inode has, on the whole file system.
    pub links: u64,
    /// The device number of the file system.
    pub device: u64,
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No bytes, or nothing but a hole.
    Empty,
    /// A part of a blob shared with other small files; its length is the file's size.
    Slab {
        /// The slab.
        blob: BlobId,
        /// Where in the slab's plaintext.
        offset: u32,
        /// The first 8 bytes of a keyed hash of the content.
        check: [u8; 8],
    },
    /// Chunks and holes, in order; the lengths add up to the size.
    Chunks(Vec<Extent>),
    /// A tree of lists of chunks, for files with very many.
    List {
        /// The topmost list.
        blob: BlobId,
    },
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that are zero and not stored.
    Hole {
        /// How many.
        length: u64,
    },
    /// A blob.
    Chunk {
        /// Its id.
        blob: BlobId,
        /// Its length, in bytes of plaintext.
        length: u32,
    },
}

impl Entry {
    /// The last name of the path; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The file's size; 0 for everything else.
    pub fn size(&self) -> u64 {
        if let EntryKind::File { size, .. } = &self.kind {
            *size
        } else {
            0
        }
    }
}
