//! What is written down of hooks that have run, so that a controller that takes over neither runs them again nor forgets which of them failed. Pure.
//!
//! An entry of status.hooksDone is the hook's key, `pods/NAMESPACE/POD HOOK NUMBER`. One of a hook that failed has a second line: `Fail: ` or `Continue: `, as its onError
//! says, and what is said of it.

use api::hook::OnError;

/// Characters that are kept of what is said of a failure: a Restore with thousands of pods must fit into etcd.
const MESSAGE_MAX: usize = 300;

/// A hook that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is done about it.
    pub on_error: OnError,
    /// What is said of it.
    pub message: String,
}

/// The entry of a hook that has run.
pub fn entry(key: &str, failure: Option<&Failure>) -> String {
    let Some(failure) = failure else {
        return key.to_owned();
    };
    let mut message: String = failure.message.chars().take(MESSAGE_MAX).collect();
    if message.len() < failure.message.len() {
        message.push('…');
    }
    let word = match failure.on_error {
        OnError::Fail => "Fail",
        OnError::Continue => "Continue",
    };
    format!("{key}\n{word}: {message}")
}

/// Whether an entry is that of the hook with this key.
pub fn is_of(entry: &str, key: &str) -> bool {
    entry
        .strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('\n'))
}

/// The hooks that failed, each with its pod: `pods/NAMESPACE/POD`.
pub fn failures(entries: &[String]) -> impl Iterator<Item = (&str, Failure)> {
    entries.iter().filter_map(|entry| {
        let (key, said) = entry.split_once('\n')?;
        let (on_error, message) = if let Some(message) = said.strip_prefix("Continue: ") {
            (OnError::Continue, message)
        } else {
            (OnError::Fail, said.strip_prefix("Fail: ")?)
        };
        let about = key.split(' ').next().unwrap_or_default();
        let message = message.to_owned();
        Some((about, Failure { on_error, message }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(on_error: OnError, message: &str) -> Failure {
        Failure {
            on_error,
            message: message.into(),
        }
    }

    #[test]
    fn failures_are_told_again_by_who_takes_over() {
        let fail = failure(OnError::Fail, "The hook warm failed:\nfirst\nsecond");
        let go_on = failure(OnError::Continue, "The hook x failed");
        let entries = [
            entry("pods/web/a warm 0", Some(&fail)),
            entry("pods/web/b warm 0", None),
            entry("pods/web/b x 1", Some(&go_on)),
        ];
        let told: Vec<_> = failures(&entries).collect();
        assert_eq!(told, [("pods/web/a", fail), ("pods/web/b", go_on)]);
    }

    #[test]
    fn hooks_are_known_by_their_keys_however_they_ended() {
        let failed = entry("pods/web/a warm 1", Some(&failure(OnError::Fail, "x")));
        assert!(is_of(&failed, "pods/web/a warm 1") && is_of("pods/web/a warm 1", "pods/web/a warm 1"));
        assert!(!is_of("pods/web/a warm 10", "pods/web/a warm 1"));
    }

    #[test]
    fn what_a_command_prints_is_kept_in_part() {
        let long = failure(OnError::Fail, &"ä".repeat(5000));
        let entries = [entry("k", Some(&long))];
        assert!(failures(&entries).all(|(_, failure)| failure.message.chars().count() == MESSAGE_MAX + 1));
    }
}
