//! What a writer's key cannot do: it opens no data, no tree and no record, and yet backs up incrementally with a volume key.

use std::path::PathBuf;

use engine::crypto::Secret;
use engine::format::envelope::Access;
use engine::format::keys::{Keys, Role};
use engine::format::tree::{Content, EntryKind, Extent, TreeReader};
use engine::repository::slots::Holder;
use engine::repository::{Credential, Repository, SnapshotFilter};
use engine::verbs::backup::{BackupReport, Input, backup};
use engine::verbs::check::check;
use engine::verbs::prune::prune;
use engine::words::{BlobId, BlobKind, Error, NoProgress, SessionId};

use crate::bench::{Bench, clock, noise};
use crate::life::everything;

struct Writers {
    bench: Bench,
    key: Credential,
}

impl Writers {
    fn new() -> Self {
        let bench = Bench::new();
        for number in 0..30 {
            bench.write(&format!("small/{number}"), noise(number, 2000));
        }
        bench.write("large", noise(100, 3 << 20));
        let (_, key) = bench
            .open()
            .add_slot(Holder::NewKey, Role::Writer, "node".into(), clock())
            .unwrap();
        Self {
            bench,
            key: Credential::Key(key.unwrap()),
        }
    }

    fn open(&self) -> Repository {
        Repository::open(self.bench.store(), &self.key, None, Access::Write).unwrap()
    }

    fn back_up(&self, host: &str, volume_key: Option<&Secret>) -> BackupReport {
        let mut options = self.bench.backup_options();
        options.host = host.into();
        options.volume_key = volume_key.cloned();
        let repository = self.open().with_volume_keys(volume_key.into_iter().cloned().collect());
        backup(
            &repository,
            Input::Paths(vec![PathBuf::from(".")]),
            &options,
            &NoProgress,
        )
        .unwrap()
    }

    /// The tree's root and a few data blobs of a snapshot, as the owner sees them.
    fn blobs(&self, snapshot: SessionId) -> (BlobId, Vec<BlobId>) {
        let owner = self.bench.open();
        let found = owner
            .find_snapshot(&snapshot.to_string(), &SnapshotFilter::default())
            .unwrap();
        let root = found.record.unwrap().root.0;
        let mut data = Vec::new();
        for entry in TreeReader::new(&owner, root) {
            let EntryKind::File { content, .. } = entry.unwrap().kind else {
                continue;
            };
            match content {
                Content::Slab { blob, .. } => data.push(blob),
                Content::Chunks(extents) => data.extend(extents.iter().filter_map(|extent| match extent {
                    Extent::Chunk { blob, .. } => Some(*blob),
                    Extent::Hole { .. } => None,
                })),
                Content::Empty | Content::List { .. } => {}
            }
        }
        assert!(!data.is_empty());
        (root, data)
    }
}

fn is_refused<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::RoleTooSmall { .. }))
}

#[test]
fn a_writers_slot_holds_no_secret_that_reads_prunes_or_rules() {
    let writers = Writers::new();
    let repository = writers.open();
    let document = repository.keys().encode().unwrap();
    let keys = Keys::decode("k", &document).unwrap();
    assert_eq!(keys.role, Role::Writer);
    for (_, halves) in keys.data.iter().chain(&keys.tree) {
        assert!(halves.pair.is_none() && halves.public.is_some());
    }
    assert!(keys.maintenance.pair.is_none() && keys.root.is_none() && keys.mark.is_none());

    // Not under another name either.
    let owner = writers.bench.open();
    let all = owner.keys();
    let pairs = all.data.iter().chain(&all.tree).map(|(_, halves)| halves.pair.as_ref());
    let pairs = pairs.chain([all.maintenance.pair.as_ref(), all.root.as_ref()]);
    let secrets: Vec<[u8; 32]> = pairs.map(|pair| *pair.unwrap().secret().expose()).collect();
    assert_eq!(secrets.len(), 4);
    for secret in secrets.iter().chain([all.mark.as_ref().unwrap().expose()]) {
        assert!(!document.windows(32).any(|window| window == secret));
    }
}

#[test]
fn a_writer_opens_no_blob_no_tree_and_no_record() {
    let writers = Writers::new();
    let snapshot = writers.back_up("one", None).snapshot.unwrap();
    assert_eq!(writers.bench.contents(snapshot), writers.bench.expected());
    let (root, data) = writers.blobs(snapshot);
    let repository = writers.open();
    for id in &data {
        assert!(repository.locate(BlobKind::Data, id).unwrap().is_some());
        assert!(is_refused(repository.blob(BlobKind::Data, id)));
    }
    assert!(is_refused(repository.blob(BlobKind::Tree, &root)));
    let view = repository.view().unwrap();
    assert!(is_refused(repository.record(
        &view,
        snapshot,
        view.committed(snapshot).unwrap()
    )));
    assert!(is_refused(repository.snapshots(&SnapshotFilter::default())));
    assert!(is_refused(check(&repository, &everything(), &NoProgress)));
    assert!(is_refused(prune(
        &repository,
        &writers.bench.prune_options(),
        &NoProgress
    )));
    assert!(is_refused(repository.mark(
        snapshot,
        engine::format::mark::MarkKind::Forget { reason: String::new() },
        clock()
    )));
    assert!(is_refused(repository.add_slot(
        Holder::NewKey,
        Role::Owner,
        String::new(),
        clock()
    )));
    assert!(is_refused(repository.rotate(clock())));
}

#[test]
fn a_volume_key_opens_the_trees_of_its_own_source_and_nothing_else() {
    let writers = Writers::new();
    let (one, two) = (Secret::random(), Secret::random());
    let mine = writers.back_up("one", Some(&one)).snapshot.unwrap();
    writers.bench.write("other", "other");
    let foreign = writers.back_up("two", Some(&two)).snapshot.unwrap();
    let ((root, data), (foreign_root, foreign_data)) = (writers.blobs(mine), writers.blobs(foreign));
    assert_ne!(root, foreign_root);

    let repository = writers.open().with_volume_keys(vec![one]);
    let paths: Vec<Vec<u8>> = TreeReader::new(&repository, root)
        .map(|entry| entry.unwrap().path)
        .collect();
    let expected: Vec<Vec<u8>> = writers.bench.contents(mine).into_keys().collect();
    assert_eq!(paths.len(), expected.len());
    let view = repository.view().unwrap();
    assert_eq!(
        repository
            .record(&view, mine, view.committed(mine).unwrap())
            .unwrap()
            .root
            .0,
        root
    );
    assert!(is_refused(repository.record(
        &view,
        foreign,
        view.committed(foreign).unwrap()
    )));
    assert!(is_refused(repository.blob(BlobKind::Tree, &foreign_root)));
    for id in data.iter().chain(&foreign_data) {
        assert!(is_refused(repository.blob(BlobKind::Data, id)));
    }
}

#[test]
fn a_writers_backups_are_incremental_with_a_volume_key_and_deduplicated_without() {
    let writers = Writers::new();
    let key = Secret::random();
    let first = writers.back_up("one", Some(&key));
    let second = writers.back_up("one", Some(&key));
    assert_eq!(second.parent, first.snapshot);
    assert_eq!(second.counts.bytes_read, 0);
    assert_eq!(second.written.blobs, 0);
    let third = writers.back_up("one", None);
    assert_eq!(third.parent, None);
    assert!(third.counts.bytes_read > 3 << 20);
    assert_eq!(third.written.blobs, 0);
    for report in [first, second, third] {
        assert_eq!(
            writers.bench.contents(report.snapshot.unwrap()),
            writers.bench.expected()
        );
    }
}
