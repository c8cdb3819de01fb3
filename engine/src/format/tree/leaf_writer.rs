//! Entries into the bytes of a leaf (FORMAT.md, 6.2). [`super::leaf`] is the other direction.
//!
//! What must hold: what is written here, [`super::leaf`] reads; every entry that it would refuse is refused here first.

use super::entry::{Content, Entry, EntryKind, HardLink, Metadata};
use super::table::{BLOB_MAX, TableWriter, put_extent};
use super::varint::{self, Malformed};
use super::{kinds, path};
use crate::words::{Error, Result, Timestamp};

/// The most bytes that one entry may take, so that a leaf stays a blob.
const ENTRY_MAX: usize = 12 << 20;

const TOO_LONG: &str = "its attributes are longer than 12 MiB";

/// The most extents of an entry, and the most extended attributes: what decodes to more memory than it is long is bounded.
pub const ITEMS_MAX: usize = 65_536;

/// Collects the entries of one leaf. The caller cuts, and sees to it that paths rise.
#[derive(Debug, Default)]
pub struct LeafWriter {
    table: TableWriter,
    entries: Vec<u8>,
    count: u64,
    bytes: u64,
    path: Vec<u8>,
    seconds: i64,
    inode: u64,
    scratch: Vec<u8>,
    field: Vec<u8>,
}

/// Why the format cannot hold an entry, if it cannot: asked before [`LeafWriter::push`], so that one odd item does not spoil a whole tree.
/// Its attributes alone may be the reason: then it can be stored without them.
pub fn refusal(entry: &Entry) -> Option<&'static str> {
    if let Err(Malformed(why)) = path::check(&entry.path, 0) {
        return Some(why);
    }
    if let Err(why) = check(entry) {
        return Some(why);
    }
    // No number in an entry takes more than ten bytes, and few are as long.
    let attributes = entry.metadata.attributes.iter();
    let attributes: usize = attributes.map(|(name, value)| 20 + name.len() + value.len()).sum();
    let more = match &entry.kind {
        EntryKind::File {
            content: Content::Chunks(extents),
            ..
        } => extents.len() * 21,
        EntryKind::Symlink { target, .. } => target.len(),
        EntryKind::File { .. }
        | EntryKind::Folder
        | EntryKind::Fifo
        | EntryKind::Socket
        | EntryKind::CharacterDevice { .. }
        | EntryKind::BlockDevice { .. } => 0,
    };
    (attributes + more + entry.path.len() + 256 > ENTRY_MAX).then_some(TOO_LONG)
}

impl LeafWriter {
    /// Adds an entry, which sorts after the one before it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an entry that the format cannot hold; the leaf is then of no use any more.
    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        let refuse = |why: &str| {
            let path = String::from_utf8_lossy(&entry.path);
            Error::Invalid(format!("`{}` cannot be stored: {why}", path.escape_debug()))
        };
        let shared = path::shared(&self.path, &entry.path);
        path::check(&entry.path, shared).map_err(|Malformed(why)| refuse(why))?;
        check(entry).map_err(refuse)?;

        self.scratch.clear();
        let suffix = &entry.path[shared..];
        varint::put(&mut self.scratch, shared as u64);
        varint::put(&mut self.scratch, suffix.len() as u64);
        self.scratch.extend_from_slice(suffix);
        self.put_metadata(&entry.metadata, kinds::of(&entry.kind));
        self.put_kind(&entry.kind, &entry.metadata);
        if self.scratch.len() > ENTRY_MAX {
            return Err(refuse(TOO_LONG));
        }
        varint::put(&mut self.entries, self.scratch.len() as u64);
        self.entries.extend_from_slice(&self.scratch);

