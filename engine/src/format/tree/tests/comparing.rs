//! Differences equal those of the two lists of entries, cost what differs and no more; loading ahead changes nothing but the time.

use proptest::prelude::*;

use super::super::*;
use super::samples::*;
use crate::words::{Result, Timestamp};

fn differences(blobs: &Blobs, before: &Root, after: &Root) -> Vec<Difference> {
    TreeDiff::new(blobs, before.id, after.id)
        .collect::<Result<_>>()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn differences_equal_those_of_the_lists(left in entries(40), right in entries(40), shared in entries(40), large in any::<bool>()) {
        // Two trees that have something in common.
        let mix = |own: Vec<Entry>| {
            let mut all = own;
            all.extend(shared.iter().cloned());
            all.sort_by(|left, right| path::compare(&left.path, &right.path));
            all.dedup_by(|second, first| second.path == first.path);
            let mut entries: Vec<Entry> = Vec::new();
            for mut entry in all {
                if let Some(before) = entries.last_mut() && path::is_within(&entry.path, &before.path) {
                    before.kind = EntryKind::Folder;
                }
                // No list of these is stored anywhere.
                if let EntryKind::File { content, .. } = &mut entry.kind && let Content::List { .. } = content {
                    *content = Content::Empty;
                }
                if large {
                    entry.metadata.attributes = vec![(b"user.fill".to_vec(), vec![0; 100 << 10])];
                }
                entries.push(entry);
            }
            entries
        };
        let (left, right) = (mix(left), mix(right));
        let mut blobs = Blobs::default();
        let (before, after) = (write(&left, &mut blobs), write(&right, &mut blobs));
        let (mut removed, mut added, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        let mut last: Option<Vec<u8>> = None;
        for difference in differences(&blobs, &before, &after) {
            let path = match &difference {
                Difference::Added(entry) | Difference::Removed(entry) => entry.path.clone(),
                Difference::Changed { before, .. } => before.path.clone(),
            };
            prop_assert!(last.as_ref().is_none_or(|last| path::compare(last, &path).is_lt()));
            last = Some(path);
            match difference {
                Difference::Added(entry) => added.push(entry),
                Difference::Removed(entry) => removed.push(entry),
                Difference::Changed { before, after, change } => {
                    prop_assert!(change.any());
                    prop_assert_eq!(&before.path, &after.path);
                    changed.push((before, after));
                }
            }
        }
        let at = |entries: &[Entry], path: &[u8]| entries.iter().find(|entry| entry.path == path).cloned();
        let only = |these: &[Entry], others: &[Entry]| -> Vec<Entry> {
            these.iter().filter(|entry| at(others, &entry.path).is_none()).cloned().collect()
        };
        prop_assert_eq!(removed, only(&left, &right));
        prop_assert_eq!(added, only(&right, &left));
        let expected: Vec<(Entry, Entry)> = left.iter().filter_map(|entry| Some((entry.clone(), at(&right, &entry.path)?)))
            .filter(|(left, right)| diff::compare(&&blobs, left, right).unwrap().any()).collect();
        prop_assert_eq!(changed, expected);
    }
}

#[test]
fn a_difference_says_what_changed() {
    let blobs = Blobs::default();
    let compare = |left: &Entry, right: &Entry| diff::compare(&&blobs, left, right).unwrap();
    let same = file("a");
    assert!(!compare(&same, &same).any());
    let mut touched = same.clone();
    touched.metadata.changed = Timestamp(5);
    touched.metadata.inode = 5;
    if let EntryKind::File {
        content: Content::Slab { blob, offset, .. },
        ..
    } = &mut touched.kind
    {
        (*blob, *offset) = (id(900), 17);
    }
    assert!(
        !compare(&same, &touched).any(),
        "what is not restored, and where it lies, does not count"
    );
    touched.metadata.mode = 0o600;
    assert_eq!(
        compare(&same, &touched),
        Change {
            metadata: true,
            ..Change::default()
        }
    );
    if let EntryKind::File {
        content: Content::Slab { check, .. },
        ..
    } = &mut touched.kind
    {
        check[0] ^= 1;
    }
    assert_eq!(
        compare(&same, &touched),
        Change {
            metadata: true,
            content: true,
            kind: false
        }
    );
    assert_eq!(
        compare(&same, &folder("a")),
        Change {
            kind: true,
            ..Change::default()
        }
    );
}

#[test]
fn contents_are_equal_however_their_holes_are_cut() {
    let mut blobs = Blobs::default();
    let chunk = |seed| Extent::Chunk {
        blob: id(seed),
        length: 100,
    };
    let hole = |length| Extent::Hole { length };
    let list = |blobs: &mut Blobs, extents: Vec<Extent>| {
        let mut writer = ContentWriter::new();
        for extent in extents {
            writer.push(extent, blobs).unwrap();
        }
        writer.finish(blobs).unwrap()
    };
    let many: Vec<Extent> = (0..2000).map(chunk).collect();
    let mut others = many.clone();
    others[1999] = chunk(7);
    let mut split = many.clone();
    split.splice(0..0, [hole(5), hole(5)]);
    let mut joined = many.clone();
    joined.splice(0..0, [hole(10)]);
    let cases = [
        (Content::Empty, Content::Chunks(vec![hole(10)]), 10, false),
        (
            Content::Chunks(vec![hole(4), hole(6)]),
            Content::Chunks(vec![hole(10)]),
            10,
            false,
        ),
        (
            Content::Chunks(vec![chunk(1), hole(10)]),
            Content::Chunks(vec![chunk(1), hole(3), hole(7)]),
            110,
            false,
        ),
        (
            Content::Chunks(vec![chunk(1), hole(100)]),
            Content::Chunks(vec![hole(100), chunk(1)]),
            200,
            true,
        ),
        (Content::Empty, Content::Chunks(vec![chunk(1)]), 100, true),
        (
            list(&mut blobs, many.clone()),
            Content::Chunks(many.clone()),
            200_000,
            false,
        ),
        (list(&mut blobs, many.clone()), list(&mut blobs, others), 200_000, true),
        (list(&mut blobs, split), list(&mut blobs, joined), 200_010, false),
    ];
    for (left, right, size, differs) in cases {
        let entry = |content| Entry {
            kind: EntryKind::File {
                size,
                content,
                link: None,
                from_device: false,
            },
            ..file("a")
        };
        let (left, right) = (entry(left), entry(right));
        for (left, right) in [(&left, &right), (&right, &left)] {
            assert_eq!(diff::compare(&&blobs, left, right).unwrap().content, differs, "{size}");
        }
    }
}

#[test]
fn a_difference_costs_what_differs() {
    let mut blobs = Blobs::default();
    let entries = files(100_000);
    let before = write(&entries, &mut blobs);
    assert_eq!(differences(&blobs, &before, &before), []);
    assert_eq!(blobs.loads(), 0);
    let mut changed = entries.clone();
    changed[70_000].metadata.mode = 0o600;
    changed.remove(50_000);
    let after = write(&changed, &mut blobs);
    let found = differences(&blobs, &before, &after);
    assert!(
        matches!(found.as_slice(), [Difference::Removed(_), Difference::Changed { .. }]),
        "{found:?}"
    );
    assert!(blobs.loads() <= 16, "{} loads", blobs.loads());
}

#[test]
fn loading_ahead_changes_nothing_but_the_time() {
    let mut blobs = Blobs::default();
    let entries = files(50_000);
    let root = write(&entries, &mut blobs);
    let count = blobs.blobs.len();
    for (threads, held) in [(1, 16), (3, 64), (1, 1), (1, 0)] {
        let before = blobs.loads();
        let read: Vec<Entry> = std::thread::scope(|scope| {
            let ahead = ReadAhead::new(scope, &blobs, threads, held);
            TreeReader::new(&ahead, root.id).collect::<Result<_>>().unwrap()
        });
        assert_eq!(read, entries);
        if held >= 64 {
            assert_eq!(blobs.loads() - before, count, "each blob is loaded once");
        }
    }
}

#[test]
fn what_cannot_be_loaded_ahead_fails_when_it_is_asked_for() {
    let mut blobs = Blobs::default();
    let root = write(&files(20_000), &mut blobs);
    let Node::Parent(parent) = Node::load(&blobs, &root.id).unwrap() else {
        panic!("20,000 files make a parent")
    };
    blobs.blobs.remove(&parent.children[5].id);
    let read: Vec<Result<Entry>> = std::thread::scope(|scope| {
        let ahead = ReadAhead::new(scope, &blobs, 2, 64);
        TreeReader::new(&ahead, root.id).collect()
    });
    let whole: u64 = parent.children[..5].iter().map(|child| child.entries).sum();
    assert_eq!(read.len() as u64, whole + 1);
    assert!(read.last().unwrap().is_err());
}
