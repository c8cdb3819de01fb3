//! What a check says of damage: the pack or object that is hurt, and through it the snapshots and files, no more and no fewer.

use bytes::Bytes;
use engine::format::end::{INLINE_MAX, IndexPart, MaintenancePart, NewEnd, Outcome, end_name};
use engine::format::references::{References, references_name};
use engine::format::tree::{Content, EntryKind, Node, TreeReader};
use engine::repository::{Place, Repository};
use engine::verbs::check::{CheckOptions, Finding, ReadData, check};
use engine::words::{BlobId, BlobKind, NoProgress, PackName, SessionId};

use crate::bench::{Bench, noise};
use crate::life::everything;

const FILES: u64 = 9000;

/// So many entries that the tree has several leaves under every key, and a few files with contents of their own.
fn wide() -> (Bench, SessionId) {
    let bench = Bench::new();
    for number in 0..FILES {
        bench.write(&format!("many/{number:05} {}", "x".repeat(40)), "");
    }
    bench.write("a", noise(1, 200_000));
    bench.write("z", noise(2, 900_000));
    let snapshot = bench.backup().snapshot.unwrap();
    (bench, snapshot)
}

fn root(repository: &Repository, snapshot: SessionId) -> BlobId {
    let found = repository
        .find_snapshot(&snapshot.to_string(), &Default::default())
        .unwrap();
    found.record.unwrap().root.0
}

/// A leaf in the middle: its place, the first path in it, and how many entries it has.
fn a_leaf(repository: &Repository, snapshot: SessionId) -> (Place, Vec<u8>, u64) {
    let mut id = root(repository, snapshot);
    loop {
        let Node::Parent(parent) = Node::load(&repository, &id).unwrap() else {
            panic!("the tree is a single leaf")
        };
        assert!(parent.children.len() > 2, "{}", parent.children.len());
        let child = &parent.children[1];
        if parent.height == 1 {
            let place = repository.find(BlobKind::Tree, &child.id).unwrap();
            return (place, child.first.to_vec(), child.entries);
        }
        id = child.id;
    }
}

fn data_place(repository: &Repository, snapshot: SessionId, path: &[u8]) -> Place {
    let mut entries = TreeReader::new(repository, root(repository, snapshot)).map(|entry| entry.unwrap());
    let entry = entries.find(|entry| entry.path == path).unwrap();
    let EntryKind::File { content, .. } = entry.kind else {
        panic!("no file")
    };
    let Content::Chunks(extents) = content else {
        panic!("no chunks")
    };
    let engine::format::tree::Extent::Chunk { blob, .. } = extents[0] else {
        panic!("a hole")
    };
    repository.find(BlobKind::Data, &blob).unwrap()
}

fn change(bench: &Bench, name: &str, change: impl FnOnce(Bytes) -> Option<Bytes>) {
    let store = bench.store();
    let bytes = store.get(name).unwrap();
    store.delete(&[name.to_owned()]).unwrap();
    if let Some(bytes) = change(bytes) {
        store.put(name, bytes).unwrap();
    }
}

fn flip(bench: &Bench, place: &Place) {
    change(bench, &place.pack.object(), |bytes| {
        let mut bytes = bytes.to_vec();
        bytes[place.offset as usize + place.length as usize / 2] ^= 1;
        Some(bytes.into())
    });
}

fn structure(bench: &Bench) -> Vec<Finding> {
    let options = CheckOptions {
        read_data: ReadData::None,
        ..everything()
    };
    check(&bench.open(), &options, &NoProgress).unwrap().findings
}

fn of(findings: &[Finding], pack: PackName) -> &Finding {
    let mut of = findings.iter().filter(|finding| finding.pack == Some(pack));
    let finding = of
        .next()
        .unwrap_or_else(|| panic!("nothing is said of {pack}: {findings:?}"));
    assert!(
        of.next().is_none() && finding.message.contains(&pack.to_string()),
        "{findings:?}"
    );
    finding
}

