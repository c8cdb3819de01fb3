//! A work bench for tests: a repository in a fresh store, a folder to back up, and short calls.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use engine::format::config::Cutting;
use engine::format::envelope::Access;
use engine::repository::writer::Machine;
use engine::repository::{Credential, InitOptions, Repository};
use engine::source::SourceOptions;
use engine::store::{Location, Store, StoreOptions};
use engine::verbs::backup::{BackupOptions, BackupReport, Input, OwnerNames, ParentChoice, backup};
use engine::words::{NoProgress, Timestamp};

/// Every test has stores of its own.
static STORES: AtomicU64 = AtomicU64::new(0);
/// The clock of the tests: far ahead, so that no file looks as if it had just been changed.
static NOW: AtomicI64 = AtomicI64::new(2_000_000_000_000_000_000);

pub fn clock() -> Timestamp {
    Timestamp(NOW.fetch_add(1_000_000_000, Ordering::Relaxed))
}

pub fn machine() -> Machine {
    Machine {
        host: "here".into(),
        boot: "boot".into(),
        process: std::process::id(),
        is_running: |process| process == std::process::id(),
        program: "test".into(),
    }
}

/// Where nobody has a repository yet, in memory.
pub fn new_place() -> Location {
    let name = format!("memory:test-{}", STORES.fetch_add(1, Ordering::Relaxed));
    Location::parse(&name).unwrap()
}

pub struct Bench {
    pub runtime: tokio::runtime::Runtime,
    pub location: Location,
    pub key: Credential,
    pub folder: tempfile::TempDir,
    pub cache: tempfile::TempDir,
}

impl Bench {
    /// A repository in memory with small packs.
    pub fn new() -> Self {
        Self::at(new_place())
    }

    pub fn at(location: Location) -> Self {
        Self::made(location, Cutting::default())
    }

    pub fn made(location: Location, cutting: Cutting) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let store = Store::open(&location, &StoreOptions::default(), runtime.handle().clone()).unwrap();
        let options = InitOptions {
            now: clock(),
            pack_bytes: 1 << 20,
            cutting,
            ..InitOptions::default()
        };
        let (_, key) = Repository::init(store, options).unwrap();
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self {
            runtime,
            location,
            key: Credential::Key(key.unwrap()),
            folder,
            cache,
        }
    }

    pub fn store(&self) -> Store {
        Store::open(&self.location, &StoreOptions::default(), self.runtime.handle().clone()).unwrap()
    }

    pub fn open(&self) -> Repository {
        let cache = Some(self.cache.path().to_owned());
        Repository::open(self.store(), &self.key, cache, Access::Write).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn backup_options(&self) -> BackupOptions {
        BackupOptions {
            clock,
            time: None,
            host: b"here".to_vec(),
            user: b"me".to_vec(),
            tags: Vec::new(),
            labels: Vec::new(),
            description: String::new(),
            machine: machine(),
            parent: ParentChoice::Newest,
            ignore_ctime: false,
            ignore_inode: false,
            skip_if_unchanged: false,
            dry_run: false,
            estimate: false,
            level: None,
            workers: 2,
            uploads: 2,
            volume_key: None,
            source: SourceOptions {
                here: self.folder.path().to_owned(),
                ..SourceOptions::default()
            },
            source_name: None,
            names: OwnerNames {
                user: |_| None,
                group: |_| None,
            },
        }
    }

    pub fn backup(&self) -> BackupReport {
        self.backup_with(&self.backup_options())
    }

    pub fn backup_with(&self, options: &BackupOptions) -> BackupReport {
        backup(
            &self.open(),
            Input::Paths(vec![PathBuf::from(".")]),
            options,
            &NoProgress,
        )
        .unwrap()
    }
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}
