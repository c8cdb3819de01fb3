//! How a run is laid out: its footer, its records, its table of contents. Pure.
//!
//! Files are this machine's alone, disposable, and in no format of the repository: another version of Ararat, or a flipped bit, and they are
//! made anew from segments.
//!
//! ```text
//! packs     blocks of 80-byte records by rising name (see `PackRecord`)
//! sessions  blocks of session ids: the key sessions of packs that have others than their own
//! entries   blocks of 32-byte entries as in a segment, by rising id, pack and ordinal; packs are numbered by their place above
//! filter    one Bloom filter over all ids; absent in memory
//! meta      u64 per block of entries: the first eight bytes of its first id, as a big-endian number; [20] per block of packs: its first name;
//!           u32 number of segments merged, and for each u32 length of its name, the name
//! footer    [256], see `Footer`
//! ```

use super::block::Table;
use crate::format::codec::Fields;
use crate::format::segment::{ENTRY, PackInfo, SegmentEntry};
use crate::words::{BlobKind, PackName, SessionId};

const MAGIC: [u8; 8] = *b"ARRTRUN1";
pub(super) const FOOTER: usize = 256;
pub(super) const PACK: usize = 80;
pub(super) const SESSION: usize = 16;

/// What the end of a run says about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) packs: u64,
    pub(super) sessions: u64,
    pub(super) entries: u64,
    pub(super) filter_bytes: u64,
    pub(super) filter_hashes: u32,
    pub(super) filter_hash: [u8; 32],
    pub(super) meta_bytes: u64,
    pub(super) meta_hash: [u8; 32],
}

impl Footer {
    pub(super) fn to_bytes(self) -> [u8; FOOTER] {
        let mut bytes = Vec::with_capacity(FOOTER);
        bytes.extend_from_slice(&MAGIC);
        for number in [
            self.packs,
            self.sessions,
            self.entries,
            self.filter_bytes,
            self.meta_bytes,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.filter_hashes.to_le_bytes());
        bytes.extend_from_slice(&self.filter_hash);
        bytes.extend_from_slice(&self.meta_hash);
        bytes.resize(FOOTER - 32, 0);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        let mut footer = [0; FOOTER];
        footer.copy_from_slice(&bytes);
        footer
    }

    pub(super) fn parse(bytes: &[u8; FOOTER]) -> Option<Self> {
        let (rest, hash) = bytes.split_last_chunk::<32>()?;
        let mut fields = Fields::new(rest);
        if blake3::hash(rest).as_bytes() != hash || fields.array()? != MAGIC {
            return None;
        }
        let (packs, sessions, entries) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (filter_bytes, meta_bytes) = (fields.u64()?, fields.u64()?);
        Some(Self {
            packs,
            sessions,
            entries,
            filter_bytes,
            filter_hashes: fields.u32()?,
            filter_hash: fields.array()?,
            meta_bytes,
            meta_hash: fields.array()?,
        })
    }
}

/// A pack as a run keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackRecord {
    pub(super) name: PackName,
    pub(super) contents: u8,
    pub(super) size: u32,
    pub(super) blobs: u32,
    pub(super) table_offset: u32,
    pub(super) table_length: u32,
    pub(super) hash: [u8; 32],
    /// Its only key session is its own: the usual case, kept without a list.
    pub(super) own: bool,
    pub(super) sessions_at: u32,
    pub(super) sessions: u16,
}

impl PackRecord {
    /// The record of a pack whose list, if it has one, begins at `sessions_at`.
    pub(super) fn new(info: &PackInfo, sessions_at: u32) -> Self {
        let own = info.key_sessions == [info.name.session];
        Self {
            name: info.name,
            contents: info.contents,
            size: info.size,
            blobs: info.blobs,
            table_offset: info.table_offset,
            table_length: info.table_length,
            hash: info.hash,
            own,
            sessions_at,
            // Segments count them in 16 bits.
            sessions: if own { 0 } else { info.key_sessions.len() as u16 },
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PACK);
        bytes.extend_from_slice(&self.name.session.0);
        bytes.extend_from_slice(&self.name.number.to_le_bytes());
        bytes.extend_from_slice(&[self.contents, u8::from(self.own), 0, 0]);
        for number in [self.size, self.blobs, self.table_offset, self.table_length] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.sessions_at.to_le_bytes());
        bytes.extend_from_slice(&self.sessions.to_le_bytes());
        bytes.resize(PACK, 0);
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let name = PackName {
            session: SessionId(fields.array()?),
            number: fields.u32()?,
        };
        let [contents, own, _, _] = fields.array()?;
        Some(Self {
            name,
            contents,
            own: own == 1,
            size: fields.u32()?,
            blobs: fields.u32()?,
            table_offset: fields.u32()?,
            table_length: fields.u32()?,
            hash: fields.array()?,
            sessions_at: fields.u32()?,
            sessions: fields.u16()?,
        })
    }
}

