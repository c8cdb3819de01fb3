//! The decoders that are fuzzed (`tests/fuzz`), every day: each seed decodes, and nothing that a few changes make of it breaks a decoder.
//!
//! Seeds come from the golden repositories, opened with their owner's key. `UPDATE=1` writes those that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use engine::format::codec;
use engine::format::end::{End, end_name};
use engine::format::envelope::{self, Access, Kind};
use engine::format::keys::SlotNote;
use engine::format::object::Binding;
use engine::format::pack;
use engine::format::references::References;
use engine::format::tree::parent::{Child, ParentWriter};
use engine::format::tree::{
    Content, ContentWriter, Entry, EntryKind, Extent, Metadata, TreeReader, TreeSink, TreeWriter,
};
use engine::repository::Repository;
use engine::words::{BlobId, BlobKind, PackName, Result, SessionId};

use self::fuzzed::{DECODERS, Decoder, tree_ids};
use crate::golden;

#[path = "../fuzz/decoders.rs"]
mod fuzzed;

/// Longer ones slow the fuzzer down.
const SEED_MAX: usize = 16 << 10;
const TREE_SEED_MAX: usize = 160 << 10;

type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

fn corpus(decoder: &str) -> PathBuf {
    golden::tests().join("fuzz/corpus").join(decoder)
}

fn stored_seeds(decoder: &str) -> Vec<Vec<u8>> {
    let Ok(files) = std::fs::read_dir(corpus(decoder)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Saves blobs under the ids of the fuzzed trees, in order.
#[derive(Default)]
struct Saved(Vec<(BlobId, Vec<u8>)>);

impl TreeSink for Saved {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        let id = tree_ids().id(BlobKind::Tree, &blob);
        self.0.push((id, blob));
        Ok(id)
    }
}

impl Saved {
    /// All blobs, each after its length, `root` first.
    fn framed(&self, root: BlobId) -> Vec<u8> {
        let (first, others): (Vec<_>, Vec<_>) = self.0.iter().partition(|(id, _)| *id == root);
        let mut framed = Vec::new();
        for (_, blob) in first.into_iter().chain(others) {
            framed.extend_from_slice(&(blob.len() as u32).to_le_bytes()[..3]);
            framed.extend_from_slice(blob);
        }
        framed
    }
}

/// What the golden repositories hold, behind their seals.
fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    golden::each_as_owner(|repository| {
        for object in repository.store().list("").unwrap() {
            let bytes = repository.store().get(&object.name).unwrap();
            of_object(repository, &object.name, &bytes, &mut seeds);
        }
        let view = repository.view().unwrap();
        for (session, end) in view.all_committed() {
            of_end(repository, session, end, &mut seeds);
        }
        for snapshot in golden::snapshots(repository).into_values() {
            let root = snapshot.record.unwrap().root.0;
            let entries = TreeReader::new(repository, root).map(|entry| entry.unwrap());
            of_tree(entries, &mut seeds);
        }
        let keys = repository.keys();
        add(&mut seeds, "keys", keys.encode().unwrap().to_vec());
        let note = SlotNote {
            role: keys.role,
            label: keys.label.clone(),
            created: keys.created,
            epoch: keys.epoch(),
        };
        add(&mut seeds, "slot_note", codec::encode(&(0u32, note)).unwrap());
    });
    made(&mut seeds);
    seeds
}

fn add(seeds: &mut Seeds, decoder: &'static str, seed: Vec<u8>) {
    let most = if decoder == "tree" { TREE_SEED_MAX } else { SEED_MAX };
    if seed.len() <= most {
        seeds.entry(decoder).or_default().insert(seed);
    }
}

