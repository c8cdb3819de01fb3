//! Clouds as stores, through `object_store`: S3, Google Cloud Storage, Azure Blob.
//!
//! `object_store` signs, names and pages; it tries each request once, over our own transport. Trying again is the store's business, because only there
//! a create that may have done its work can be told from one that has not.
//!
//! - `s3`, `google`, `azure` (with `profile`): from a location and an environment to a client
//! - `transport` (with `body`, `proxy`): HTTP with stall timeouts, limits and counts
//! - `trouble` (with `answer`): what refusals and broken connections mean

mod answer;
mod azure;
mod body;
mod google;
mod profile;
mod proxy;
mod s3;
mod transport;
mod trouble;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::backend::{Attempt, Backend, Failure, ObjectInfo, Put, Wanted};
use super::location::Place;
use super::options::StoreOptions;
use super::requests::Counters;
use crate::words::{Error, ObjectName, Result, StoreFailure, Timestamp};
use trouble::{failure_of, refusal_of};

/// So often a store must refuse conditional puts before it is believed not to know them.
const CONDITION_REFUSALS: u32 = 3;

/// A bucket of a cloud.
pub(super) struct Cloud {
    clients: Clients,
    runtime: Handle,
    prefix: String,
    connections: usize,
    /// Of all threads together.
    permits: Semaphore,
    /// Some stores say that they do not know conditional puts (others ignore the condition and say nothing).
    has_conditions: AtomicBool,
    /// One conditional put has succeeded, or was refused since the object was there: then the store knows them, and a refusal is a hiccup. Going on
    /// without conditions beside others that use them would lose data.
    knows_conditions: AtomicBool,
    condition_refusals: AtomicU32,
    has_bulk_delete: AtomicBool,
}

/// What a cloud's builder gives.
struct Clients {
    store: Arc<dyn ObjectStore>,
    /// The same with deletes one by one, where that is another way.
    one_by_one: Option<Arc<dyn ObjectStore>>,
    /// How many objects one delete takes.
    delete_at_once: usize,
}

impl std::fmt::Debug for Cloud {
    /// Without the clients, which hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloud")
            .field("prefix", &self.prefix)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// Why a client could not be made, as a sentence.
struct OpenError(String);

impl From<object_store::Error> for OpenError {
    fn from(error: object_store::Error) -> Self {
        Self(trouble::plain(&error.to_string()))
    }
}

impl From<profile::ProfileError> for OpenError {
    fn from(error: profile::ProfileError) -> Self {
        Self(error.0)
    }
}

impl Cloud {
    /// Makes the client; sends nothing.
    pub(super) fn open(
        place: &Place,
        options: &StoreOptions,
        runtime: Handle,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let connector = transport::Connector::new(options, counters).map_err(Error::Invalid)?;
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let (bucket, opened) = match place {
            Place::S3(bucket) => (bucket, s3::open(bucket, options, &connector, retry)),
            Place::Google(bucket) => (bucket, google::open(bucket, options, &connector, retry)),
            Place::Azure(bucket) => (bucket, azure::open(bucket, options, &connector, retry)),
            Place::Local(_) | Place::Memory(_) => {
                return Err(Error::Internal("no cloud has been asked for".to_owned()));
            }
        };
        let clients =
            opened.map_err(|OpenError(why)| Error::Invalid(format!("Cannot use bucket {}: {why}", bucket.name)))?;
        Path::parse(&bucket.prefix)
            .map_err(|_| Error::Invalid(format!("No object can have prefix `{}`", bucket.prefix)))?;
        Ok(Self {
            clients,
            runtime,
            prefix: bucket.prefix.clone(),
            connections: options.connections.max(1),
            permits: Semaphore::new(options.connections.max(1)),
            has_conditions: AtomicBool::new(true),
            knows_conditions: AtomicBool::new(false),
            condition_refusals: AtomicU32::new(0),
            has_bulk_delete: AtomicBool::new(true),
        })
    }

