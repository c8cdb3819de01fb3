//! A backup's hooks: run, and written down in memory and in the status of the Backup for whoever is the controller next.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Result;
use api::BackupStatus;
use api::backup::{HookCounts, PodHooks};
use api::hook::{ExecHook, HookFailure, OnError};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use super::groups::{Group, post_hooks};
use super::work::Work;
use crate::cluster::exec;
use crate::context::{is_passing, say, steady};
use crate::volumes::facts::PodFacts;

/// Failures that are written down.
const FAILURES: usize = 100;

/// Pods by their keys (NAMESPACE/POD/UID), and what became of their hooks.
#[derive(Clone, Default)]
pub(super) struct HookState {
    open: Vec<String>,
    done: Vec<PodHooks>,
    failures: Vec<HookFailure>,
    counts: HookCounts,
}

impl HookState {
    /// As it was written down.
    pub(super) fn of(status: &BackupStatus) -> Self {
        Self {
            open: status.open_hooks.clone(),
            done: status.hooks_done.clone(),
            failures: status.hook_failures.clone(),
            counts: status.hooks.unwrap_or_default(),
        }
    }

    fn open(&mut self, key: &str) {
        if !self.is_open(key) {
            self.open.push(key.to_owned());
        }
    }

    fn is_open(&self, key: &str) -> bool {
        self.open.iter().any(|open| open == key)
    }

    fn close(&mut self, key: &str, were_read: bool) {
        self.open.retain(|open| open != key);
        self.done.push(PodHooks {
            pod: key.to_owned(),
            not_read: !were_read,
        });
    }

    fn is_done(&self, key: &str) -> bool {
        self.done.iter().any(|done| done.pod == key)
    }

    fn is_spared(&self, key: &str) -> bool {
        self.done.iter().any(|done| done.pod == key && done.not_read)
    }

    fn count(&mut self, about: &str, failure: Option<&str>, on_error: OnError) {
        self.counts.attempted += 1;
        let Some(failure) = failure else { return };
        self.counts.failed += 1;
        if self.failures.len() < FAILURES {
            self.failures.push(HookFailure {
                about: about.to_owned(),
                on_error,
                message: failure.to_owned(),
            });
        }
    }

    fn written(&self) -> serde_json::Value {
        json!({
            "openHooks": self.open,
            "hooksDone": self.done,
            "hookFailures": self.failures,
            "hooks": self.counts,
        })
    }
}

impl Work {
    /// Tells once more of failures that a controller before this one has seen.
    pub(super) fn tell_hook_failures(&self) {
        for HookFailure {
            about,
            on_error,
            message,
        } in self.hook_state().failures
        {
            match on_error {
                OnError::Fail => self.issues.error("HookFailed", about, message),
                OnError::Continue => self.issues.warning("HookFailed", about, message),
            }
        }
    }

    /// How many hooks have run so far.
    pub(super) fn hook_counts(&self) -> HookCounts {
        self.hook_state().counts
    }

