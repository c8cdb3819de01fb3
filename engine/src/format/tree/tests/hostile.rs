//! Bytes that nobody wrote, or that somebody changed: never a panic, never without an end, never what FORMAT.md refuses.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::leaf::Leaf;
use super::super::parent::Parent;
use super::super::*;
use super::samples::*;
use crate::words::{BlobId, Error, Result};

/// Reads everything that a blob could be taken for.
fn read_as_anything(blob: &[u8]) {
    let blob = Bytes::copy_from_slice(blob);
    if let Ok(leaf) = Leaf::parse(&blob) {
        let mut cursor = leaf.cursor();
        while let Ok(true) = cursor.step() {
            if cursor.entry().is_err() {
                break;
            }
        }
    }
    drop(Parent::parse(&blob));
    let mut blobs = Blobs::default();
    let root = blobs.save(blob.to_vec()).unwrap();
    let _ = TreeReader::new(&blobs, root).collect::<Result<Vec<_>>>();
    let _ = ListReader::new(&blobs, root, 1 << 20).collect::<Result<Vec<_>>>();
}

proptest! {
    #[test]
    fn random_bytes_never_panic(kind in 0u8..5, bytes in vec(any::<u8>(), 0..300)) {
        read_as_anything(&[&[kind], bytes.as_slice()].concat());
    }

    #[test]
    fn small_numbers_never_panic(kind in 1u8..4, bytes in vec(0u8..6, 0..300)) {
        read_as_anything(&[&[kind], bytes.as_slice()].concat());
    }

    #[test]
    fn changed_blobs_never_panic(entries in entries(20), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut blobs = Blobs::default();
        write(&entries, &mut blobs);
        for blob in blobs.blobs.values() {
            let mut changed = blob.to_vec();
            for (place, byte) in &changes {
                let place = place.index(changed.len());
                changed[place] ^= byte;
            }
            read_as_anything(&changed);
            changed.truncate(cut.index(changed.len()));
            read_as_anything(&changed);
        }
    }
}

/// Writes a leaf by hand: each entry is its shared bytes, its suffix, its type, and whatever comes after the metadata.
fn leaf(entries: &[(u8, &[u8], u8, &[u8])]) -> Bytes {
    let mut blob = vec![1, 0];
    for (shared, suffix, kind, body) in entries {
        let mut rest = vec![*shared, suffix.len() as u8];
        rest.extend_from_slice(suffix);
        rest.push(*kind);
        rest.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        rest.extend_from_slice(body);
        blob.push(rest.len() as u8);
        blob.extend_from_slice(&rest);
    }
    blob.into()
}

fn read_leaf(blob: &Bytes) -> Result<Vec<Entry>> {
    let mut blobs = Blobs::default();
    let root = blobs.save(blob.to_vec())?;
    TreeReader::new(&blobs, root).collect()
}

#[test]
fn what_the_format_allows_is_read() {
    let good: [&[(u8, &[u8], u8, &[u8])]; 6] = [
        &[],
        &[(0, b"", 1, b""), (0, b"a", 1, b""), (1, b"/b", 2, &[0, 0])],
        &[(0, b"a", 3, &[1, 1, b'x'])],
        &[(0, b"a", 6, &[2, 2, 8, 1])],
        // Fields of a later version, before, between and after ours.
        &[(0, b"a", 6, &[0, 1, 9, 2, 2, 8, 1, 200, 3, 1, 2, 3])],
        // Less shared than could be.
        &[(0, b"ab", 1, b""), (0, b"ac", 1, b"")],
    ];
    for entries in good {
        assert!(read_leaf(&leaf(entries)).is_ok(), "{entries:?}");
    }
}

#[test]
fn what_the_format_refuses_is_damage() {
    let bad: [(&str, &[(u8, &[u8], u8, &[u8])]); 22] = [
        ("equal paths", &[(0, b"a", 1, b""), (0, b"a", 1, b"")]),
        ("falling paths", &[(0, b"b", 1, b""), (0, b"a", 1, b"")]),
        (
            "a folder after what sorts behind its content",
            &[(0, b"a.b", 1, b""), (1, b"/b", 1, b"")],
        ),
        ("the root twice", &[(0, b"", 1, b""), (0, b"", 1, b"")]),
        ("below a file", &[(0, b"a", 2, &[0, 0]), (1, b"/b", 1, b"")]),
        (
            "below a root that is a file",
            &[(0, b"", 2, &[0, 0]), (0, b"b", 1, b"")],
        ),
        ("shared with nothing", &[(1, b"a", 1, b"")]),
        ("dots", &[(0, b"..", 1, b"")]),
        ("dots made of a shared half", &[(0, b"a/.a", 1, b""), (3, b".", 1, b"")]),
        ("absolute", &[(0, b"/a", 1, b"")]),
        ("no name at the end", &[(0, b"a/", 1, b"")]),
        ("zero byte", &[(0, b"a\0", 1, b"")]),
        ("type 0", &[(0, b"a", 0, b"")]),
        ("type 8", &[(0, b"a", 8, b"")]),
        ("link without target", &[(0, b"a", 3, b"")]),
        ("device without numbers", &[(0, b"a", 7, b"")]),
        ("folder with a target", &[(0, b"a", 1, &[1, 1, b'x'])]),
        ("fifo that is a device's content", &[(0, b"a", 4, &[5, 0])]),
        ("fields that fall", &[(0, b"a", 3, &[1, 1, b'x', 0, 0])]),
        ("a field that is too long", &[(0, b"a", 6, &[2, 3, 8, 1, 0])]),
        ("a field beyond the end", &[(0, b"a", 1, &[9, 200])]),
        ("content of an unknown type", &[(0, b"a", 2, &[1, 4])]),
    ];
    for (what, entries) in bad {
        assert!(
            matches!(read_leaf(&leaf(entries)), Err(Error::Damaged { .. })),
            "{what}"
        );
    }
}

