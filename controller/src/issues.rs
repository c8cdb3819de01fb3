//! What went wrong or is worth knowing, gathered while something is done: for results, counts and the log.

use std::sync::{Mutex, PoisonError};

use api::archive::{Issue, Results};

use crate::context::now;

/// Issues are kept up to here, of each sort; beyond, they are counted and summed up.
const KEPT: usize = 5000;

/// Warnings, errors and the log of one operation. Shared by all that work on it.
#[derive(Default)]
pub struct Issues {
    kept: Mutex<Kept>,
}

#[derive(Clone, Default)]
struct Kept {
    results: Results,
    warnings: u64,
    errors: u64,
    log: String,
}

/// What had been told at a moment.
pub struct Checkpoint(Kept);

impl Issues {
    /// Something worth knowing.
    pub fn warning(&self, reason: &str, about: impl Into<String>, message: impl Into<String>) {
        let issue = issue(reason, about, message);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.warnings += 1;
        line(&mut kept.log, "warning", &issue);
        if kept.results.warnings.len() < KEPT {
            kept.results.warnings.push(issue);
        }
    }

    /// Something that was not done.
    pub fn error(&self, reason: &str, about: impl Into<String>, message: impl Into<String>) {
        let issue = issue(reason, about, message);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.errors += 1;
        line(&mut kept.log, "error", &issue);
        if kept.results.errors.len() < KEPT {
            kept.results.errors.push(issue);
        }
    }

    /// A line of the log.
    pub fn log(&self, text: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let said = format!("{} info {text}\n", now().strftime("%Y-%m-%dT%H:%M:%SZ"));
        kept.log.push_str(&said);
    }

    /// What there is now, for [`back_to`](Self::back_to).
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Forgets what was told since, because what it was about is done once more. The log keeps it.
    pub fn back_to(&self, checkpoint: &Checkpoint) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let log = std::mem::take(&mut kept.log);
        *kept = Kept {
            log,
            ..checkpoint.0.clone()
        };
    }

    /// How many warnings and errors there are.
    pub fn counts(&self) -> (u64, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.warnings, kept.errors)
    }

    /// Warnings and errors; those that were not kept are one more.
    pub fn results(&self) -> Results {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut results = kept.results.clone();
        for (issues, count) in [
            (&mut results.warnings, kept.warnings),
            (&mut results.errors, kept.errors),
        ] {
            let more = count.saturating_sub(issues.len() as u64);
            if more > 0 {
                issues.push(issue("More", "", format!("{more} more are not listed")));
            }
        }
        results
    }

    /// The log so far.
    pub fn text(&self) -> String {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).log.clone()
    }
}

fn issue(reason: &str, about: impl Into<String>, message: impl Into<String>) -> Issue {
    Issue {
        reason: reason.to_owned(),
        about: about.into(),
        message: message.into(),
    }
}

fn line(log: &mut String, level: &str, issue: &Issue) {
    let time = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let about = if issue.about.is_empty() {
        String::new()
    } else {
        format!("{}: ", issue.about)
    };
    let message = issue.message.replace('\n', " ");
    log.push_str(&format!("{time} {level} [{}] {about}{message}\n", issue.reason));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_once_more_is_told_once() {
        let issues = Issues::default();
        issues.warning("Kept", "a", "b");
        let before = issues.checkpoint();
        issues.error("ListFailed", "secrets", "forbidden");
        issues.back_to(&before);
        assert_eq!(issues.counts(), (1, 0));
        assert!(issues.results().errors.is_empty());
        assert!(issues.text().contains("ListFailed"), "the log tells all that happened");
    }
}
