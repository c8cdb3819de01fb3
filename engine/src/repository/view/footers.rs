//! What packs say of themselves, for where no segment does (FORMAT.md, 4 and 8).

use bytes::Bytes;

use crate::format::envelope::{self, Access, Kind};
use crate::format::pack::{self, TableEntry};
use crate::format::segment::PackInfo;
use crate::repository::Repository;
use crate::words::{Error, PackName, Result};

/// So much of the end of a pack usually holds its table, padding and footer.
const TAIL: u64 = 128 << 10;

/// A pack and its blobs, as a segment names them.
pub(in crate::repository) type PackContents = (PackInfo, Vec<TableEntry>);

impl Repository {
    /// What is in these packs, whose lengths are known, by their footers and tables; in their order. All are asked at once.
    pub(in crate::repository) fn pack_contents(&self, packs: &[(PackName, u64)]) -> Vec<Result<PackContents>> {
        let starts = packs
            .iter()
            .map(|(pack, _)| (pack.object(), Some(0..pack::START as u64)));
        let tails = packs
            .iter()
            .map(|(pack, size)| (pack.object(), Some(size.saturating_sub(TAIL)..*size)));
        let starts = self.store.get_many(starts.collect());
        let tails = self.store.get_many(tails.collect());
        let read = packs.iter().zip(starts.into_iter().zip(tails));
        read.map(|((pack, size), (start, tail))| self.contents_of(*pack, *size, &start?, &tail?))
            .collect()
    }

    fn contents_of(&self, pack: PackName, size: u64, start: &Bytes, tail: &Bytes) -> Result<PackContents> {
        let name = pack.object();
        let damaged = |why: &str| Error::damaged(&name, why);
        let (header, _) = envelope::check_start(&name, Kind::Pack, Access::Read, start)?;
        let contents = start
            .get(envelope::HEADER + 36)
            .ok_or_else(|| damaged("it is too short for a pack"))?;
        let footer = pack::footer(pack, size, tail)?;
        let until = footer.table_offset + u64::from(footer.table_length);
        let in_tail = footer.table_offset.checked_sub(size - tail.len() as u64);
        let sealed = match in_tail.and_then(|at| tail.get(at as usize..at as usize + footer.table_length as usize)) {
            Some(sealed) => sealed.to_vec(),
            None => self.fetch(&pack, footer.table_offset..until)?.to_vec(),
        };
        let table = pack::table(self.id(), pack, header, &footer, &sealed, &self.keys.index)?;
        let info = PackInfo {
            name: pack,
            contents: *contents,
            size: u32::try_from(size).map_err(|_| damaged("it is larger than any pack"))?,
            blobs: footer.blobs,
            table_offset: u32::try_from(footer.table_offset).map_err(|_| damaged("its table lies outside of it"))?,
            table_length: footer.table_length,
            hash: *tail.last_chunk().ok_or_else(|| damaged("it is too short for a pack"))?,
            key_sessions: table.key_sessions,
        };
        Ok((info, table.entries))
    }
}
