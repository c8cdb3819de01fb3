//! The index against a model: a map from ids to all places that any segment told of.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use proptest::sample::Index as Any;

use super::block::BLOCK;
use super::checksum::checksum;
use super::layout::{FOOTER, Footer, tables};
use super::*;
use crate::format::segment::SegmentBuilder;

fn session(number: u8) -> SessionId {
    SessionId(*blake3::hash(&[number]).as_bytes().first_chunk().unwrap())
}

fn id(number: u64) -> BlobId {
    BlobId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn kind(number: u64) -> BlobKind {
    match number % 3 {
        0 => BlobKind::Tree,
        _ => BlobKind::Data,
    }
}

/// A pack that holds these blobs, in this order.
#[derive(Clone, Debug)]
struct Pack {
    name: PackName,
    blobs: Vec<u64>,
}

impl Pack {
    fn info(&self) -> PackInfo {
        let other = session(200);
        PackInfo {
            name: self.name,
            contents: 3,
            size: 72 + 100 * self.blobs.len() as u32 + 200,
            blobs: self.blobs.len() as u32,
            table_offset: 72 + 100 * self.blobs.len() as u32,
            table_length: 200,
            hash: *blake3::hash(self.name.to_string().as_bytes()).as_bytes(),
            key_sessions: match self.name.number % 3 {
                0 => vec![self.name.session],
                1 => vec![other, self.name.session],
                _ => vec![other],
            },
        }
    }

    fn entries(&self) -> Vec<SegmentEntry> {
        let entries = self.blobs.iter().enumerate().map(|(ordinal, blob)| SegmentEntry {
            prefix: id(*blob).prefix(),
            pack: 0,
            offset: 72 + 100 * ordinal as u32,
            length: 100,
            ordinal: ordinal as u16,
            kind: kind(*blob),
        });
        entries.collect()
    }
}

/// The plaintext of a segment.
fn segment(packs: &[Pack]) -> Vec<u8> {
    let mut builder = SegmentBuilder::new();
    for pack in packs {
        builder.add_entries(pack.info(), &pack.entries());
    }
    builder.finish()
}

fn name(number: usize) -> String {
    format!("x/{number}/00000000")
}

/// An index of these segments, gathered into files after so many entries each.
fn build(folder: Option<&Path>, segments: &[Vec<Pack>]) -> Index {
    let names: Vec<String> = (0..segments.len()).map(name).collect();
    let mut builder = Index::builder(folder, names.iter().map(String::as_str));
    for (name, packs) in names.iter().zip(segments) {
        if !builder.has(name) {
            builder.add_segment(name, &segment(packs)).unwrap();
        }
    }
    builder.finish().unwrap()
}

/// Says that the index answers as the segments do.
fn agree(index: &Index, segments: &[Vec<Pack>], excluded: &HashSet<PackName>) {
    let mut places: BTreeMap<u64, BTreeSet<(PackName, usize)>> = BTreeMap::new();
    let mut packs: BTreeMap<PackName, &Pack> = BTreeMap::new();
    for pack in segments.iter().flatten().filter(|pack| !excluded.contains(&pack.name)) {
        packs.insert(pack.name, pack);
        for (ordinal, blob) in pack.blobs.iter().enumerate() {
            places.entry(*blob).or_default().insert((pack.name, ordinal));
        }
    }
    for blob in 0..300 {
        let place = index.locate(kind(blob), &id(blob));
        match places.get(&blob) {
            Some(known) => {
                let place = place.unwrap_or_else(|| panic!("blob {blob} is not found"));
                assert!(known.contains(&(place.pack, usize::from(place.ordinal))));
                assert_eq!(place.pack_size, packs[&place.pack].info().size);
                assert_eq!(place.offset, 72 + 100 * u32::from(place.ordinal));
                assert!((place.pack_number as usize) < index.pack_count());
            }
            None => assert_eq!(place, None),
        }
        let other = if kind(blob) == BlobKind::Data {
            BlobKind::Tree
        } else {
            BlobKind::Data
        };
        assert_eq!(index.locate(other, &id(blob)), None, "a blob of another kind");
    }
    let infos: Vec<PackInfo> = index.packs().unwrap().map(Result::unwrap).collect();
    let known: Vec<PackInfo> = packs.values().map(|pack| pack.info()).collect();
    assert_eq!(infos, known);
    for pack in segments.iter().flatten() {
        let known = packs.get(&pack.name).map(|pack| pack.info());
        assert_eq!(index.pack(&pack.name).unwrap(), known);
    }
    for number in 0..4 {
        let known: Vec<PackInfo> = known
            .iter()
            .filter(|info| info.name.session == session(number))
            .cloned()
            .collect();
        assert_eq!(index.packs_of(session(number)).unwrap(), known);
    }
    let wanted = |info: &PackInfo| info.name.number % 5 != 2;
    let by_pack: Vec<_> = index.by_pack(wanted).unwrap().map(Result::unwrap).collect();
    let known: Vec<_> = packs.values().filter(|pack| wanted(&pack.info())).collect();
    assert_eq!(by_pack.len(), known.len());
    for ((info, entries), pack) in by_pack.iter().zip(known) {
        assert_eq!(*info, pack.info());
        let plain = |entries: &[SegmentEntry]| -> Vec<_> {
            entries
                .iter()
                .map(|entry| (entry.ordinal, entry.prefix, entry.offset))
                .collect()
        };
        assert_eq!(plain(entries), plain(&pack.entries()));
    }
}

fn segments() -> impl Strategy<Value = Vec<Vec<Pack>>> {
    let pack = (0u8..4, 0u32..12).prop_map(|(writer, number)| {
        // A pack of one name is one pack, whichever segments name it.
        let seed = u64::from(writer) * 100 + u64::from(number);
        let blobs = (0..seed % 40).map(|place| (seed * 31 + place * 7) % 280).collect();
        let name = PackName {
            session: session(writer),
            number,
        };
        Pack { name, blobs }
    });
    let segment =
        prop::collection::btree_map((0u8..4, 0u32..12), pack, 0..6).prop_map(|packs| packs.into_values().collect());
    prop::collection::vec(segment, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_index_in_memory_answers_as_the_segments_do(segments in segments(), excluded in prop::collection::vec((0u8..4, 0u32..12), 0..6)) {
        let index = build(None, &segments);
        agree(&index, &segments, &HashSet::new());
        let excluded: HashSet<PackName> =
            excluded.into_iter().map(|(writer, number)| PackName { session: session(writer), number }).collect();
        index.exclude(&excluded).unwrap();
        agree(&index, &segments, &excluded);
    }

    #[test]
    fn an_index_in_files_answers_as_the_segments_do(
        segments in segments(),
        settle_every in 1usize..4,
        excluded in prop::collection::vec((0u8..4, 0u32..12), 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let excluded: HashSet<PackName> =
            excluded.into_iter().map(|(writer, number)| PackName { session: session(writer), number }).collect();
        for round in 0..3 {
            // Each round knows more segments than the one before, and finds its runs.
            let segments = &segments[..segments.len() * (round + 1) / 3];
            let names: Vec<String> = (0..segments.len()).map(name).collect();
            let mut builder = Index::builder(Some(folder.path()), names.iter().map(String::as_str));
            for (number, packs) in segments.iter().enumerate() {
                if !builder.has(&names[number]) {
                    builder.add_segment(&names[number], &segment(packs)).unwrap();
                    if number % settle_every == 0 {
                        builder.settle_in_file(1).unwrap();
                    }
                }
            }
            builder.settle_in_file(1).unwrap();
            let index = builder.finish().unwrap();
            prop_assert!(index.runs.len() <= 8);
            agree(&index, segments, &HashSet::new());
            index.exclude(&excluded).unwrap();
            agree(&index, segments, &excluded);
        }
    }

    #[test]
    fn a_changed_byte_in_the_cache_is_found_and_the_cache_made_anew(segments in segments(), at in any::<Any>(), change in 1u8..) {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..segments.len()).map(name).collect();
        let make = || {
            let mut builder = Index::builder(Some(folder.path()), names.iter().map(String::as_str));
            for (name, packs) in names.iter().zip(&segments) {
                if !builder.has(name) {
                    builder.add_segment(name, &segment(packs)).unwrap();
                }
            }
            builder.settle_in_file(1).unwrap();
            builder.finish().unwrap()
        };
        let Some(path) = make().runs.first().and_then(|run| run.path().map(Path::to_owned)) else {
            return Ok(());
        };
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let place = at.index(file.metadata().unwrap().len() as usize) as u64;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ change], place).unwrap();
        // Whatever it answers now is right or nothing, and it never panics.
        let index = make();
        let places: BTreeSet<(u64, PackName, usize)> = segments.iter().flatten().flat_map(|pack| {
            pack.blobs.iter().enumerate().map(|(ordinal, blob)| (*blob, pack.name, ordinal))
        }).collect();
        for blob in 0..300 {
            if let Some(place) = index.locate(kind(blob), &id(blob)) {
                prop_assert!(places.contains(&(blob, place.pack, usize::from(place.ordinal))));
            }
        }
        if let Ok(mut packs) = index.packs() {
            let _ = packs.find(Result::is_err);
        }
        if let Ok(mut packs) = index.by_pack(|_| true) {
            let _ = packs.find(Result::is_err);
        }
        // If a part was damaged that matters, the file is gone, and the next index is whole.
        let whole = make();
        if !path.exists() || index.runs.is_empty() {
            agree(&whole, &segments, &HashSet::new());
        }
        drop(whole);
        // A file that ends too early is made anew as well.
        std::fs::remove_dir_all(folder.path()).unwrap();
        let path = make().runs[0].path().unwrap().to_owned();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(at.index(file.metadata().unwrap().len() as usize) as u64).unwrap();
        agree(&make(), &segments, &HashSet::new());
    }

    /// With every checksum right, as whoever can write the cache can make it: nothing panics, whatever is said.
    #[test]
    fn a_run_that_somebody_forged_breaks_nothing(segments in segments(), changes in prop::collection::vec((any::<Any>(), any::<u8>()), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let mut gathered = Gathered::default();
        for (number, packs) in segments.iter().enumerate() {
            gathered.add(&name(number), Segment::decode("x", &segment(packs)).unwrap());
        }
        gathered.sort();
        let run = in_file(&gathered, folder.path(), &Folder::name_for(gathered.names())).unwrap();
        let path = run.path().unwrap().to_owned();
        let mut bytes = std::fs::read(&path).unwrap();
        let footer: [u8; FOOTER] = *bytes.last_chunk().unwrap();
        for (at, value) in changes {
            let place = at.index(bytes.len());
            bytes[place] = value;
        }
        repair(&mut bytes, &Footer::parse(&footer).unwrap());
        std::fs::write(&path, bytes).unwrap();

        let names: Vec<String> = (0..segments.len()).map(name).collect();
        let mut builder = Index::builder(Some(folder.path()), names.iter().map(String::as_str));
        for (name, packs) in names.iter().zip(&segments) {
            builder.add_segment(name, &segment(packs)).unwrap();
        }
        let Ok(index) = builder.finish() else { return Ok(()) };
        let _ = index.exclude(&[PackName { session: session(1), number: 3 }].into());
        for blob in 0..300 {
            for kind in [BlobKind::Data, BlobKind::Tree] {
                let _ = index.locate(kind, &id(blob));
                let _ = index.places(kind, &id(blob));
            }
        }
        for number in 0..4 {
            let _ = index.packs_of(session(number));
            let _ = index.pack(&PackName { session: session(number), number: 3 });
        }
        if let Ok(mut packs) = index.packs() {
            let _ = packs.find(Result::is_err);
        }
        if let Ok(mut packs) = index.by_pack(|_| true) {
            let _ = packs.find(Result::is_err);
        }
        // What could not be read is gone, and the next one makes it anew.
        drop(index);
        let _ = build(Some(folder.path()), &segments);
    }
}

/// Makes every checksum of a run right again; `footer` is what it had at first.
fn repair(bytes: &mut [u8], footer: &Footer) {
    let (.., entries) = tables(footer).unwrap();
    let filter_at = entries.end() as usize * BLOCK;
    for (number, block) in bytes[..filter_at].chunks_exact_mut(BLOCK).enumerate() {
        let sum = checksum(number as u64, &block[..4064]);
        block[4088..].copy_from_slice(&sum.to_le_bytes());
    }
    let meta_at = filter_at + footer.filter_bytes as usize;
    let end = meta_at + footer.meta_bytes as usize;
    let hashes = [&bytes[filter_at..meta_at], &bytes[meta_at..end]].map(|part| *blake3::hash(part).as_bytes());
    let footer = &mut bytes[end..];
    footer[52..84].copy_from_slice(&hashes[0]);
    footer[84..116].copy_from_slice(&hashes[1]);
    let hash = *blake3::hash(&footer[..FOOTER - 32]).as_bytes();
    footer[FOOTER - 32..].copy_from_slice(&hash);
}

#[test]
fn small_repositories_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let pack = Pack {
        name: PackName {
            session: session(1),
            number: 0,
        },
        blobs: (0..200).collect(),
    };
    let index = build(Some(folder.path()), &[vec![pack]]);
    assert_eq!(index.entry_count(), 200);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Many packs with blobs of their own, a segment each.
fn large(segments: std::ops::Range<usize>, packs: u32, blobs: u64) -> Vec<(String, Vec<u8>)> {
    let one = |number: usize| {
        let packs: Vec<Pack> = (0..packs)
            .map(|pack| {
                let first = (number as u64 * u64::from(packs) + u64::from(pack)) * blobs;
                let name = PackName {
                    session: session(number as u8),
                    number: pack,
                };
                Pack {
                    name,
                    blobs: (first..first + blobs).collect(),
                }
            })
            .collect();
        (name(number), segment(&packs))
    };
    segments.map(one).collect()
}

fn add_all(folder: &Path, segments: &[(String, Vec<u8>)]) -> (Index, usize) {
    let mut builder = Index::builder(Some(folder), segments.iter().map(|(name, _)| name.as_str()));
    let missing: Vec<_> = segments.iter().filter(|(name, _)| !builder.has(name)).collect();
    for (name, plaintext) in &missing {
        builder.add_segment(name, plaintext).unwrap();
    }
    (builder.finish().unwrap(), missing.len())
}

#[test]
fn what_was_merged_is_not_read_again_and_old_runs_go() {
    let folder = tempfile::tempdir().unwrap();
    let segments = large(0..24, 40, 1000);
    let (index, read) = add_all(folder.path(), &segments[..16]);
    assert_eq!((index.entry_count(), read), (640_000, 16));
    assert!(index.runs.len() <= 3, "{} runs", index.runs.len());
    let (again, read) = add_all(folder.path(), &segments[..16]);
    assert_eq!((again.entry_count(), read), (640_000, 0));
    let (more, read) = add_all(folder.path(), &segments);
    assert_eq!((more.entry_count(), read), (960_000, 8));
    for blob in (0..960_000).step_by(997) {
        // Blobs of this test are all of the kind that `kind` says.
        assert!(more.locate(kind(blob), &id(blob)).is_some(), "blob {blob}");
        assert_eq!(more.locate(kind(blob), &id(blob | 1 << 40)), None);
        assert_eq!(again.locate(kind(blob), &id(blob)).is_some(), blob < 640_000);
    }
    // A generation that has none of these segments leaves the runs in the way; what is beyond the bound goes.
    let bytes = || -> u64 {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let before = bytes();
    for round in 1..5 {
        add_all(folder.path(), &large(round * 24..round * 24 + 24, 40, 1000));
    }
    assert!(bytes() < before + (140 << 20), "{} bytes in the folder", bytes());
    let (last, read) = add_all(folder.path(), &large(96..120, 40, 1000));
    assert_eq!((last.entry_count(), read), (960_000, 0));
}

#[test]
fn a_folder_that_cannot_be_written_is_done_without() {
    let segments = large(0..2, 40, 1000);
    let (index, read) = add_all(Path::new("/proc/nowhere"), &segments);
    assert_eq!((index.entry_count(), read), (80_000, 2));
    assert!(index.locate(kind(5), &id(5)).is_some());
}

#[test]
fn entries_by_pack_go_through_files_when_they_are_many() {
    let folder = tempfile::tempdir().unwrap();
    let segments = large(0..15, 40, 1000);
    let (index, _) = add_all(folder.path(), &segments);
    let (mut packs, mut last) = (0, None);
    for item in index.by_pack(|info| info.name.number % 2 == 0).unwrap() {
        let (info, entries) = item.unwrap();
        assert!(last < Some(info.name));
        last = Some(info.name);
        assert_eq!(entries.len(), 1000);
        assert!(
            entries
                .iter()
                .enumerate()
                .all(|(place, entry)| usize::from(entry.ordinal) == place)
        );
        packs += 1;
    }
    assert_eq!(packs, 300);
}