    fn hook_state(&self) -> HookState {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn hooks_are_open(&self, key: &str) -> bool {
        self.hook_state().is_open(key)
    }

    pub(super) fn hooks_are_done(&self, key: &str) -> bool {
        self.hook_state().is_done(key)
    }

    /// Whether a pod's hooks are over, and had failed so that nothing of it was read.
    pub(super) fn hooks_have_failed(&self, key: &str) -> bool {
        self.hook_state().is_spared(key)
    }

    /// Pods whose pre hooks have begun and whose post hooks have not ended.
    pub(super) fn open_hook_keys(&self) -> Vec<String> {
        self.hook_state().open
    }

    /// Writes down that a pod's hooks begin.
    ///
    /// # Errors
    /// When it is not written: then they must not begin, or nobody would know of them.
    pub(super) async fn open_hooks(&self, key: &str) -> Result<()> {
        self.change_hooks(|hooks| hooks.open(key)).await
    }

    /// Writes down that a pod's hooks are over, and whether its volumes could be read.
    pub(super) async fn close_hooks(&self, key: &str, were_read: bool) {
        let written = self.change_hooks(|hooks| hooks.close(key, were_read)).await;
        self.tell_unwritten(written);
    }

    /// Counts a hook that has run, with why it failed, and writes that down: a controller that takes over goes on counting.
    pub(super) async fn count_hook(&self, about: &str, failure: Option<&str>, on_error: OnError) {
        let written = self.change_hooks(|hooks| hooks.count(about, failure, on_error)).await;
        self.tell_unwritten(written);
    }

    /// Changes what is known and writes it: one after the other, and each time as it is then, for an older list must not take the place of a newer one.
    async fn change_hooks(&self, change: impl FnOnce(&mut HookState)) -> Result<()> {
        change(&mut self.hooks.lock().unwrap_or_else(PoisonError::into_inner));
        let _turn = self.writing_hooks.lock().await;
        let status = self.hook_state().written();
        self.patch(&status).await
    }

    fn tell_unwritten(&self, written: Result<()>) {
        if let Err(error) = written {
            tracing::warn!("Could not write down the hooks of the Backup {}: {error:#}", self.name);
        }
    }
}

/// Runs hooks one after the other. False when one failed that must not; of those before the volumes the rest is then left out, those after it all run.
pub(super) async fn run(work: &Work, group: &Group, hooks: &[(String, ExecHook)], moment: &str) -> bool {
    let Some(pod) = &group.pod else { return true };
    let mut good = true;
    for (name, hook) in hooks {
        let about = format!("{moment} hook {name} of pod {}/{}", pod.namespace, pod.name);
        work.issues.log(&format!("{about}: begins"));
        let outcome = run_one(work, pod, hook, moment).await;
        let failure = outcome.as_ref().err().map(String::as_str);
        work.count_hook(&about, failure, hook.on_error).await;
        match outcome {
            Ok(()) => work.issues.log(&format!("{about}: done")),
            Err(why) if hook.on_error == OnError::Continue => work.issues.warning("HookFailed", about, why),
            Err(why) => {
                work.issues.error("HookFailed", about, why);
                good = false;
                if moment == "pre" {
                    return false;
                }
            }
        }
    }
    good
}

/// Runs one hook. What thaws is tried again while the API server does not answer.
async fn run_one(work: &Work, pod: &PodFacts, hook: &ExecHook, moment: &str) -> Result<(), String> {
    let client = &work.context.client;
    if moment == "post" {
        for _ in 0..60 {
            match client.apiserver_version().await {
                Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => break,
            }
        }
    }
    exec::run(client, &pod.namespace, &pod.name, hook).await
}

/// Runs the post hooks of pods whose pre hooks have begun and whose volumes nobody will read any more: a backup that ends early leaves no pod frozen.
pub(super) async fn thaw(work: &Work) {
    for key in work.open_hook_keys() {
        let mut parts = key.splitn(3, '/');
        let (Some(namespace), Some(name), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let pods: Api<Pod> = Api::namespaced(work.context.client.clone(), namespace);
        let pod = match steady(|| pods.get_opt(name)).await {
            Ok(pod) => pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid)),
            Err(error) => {
                work.issues.error(
                    "HookFailed",
                    format!("pod {namespace}/{name}"),
                    format!("its post hooks have not run: {}", say(&error)),
                );
                continue;
            }
        };
        if let Some(pod) = pod.and_then(|pod| serde_json::to_value(pod).ok()) {
            let pod = PodFacts::of(&pod);
            let post = post_hooks(&work.backup.spec, &pod).unwrap_or_default();
            let group = Group {
                pod: Some(pod),
                ..Group::default()
            };
            run(work, &group, &post, "post").await;
        }
        work.close_hooks(&key, false).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_the_controller_next_knows_what_was_open_read_spared_and_wrong() {
        let mut state = HookState::default();
        for key in ["a/read/1", "a/spared/2", "a/open/3"] {
            state.open(key);
            state.open(key);
        }
        state.close("a/read/1", true);
        state.close("a/spared/2", false);
        state.count("pre hook x", None, OnError::Fail);
        state.count("pre hook y", Some("exit 1"), OnError::Continue);
        state.count("pre hook z", Some("exit 2"), OnError::Fail);

        let status: BackupStatus = serde_json::from_value(state.written()).unwrap_or_default();
        let next = HookState::of(&status);
        assert_eq!(next.open, ["a/open/3"]);
        assert!(next.is_done("a/read/1") && !next.is_spared("a/read/1"));
        assert!(next.is_done("a/spared/2") && next.is_spared("a/spared/2"));
        assert!(!next.is_done("a/open/3"));
        assert_eq!((next.counts.attempted, next.counts.failed), (3, 2));
        let failures: Vec<(&str, OnError, &str)> = next
            .failures
            .iter()
            .map(|failure| (&*failure.about, failure.on_error, &*failure.message))
            .collect();
        let expected = [
            ("pre hook y", OnError::Continue, "exit 1"),
            ("pre hook z", OnError::Fail, "exit 2"),
        ];
        assert_eq!(failures, expected);
    }
}