#[test]
fn a_damaged_leaf_hurts_what_is_in_it_and_other_damage_is_told_beside_it() {
    let (bench, snapshot) = wide();
    // The bench's cache has every tree pack; the copy has none.
    let (cached, copy) = (&bench, bench.copied());
    let (leaf, first, entries) = a_leaf(&bench.open(), snapshot);
    // Behind the leaf in the order of paths.
    let data = data_place(&bench.open(), snapshot, b"z");
    for bench in [cached, &copy] {
        flip(bench, &leaf);
        flip(bench, &data);
        // A check reads trees past the cache, whether packs are read or not.
        for findings in [structure(bench), bench.findings()] {
            let finding = of(&findings, leaf.pack);
            assert_eq!(finding.file_count, entries, "{finding:?}");
            assert_eq!(finding.files[0], (snapshot, first.clone()), "{finding:?}");
        }
        let findings = bench.findings();
        assert_eq!(findings.len(), 2, "{findings:?}");
        let finding = of(&findings, data.pack);
        assert_eq!(
            (&finding.files, finding.file_count),
            (&vec![(snapshot, b"z".to_vec())], 1),
            "{finding:?}"
        );
    }
    // Where the cache still has the leaf, its files are named one by one.
    assert_eq!(of(&cached.findings(), leaf.pack).files.len(), 20);
    assert_eq!(of(&copy.findings(), leaf.pack).files.len(), 1);
}

#[test]
fn a_pack_that_is_missing_or_cut_short_names_who_needs_it() {
    let (bench, snapshot) = wide();
    let repository = bench.open();
    let tree = a_leaf(&repository, snapshot).0.pack;
    let data = data_place(&repository, snapshot, b"z").pack;
    assert_ne!(tree, data);
    let all = bench.expected().len() as u64;
    for cut in [false, true] {
        let spoiled = |pack: PackName| {
            let copy = bench.copied();
            change(&copy, &pack.object(), |bytes| {
                cut.then(|| bytes.slice(..bytes.len() / 2))
            });
            let (structure, full) = (structure(&copy), copy.findings());
            assert_eq!(structure, full, "the list of packs alone says it");
            assert_eq!(full.len(), 1, "{full:?}");
            of(&full, pack).clone()
        };
        let finding = spoiled(tree);
        // Nothing of the tree can be read, or the parts that are cut off cannot.
        assert!(finding.file_count > 0 && finding.file_count <= all, "{finding:?}");
        assert!(
            cut || finding.file_count >= FILES && finding.files == [(snapshot, b"/".to_vec())],
            "{finding:?}"
        );
        let finding = spoiled(data);
        assert!(
            finding.files.contains(&(snapshot, b"z".to_vec())) && finding.file_count <= 2,
            "{finding:?}"
        );
        let word = if cut { "bytes instead of" } else { "missing" };
        assert!(finding.message.contains(word), "{finding:?}");
    }
}

#[test]
fn a_flipped_bit_that_hurts_no_blob_is_said_and_hurts_nobody() {
    let (bench, snapshot) = wide();
    let data = data_place(&bench.open(), snapshot, b"z").pack;
    // Between the table and the footer there is padding.
    change(&bench, &data.object(), |bytes| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() - 49;
        bytes[at] ^= 1;
        Some(bytes.into())
    });
    let findings = bench.findings();
    let finding = of(&findings, data);
    assert_eq!((finding.files.len(), finding.file_count), (0, 0), "{finding:?}");
}

