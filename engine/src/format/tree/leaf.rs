//! The bytes of a leaf into entries (FORMAT.md, 6.2). [`super::leaf_writer`] is the other direction.
//!
//! What must hold: no input makes it panic; what it allocates is bounded by the input's length; it refuses whatever FORMAT.md refuses.
//! An entry is decoded in two steps, so that a search pays for the head of what it passes and for the body of what it finds.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::entry::{Content, Entry, EntryKind, HardLink, Metadata};
use super::leaf_writer::ITEMS_MAX;
use super::table::{BLOB_MAX, Table, read_extent};
use super::varint::{Decoded, Input, Malformed};
use super::{kinds, path};
use crate::words::Timestamp;

/// A leaf whose frame has been checked; its entries are checked as they are read.
#[derive(Clone, Debug)]
pub struct Leaf {
    table: Table,
    entries: Bytes,
}

impl Leaf {
    /// Reads the frame of a leaf.
    ///
    /// # Errors
    /// [`Malformed`] when the blob is not a leaf, or its table is longer than it.
    pub fn parse(blob: &Bytes) -> Decoded<Self> {
        let mut input = Input::new(blob);
        if input.byte()? != kinds::LEAF {
            return Err(Malformed("it is not a leaf"));
        }
        let table = Table::parse(blob, &mut input)?;
        Ok(Self {
            table,
            entries: blob.slice_ref(input.rest()),
        })
    }

    /// The ids of the blobs that its entries name: slabs, chunks, and topmost lists.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A cursor before its first entry.
    pub fn cursor(self) -> LeafCursor {
        LeafCursor {
            leaf: self,
            at: 0,
            body: 0..0,
            entry: Entry {
                path: Vec::new(),
                kind: EntryKind::Folder,
                metadata: Metadata::default(),
            },
            kind: 0,
            size: 0,
            seconds: 0,
            filled: false,
            count: 0,
            bytes: 0,
        }
    }
}

/// Walks through a leaf entry by entry.
#[derive(Clone, Debug)]
pub struct LeafCursor {
    leaf: Leaf,
    /// Where the next entry begins.
    at: usize,
    /// Where the part of the current entry is that [`LeafCursor::fill`] has yet to decode.
    body: Range<usize>,
    entry: Entry,
    kind: u8,
    size: u64,
    seconds: i64,
    filled: bool,
    count: u64,
    bytes: u64,
}

impl LeafCursor {
    /// Goes to the next entry and decodes its path and metadata; says whether there is one.
    ///
    /// # Errors
    /// [`Malformed`], and again on every further call.
    #[inline]
    pub fn step(&mut self) -> Decoded<bool> {
        let entries = &self.leaf.entries;
        let mut frame = Input::new(entries.get(self.at..).unwrap_or_default());
        if frame.is_empty() {
            return Ok(false);
        }
        let rest = frame.bytes()?;
        let end = entries.len() - frame.rest().len();
        let mut input = Input::new(rest);

        let shared = input.number()? as usize;
        let suffix = input.bytes()?;
        let path = &mut self.entry.path;
        if shared > path.len() {
            return Err(Malformed("a path shares more with the one before it than that has"));
        }
        if self.count > 0 {
            if path::compare(&path[shared..], suffix) != Ordering::Less {
                return Err(Malformed("its paths do not rise"));
            }
            let below = shared == path.len() && (path.is_empty() || suffix.first() == Some(&b'/'));
            if below && self.kind != kinds::FOLDER {
                return Err(Malformed("an entry lies below something that is not a folder"));
            }
        }
        path.truncate(shared);
        path.extend_from_slice(suffix);
        path::check(path, shared)?;

        self.kind = input.byte()?;
        if !(kinds::FOLDER..=kinds::BLOCK_DEVICE).contains(&self.kind) {
            return Err(Malformed("an entry is of an unknown type"));
        }
        let metadata = &mut self.entry.metadata;
        metadata.mode = input.number32()?;
        if metadata.mode > kinds::MODE_MAX {
            return Err(Malformed("a mode has more than twelve bits"));
        }
        metadata.user = input.number32()?;
        metadata.group = input.number32()?;
        (self.seconds, metadata.modified) = time(self.seconds, input.signed()?, input.fixed32()?)?;
        (_, metadata.changed) = time(self.seconds, input.signed()?, input.fixed32()?)?;
        metadata.inode = metadata.inode.wrapping_add(input.signed()? as u64);
        self.size = if self.kind == kinds::FILE { input.number()? } else { 0 };

        self.body = end - input.rest().len()..end;
        self.at = end;
        self.filled = false;
        self.count += 1;
        self.bytes = self.bytes.saturating_add(self.size);
        Ok(true)
    }