        self.path.truncate(shared);
        self.path.extend_from_slice(suffix);
        self.count += 1;
        self.bytes = self.bytes.saturating_add(entry.size());
        Ok(())
    }

    /// How many entries it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the sizes of its files, `u64::MAX` if it is more.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes the leaf has so far.
    pub fn size(&self) -> usize {
        1 + self.table.size() + self.entries.len()
    }

    /// The leaf's bytes; the writer is empty again.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(self.size());
        blob.push(kinds::LEAF);
        self.table.finish(&mut blob);
        blob.extend_from_slice(&self.entries);
        self.entries.clear();
        self.path.clear();
        (self.count, self.bytes, self.seconds, self.inode) = (0, 0, 0, 0);
        blob
    }

    fn put_metadata(&mut self, metadata: &Metadata, kind: u8) {
        let out = &mut self.scratch;
        let (modified, modified_nanoseconds) = split(metadata.modified);
        let (changed, changed_nanoseconds) = split(metadata.changed);
        out.push(kind);
        varint::put(out, u64::from(metadata.mode));
        varint::put(out, u64::from(metadata.user));
        varint::put(out, u64::from(metadata.group));
        varint::put_signed(out, modified - self.seconds);
        out.extend_from_slice(&modified_nanoseconds.to_le_bytes());
        varint::put_signed(out, changed - modified);
        out.extend_from_slice(&changed_nanoseconds.to_le_bytes());
        varint::put_signed(out, metadata.inode.wrapping_sub(self.inode) as i64);
        self.seconds = modified;
        self.inode = metadata.inode;
    }

    fn put_kind(&mut self, kind: &EntryKind, metadata: &Metadata) {
        let no_link = None;
        let (mut device, mut from_device_content, mut target, mut link) = (None, false, None, &no_link);
        match kind {
            EntryKind::Folder | EntryKind::Fifo | EntryKind::Socket => {}
            EntryKind::File {
                size,
                content,
                link: hard_link,
                from_device,
            } => {
                varint::put(&mut self.scratch, *size);
                self.put_content(content);
                (from_device_content, link) = (*from_device, hard_link);
            }
            EntryKind::Symlink {
                target: to,
                link: hard_link,
            } => (target, link) = (Some(to), hard_link),
            EntryKind::CharacterDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                device = Some((*major, *minor));
            }
        }
        if let Some(target) = target {
            self.put_field(kinds::FIELD_TARGET, |field| field.extend_from_slice(target));
        }
        if let Some((major, minor)) = device {
            self.put_field(kinds::FIELD_DEVICE, |field| {
                varint::put(field, u64::from(major));
                varint::put(field, u64::from(minor));
            });
        }
        if !metadata.attributes.is_empty() {
            self.put_field(kinds::FIELD_ATTRIBUTES, |field| {
                varint::put(field, metadata.attributes.len() as u64);
                for part in metadata.attributes.iter().flat_map(|(name, value)| [name, value]) {
                    varint::put(field, part.len() as u64);
                    field.extend_from_slice(part);
                }
            });
        }
        if let Some(HardLink { links, device }) = link {
            self.put_field(kinds::FIELD_LINK, |field| {
                varint::put(field, *links);
                varint::put(field, *device);
            });
        }
        if from_device_content {
            self.put_field(kinds::FIELD_FROM_DEVICE, |_| {});
        }
    }

    fn put_content(&mut self, content: &Content) {
        let out = &mut self.scratch;
        match content {
            Content::Empty => out.push(kinds::CONTENT_EMPTY),
            Content::Slab { blob, offset, check } => {
                out.push(kinds::CONTENT_SLAB);
                varint::put(out, self.table.place(*blob));
                varint::put(out, u64::from(*offset));
                out.extend_from_slice(check);
            }
            Content::Chunks(extents) => {
                out.push(kinds::CONTENT_CHUNKS);
                varint::put(out, extents.len() as u64);
                for extent in extents {
                    put_extent(out, &mut self.table, extent);
                }
            }
            Content::List { blob } => {
                out.push(kinds::CONTENT_LIST);
                varint::put(out, self.table.place(*blob));
            }
        }
    }

    fn put_field(&mut self, number: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        self.field.clear();
        fill(&mut self.field);
        self.scratch.push(number);
        varint::put(&mut self.scratch, self.field.len() as u64);
        self.scratch.extend_from_slice(&self.field);
    }
}

/// Whole seconds and the nanoseconds after them.
fn split(time: Timestamp) -> (i64, u32) {
    let nanoseconds = time.0.rem_euclid(1_000_000_000);
    (time.seconds(), nanoseconds as u32)
}

fn check(entry: &Entry) -> Result<(), &'static str> {
    if entry.metadata.mode > kinds::MODE_MAX {
        return Err("its mode has more than twelve bits");
    }
    let attributes = &entry.metadata.attributes;
    if !attributes.is_sorted_by(|left, right| left.0 < right.0) {
        return Err("its extended attributes are not sorted by name");
    }
    if attributes.len() > ITEMS_MAX {
        return Err("it has more than 65,536 extended attributes");
    }
    let EntryKind::File { size, content, .. } = &entry.kind else {
        return Ok(());
    };
    match content {
        Content::Empty => Ok(()),
        Content::Slab { offset, .. } if u64::from(*offset).saturating_add(*size) > BLOB_MAX => {
            Err("it lies beyond the end of any slab")
        }
        Content::Slab { .. } => Ok(()),
        Content::Chunks(extents) => check_extents(*size, extents),
        Content::List { .. } if *size == 0 => Err("it has a list of chunks, but no bytes"),
        Content::List { .. } => Ok(()),
    }
}

fn check_extents(size: u64, extents: &[super::Extent]) -> Result<(), &'static str> {
    if extents.len() > ITEMS_MAX {
        return Err("it has more than 65,536 extents outside of a list");
    }
    let mut sum = 0u64;
    for extent in extents {
        let most = match extent {
            super::Extent::Hole { .. } => u64::MAX,
            super::Extent::Chunk { .. } => BLOB_MAX,
        };
        if extent.length() == 0 || extent.length() > most {
            return Err("a chunk or hole of it has no bytes, or too many");
        }
        sum = sum
            .checked_add(extent.length())
            .ok_or("its extents have more than 2^64 bytes")?;
    }
    if sum == size {
        Ok(())
    } else {
        Err("its extents do not add up to its size")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn entry(path: &[u8], attribute_bytes: usize) -> Entry {
        Entry {
            path: path.to_vec(),
            kind: EntryKind::Folder,
            metadata: Metadata {
                attributes: vec![(b"user.a".to_vec(), vec![7; attribute_bytes])],
                ..Metadata::default()
            },
        }
    }

    #[test]
    fn what_would_be_refused_can_be_known_before() {
        for bytes in [0, 1 << 20, 11 << 20, ENTRY_MAX - 100, ENTRY_MAX, 13 << 20] {
            let entry = entry(b"folder", bytes);
            let pushed = LeafWriter::default().push(&entry);
            // Close to the limit it may be refused although it would just fit.
            assert!(pushed.is_ok() || refusal(&entry).is_some(), "{bytes}");
            assert_eq!(refusal(&entry).is_none(), bytes < ENTRY_MAX - 1000, "{bytes}");
        }
        assert_eq!(
            refusal(&entry(&[b'a'; 256], 0)),
            Some("a name is longer than 255 bytes")
        );
        let mut many = entry(b"many", 0);
        many.metadata.attributes = (0..=ITEMS_MAX)
            .map(|n| (format!("{n:08}").into_bytes(), Vec::new()))
            .collect();
        assert!(refusal(&many).is_some() && LeafWriter::default().push(&many).is_err());
        many.metadata.attributes.clear();
        assert_eq!(refusal(&many), None);
    }
}
