//! The engine's verbs on one volume: synchronous, on a thread of its own. In reading order: [`backup`], [`restore`]; their tests need no cluster.

mod backup;
mod restore;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::volume::{VolumeMode, VolumePhase, VolumeProgress};
use engine::format::envelope::Access;
use engine::repository::Repository;
use engine::words::{Error, StoreFailure};

use crate::decide::Stop;
use crate::handover::Told;
use crate::place::{Found, Missing, Places};
use crate::progress::Counter;
use crate::repositories::Repositories;
use crate::volume::Volume;

/// How long the kubelet may take until it has a volume.
const APPEARS: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(250);
/// How long a store may not answer when its repository is to be opened, and how long is waited between two tries.
const ANSWERS_AGAIN: Duration = Duration::from_secs(300);
const BETWEEN_TRIES: Duration = Duration::from_secs(5);
/// Failures that the status lists.
const FAILURES_MAX: usize = 20;

/// All that work on one volume needs.
pub struct Task {
    /// What is asked for.
    pub volume: Volume,
    /// How the repository is reached.
    pub told: Told,
    /// The node.
    pub node: String,
    /// Where volumes are.
    pub places: Places,
    /// Where repositories come from.
    pub repositories: Arc<Repositories>,
    /// Counts what is done, and says when to stop.
    pub counter: Arc<Counter>,
}

/// What became of a volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The final phase.
    pub phase: VolumePhase,
    /// Why it failed, or what is worth knowing.
    pub message: Option<String>,
    /// The snapshot that was written or read.
    pub snapshot_id: Option<String>,
    /// The snapshot that unchanged files were taken from.
    pub parent_snapshot_id: Option<String>,
    /// Bytes read from the volume.
    pub bytes_read: Option<u64>,
    /// Bytes written to the store.
    pub bytes_stored: Option<u64>,
    /// Items that could not be read or restored.
    pub errors: u64,
    /// The first of them.
    pub failures: Vec<String>,
    /// How far it came.
    pub progress: Option<VolumeProgress>,
}

impl Outcome {
    /// It could not be done.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            phase: VolumePhase::Failed,
            message: Some(message.into()),
            ..Self::default()
        }
    }

    /// It was stopped before it was done.
    pub fn stopped(stop: Stop) -> Self {
        match stop {
            Stop::Canceled => Self {
                phase: VolumePhase::Canceled,
                message: Some("It was canceled; a new one goes on with what was stored".into()),
                ..Self::default()
            },
            Stop::Vanished => Self::failed(
                "The volume was taken away while the agent worked on it: its pod was deleted or moved, or the volume was unmounted. Try again when the pod runs",
            ),
            // Nobody is told: the object is gone or has its last word, or the next agent begins again.
            Stop::Gone | Stop::Settled | Stop::Shutdown => Self::failed("It was stopped"),
        }
    }
}

/// Why work on a volume ended early.
enum Cut {
    /// It was asked to.
    Stopped(Stop),
    /// It could not be done, and this is why.
    Failed(String),
}

impl Task {
    /// Does the work.
    ///
    /// # Errors
    /// The reason for which it was stopped before it was done.
    pub fn run(&self) -> Result<Outcome, Stop> {
        let ended = self.find().and_then(|found| match &self.volume {
            Volume::Backup(backup) => self.backup(&backup.spec, &found),
            Volume::Restore(restore) => self.restore(&restore.spec, &found),
        });
        let mut outcome = match ended {
            Ok(outcome) => outcome,
            Err(Cut::Failed(why)) => Outcome::failed(why),
            Err(Cut::Stopped(stop)) => return Err(stop),
        };
        outcome.progress.get_or_insert_with(|| self.counter.so_far());
        Ok(outcome)
    }

    /// Finds the volume, and waits for it a little.
    fn find(&self) -> Result<Found, Cut> {
        let since = Instant::now();
        loop {
            if let Some(stop) = self.counter.stopped() {
                return Err(Cut::Stopped(stop));
            }
            match self
                .places
                .find(self.volume.place(), self.volume.source(), self.volume.kind())
            {
                Ok(found) => {
                    self.counter.watch(found.clone());
                    return Ok(found);
                }
                Err(Missing::NotYet(_)) if since.elapsed() < APPEARS => std::thread::sleep(POLL),
                Err(missing) => return Err(Cut::Failed(missing.text())),
            }
        }
    }

    /// Opens the repository. A store that does not answer is waited for: outages of minutes are no reason to fail.
    fn open(&self, access: Access) -> Result<Arc<Repository>, Cut> {
        let since = Instant::now();
        loop {
            let error = match self.repositories.open(&self.told, access) {
                Ok(repository) => {
                    self.counter.remark(None);
                    return Ok(repository);
                }
                Err(error) => error,
            };
            if self.counter.stopped().is_some() || !is_outage(&error) || since.elapsed() >= ANSWERS_AGAIN {
                return Err(self.failure(&error));
            }
            self.counter.remark(Some(format!(
                "{error}; trying again for up to {} minutes",
                ANSWERS_AGAIN.as_secs() / 60
            )));
            self.rest(BETWEEN_TRIES);
        }
    }

    /// Sleeps, unless the work is to stop.
    fn rest(&self, time: Duration) {
        let since = Instant::now();
        while since.elapsed() < time && self.counter.stopped().is_none() {
            std::thread::sleep(POLL);
        }
    }

    /// What an error of the engine means for the volume.
    fn failure(&self, error: &Error) -> Cut {
        match (error, self.counter.stopped()) {
            (_, Some(stop)) => Cut::Stopped(stop),
            (Error::RoleTooSmall { .. } | Error::WrongKey { .. }, None) => Cut::Failed(format!(
                "{error}. The controller gave this agent that key; look at the BackupRepository"
            )),
            (_, None) => Cut::Failed(error.to_string()),
        }
    }
}

/// Whether the store may answer again by itself.
fn is_outage(error: &Error) -> bool {
    let Error::Store { failure, .. } = error else {
        return false;
    };
    match failure {
        StoreFailure::Unreachable | StoreFailure::Timeout | StoreFailure::Busy => true,
        StoreFailure::NotFound
        | StoreFailure::NoBucket
        | StoreFailure::Denied
        | StoreFailure::NotAllowed
        | StoreFailure::Expired
        | StoreFailure::ClockSkew
        | StoreFailure::Full
        | StoreFailure::ReadOnly
        | StoreFailure::Other => false,
    }
}

/// Failures as the status lists them: path and reason, unless the reason names the path.
fn failures(failed: &[(Vec<u8>, String)]) -> Vec<String> {
    let text = |(path, why): &(Vec<u8>, String)| {
        let path = String::from_utf8_lossy(path);
        if why.contains(path.as_ref()) {
            why.clone()
        } else {
            format!("{path}: {why}")
        }
    };
    failed.iter().take(FAILURES_MAX).map(text).collect()
}

/// Complete, but for what is counted.
fn phase_of(errors: u64) -> VolumePhase {
    if errors == 0 {
        VolumePhase::Completed
    } else {
        VolumePhase::PartiallyFailed
    }
}

/// Whether the volume is a device.
fn is_block(found: &Found) -> bool {
    found.mode == VolumeMode::Block
}
