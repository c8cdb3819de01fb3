//! A run: one or several segments merged into one immutable, sorted whole, in memory or in a file of the cache folder.
//!
//! A look-up in a file reads one block, or none when the filter says so; in memory are only the first id of each block, and the filter once
//! it is worth its reading. `layout.rs` draws the file.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::block::{BLOCK, Buffer, Bytes, Records, Table};
use super::filter::Filter;
use super::layout::{FOOTER, Footer, PACK, PackRecord, parse_entry, parse_meta, tables, top};
use crate::format::segment::{ENTRY, PackInfo, SegmentEntry};
use crate::words::{BlobKind, PackName, Result, SessionId};

/// A filter is read into memory after so many look-ups that read the file.
const FILTER_AFTER: u32 = 512;
/// How many packs a run remembers: look-ups come in streaks from one pack.
const HEADS: usize = 256;

/// One immutable, sorted set of packs and entries.
#[derive(Debug)]
pub(super) struct Run {
    bytes: Bytes,
    /// The segments that it holds.
    pub(super) names: Vec<String>,
    footer: Footer,
    packs: Table,
    sessions: Table,
    entries: Table,
    entry_tops: Vec<u64>,
    pack_tops: Vec<PackName>,
    filter: OnceLock<Option<Filter>>,
    reads: AtomicU32,
    /// A bit for each pack; made when the first is excluded.
    excluded: OnceLock<Box<[AtomicU64]>>,
    /// Names and sizes of packs that were asked for, by number modulo [`HEADS`].
    heads: Box<[Mutex<Option<(u32, PackName, u32)>>]>,
}

impl Run {
    /// Opens a run and verifies all of it but blocks and filter, which are verified as they are read.
    ///
    /// # Errors
    /// What the file system says; when the file is damaged, after which it is gone.
    pub(super) fn open(bytes: Bytes) -> Result<Self> {
        let damaged = || bytes.damaged("its footer does not fit");
        let length = bytes.length()?;
        let mut footer = [0; FOOTER];
        bytes.read(&mut footer, length.checked_sub(FOOTER as u64).ok_or_else(damaged)?)?;
        let footer = Footer::parse(&footer).ok_or_else(damaged)?;
        let (packs, sessions, entries) = tables(&footer).ok_or_else(damaged)?;
        let meta_at = entries.end() * BLOCK as u64 + footer.filter_bytes;
        if length != meta_at.saturating_add(footer.meta_bytes).saturating_add(FOOTER as u64) {
            return Err(damaged());
        }
        let mut meta = vec![0; footer.meta_bytes as usize];
        bytes.read(&mut meta, meta_at)?;
        if *blake3::hash(&meta).as_bytes() != footer.meta_hash {
            return Err(bytes.damaged("its table of contents does not have its checksum"));
        }
        let meta = parse_meta(&meta, entries.blocks(), packs.blocks()).ok_or_else(damaged)?;
        Ok(Self {
            names: meta.names,
            entry_tops: meta.entry_tops,
            pack_tops: meta.pack_tops,
            footer,
            packs,
            sessions,
            entries,
            filter: OnceLock::new(),
            reads: AtomicU32::new(0),
            excluded: OnceLock::new(),
            heads: (0..HEADS).map(|_| Mutex::new(None)).collect(),
            bytes,
        })
    }

