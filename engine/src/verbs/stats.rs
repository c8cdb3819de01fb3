//! Stats: how much there is, what deduplication and compression save, and what one snapshot alone holds.
//!
//! What a key does not show is not a number: nothing is said of it. A maintainer sees no records, hence no files; a reader sees no references, hence
//! not what is used.

use std::collections::HashMap;

use crate::format::envelope::{self, Kind};
use crate::format::pack::{self, Footer, Table};
use crate::format::references::Used;
use crate::format::segment::{PackInfo, SegmentEntry};
use crate::repository::{Repository, SnapshotFilter, StoredSnapshot, View};
use crate::verbs::moved::Usage;
use crate::words::{BlobKind, Error, PackName, Progress, Result};

/// Tables that are read at once.
const TABLES_AT_ONCE: usize = 64;

/// Sizes of a repository. Bytes are bytes.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Snapshots that were counted.
    pub snapshots: u64,
    /// What is in them; nothing for keys that open no records.
    pub files: Option<FileStats>,
    /// What they use of the packs; nothing for keys that open no references.
    pub used: Option<UsedStats>,
    /// Packs in the repository.
    pub packs: u64,
    /// Their bytes: everything that is stored but for indexes and records.
    pub stored_bytes: u64,
    /// By snapshot, the stored bytes of blobs that no other counted snapshot uses: what forgetting it alone would free.
    pub alone: Vec<(StoredSnapshot, Option<u64>)>,
}

/// The files of all counted snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStats {
    /// How many.
    pub files: u64,
    /// The sum of their sizes: what restoring all of the snapshots would write.
    pub logical_bytes: u64,
}

/// The blobs that the counted snapshots use, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsedStats {
    /// How many.
    pub blobs: u64,
    /// Bytes of contents, before compression.
    pub data_bytes: u64,
    /// Bytes of trees, before compression.
    pub tree_bytes: u64,
    /// Their bytes as they are stored.
    pub stored_bytes: u64,
}

impl Stats {
    /// How many times larger the files are than their contents without what occurs more than once.
    pub fn deduplication(&self) -> Option<f64> {
        ratio(self.files?.logical_bytes, self.used?.data_bytes)
    }

    /// How many times larger contents and trees are than what is stored for them.
    pub fn compression(&self) -> Option<f64> {
        let used = self.used?;
        ratio(used.data_bytes + used.tree_bytes, used.stored_bytes)
    }

    /// How many times larger the files are than what is stored for them, trees included.
    pub fn reduction(&self) -> Option<f64> {
        ratio(self.files?.logical_bytes, self.used?.stored_bytes)
    }
}

/// Nothing is no part of anything.
fn ratio(large: u64, small: u64) -> Option<f64> {
    (small > 0).then(|| large as f64 / small as f64)
}

/// Counts what the snapshots use, from their references and the tables of packs; reads no trees.
///
/// # Errors
/// [`Error::RoleTooSmall`] for writers; [`Error::Damaged`]; what the store says.
pub fn stats(repository: &Repository, filter: &SnapshotFilter, progress: &dyn Progress) -> Result<Stats> {
    let snapshots = repository.snapshots(filter)?;
    let view = repository.load_whole_view()?;
    let mut stats = Stats {
        snapshots: snapshots.len() as u64,
        files: files(&snapshots),
        ..Stats::default()
    };
    for info in view.index.packs()? {
        let info = info?;
        stats.packs += 1;
        stats.stored_bytes += u64::from(info.size);
    }
    if repository.keys().maintenance.pair.is_none() {
        stats.alone = snapshots.into_iter().map(|snapshot| (snapshot, None)).collect();
        return Ok(stats);
    }
    let owners = owners(repository, &view, &snapshots, progress)?;
    let mut alone = vec![0; snapshots.len()];
    stats.used = Some(weigh(repository, &view, &owners, &mut alone)?);
    let alone = alone.into_iter().map(Some);
    stats.alone = snapshots.into_iter().zip(alone).collect();
    Ok(stats)
}

