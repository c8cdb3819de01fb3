//! Lists of chunks: the content of files with very many (FORMAT.md, 6.2), written and read without ever holding them all.
//!
//! What must hold: where a list is cut depends on the ids in it, so that an unchanged range of a huge file costs one reference;
//! what a list says of the lists in it is what they cover, or reading ends with [`Error::Damaged`].

use bytes::Bytes;

use super::entry::{Content, Extent};
use super::kinds;
use super::source::{TreeSink, TreeSource};
use super::table::{BLOB_MAX, Table, TableWriter, put_extent, read_extent};
use super::varint::{self, Decoded, Input, Malformed};
use crate::words::{BlobId, Error, Result};

/// No list is higher; extents alone are of height 0.
pub const LIST_HEIGHT_MAX: u8 = 8;

/// A file with at most so many extents needs no list.
const INLINE_MAX: usize = 1024;
/// One chunk in 256 ends a list, one list in 64 a list of lists, if it has so many items, and so many end it in any case.
const CHUNK_MASK: u16 = (1 << 8) - 1;
const CHUNKS_MIN: u64 = 64;
const LIST_MASK: u16 = (1 << 6) - 1;
const LISTS_MIN: u64 = 16;
const ITEMS_MAX: u64 = 1024;

/// Takes the extents of one file and gives its [`Content`].
#[derive(Debug, Default)]
pub struct ContentWriter {
    /// The first extents, until it is clear that there are too many for the entry itself.
    first: Vec<Extent>,
    lists: bool,
    size: u64,
    /// By height.
    levels: Vec<ListWriter>,
}

#[derive(Debug, Default)]
struct ListWriter {
    table: TableWriter,
    items: Vec<u8>,
    count: u64,
    bytes: u64,
    last: Option<BlobId>,
}

impl ContentWriter {
    /// For the next file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next extent. Holes that touch become one while no list is needed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the extent has no bytes or too many, or the file more than 2^64; what `sink` says.
    pub fn push<S: TreeSink + ?Sized>(&mut self, extent: Extent, sink: &mut S) -> Result<()> {
        let length = extent.length();
        let too_long = matches!(extent, Extent::Chunk { .. }) && length > BLOB_MAX;
        if length == 0 || too_long {
            return Err(Error::Invalid(format!(
                "A chunk or hole of {length} bytes cannot be stored"
            )));
        }
        self.size = self
            .size
            .checked_add(length)
            .ok_or_else(|| Error::Invalid("A file of more than 2^64 bytes cannot be stored".to_owned()))?;
        if self.lists {
            return self.add(extent, sink);
        }
        if let (Some(Extent::Hole { length: before }), Extent::Hole { length }) = (self.first.last_mut(), &extent) {
            *before += length;
            return Ok(());
        }
        self.first.push(extent);
        if self.first.len() > INLINE_MAX {
            self.lists = true;
            for extent in std::mem::take(&mut self.first) {
                self.add(extent, sink)?;
            }
        }
        Ok(())
    }

    /// How many bytes the file has so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Stores what is left, and gives the file's content. The writer is ready for the next file.
    ///
    /// # Errors
    /// What `sink` says.
    pub fn finish<S: TreeSink + ?Sized>(&mut self, sink: &mut S) -> Result<Content> {
        let content = match self.first.as_slice() {
            _ if self.lists => Content::List {
                blob: self.finish_lists(sink)?,
            },
            [] | [Extent::Hole { .. }] => Content::Empty,
            _ => Content::Chunks(std::mem::take(&mut self.first)),
        };
        *self = Self::default();
        Ok(content)
    }

    fn finish_lists<S: TreeSink + ?Sized>(&mut self, sink: &mut S) -> Result<BlobId> {
        let mut height = 0;
        loop {
            let top = height + 1 == self.levels.len();
            let Some(list) = self.levels.get(height) else {
                return Err(Error::Internal(
                    "A file has lists of chunks, but no topmost one".to_owned(),
                ));
            };
            if let (true, 1, Some(id)) = (top && height > 0, list.count, list.last) {
                return Ok(id);
            }
            if list.count > 0 {
                self.finish_list(height, sink)?;
            }
            height += 1;
        }
    }

