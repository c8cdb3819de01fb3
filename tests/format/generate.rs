//! Makes the golden repositories with the engine: `UPDATE=1 cargo test -p engine --test format generate`, as root.
//!
//! A golden repository is made once, by the version that brought its format, and never again: to make one anew, remove its folder first and say why.
//! Each has a `repository`, the `key` and `password` that open it, and `manifests/<description>.jsonl` for every snapshot that counts,
//! written down from the folder on disk before it was backed up.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use engine::crypto::Secret;
use engine::crypto::passphrase::PassphraseCost;
use engine::format::config::Cutting;
use engine::format::end::{IndexPart, NewEnd, end_name};
use engine::format::envelope::Access;
use engine::format::keys::Role;
use engine::format::mark::MarkKind;
use engine::format::open::SessionKind;
use engine::format::references::{References, references_name};
use engine::format::snapshot::{RootId, Snapshot};
use engine::format::tree::{Content, EntryKind, Extent, TreeReader, TreeSink, TreeWriter};
use engine::repository::slots::Holder;
use engine::repository::writer::Machine;
use engine::repository::{Credential, InitOptions, Repository, Scratch, SnapshotFilter, Writer, WriterOptions};
use engine::source::SourceOptions;
use engine::store::{Location, Store, StoreOptions};
use engine::verbs::backup::{BackupOptions, BackupReport, Input, OwnerNames, ParentChoice, backup};
use engine::verbs::prune::{PruneOptions, prune};
use engine::words::{BlobId, BlobKind, NoProgress, Progress, Result, SessionId, Timestamp};

use crate::manifest;
use crate::sources::Source;

pub const PASSWORD: &str = "correct horse battery staple";

/// The clock of the golden repositories: a second for each look.
static NOW: AtomicI64 = AtomicI64::new(1_800_000_000_000_000_000);

fn clock() -> Timestamp {
    Timestamp(NOW.fetch_add(1_000_000_000, Ordering::Relaxed))
}

fn machine() -> Machine {
    Machine {
        host: "golden".into(),
        boot: "00000000-0000-0000-0000-000000000000".into(),
        process: 4711,
        is_running: |_| false,
        program: "ararat 0.1.0".into(),
    }
}

/// Where the golden repositories of version 1 are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/format-v1")
}

pub fn store(path: &Path, runtime: &tokio::runtime::Runtime) -> Store {
    let location = Location::local(path).unwrap();
    Store::open(&location, &StoreOptions::default(), runtime.handle().clone()).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Stops the backup when it asks for the second time: after some entries, how many is chance.
#[derive(Default)]
struct Stop {
    asked: AtomicU64,
}

impl Progress for Stop {
    fn interrupted(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) >= 1
    }
}