    fn path(&self, name: &str) -> Attempt<Path> {
        let full = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        };
        Path::parse(full).map_err(|error| Failure::lasting(StoreFailure::Other, error.to_string()))
    }

    /// The object's name, when it is one of this repository.
    fn name(&self, path: &Path) -> Option<ObjectName> {
        let full = path.as_ref();
        if self.prefix.is_empty() {
            return Some(full.to_owned());
        }
        full.strip_prefix(&self.prefix)?.strip_prefix('/').map(str::to_owned)
    }

    /// Reads; when the connection breaks, the rest alone is asked for, as long as each try brings something.
    async fn fetch(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        let _permit = self.permits.acquire().await;
        let path = self.path(name)?;
        let start = range.as_ref().map_or(0, |range| range.start);
        let mut end = range.as_ref().map(|range| range.end);
        let mut bytes = BytesMut::new();
        loop {
            let had = bytes.len();
            let from = start + had as u64;
            let asked = match (&range, end) {
                (None, _) if had == 0 => None,
                (_, Some(end)) => Some(GetRange::Bounded(from..end)),
                (_, None) => Some(GetRange::Offset(from)),
            };
            let result = match self
                .clients
                .store
                .get_opts(
                    &path,
                    GetOptions {
                        range: asked,
                        ..GetOptions::default()
                    },
                )
                .await
            {
                Ok(result) => result,
                Err(error) if is_beyond_the_end(&error) => return Ok(bytes.freeze()),
                Err(error) => return Err(failure_of(&error)),
            };
            let end = *end.insert(result.range.end);
            bytes.reserve(usize::try_from(end.saturating_sub(from)).unwrap_or(0));
            let mut pieces = result.into_stream();
            let cut = loop {
                match pieces.next().await {
                    Some(Ok(piece)) => bytes.extend_from_slice(&piece),
                    Some(Err(error)) => break failure_of(&error),
                    None if start + bytes.len() as u64 >= end => return Ok(bytes.freeze()),
                    None => break Failure::passing(StoreFailure::Timeout, "the answer ended too early"),
                }
            };
            if bytes.len() == had || !cut.passing {
                return Err(cut);
            }
        }
    }

    async fn send(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        let _permit = self.permits.acquire().await;
        let path = self.path(name)?;
        let mode = if self.has_conditions.load(Ordering::Relaxed) {
            PutMode::Create
        } else if self.clients.store.head(&path).await.is_ok() {
            return Ok(Put::Exists);
        } else {
            PutMode::Overwrite
        };
        let is_conditional = mode == PutMode::Create;
        // From then on the store knows the condition, whatever it says later.
        let knows = || self.knows_conditions.fetch_or(is_conditional, Ordering::Relaxed);
        let error = match self
            .clients
            .store
            .put_opts(&path, bytes.into(), PutOptions::from(mode))
            .await
        {
            Ok(_) if is_conditional => {
                knows();
                return Ok(Put::Done);
            }
            Ok(_) => return Ok(Put::Looked),
            Err(error) => error,
        };
        match refusal_of(&error).map(|refusal| (refusal.status, refusal.code.as_str())) {
            Some((409 | 412, _)) => {
                knows();
                return Ok(Put::Exists);
            }
            Some((501, _) | (_, "NotImplemented")) if is_conditional => {
                let refusals = self.condition_refusals.fetch_add(1, Ordering::Relaxed) + 1;
                if refusals >= CONDITION_REFUSALS && !self.knows_conditions.load(Ordering::Relaxed) {
                    self.has_conditions.store(false, Ordering::Relaxed);
                }
                return Err(Failure::passing(
                    StoreFailure::Other,
                    "the store does not know conditional puts",
                ));
            }
            Some((404, _)) => {
                return Err(Failure {
                    kind: StoreFailure::NoBucket,
                    ..failure_of(&error)
                });
            }
            Some(_) => {}
            None if matches!(error, object_store::Error::AlreadyExists { .. }) => {
                knows();
                return Ok(Put::Exists);
            }
            None => {}
        }
        Err(failure_of(&error))
    }

