//! The only floor that knows stores: objects by name, written once, on local disk, in memory or in a cloud.
//!
//! Must hold:
//! - An object is never replaced: writes are create-if-absent wherever the store has that. A put that finds its own bytes there is done (the reply to an
//!   earlier try was lost); one that finds others fails.
//! - When a put returns, the object is durable. Every failure that can pass was tried again before it is reported.
//! - No error, log line or location ever shows a secret.
//!
//! Calls block: they are made from plain threads, never from inside an async task. The runtime whose handle is given must run on threads of its own.
//!
//! - [`location`] and [`options`]: where it is and how to use it
//! - [`backend`]: what a kind of store does; `local`, `memory` and `cloud` are the kinds; [`faulty`] spoils any of them, for tests
//! - `patience` and `limit`: trying again, bandwidth
//! - [`probe`]: does this store do what the protocol needs?
//! - [`cache`]: a folder of objects that were read before

pub mod backend;
pub mod cache;
pub mod faulty;
pub mod location;
pub mod naming;
pub mod options;
pub mod probe;
pub mod requests;

mod cloud;
mod limit;
mod local;
mod memory;
mod patience;

pub use backend::{ObjectInfo, Wanted};
pub use location::Location;
pub use options::StoreOptions;
pub use requests::Requests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::words::{Error, ObjectName, Result, StoreFailure};
use backend::{Attempt, Backend, Failure, Put};
use limit::Limit;
use patience::Patience;
use requests::Counters;

/// A repository's place, opened. Cheap to clone; clones share connections, limits and counts.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    location: Location,
    backend: Arc<dyn Backend>,
    counters: Arc<Counters>,
    patience: Patience,
    /// Some object was written without a condition.
    looked: AtomicBool,
    /// Limits of stores that have no network of their own to limit.
    upload: Option<Limit>,
    download: Option<Limit>,
}

/// What became of a [`Store::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is written, and it is ours.
    Done,
    /// Another object of that name is there: its bytes.
    Exists(Bytes),
}

