//! Seeking equals filtering, subtrees are what is below, looking up finds what is there; and none of it loads what it passes over.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::samples::*;
use crate::words::Result;

fn expected_from<'a>(entries: &'a [Entry], path: &[u8]) -> &'a [Entry] {
    &entries[entries.partition_point(|entry| path::compare(&entry.path, path).is_lt())..]
}

/// Entries that make several leaves: an attribute fills them.
fn filled(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        entry.metadata.attributes = vec![(b"user.fill".to_vec(), vec![0; 100 << 10])];
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn seeking_equals_filtering(entries in entries(40), others in entries(10), large in any::<bool>()) {
        let mut blobs = Blobs::default();
        let entries = if large { filled(entries) } else { entries };
        let root = write(&entries, &mut blobs);
        let mut reader = TreeReader::new(&blobs, root.id);
        let mut targets: Vec<&[u8]> = others.iter().chain(&entries).map(|entry| entry.path.as_slice()).collect();
        // Forward and back, with and without reading in between.
        targets.rotate_left(others.len() / 2);
        for (at, target) in targets.iter().enumerate() {
            reader.seek(target)?;
            let mut expected = expected_from(&entries, target).iter();
            prop_assert_eq!(reader.peek()?, expected.clone().next());
            for _ in 0..at % 4 {
                let next = reader.next().transpose()?;
                prop_assert_eq!(next.as_ref(), expected.next());
            }
        }
        for target in targets {
            let below: Vec<Entry> = TreeReader::new(&blobs, root.id).subtree(target)?.collect::<Result<_>>()?;
            let expected: Vec<Entry> = entries.iter().filter(|entry| path::is_within(&entry.path, target)).cloned().collect();
            prop_assert_eq!(below, expected);
        }
    }

    #[test]
    fn finding_equals_a_map(entries in entries(40), others in entries(40), shuffled in vec(any::<prop::sample::Index>(), 10), large in any::<bool>()) {
        let mut blobs = Blobs::default();
        let entries = if large { filled(entries) } else { entries };
        let root = write(&entries, &mut blobs);
        let mut paths: Vec<&[u8]> = entries.iter().step_by(2).chain(&others).map(|entry| entry.path.as_slice()).collect();
        paths.sort_by(|left, right| path::compare(left, right));
        let mut cursor = Cursor::new(&blobs, root.id);
        let find = |path: &[u8]| entries.iter().find(|entry| entry.path == path);
        for path in &paths {
            prop_assert_eq!(cursor.find(path)?, find(path));
        }
        // Paths that do not rise cost more, and are found too.
        for place in shuffled {
            if let Some(path) = paths.get(place.index(paths.len().max(1))) {
                prop_assert_eq!(cursor.find(path)?, find(path));
            }
        }
    }
}

#[test]
fn a_seek_loads_only_the_way_down() {
    let mut blobs = Blobs::default();
    let entries = files(100_000);
    let root = write(&entries, &mut blobs);
    let mut reader = TreeReader::new(&blobs, root.id);
    reader.seek(b"folder-00500").unwrap();
    assert_eq!(reader.next().unwrap().unwrap().path, b"folder-00500");
    assert!(blobs.loads() <= 4, "{} loads", blobs.loads());

    let before = blobs.loads();
    let mut cursor = Cursor::new(&blobs, root.id);
    for folder in (0..1000).step_by(250) {
        let path = format!("folder-{folder:05}/file-{:07}.txt", folder * 100 + 5);
        assert!(cursor.find(path.as_bytes()).unwrap().is_some(), "{path}");
        assert!(cursor.find(format!("{path}.not").as_bytes()).unwrap().is_none());
    }
    // Four leaves, each with the parents above it at most.
    assert!(blobs.loads() - before <= 12, "{} loads", blobs.loads() - before);
}

#[test]
fn every_blob_is_loaded_once_in_a_walk() {
    let mut blobs = Blobs::default();
    let entries = files(50_000);
    let root = write(&entries, &mut blobs);
    let mut cursor = Cursor::new(&blobs, root.id);
    for entry in &entries {
        assert_eq!(cursor.find(&entry.path).unwrap(), Some(entry));
    }
    assert_eq!(blobs.loads(), blobs.blobs.len());
}
