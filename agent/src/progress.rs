//! What the engine has done of a volume, and whether it is to stop. The engine counts from many threads; whoever tells the API looks now and then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use api::volume::VolumeProgress;
use engine::words::Progress;

use crate::decide::Stop;
use crate::place::Found;
use crate::shares::Share;

/// The rate is that of so long.
const WINDOW: Duration = Duration::from_secs(10);
/// How often it is looked whether the volume is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Notes that are logged of one volume.
const NOTES_MAX: u64 = 100;

/// Counts what is done of one volume.
#[derive(Debug)]
pub struct Counter {
    name: String,
    share: Share,
    started: Instant,
    items: Count,
    bytes: Count,
    stop: AtomicU8,
    volume: OnceLock<Found>,
    /// Milliseconds since the start.
    next_look: AtomicU64,
    notes: AtomicU64,
    remark: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Count {
    done: AtomicU64,
    expected: AtomicU64,
    /// What is known of the whole before anything begins.
    known: AtomicU64,
}

impl Count {
    fn reset(&self) {
        self.done.store(0, Ordering::Relaxed);
        self.expected.store(0, Ordering::Relaxed);
    }

    /// Done, and all there is.
    fn get(&self) -> (u64, u64) {
        let done = self.done.load(Ordering::Relaxed);
        let known = self.known.load(Ordering::Relaxed);
        (done, self.expected.load(Ordering::Relaxed).max(known).max(done))
    }
}

impl Counter {
    /// Nothing is done yet. `name` is for the log; `share` says how many threads may be at work.
    pub fn new(name: String, share: Share) -> Self {
        Self {
            name,
            share,
            started: Instant::now(),
            items: Count::default(),
            bytes: Count::default(),
            stop: AtomicU8::new(0),
            volume: OnceLock::new(),
            next_look: AtomicU64::new(0),
            notes: AtomicU64::new(0),
            remark: Mutex::default(),
        }
    }

    /// The share of the node's processors.
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// From now on the work stops when the volume is not there any longer.
    pub fn watch(&self, found: Found) {
        // There is one volume to a counter.
        let _ = self.volume.set(found);
    }

    /// Asks the work to stop. The first reason counts.
    pub fn stop(&self, reason: Stop) {
        let _ = self
            .stop
            .compare_exchange(0, reason as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why the work is to stop, if it is.
    pub fn stopped(&self) -> Option<Stop> {
        Stop::of_number(self.stop.load(Ordering::Relaxed))
    }

    /// What whoever waits for the volume should know meanwhile; none when all goes well.
    pub fn remark(&self, text: Option<String>) {
        *self.remark.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// What was remarked last.
    pub fn remarked(&self) -> Option<String> {
        self.remark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much there is, known beforehand.
    pub fn know(&self, items: u64, bytes: u64) {
        self.items.known.store(items, Ordering::Relaxed);
        self.bytes.known.store(bytes, Ordering::Relaxed);
    }

    /// How far it is; the rate is not known here.
    pub fn so_far(&self) -> VolumeProgress {
        let ((files_done, files_total), (bytes_done, bytes_total)) = (self.items.get(), self.bytes.get());
        VolumeProgress {
            bytes_done,
            bytes_total,
            files_done,
            files_total,
            bytes_per_second: 0,
        }
    }

    fn look(&self) {
        let Some(volume) = self.volume.get() else { return };
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next_look.load(Ordering::Relaxed);
        let later = now.saturating_add(LOOK.as_millis() as u64);
        // One of the many threads that ask looks.
        let mine = now >= next
            && self
                .next_look
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine && !volume.is_still_there() {
            self.stop(Stop::Vanished);
        }
    }
}

impl Progress for Counter {
    fn stage(&self, name: &str, items: &'static str) {
        tracing::debug!(volume = %self.name, "{name}");
        // A stage that counts nothing leaves what the one before has counted.
        if !items.is_empty() {
            self.items.reset();
            self.bytes.reset();
        }
    }

    fn expect(&self, items: u64, bytes: u64) {
        self.items.expected.store(items, Ordering::Relaxed);
        self.bytes.expected.store(bytes, Ordering::Relaxed);
    }

    fn done(&self, items: u64, bytes: u64) {
        self.items.done.fetch_add(items, Ordering::Relaxed);
        self.bytes.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn note(&self, text: &str) {
        if self.notes.fetch_add(1, Ordering::Relaxed) < NOTES_MAX {
            tracing::info!(volume = %self.name, "{text}");
        }
    }

    fn interrupted(&self) -> bool {
        self.look();
        self.stopped().is_some()
    }

    fn workers(&self) -> usize {
        self.share.threads()
    }
}

/// The rate of the last while.
#[derive(Debug, Default)]
pub struct Rate {
    /// When, and how many bytes were done by then; the oldest first.
    seen: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// So many bytes are done at this moment, counted from any start. Gives bytes a second.
    pub fn add(&mut self, at: Duration, bytes: u64) -> u64 {
        if self.seen.back().is_some_and(|(_, before)| *before > bytes) {
            // Counting has begun anew.
            self.seen.clear();
        }
        self.seen.push_back((at, bytes));
        // One that is as old as the window, or older, is the first.
        while self
            .seen
            .get(1)
            .is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW)
        {
            self.seen.pop_front();
        }
        let Some((since, before)) = self.seen.front() else {
            return 0;
        };
        let milliseconds = at.saturating_sub(*since).as_millis();
        let bytes = u128::from(bytes - before) * 1000;
        bytes
            .checked_div(milliseconds)
            .map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Shares;

    fn rates(seen: &[(u64, u64)]) -> Vec<u64> {
        let mut rate = Rate::default();
        seen.iter()
            .map(|(second, bytes)| rate.add(Duration::from_secs(*second), *bytes))
            .collect()
    }

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let table: [(&[(u64, u64)], &[u64]); 4] = [
            (&[(0, 0), (1, 100), (2, 300)], &[0, 100, 150]),
            (&[(0, 0), (10, 1000), (20, 1000)], &[0, 100, 0]),
            (&[(0, 0), (5, 0), (12, 700), (16, 700)], &[0, 0, 58, 63]),
            (&[(0, 500), (1, 600), (2, 0), (3, 50)], &[0, 100, 0, 50]),
        ];
        for (seen, expected) in table {
            assert_eq!(rates(seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn committing_does_not_look_like_beginning_again() {
        let counter = Counter::new("a".into(), Shares::new(2).join());
        counter.stage("Opening the session", "");
        counter.stage("Reading", "files");
        counter.expect(4, 400);
        counter.done(3, 300);
        counter.stage("Committing", "");
        let progress = counter.so_far();
        assert_eq!((progress.files_done, progress.files_total), (3, 4));
        assert_eq!((progress.bytes_done, progress.bytes_total), (300, 400));
        counter.done(3, 300);
        assert_eq!(counter.so_far().bytes_total, 600, "there is never less than is done");
        counter.know(9, 900);
        counter.stage("Restoring", "files");
        assert_eq!((counter.so_far().files_done, counter.so_far().files_total), (0, 9));
    }

    #[test]
    fn the_first_reason_to_stop_counts() {
        let counter = Counter::new("a".into(), Shares::new(2).join());
        assert!(!counter.interrupted());
        counter.stop(Stop::Canceled);
        counter.stop(Stop::Shutdown);
        assert!(counter.interrupted());
        assert_eq!(counter.stopped(), Some(Stop::Canceled));
    }
}
