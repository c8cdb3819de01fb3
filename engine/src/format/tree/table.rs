//! The table of blob ids at the head of leaves and lists, and the extents that point into it (FORMAT.md, 6.2).

use bytes::Bytes;
use hashbrown::HashMap;

use super::entry::Extent;
use super::varint::{self, Decoded, Input, Malformed};
use crate::words::BlobId;

/// The most bytes of a chunk, and of every other blob.
pub const BLOB_MAX: u64 = 16 << 20;

const NO_PLACE: Malformed = Malformed("it names a blob that is not in its table");

/// The ids that a leaf or list refers to, by place; the bytes are those of the blob.
#[derive(Clone, Debug)]
pub struct Table(Bytes);

impl Table {
    /// Reads `varint n, n blob ids` of `blob` and gives the place where they end.
    pub fn parse(blob: &Bytes, input: &mut Input<'_>) -> Decoded<Self> {
        let ids = input.number()?;
        let bytes = ids
            .checked_mul(BlobId::LENGTH as u64)
            .ok_or(Malformed("its table is longer than the blob"))?;
        Ok(Self(blob.slice_ref(input.take(bytes)?)))
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.0.len() / BlobId::LENGTH
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All ids in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BlobId> + '_ {
        self.0.chunks_exact(BlobId::LENGTH).map(|bytes| {
            let mut id = [0; BlobId::LENGTH];
            id.copy_from_slice(bytes);
            BlobId(id)
        })
    }

    /// The id at a place.
    pub fn id(&self, place: u64) -> Decoded<BlobId> {
        let at = usize::try_from(place)
            .ok()
            .and_then(|place| place.checked_mul(BlobId::LENGTH))
            .ok_or(NO_PLACE)?;
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk()).ok_or(NO_PLACE)?;
        Ok(BlobId(*bytes))
    }
}

/// Collects the ids of a leaf or list that is being written, each once.
#[derive(Debug, Default)]
pub struct TableWriter {
    ids: Vec<u8>,
    places: HashMap<BlobId, u64>,
    last: Option<(BlobId, u64)>,
}

impl TableWriter {
    /// The place of an id, which is added if it is not there.
    pub fn place(&mut self, id: BlobId) -> u64 {
        // Neighbours share slabs, so the last one is asked for again most of the time.
        if let Some((last, place)) = self.last
            && last == id
        {
            return place;
        }
        let next = self.len();
        let place = *self.places.entry(id).or_insert(next);
        if place == next {
            self.ids.extend_from_slice(&id.0);
        }
        self.last = Some((id, place));
        place
    }

    /// Adds an id at a place of its own, even if it is there already.
    pub fn append(&mut self, id: BlobId) {
        self.ids.extend_from_slice(&id.0);
    }

    /// The bytes that [`TableWriter::finish`] will append.
    pub fn size(&self) -> usize {
        varint::length(self.len()) + self.ids.len()
    }

    fn len(&self) -> u64 {
        (self.ids.len() / BlobId::LENGTH) as u64
    }

    /// Appends the table to `out` and forgets it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        varint::put(out, self.len());
        out.extend_from_slice(&self.ids);
        self.ids.clear();
        self.places.clear();
        self.last = None;
    }
}

/// Appends one extent.
pub fn put_extent(out: &mut Vec<u8>, table: &mut TableWriter, extent: &Extent) {
    match extent {
        Extent::Hole { length } => {
            varint::put(out, 0);
            varint::put(out, *length);
        }
        Extent::Chunk { blob, length } => {
            varint::put(out, table.place(*blob) + 1);
            varint::put(out, u64::from(*length));
        }
    }
}

/// Reads one extent.
pub fn read_extent(input: &mut Input<'_>, table: &Table) -> Decoded<Extent> {
    let place = input.number()?;
    let length = input.number()?;
    if length == 0 {
        return Err(Malformed("a chunk or hole has no bytes"));
    }
    match place.checked_sub(1) {
        None => Ok(Extent::Hole { length }),
        Some(_) if length > BLOB_MAX => Err(Malformed("a chunk is longer than 16 MiB")),
        Some(place) => Ok(Extent::Chunk {
            blob: table.id(place)?,
            length: length as u32,
        }),
    }
}

impl Extent {
    /// How many bytes of the file it stands for.
    pub fn length(&self) -> u64 {
        match self {
            Self::Hole { length } => *length,
            Self::Chunk { length, .. } => u64::from(*length),
        }
    }
}
