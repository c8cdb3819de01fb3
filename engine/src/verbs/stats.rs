//! Stats: how much there is, what deduplication and compression save, and what one snapshot alone holds.

use std::collections::{BTreeMap, HashMap};

use crate::format::references::{References, Used, references_name};
use crate::repository::{Repository, SnapshotFilter, StoredSnapshot, View};
use crate::words::{Error, PackName, Progress, Result, SessionId};

/// Sizes of a repository. Bytes are bytes.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Snapshots that were counted.
    pub snapshots: u64,
    /// Sum of their files.
    pub files: u64,
    /// Sum of the sizes of their files: what restoring all of them would write.
    pub logical_bytes: u64,
    /// Blobs that they use together.
    pub blobs: u64,
    /// Stored bytes of those blobs.
    pub used_bytes: u64,
    /// Packs in the repository.
    pub packs: u64,
    /// Their bytes: everything that is stored but for indexes and records.
    pub stored_bytes: u64,
    /// By snapshot, the stored bytes of blobs that no other counted snapshot uses: what forgetting it alone would free.
    pub alone: Vec<(StoredSnapshot, u64)>,
}

impl Stats {
    /// How many times larger the files are than what is stored for them; 0 for an empty repository.
    pub fn reduction(&self) -> f64 {
        if self.used_bytes == 0 {
            0.0
        } else {
            self.logical_bytes as f64 / self.used_bytes as f64
        }
    }
}

/// Counts what the snapshots use, from their reference lists; reads no trees.
///
/// # Errors
/// [`Error::RoleTooSmall`] for all but maintainers and owners; [`Error::Damaged`]; what the store says.
pub fn stats(repository: &Repository, filter: &SnapshotFilter, progress: &dyn Progress) -> Result<Stats> {
    let snapshots = repository.snapshots(filter)?;
    let view = repository.load_whole_view()?;
    let mut stats = Stats {
        snapshots: snapshots.len() as u64,
        ..Stats::default()
    };
    for info in view.index.packs()? {
        let info = info?;
        stats.packs += 1;
        stats.stored_bytes += u64::from(info.size);
    }
    // For every used blob the first snapshot that uses it, or that several do: one number for each blob.
    const SEVERAL: u32 = u32::MAX;
    const NONE: u32 = u32::MAX - 1;
    let mut owners: HashMap<PackName, Vec<u32>> = HashMap::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        if let Some(record) = &snapshot.record {
            stats.files += record.counts.files;
            stats.logical_bytes += record.counts.bytes;
        }
        if view.committed(snapshot.id).is_none() {
            // Forgotten and removed since it was listed.
            continue;
        }
        for (pack, used) in references(repository, &view, snapshot.id)?.packs {
            let Some(info) = view.index.pack(&pack)? else { continue };
            let owners = owners.entry(pack).or_insert_with(|| vec![NONE; info.blobs as usize]);
            for (ordinal, owner) in owners.iter_mut().enumerate() {
                let ordinal = ordinal as u16;
                if matches!(used, Used::All) || used.contains(ordinal) {
                    *owner = if *owner == NONE { number as u32 } else { SEVERAL };
                }
            }
        }
        progress.done(1, 0);
    }
    let mut alone: BTreeMap<u32, u64> = BTreeMap::new();
    for item in view.index.by_pack(|info| owners.contains_key(&info.name))? {
        let (info, entries) = item?;
        let Some(owners) = owners.get(&info.name) else { continue };
        for entry in entries {
            let owner = owners.get(usize::from(entry.ordinal)).copied();
            let Some(owner) = owner.filter(|owner| *owner != NONE) else {
                continue;
            };
            stats.blobs += 1;
            stats.used_bytes += u64::from(entry.length);
            if owner != SEVERAL {
                *alone.entry(owner).or_default() += u64::from(entry.length);
            }
        }
    }
    let alone_of = |number: usize| alone.get(&(number as u32)).copied().unwrap_or(0);
    stats.alone = snapshots
        .into_iter()
        .enumerate()
        .map(|(number, snapshot)| (snapshot, alone_of(number)))
        .collect();
    Ok(stats)
}

/// What a committed session refers to.
///
/// # Errors
/// [`Error::RoleTooSmall`]; [`Error::Damaged`]; what the store says.
pub(super) fn references(repository: &Repository, view: &View, session: SessionId) -> Result<References> {
    let pair = repository.keys().maintenance.pair.as_ref();
    let pair = pair.ok_or_else(|| repository.role_too_small("a maintainer or an owner"))?;
    let end = view
        .committed(session)
        .ok_or_else(|| Error::Internal(format!("session {session} is not committed")))?;
    if end.index.external_references {
        let object = match view.folded.get(&session).and_then(|folded| folded.references.clone()) {
            Some(object) => object,
            None => repository.fetch_object(&references_name(session))?,
        };
        return References::from_object(repository.id(), session, pair, &object);
    }
    let part = end.maintenance(repository.id(), session, pair)?;
    let name = crate::format::end::end_name(session);
    let references = part
        .references
        .ok_or_else(|| Error::damaged(&name, "it has no references"))?;
    References::decode(&name, &references)
}
