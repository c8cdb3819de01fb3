//! How much there is to back up: a second walk, ahead of the one that reads, for somebody who looks at the progress.
//!
//! Of a million small files it costs a quarter of what reading them does (benches/README.md, `cluster`), so it takes what others leave.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::source::{FoundKind, SourceOptions, Walk};
use crate::words::{Progress, Result};

/// Sums up files and their bytes, and tells of them as they are found, until there are no more or `stop` is set.
///
/// # Errors
/// As [`Walk::new`].
pub(super) fn estimate(
    paths: &[PathBuf],
    options: SourceOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<()> {
    yield_to_others();
    // One thread: the walk that reads is never far behind, and needs the others.
    let walk = Walk::new(paths, SourceOptions { threads: 1, ..options })?;
    let (mut files, mut bytes) = (0u64, 0u64);
    for batch in walk {
        for found in batch.iter().flatten() {
            if let FoundKind::File { size, .. } = found.kind {
                files += 1;
                bytes = bytes.saturating_add(size);
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        progress.expect(files, bytes);
    }
    Ok(())
}

/// This thread runs when no other of the machine wants to; where that cannot be said of one thread, it runs like the others.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    // Linux takes it for the calling thread, those that it starts inherit it, and nobody is refused a lower priority.
    let _ = rustix::process::setpriority_process(None, 19);
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    #[test]
    fn the_thread_that_estimates_and_those_that_it_starts_step_back_and_no_other() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let estimating = std::thread::spawn(move || {
            super::yield_to_others();
            (priority(), std::thread::spawn(priority).join().unwrap())
        });
        assert_eq!(estimating.join().unwrap(), (19, 19));
        assert_eq!(priority(), before);
    }
}
