//! The layout of packs (FORMAT.md, 5): header, blobs, sealed table, padding, footer.

use super::codec::Fields;
use super::envelope::{self, Kind};
use super::object::Binding;
use crate::crypto::{Secret, aead};
use crate::words::{BlobId, BlobKind, Error, PackName, RepositoryId, Result, SessionId};

/// Bytes before the first blob.
pub const START: usize = envelope::HEADER + 40;
/// Bytes from the footer to the end of the object.
pub const FOOTER: usize = 16 + envelope::HASH;
/// No pack has more blobs.
pub const BLOBS_MAX: usize = 65_535;
const ENTRY: usize = 48;
const PADDING_UNIT_MAX: u64 = 65_536;

/// One blob in a pack's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The blob.
    pub id: BlobId,
    /// What it holds.
    pub kind: BlobKind,
    /// Where it begins, from the start of the object.
    pub offset: u32,
    /// Its stored length.
    pub length: u32,
    /// The length of its plaintext.
    pub plaintext: u32,
    /// The place of its key's session in the table's list.
    pub key: u16,
}

/// A pack's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Sessions whose keys seal the blobs.
    pub key_sessions: Vec<SessionId>,
    /// The blobs; an entry's place is the blob's ordinal.
    pub entries: Vec<TableEntry>,
}

/// Where a pack's table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// From the start of the object.
    pub table_offset: u64,
    /// Sealed length.
    pub table_length: u32,
    /// How many blobs.
    pub blobs: u32,
}

/// The bytes before the first blob; the length in the header is filled in by [`finish`].
pub fn start(repository: RepositoryId, pack: PackName) -> Vec<u8> {
    let mut object = envelope::header(Kind::Pack, true, 0).to_vec();
    object.extend_from_slice(&repository.0);
    object.extend_from_slice(&pack.session.0);
    object.extend_from_slice(&pack.number.to_le_bytes());
    object.extend_from_slice(&[0; 4]);
    object
}

/// Completes a pack whose blobs have been appended to what [`start`] gave. Gives the object and where its table is.
pub fn finish(
    mut object: Vec<u8>,
    repository: RepositoryId,
    pack: PackName,
    table: &Table,
    padding: bool,
    index: &Secret,
) -> (Vec<u8>, Footer) {
    let plaintext = table.encode();
    let footer = Footer {
        table_offset: object.len() as u64,
        table_length: (plaintext.len() + aead::OVERHEAD) as u32,
        blobs: table.entries.len() as u32,
    };
    let bare = object.len() + footer.table_length as usize + FOOTER;
    let whole = if padding { padded(bare as u64) as usize } else { bare };
    let contents = table.entries.iter().fold(0, |bits, entry| bits | 1 << entry.kind as u8);
    object[envelope::HEADER + 36] = contents;
    let header = envelope::header(Kind::Pack, true, (whole - envelope::HEADER - envelope::HASH) as u64);
    object[..envelope::HEADER].copy_from_slice(&header);
    let name = pack.object();
    let binding = Binding {
        repository,
        kind: Kind::Pack,
        name: &name,
    };
    object.extend_from_slice(&binding.seal(index, &header, 0, &plaintext));
    object.resize(whole - FOOTER, 0);
    object.extend_from_slice(&footer.table_offset.to_le_bytes());
    object.extend_from_slice(&footer.table_length.to_le_bytes());
    object.extend_from_slice(&footer.blobs.to_le_bytes());
    (envelope::finish(object), footer)
}

/// The length that an object of `bare` bytes is padded to: PADMÉ with a unit of at most 64 KiB.
pub fn padded(bare: u64) -> u64 {
    let exponent = bare.max(2).ilog2();
    let unit = 1u64 << (exponent - (exponent.ilog2() + 1).min(exponent));
    bare.next_multiple_of(unit.min(PADDING_UNIT_MAX))
}

