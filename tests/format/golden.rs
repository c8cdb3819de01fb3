//! Reads the golden repositories: whatever version wrote them, every byte comes out as it went in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use engine::crypto::Secret;
use engine::crypto::key_text::HolderKey;
use engine::format::envelope::{Access, Kind};
use engine::format::open::{Open, open_for_volume, open_name};
use engine::format::tree::{Content, EntryKind, TreeReader};
use engine::repository::{Credential, Repository, SnapshotFilter, StoredSnapshot};
use engine::verbs::restore::{RestoreOptions, restore};
use engine::words::{BlobKind, NoProgress};
use serde_json::Value;

use crate::generate::{REPOSITORIES, folder, runtime, store};
use crate::manifest;

/// Both ways into a golden repository.
fn credentials(folder: &Path) -> [Credential; 2] {
    let password = std::fs::read(folder.join("password")).unwrap();
    let key = std::fs::read_to_string(folder.join("key")).unwrap();
    [
        Credential::Passphrase(password.into()),
        Credential::Key(HolderKey::from_text(&key).unwrap()),
    ]
}

/// Where the tests are.
pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

pub fn snapshots(repository: &Repository) -> BTreeMap<String, StoredSnapshot> {
    let found = repository.snapshots(&SnapshotFilter::default()).unwrap();
    let named = found.into_iter().map(|snapshot| {
        let name = snapshot.record.as_ref().unwrap().description.clone();
        (name, snapshot)
    });
    named.collect()
}

fn each(mut look: impl FnMut(&str, &Path, &Repository)) {
    let runtime = runtime();
    for (name, _) in REPOSITORIES {
        let folder = folder().join(name);
        if !folder.exists() {
            // The test of the generator says so.
            continue;
        }
        for credential in credentials(&folder) {
            let store = store(&folder.join("repository"), &runtime);
            let repository = Repository::open(store, &credential, None, Access::Read).unwrap();
            look(name, &folder, &repository);
        }
    }
}

/// Each golden repository, opened by its owner's key.
pub fn each_as_owner(mut look: impl FnMut(&Repository)) {
    each(|_, _, repository| {
        if repository.keys().root.is_some() {
            look(repository);
        }
    });
}

