//! How long to try again: with growing, jittered pauses, up to a count and a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::backend::{Attempt, Failure};
use super::options::StoreOptions;
use crate::words::StoreFailure;
use crate::words::id::random_bytes;

const PAUSE_MAX: Duration = Duration::from_secs(15);
/// A store that was never reached is probably named wrongly: that is said sooner.
const TRIES_BEFORE_FIRST_CONTACT: u32 = 3;

/// How long to try again.
#[derive(Debug)]
pub(super) struct Patience {
    retries_max: u32,
    retry_time: Duration,
    first_pause: Duration,
    was_reached: AtomicBool,
}

/// One operation's use of it.
pub(super) struct Trying<'a> {
    patience: &'a Patience,
    begun: Instant,
    tries: u32,
}

impl Patience {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let StoreOptions {
            retries_max,
            retry_time,
            retry_pause,
            ..
        } = *options;
        Self {
            retries_max,
            retry_time,
            first_pause: retry_pause,
            was_reached: AtomicBool::new(false),
        }
    }

    pub(super) fn begin(&self) -> Trying<'_> {
        Trying {
            patience: self,
            begun: Instant::now(),
            tries: 0,
        }
    }

    /// Tries until it succeeds, fails for good, or patience ends.
    pub(super) fn attempt<T>(&self, mut what: impl FnMut() -> Attempt<T>) -> Attempt<T> {
        let mut trying = self.begin();
        loop {
            match what() {
                Ok(done) => {
                    self.reached();
                    return Ok(done);
                }
                Err(failure) => trying.pause_or_give_up(failure)?,
            }
        }
    }

    /// The store has answered.
    pub(super) fn reached(&self) {
        self.was_reached.store(true, Ordering::Relaxed);
    }
}

impl Trying<'_> {
    /// Waits before the next try, or gives the failure back when there should be none.
    pub(super) fn pause_or_give_up(&mut self, failure: Failure) -> Attempt<()> {
        let is_silent = failure.kind == StoreFailure::Unreachable;
        if !is_silent {
            self.patience.reached();
        }
        self.tries += 1;
        let allowed = if is_silent && !self.patience.was_reached.load(Ordering::Relaxed) {
            self.patience.retries_max.min(TRIES_BEFORE_FIRST_CONTACT - 1)
        } else {
            self.patience.retries_max
        };
        let pause = self.pause();
        if !failure.passing || self.tries > allowed || self.begun.elapsed() + pause > self.patience.retry_time {
            return Err(failure);
        }
        tracing::debug!(kind = ?failure.kind, cause = %failure.cause, tries = self.tries, "Trying again in {pause:?}");
        std::thread::sleep(pause);
        Ok(())
    }

    /// Doubles with each try; between half and all of it by chance, so that many writers do not come back together.
    fn pause(&self) -> Duration {
        let doubled = self
            .patience
            .first_pause
            .saturating_mul(1 << (self.tries - 1).min(16))
            .min(PAUSE_MAX);
        let chance = f64::from(u16::from_le_bytes(random_bytes())) / f64::from(u16::MAX);
        doubled.mul_f64(0.5 + chance / 2.0)
    }
}
