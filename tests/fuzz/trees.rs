//! Decoders of trees: single blobs, and trees and lists of them.

use std::collections::HashMap;

use bytes::Bytes;
use engine::crypto::BlobIds;
use engine::format::tree::leaf::Leaf;
use engine::format::tree::list::List;
use engine::format::tree::parent::Parent;
use engine::format::tree::{Content, EntryKind, ListReader, TreeDiff, TreeReader, TreeSource};
use engine::words::{BlobId, BlobKind, Error, Result};

use super::secret;

/// Entries of a tree or a list that are looked at: one blob in many places can stand for more than anybody wants to read.
const ENTRIES_MAX: usize = 20_000;

/// A leaf of a tree.
pub fn leaf(data: &[u8]) -> bool {
    let Ok(leaf) = Leaf::parse(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    let mut cursor = leaf.cursor();
    loop {
        match cursor.step() {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
        if cursor.entry().is_err() {
            return false;
        }
    }
}

/// A parent in a tree.
pub fn parent(data: &[u8]) -> bool {
    let Ok(parent) = Parent::parse(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    let _ = (parent.entries(), parent.bytes());
    true
}

/// A list of chunks, and what it leads to: 8 bytes are the size it should cover; then blobs as in [`tree`].
pub fn list(data: &[u8]) -> bool {
    let Some((size, blobs)) = data.split_first_chunk::<8>() else {
        return false;
    };
    let (blobs, size) = (Blobs::of(blobs), u64::from_le_bytes(*size));
    let Some(root) = blobs.root() else { return false };
    let _ = List::parse(&blobs.blobs[0]);
    let mut reader = ListReader::new(&blobs, root, size);
    let whole = reader.by_ref().take(ENTRIES_MAX).all(|extent| extent.is_ok());
    let mut reader = ListReader::new(&blobs, root, size);
    if reader.seek(size / 2).is_ok()
        && let Some(Ok((offset, extent))) = reader.next()
    {
        assert!(offset <= size / 2 && size / 2 < offset + extent.length());
    }
    whole
}

/// A tree: its blobs, each after its length in 3 bytes, the topmost one first. Read whole, searched, and compared with itself.
pub fn tree(data: &[u8]) -> bool {
    let blobs = Blobs::of(data);
    let Some(root) = blobs.root() else { return false };
    let mut reader = TreeReader::new(&blobs, root);
    let mut paths = Vec::new();
    let mut whole = false;
    for _ in 0..ENTRIES_MAX {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                if let EntryKind::File {
                    content: Content::List { blob, .. },
                    size,
                    ..
                } = &entry.kind
                {
                    let _ = ListReader::new(&blobs, *blob, *size)
                        .take(1000)
                        .all(|extent| extent.is_ok());
                }
                assert!(
                    paths.last().is_none_or(|last| *last != entry.path),
                    "a path comes twice"
                );
                paths.push(entry.path.clone());
            }
            Ok(None) => {
                whole = true;
                break;
            }
            Err(_) => break,
        }
    }
    if let Some(path) = paths.get(paths.len() / 2) {
        let mut reader = TreeReader::new(&blobs, root);
        let found = reader
            .seek(path)
            .and_then(|()| Ok(reader.next_entry()?.map(|entry| entry.path.clone())));
        assert!(
            !whole || found.is_ok_and(|found| found.as_ref() == Some(path)),
            "what was read is not found"
        );
    }
    if whole {
        let mut diff = TreeDiff::new(&blobs, root, root);
        assert!(matches!(diff.next(), None | Some(Err(_))), "a tree differs from itself");
    }
    whole
}

/// Blobs by their ids; an id that none has leads to one of them, so that a changed blob can still be met.
struct Blobs {
    blobs: Vec<Bytes>,
    places: HashMap<BlobId, usize>,
}

impl Blobs {
    fn of(mut data: &[u8]) -> Self {
        let ids = tree_ids();
        let (mut blobs, mut places) = (Vec::new(), HashMap::new());
        while let Some((length, rest)) = data.split_first_chunk::<3>() {
            let length = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
            let (blob, rest) = rest.split_at(length.min(rest.len()));
            places.insert(ids.id(BlobKind::Tree, blob), blobs.len());
            blobs.push(Bytes::copy_from_slice(blob));
            data = rest;
        }
        Self { blobs, places }
    }

    fn root(&self) -> Option<BlobId> {
        Some(tree_ids().id(BlobKind::Tree, self.blobs.first()?))
    }
}

/// The ids that blobs of a seed name each other by.
pub fn tree_ids() -> BlobIds {
    BlobIds::new(&secret())
}

impl TreeSource for Blobs {
    fn load(&self, id: &BlobId) -> Result<Bytes> {
        let place = self.places.get(id).copied();
        let place = place.or_else(|| usize::from(id.0[0]).checked_rem(self.blobs.len()));
        let blob = place.and_then(|place| self.blobs.get(place));
        blob.cloned()
            .ok_or_else(|| Error::damaged("tree", "there are no blobs"))
    }
}
