//! Memory of this process as a store, by name: for tests. It does all that the protocol needs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;

use super::backend::{Attempt, Backend, Failure, ObjectInfo, Put};
use super::requests::Counters;
use crate::words::{ObjectName, Timestamp};

type Objects = Arc<Mutex<BTreeMap<ObjectName, (Bytes, Timestamp)>>>;

/// All of them, by name.
static PLACES: LazyLock<Mutex<HashMap<String, Objects>>> = LazyLock::new(Mutex::default);

/// Memory of this process.
#[derive(Debug)]
pub(super) struct Memory {
    objects: Objects,
    counters: Arc<Counters>,
}

impl Memory {
    /// Opens the memory of that name, which is empty at first.
    pub(super) fn named(name: &str, counters: Arc<Counters>) -> Self {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            objects: places.entry(name.to_owned()).or_default().clone(),
            counters,
        }
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectName, (Bytes, Timestamp)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Memory {
    fn create_root(&self) -> Attempt<()> {
        Ok(())
    }

    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        self.counters.get();
        let (bytes, _) = self.objects().get(name).cloned().ok_or_else(Failure::not_found)?;
        let bytes = match range {
            None => bytes,
            Some(range) => {
                let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(bound(range.start)..bound(range.end).max(bound(range.start)))
            }
        };
        self.counters.down(bytes.len() as u64);
        Ok(bytes)
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        self.counters.put();
        self.counters.up(bytes.len() as u64);
        // The engine has no wall clock: times of writes are their order, a second each.
        let modified = Timestamp::new(self.counters.now().put.try_into().unwrap_or(i64::MAX), 0);
        match self.objects().entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(_) => Ok(Put::Exists),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert((bytes, modified));
                Ok(Put::Done)
            }
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        self.counters.list();
        let objects = self.objects();
        let from = after.unwrap_or("").max(prefix).to_owned();
        Ok(objects
            .range(from..)
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .map(|(name, (bytes, modified))| ObjectInfo {
                name: name.clone(),
                size: bytes.len() as u64,
                modified: *modified,
            })
            .collect())
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        self.counters.delete();
        let mut objects = self.objects();
        for name in names {
            objects.remove(name);
        }
        Ok(())
    }
}
