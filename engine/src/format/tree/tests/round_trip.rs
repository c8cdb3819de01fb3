//! Whatever can be an entry comes back as it was, and lists of chunks too.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::leaf::Leaf;
use super::super::leaf_writer::LeafWriter;
use super::super::*;
use super::samples::*;
use crate::words::{Error, Result};

proptest! {
    #[test]
    fn entries_of_every_kind_come_back(entries in entries(60)) {
        let mut blobs = Blobs::default();
        let root = write(&entries, &mut blobs);
        prop_assert_eq!(root.entries, entries.len() as u64);
        prop_assert_eq!(root.bytes, entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.size())));
        prop_assert_eq!(read(&root, &blobs), entries);
    }

    #[test]
    fn an_entry_that_is_refused_when_written_would_be_refused_when_read(entries in entries(10), seed in any::<u64>()) {
        // Breaks one thing that both sides have to see.
        let Some(mut entry) = entries.into_iter().last() else { return Ok(()) };
        match seed % 3 {
            0 => entry.metadata.mode = 0o10000,
            1 => entry.path.extend_from_slice(b"/.."),
            _ => entry.metadata.attributes = vec![(b"b".to_vec(), vec![]), (b"a".to_vec(), vec![])],
        }
        let refused = TreeWriter::new(CUT_KEY).push(&entry, &mut Blobs::default());
        prop_assert!(matches!(refused, Err(Error::Invalid(_))));
    }

    #[test]
    fn contents_come_back_through_lists(extents in vec((0u64..50, 1u32..1 << 20), 0..5000), offsets in vec(any::<prop::sample::Index>(), 5)) {
        let mut blobs = Blobs::default();
        let extents: Vec<Extent> = extents.into_iter().enumerate().map(|(at, (seed, length))| match seed {
            // No two holes beside each other: these would become one.
            0 if at % 2 == 0 => Extent::Hole { length: u64::from(length) },
            _ => Extent::Chunk { blob: id(seed * at as u64), length },
        }).collect();
        let size: u64 = extents.iter().map(Extent::length).sum();
        let mut writer = ContentWriter::new();
        for extent in &extents {
            writer.push(*extent, &mut blobs)?;
        }
        prop_assert_eq!(writer.size(), size);
        match writer.finish(&mut blobs)? {
            Content::Empty => prop_assert!(extents.len() <= 1),
            Content::Chunks(inline) => prop_assert_eq!(inline, extents),
            Content::List { blob } => {
                prop_assert!(extents.len() > 1024);
                let mut expected = Vec::new();
                let mut offset = 0;
                for extent in &extents {
                    expected.push((offset, *extent));
                    offset += extent.length();
                }
                let mut reader = ListReader::new(&blobs, blob, size);
                let all: Vec<_> = reader.by_ref().collect::<Result<_>>()?;
                prop_assert_eq!(&all, &expected);
                for place in offsets {
                    let target = place.index(size as usize) as u64;
                    let from = expected.partition_point(|(offset, _)| *offset <= target) - 1;
                    reader.seek(target)?;
                    prop_assert_eq!(reader.next().unwrap()?, expected[from]);
                    prop_assert_eq!(reader.next().transpose()?, expected.get(from + 1).copied());
                }
                reader.seek(size)?;
                prop_assert!(reader.next().is_none());
                // A list of a file of another size is damage.
                for size in [size - 1, size + 1] {
                    prop_assert!(ListReader::new(&blobs, blob, size).any(|item| item.is_err()));
                }
            }
            Content::Slab { .. } => prop_assert!(false, "nobody asked for a slab"),
        }
    }
}

#[test]
fn an_empty_tree_is_one_empty_leaf() {
    let mut blobs = Blobs::default();
    let root = write(&[], &mut blobs);
    assert_eq!((root.entries, root.bytes, blobs.blobs.len()), (0, 0, 1));
    assert_eq!(read(&root, &blobs), []);
    assert!(Cursor::new(&blobs, root.id).find(b"a").unwrap().is_none());
}

#[test]
fn entries_out_of_order_are_refused() {
    for (first, second) in [("b", "a"), ("a", "a"), ("a.b", "a/b"), ("file", "file/below")] {
        let mut writer = TreeWriter::new(CUT_KEY);
        writer.push(&file(first), &mut Blobs::default()).unwrap();
        let refused = writer.push(&file(second), &mut Blobs::default());
        assert!(matches!(refused, Err(Error::Internal(_))), "{first} {second}");
    }
}

