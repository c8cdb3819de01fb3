//! How far a restore is: counted by whoever works, told in its status once a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use api::backup::{HookCounts, VolumeCounts};
use api::restore::RestoreProgress;

/// Counts, shared by all that work on one restore.
#[derive(Default)]
#[allow(
    missing_docs,
    reason = "each field is named as what it counts; RestoreProgress, VolumeCounts and HookCounts describe them"
)]
pub struct Tally {
    pub total: AtomicU64,
    pub done: AtomicU64,
    pub created: AtomicU64,
    pub updated: AtomicU64,
    pub unchanged: AtomicU64,
    pub volumes_total: AtomicU64,
    pub volumes_completed: AtomicU64,
    pub volumes_failed: AtomicU64,
    pub volumes_skipped: AtomicU64,
    pub hooks_attempted: AtomicU64,
    pub hooks_failed: AtomicU64,
    step: Mutex<&'static str>,
}

/// One more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Tally {
    /// What is being done.
    pub fn set_step(&self, step: &'static str) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// What is being done.
    pub fn step(&self) -> &'static str {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Objects.
    pub fn objects(&self) -> RestoreProgress {
        RestoreProgress {
            total_items: read(&self.total),
            items_restored: read(&self.done),
            created: read(&self.created),
            updated: read(&self.updated),
            unchanged: read(&self.unchanged),
        }
    }

    /// Volumes, without their bytes.
    pub fn volumes(&self) -> VolumeCounts {
        VolumeCounts {
            total: read(&self.volumes_total),
            completed: read(&self.volumes_completed),
            failed: read(&self.volumes_failed),
            skipped: read(&self.volumes_skipped),
            ..VolumeCounts::default()
        }
    }

    /// Hooks.
    pub fn hooks(&self) -> HookCounts {
        HookCounts {
            attempted: read(&self.hooks_attempted),
            failed: read(&self.hooks_failed),
        }
    }
}
