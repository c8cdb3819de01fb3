//! From a blob's id to its place, over all segments of a view.
//!
//! What must hold: the index is derived from segments, so losing any of it costs time, never data; an excluded pack is as if not there; memory
//! does not grow with the repository. So segments are merged into sorted *runs*, which lie in a cache folder as soon as they are worth it and are read
//! block by block, and a block that does not have its checksum is as good as none. Small repositories stay in memory and leave no file.

mod block;
mod checksum;
mod by_pack;
mod filter;
mod folder;
mod layout;
mod merge;
mod pending;
mod run;
mod write;

pub use by_pack::ByPack;
pub use pending::Pending;

use std::collections::HashSet;
use std::path::Path;

use self::folder::Folder;
use self::merge::Merged;
use self::run::Run;
use self::write::{Gathered, in_file, in_memory};
use crate::format::segment::Segment;
pub use crate::format::segment::{PackInfo, SegmentEntry};
use crate::words::{BlobId, BlobKind, Error, PackName, Result, SessionId};

/// As many entries are worth a file, so that the next process need not read their segments: 1 MiB, about what a millisecond reads and sorts.
const ENTRIES_WORTH_A_FILE: usize = 32 << 10;
/// No more entries than these are gathered in memory when there is a folder: 8 MiB.
const ENTRIES_GATHERED_MAX: usize = 256 << 10;

/// Where a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its pack.
    pub pack: PackName,
    /// A dense number of the pack, valid inside one [`Index`]. A pack that several segments name may have several numbers.
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

/// An index over segments; may be used by many threads.
#[derive(Debug, Default)]
pub struct Index {
    /// Few: each is at least twice as long as all that follow it.
    runs: Vec<Run>,
    /// The number of the first pack of each run.
    bases: Vec<u32>,
    folder: Option<Folder>,
}

/// An index in the making.
#[derive(Default)]
pub struct IndexBuilder {
    folder: Option<Folder>,
    runs: Vec<Run>,
    /// The segments that are in runs or gathered.
    held: HashSet<String>,
    gathered: Gathered,
}

