//! What this process has seen of each location with its own eyes.
//!
//! A status outlives its controller: one that was away for a day finds there that it owns a location which another cluster has taken over meanwhile. So nothing
//! is written to a location before this process has looked at it, as its spec is now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::BackupStorageLocation;
use kube::ResourceExt;

/// Locations by UID, with what the last look at each has shown.
#[derive(Default)]
pub struct Looks(Mutex<HashMap<String, Looked>>);

struct Looked {
    /// The spec that was looked at.
    generation: Option<i64>,
    /// This cluster was seen to own it.
    is_ours: bool,
}

impl Looks {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Looked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether this cluster was seen to own a location. None says that it could not be looked at: then what was seen of the same spec before stands.
    pub fn note(&self, location: &BackupStorageLocation, is_ours: Option<bool>) {
        let generation = location.metadata.generation;
        let mut known = self.known();
        let before = known.get(&location.uid().unwrap_or_default());
        let stands = before.is_some_and(|before| before.generation == generation && before.is_ours);
        let is_ours = is_ours.unwrap_or(stands);
        known.insert(location.uid().unwrap_or_default(), Looked { generation, is_ours });
    }

    /// Whether a location was looked at as it is now, whatever that has shown.
    pub fn has(&self, location: &BackupStorageLocation) -> bool {
        let known = self.known();
        let looked = known.get(&location.uid().unwrap_or_default());
        looked.is_some_and(|looked| looked.generation == location.metadata.generation)
    }

    /// Whether this cluster was seen to own a location as it is now.
    pub fn is_ours(&self, location: &BackupStorageLocation) -> bool {
        let known = self.known();
        let looked = known.get(&location.uid().unwrap_or_default());
        looked.is_some_and(|looked| looked.is_ours && looked.generation == location.metadata.generation)
    }

    /// Forgets a location that is gone.
    pub fn forget(&self, uid: &str) {
        self.known().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use api::location::BackupStorageLocationSpec;

    use super::*;

    fn location(uid: &str, generation: i64) -> BackupStorageLocation {
        let mut location = BackupStorageLocation::new("main", BackupStorageLocationSpec::default());
        location.metadata.uid = Some(uid.to_owned());
        location.metadata.generation = Some(generation);
        location
    }

    #[test]
    fn only_what_was_seen_of_this_very_location_and_spec_counts() {
        let looks = Looks::default();
        let seen = |location: &BackupStorageLocation| (looks.has(location), looks.is_ours(location));
        let main = location("u1", 1);
        assert_eq!(seen(&main), (false, false));
        // It could not be looked at, and nothing was seen before.
        looks.note(&main, None);
        assert_eq!(seen(&main), (true, false));
        looks.note(&main, Some(true));
        looks.note(&main, None);
        assert_eq!(seen(&main), (true, true));
        // A namesake, and another spec.
        assert_eq!(seen(&location("u2", 1)), (false, false));
        assert_eq!(seen(&location("u1", 2)), (false, false));
        looks.note(&location("u1", 2), None);
        assert_eq!(seen(&location("u1", 2)), (true, false));
        // Another cluster has taken it over.
        looks.note(&main, Some(true));
        looks.note(&main, Some(false));
        assert_eq!(seen(&main), (true, false));
        looks.forget("u1");
        assert_eq!(seen(&main), (false, false));
    }
}
