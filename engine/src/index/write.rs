//! Writes runs: from segments that were gathered, or from other runs.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use rayon::slice::ParallelSliceMut;

use super::block::{BlockWriter, Bytes};
use super::filter::Filter;
use super::layout::{Footer, PackRecord, entry_bytes, meta_bytes, top};
use super::run::Run;
use crate::format::segment::{PackInfo, Segment, SegmentEntry};
use crate::words::{Error, PackName, Result};

/// What a run is made of, sorted.
pub(super) trait Content {
    /// The names of the segments.
    fn names(&self) -> Vec<String>;
    /// Packs by rising name, none twice; gone through twice.
    fn packs(&self) -> Result<impl Iterator<Item = Result<PackInfo>>>;
    /// Entries by rising id, pack and ordinal, none twice; packs are numbered by their place above.
    fn entries(&self) -> Result<impl Iterator<Item = Result<SegmentEntry>>>;
    /// At least as many as there are entries.
    fn entries_max(&self) -> u64;
}

/// Segments that have been read and are not in a run yet.
#[derive(Default)]
pub(super) struct Gathered {
    names: Vec<String>,
    packs: Vec<PackInfo>,
    entries: Vec<SegmentEntry>,
}

impl Gathered {
    /// Adds a segment.
    pub(super) fn add(&mut self, name: &str, segment: Segment) {
        let base = self.packs.len() as u32;
        self.names.push(name.to_owned());
        self.packs.extend(segment.packs);
        let entries = segment.entries.into_iter();
        self.entries.extend(entries.map(|entry| SegmentEntry {
            pack: entry.pack + base,
            ..entry
        }));
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no segment was added, not even one without entries.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Brings packs and entries into order; a pack that several segments name stays once.
    pub(super) fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.packs.len() as u32).collect();
        order.sort_by_key(|place| self.packs[*place as usize].name);
        let mut numbers = vec![0; self.packs.len()];
        let mut packs: Vec<PackInfo> = Vec::with_capacity(self.packs.len());
        for place in order {
            let pack = &mut self.packs[place as usize];
            if packs.last().is_none_or(|last| last.name != pack.name) {
                let key_sessions = std::mem::take(&mut pack.key_sessions);
                packs.push(PackInfo {
                    key_sessions,
                    ..pack.clone()
                });
            }
            numbers[place as usize] = packs.len() as u32 - 1;
        }
        self.packs = packs;
        for entry in &mut self.entries {
            entry.pack = numbers[entry.pack as usize];
        }
        let key = |entry: &SegmentEntry| (u128::from_be_bytes(entry.prefix), entry.pack, entry.ordinal);
        // Millions, when the index of a large repository is made anew.
        self.entries.par_sort_unstable_by_key(key);
        self.entries.dedup_by_key(|entry| key(entry));
    }
}

impl Gathered {
    /// The names of its segments.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

impl Content for Gathered {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn packs(&self) -> Result<impl Iterator<Item = Result<PackInfo>>> {
        Ok(self.packs.iter().cloned().map(Ok))
    }

    fn entries(&self) -> Result<impl Iterator<Item = Result<SegmentEntry>>> {
        Ok(self.entries.iter().copied().map(Ok))
    }

    fn entries_max(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// A run in memory.
///
/// # Errors
/// What reading the content says.
pub(super) fn in_memory(content: &impl Content) -> Result<Run> {
    let bytes = write(content, Vec::new(), false, Path::new("memory"))?;
    Run::open(Bytes::Memory(bytes))
}

/// A run in a file of the folder, called `name`. Whoever writes the same file at the same time writes the same bytes.
///
/// # Errors
/// What reading the content says; what the file system says.
pub(super) fn in_file(content: &impl Content, folder: &Path, name: &str) -> Result<Run> {
    let path = folder.join(name);
    let failed = |error| Error::io("write", &path, error);
    let temporary = tempfile::Builder::new()
        .prefix("tmp-")
        .tempfile_in(folder)
        .map_err(failed)?;
    let out = BufWriter::with_capacity(1 << 20, temporary);
    let temporary = write(content, out, true, &path)?
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    let file = temporary.persist(&path).map_err(|error| failed(error.error))?;
    Run::open(Bytes::File(file, path))
}

fn write<W: Write>(content: &impl Content, out: W, to_file: bool, path: &Path) -> Result<W> {
    let failed = |error: io::Error| Error::io("write", path, error);
    let mut blocks = BlockWriter::new(out, to_file);
    let (packs, sessions, pack_tops) = write_packs(content, &mut blocks, &failed)?;
    let mut filter = to_file.then(|| Filter::for_keys(content.entries_max()));
    let (mut entries, mut entry_tops) = (0, Vec::new());
    for entry in content.entries()? {
        let entry = entry?;
        if blocks.record(&entry_bytes(&entry)).map_err(failed)? {
            entry_tops.push(top(&entry.prefix));
        }
        if let Some(filter) = &mut filter {
            filter.insert(&entry.prefix);
        }
        entries += 1;
    }
    blocks.end_table().map_err(failed)?;
    let mut out = blocks.into_inner();
    let filter_bytes = filter.as_ref().map_or(&[][..], Filter::bytes);
    let meta = meta_bytes(&entry_tops, &pack_tops, &content.names());
    let footer = Footer {
        packs,
        sessions,
        entries,
        filter_bytes: filter_bytes.len() as u64,
        filter_hashes: filter.as_ref().map_or(0, Filter::hashes),
        filter_hash: *blake3::hash(filter_bytes).as_bytes(),
        meta_bytes: meta.len() as u64,
        meta_hash: *blake3::hash(&meta).as_bytes(),
    };
    for part in [filter_bytes, &meta, &footer.to_bytes()] {
        out.write_all(part).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    Ok(out)
}

/// Writes packs, then the lists of those that have one. Gives the number of each and the first name of each block.
fn write_packs<W: Write>(
    content: &impl Content,
    blocks: &mut BlockWriter<W>,
    failed: &impl Fn(io::Error) -> Error,
) -> Result<(u64, u64, Vec<PackName>)> {
    let (mut packs, mut sessions, mut tops) = (0, 0u64, Vec::new());
    for info in content.packs()? {
        let info = info?;
        let at = u32::try_from(sessions).map_err(|_| Error::Internal("too many key sessions for one run".into()))?;
        let record = PackRecord::new(&info, at);
        sessions += u64::from(record.sessions);
        packs += 1;
        if blocks.record(&record.to_bytes()).map_err(failed)? {
            tops.push(info.name);
        }
    }
    blocks.end_table().map_err(failed)?;
    for info in content.packs()? {
        let info = info?;
        let count = usize::from(PackRecord::new(&info, 0).sessions);
        for session in &info.key_sessions[..count] {
            blocks.record(&session.0).map_err(failed)?;
        }
    }
    blocks.end_table().map_err(failed)?;
    Ok((packs, sessions, tops))
}
