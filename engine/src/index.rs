//! From a blob's id to its place, over all segments of a view.
//!
//! What must hold: the index is derived from segments, so losing any of it costs time, never data; an excluded pack is as if not there.

mod pending;

pub use pending::Pending;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use crate::format::segment::Segment;
pub use crate::format::segment::{PackInfo, SegmentEntry};
use crate::words::{BlobId, BlobKind, Error, PackName, Result};

/// Where a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its pack.
    pub pack: PackName,
    /// A dense number of the pack, valid inside one [`Index`].
    pub pack_number: u32,
    /// Bytes of the pack.
    pub pack_size: u32,
    /// Where it begins in the pack.
    pub offset: u32,
    /// Its stored length.
    pub length: u32,
    /// Its number in the pack.
    pub ordinal: u16,
    /// What it holds.
    pub kind: BlobKind,
}

/// An index over segments.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<PackInfo>,
    numbers: HashMap<PackName, u32>,
    runs: Vec<Vec<SegmentEntry>>,
    excluded: RwLock<HashSet<u32>>,
    cache_folder: Option<PathBuf>,
}

impl Index {
    /// An empty index that may keep merged runs in a folder.
    pub fn new(cache_folder: Option<&Path>) -> Self {
        Self {
            cache_folder: cache_folder.map(Path::to_owned),
            ..Self::default()
        }
    }

    /// Adds the plaintext of the segment called `name`.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn add_segment(&mut self, name: &str, plaintext: &[u8]) -> Result<()> {
        let Segment { packs, mut entries } = Segment::decode(name, plaintext)?;
        let mut numbers = Vec::with_capacity(packs.len());
        for pack in packs {
            let next = self.packs.len() as u32;
            let number = *self.numbers.entry(pack.name).or_insert(next);
            if number == next {
                self.packs.push(pack);
            }
            numbers.push(number);
        }
        for entry in &mut entries {
            entry.pack = numbers[entry.pack as usize];
        }
        self.runs.push(entries);
        // Runs are merged so that each is at least twice as long as the next: few runs at any time, and each entry moves rarely.
        while let [.., before, last] = self.runs.as_slice()
            && before.len() < 2 * last.len()
        {
            let (Some(last), Some(before)) = (self.runs.pop(), self.runs.pop()) else {
                break;
            };
            self.runs.push(merged(before, last));
        }
        Ok(())
    }

    /// The place of a blob, never in an excluded pack.
    pub fn locate(&self, kind: BlobKind, id: &BlobId) -> Option<Place> {
        let prefix = id.prefix();
        for run in &self.runs {
            let start = run.partition_point(|entry| entry.prefix < prefix);
            for entry in run[start..].iter().take_while(|entry| entry.prefix == prefix) {
                if entry.kind == kind && !self.is_excluded(entry.pack) {
                    return Some(self.place(entry));
                }
            }
        }
        None
    }

    fn is_excluded(&self, number: u32) -> bool {
        self.excluded.read().is_ok_and(|excluded| excluded.contains(&number))
    }

    fn place(&self, entry: &SegmentEntry) -> Place {
        let pack = &self.packs[entry.pack as usize];
        Place {
            pack: pack.name,
            pack_number: entry.pack,
            pack_size: pack.size,
            offset: entry.offset,
            length: entry.length,
            ordinal: entry.ordinal,
            kind: entry.kind,
        }
    }

    /// Leaves these packs out from now on.
    pub fn exclude(&self, packs: &HashSet<PackName>) {
        if let Ok(mut excluded) = self.excluded.write() {
            excluded.extend(packs.iter().filter_map(|pack| self.numbers.get(pack).copied()));
        }
    }

    /// How many packs it knows, excluded ones among them: dense numbers are below it.
    pub fn pack_count(&self) -> usize {
        self.packs.len()
    }

    /// The packs that are not excluded.
    pub fn packs(&self) -> impl Iterator<Item = &PackInfo> {
        self.packs
            .iter()
            .enumerate()
            .filter(|(number, _)| !self.is_excluded(*number as u32))
            .map(|(_, pack)| pack)
    }

    /// A pack by its name, unless it is excluded.
    pub fn pack(&self, name: &PackName) -> Option<&PackInfo> {
        let number = *self.numbers.get(name)?;
        self.packs.get(number as usize).filter(|_| !self.is_excluded(number))
    }

    /// Shows every entry of packs that are not excluded, in no particular order.
    pub fn for_each(&self, mut see: impl FnMut(&Place, &[u8; 16])) {
        let excluded = self
            .excluded
            .read()
            .map(|excluded| excluded.clone())
            .unwrap_or_default();
        for entry in self
            .runs
            .iter()
            .flatten()
            .filter(|entry| !excluded.contains(&entry.pack))
        {
            see(&self.place(entry), &entry.prefix);
        }
    }

    /// The entries of these packs, pack by pack, by ordinal.
    ///
    /// # Errors
    /// None with runs in memory.
    pub fn by_pack(&self, packs: &[PackInfo]) -> Result<impl Iterator<Item = Result<(PackInfo, Vec<SegmentEntry>)>>> {
        let mut entries: HashMap<u32, Vec<SegmentEntry>> = packs
            .iter()
            .filter_map(|pack| Some((*self.numbers.get(&pack.name)?, Vec::new())))
            .collect();
        for entry in self.runs.iter().flatten() {
            if let Some(mine) = entries.get_mut(&entry.pack) {
                mine.push(*entry);
            }
        }
        let mut found = Vec::with_capacity(packs.len());
        for pack in packs {
            let number = self.numbers.get(&pack.name);
            let mine = number.and_then(|number| entries.remove(number));
            let mut mine = mine.ok_or_else(|| Error::Internal(format!("pack {} is not in the index", pack.name)))?;
            mine.sort_unstable_by_key(|entry| entry.ordinal);
            mine.dedup_by_key(|entry| entry.ordinal);
            found.push(Ok((pack.clone(), mine)));
        }
        Ok(found.into_iter())
    }
}

fn merged(mut left: Vec<SegmentEntry>, right: Vec<SegmentEntry>) -> Vec<SegmentEntry> {
    left.extend(right);
    // Two sorted stretches: a stable sort finds and merges them in one pass.
    left.sort_by_key(|entry| entry.prefix);
    left
}
