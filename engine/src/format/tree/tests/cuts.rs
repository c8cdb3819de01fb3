//! Where leaves, parents and lists are cut, and how little a change moves.

use super::super::*;
use super::samples::*;
use crate::words::{BlobId, Timestamp};

/// The first paths of all leaves, and how many parents there are.
fn leaves(root: BlobId, blobs: &Blobs) -> (Vec<Vec<u8>>, usize) {
    match Node::load(blobs, &root).unwrap() {
        Node::Leaf(_) => (vec![Vec::new()], 0),
        Node::Parent(parent) => {
            let (mut firsts, mut parents) = (Vec::new(), 1);
            for child in &parent.children {
                if parent.height == 1 {
                    firsts.push(child.first.to_vec());
                } else {
                    let (below, more) = leaves(child.id, blobs);
                    firsts.extend(below);
                    parents += more;
                }
            }
            (firsts, parents)
        }
    }
}

#[test]
fn cuts_do_not_depend_on_metadata() {
    let mut blobs = Blobs::default();
    let entries = files(40_000);
    let before = leaves(write(&entries, &mut blobs).id, &blobs);
    assert!((20..200).contains(&before.0.len()), "{}", before.0.len());
    let mut touched = entries.clone();
    for (at, entry) in touched.iter_mut().enumerate() {
        entry.metadata.modified = Timestamp(entry.metadata.modified.0 ^ 0x3ff);
        entry.metadata.user = 500 + at as u32 % 100;
    }
    let after = leaves(write(&touched, &mut blobs).id, &blobs);
    assert_eq!(before, after);
}

#[test]
fn a_local_change_costs_a_leaf_and_its_parents() {
    let entries = files(200_000);
    let mut blobs = Blobs::default();
    write(&entries, &mut blobs);
    let all = blobs.blobs.len();
    let mut worst = 0;
    for place in [0, 1, 777, 100_000, entries.len() - 1] {
        let mut removed = entries.clone();
        removed.remove(place.max(1));
        let mut touched = entries.clone();
        touched[place].metadata.mode ^= 1;
        let mut added = entries.clone();
        let path = [entries[place].path.as_slice(), b".new"].concat();
        let sorted = added.partition_point(|entry| path::compare(&entry.path, &path).is_lt());
        added.insert(sorted, Entry { path, ..file("x") });
        for changed in [removed, touched, added] {
            let before = blobs.blobs.len();
            write(&changed, &mut blobs);
            worst = worst.max(blobs.blobs.len() - before);
        }
    }
    // A leaf and its parents; now and then the change moves a cut that was near the least size.
    assert!(worst <= 8, "{worst} of {all} blobs");
}

#[test]
fn parents_of_parents_are_cut_by_content_too() {
    // One entry a leaf, so that there are many: an attribute fills each.
    let entry = |i: usize| {
        let mut entry = file(&format!("{i:08}"));
        entry.metadata.attributes = vec![(b"user.fill".to_vec(), vec![0; 256 << 10])];
        entry
    };
    // Equal leaves are stored once by a real sink; here only ids are kept.
    struct Ids(Vec<BlobId>);
    impl TreeSink for Ids {
        fn save(&mut self, blob: Vec<u8>) -> crate::words::Result<BlobId> {
            // A real hash of parents, a cheap one of large leaves.
            let id = BlobId(*blake3::hash(&blob[..blob.len().min(64 << 10)]).as_bytes());
            if blob[0] == 2 {
                self.0.push(id);
            }
            Ok(id)
        }
    }
    let parents = |skip: usize| {
        let mut ids = Ids(Vec::new());
        let mut writer = TreeWriter::new(CUT_KEY);
        for i in (0..4000).filter(|i| *i != skip) {
            writer.push(&entry(i), &mut ids).unwrap();
        }
        writer.finish(&mut ids).unwrap();
        ids.0
    };
    let before = parents(usize::MAX);
    assert!((40..300).contains(&before.len()), "{} parents", before.len());
    let changed = parents(1000).iter().filter(|id| !before.contains(id)).count();
    assert!(changed <= 6, "{changed} parents");
}

#[test]
fn a_changed_chunk_of_a_huge_file_costs_its_lists() {
    let mut blobs = Blobs::default();
    let write = |blobs: &mut Blobs, extents: &[Extent]| {
        let mut writer = ContentWriter::new();
        for extent in extents {
            writer.push(*extent, blobs).unwrap();
        }
        writer.finish(blobs).unwrap()
    };
    let extents: Vec<Extent> = (0..200_000)
        .map(|seed| Extent::Chunk {
            blob: id(seed),
            length: 1 << 20,
        })
        .collect();
    let first = write(&mut blobs, &extents);
    assert!(matches!(first, Content::List { .. }));
    let all = blobs.blobs.len();
    assert!((400..1200).contains(&all), "{all} lists");
    for place in [0, 777, 199_999] {
        let mut changed = extents.clone();
        changed[place] = Extent::Chunk {
            blob: id(1 << 40),
            length: 1 << 20,
        };
        let mut removed = extents.clone();
        removed.remove(place);
        let mut added = extents.clone();
        added.insert(
            place,
            Extent::Chunk {
                blob: id(1 << 41),
                length: 1 << 20,
            },
        );
        for changed in [changed, removed, added] {
            let before = blobs.blobs.len();
            write(&mut blobs, &changed);
            let new = blobs.blobs.len() - before;
            assert!(new <= 12, "{new} of {all} lists");
        }
    }
}

#[test]
fn a_tree_keeps_the_shape_that_was_measured() {
    let mut blobs = Blobs::default();
    let root = write(&files(100_000), &mut blobs);
    let (firsts, parents) = leaves(root.id, &blobs);
    let bytes: usize = blobs.blobs.values().map(|blob| blob.len()).sum();
    // About a thousand entries a leaf, and a parent over a hundred of these.
    assert!((70..140).contains(&firsts.len()), "{} leaves", firsts.len());
    assert!(parents <= 8, "{parents} parents");
    assert!(bytes / 101_000 < 70, "{} bytes an entry", bytes / 101_000);
}