struct Maker {
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Maker {
    /// A repository with a passphrase for its owner and a key for a reader.
    fn new(folder: PathBuf, padding: bool) -> Self {
        let runtime = runtime();
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        let options = InitOptions {
            now: clock(),
            label: "The owner".into(),
            // As cheap as it may be: it is tried by every run of the tests.
            passphrase: Some((
                PASSWORD.as_bytes().to_vec().into(),
                PassphraseCost {
                    memory_kib: 64,
                    passes: 1,
                    lanes: 2,
                },
            )),
            cutting: Cutting {
                min: 16 << 10,
                average: 64 << 10,
                max: 256 << 10,
                ..Cutting::default()
            },
            padding,
            ..InitOptions::default()
        };
        let (repository, _) = Repository::init(store(&folder.join("repository"), &runtime), options).unwrap();
        let (_, key) = repository
            .add_slot(Holder::NewKey, Role::Reader, "A reader".into(), clock())
            .unwrap();
        let text = format!(
            "# Opens this golden repository, which holds nothing of anybody.\n{}\n",
            *key.unwrap().to_text()
        );
        std::fs::write(folder.join("key"), text).unwrap();
        std::fs::write(folder.join("password"), PASSWORD).unwrap();
        Self { folder, runtime }
    }

    fn open(&self) -> Repository {
        let store = store(&self.folder.join("repository"), &self.runtime);
        let credential = Credential::Passphrase(PASSWORD.as_bytes().to_vec().into());
        Repository::open(store, &credential, None, Access::Maintain).unwrap()
    }

    fn backup(&self, source: &Source, description: &str, progress: &dyn Progress) -> BackupReport {
        self.backup_with(source, description, progress, None)
    }

    fn backup_with(
        &self,
        source: &Source,
        description: &str,
        progress: &dyn Progress,
        volume_key: Option<Secret>,
    ) -> BackupReport {
        let expected = manifest::of_folder(source.folder.path());
        let options = BackupOptions {
            clock,
            time: None,
            host: b"golden-\xff".to_vec(),
            user: b"somebody".to_vec(),
            tags: vec!["golden".into(), "tag two".into()],
            labels: vec![("purpose".into(), "test".into())],
            description: description.into(),
            machine: machine(),
            parent: ParentChoice::Newest,
            ignore_ctime: false,
            ignore_inode: false,
            skip_if_unchanged: false,
            dry_run: false,
            estimate: false,
            level: Some(19),
            workers: 2,
            uploads: 1,
            volume_key,
            source: SourceOptions {
                here: source.folder.path().to_owned(),
                ..SourceOptions::default()
            },
            source_name: None,
            names: OwnerNames {
                user: |number| (number == 1234).then(|| b"somebody".to_vec()),
                group: |number| (number == 5678).then(|| b"some-group".to_vec()),
            },
        };
        let repository = self.open();
        let report = backup(&repository, Input::Paths(vec![".".into()]), &options, progress).unwrap();
        assert_eq!(report.counts.errors, 0, "{:?}", report.errors);
        let entries = (report.counts.files + report.counts.folders + report.counts.others) as usize;
        assert!(
            report.interrupted || entries == expected.len(),
            "{entries} of {}",
            expected.len()
        );
        let path = self.folder.join("manifests").join(format!("{description}.jsonl"));
        std::fs::write(path, manifest::to_text(&expected[..entries])).unwrap();
        report
    }

    /// Puts the references of a snapshot into an object of their own, as if they were too long for its `end`.
    fn put_references_aside(&self, snapshot: SessionId) {
        let repository = self.open();
        let (id, keys, store) = (repository.id(), repository.keys(), repository.store());
        let view = repository.view().unwrap();
        let end = view.committed(snapshot).unwrap();
        let maintenance = keys.maintenance.pair.as_ref().unwrap();
        let mut part = end.maintenance(id, snapshot, maintenance).unwrap();
        let name = end_name(snapshot);
        let references = References::decode(&name, &part.references.take().unwrap()).unwrap();
        let object = references.to_object(id, snapshot, maintenance.public()).unwrap();
        let new = NewEnd {
            outcome: end.outcome,
            nonce: end.nonce,
            index: &IndexPart {
                external_references: true,
                ..end.index.clone()
            },
            maintenance: Some((&part, &keys.maintenance)),
            snapshot: Some((
                &repository.record(&view, snapshot, end).unwrap(),
                &repository.session_key(&view, snapshot, BlobKind::Tree).unwrap(),
            )),
        };
        store.put(&references_name(snapshot), object.into()).unwrap();
        store.delete(std::slice::from_ref(&name)).unwrap();
        store
            .put(&name, new.to_object(id, snapshot, &keys.index).unwrap().into())
            .unwrap();
    }

    /// A snapshot of one file of another, `device`, as if it were the content of a block device: those are not to be had everywhere.
    fn back_up_as_device(&self, of: SessionId, description: &str) {
        let repository = self.open();
        let found = repository
            .find_snapshot(&of.to_string(), &SnapshotFilter::default())
            .unwrap();
        let record = found.record.unwrap();
        let manifests = self.folder.join("manifests");
        let lines = std::fs::read_to_string(manifests.join(format!("{}.jsonl", record.description))).unwrap();
        let lines = manifest::parse(&lines);
        let options = WriterOptions {
            now: clock(),
            machine: machine(),
            kind: SessionKind::Backup,
            source: [0; 16],
            level: Some(19),
            uploads: 1,
            volume_key: None,
        };
        let writer = Writer::begin(&repository, options).unwrap();
        let mut sink = Sink(&writer, Scratch::new());
        let mut tree = TreeWriter::new([7; 32]);
        let mut expected = Vec::new();
        for entry in TreeReader::new(&repository, record.root.0) {
            let mut entry = entry.unwrap();
            let mut line = lines
                .iter()
                .find(|line| line["path"] == manifest::shown(&entry.path))
                .unwrap()
                .clone();
            if let EntryKind::File {
                content: Content::Chunks(extents),
                from_device,
                link: None,
                ..
            } = &mut entry.kind
            {
                for extent in extents.iter() {
                    if let Extent::Chunk { blob, .. } = extent {
                        assert!(writer.carry(BlobKind::Data, blob).unwrap());
                    }
                }
                *from_device = true;
                entry.path = b"device".to_vec();
                line["path"] = "device".into();
            } else if !entry.path.is_empty() {
                continue;
            }
            tree.push(&entry, &mut sink).unwrap();
            expected.push(line);
            if expected.len() == 2 {
                break;
            }
        }
        assert_eq!(expected.len(), 2);
        let root = tree.finish(&mut sink).unwrap().id;
        let snapshot = Snapshot {
            time: clock(),
            description: description.into(),
            root: RootId(root),
            parent: None,
            ..record
        };
        writer.commit(snapshot).unwrap();
        std::fs::write(
            manifests.join(format!("{description}.jsonl")),
            manifest::to_text(&expected),
        )
        .unwrap();
    }

    fn forget(&self, snapshot: SessionId, description: &str) {
        let forget = MarkKind::Forget {
            reason: "keep-last".into(),
        };
        self.open().mark(snapshot, forget, clock()).unwrap();
        std::fs::remove_file(self.folder.join("manifests").join(format!("{description}.jsonl"))).unwrap();
    }

    fn prune(&self) {
        let options = PruneOptions {
            clock,
            machine: machine(),
            dry_run: false,
            undelete_seconds: 0,
            unused_max: 0.0,
            repack_bytes_max: u64::MAX,
            fence_seconds: 3600,
            wait_seconds: 0,
            exclusive: false,
        };
        let report = prune(&self.open(), &options, &NoProgress).unwrap();
        assert_eq!(report.packs_waiting, 0, "{report:?}");
    }
}

struct Sink<'a>(&'a Writer<'a>, Scratch);

impl TreeSink for Sink<'_> {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        self.0.save(BlobKind::Tree, &blob, &mut self.1)
    }
}