/// A table that claims 2^60 ids, an entry that claims 65,536 extents, and the like: nothing is allocated for what is not there.
#[test]
fn lengths_that_lie_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for kind in [&[1u8][..], &[2, 1], &[3, 0], &[3, 1]] {
        let blob: Bytes = [kind, &huge, &[0; 40]].concat().into();
        assert!(read_leaf(&blob).is_err());
        let mut blobs = Blobs::default();
        let root = blobs.save(blob.to_vec()).unwrap();
        assert!(ListReader::new(&blobs, root, 1).any(|item| item.is_err()));
    }
    assert!(read_leaf(&leaf(&[(0, b"a", 2, &[&[1, 2][..], &huge].concat())])).is_err());
    assert!(read_leaf(&leaf(&[(0, b"a", 1, &[&[3, 9][..], &huge].concat())])).is_err());
}

/// A parent may say what it likes: children are held to it.
#[test]
fn children_that_are_not_as_their_parent_says_are_damage() {
    let mut blobs = Blobs::default();
    let root = write(&files(20_000), &mut blobs);
    let parent = blobs.blobs[&root.id].clone();
    let Node::Parent(parsed) = Node::load(&blobs, &root.id).unwrap() else {
        panic!("20,000 files make a parent")
    };
    let count = parsed.children.len();
    assert!(count > 5);
    let lie = |blobs: &mut Blobs, change: &dyn Fn(&mut Parent)| {
        let mut changed = Parent::parse(&parent).unwrap();
        change(&mut changed);
        let mut writer = super::super::parent::ParentWriter::default();
        changed.children.iter().for_each(|child| writer.push(child));
        let id = blobs.save(writer.finish(changed.height).0).unwrap();
        TreeReader::new(&*blobs, id)
            .collect::<Result<Vec<_>>>()
            .map(|entries| entries.len())
    };
    assert_eq!(lie(&mut blobs, &|_| {}).unwrap(), 20_200);
    let lies: [&dyn Fn(&mut Parent); 6] = [
        &|parent| parent.children[2].entries += 1,
        &|parent| parent.children[2].bytes -= 1,
        &|parent| parent.children[2].first = [&parent.children[2].first[..], b"x"].concat().into(),
        &|parent| parent.children[3].id = parent.children[2].id,
        &|parent| parent.height = 2,
        &|parent| parent.children[0].id = root.id,
    ];
    for (at, change) in lies.iter().enumerate() {
        assert!(
            matches!(lie(&mut blobs, change), Err(Error::Damaged { .. })),
            "lie {at}"
        );
    }
}

#[test]
fn a_missing_blob_ends_the_reading_once() {
    let mut blobs = Blobs::default();
    let root = write(&files(5_000), &mut blobs);
    let Node::Parent(parent) = Node::load(&blobs, &root.id).unwrap() else {
        panic!("5,000 files make a parent")
    };
    blobs.blobs.remove(&parent.children[1].id);
    let mut reader = TreeReader::new(&blobs, root.id);
    let read: Vec<Result<Entry>> = reader.by_ref().collect();
    assert_eq!(read.iter().filter(|entry| entry.is_err()).count(), 1);
    assert!(read.last().unwrap().is_err());
    assert_eq!(read.len() as u64, parent.children[0].entries + 1);
    assert!(reader.next_entry().unwrap().is_none());
}

/// A list that holds itself would never end; heights forbid it.
#[test]
fn lists_of_the_wrong_height_are_damage() {
    let mut blobs = Blobs::default();
    let chunk = [[3u8, 0, 1].as_slice(), &[5; 32], &[1, 10]].concat();
    let id = blobs.save(chunk).unwrap();
    let above = |height: u8, below: BlobId, covered: u8| [[3, height, 1].as_slice(), &below.0, &[covered]].concat();
    let good = blobs.save(above(1, id, 10)).unwrap();
    assert_eq!(ListReader::new(&blobs, good, 10).count(), 1);
    let extents = |blobs: &Blobs, root: BlobId| ListReader::new(blobs, root, 10).collect::<Result<Vec<_>>>();
    for (height, covered) in [(2, 10), (8, 10), (9, 10), (1, 9), (1, 0), (1, 11)] {
        let bad = blobs.save(above(height, id, covered)).unwrap();
        assert!(
            matches!(extents(&blobs, bad), Err(Error::Damaged { .. })),
            "{height} {covered}"
        );
    }
    let leaf = blobs.save(vec![1, 0]).unwrap();
    assert!(matches!(extents(&blobs, leaf), Err(Error::Damaged { .. })));
    assert!(TreeReader::new(&blobs, good).any(|entry| entry.is_err()));
}
