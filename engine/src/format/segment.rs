//! Index segments: which blobs are in which packs (FORMAT.md, 8). Fixed-width, sorted by id.

use super::codec::Fields;
use super::pack::TableEntry;
use crate::words::{BlobKind, Error, PackName, Result, SessionId};

/// Bytes of an entry.
pub const ENTRY: usize = 32;

/// What the index keeps of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub name: PackName,
    /// Bit 0: data, bit 1: trees.
    pub contents: u8,
    /// Bytes of the object.
    pub size: u32,
    /// How many blobs it has.
    pub blobs: u32,
    /// Where its table begins.
    pub table_offset: u32,
    /// The sealed length of its table.
    pub table_length: u32,
    /// Its last 32 bytes.
    pub hash: [u8; 32],
    /// Sessions whose keys seal its blobs.
    pub key_sessions: Vec<SessionId>,
}

/// Where a blob is in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// The first half of its id.
    pub prefix: [u8; 16],
    /// The place of its pack in the segment's list.
    pub pack: u32,
    /// Where it begins in the object.
    pub offset: u32,
    /// Its stored length.
    pub length: u32,
    /// Its number in the pack.
    pub ordinal: u16,
    /// What it holds.
    pub kind: BlobKind,
}

/// A segment that has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The packs.
    pub packs: Vec<PackInfo>,
    /// The blobs, by rising id.
    pub entries: Vec<SegmentEntry>,
}

/// A segment in the making.
#[derive(Clone, Debug, Default)]
pub struct SegmentBuilder {
    packs: Vec<PackInfo>,
    entries: Vec<SegmentEntry>,
}

impl SegmentBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pack by its table.
    pub fn add(&mut self, info: PackInfo, table: &[TableEntry]) {
        let pack = self.packs.len() as u32;
        self.packs.push(info);
        self.entries
            .extend(table.iter().enumerate().map(|(ordinal, entry)| SegmentEntry {
                prefix: entry.id.prefix(),
                pack,
                offset: entry.offset,
                length: entry.length,
                ordinal: ordinal as u16,
                kind: entry.kind,
            }));
    }

    /// Adds a pack by entries of another segment.
    pub fn add_entries(&mut self, info: PackInfo, entries: &[SegmentEntry]) {
        let pack = self.packs.len() as u32;
        self.packs.push(info);
        self.entries
            .extend(entries.iter().map(|entry| SegmentEntry { pack, ..*entry }));
    }

    /// How many blobs it has.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether a pack is in it.
    pub fn has_pack(&self, pack: &PackName) -> bool {
        self.packs.iter().any(|info| info.name == *pack)
    }

    /// How many bytes [`SegmentBuilder::finish`] will give.
    pub fn encoded_length(&self) -> usize {
        8 + self
            .packs
            .iter()
            .map(|pack| 74 + 16 * pack.key_sessions.len())
            .sum::<usize>()
            + self.entries.len() * ENTRY
    }

    /// The plaintext of FORMAT.md, 8.
    pub fn finish(mut self) -> Vec<u8> {
        self.entries
            .sort_unstable_by_key(|entry| (entry.prefix, entry.pack, entry.ordinal));
        let mut bytes = Vec::with_capacity(self.encoded_length());
        bytes.extend_from_slice(&(self.packs.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for pack in &self.packs {
            bytes.extend_from_slice(&pack.name.session.0);
            bytes.extend_from_slice(&pack.name.number.to_le_bytes());
            bytes.extend_from_slice(&[pack.contents, 0, 0, 0]);
            for number in [pack.size, pack.blobs, pack.table_offset, pack.table_length] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&pack.hash);
            bytes.extend_from_slice(&(pack.key_sessions.len() as u16).to_le_bytes());
            pack.key_sessions
                .iter()
                .for_each(|session| bytes.extend_from_slice(&session.0));
        }
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.prefix);
            for number in [entry.pack, entry.offset, entry.length] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&entry.ordinal.to_le_bytes());
            bytes.extend_from_slice(&[entry.kind as u8, 0]);
        }
        bytes
    }
}

impl Segment {
    /// Reads the plaintext of the segment `name`.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn decode(name: &str, plaintext: &[u8]) -> Result<Self> {
        Self::parse(plaintext).ok_or_else(|| Error::damaged(name, "its packs or entries do not parse"))
    }

    fn parse(plaintext: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(plaintext);
        let (packs, entries) = (fields.u32()? as usize, fields.u32()? as usize);
        let mut segment = Self::default();
        for _ in 0..packs {
            let name = PackName {
                session: SessionId(fields.array()?),
                number: fields.u32()?,
            };
            let [contents, _, _, _] = fields.array()?;
            let (size, blobs, table_offset, table_length) =
                (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
            let hash = fields.array()?;
            let keys = fields.u16()?;
            let key_sessions = (0..keys)
                .map(|_| fields.array().map(SessionId))
                .collect::<Option<Vec<_>>>()?;
            segment.packs.push(PackInfo {
                name,
                contents,
                size,
                blobs,
                table_offset,
                table_length,
                hash,
                key_sessions,
            });
        }
        if fields.rest().len() != entries.checked_mul(ENTRY)? {
            return None;
        }
        segment.entries.reserve(entries);
        for _ in 0..entries {
            let entry = SegmentEntry {
                prefix: fields.array()?,
                pack: fields.u32()?,
                offset: fields.u32()?,
                length: fields.u32()?,
                ordinal: fields.u16()?,
                kind: BlobKind::from_u8(fields.u8()?)?,
            };
            fields.u8()?;
            let pack = segment.packs.get(entry.pack as usize)?;
            let sorted = segment.entries.last().is_none_or(|last| last.prefix <= entry.prefix);
            if !sorted || u64::from(entry.offset) + u64::from(entry.length) > u64::from(pack.size) {
                return None;
            }
            segment.entries.push(entry);
        }
        Some(segment)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), packs in 0u32..3, entries in 0u32..6) {
            for (place, byte) in packs.to_le_bytes().into_iter().chain(entries.to_le_bytes()).enumerate() {
                if let Some(at) = bytes.get_mut(place) {
                    *at = byte;
                }
            }
            let _ = Segment::decode("x", &bytes);
        }
    }

    #[test]
    fn a_segment_comes_back_and_a_cut_one_does_not() {
        let info = PackInfo {
            name: PackName {
                session: SessionId([1; 16]),
                number: 2,
            },
            contents: 3,
            size: 1000,
            blobs: 2,
            table_offset: 500,
            table_length: 124,
            hash: [7; 32],
            key_sessions: vec![SessionId([1; 16])],
        };
        let entry = |byte, ordinal| SegmentEntry {
            prefix: [byte; 16],
            pack: 0,
            offset: 72,
            length: 100,
            ordinal,
            kind: BlobKind::Data,
        };
        let mut builder = SegmentBuilder::new();
        builder.add_entries(info.clone(), &[entry(9, 0), entry(3, 1)]);
        let length = builder.encoded_length();
        let bytes = builder.finish();
        assert_eq!(bytes.len(), length);
        let segment = Segment::decode("x", &bytes).unwrap();
        assert_eq!(segment.packs, [info]);
        assert_eq!(segment.entries, [entry(3, 1), entry(9, 0)]);
        for cut in 0..bytes.len() {
            assert!(Segment::decode("x", &bytes[..cut]).is_err());
        }
    }
}