    /// The file it is in, if it is in one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::Memory(_) => None,
            Bytes::File(_, path) => Some(path),
        }
    }

    /// How many bytes it takes, in memory or on disk.
    pub(super) fn length(&self) -> u64 {
        self.bytes.length().unwrap_or(0)
    }

    pub(super) fn pack_count(&self) -> u64 {
        self.packs.count
    }

    pub(super) fn entry_count(&self) -> u64 {
        self.entries.count
    }

    /// The first entry with this id and kind whose pack is not excluded.
    pub(super) fn find(&self, kind: BlobKind, prefix: &[u8; 16]) -> Result<Option<SegmentEntry>> {
        let wanted = top(prefix);
        if let Some(filter) = self.filter()
            && !filter.may_contain(prefix)
        {
            return Ok(None);
        }
        // The block before the first that begins with this number may end with it.
        let first = self.entry_tops.partition_point(|top| *top < wanted);
        let mut buffer = [0; BLOCK];
        for number in first.saturating_sub(1)..self.entry_tops.len() {
            if self.entry_tops[number] > wanted {
                break;
            }
            if let Some(entry) = self.find_in_block(number as u64, kind, prefix, &mut buffer)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Every entry of a blob outside of excluded packs.
    pub(super) fn find_all(&self, kind: BlobKind, prefix: &[u8; 16]) -> Result<Vec<SegmentEntry>> {
        let wanted = top(prefix);
        let mut found = Vec::new();
        let first = self.entry_tops.partition_point(|top| *top < wanted);
        let mut buffer = [0; BLOCK];
        for number in first.saturating_sub(1)..self.entry_tops.len() {
            if self.entry_tops[number] > wanted {
                break;
            }
            let block = self.bytes.block(self.entries.first + number as u64, &mut buffer)?;
            let (entries, _) = block.as_chunks::<ENTRY>();
            let entries = &entries[..self.entries.records_in(number as u64)];
            let start = entries.partition_point(|entry| entry[..16] < prefix[..]);
            for entry in entries[start..].iter().take_while(|entry| entry[..16] == prefix[..]) {
                let entry = parse_entry(entry).ok_or_else(|| self.bytes.damaged("an entry is none"))?;
                if entry.kind == kind && !self.is_excluded(entry.pack) {
                    found.push(entry);
                }
            }
        }
        Ok(found)
    }

    fn find_in_block(
        &self,
        number: u64,
        kind: BlobKind,
        prefix: &[u8; 16],
        buffer: &mut Buffer,
    ) -> Result<Option<SegmentEntry>> {
        let block = self.bytes.block(self.entries.first + number, buffer)?;
        let (entries, _) = block.as_chunks::<ENTRY>();
        let entries = &entries[..self.entries.records_in(number)];
        let start = entries.partition_point(|entry| entry[..16] < prefix[..]);
        for entry in entries[start..].iter().take_while(|entry| entry[..16] == prefix[..]) {
            let entry = parse_entry(entry).ok_or_else(|| self.bytes.damaged("an entry is none"))?;
            if entry.kind == kind && !self.is_excluded(entry.pack) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The filter, once it is worth reading.
    fn filter(&self) -> Option<&Filter> {
        if self.footer.filter_bytes == 0 {
            return None;
        }
        if let Some(filter) = self.filter.get() {
            return filter.as_ref();
        }
        if self.reads.fetch_add(1, Ordering::Relaxed) < FILTER_AFTER {
            return None;
        }
        self.filter.get_or_init(|| self.read_filter()).as_ref()
    }

    /// A filter that cannot be read is done without: it only saves time.
    fn read_filter(&self) -> Option<Filter> {
        let mut bytes = vec![0; self.footer.filter_bytes as usize];
        self.bytes.read(&mut bytes, self.entries.end() * BLOCK as u64).ok()?;
        if *blake3::hash(&bytes).as_bytes() != self.footer.filter_hash {
            return None;
        }
        Filter::from_bytes(bytes, self.footer.filter_hashes)
    }

    /// Name and size of a pack by its number.
    pub(super) fn head(&self, number: u32) -> Result<(PackName, u32)> {
        let slot = &self.heads[number as usize % HEADS];
        if let Ok(head) = slot.lock()
            && let Some((known, name, size)) = *head
            && known == number
        {
            return Ok((name, size));
        }
        let record = self.record(number)?;
        if let Ok(mut head) = slot.lock() {
            *head = Some((number, record.name, record.size));
        }
        Ok((record.name, record.size))
    }

    fn record(&self, number: u32) -> Result<PackRecord> {
        let no_such = || self.bytes.damaged("an entry names a pack that is not there");
        if u64::from(number) >= self.packs.count {
            return Err(no_such());
        }
        let mut buffer = [0; BLOCK];
        let record = self.packs.record(&self.bytes, u64::from(number), &mut buffer)?;
        PackRecord::parse(record).ok_or_else(no_such)
    }

    /// The number of a pack.
    pub(super) fn number_of(&self, name: &PackName) -> Result<Option<u32>> {
        let Some(block) = self.pack_tops.partition_point(|top| top <= name).checked_sub(1) else {
            return Ok(None);
        };
        let mut buffer = [0; BLOCK];
        let records = self.bytes.block(self.packs.first + block as u64, &mut buffer)?;
        let records = records.chunks_exact(PACK).take(self.packs.records_in(block as u64));
        for (place, record) in records.enumerate() {
            if record[..16] == name.session.0 && record[16..20] == name.number.to_le_bytes() {
                return Ok(Some((block as u64 * self.packs.per_block()) as u32 + place as u32));
            }
        }
        Ok(None)
    }

    /// All that is known of a pack.
    pub(super) fn info(&self, number: u32) -> Result<PackInfo> {
        self.complete(self.record(number)?)
    }

    fn complete(&self, record: PackRecord) -> Result<PackInfo> {
        let mut key_sessions = Vec::with_capacity(usize::from(record.sessions).max(1));
        if record.own {
            key_sessions.push(record.name.session);
        }
        let mut buffer = [0; BLOCK];
        for place in 0..u64::from(record.sessions) {
            let place = u64::from(record.sessions_at) + place;
            if place >= self.sessions.count {
                return Err(self.bytes.damaged("a pack has key sessions that are not there"));
            }
            let session = self.sessions.record(&self.bytes, place, &mut buffer)?;
            key_sessions.extend(session.try_into().map(SessionId));
        }
        Ok(PackInfo {
            name: record.name,
            contents: record.contents,
            size: record.size,
            blobs: record.blobs,
            table_offset: record.table_offset,
            table_length: record.table_length,
            hash: record.hash,
            key_sessions,
        })
    }

    /// Leaves a pack out from now on.
    pub(super) fn exclude(&self, number: u32) {
        let words = self.excluded.get_or_init(|| {
            let words = self.packs.count.div_ceil(64);
            (0..words).map(|_| AtomicU64::new(0)).collect()
        });
        if let Some(word) = words.get(number as usize / 64) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
    }

    /// Whether a pack is left out.
    pub(super) fn is_excluded(&self, number: u32) -> bool {
        let words = self.excluded.get().and_then(|words| words.get(number as usize / 64));
        words.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (number % 64)) != 0)
    }

    /// All packs by rising name, excluded ones among them.
    pub(super) fn all_packs(&self) -> AllPacks<'_> {
        self.packs_from(0)
    }

    /// The packs from number `start` on.
    pub(super) fn packs_from(&self, start: u32) -> AllPacks<'_> {
        AllPacks {
            run: self,
            records: Records::new(&self.bytes, self.packs, u64::from(start)),
        }
    }

    /// The number of the first pack that is not before `name`; that of packs if all are.
    pub(super) fn first_from(&self, name: &PackName) -> Result<u32> {
        let block = self.pack_tops.partition_point(|top| top < name).saturating_sub(1);
        let start = (block as u64 * self.packs.per_block()) as u32;
        for (number, info) in (start..).zip(self.packs_from(start)) {
            if info?.name >= *name {
                return Ok(number);
            }
        }
        Ok(self.packs.count as u32)
    }

    /// All entries by rising id, pack and ordinal, those of excluded packs among them.
    pub(super) fn all_entries(&self) -> AllEntries<'_> {
        AllEntries {
            run: self,
            records: Records::new(&self.bytes, self.entries, 0),
        }
    }
}

/// Reads packs in order.
pub(super) struct AllPacks<'a> {
    run: &'a Run,
    records: Records<'a>,
}

impl Iterator for AllPacks<'_> {
    type Item = Result<PackInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.records.next() {
            Ok(record) => PackRecord::parse(record?),
            Err(error) => return Some(Err(error)),
        };
        let record = record.ok_or_else(|| self.run.bytes.damaged("a pack is none"));
        Some(record.and_then(|record| self.run.complete(record)))
    }
}

/// Reads entries in order.
pub(super) struct AllEntries<'a> {
    run: &'a Run,
    records: Records<'a>,
}

impl Iterator for AllEntries<'_> {
    type Item = Result<SegmentEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match self.records.next() {
            Ok(entry) => parse_entry(entry?),
            Err(error) => return Some(Err(error)),
        };
        let fits = entry.filter(|entry| u64::from(entry.pack) < self.run.packs.count);
        Some(fits.ok_or_else(|| self.run.bytes.damaged("an entry is none")))
    }
}