impl Index {
    /// Begins an index of the segments in `wanted`. What earlier processes left in the folder is used again; ask [`IndexBuilder::has`] for each segment,
    /// and add those it has not. Without a folder, or with one that cannot be used, everything stays in memory.
    pub fn builder<'a>(cache_folder: Option<&Path>, wanted: impl IntoIterator<Item = &'a str>) -> IndexBuilder {
        let folder = cache_folder.and_then(Folder::open);
        let wanted: HashSet<&str> = wanted.into_iter().collect();
        let runs = folder.as_ref().map_or_else(Vec::new, |folder| folder.usable(&wanted));
        IndexBuilder {
            held: runs.iter().flat_map(|run| run.names.iter().cloned()).collect(),
            folder,
            runs,
            gathered: Gathered::default(),
        }
    }

    /// Takes more segments; nothing may have been excluded yet.
    pub fn reopened(self) -> IndexBuilder {
        IndexBuilder {
            held: self.runs.iter().flat_map(|run| run.names.iter().cloned()).collect(),
            folder: self.folder,
            runs: self.runs,
            gathered: Gathered::default(),
        }
    }

    /// The place of a blob, never in an excluded pack. What cannot be read in the cache is as if not there: it is made anew with the next view.
    pub fn locate(&self, kind: BlobKind, id: &BlobId) -> Option<Place> {
        let prefix = id.prefix();
        self.runs.iter().zip(&self.bases).find_map(|(run, base)| {
            let entry = run.find(kind, &prefix).ok()??;
            place(run, *base, &entry).ok()
        })
    }

    /// Every place of a blob: the same one may be in several packs.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache is damaged; it is made anew with the next view.
    pub fn places(&self, kind: BlobKind, id: &BlobId) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for (run, base) in self.runs.iter().zip(&self.bases) {
            for entry in run.find_all(kind, &id.prefix())? {
                places.push(place(run, *base, &entry)?);
            }
        }
        Ok(places)
    }

    /// Leaves these packs out from now on.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache is damaged; it is made anew with the next view.
    pub fn exclude(&self, packs: &HashSet<PackName>) -> Result<()> {
        for run in &self.runs {
            for pack in packs {
                if let Some(number) = run.number_of(pack)? {
                    run.exclude(number);
                }
            }
        }
        Ok(())
    }

    /// How many packs it knows, excluded ones among them: dense numbers are below it.
    pub fn pack_count(&self) -> usize {
        self.runs.iter().map(Run::pack_count).sum::<u64>() as usize
    }

    /// How many entries it has, those of excluded packs among them.
    pub fn entry_count(&self) -> u64 {
        self.runs.iter().map(Run::entry_count).sum()
    }

    /// The packs that are not excluded, by rising name.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache is damaged; it is made anew with the next view.
    pub fn packs(&self) -> Result<impl Iterator<Item = Result<PackInfo>>> {
        let mut places = vec![0; self.runs.len()];
        let mut last = None;
        Ok(merge::all_packs(&self.runs)?.filter_map(move |item| match item {
            Ok((run, info)) => {
                let number = places[run];
                places[run] += 1;
                let again = last.replace(info.name) == Some(info.name);
                (!again && !self.runs[run].is_excluded(number)).then_some(Ok(info))
            }
            Err(error) => Some(Err(error)),
        }))
    }

    /// The packs of one session that are not excluded, by rising number.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache is damaged; it is made anew with the next view.
    pub fn packs_of(&self, session: SessionId) -> Result<Vec<PackInfo>> {
        let mut packs = Vec::new();
        for run in &self.runs {
            let start = run.first_from(&PackName { session, number: 0 })?;
            for (number, info) in (start..).zip(run.packs_from(start)) {
                let info = info?;
                if info.name.session != session {
                    break;
                }
                if !run.is_excluded(number) {
                    packs.push(info);
                }
            }
        }
        packs.sort_by_key(|info| info.name);
        packs.dedup_by_key(|info| info.name);
        Ok(packs)
    }

    /// A pack by its name, unless it is excluded.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache is damaged; it is made anew with the next view.
    pub fn pack(&self, name: &PackName) -> Result<Option<PackInfo>> {
        for run in &self.runs {
            if let Some(number) = run.number_of(name)?.filter(|number| !run.is_excluded(*number)) {
                return run.info(number).map(Some);
            }
        }
        Ok(None)
    }

    /// The entries of the wanted packs that are not excluded, pack by pack by rising name, by ordinal. Memory is bounded when there is a cache folder,
    /// which then holds as many bytes for a while as the runs have.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache is damaged, or temporary files cannot be written.
    pub fn by_pack(&self, wanted: impl FnMut(&PackInfo) -> bool) -> Result<ByPack<'_>> {
        ByPack::new(&self.runs, self.folder.as_ref().map(Folder::path), wanted)
    }
}

/// Where an entry of a run is; `base` is the number of the run's first pack.
fn place(run: &Run, base: u32, entry: &SegmentEntry) -> Result<Place> {
    let (pack, pack_size) = run.head(entry.pack)?;
    Ok(Place {
        pack,
        pack_number: base + entry.pack,
        pack_size,
        offset: entry.offset,
        length: entry.length,
        ordinal: entry.ordinal,
        kind: entry.kind,
    })
}

impl IndexBuilder {
    /// Whether the segment is in the index already and need not be read.
    pub fn has(&self, name: &str) -> bool {
        self.held.contains(name)
    }

    /// Adds the plaintext of the segment called `name`; nothing if it is there already.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the segment is.
    pub fn add_segment(&mut self, name: &str, plaintext: &[u8]) -> Result<()> {
        if self.held.contains(name) {
            return Ok(());
        }
        self.add(name, Segment::decode(name, plaintext)?)
    }

