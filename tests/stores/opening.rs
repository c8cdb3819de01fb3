//! How stores are opened for tests: quick to retry, with nothing from the real environment.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::store::{Location, Store, StoreOptions};
use engine::words::Result;
use tokio::runtime::{Handle, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});

/// The runtime that all tests share.
pub fn runtime() -> Handle {
    RUNTIME.handle().clone()
}

/// Options that give up soon.
pub fn options() -> StoreOptions {
    StoreOptions {
        retries_max: 8,
        retry_time: Duration::from_secs(20),
        retry_pause: Duration::from_millis(2),
        stall_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        ..StoreOptions::default()
    }
}

pub fn open(location: &str, options: &StoreOptions) -> Store {
    Store::open(&Location::parse(location).unwrap(), options, runtime()).unwrap()
}

/// An empty store in memory that nobody else has.
pub fn memory() -> Store {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    open(
        &format!("memory:test-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        &options(),
    )
}

/// An empty store in a folder that goes with the first value.
pub fn local() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().join("repository").to_str().unwrap(), &options());
    store.create_root().unwrap();
    (folder, store)
}

/// Options that try a request again once, and no more.
pub fn hasty() -> StoreOptions {
    StoreOptions {
        retries_max: 1,
        ..options()
    }
}

/// A store in a server's bucket.
pub fn cloud(location: &crate::servers::Location, options: &StoreOptions) -> Store {
    try_cloud(location, options).unwrap()
}

/// A store in a server's bucket, if what the location says can be used at all.
pub fn try_cloud(location: &crate::servers::Location, options: &StoreOptions) -> Result<Store> {
    let mut options = options.clone();
    options.environment.extend(
        location
            .environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    Store::open(&Location::parse(&location.url)?, &options, runtime())
}
