//! The numbers that stand for kinds in tree blobs (FORMAT.md, 6.2). They never change; new ones are added.

use super::entry::EntryKind;

/// First byte of a leaf.
pub const LEAF: u8 = 1;
/// First byte of a parent.
pub const PARENT: u8 = 2;
/// First byte of a list of chunks, or of lists.
pub const LIST: u8 = 3;

pub const FOLDER: u8 = 1;
pub const FILE: u8 = 2;
pub const SYMLINK: u8 = 3;
pub const FIFO: u8 = 4;
pub const SOCKET: u8 = 5;
pub const CHARACTER_DEVICE: u8 = 6;
pub const BLOCK_DEVICE: u8 = 7;

pub const CONTENT_EMPTY: u8 = 0;
pub const CONTENT_SLAB: u8 = 1;
pub const CONTENT_CHUNKS: u8 = 2;
pub const CONTENT_LIST: u8 = 3;

pub const FIELD_TARGET: u8 = 1;
pub const FIELD_DEVICE: u8 = 2;
pub const FIELD_ATTRIBUTES: u8 = 3;
pub const FIELD_LINK: u8 = 4;
pub const FIELD_FROM_DEVICE: u8 = 5;

/// The twelve bits of a mode.
pub const MODE_MAX: u32 = 0o7777;

/// The number of an entry's type.
pub fn of(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::Folder => FOLDER,
        EntryKind::File { .. } => FILE,
        EntryKind::Symlink { .. } => SYMLINK,
        EntryKind::Fifo => FIFO,
        EntryKind::Socket => SOCKET,
        EntryKind::CharacterDevice { .. } => CHARACTER_DEVICE,
        EntryKind::BlockDevice { .. } => BLOCK_DEVICE,
    }
}