#[test]
fn contents_that_do_not_fit_their_size_are_refused() {
    let chunk = |length| Extent::Chunk { blob: id(1), length };
    let slab = |offset| Content::Slab {
        blob: id(1),
        offset,
        check: [0; 8],
    };
    for (size, content) in [
        (10, Content::Chunks(vec![chunk(9)])),
        (10, Content::Chunks(vec![chunk(11)])),
        (1 << 30, Content::Chunks(vec![chunk(1 << 30)])),
        (0, Content::Chunks(vec![chunk(0)])),
        (0, Content::Chunks(vec![Extent::Hole { length: u64::MAX }, chunk(1)])),
        (1, slab(16 << 20)),
        (u64::MAX, slab(1)),
        (0, Content::List { blob: id(1) }),
    ] {
        let kind = EntryKind::File {
            size,
            content,
            link: None,
            from_device: false,
        };
        let entry = Entry { kind, ..file("a") };
        let refused = TreeWriter::new(CUT_KEY).push(&entry, &mut Blobs::default());
        assert!(matches!(refused, Err(Error::Invalid(_))), "{entry:?}");
    }
}

/// Three sparse files of 8 EiB are one too many for 64 bits; a backup must not fail for that.
#[test]
fn a_sum_of_sizes_that_is_too_large_stays_at_the_largest_number() {
    let mut blobs = Blobs::default();
    let kind = || EntryKind::File {
        size: 1 << 63,
        content: Content::Empty,
        link: None,
        from_device: false,
    };
    let entries: Vec<Entry> = files(3000)
        .into_iter()
        .map(|entry| {
            if matches!(entry.kind, EntryKind::File { .. }) {
                Entry { kind: kind(), ..entry }
            } else {
                entry
            }
        })
        .collect();
    let root = write(&entries, &mut blobs);
    assert_eq!(root.bytes, u64::MAX);
    assert_eq!(read(&root, &blobs), entries);
}

/// Attributes may be large; one entry is then a leaf of its own, and never more than a blob.
#[test]
fn large_entries_fit_and_larger_ones_are_refused() {
    let mut blobs = Blobs::default();
    let large = |path: &str, bytes: usize| {
        let mut entry = file(path);
        entry.metadata.attributes = vec![(b"user.large".to_vec(), vec![1; bytes])];
        entry
    };
    let entries = [
        large("a", 11 << 20),
        large("b", 300 << 10),
        large("c", 11 << 20),
        file("d"),
    ];
    let root = write(&entries, &mut blobs);
    assert_eq!(read(&root, &blobs), entries);
    let refused = TreeWriter::new(CUT_KEY).push(&large("e", 12 << 20), &mut blobs);
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

#[test]
fn long_paths_make_small_parents() {
    let mut blobs = Blobs::default();
    let name = "n".repeat(255);
    let mut path = vec![name.as_str(); 3000].join("/");
    let base = path.len();
    let entries: Vec<Entry> = (0..60)
        .map(|i| {
            path.truncate(base);
            path.push_str(&format!("-{i:03}"));
            // The last name is now over 255 bytes unless it is cut first.
            let at = path.rfind('/').unwrap();
            path.replace_range(at + 1..at + 250, "");
            let mut entry = file(&path);
            path.insert_str(at + 1, &"n".repeat(249));
            entry.metadata.attributes = vec![(b"user.large".to_vec(), vec![1; 260 << 10])];
            entry
        })
        .collect();
    let root = write(&entries, &mut blobs);
    assert_eq!(read(&root, &blobs), entries);
}

/// The table is for whoever counts references without decoding entries.
#[test]
fn a_leaf_names_each_blob_once() {
    let mut writer = LeafWriter::default();
    for i in 0..200 {
        writer.push(&file(&format!("file-{i:03}"))).unwrap();
    }
    let leaf = Leaf::parse(&writer.finish().into()).unwrap();
    let mut ids: Vec<_> = leaf.table().iter().collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), all), (all, leaf.table().len()));
    assert!(all <= 50);
}