    /// Adds a segment that a session has written. It speaks for the session's own packs alone: what it said of others' would be counted by maintenance.
    ///
    /// # Errors
    /// [`Error::Damaged`], also for a segment that names a pack of another session; [`Error::Io`] when a file of the cache cannot be used.
    pub fn add_segment_of(&mut self, session: SessionId, name: &str, plaintext: &[u8]) -> Result<()> {
        if self.held.contains(name) {
            return Ok(());
        }
        let segment = Segment::decode(name, plaintext)?;
        if segment.packs.iter().any(|pack| pack.name.session != session) {
            return Err(Error::damaged(name, "it names packs of another session"));
        }
        self.add(name, segment)
    }

    fn add(&mut self, name: &str, segment: Segment) -> Result<()> {
        self.gathered.add(name, segment);
        self.held.insert(name.to_owned());
        if self.folder.is_some() && self.gathered.len() >= ENTRIES_GATHERED_MAX {
            self.settle_in_file(ENTRIES_WORTH_A_FILE)?;
        }
        Ok(())
    }

    /// Makes a run of what was gathered: in a file if it has at least so many entries.
    fn settle_in_file(&mut self, entries_min: usize) -> Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        if gathered.is_empty() {
            return Ok(());
        }
        gathered.sort();
        let folder = self.folder.as_ref().filter(|_| gathered.len() >= entries_min);
        let written = folder.map(|folder| in_file(&gathered, folder.path(), &Folder::name_for(gathered.names())));
        // A cache that cannot be written is done without.
        let run = match written {
            Some(Ok(run)) => run,
            Some(Err(_)) | None => in_memory(&gathered)?,
        };
        self.runs.push(run);
        Ok(())
    }

    /// The index, with few runs.
    ///
    /// # Errors
    /// [`Error::Io`] when a run in the cache is damaged: it has been removed, so begin again.
    pub fn finish(mut self) -> Result<Index> {
        self.settle_in_file(ENTRIES_WORTH_A_FILE)?;
        self.merge_small()?;
        if let Some(folder) = &self.folder {
            folder.clean(&self.runs);
        }
        let mut bases = Vec::with_capacity(self.runs.len());
        let mut packs = 0u64;
        for run in &self.runs {
            bases.push(u32::try_from(packs).map_err(|_| Error::Internal("too many packs for one index".into()))?);
            packs += run.pack_count();
        }
        Ok(Index {
            runs: self.runs,
            bases,
            folder: self.folder,
        })
    }

    /// Merges the smaller runs in files until each run is at least twice as long as all that follow, so that there are few and each entry is rarely moved.
    fn merge_small(&mut self) -> Result<()> {
        // What is in memory comes last, and is less than a file is worth unless files cannot be written.
        self.runs
            .sort_by_key(|run| (run.path().is_none(), std::cmp::Reverse(run.entry_count())));
        let files = self.runs.iter().take_while(|run| run.path().is_some()).count();
        let (mut first, mut following) = (files, 0);
        for (place, run) in self.runs[..files].iter().enumerate().rev() {
            if run.entry_count() < 2 * following {
                first = place;
            }
            following += run.entry_count();
        }
        let (Some(folder), true) = (&self.folder, first + 1 < files) else {
            return Ok(());
        };
        let mut small: Vec<Run> = self.runs.drain(first..files).collect();
        let merged = Merged::new(&small)?;
        let names: Vec<String> = small.iter().flat_map(|run| run.names.iter().cloned()).collect();
        match in_file(&merged, folder.path(), &Folder::name_for(&names)) {
            Ok(run) => {
                for run in &small {
                    let _ = run.path().map(std::fs::remove_file);
                }
                self.runs.insert(first, run);
            }
            Err(error @ Error::Io { action: "read", .. }) => return Err(error),
            // No room to merge: many small ones serve as well, only slower.
            Err(_) => self.runs.splice(first..first, small.drain(..)).for_each(drop),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests;