    fn add<S: TreeSink + ?Sized>(&mut self, extent: Extent, sink: &mut S) -> Result<()> {
        let list = self.level(0)?;
        put_extent(&mut list.items, &mut list.table, &extent);
        list.count += 1;
        list.bytes += extent.length();
        let cut = match &extent {
            Extent::Hole { .. } => false,
            Extent::Chunk { blob, .. } => list.count >= CHUNKS_MIN && bits(blob) & CHUNK_MASK == 0,
        };
        if cut || list.count >= ITEMS_MAX {
            self.finish_list(0, sink)?;
        }
        Ok(())
    }

    /// Stores the list of that height and adds it to the one above.
    fn finish_list<S: TreeSink + ?Sized>(&mut self, height: usize, sink: &mut S) -> Result<()> {
        let (blob, covered) = self.level(height)?.finish(height as u8);
        let id = sink.save(blob)?;
        let above = self.level(height + 1)?;
        // Unlike chunks, each list has a place of its own, in order: a list of lists is read by position.
        above.table.append(id);
        varint::put(&mut above.items, covered);
        above.count += 1;
        above.bytes += covered;
        above.last = Some(id);
        if (above.count >= LISTS_MIN && bits(&id) & LIST_MASK == 0) || above.count >= ITEMS_MAX {
            self.finish_list(height + 1, sink)?;
        }
        Ok(())
    }

    fn level(&mut self, height: usize) -> Result<&mut ListWriter> {
        if height > usize::from(LIST_HEIGHT_MAX) {
            return Err(Error::Invalid(
                "A list of chunks would be higher than the format allows".to_owned(),
            ));
        }
        while self.levels.len() <= height {
            self.levels.push(ListWriter::default());
        }
        Ok(&mut self.levels[height])
    }
}

impl ListWriter {
    fn finish(&mut self, height: u8) -> (Vec<u8>, u64) {
        let mut blob = Vec::with_capacity(2 + self.table.size() + self.items.len());
        blob.extend_from_slice(&[kinds::LIST, height]);
        self.table.finish(&mut blob);
        blob.append(&mut self.items);
        let covered = self.bytes;
        (self.count, self.bytes, self.last) = (0, 0, None);
        (blob, covered)
    }
}

fn bits(id: &BlobId) -> u16 {
    u16::from_le_bytes([id.0[0], id.0[1]])
}

/// A list, by height: its table, and the bytes of its items.
#[derive(Clone, Debug)]
pub struct List {
    /// 0: of extents; more: of lists, of one less each.
    pub height: u8,
    table: Table,
    items: Bytes,
}

impl List {
    /// Reads the frame of a list; its items are checked as they are read.
    ///
    /// # Errors
    /// [`Malformed`] when the blob is not a list, is too high, or its table is longer than it.
    pub fn parse(blob: &Bytes) -> Decoded<Self> {
        let mut input = Input::new(blob);
        if input.byte()? != kinds::LIST {
            return Err(Malformed("it is not a list"));
        }
        let height = input.byte()?;
        if height > LIST_HEIGHT_MAX {
            return Err(Malformed("its height is over 8"));
        }
        let table = Table::parse(blob, &mut input)?;
        let items = blob.slice_ref(input.rest());
        Ok(Self { height, table, items })
    }

    /// The ids it refers to: of chunks at height 0, else of lists.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

/// A list on the way down.
#[derive(Debug)]
struct Frame {
    id: BlobId,
    list: List,
    /// Where the next item is in the bytes, and how many have been passed.
    at: usize,
    passed: u64,
    /// Where the bytes begin that the next item stands for, and where those of this list end.
    offset: u64,
    end: u64,
}

/// Expands a [`Content::List`] into extents, one at a time, each with the offset where it begins in the file.
#[derive(Debug)]
pub struct ListReader<S> {
    source: S,
    root: BlobId,
    size: u64,
    frames: Vec<Frame>,
    started: bool,
    failed: bool,
}

impl<S: TreeSource> ListReader<S> {
    /// Reads the list `root` of a file of that size from its beginning.
    pub fn new(source: S, root: BlobId, size: u64) -> Self {
        Self {
            source,
            root,
            size,
            frames: Vec::new(),
            started: false,
            failed: false,
        }
    }