    /// Lists; when it breaks, goes on after the last name that came.
    async fn list_all(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        let _permit = self.permits.acquire().await;
        // Clouds of this interface list folders: the rest of the prefix is left to us.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let within = if folder.is_empty() {
            Path::parse(&self.prefix).ok()
        } else {
            Some(self.path(folder)?)
        };
        let mut found: Vec<ObjectInfo> = Vec::new();
        let mut offset = after.map(str::to_owned);
        loop {
            let had = found.len();
            let store = &self.clients.store;
            let mut objects = match &offset {
                Some(offset) => store.list_with_offset(within.as_ref(), &self.path(offset)?),
                None => store.list(within.as_ref()),
            };
            let cut = loop {
                match objects.try_next().await {
                    Ok(None) => {
                        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                        found.dedup_by(|a, b| a.name == b.name);
                        return Ok(found);
                    }
                    Ok(Some(object)) => {
                        let Some(name) = self.name(&object.location) else {
                            continue;
                        };
                        if name.starts_with(prefix) && offset.as_ref().is_none_or(|offset| name > *offset) {
                            let modified = Timestamp::new(
                                object.last_modified.timestamp(),
                                object.last_modified.timestamp_subsec_nanos(),
                            );
                            found.push(ObjectInfo {
                                name,
                                size: object.size,
                                modified,
                            });
                        }
                    }
                    Err(error) => break error,
                }
            };
            let failure = failure_of(&cut);
            if failure.kind == StoreFailure::NotFound {
                return Err(Failure {
                    kind: StoreFailure::NoBucket,
                    ..failure
                });
            }
            if found.len() == had || !failure.passing {
                return Err(failure);
            }
            offset = found.iter().map(|object| object.name.clone()).max();
        }
    }

    async fn delete_some(&self, names: &[ObjectName]) -> Attempt<()> {
        let _permit = self.permits.acquire().await;
        let paths: Vec<Path> = names.iter().map(|name| self.path(name)).collect::<Attempt<_>>()?;
        let bulk = self.has_bulk_delete.load(Ordering::Relaxed) && paths.len() > 1;
        let store = match &self.clients.one_by_one {
            Some(one_by_one) if !bulk => one_by_one,
            Some(_) | None => &self.clients.store,
        };
        let mut gone = store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        let mut first_failure: Option<Failure> = None;
        while let Some(deleted) = gone.next().await {
            let Err(error) = deleted else { continue };
            if bulk
                && refusal_of(&error).is_some_and(|refusal| refusal.status == 501 || refusal.code == "NotImplemented")
            {
                self.has_bulk_delete.store(false, Ordering::Relaxed);
                return Err(Failure::passing(
                    StoreFailure::Other,
                    "the store does not know bulk deletes",
                ));
            }
            let failure = failure_of(&error);
            if failure.kind != StoreFailure::NotFound {
                first_failure.get_or_insert(failure);
            }
        }
        first_failure.map_or(Ok(()), Err)
    }
}

/// Whether a range was asked for of which the object has nothing. Some servers answer with a wrong range rather than 416; that `object_store` sees,
/// in an error that has no public type.
fn is_beyond_the_end(error: &object_store::Error) -> bool {
    refusal_of(error).is_some_and(|refusal| refusal.status == 416)
        || error.to_string().contains("Wanted range starting at")
}

impl Backend for Cloud {
    fn create_root(&self) -> Attempt<()> {
        Ok(())
    }

    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        self.runtime.block_on(self.fetch(name, range))
    }

    fn get_many(&self, wanted: &[Wanted]) -> Vec<Attempt<Bytes>> {
        let fetches = wanted
            .iter()
            .map(|wanted| self.fetch(&wanted.name, wanted.range.clone()));
        self.runtime
            .block_on(futures::stream::iter(fetches).buffered(self.connections).collect())
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        self.runtime.block_on(self.send(name, bytes))
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        self.runtime.block_on(self.list_all(prefix, after))
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        names
            .chunks(self.clients.delete_at_once)
            .try_for_each(|names| self.runtime.block_on(self.delete_some(names)))
    }
}