fn files(snapshots: &[StoredSnapshot]) -> Option<FileStats> {
    let mut sum = FileStats::default();
    for snapshot in snapshots {
        let counts = &snapshot.record.as_ref()?.counts;
        sum.files += counts.files;
        sum.logical_bytes += counts.bytes;
    }
    Some(sum)
}

/// By pack and ordinal the number of the only snapshot that uses the blob, or one of these two.
type Owners = HashMap<PackName, Vec<u32>>;
const SEVERAL: u32 = u32::MAX;
const NONE: u32 = u32::MAX - 1;

fn owners(
    repository: &Repository,
    view: &View,
    snapshots: &[StoredSnapshot],
    progress: &dyn Progress,
) -> Result<Owners> {
    let usage = Usage::new(repository, view)?;
    let mut owners: Owners = HashMap::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        if view.committed(snapshot.id).is_none() {
            // Forgotten and removed since it was listed.
            continue;
        }
        for (pack, used) in usage.of(snapshot.id)? {
            let Some(info) = view.index.pack(&pack)? else { continue };
            let owners = owners.entry(pack).or_insert_with(|| vec![NONE; info.blobs as usize]);
            for (ordinal, owner) in owners.iter_mut().enumerate() {
                if matches!(used, Used::All) || used.contains(ordinal as u16) {
                    *owner = if *owner == NONE { number as u32 } else { SEVERAL };
                }
            }
        }
        progress.done(1, 0);
    }
    Ok(owners)
}

/// Sums up, with the help of the packs' tables, which alone say how long blobs are before compression. Adds to `alone` by snapshot.
fn weigh(repository: &Repository, view: &View, owners: &Owners, alone: &mut [u64]) -> Result<UsedStats> {
    let mut sum = UsedStats::default();
    let mut packs = view.index.by_pack(|info| owners.contains_key(&info.name))?;
    loop {
        let some = packs
            .by_ref()
            .take(TABLES_AT_ONCE)
            .collect::<Result<Vec<(PackInfo, Vec<SegmentEntry>)>>>()?;
        if some.is_empty() {
            return Ok(sum);
        }
        for ((info, entries), table) in some.iter().zip(tables(repository, &some)) {
            let (table, Some(owners)) = (table?, owners.get(&info.name)) else {
                continue;
            };
            for entry in entries {
                let owner = owners.get(usize::from(entry.ordinal)).copied().unwrap_or(NONE);
                if owner == NONE {
                    continue;
                }
                let plaintext = table
                    .entries
                    .get(usize::from(entry.ordinal))
                    .map(|entry| entry.plaintext);
                let plaintext =
                    plaintext.ok_or_else(|| Error::damaged(info.name.object(), "its table and the index disagree"))?;
                sum.blobs += 1;
                sum.stored_bytes += u64::from(entry.length);
                match entry.kind {
                    BlobKind::Data => sum.data_bytes += u64::from(plaintext),
                    BlobKind::Tree => sum.tree_bytes += u64::from(plaintext),
                }
                if let Some(alone) = alone.get_mut(owner as usize) {
                    *alone += u64::from(entry.length);
                }
            }
        }
    }
}

/// The packs' tables, by one request each.
fn tables(repository: &Repository, packs: &[(PackInfo, Vec<SegmentEntry>)]) -> Vec<Result<Table>> {
    let places = packs.iter().map(|(info, _)| {
        let start = u64::from(info.table_offset);
        (info.name.object(), Some(start..start + u64::from(info.table_length)))
    });
    let sealed = repository.store().get_many(places.collect());
    let opened = packs.iter().zip(sealed).map(|((info, _), sealed)| {
        let footer = Footer {
            table_offset: u64::from(info.table_offset),
            table_length: info.table_length,
            blobs: info.blobs,
        };
        // This version writes this header; what another has written there, the pack itself says.
        let header = envelope::header(
            Kind::Pack,
            true,
            u64::from(info.size).saturating_sub((envelope::HEADER + envelope::HASH) as u64),
        );
        let key = &repository.keys().index;
        match pack::table(repository.id(), info.name, &header, &footer, &sealed?, key) {
            Err(Error::Damaged { .. }) => {
                let table = repository.table(info.name, u64::from(info.size))?;
                Ok(Table::clone(&table))
            }
            table => table,
        }
    });
    opened.collect()
}