/// Writes a snapshot's `end` anew: with other references, in an object of their own or not.
fn refer(bench: &Bench, snapshot: SessionId, external: bool, change_them: impl FnOnce(&mut References)) {
    // Without a cache, which would keep what is replaced.
    let repository = bench.open_through(bench.store()).unwrap();
    let view = repository.view().unwrap();
    let end = view.committed(snapshot).unwrap();
    let keys = repository.keys();
    let part = end
        .maintenance(repository.id(), snapshot, keys.maintenance.pair.as_ref().unwrap())
        .unwrap();
    let mut references = References::decode("end", part.references.as_ref().unwrap()).unwrap();
    change_them(&mut references);
    let encoded = references.encode();
    assert!(encoded.len() <= INLINE_MAX);
    let public = keys.maintenance.public.unwrap();
    let part = MaintenancePart {
        references: (!external).then_some(encoded),
        ..part
    };
    let index = IndexPart {
        external_references: external,
        ..end.index.clone()
    };
    let tree_key = repository.session_key(&view, snapshot, BlobKind::Tree).unwrap();
    let record = repository.record(&view, snapshot, end).unwrap();
    let new = NewEnd {
        outcome: Outcome::Commit,
        nonce: end.nonce,
        index: &index,
        maintenance: Some((&part, &keys.maintenance)),
        snapshot: Some((&record, &tree_key)),
    };
    let object = new.to_object(repository.id(), snapshot, &keys.index).unwrap();
    change(bench, &end_name(snapshot), |_| Some(object.into()));
    if external {
        let object = references.to_object(repository.id(), snapshot, public).unwrap();
        bench.store().put(&references_name(snapshot), object.into()).unwrap();
    }
}

fn three_sizes() -> (Bench, SessionId) {
    let bench = Bench::new();
    bench.write("a", noise(1, 400_000));
    bench.write("b", noise(2, 2_000_000));
    let snapshot = bench.backup().snapshot.unwrap();
    (bench, snapshot)
}

#[test]
fn references_in_an_object_of_their_own_must_be_there_and_whole() {
    let (bench, snapshot) = three_sizes();
    let copy = bench.copied();
    refer(&copy, snapshot, true, |_| {});
    assert_eq!(copy.findings(), []);
    let name = references_name(snapshot);
    for flipped in [true, false] {
        let spoiled = copy.copied();
        change(&spoiled, &name, |bytes| {
            flipped.then(|| {
                let mut bytes = bytes.to_vec();
                bytes[100] ^= 1;
                bytes.into()
            })
        });
        let findings = structure(&spoiled);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].message.contains(&name), "{findings:?}");
    }
}

#[test]
fn references_that_are_too_short_are_found_before_prune_believes_them() {
    let (bench, snapshot) = three_sizes();
    let repository = bench.open();
    let pack = data_place(&repository, snapshot, b"b").pack;
    for whole in [true, false] {
        let copy = bench.copied();
        refer(&copy, snapshot, false, |references| {
            assert!(references.packs.contains_key(&pack));
            if whole {
                references.packs.remove(&pack);
            } else {
                references.packs.insert(pack, engine::format::references::Used::none(9));
            }
        });
        let findings = structure(&copy);
        let finding = of(&findings, pack);
        assert!(finding.message.contains(&snapshot.to_string()), "{finding:?}");
    }
}

#[test]
fn every_small_object_is_read_whether_it_is_needed_now_or_not() {
    let (bench, snapshot) = three_sizes();
    bench.forget(snapshot);
    bench.write("c", noise(3, 100_000));
    bench.backup();
    bench.prune();
    let repository = bench.open();
    let holder = engine::repository::slots::Holder::NewKey;
    let role = engine::format::keys::Role::Reader;
    let (another, _) = repository
        .add_slot(holder, role, "another".into(), crate::bench::clock())
        .unwrap();
    is_named(&bench, &another);
    repository.rotate(crate::bench::clock()).unwrap();
    bench.backup();
    bench.write("d", "d");
    let unwanted = bench.backup().snapshot.unwrap();
    bench.forget(unwanted);
    assert_eq!(bench.findings(), []);
    let mut kinds = std::collections::BTreeSet::new();
    for object in bench.store().list("").unwrap() {
        let (kind, _) = object.name.split_once('/').unwrap_or((&object.name, ""));
        if !["p", "config", "keys"].contains(&kind) {
            is_named(&bench, &object.name);
            kinds.insert(kind.to_owned());
        }
    }
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert_eq!(kinds, ["c", "f", "g", "k", "s", "x"]);
}

/// A bit of an object is flipped, in a copy: a check names it.
fn is_named(bench: &Bench, name: &str) {
    let copy = bench.copied();
    change(&copy, name, |bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Some(bytes.into())
    });
    let findings = copy.findings();
    assert!(
        findings.iter().any(|finding| finding.message.contains(name)),
        "{name}: {findings:?}"
    );
}
