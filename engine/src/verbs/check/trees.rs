//! Trees: do they open, and is everything that they name indexed?

use std::collections::{BTreeMap, HashSet};

use super::{Bad, CheckReport, Hurt};
use crate::format::tree::list::List;
use crate::format::tree::{Content, Entry, EntryKind, Extent, Node, TreeReader, TreeSource};
use crate::repository::{Repository, StoredSnapshot};
use crate::words::{BlobId, BlobKind, Error, PackName, Progress, Result};

/// Files that are listed of each snapshot and finding.
const FILES_LISTED: usize = 20;

/// Walks every snapshot's tree; what two share is walked once.
pub(super) fn walk_all(
    repository: &Repository,
    snapshots: &[StoredSnapshot],
    bad: &mut Bad,
    report: &mut CheckReport,
    progress: &dyn Progress,
) -> Result<()> {
    let mut walk = Walk {
        repository,
        seen: HashSet::new(),
        bad,
        opened: 0,
    };
    for snapshot in snapshots {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        if let Some(record) = &snapshot.record {
            walk.node(&record.root.0)?;
        }
        report.snapshots += 1;
        progress.done(1, 0);
    }
    report.tree_blobs += walk.opened;
    Ok(())
}

struct Walk<'a> {
    repository: &'a Repository,
    /// By the first half of their ids: what has been walked.
    seen: HashSet<([u8; 16], BlobKind)>,
    bad: &'a mut Bad,
    opened: u64,
}

impl Walk<'_> {
    fn node(&mut self, root: &BlobId) -> Result<()> {
        let mut todo = vec![*root];
        while let Some(id) = todo.pop() {
            if !self.seen.insert((id.prefix(), BlobKind::Tree)) {
                continue;
            }
            self.opened += 1;
            match Node::load(self.repository, &id) {
                Ok(Node::Parent(parent)) => todo.extend(parent.children.iter().rev().map(|child| child.id)),
                Ok(Node::Leaf(leaf)) => {
                    for blob in leaf.table().iter() {
                        self.named_by_leaf(&blob)?;
                    }
                    // Entries are read as well: what does not parse is damage.
                    if let Some(error) = TreeReader::new(self.repository, id).find_map(Result::err) {
                        self.note(&id, error)?;
                    }
                }
                Err(error) => self.note(&id, error)?,
            }
        }
        Ok(())
    }

    /// A leaf's table names data blobs and lists of chunks; the index tells which it is.
    fn named_by_leaf(&mut self, id: &BlobId) -> Result<()> {
        if self.seen.contains(&(id.prefix(), BlobKind::Data)) || self.seen.contains(&(id.prefix(), BlobKind::Tree)) {
            return Ok(());
        }
        if self.repository.locate(BlobKind::Data, id)?.is_some() {
            self.seen.insert((id.prefix(), BlobKind::Data));
            return Ok(());
        }
        if self.repository.locate(BlobKind::Tree, id)?.is_some() {
            return self.list(id);
        }
        self.data(id)
    }

    fn data(&mut self, id: &BlobId) -> Result<()> {
        if !self.seen.insert((id.prefix(), BlobKind::Data)) {
            return Ok(());
        }
        match self.repository.find(BlobKind::Data, id) {
            Ok(_) => Ok(()),
            Err(error) => {
                let Error::MissingBlob { .. } = error else {
                    return Err(error);
                };
                self.bad
                    .blobs
                    .insert((id.prefix(), BlobKind::Data), (None, error.to_string()));
                Ok(())
            }
        }
    }

    fn list(&mut self, id: &BlobId) -> Result<()> {
        if !self.seen.insert((id.prefix(), BlobKind::Tree)) {
            return Ok(());
        }
        self.opened += 1;
        let list = self
            .repository
            .load(id)
            .and_then(|blob| List::parse(&blob).map_err(|malformed| malformed.of(id)));
        match list {
            Ok(list) if list.height > 0 => list.table().iter().try_for_each(|below| self.list(&below)),
            Ok(list) => list.table().iter().try_for_each(|chunk| self.data(&chunk)),
            Err(error) => self.note(id, error),
        }
    }

    /// Damage is noted; anything else ends the check.
    fn note(&mut self, id: &BlobId, error: Error) -> Result<()> {
        let damage = matches!(
            error,
            Error::Damaged { .. } | Error::MissingBlob { .. } | Error::Missing { .. }
        );
        if !damage {
            return Err(error);
        }
        let pack = self.repository.locate(BlobKind::Tree, id)?.map(|place| place.pack);
        self.bad
            .blobs
            .insert((id.prefix(), BlobKind::Tree), (pack, error.to_string()));
        Ok(())
    }
}

