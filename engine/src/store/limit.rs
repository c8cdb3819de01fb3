//! Bandwidth limits: a token bucket that all requests of a store draw from.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What an idle line saves up.
const BURST: Duration = Duration::from_millis(100);

/// At most so many bytes per second, with a tenth of a second's worth at once.
#[derive(Debug)]
pub struct Limit {
    bytes_per_second: f64,
    /// Until when the line is sold already.
    sold_until: Mutex<Instant>,
}

impl Limit {
    /// At most so many bytes per second; 0 counts as 1.
    pub fn new(bytes_per_second: u64) -> Self {
        let full = before(Instant::now(), BURST);
        Self {
            bytes_per_second: bytes_per_second.max(1) as f64,
            sold_until: Mutex::new(full),
        }
    }

    /// Takes so many bytes from the bucket and returns how long to wait before they may pass.
    pub fn take(&self, bytes: u64) -> Duration {
        let now = Instant::now();
        let mut sold_until = self.sold_until.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*sold_until).max(before(now, BURST));
        *sold_until = begin + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        sold_until.saturating_duration_since(now)
    }

    /// Takes so many bytes and sleeps until they may pass.
    pub fn wait(&self, bytes: u64) {
        let pause = self.take(bytes);
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}

fn before(now: Instant, by: Duration) -> Instant {
    now.checked_sub(by).unwrap_or(now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_limit_sells_the_line_once() {
        let limit = Limit::new(1_000_000);
        let waits: Vec<Duration> = (0..10).map(|_| limit.take(100_000)).collect();
        assert!(waits[0] < Duration::from_millis(5), "{waits:?}");
        assert!(
            waits[9] > Duration::from_millis(700) && waits[9] < Duration::from_millis(1000),
            "{waits:?}"
        );
    }
}
