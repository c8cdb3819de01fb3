//! The rest of a repository's life at the work bench: forgetting and pruning, copies of it, and what its snapshots hold.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use engine::format::config::Cutting;
use engine::format::envelope::Access;
use engine::format::mark::MarkKind;
use engine::format::tree::list::List;
use engine::format::tree::{Content, EntryKind, Extent, TreeReader, TreeSource};
use engine::repository::{Credential, Repository, SnapshotFilter, StoredSnapshot};
use engine::store::Store;
use engine::verbs::check::{CheckOptions, Finding, ReadData, check};
use engine::verbs::prune::{PruneOptions, PruneReport, prune};
use engine::words::{BlobKind, NoProgress, Result, SessionId};

use crate::bench::{Bench, clock, machine, new_place, noise};

impl Bench {
    /// A repository in memory that cuts files into small chunks.
    pub fn with_cutting(cutting: Cutting) -> Self {
        Self::made(new_place(), cutting)
    }

    pub fn prune_options(&self) -> PruneOptions {
        PruneOptions {
            clock,
            machine: machine(),
            dry_run: false,
            undelete_seconds: 0,
            unused_max: 0.05,
            repack_bytes_max: u64::MAX,
            fence_seconds: 24 * 3600,
            wait_seconds: 0,
            exclusive: false,
        }
    }

    pub fn prune(&self) -> PruneReport {
        prune(&self.open(), &self.prune_options(), &NoProgress).unwrap()
    }

    pub fn forget(&self, snapshot: SessionId) {
        self.open()
            .mark(snapshot, MarkKind::Forget { reason: "test".into() }, clock())
            .unwrap();
    }

    pub fn snapshots(&self) -> Vec<StoredSnapshot> {
        self.open().snapshots(&SnapshotFilter::default()).unwrap()
    }

    /// A copy of the repository as it is now, in a store of its own.
    pub fn copied(&self) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let Credential::Key(key) = &self.key else {
            unreachable!()
        };
        let copy = Self {
            runtime,
            location: new_place(),
            key: Credential::Key(key.clone()),
            folder: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
        };
        let (from, to) = (self.store(), copy.store());
        for object in from.list("").unwrap() {
            to.put(&object.name, from.get(&object.name).unwrap()).unwrap();
        }
        copy
    }

    /// The repository through a spoiled store, without a cache.
    pub fn open_through(&self, store: Store) -> Result<Repository> {
        Repository::open(store, &self.key, None, Access::Write)
    }

    /// Everything that a full check finds.
    pub fn findings(&self) -> Vec<Finding> {
        check(&self.open(), &everything(), &NoProgress).unwrap().findings
    }

    /// Reads a whole snapshot out of the repository: path to content; folders and links have none.
    pub fn contents(&self, snapshot: SessionId) -> Contents {
        contents(&self.open(), snapshot).unwrap()
    }

    /// What is in the folder now.
    pub fn expected(&self) -> Contents {
        expected(self.folder.path())
    }
}

/// Two snapshots of which the second needs a part of what the first has stored, and the first is forgotten: some packs are unused, some partly. The
/// first has a file of so many bytes that the second has not.
pub fn half_forgotten(large_bytes: usize) -> (Bench, SessionId) {
    let bench = Bench::new();
    for number in 0..14 {
        bench.write(&format!("files/{number:02}"), noise(number, 200_000));
    }
    bench.write("large", noise(1000, large_bytes));
    let first = bench.backup().snapshot.unwrap();
    for number in (0..14).filter(|number| number % 3 > 0) {
        bench.write(&format!("files/{number:02}"), noise(2000 + number, 100_000));
    }
    std::fs::remove_file(bench.path("large")).unwrap();
    let second = bench.backup().snapshot.unwrap();
    bench.forget(first);
    (bench, second)
}

/// Path to content; folders and links have none.
pub type Contents = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A check that reads all there is.
pub fn everything() -> CheckOptions {
    CheckOptions {
        read_data: ReadData::All,
        workers: 1,
        seed: 0,
    }
}

/// Reads a whole snapshot.
pub fn contents(repository: &Repository, snapshot: SessionId) -> Result<Contents> {
    let found = repository.find_snapshot(&snapshot.to_string(), &SnapshotFilter::default())?;
    let mut contents = BTreeMap::new();
    for entry in TreeReader::new(repository, found.record.unwrap().root.0) {
        let entry = entry?;
        let content = match &entry.kind {
            EntryKind::File { size, content, .. } => {
                let bytes = file(repository, content, *size)?;
                assert_eq!(bytes.len() as u64, *size, "{}", String::from_utf8_lossy(&entry.path));
                Some(bytes)
            }
            EntryKind::Folder
            | EntryKind::Symlink { .. }
            | EntryKind::Fifo
            | EntryKind::Socket
            | EntryKind::CharacterDevice { .. }
            | EntryKind::BlockDevice { .. } => None,
        };
        contents.insert(entry.path.clone(), content);
    }
    Ok(contents)
}

/// What is in a folder now.
pub fn expected(folder: &Path) -> Contents {
    let mut contents = BTreeMap::from([(Vec::new(), None)]);
    collect(folder, &mut Vec::new(), &mut contents);
    contents
}

fn collect(folder: &Path, path: &mut Vec<u8>, contents: &mut Contents) {
    use std::os::unix::ffi::OsStrExt;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        let metadata = entry.path().symlink_metadata().unwrap();
        assert!(metadata.ino() > 0);
        contents.insert(
            path.clone(),
            metadata.is_file().then(|| std::fs::read(entry.path()).unwrap()),
        );
        if metadata.is_dir() {
            collect(&entry.path(), path, contents);
        }
        path.truncate(length);
    }
}

fn file(repository: &Repository, content: &Content, size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match content {
        Content::Empty => bytes.resize(size as usize, 0),
        Content::Slab { blob, offset, check } => {
            let slab = repository.blob(BlobKind::Data, blob)?;
            bytes.extend_from_slice(&slab[*offset as usize..][..size as usize]);
            assert_eq!(repository.file_check(&bytes)?, *check);
        }
        Content::Chunks(extents) => {
            for extent in extents {
                bytes.extend(extent_bytes(repository, extent)?);
            }
        }
        Content::List { blob } => {
            assert!(!List::parse(&repository.load(blob)?).unwrap().table().is_empty());
            for extent in engine::format::tree::ListReader::new(repository, *blob, size) {
                bytes.extend(extent_bytes(repository, &extent?.1)?);
            }
        }
    }
    Ok(bytes)
}

fn extent_bytes(repository: &Repository, extent: &Extent) -> Result<Vec<u8>> {
    match extent {
        Extent::Hole { length } => Ok(vec![0; *length as usize]),
        Extent::Chunk { blob, length } => {
            let bytes = repository.blob(BlobKind::Data, blob)?;
            assert_eq!(bytes.len(), *length as usize);
            Ok(bytes.to_vec())
        }
    }
}