    /// The current entry's path.
    pub fn path(&self) -> &[u8] {
        &self.entry.path
    }

    /// The current entry's size: 0 for what is not a file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the current entry is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == kinds::FOLDER
    }

    /// How many entries have been stepped to.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the sizes of the files stepped to, `u64::MAX` if it is more.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The current entry, whole.
    ///
    /// # Errors
    /// [`Malformed`] in its content or fields.
    pub fn entry(&mut self) -> Decoded<&Entry> {
        self.fill()?;
        Ok(&self.entry)
    }

    /// The current entry, whole, to keep. May be called once per entry.
    ///
    /// # Errors
    /// As [`LeafCursor::entry`].
    pub fn take(&mut self) -> Decoded<Entry> {
        self.fill()?;
        self.filled = false;
        let metadata = Metadata {
            attributes: std::mem::take(&mut self.entry.metadata.attributes),
            ..self.entry.metadata
        };
        Ok(Entry {
            path: self.entry.path.clone(),
            kind: std::mem::replace(&mut self.entry.kind, EntryKind::Folder),
            metadata,
        })
    }

    /// Decodes what [`LeafCursor::step`] left: content and fields.
    fn fill(&mut self) -> Decoded<()> {
        if self.filled {
            return Ok(());
        }
        let mut input = Input::new(self.leaf.entries.get(self.body.clone()).unwrap_or_default());
        let content = match self.kind {
            kinds::FILE => content(&mut input, &self.leaf.table, self.size)?,
            _ => Content::Empty,
        };
        self.entry.metadata.attributes.clear();
        let fields = fields(&mut input, &mut self.entry.metadata.attributes)?;
        if fields.from_device && self.kind != kinds::FILE {
            return Err(Malformed(
                "something that is not a file is the content of a block device",
            ));
        }
        self.entry.kind = match (self.kind, fields.target, fields.device) {
            (kinds::FOLDER, None, None) if fields.link.is_none() => EntryKind::Folder,
            (kinds::FILE, None, None) => EntryKind::File {
                size: self.size,
                content,
                link: fields.link,
                from_device: fields.from_device,
            },
            (kinds::SYMLINK, Some(target), None) => EntryKind::Symlink {
                target: target.to_vec(),
                link: fields.link,
            },
            (kinds::FIFO, None, None) => EntryKind::Fifo,
            (kinds::SOCKET, None, None) => EntryKind::Socket,
            (kinds::CHARACTER_DEVICE, None, Some((major, minor))) => EntryKind::CharacterDevice { major, minor },
            (kinds::BLOCK_DEVICE, None, Some((major, minor))) => EntryKind::BlockDevice { major, minor },
            (_, _, _) => {
                return Err(Malformed(
                    "an entry has a field of another type, or lacks one of its own",
                ));
            }
        };
        self.filled = true;
        Ok(())
    }
}

