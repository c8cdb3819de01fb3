//! What is written down of hooks that have run, so that a controller that takes over neither runs them again nor forgets which of them failed. Pure.

use api::hook::HookFailure;
use api::restore::HookDone;

/// Characters that are kept of what is said of a failure: a Restore with thousands of pods must fit into etcd.
const MESSAGE_MAX: usize = 300;

/// The entry of a hook that has run. Its key is `pods/NAMESPACE/POD HOOK NUMBER`.
pub fn entry(key: &str, failure: Option<&HookFailure>) -> HookDone {
    let failure = failure.map(|failure| {
        let mut message: String = failure.message.chars().take(MESSAGE_MAX).collect();
        if message.len() < failure.message.len() {
            message.push('…');
        }
        HookFailure {
            message,
            ..failure.clone()
        }
    });
    HookDone {
        hook: key.to_owned(),
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_prints_is_kept_in_part() {
        let failure = |message: String| HookFailure {
            about: "pods/web/a".into(),
            message,
            ..HookFailure::default()
        };
        let kept = |message: &str| {
            entry("k", Some(&failure(message.into())))
                .failure
                .map(|failure| failure.message)
        };
        assert_eq!(kept("short").as_deref(), Some("short"));
        assert_eq!(kept(&"ä".repeat(300)).map(|kept| kept.chars().count()), Some(300));
        assert_eq!(kept(&"ä".repeat(5000)).map(|kept| kept.chars().count()), Some(301));
        assert_eq!(entry("k", None).failure, None);
    }
}