#[test]
fn golden_repositories_are_read_byte_for_byte() {
    each(|name, folder, repository| {
        let expected: BTreeSet<String> = std::fs::read_dir(folder.join("manifests"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        let found = snapshots(repository);
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected, "{name}");
        for (description, snapshot) in found {
            let path = folder.join("manifests").join(format!("{description}.jsonl"));
            let expected = manifest::parse(&std::fs::read_to_string(path).unwrap());
            let found = manifest::of_tree(repository, snapshot.record.unwrap().root.0);
            manifest::assert_equal(&expected, &found, &format!("{name}, {description}"));
        }
    });
}

/// With root all of it; without, what everybody may write.
#[test]
fn golden_repositories_are_restored_byte_for_byte() {
    let is_root = rustix::process::geteuid().is_root();
    each(|name, folder, repository| {
        for (description, snapshot) in snapshots(repository) {
            let target = tempfile::tempdir().unwrap();
            let options = RestoreOptions {
                target: target.path().to_owned(),
                verify: true,
                ..RestoreOptions::default()
            };
            let report = restore(repository, &snapshot, &options, &NoProgress).unwrap();
            let path = folder.join("manifests").join(format!("{description}.jsonl"));
            let mut expected = manifest::parse(&std::fs::read_to_string(path).unwrap());
            let mut found = manifest::of_folder(target.path());
            if !is_root {
                expected.retain(|line| !line["type"].as_str().unwrap().ends_with("-device"));
                for (expected, found) in expected.iter_mut().zip(&found) {
                    if found["hash"].is_null() && expected["type"] == "file" {
                        expected["hash"] = Value::Null;
                    }
                }
                for line in expected.iter_mut().chain(&mut found) {
                    let line = line.as_object_mut().unwrap();
                    for name in ["user", "group", "attributes", "mode"] {
                        line.remove(name);
                    }
                }
            } else {
                assert_eq!(
                    (report.failed, &report.losses),
                    (0, &Vec::new()),
                    "{name}, {description}"
                );
            }
            manifest::assert_equal(&expected, &found, &format!("{name}, {description}"));
        }
    });
}

#[test]
fn golden_records_say_what_was_said_of_them() {
    each(|name, _, repository| {
        for (description, snapshot) in snapshots(repository) {
            let record = snapshot.record.unwrap();
            assert_eq!(record.incomplete, description == "incomplete");
            assert_eq!(record.host, b"golden-\xff");
            assert_eq!(record.tags, ["golden", "tag two"]);
            let tags_now: &[&str] = match (name, description.as_str()) {
                ("grown", "first") => &["given later", "golden"],
                _ => &["golden", "tag two"],
            };
            assert_eq!(snapshot.summary.tags, tags_now);
            assert_eq!(record.labels, [("purpose".to_owned(), "test".to_owned())]);
            assert_eq!((record.paths.len(), record.counts.errors), (1, 0));
        }
    });
}

/// The fixtures are worth what is in them: every kind of object, and a tree key that was sealed for a volume.
#[test]
fn golden_repositories_hold_every_kind_of_object() {
    let mut kinds = BTreeSet::new();
    each(|name, folder, repository| {
        for object in repository.store().list("").unwrap() {
            let object = repository.store().get(&object.name).unwrap();
            kinds.insert(object[4]);
        }
        let Ok(volume_key) = std::fs::read(folder.join("volume-key")) else {
            return;
        };
        let volume_key = data_encoding::HEXLOWER.decode(&volume_key).unwrap();
        let volume_key = Secret::new(volume_key.try_into().unwrap());
        let view = repository.view().unwrap();
        let mut opened = 0;
        for (session, _) in view.all_committed() {
            let object = repository.store().get(&open_name(session)).unwrap();
            let open = Open::from_object(repository.id(), session, &repository.keys().index, &object).unwrap();
            if let Some(sealed) = &open.volume {
                let key = open_for_volume(repository.id(), session, &volume_key, sealed).unwrap();
                assert_eq!(
                    key.unwrap(),
                    repository.session_key(&view, session, BlobKind::Tree).unwrap()
                );
                opened += 1;
            }
        }
        assert_eq!(opened, 1, "{name}");
    });
    // All but `at-<g>`, which long sessions alone write.
    let all = (1..=12).filter(|kind| *kind != Kind::At as u8);
    assert_eq!(kinds, all.collect());
}

/// The fixtures are worth what is in them.
#[test]
fn golden_repositories_hold_every_kind_of_entry_and_content() {
    let mut kinds = BTreeSet::new();
    each(|_, _, repository| {
        for snapshot in snapshots(repository).into_values() {
            for entry in TreeReader::new(repository, snapshot.record.unwrap().root.0) {
                let entry = entry.unwrap();
                let kind = match &entry.kind {
                    EntryKind::Folder => "folder",
                    EntryKind::File { size: 0, .. } => "empty",
                    EntryKind::File {
                        content,
                        link,
                        from_device,
                        ..
                    } => {
                        if *from_device {
                            kinds.insert("content of a device");
                        }
                        if link.is_some() {
                            kinds.insert("hard link");
                        }
                        match content {
                            Content::Empty => "hole",
                            Content::Slab { .. } => "slab",
                            Content::Chunks(_) => "chunks",
                            Content::List { .. } => "list",
                        }
                    }
                    EntryKind::Symlink { .. } => "symbolic link",
                    EntryKind::Fifo => "fifo",
                    EntryKind::Socket => "socket",
                    EntryKind::CharacterDevice { .. } => "character device",
                    EntryKind::BlockDevice { .. } => "block device",
                };
                kinds.insert(kind);
                if !entry.metadata.attributes.is_empty() {
                    kinds.insert("attributes");
                }
                if std::str::from_utf8(&entry.path).is_err() {
                    kinds.insert("odd name");
                }
            }
        }
    });
    let all = [
        "folder",
        "content of a device",
        "empty",
        "hole",
        "slab",
        "chunks",
        "list",
        "hard link",
        "symbolic link",
        "fifo",
        "socket",
        "character device",
        "block device",
        "attributes",
        "odd name",
    ];
    assert_eq!(kinds, BTreeSet::from(all));
}