/// Adds `delta` to the seconds `base`, and gives the seconds and the whole time.
#[inline]
fn time(base: i64, delta: i64, nanoseconds: u32) -> Decoded<(i64, Timestamp)> {
    const BEYOND: Malformed = Malformed("a time is before 1677 or after 2262");
    if nanoseconds >= 1_000_000_000 {
        return Err(Malformed("a time has more than 999,999,999 nanoseconds"));
    }
    let seconds = base.checked_add(delta).ok_or(BEYOND)?;
    let whole = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Ok((seconds, Timestamp(i64::try_from(whole).map_err(|_| BEYOND)?)))
}

fn content(input: &mut Input<'_>, table: &Table, size: u64) -> Decoded<Content> {
    match input.byte()? {
        kinds::CONTENT_EMPTY => Ok(Content::Empty),
        kinds::CONTENT_SLAB => {
            let blob = table.id(input.number()?)?;
            let offset = input.number32()?;
            if u64::from(offset).saturating_add(size) > BLOB_MAX {
                return Err(Malformed("a file lies beyond the end of any slab"));
            }
            let check = input.array()?;
            Ok(Content::Slab { blob, offset, check })
        }
        kinds::CONTENT_CHUNKS => {
            let count = input.number()?;
            if count > ITEMS_MAX as u64 {
                return Err(Malformed("a file has more than 65,536 extents outside of a list"));
            }
            // Every extent takes two bytes at least.
            let mut extents = Vec::with_capacity((count as usize).min(input.rest().len() / 2));
            let mut sum = 0u64;
            for _ in 0..count {
                let extent = read_extent(input, table)?;
                sum = sum
                    .checked_add(extent.length())
                    .ok_or(Malformed("the extents of a file have more than 2^64 bytes"))?;
                extents.push(extent);
            }
            if sum != size {
                return Err(Malformed("the extents of a file do not add up to its size"));
            }
            Ok(Content::Chunks(extents))
        }
        kinds::CONTENT_LIST if size == 0 => Err(Malformed("a file has a list of chunks, but no bytes")),
        kinds::CONTENT_LIST => Ok(Content::List {
            blob: table.id(input.number()?)?,
        }),
        4.. => Err(Malformed("a file's content is of an unknown type")),
    }
}

#[derive(Default)]
struct FieldValues<'a> {
    target: Option<&'a [u8]>,
    device: Option<(u32, u32)>,
    link: Option<HardLink>,
    from_device: bool,
}

fn fields<'a>(input: &mut Input<'a>, attributes: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Decoded<FieldValues<'a>> {
    let mut values = FieldValues::default();
    let mut last = None;
    while !input.is_empty() {
        let number = input.byte()?;
        if last.is_some_and(|last| last >= number) {
            return Err(Malformed("the fields of an entry are not in order"));
        }
        last = Some(number);
        let mut field = Input::new(input.bytes()?);
        match number {
            kinds::FIELD_TARGET => values.target = Some(field.take(field.rest().len() as u64)?),
            kinds::FIELD_DEVICE => values.device = Some((field.number32()?, field.number32()?)),
            kinds::FIELD_ATTRIBUTES => read_attributes(&mut field, attributes)?,
            kinds::FIELD_LINK => {
                values.link = Some(HardLink {
                    links: field.number()?,
                    device: field.number()?,
                });
            }
            kinds::FIELD_FROM_DEVICE => values.from_device = true,
            // A later version's field: what it says can be done without.
            0 | 6.. => continue,
        }
        if !field.is_empty() {
            return Err(Malformed("a field of an entry is longer than what is in it"));
        }
    }
    Ok(values)
}

fn read_attributes(field: &mut Input<'_>, attributes: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Decoded<()> {
    let count = field.number()?;
    if count > ITEMS_MAX as u64 {
        return Err(Malformed("an entry has more than 65,536 extended attributes"));
    }
    for _ in 0..count {
        let (name, value) = (field.bytes()?, field.bytes()?);
        if attributes.last().is_some_and(|(last, _)| last.as_slice() >= name) {
            return Err(Malformed("extended attributes are not sorted by name"));
        }
        attributes.push((name.to_vec(), value.to_vec()));
    }
    Ok(())
}