fn of_object(repository: &Repository, name: &str, object: &[u8], seeds: &mut Seeds) {
    let keys = repository.keys();
    let kind = |kind: Kind| object[4] == kind as u8;
    let binding = |kind| Binding {
        repository: repository.id(),
        kind,
        name,
    };
    let sealed = |kind, key| binding(kind).open_object(key, Access::Read, object).unwrap();
    let framed = |kind| {
        let opened = binding(kind).open_framed(Access::Read, object, 0, |_| Ok(keys.index.clone()));
        opened.unwrap()
    };
    let unvouched = |mut content: Vec<u8>| {
        content.truncate(content.len() - 32);
        content
    };
    let body = object[envelope::HEADER..object.len() - envelope::HASH].to_vec();
    if object.len() < 1024 {
        add(seeds, "envelope", object.to_vec());
    }
    if kind(Kind::Config) {
        add(seeds, "config", body);
    } else if kind(Kind::Slot) {
        add(seeds, "slot", body);
    } else if kind(Kind::Open) {
        add(seeds, "open", sealed(Kind::Open, &keys.index));
    } else if kind(Kind::End) {
        add(seeds, "end_sections", body);
    } else if kind(Kind::Generation) {
        add(seeds, "generation", unvouched(framed(Kind::Generation)));
    } else if kind(Kind::Catalogue) {
        add(seeds, "catalogue", framed(Kind::Catalogue));
    } else if kind(Kind::Segment) {
        add(seeds, "segment", framed(Kind::Segment));
        add(seeds, "frames", body);
    } else if kind(Kind::Rewrap) {
        add(seeds, "rewrap", framed(Kind::Rewrap));
    } else if kind(Kind::Mark) {
        let mark = keys.mark.as_ref().unwrap();
        add(seeds, "mark", unvouched(sealed(Kind::Mark, mark)));
    } else if kind(Kind::References) {
        let session: SessionId = name.strip_prefix("r/").unwrap().parse().unwrap();
        let pair = keys.maintenance.pair.as_ref().unwrap();
        let references = References::from_object(repository.id(), session, pair, object).unwrap();
        add(seeds, "references", references.encode());
    } else if kind(Kind::Pack) {
        let pack = PackName::of_object(name).unwrap();
        let footer = pack::footer(pack, object.len() as u64, object).unwrap();
        let sealed = &object[footer.table_offset as usize..][..footer.table_length as usize];
        let header = &object[..envelope::HEADER];
        let table = binding(Kind::Pack).open(&keys.index, header, 0, sealed).unwrap();
        add(seeds, "pack", [footer.blobs.to_le_bytes().to_vec(), table].concat());
    }
}

fn of_end(repository: &Repository, session: SessionId, end: &End, seeds: &mut Seeds) {
    add(seeds, "end_index", codec::encode(&(0u32, &end.index)).unwrap());
    let pair = repository.keys().maintenance.pair.as_ref().unwrap();
    if let Ok(part) = end.maintenance(repository.id(), session, pair) {
        if let Some(references) = &part.references {
            add(seeds, "references", references.clone());
        }
        let document = (0u32, part.summary, part.references, part.moved, Some([3u8; 32]));
        add(seeds, "end_maintenance", codec::encode(&document).unwrap());
    }
    let view = repository.view().unwrap();
    if let Ok(key) = repository.session_key(&view, session, BlobKind::Tree)
        && let Ok(snapshot) = end.snapshot(repository.id(), session, &key)
    {
        add(seeds, "snapshot", snapshot.encode().unwrap());
    }
    if let Some(segment) = &end.index.segment {
        add(seeds, "segment", segment.clone());
    }
    assert!(end_name(session).ends_with("/end"));
}