/// An entry as a segment and a run write it.
pub(super) fn entry_bytes(entry: &SegmentEntry) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..16].copy_from_slice(&entry.prefix);
    bytes[16..20].copy_from_slice(&entry.pack.to_le_bytes());
    bytes[20..24].copy_from_slice(&entry.offset.to_le_bytes());
    bytes[24..28].copy_from_slice(&entry.length.to_le_bytes());
    bytes[28..30].copy_from_slice(&entry.ordinal.to_le_bytes());
    bytes[30] = entry.kind as u8;
    bytes
}

pub(super) fn parse_entry(bytes: &[u8]) -> Option<SegmentEntry> {
    let mut fields = Fields::new(bytes);
    Some(SegmentEntry {
        prefix: fields.array()?,
        pack: fields.u32()?,
        offset: fields.u32()?,
        length: fields.u32()?,
        ordinal: fields.u16()?,
        kind: BlobKind::from_u8(fields.u8()?)?,
    })
}

/// The number that blocks of entries are found by.
pub(super) fn top(prefix: &[u8; 16]) -> u64 {
    (u128::from_be_bytes(*prefix) >> 64) as u64
}

/// Where the tables of a run are; nothing if that cannot be.
pub(super) fn tables(footer: &Footer) -> Option<(Table, Table, Table)> {
    // No count can be so large that places overflow: a file has less than 2^50 bytes.
    let counts = [
        footer.packs,
        footer.sessions,
        footer.entries,
        footer.filter_bytes,
        footer.meta_bytes,
    ];
    if counts.iter().any(|count| *count > 1 << 40) || footer.packs > u64::from(u32::MAX) {
        return None;
    }
    let packs = Table {
        first: 0,
        count: footer.packs,
        width: PACK,
    };
    let sessions = Table {
        first: packs.end(),
        count: footer.sessions,
        width: SESSION,
    };
    let entries = Table {
        first: sessions.end(),
        count: footer.entries,
        width: ENTRY,
    };
    Some((packs, sessions, entries))
}

/// A run's table of contents.
pub(super) struct Meta {
    pub(super) entry_tops: Vec<u64>,
    pub(super) pack_tops: Vec<PackName>,
    pub(super) names: Vec<String>,
}

/// The table of contents as it is stored.
pub(super) fn meta_bytes(entry_tops: &[u64], pack_tops: &[PackName], names: &[String]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 * entry_tops.len() + 20 * pack_tops.len() + 64 * names.len() + 4);
    for top in entry_tops {
        bytes.extend_from_slice(&top.to_le_bytes());
    }
    for name in pack_tops {
        bytes.extend_from_slice(&name.session.0);
        bytes.extend_from_slice(&name.number.to_le_bytes());
    }
    bytes.extend_from_slice(&(names.len() as u32).to_le_bytes());
    for name in names {
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

pub(super) fn parse_meta(bytes: &[u8], entry_blocks: u64, pack_blocks: u64) -> Option<Meta> {
    let mut fields = Fields::new(bytes);
    let tops = fields.take(usize::try_from(entry_blocks).ok()?.checked_mul(8)?)?;
    let entry_tops = tops
        .as_chunks::<8>()
        .0
        .iter()
        .map(|top| u64::from_le_bytes(*top))
        .collect();
    let mut packs = Fields::new(fields.take(usize::try_from(pack_blocks).ok()?.checked_mul(20)?)?);
    let mut pack_tops = Vec::with_capacity(pack_blocks as usize);
    while !packs.rest().is_empty() {
        pack_tops.push(PackName {
            session: SessionId(packs.array()?),
            number: packs.u32()?,
        });
    }
    let count = fields.u32()?;
    let mut names = Vec::new();
    for _ in 0..count {
        let length = fields.u32()? as usize;
        names.push(String::from_utf8(fields.take(length)?.to_vec()).ok()?);
    }
    fields.rest().is_empty().then_some(Meta {
        entry_tops,
        pack_tops,
        names,
    })
}