/// Which files need what is bad, by the pack that it is in.
pub(super) fn hurt(
    repository: &Repository,
    snapshots: &[StoredSnapshot],
    bad: &Bad,
    progress: &dyn Progress,
) -> Result<BTreeMap<Option<PackName>, Hurt>> {
    let mut all: BTreeMap<Option<PackName>, Hurt> = BTreeMap::new();
    for snapshot in snapshots {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let Some(record) = &snapshot.record else { continue };
        for entry in TreeReader::new(repository, record.root.0) {
            // From the first damaged leaf on the tree cannot be read in order: everything from there is hurt.
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    for (pack, _) in bad
                        .blobs
                        .iter()
                        .filter(|((_, kind), _)| *kind == BlobKind::Tree)
                        .map(|(_, bad)| bad)
                    {
                        add(
                            &mut all,
                            *pack,
                            snapshot,
                            format!("(part of the tree: {error})").as_bytes(),
                        );
                    }
                    break;
                }
            };
            for pack in needs(repository, &entry, bad)? {
                add(&mut all, pack, snapshot, &entry.path);
            }
        }
    }
    Ok(all)
}

fn add(all: &mut BTreeMap<Option<PackName>, Hurt>, pack: Option<PackName>, snapshot: &StoredSnapshot, path: &[u8]) {
    let hurt = all.entry(pack).or_default();
    if !hurt.seen.insert((snapshot.id, path.to_vec())) {
        return;
    }
    hurt.count += 1;
    if hurt.files.iter().filter(|(session, _)| *session == snapshot.id).count() < FILES_LISTED {
        hurt.files.push((snapshot.id, path.to_vec()));
    }
}

/// The bad packs and places that a file needs.
fn needs(repository: &Repository, entry: &Entry, bad: &Bad) -> Result<Vec<Option<PackName>>> {
    let EntryKind::File { size, content, .. } = &entry.kind else {
        return Ok(Vec::new());
    };
    let mut blobs = Vec::new();
    match content {
        Content::Empty => {}
        Content::Slab { blob, .. } => blobs.push(*blob),
        Content::Chunks(extents) => blobs.extend(extents.iter().filter_map(chunk)),
        Content::List { blob } => {
            for extent in crate::format::tree::ListReader::new(repository, *blob, *size) {
                match extent {
                    Ok((_, extent)) => blobs.extend(chunk(&extent)),
                    Err(Error::Damaged { .. } | Error::MissingBlob { .. } | Error::Missing { .. }) => {
                        let place = repository.locate(BlobKind::Tree, blob)?;
                        return Ok(vec![place.map(|place| place.pack)]);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    let mut packs = Vec::new();
    for blob in blobs {
        if let Some((pack, _)) = bad.blobs.get(&(blob.prefix(), BlobKind::Data)) {
            packs.push(*pack);
        } else if let Some(place) = repository.locate(BlobKind::Data, &blob)?
            && bad.packs.contains_key(&place.pack)
        {
            packs.push(Some(place.pack));
        }
    }
    packs.sort_unstable();
    packs.dedup();
    Ok(packs)
}

fn chunk(extent: &Extent) -> Option<BlobId> {
    match extent {
        Extent::Hole { .. } => None,
        Extent::Chunk { blob, .. } => Some(*blob),
    }
}