fn of_tree(entries: impl Iterator<Item = Entry>, seeds: &mut Seeds) {
    let (mut saved, mut writer) = (Saved::default(), TreeWriter::new([4; 32]));
    for entry in entries {
        writer.push(&entry, &mut saved).unwrap();
    }
    let root = writer.finish(&mut saved).unwrap();
    add(seeds, "tree", saved.framed(root.id));
    for (_, blob) in saved.0 {
        let parses: [(&'static str, Decoder); 2] = [("leaf", fuzzed::leaf), ("parent", fuzzed::parent)];
        for (decoder, parse) in parses {
            if parse(&blob) {
                add(seeds, decoder, blob.clone());
            }
        }
    }
}

/// What no golden repository has, or has too long.
fn made(seeds: &mut Seeds) {
    add(seeds, "at", vec![8; 32]);
    add(seeds, "at", Vec::new());
    let text = crate::sources::text(1, 3000);
    for (level, plaintext) in [(1, text.as_slice()), (0, &text[..100]), (3, b"")] {
        let mut framed = Vec::new();
        engine::compress::Compressor::new().compress(level, plaintext, &mut framed);
        add(seeds, "blob", framed);
    }
    // A tree of several leaves below a parent: long names that differ everywhere.
    let names =
        (0..400).map(|number: u32| data_encoding::HEXLOWER.encode(&crate::sources::noise(number as usize, 100)));
    let mut names: Vec<String> = names.collect();
    names.sort();
    of_tree(names.into_iter().map(|name| file(name.into_bytes())), seeds);
    let mut parent = ParentWriter::default();
    for number in 1..5u8 {
        parent.push(&Child {
            id: BlobId([number; 32]),
            entries: u64::from(number),
            bytes: 1000,
            first: vec![b'a' + number].into(),
        });
    }
    add(seeds, "parent", parent.finish(1).0);
    // Lists: one of many chunks, and lists of lists.
    for extents in [300, 1500u32] {
        let (mut saved, mut writer) = (Saved::default(), ContentWriter::new());
        for number in 0..extents {
            let blob = BlobId(*blake3::hash(&number.to_le_bytes()).as_bytes());
            writer.push(Extent::Chunk { blob, length: 5000 }, &mut saved).unwrap();
            if number % 100 == 7 {
                writer.push(Extent::Hole { length: 1 << 20 }, &mut saved).unwrap();
            }
        }
        let size = writer.size();
        if let Content::List { blob, .. } = writer.finish(&mut saved).unwrap() {
            let mut seed = size.to_le_bytes().to_vec();
            seed.extend_from_slice(&saved.framed(blob));
            seeds.entry("list").or_default().insert(seed);
        }
    }
    let key = std::fs::read(golden::tests().join("fixtures/format-v1/grown/key")).unwrap();
    add(seeds, "text", key.trim_ascii_end().to_vec());
    let recipient = engine::crypto::SecretPair::from_secret(engine::crypto::Secret::new([1; 32])).public();
    add(
        seeds,
        "text",
        engine::crypto::key_text::recipient_to_text(&recipient).into_bytes(),
    );
    for text in [
        "s3://bucket/prefix",
        "gs://bucket",
        "az://container/a/b",
        "/var/backups/a repository",
        "p/b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0/0000001f",
        "f/b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0.0123456789abcdef",
    ] {
        add(seeds, "text", text.into());
    }
}

fn file(path: Vec<u8>) -> Entry {
    Entry {
        path,
        kind: EntryKind::File {
            size: 100,
            content: Content::Slab {
                blob: BlobId([1; 32]),
                offset: 5,
                check: [2; 8],
            },
            link: None,
            from_device: false,
        },
        metadata: Metadata::default(),
    }
}

#[test]
fn every_fuzzed_decoder_has_seeds_and_they_decode() {
    if std::env::var_os("UPDATE").is_some() {
        for (decoder, seeds) in seeds() {
            if stored_seeds(decoder).is_empty() {
                std::fs::create_dir_all(corpus(decoder)).unwrap();
                // A few of each are as good as all: the fuzzer makes the rest.
                for seed in seeds.into_iter().take(8) {
                    let name = blake3::hash(&seed).to_hex()[..16].to_owned();
                    std::fs::write(corpus(decoder).join(name), seed).unwrap();
                }
            }
        }
    }
    for (name, decode) in DECODERS {
        let seeds = stored_seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds (UPDATE=1 makes them)");
        for (number, seed) in seeds.iter().enumerate() {
            assert!(decode(seed), "seed {number} of {name} does not decode");
        }
    }
}

#[test]
fn nothing_made_of_a_seed_breaks_a_decoder() {
    // A seed of randomness that is written down, so that what fails once fails again.
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    for (name, decode) in DECODERS {
        let seeds = stored_seeds(name);
        for seed in &seeds {
            let rounds = (400_000 / (seed.len() + 500)).clamp(20, 400);
            for _ in 0..rounds {
                let mut bytes = seed.clone();
                for _ in 0..=next(3) {
                    let at = next(bytes.len());
                    match next(6) {
                        0 if !bytes.is_empty() => bytes[at] ^= 1 << next(8),
                        1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][next(5)],
                        2 => bytes.truncate(at),
                        3 => drop(bytes.drain(at..(at + next(16)).min(bytes.len()))),
                        4 => bytes.splice(at..at, [0xff; 8].into_iter().take(next(9))).for_each(drop),
                        _ => {
                            let other = &seeds[next(seeds.len())];
                            bytes.extend_from_slice(&other[next(other.len())..]);
                        }
                    }
                }
                decode(&bytes);
            }
        }
    }
}
