//! A repository in memory, for tests of what is done with one.

use std::sync::OnceLock;

use api::archive;
use engine::repository::{InitOptions, Repository, SnapshotFilter, StoredSnapshot};
use engine::store::{Location, Store, StoreOptions};
use engine::words::{SessionId, Timestamp};
use tokio::runtime::Runtime;

use crate::context::engine_now;
use crate::documents::{Documents, store};

/// A fresh repository, opened as its owner. Names tell the tests' repositories apart.
pub fn repository(name: &str) -> Repository {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let location = Location::parse(&format!("memory:controller-{name}")).unwrap();
    let opened = Store::open(&location, &StoreOptions::default(), runtime.handle().clone()).unwrap();
    let options = InitOptions {
        now: engine_now(),
        ..InitOptions::default()
    };
    Repository::init(opened, options).unwrap().0
}

/// Saves a snapshot of a kind that belongs to a UID, a number of seconds ago.
pub fn save(repository: &Repository, kind: &str, uid: &str, seconds_ago: i64, files: &[(&str, &str)]) -> SessionId {
    let labels = [
        (archive::LABEL_KIND, kind),
        (archive::LABEL_UID, uid),
        (archive::LABEL_NAME, "a"),
    ];
    let documents = Documents {
        source: kind,
        cluster: "we",
        pod: "pod",
        labels: &labels,
        time: Timestamp(engine_now().0 - seconds_ago * 1_000_000_000),
        files: files
            .iter()
            .map(|(path, content)| (*path, content.as_bytes().to_vec()))
            .collect(),
    };
    store(repository, documents).unwrap()
}

/// All snapshots, oldest first.
pub fn snapshots(repository: &Repository) -> Vec<StoredSnapshot> {
    repository.listing(&SnapshotFilter::default()).unwrap().snapshots
}