/// Every kind of entry, tags given later, and an incomplete snapshot; nothing was ever deleted.
fn make_grown(folder: PathBuf) {
    let maker = Maker::new(folder, true);
    let source = Source::new();
    source.fill_all();
    source.settle();
    let volume_key = Secret::new([0x5a; 32]);
    std::fs::write(
        maker.folder.join("volume-key"),
        data_encoding::HEXLOWER.encode(volume_key.expose()),
    )
    .unwrap();
    let first = maker.backup_with(&source, "first", &NoProgress, Some(volume_key));
    let first = first.snapshot.unwrap();
    source.change();
    source.settle();
    let second = maker.backup(&source, "second", &NoProgress).snapshot.unwrap();
    maker.put_references_aside(second);
    maker.back_up_as_device(second, "device");
    // The second marks count; both are younger than the snapshot.
    for tags in [
        vec!["not this".to_owned()],
        vec!["given later".to_owned(), "golden".to_owned()],
    ] {
        maker.open().mark(first, MarkKind::Tags { tags }, clock()).unwrap();
    }
    source.write("a-new-folder/later", crate::sources::text(79, 20_000));
    source.settle();
    let report = maker.backup(&source, "incomplete", &Stop::default());
    let entries = report.counts.files + report.counts.folders + report.counts.others;
    assert!(report.interrupted && entries > 5, "{entries} entries; try again");
}

/// Snapshots were forgotten, packs deleted and repacked, sessions folded, keys rotated, and backups made since.
fn make_pruned(folder: PathBuf) {
    let maker = Maker::new(folder, false);
    let source = Source::new();
    source.fill_small();
    source.write("large/first", crate::sources::text(1, 600_000));
    source.write("large/stays", crate::sources::text(2, 300_000));
    source.settle();
    let first = maker.backup(&source, "first", &NoProgress).snapshot.unwrap();
    std::fs::remove_file(source.path("large/first")).unwrap();
    source.write("large/second", crate::sources::text(3, 500_000));
    source.write("large/stays-too", crate::sources::noise(4, 140_000));
    source.settle();
    let second = maker.backup(&source, "second", &NoProgress).snapshot.unwrap();
    std::fs::remove_file(source.path("large/second")).unwrap();
    source.change();
    source.settle();
    let third = maker.backup(&source, "third", &NoProgress).snapshot.unwrap();
    maker.put_references_aside(third);
    maker.forget(first, "first");
    maker.forget(second, "second");
    maker.prune();
    source.write("after/the-prune", crate::sources::text(5, 200_000));
    source.settle();
    maker.backup(&source, "fourth", &NoProgress);
    maker.prune();
    assert!(maker.open().rotate(clock()).unwrap().sessions > 0);
    source.write("after/the-second-prune", "small");
    source.settle();
    let fifth = maker.backup(&source, "fifth", &NoProgress).snapshot.unwrap();
    maker.put_references_aside(fifth);
}

/// A golden repository: its name, and what makes it.
pub const REPOSITORIES: [(&str, fn(PathBuf)); 2] = [("grown", make_grown), ("pruned", make_pruned)];

#[test]
fn missing_golden_repositories_are_generated_on_demand() {
    for (name, make) in REPOSITORIES {
        let folder = folder().join(name);
        if folder.exists() {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE").is_some(),
            "{} is not there; run with UPDATE=1, as root, to make it",
            folder.display()
        );
        // Whole or not at all, and not under the eyes of the tests that read.
        let unfinished = folder.with_extension("unfinished");
        make(unfinished.clone());
        std::fs::rename(unfinished, folder).unwrap();
    }
}