impl Store {
    /// Opens a store. Sends no request and makes no folder.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::Store`] when the options or credentials make no sense.
    pub fn open(location: &Location, options: &StoreOptions, runtime: Handle) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let backend: Arc<dyn Backend> = match location.place() {
            location::Place::Local(path) => Arc::new(local::Local::new(path, counters.clone(), options.connections)),
            location::Place::Memory(name) => Arc::new(memory::Memory::named(name, counters.clone())),
            location::Place::S3(_) | location::Place::Google(_) | location::Place::Azure(_) => Arc::new(
                cloud::Cloud::open(location.place(), options, runtime, counters.clone())?,
            ),
        };
        Ok(Self::assemble(location.clone(), backend, counters, options))
    }

    /// The same store with its backend wrapped: for tests that spoil it.
    pub fn wrapped(&self, options: &StoreOptions, wrap: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>) -> Self {
        let shared = &self.shared;
        Self::assemble(
            shared.location.clone(),
            wrap(shared.backend.clone()),
            shared.counters.clone(),
            options,
        )
    }

    fn assemble(
        location: Location,
        backend: Arc<dyn Backend>,
        counters: Arc<Counters>,
        options: &StoreOptions,
    ) -> Self {
        // Clouds limit each piece of a body on its way; what is here is whole already.
        let is_here = matches!(location.place(), location::Place::Local(_) | location::Place::Memory(_));
        let limit = |bytes_per_second: Option<u64>| bytes_per_second.filter(|_| is_here).map(Limit::new);
        let (upload, download) = (
            limit(options.upload_bytes_per_second),
            limit(options.download_bytes_per_second),
        );
        Self {
            shared: Arc::new(Shared {
                location,
                backend,
                counters,
                patience: Patience::new(options),
                looked: AtomicBool::new(false),
                upload,
                download,
            }),
        }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.shared.location
    }

    /// Requests and bytes since it was opened.
    pub fn requests(&self) -> Requests {
        self.shared.counters.now()
    }

    /// Makes the folder of a local store, with its parents, for its owner alone. A bucket is not ours to make.
    pub fn create_root(&self) -> Result<()> {
        self.shared
            .backend
            .create_root()
            .map_err(|failure| self.error("create", "", failure))
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there.
    pub fn get(&self, name: &str) -> Result<Bytes> {
        self.read(name, None)
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there, [`Error::Damaged`] when it is shorter than that.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.read(name, Some(range))
    }

    /// Reads several objects or parts at once, as many as there are connections; results are in the order asked for.
    pub fn get_many(&self, wanted: Vec<(ObjectName, Option<Range<u64>>)>) -> Vec<Result<Bytes>> {
        let mut results: Vec<Option<Attempt<Bytes>>> = Vec::new();
        results.resize_with(wanted.len(), || None);
        let wanted: Vec<Wanted> = wanted.into_iter().map(|(name, range)| Wanted { name, range }).collect();
        let mut open: Vec<usize> = Vec::new();
        for (at, wanted) in wanted.iter().enumerate() {
            match checked(&wanted.name) {
                Ok(()) => open.push(at),
                Err(failure) => results[at] = Some(Err(failure)),
            }
        }
        let mut trying = self.shared.patience.begin();
        while !open.is_empty() {
            let asked: Vec<Wanted> = open.iter().map(|at| wanted[*at].clone()).collect();
            let mut passing = None;
            let mut again = Vec::new();
            for (at, answer) in open.into_iter().zip(self.shared.backend.get_many(&asked)) {
                if let Err(failure) = &answer
                    && failure.passing
                {
                    passing = Some(failure.clone());
                    again.push(at);
                }
                results[at] = Some(answer);
            }
            open = again;
            match passing {
                None => self.shared.patience.reached(),
                Some(failure) => {
                    if trying.pause_or_give_up(failure).is_err() {
                        break;
                    }
                }
            }
        }
        wanted
            .iter()
            .zip(results)
            .map(|(wanted, answer)| match answer {
                Some(answer) => self.received(wanted, answer),
                None => Err(Error::Internal(format!(
                    "{} was asked for and got no answer",
                    wanted.name
                ))),
            })
            .collect()
    }

    /// Writes an object of ours under a name of its own. If one with the same bytes is there, that is as good.
    ///
    /// # Errors
    /// [`Error::Store`]; also when an object of that name with other bytes is there.
    pub fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        match self.create(name, bytes)? {
            Created::Done => Ok(()),
            Created::Exists(_) => {
                let failure = Failure::lasting(
                    StoreFailure::Other,
                    "an object of that name with other content is there",
                );
                Err(self.error("write", name, failure))
            }
        }
    }

    /// Writes an object if there is none of that name. Callers put a nonce into the bytes: equal bytes count as our own, written by a
    /// try whose reply was lost.
    pub fn create(&self, name: &str, bytes: Bytes) -> Result<Created> {
        checked(name).map_err(|failure| self.error("write", name, failure))?;
        let shared = &self.shared;
        let mut trying = shared.patience.begin();
        loop {
            if let Some(upload) = &shared.upload {
                upload.wait(bytes.len() as u64);
            }
            let failure = match shared.backend.put(name, bytes.clone()) {
                Ok(put @ (Put::Done | Put::Looked)) => {
                    shared.patience.reached();
                    shared.looked.fetch_or(put == Put::Looked, Ordering::Relaxed);
                    return Ok(Created::Done);
                }
                Ok(Put::Exists) => match shared.patience.attempt(|| shared.backend.get(name, None)) {
                    Ok(there) => return Ok(compared(&bytes, there)),
                    // "Exists", and yet not there: two writers at once, of whom none has won yet, or one that was deleted. Try again.
                    Err(failure) if failure.kind == StoreFailure::NotFound => {
                        Failure::passing(StoreFailure::Busy, "it was said to exist and was not there")
                    }
                    Err(failure) => return Err(self.error("read back", name, failure)),
                },
                Err(failure) => failure,
            };
            let is_unsure = failure.passing;
            if let Err(failure) = trying.pause_or_give_up(failure) {
                // The last try may have done its work all the same.
                if is_unsure && let Ok(there) = shared.backend.get(name, None) {
                    return Ok(compared(&bytes, there));
                }
                return Err(self.error("write", name, failure));
            }
        }
    }

    /// Whether some object was written after a mere look whether its name was free, since this was opened: the store knows no create-if-absent,
    /// and [`Created::Done`] says nothing of what others wrote at the same time.
    pub fn has_only_looked(&self) -> bool {
        self.shared.looked.load(Ordering::Relaxed)
    }

    /// Lists objects whose names begin with `prefix` (`"s/"`), sorted by name. An empty prefix is everything.
    pub fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.list_from(prefix, None)
    }

    /// Lists the objects whose names begin with `prefix` and sort after `after`.
    pub fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<ObjectInfo>> {
        self.list_from(prefix, Some(after))
    }

    /// Deletes objects, in bulk where the store can. What is not there is fine.
    ///
    /// Objects of one call are deleted in any order; when the call returns, all are gone for good.
    pub fn delete(&self, names: &[ObjectName]) -> Result<()> {
        let Some(first) = names.first() else { return Ok(()) };
        for name in names {
            checked(name).map_err(|failure| self.error("delete", name, failure))?;
        }
        let about = if names.len() == 1 {
            first.clone()
        } else {
            format!("{first} and {} more objects", names.len() - 1)
        };
        let shared = &self.shared;
        shared
            .patience
            .attempt(|| shared.backend.delete(names))
            .map_err(|failure| self.error("delete", &about, failure))
    }

    /// Removes what dead writers have left half written (temporary files of a local store), and says how many.
    pub fn sweep_leftovers(&self) -> Result<u64> {
        self.shared
            .backend
            .sweep_leftovers()
            .map_err(|failure| self.error("sweep", "", failure))
    }

    fn list_from(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>> {
        let shared = &self.shared;
        let listed =
            checked_prefix(prefix).and_then(|()| shared.patience.attempt(|| shared.backend.list(prefix, after)));
        listed.map_err(|failure| self.error("list", prefix, failure))
    }

    fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Bytes> {
        let wanted = Wanted {
            name: name.to_owned(),
            range,
        };
        if wanted.range.as_ref().is_some_and(Range::is_empty) {
            return Ok(Bytes::new());
        }
        let shared = &self.shared;
        let get = || shared.backend.get(name, wanted.range.clone());
        self.received(&wanted, checked(name).and_then(|()| shared.patience.attempt(get)))
    }

    fn received(&self, wanted: &Wanted, answer: Attempt<Bytes>) -> Result<Bytes> {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(failure) if failure.kind == StoreFailure::NotFound => {
                return Err(Error::Missing {
                    name: wanted.name.clone(),
                });
            }
            Err(failure) => return Err(self.error("read", &wanted.name, failure)),
        };
        if let Some(download) = &self.shared.download {
            download.wait(bytes.len() as u64);
        }
        match &wanted.range {
            Some(range) if bytes.len() as u64 != range.end.saturating_sub(range.start) => Err(Error::damaged(
                &wanted.name,
                format!("it has no bytes {} to {}, it is shorter", range.start, range.end),
            )),
            Some(_) | None => Ok(bytes),
        }
    }

    fn error(&self, action: &'static str, name: &str, failure: Failure) -> Error {
        let location = &self.shared.location;
        let name = if name.is_empty() {
            location.to_string()
        } else {
            format!("{name} in {location}")
        };
        Error::Store {
            action,
            name,
            failure: failure.kind,
            cause: failure.cause,
        }
    }
}

fn compared(ours: &Bytes, there: Bytes) -> Created {
    if there == ours {
        Created::Done
    } else {
        Created::Exists(there)
    }
}

/// Names are ours: parts of ASCII letters, digits, `-`, `_`, `.`, none beginning with a dot, joined by `/`.
fn checked(name: &str) -> Attempt<()> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if name.len() <= 512 && name.split('/').all(is_part) {
        Ok(())
    } else {
        Err(Failure::lasting(
            StoreFailure::Other,
            "that is not a name an object can have",
        ))
    }
}

fn checked_prefix(prefix: &str) -> Attempt<()> {
    let name = prefix.strip_suffix('/').unwrap_or(prefix);
    if name.is_empty() { Ok(()) } else { checked(name) }
}
