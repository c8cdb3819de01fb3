//! What a restore has done so far, counted by many threads, and what went wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{RestoreReport, Step, StepKind};
use crate::words::{Error, Progress};

/// How many failures the report lists; all are counted, and told as they happen.
const FAILURES_LISTED: usize = 100;

/// Counts, the first failures, and the error that ends everything.
pub(super) struct Tally<'a> {
    pub(super) progress: &'a dyn Progress,
    observe: Option<&'a (dyn Fn(&Step<'_>) + Send + Sync)>,
    counts: [AtomicU64; StepKind::COUNT],
    pub(super) bytes: AtomicU64,
    pub(super) bytes_reused: AtomicU64,
    pub(super) bytes_fetched: AtomicU64,
    pub(super) verified: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<(Vec<u8>, String)>>,
    stopped: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(progress: &'a dyn Progress, observe: Option<&'a (dyn Fn(&Step<'_>) + Send + Sync)>) -> Self {
        Self {
            progress,
            observe,
            counts: Default::default(),
            bytes: AtomicU64::new(0),
            bytes_reused: AtomicU64::new(0),
            bytes_fetched: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
            stopped: AtomicBool::new(false),
            error: Mutex::default(),
        }
    }

    /// Counts one step that has been done, or in a dry run would be; `path` is asked for only when somebody looks.
    pub(super) fn step(&self, kind: StepKind, size: u64, path: impl FnOnce() -> Vec<u8>) {
        self.step_shown(kind, size, 0, path);
    }

    /// The same, when so many of its bytes have been shown as done already.
    pub(super) fn step_shown(&self, kind: StepKind, size: u64, shown: u64, path: impl FnOnce() -> Vec<u8>) {
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        if matches!(kind, StepKind::File | StepKind::Replaced) {
            self.bytes.fetch_add(size, Ordering::Relaxed);
        }
        self.progress
            .done(u64::from(kind != StepKind::Deleted), size.saturating_sub(shown));
        if let Some(observe) = self.observe {
            observe(&Step {
                kind,
                path: &path(),
                size,
            });
        }
    }

    /// Counts and lists one item that could not be restored.
    pub(super) fn fail(&self, path: impl FnOnce() -> Vec<u8>, why: impl std::fmt::Display) {
        self.fail_many(1, path, why);
    }

    /// Counts several items that could not be restored, and lists them as one.
    pub(super) fn fail_many(&self, items: u64, path: impl FnOnce() -> Vec<u8>, why: impl std::fmt::Display) {
        self.failed.fetch_add(items, Ordering::Relaxed);
        self.progress.done(items, 0);
        let (path, why) = (path(), why.to_string());
        self.progress
            .note(&format!("Could not restore {}: {why}", String::from_utf8_lossy(&path)));
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_LISTED {
            failures.push((path, why));
        }
    }

    /// Ends everything with this error, unless another one has.
    pub(super) fn stop(&self, error: Error) {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether everything is to end: something went wrong for all, or a person asked for it.
    pub(super) fn is_stopped(&self) -> bool {
        if self.progress.interrupted() && !self.stopped.load(Ordering::Relaxed) {
            self.stop(Error::Interrupted);
        }
        self.stopped.load(Ordering::Acquire)
    }

    /// The error that ended everything, if one did.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Everything so far.
    pub(super) fn report(&self) -> RestoreReport {
        let count = |kind: StepKind| self.counts[kind as usize].load(Ordering::Relaxed);
        RestoreReport {
            folders: count(StepKind::Folder),
            files: count(StepKind::File) + count(StepKind::Replaced),
            replaced: count(StepKind::Replaced),
            links: count(StepKind::Link),
            others: count(StepKind::Other),
            unchanged: count(StepKind::Unchanged),
            kept: count(StepKind::Kept),
            deleted: count(StepKind::Deleted),
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_reused: self.bytes_reused.load(Ordering::Relaxed),
            bytes_fetched: self.bytes_fetched.load(Ordering::Relaxed),
            verified: self.verified.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            losses: Vec::new(),
        }
    }
}
