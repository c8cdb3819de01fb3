//! Who is hurt: which files of which snapshots need what is bad.
//!
//! A tree blob that is bad hurts everything below it. Where a cache still has it, that is named file by file; else by the path where it begins and by
//! how many entries its parent says there are.

use std::collections::{BTreeMap, BTreeSet};

use super::Bad;
use crate::format::tree::leaf::Leaf;
use crate::format::tree::list::List;
use crate::format::tree::{Content, Entry, EntryKind, Extent, Node, TreeSource};
use crate::repository::damage::is_damage;
use crate::repository::{Repository, StoredSnapshot};
use crate::words::{BlobId, BlobKind, Error, PackName, Progress, Result, SessionId};

/// Files that are listed of each snapshot and finding.
const FILES_LISTED: usize = 20;
/// Higher than any parent.
const TOP: u8 = u8::MAX;

/// Files that need a bad pack, or blobs that are nowhere.
#[derive(Debug, Default)]
pub(super) struct Hurt {
    /// The first of each snapshot.
    pub(super) files: Vec<(SessionId, Vec<u8>)>,
    /// All.
    pub(super) count: u64,
    /// How many of `files` are of the last snapshot.
    listed: usize,
}

/// Bad packs; nothing stands for blobs that are in none.
type Packs = BTreeSet<Option<PackName>>;

/// By what is bad, who needs it.
pub(super) fn hurt(
    repository: &Repository,
    snapshots: &[StoredSnapshot],
    bad: &Bad,
    progress: &dyn Progress,
) -> Result<BTreeMap<Option<PackName>, Hurt>> {
    let mut search = Search {
        repository,
        bad,
        progress,
        snapshot: SessionId([0; 16]),
        all: BTreeMap::new(),
    };
    for snapshot in snapshots {
        let Some(record) = &snapshot.record else { continue };
        search.snapshot = snapshot.id;
        search.all.values_mut().for_each(|hurt| hurt.listed = 0);
        let counts = &record.counts;
        let entries = (counts.files + counts.folders + counts.others).max(1);
        search.node(&record.root.0, TOP, b"/", entries, &Packs::new())?;
    }
    Ok(search.all)
}

struct Search<'a> {
    repository: &'a Repository,
    bad: &'a Bad,
    progress: &'a dyn Progress,
    snapshot: SessionId,
    all: BTreeMap<Option<PackName>, Hurt>,
}

impl Search<'_> {
    /// A leaf or parent that is lower than `below` and holds so many entries from the path `first` on; `above` is bad.
    fn node(&mut self, id: &BlobId, below: u8, first: &[u8], entries: u64, above: &Packs) -> Result<()> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut packs = above.clone();
        packs.extend(self.bad_pack(BlobKind::Tree, id)?);
        match Node::load(self.repository, id) {
            Ok(Node::Parent(parent)) if parent.height < below => {
                for child in &parent.children {
                    self.node(&child.id, parent.height, &child.first, child.entries, &packs)?;
                }
            }
            Ok(Node::Parent(_)) => self.lose(id, packs, first, entries)?,
            Ok(Node::Leaf(leaf)) => self.leaf(id, leaf, first, entries, packs)?,
            Err(error) if is_damage(&error) => self.lose(id, packs, first, entries)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn leaf(&mut self, id: &BlobId, leaf: Leaf, first: &[u8], entries: u64, above: Packs) -> Result<()> {
        let mut cursor = leaf.cursor();
        let mut last = first.to_vec();
        loop {
            match cursor
                .step()
                .and_then(|there| Ok(if there { Some(cursor.entry()?) } else { None }))
            {
                Ok(Some(entry)) => {
                    let mut packs = above.clone();
                    self.needs(entry, &mut packs)?;
                    last.clone_from(&entry.path);
                    self.add(&packs, &entry.path, 1);
                }
                Ok(None) => return Ok(()),
                Err(_) => return self.lose(id, above, &last, entries.saturating_sub(cursor.count()).max(1)),
            }
        }
    }

    /// What cannot be read hurts all that is in it.
    fn lose(&mut self, id: &BlobId, mut packs: Packs, first: &[u8], entries: u64) -> Result<()> {
        if self.bad_pack(BlobKind::Tree, id)?.is_none() {
            packs.insert(self.repository.locate(BlobKind::Tree, id)?.map(|place| place.pack));
        }
        self.add(&packs, first, entries);
        Ok(())
    }

    fn add(&mut self, packs: &Packs, path: &[u8], entries: u64) {
        for pack in packs {
            let hurt = self.all.entry(*pack).or_default();
            hurt.count = hurt.count.saturating_add(entries);
            if hurt.listed < FILES_LISTED {
                hurt.listed += 1;
                hurt.files.push((self.snapshot, path.to_vec()));
            }
        }
    }

    /// Where a blob is, if it is bad.
    fn bad_pack(&self, kind: BlobKind, id: &BlobId) -> Result<Option<Option<PackName>>> {
        if let Some((pack, _)) = self.bad.blobs.get(&(id.prefix(), kind)) {
            return Ok(Some(*pack));
        }
        let place = self.repository.locate(kind, id)?;
        let pack = place.map(|place| place.pack).filter(|pack| self.bad.hurts(pack));
        Ok(pack.map(Some))
    }

    /// The bad packs and places that a file needs.
    fn needs(&self, entry: &Entry, packs: &mut Packs) -> Result<()> {
        let EntryKind::File { content, .. } = &entry.kind else {
            return Ok(());
        };
        match content {
            Content::Empty => {}
            Content::Slab { blob, .. } => packs.extend(self.bad_pack(BlobKind::Data, blob)?),
            Content::Chunks(extents) => {
                for extent in extents {
                    if let Extent::Chunk { blob, .. } = extent {
                        packs.extend(self.bad_pack(BlobKind::Data, blob)?);
                    }
                }
            }
            Content::List { blob } => {
                let mut lists = vec![*blob];
                while let Some(id) = lists.pop() {
                    packs.extend(self.bad_pack(BlobKind::Tree, &id)?);
                    let list = self.repository.load(&id);
                    match list.and_then(|blob| List::parse(&blob).map_err(|malformed| malformed.of(&id))) {
                        Ok(list) if list.height > 0 => lists.extend(list.table().iter()),
                        Ok(list) => {
                            for chunk in list.table().iter() {
                                packs.extend(self.bad_pack(BlobKind::Data, &chunk)?);
                            }
                        }
                        Err(error) if is_damage(&error) => {
                            let place = self.repository.locate(BlobKind::Tree, &id)?;
                            packs.insert(place.map(|place| place.pack));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }
}
