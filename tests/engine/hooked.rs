//! A store in which other things happen between two requests, or in which one of them goes wrong.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::store::backend::{Attempt, Backend, Failure, ObjectInfo, Put};
use engine::store::{Store, StoreOptions};
use engine::words::{ObjectName, Timestamp};

pub type Hook = Box<dyn FnOnce() + Send>;

/// What happens, and when.
#[derive(Default)]
pub struct Hooks {
    /// Once, before an object whose name begins so is written.
    pub before_put: Option<(&'static str, Hook)>,
    /// The name is hidden in this list of sessions, counted from 1.
    pub hidden: Option<(ObjectName, usize)>,
    /// Listed, but not there.
    pub lost: Option<ObjectName>,
    /// A byte of what begins so is another when it is read.
    pub rotten: Option<String>,
    /// The same, but only the first time.
    pub rotten_once: Option<String>,
    /// What begins so is not deleted.
    pub kept: Vec<&'static str>,
    /// When packs were written, as lists show it.
    pub packs_written: Option<Timestamp>,
}

struct Hooked {
    inner: Arc<dyn Backend>,
    hooks: Mutex<Hooks>,
    /// Lists of sessions so far.
    lists: AtomicUsize,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

/// The store with such hooks.
pub fn hooked(store: &Store, hooks: Hooks) -> Store {
    let options = StoreOptions {
        retry_pause: Duration::from_millis(1),
        ..StoreOptions::default()
    };
    store.wrapped(&options, |inner| {
        Arc::new(Hooked {
            inner,
            hooks: Mutex::new(hooks),
            lists: AtomicUsize::new(0),
        })
    })
}

impl Backend for Hooked {
    fn create_root(&self) -> Attempt<()> {
        self.inner.create_root()
    }

    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        let bytes = self.inner.get(name, range)?;
        let mut hooks = self.hooks.lock().unwrap();
        let begins_so = |prefix: &mut String| name.starts_with(prefix.as_str());
        if hooks.lost.as_deref() == Some(name) {
            return Err(Failure::not_found());
        }
        if hooks.rotten_once.take_if(begins_so).is_some() || hooks.rotten.as_mut().is_some_and(begins_so) {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            return Ok(bytes.into());
        }
        Ok(bytes)
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        let mut hooks = self.hooks.lock().unwrap();
        let hook = hooks.before_put.take_if(|(prefix, _)| name.starts_with(*prefix));
        drop(hooks);
        if let Some((_, hook)) = hook {
            hook();
        }
        self.inner.put(name, bytes)
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        let mut listed = self.inner.list(prefix, after)?;
        let hooks = self.hooks.lock().unwrap();
        if prefix == "s/" {
            let now = self.lists.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some((name, _)) = hooks.hidden.as_ref().filter(|(_, list)| *list == now) {
                listed.retain(|object| object.name != *name);
            }
        }
        if let Some(written) = hooks.packs_written {
            let packs = listed.iter_mut().filter(|object| object.name.starts_with("p/"));
            packs.for_each(|object| object.modified = written);
        }
        Ok(listed)
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        let hooks = self.hooks.lock().unwrap();
        let is_kept = |name: &&ObjectName| hooks.kept.iter().any(|prefix| name.starts_with(prefix));
        let gone: Vec<ObjectName> = names.iter().filter(|name| !is_kept(name)).cloned().collect();
        self.inner.delete(&gone)
    }
}
