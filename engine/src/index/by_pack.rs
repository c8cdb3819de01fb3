//! All entries pack by pack, with bounded memory: runs are sorted by id, maintenance needs packs.
//!
//! Packs are divided into parts that fit into memory; one pass over the runs deals the entries out to a file for each part, then each part is
//! sorted by itself. Few entries need no files; without a folder there are none, and no bound.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::layout::{entry_bytes, parse_entry};
use super::merge::{Merge, all_packs};
use super::run::{AllPacks, Run};
use crate::format::segment::{ENTRY, PackInfo, SegmentEntry};
use crate::words::{Error, PackName, Result};

/// How many entries a part has, if there are not more than [`PARTS_MAX`] parts: 16 MiB of them.
const PART_ENTRIES: u64 = 1 << 19;
const PARTS_MAX: u64 = 256;
/// What stands in the list of numbers for packs that are not wanted.
const NOT_WANTED: u32 = u32::MAX;

/// The entries of some packs, pack by pack.
pub struct ByPack<'a> {
    packs: Merge<AllPacks<'a>, PackInfo, PackName>,
    /// For each run and each of its packs, its number among the wanted packs.
    numbers: Vec<Vec<u32>>,
    /// Which of a run's packs comes next.
    places: Vec<usize>,
    /// The wanted pack that comes next.
    next: u32,
    parts: std::vec::IntoIter<Part>,
    /// The entries of the present part by falling pack and ordinal, their packs numbered among those wanted.
    part: Vec<SegmentEntry>,
    /// The first wanted pack after the present part.
    part_end: u32,
    failed: bool,
}

/// Entries of the packs before `end` and not before the previous part's.
struct Part {
    end: u32,
    file: Option<File>,
    entries: Vec<SegmentEntry>,
}

impl<'a> ByPack<'a> {
    /// Deals out the entries of all packs that are `wanted` and not excluded.
    pub(super) fn new(
        runs: &'a [Run],
        folder: Option<&Path>,
        mut wanted: impl FnMut(&PackInfo) -> bool,
    ) -> Result<Self> {
        let counts = runs.iter().map(|run| run.pack_count() as usize);
        let mut numbers: Vec<Vec<u32>> = counts.map(Vec::with_capacity).collect();
        let part_entries = (runs.iter().map(Run::entry_count).sum::<u64>() / PARTS_MAX).max(PART_ENTRIES);
        let (mut ends, mut blobs, mut count) = (Vec::new(), 0, 0u32);
        let mut last: Option<(PackName, u32)> = None;
        for item in all_packs(runs)? {
            let (run, info) = item?;
            let number = match last {
                Some((name, number)) if name == info.name => number,
                _ if runs[run].is_excluded(numbers[run].len() as u32) || !wanted(&info) => NOT_WANTED,
                _ => {
                    if blobs > 0 && blobs + u64::from(info.blobs) > part_entries {
                        ends.push(count);
                        blobs = 0;
                    }
                    blobs += u64::from(info.blobs);
                    count += 1;
                    count - 1
                }
            };
            last = Some((info.name, number));
            numbers[run].push(number);
        }
        ends.push(count);
        let parts = deal(runs, &numbers, &ends, folder)?;
        Ok(Self {
            packs: all_packs(runs)?,
            places: vec![0; numbers.len()],
            numbers,
            next: 0,
            parts: parts.into_iter(),
            part: Vec::new(),
            part_end: 0,
            failed: false,
        })
    }

    /// The next wanted pack.
    fn next_pack(&mut self) -> Result<Option<PackInfo>> {
        for item in self.packs.by_ref() {
            let (run, info) = item?;
            let number = self.numbers[run][self.places[run]];
            self.places[run] += 1;
            // A pack that several runs have has one number and comes once.
            if number == self.next {
                return Ok(Some(info));
            }
        }
        Ok(None)
    }

    fn next_item(&mut self) -> Result<Option<(PackInfo, Vec<SegmentEntry>)>> {
        let Some(info) = self.next_pack()? else {
            return Ok(None);
        };
        while self.next >= self.part_end {
            let Some(part) = self.parts.next() else { break };
            self.part_end = part.end;
            self.part = part.load()?;
        }
        let mut entries = Vec::with_capacity(info.blobs.min(u32::from(u16::MAX)) as usize);
        while let Some(entry) = self.part.pop_if(|entry| entry.pack == self.next) {
            entries.push(entry);
        }
        // A pack that several segments name has its entries several times.
        entries.dedup_by_key(|entry| entry.ordinal);
        self.next += 1;
        Ok(Some((info, entries)))
    }
}

impl Iterator for ByPack<'_> {
    type Item = Result<(PackInfo, Vec<SegmentEntry>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.next_item();
        self.failed = item.is_err();
        item.transpose()
    }
}

impl Part {
    fn load(self) -> Result<Vec<SegmentEntry>> {
        let mut entries = self.entries;
        if let Some(mut file) = self.file {
            file.rewind().map_err(failed)?;
            let mut reader = BufReader::with_capacity(1 << 20, file);
            let mut record = [0; ENTRY];
            loop {
                match reader.read_exact(&mut record) {
                    Ok(()) => entries.extend(parse_entry(&record)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse((entry.pack, entry.ordinal)));
        Ok(entries)
    }
}

/// One pass over all entries.
fn deal(runs: &[Run], numbers: &[Vec<u32>], ends: &[u32], folder: Option<&Path>) -> Result<Vec<Part>> {
    let mut dealers: Vec<Dealer> = Vec::with_capacity(ends.len());
    for _ in ends {
        dealers.push(Dealer::new(folder.filter(|_| ends.len() > 1))?);
    }
    for (run, numbers) in runs.iter().zip(numbers) {
        for entry in run.all_entries() {
            let entry = entry?;
            let pack = numbers[entry.pack as usize];
            if pack != NOT_WANTED {
                let part = ends.partition_point(|end| *end <= pack);
                dealers[part].give(&SegmentEntry { pack, ..entry })?;
            }
        }
    }
    let parts = ends.iter().zip(dealers);
    parts.map(|(end, dealer)| dealer.finish(*end)).collect()
}

/// Takes the entries of one part.
enum Dealer {
    Memory(Vec<SegmentEntry>),
    File(BufWriter<File>),
}

fn failed(error: io::Error) -> Error {
    Error::io("use", "a temporary file of the index", error)
}

impl Dealer {
    fn new(folder: Option<&Path>) -> Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self::Memory(Vec::new()));
        };
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        Ok(Self::File(BufWriter::with_capacity(16 << 10, file)))
    }

    fn give(&mut self, entry: &SegmentEntry) -> Result<()> {
        match self {
            Self::Memory(entries) => entries.push(*entry),
            Self::File(file) => file.write_all(&entry_bytes(entry)).map_err(failed)?,
        }
        Ok(())
    }

    fn finish(self, end: u32) -> Result<Part> {
        let (file, entries) = match self {
            Self::Memory(entries) => (None, entries),
            Self::File(file) => (
                Some(file.into_inner().map_err(|error| failed(error.into_error()))?),
                Vec::new(),
            ),
        };
        Ok(Part { end, file, entries })
    }
}