/// Reads the footer from the last [`FOOTER`] bytes of a pack of `size` bytes.
///
/// # Errors
/// [`Error::Damaged`].
pub fn footer(pack: PackName, size: u64, tail: &[u8]) -> Result<Footer> {
    let damaged = || Error::damaged(pack.object(), "its footer points outside of it");
    let mut fields = Fields::new(tail.last_chunk::<FOOTER>().ok_or_else(damaged)?);
    let (Some(table_offset), Some(table_length), Some(blobs)) = (fields.u64(), fields.u32(), fields.u32()) else {
        return Err(damaged());
    };
    let end = table_offset
        .checked_add(u64::from(table_length))
        .and_then(|end| end.checked_add(FOOTER as u64));
    if end.is_none_or(|end| end > size) || table_offset < START as u64 || blobs as usize > BLOBS_MAX {
        return Err(damaged());
    }
    Ok(Footer {
        table_offset,
        table_length,
        blobs,
    })
}

/// Opens a pack's table, given its header and the sealed bytes that the footer points to.
///
/// # Errors
/// [`Error::Damaged`].
pub fn table(
    repository: RepositoryId,
    pack: PackName,
    header: &[u8],
    footer: &Footer,
    sealed: &[u8],
    index: &Secret,
) -> Result<Table> {
    let name = pack.object();
    let plaintext = Binding {
        repository,
        kind: Kind::Pack,
        name: &name,
    }
    .open(index, header, 0, sealed)?;
    Table::decode(&plaintext, footer).ok_or_else(|| Error::damaged(name, "its table does not parse"))
}

impl Table {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = (self.key_sessions.len() as u16).to_le_bytes().to_vec();
        self.key_sessions
            .iter()
            .for_each(|session| bytes.extend_from_slice(&session.0));
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.id.0);
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.length.to_le_bytes());
            bytes.extend_from_slice(&entry.plaintext.to_le_bytes());
            bytes.extend_from_slice(&entry.key.to_le_bytes());
            bytes.extend_from_slice(&[entry.kind as u8, 0]);
        }
        bytes
    }

    fn decode(bytes: &[u8], footer: &Footer) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let sessions = fields.u16()?;
        let key_sessions = (0..sessions)
            .map(|_| fields.array().map(SessionId))
            .collect::<Option<Vec<_>>>()?;
        if fields.rest().len() != footer.blobs as usize * ENTRY {
            return None;
        }
        let mut entries = Vec::with_capacity(footer.blobs as usize);
        for _ in 0..footer.blobs {
            let entry = TableEntry {
                id: BlobId(fields.array()?),
                offset: fields.u32()?,
                length: fields.u32()?,
                plaintext: fields.u32()?,
                key: fields.u16()?,
                kind: BlobKind::from_u8(fields.u8()?)?,
            };
            fields.u8()?;
            let end = u64::from(entry.offset) + u64::from(entry.length);
            if end > footer.table_offset || (entry.offset as usize) < START || entry.key >= sessions {
                return None;
            }
            entries.push(entry);
        }
        Some(Self { key_sessions, entries })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn padding_costs_at_most_an_eighth_and_little_for_large_packs() {
        for bare in [1u64, 2, 100, 1_000, 33_000, 1 << 20, (32 << 20) + 1] {
            let whole = padded(bare);
            assert!(
                whole >= bare && whole - bare <= (bare / 8).clamp(1, PADDING_UNIT_MAX),
                "{bare} {whole}"
            );
        }
    }

    #[test]
    fn a_table_comes_back_from_the_end_of_its_pack() {
        let (repository, index) = (RepositoryId([1; 16]), Secret::random());
        let pack = PackName {
            session: SessionId([2; 16]),
            number: 3,
        };
        let mut object = start(repository, pack);
        let offset = object.len() as u32;
        object.extend_from_slice(&[9; 100]);
        let entry = TableEntry {
            id: BlobId([4; 32]),
            kind: BlobKind::Tree,
            offset,
            length: 100,
            plaintext: 71,
            key: 0,
        };
        let table = Table {
            key_sessions: vec![pack.session],
            entries: vec![entry],
        };
        for padding in [false, true] {
            let (object, _) = finish(object.clone(), repository, pack, &table, padding, &index);
            assert!(envelope::hash_fits(&object));
            assert_eq!(object[envelope::HEADER + 36], 2);
            let found = footer(pack, object.len() as u64, &object[object.len() - FOOTER..]).unwrap();
            let sealed = &object[found.table_offset as usize..][..found.table_length as usize];
            let read = super::table(repository, pack, &object[..envelope::HEADER], &found, sealed, &index).unwrap();
            assert_eq!(read, table);
        }
    }
}
