//! Trees: do they open, is everything that they name indexed, and do the snapshots' references name it too?
//!
//! Snapshots are walked in groups, all of a group at once and from the roots down, so that what they share is read once and it is known for each
//! tree blob which of them need it. What a group holds in memory grows with its packs and tree blobs, not with its files.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::fresh::Fresh;
use super::{Bad, CheckReport, Finding};
use crate::format::references::Used;
use crate::format::tree::list::List;
use crate::format::tree::{Node, TreeSource};
use crate::index::Place;
use crate::repository::damage::is_damage;
use crate::repository::{Repository, StoredSnapshot, View};
use crate::verbs::moved::Usage;
use crate::words::{BlobId, BlobKind, Error, PackName, Progress, Result};

/// Snapshots of a group: as many as a mask has bits.
const GROUP_SNAPSHOTS: usize = 64;
/// Packs in the references of a group, about.
const GROUP_PACKS: usize = 1 << 20;
/// How often a group is walked again when maintenance was faster.
const ATTEMPTS: usize = 3;

/// Walks every snapshot's tree. `view` is a full one: its references are compared with what the trees use.
pub(super) fn walk_all(
    repository: &Repository,
    mut view: Arc<View>,
    snapshots: &[StoredSnapshot],
    bad: &mut Bad,
    report: &mut CheckReport,
    progress: &dyn Progress,
) -> Result<()> {
    let mut rest = snapshots;
    progress.expect(snapshots.len() as u64, 0);
    let mut attempts = 0;
    while !rest.is_empty() {
        // Whoever has no key to references does not compare them; damage in them was found before.
        let has_key = repository.keys().maintenance.pair.is_some();
        let usage = match has_key.then(|| Usage::new(repository, &view)).transpose() {
            Ok(usage) => usage,
            Err(error) if is_damage(&error) => None,
            Err(error) => return Err(error),
        };
        let mut members = Vec::new();
        let mut packs = 0;
        for snapshot in rest.iter().take(GROUP_SNAPSHOTS) {
            // Forgotten and pruned since it was listed: there is nothing to compare with.
            let usage = usage.as_ref().filter(|_| view.committed(snapshot.id).is_some());
            let used = match usage.map(|usage| usage.of(snapshot.id)).transpose() {
                Ok(used) => used,
                Err(error) if is_damage(&error) => None,
                Err(error) => return Err(error),
            };
            packs += used.as_ref().map_or(0, HashMap::len);
            if packs > GROUP_PACKS && !members.is_empty() {
                break;
            }
            members.push(Member {
                snapshot,
                used,
                gap: Gap::default(),
            });
        }
        let mut walk = Walk {
            repository,
            source: Fresh::new(repository),
            members,
            masks: HashMap::new(),
            levels: Vec::new(),
            bad: &mut *bad,
            opened: 0,
        };
        walk.walk(progress)?;
        let Walk { members, opened, .. } = walk;
        let any_gap = members.iter().any(|member| member.gap.blobs > 0);
        let overtaken = any_gap && repository.refresh()?.generation.number != view.generation.number;
        if overtaken && attempts < ATTEMPTS {
            // Maintenance has moved what the references were compared with.
            attempts += 1;
            view = Arc::new(repository.load_full_view()?);
            continue;
        }
        attempts = 0;
        rest = &rest[members.len()..];
        report.tree_blobs += opened;
        report.snapshots += members.len() as u64;
        progress.done(members.len() as u64, 0);
        if overtaken {
            let note =
                "Maintenance was faster: the references of some snapshots could not be compared with their trees";
            report.notes.push(note.to_owned());
        } else {
            report.findings.extend(members.iter().filter_map(Member::finding));
        }
    }
    Ok(())
}

/// A snapshot of the group.
struct Member<'s> {
    snapshot: &'s StoredSnapshot,
    /// What its references name, by the packs where that is now.
    used: Option<HashMap<PackName, Used>>,
    gap: Gap,
}

/// What a tree needs and its references do not name.
#[derive(Default)]
struct Gap {
    blobs: u64,
    packs: BTreeSet<PackName>,
}

impl Member<'_> {
    fn names(&self, place: &Place) -> bool {
        let Some(used) = &self.used else { return true };
        used.get(&place.pack).is_some_and(|used| used.contains(place.ordinal))
    }

    fn finding(&self) -> Option<Finding> {
        let pack = *self.gap.packs.first()?;
        let message = format!(
            "The references of snapshot {} do not name {} blobs that its tree needs, in {} packs from {pack} on: prune would take them for unused",
            self.snapshot.id,
            self.gap.blobs,
            self.gap.packs.len(),
        );
        Some(Finding {
            message,
            pack: Some(pack),
            ..Finding::default()
        })
    }
}

/// A leaf or parent that has yet to be read, and the entries and bytes below it that its parent speaks of.
struct Todo {
    id: BlobId,
    said: Option<(u64, u64)>,
}

struct Walk<'a> {
    repository: &'a Repository,
    source: Fresh<'a>,
    members: Vec<Member<'a>>,
    /// By the first half of a tree blob's id: the members that need it.
    masks: HashMap<[u8; 16], u64>,
    /// By height: what has been named by something higher.
    levels: Vec<Vec<Todo>>,
    bad: &'a mut Bad,
    opened: u64,
}