    /// Goes to the extent that holds the byte at `offset`, loading only the lists on the way; beyond the size, to the end.
    ///
    /// # Errors
    /// What the source says, and [`Error::Damaged`].
    pub fn seek(&mut self, offset: u64) -> Result<()> {
        let done = self.go_to(offset);
        self.failed |= done.is_err();
        done
    }

    fn go_to(&mut self, target: u64) -> Result<()> {
        (self.started, self.failed) = (false, false);
        self.frames.clear();
        if target >= self.size {
            self.started = true;
            return Ok(());
        }
        self.start()?;
        while let Some(frame) = self.frames.last_mut() {
            let before = (frame.at, frame.passed, frame.offset);
            let Some(item) = frame.next().map_err(|malformed| malformed.of(&frame.id))? else {
                return Err(Malformed("it covers less than it should").of(&frame.id));
            };
            if frame.offset <= target {
                continue;
            }
            match item {
                Item::Extent(_) => {
                    (frame.at, frame.passed, frame.offset) = before;
                    return Ok(());
                }
                Item::List(id, covered) => {
                    let (height, end) = (frame.list.height, frame.offset);
                    self.descend(id, Some(height), end - covered, end)?;
                }
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        self.started = true;
        self.descend(self.root, None, 0, self.size)
    }

    fn descend(&mut self, id: BlobId, below: Option<u8>, offset: u64, end: u64) -> Result<()> {
        let blob = self.source.load(&id)?;
        let list = List::parse(&blob).map_err(|malformed| malformed.of(&id))?;
        if below.is_some_and(|above| list.height + 1 != above) {
            return Err(Malformed("its height is not one less than that of the list above it").of(&id));
        }
        self.frames.push(Frame {
            id,
            list,
            at: 0,
            passed: 0,
            offset,
            end,
        });
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(u64, Extent)>> {
        if !self.started {
            self.start()?;
        }
        while let Some(frame) = self.frames.last_mut() {
            let offset = frame.offset;
            match frame.next().map_err(|malformed| malformed.of(&frame.id))? {
                Some(Item::Extent(extent)) => return Ok(Some((offset, extent))),
                Some(Item::List(id, _)) => {
                    let (height, end) = (frame.list.height, frame.offset);
                    self.descend(id, Some(height), offset, end)?;
                }
                None => drop(self.frames.pop()),
            }
        }
        Ok(None)
    }
}

enum Item {
    Extent(Extent),
    List(BlobId, u64),
}

impl Frame {
    /// The next item; at the end, that the list covers what it should.
    fn next(&mut self) -> Decoded<Option<Item>> {
        let mut input = Input::new(self.list.items.get(self.at..).unwrap_or_default());
        if input.is_empty() {
            let whole =
                self.offset == self.end && (self.list.height == 0 || self.passed == self.list.table.len() as u64);
            return if whole {
                Ok(None)
            } else {
                Err(Malformed("it does not cover what it should"))
            };
        }
        let (item, length) = if self.list.height == 0 {
            let extent = read_extent(&mut input, &self.list.table)?;
            (Item::Extent(extent), extent.length())
        } else {
            let covered = input.number()?;
            if covered == 0 {
                return Err(Malformed("a list in it has no bytes"));
            }
            (Item::List(self.list.table.id(self.passed)?, covered), covered)
        };
        match self.offset.checked_add(length) {
            Some(offset) if offset <= self.end => self.offset = offset,
            Some(_) | None => return Err(Malformed("it covers more than it should")),
        }
        self.at = self.list.items.len() - input.rest().len();
        self.passed += 1;
        Ok(Some(item))
    }
}

impl<S: TreeSource> Iterator for ListReader<S> {
    type Item = Result<(u64, Extent)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.step();
        self.failed |= next.is_err();
        next.transpose()
    }
}