impl Walk<'_> {
    fn walk(&mut self, progress: &dyn Progress) -> Result<()> {
        for number in 0..self.members.len() {
            let Some(record) = &self.members[number].snapshot.record else {
                continue;
            };
            let (id, mask) = (record.root.0, 1 << number);
            match Node::load(&self.source, &id) {
                Ok(Node::Parent(parent)) => self.push(parent.height, id, mask, None),
                Ok(Node::Leaf(_)) => self.push(0, id, mask, None),
                Err(error) => self.note(&id, error)?,
            }
        }
        // When a level's turn comes, everything higher has said who needs it.
        for height in (0..self.levels.len()).rev() {
            for todo in std::mem::take(&mut self.levels[height]) {
                if progress.interrupted() {
                    return Err(Error::Interrupted);
                }
                self.opened += 1;
                if let Err(error) = self.node(height as u8, &todo) {
                    self.note(&todo.id, error)?;
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, height: u8, id: BlobId, mask: u64, said: Option<(u64, u64)>) {
        let height = usize::from(height);
        if self.levels.len() <= height {
            self.levels.resize_with(height + 1, Vec::new);
        }
        let known = self.masks.entry(id.prefix()).or_default();
        if *known == 0 {
            self.levels[height].push(Todo { id, said });
        }
        *known |= mask;
    }

    /// Reads a leaf or parent; what is wrong with it is an error.
    fn node(&mut self, height: u8, todo: &Todo) -> Result<()> {
        let Todo { id, said } = todo;
        let mask = self.masks.get(&id.prefix()).copied().unwrap_or_default();
        let differs = || Error::damaged(format!("Tree blob {id}"), "it is not what its parent says");
        self.cover(BlobKind::Tree, id, mask)?;
        match Node::load(&self.source, id)? {
            Node::Parent(parent) => {
                let fits =
                    parent.height == height && said.is_none_or(|said| said == (parent.entries(), parent.bytes()));
                if !fits {
                    return Err(differs());
                }
                for child in &parent.children {
                    self.push(height - 1, child.id, mask, Some((child.entries, child.bytes)));
                }
            }
            Node::Leaf(leaf) => {
                for blob in leaf.table().iter() {
                    self.named_by_leaf(&blob, mask)?;
                }
                // Entries are read as well: what does not parse is damage.
                let mut cursor = leaf.cursor();
                while cursor.step().map_err(|malformed| malformed.of(id))? {
                    cursor.entry().map_err(|malformed| malformed.of(id))?;
                }
                if height != 0 || said.is_some_and(|said| said != (cursor.count(), cursor.bytes())) {
                    return Err(differs());
                }
            }
        }
        Ok(())
    }

    /// A leaf's table names data blobs and lists of chunks; the index tells which it is.
    fn named_by_leaf(&mut self, id: &BlobId, mask: u64) -> Result<()> {
        if self.repository.locate(BlobKind::Data, id)?.is_none()
            && self.repository.locate(BlobKind::Tree, id)?.is_some()
        {
            return self.list(id, mask);
        }
        self.cover(BlobKind::Data, id, mask)
    }

    fn list(&mut self, id: &BlobId, mask: u64) -> Result<()> {
        let known = self.masks.entry(id.prefix()).or_default();
        let (before, fresh) = (*known, mask & !*known);
        *known |= mask;
        if fresh == 0 {
            return Ok(());
        }
        self.opened += u64::from(before == 0);
        self.cover(BlobKind::Tree, id, fresh)?;
        let list = self.source.load(id);
        match list.and_then(|blob| List::parse(&blob).map_err(|malformed| malformed.of(id))) {
            Ok(list) if list.height > 0 => list.table().iter().try_for_each(|below| self.list(&below, fresh)),
            Ok(list) => {
                let mut chunks = list.table().iter();
                chunks.try_for_each(|chunk| self.cover(BlobKind::Data, &chunk, fresh))
            }
            Err(error) => self.note(id, error),
        }
    }

    /// Looks a blob up, and whether all who need it refer to it. Missing data is noted; missing trees are when they are read.
    fn cover(&mut self, kind: BlobKind, id: &BlobId, mask: u64) -> Result<()> {
        let place = match (self.repository.locate(kind, id)?, kind) {
            (Some(place), _) => place,
            (None, BlobKind::Tree) => return Ok(()),
            (None, BlobKind::Data) => match self.repository.find(kind, id) {
                Ok(place) => place,
                Err(error @ Error::MissingBlob { .. }) => {
                    self.bad.blobs.insert((id.prefix(), kind), (None, error.to_string()));
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        let mut places = None;
        for (number, member) in self.members.iter_mut().enumerate() {
            if mask & (1 << number) == 0 || member.names(&place) {
                continue;
            }
            // It may refer to the same blob in another pack.
            let places = match &mut places {
                Some(places) => places,
                none => none.insert(self.repository.view()?.index.places(kind, id)?),
            };
            if !places.iter().any(|place| member.names(place)) {
                member.gap.blobs += 1;
                member.gap.packs.insert(place.pack);
            }
        }
        Ok(())
    }

    /// Damage is noted; anything else ends the check.
    fn note(&mut self, id: &BlobId, error: Error) -> Result<()> {
        if !is_damage(&error) {
            return Err(error);
        }
        let pack = self.repository.locate(BlobKind::Tree, id)?.map(|place| place.pack);
        self.bad
            .blobs
            .insert((id.prefix(), BlobKind::Tree), (pack, error.to_string()));
        Ok(())
    }
}
