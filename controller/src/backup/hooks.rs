//! A backup's hooks: run, and written down in memory and in the status of the Backup for whoever is the controller next.

use std::sync::PoisonError;
use std::time::Duration;

use api::BackupStatus;
use api::backup::HookCounts;
use api::hook::{ExecHook, OnError};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use super::groups::{Group, post_hooks};
use super::work::Work;
use crate::cluster::exec;
use crate::context::{is_passing, say, steady};
use crate::volumes::facts::PodFacts;

/// Behind a hook's failure that does not fail the backup.
const GOES_ON: &str = " (onError: Continue)";
/// Behind the key of a pod whose volumes were not read, since a hook had failed.
const SPARED: &str = " (not read)";

/// Pods by their keys (NAMESPACE/POD/UID), and what became of their hooks.
#[derive(Clone, Default)]
pub(super) struct HookState {
    open: Vec<String>,
    done: Vec<String>,
    failures: Vec<String>,
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
}

impl Work {
    /// Tells once more of failures that a controller before this one has seen.
    pub(super) fn tell_hook_failures(&self) {
        for failure in self.hook_state().failures {
            match failure.strip_suffix(GOES_ON) {
                Some(failure) => self.issues.warning("HookFailed", "", failure),
                None => self.issues.error("HookFailed", "", failure),
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

    fn change_hooks(&self, change: impl FnOnce(&mut HookState)) -> HookState {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut hooks);
        hooks.clone()
    }

    pub(super) fn hooks_are_open(&self, key: &str) -> bool {
        self.hook_state().open.iter().any(|open| open == key)
    }

    pub(super) fn hooks_are_done(&self, key: &str) -> bool {
        let state = self.hook_state();
        state
            .done
            .iter()
            .any(|done| done.strip_suffix(SPARED).unwrap_or(done) == key)
    }

    /// Writes down that a pod's hooks begin. It must be written before they do.
    pub(super) async fn open_hooks(&self, key: &str) {
        let state = self.change_hooks(|hooks| {
            if !hooks.open.iter().any(|open| open == key) {
                hooks.open.push(key.to_owned());
            }
        });
        self.write_hooks(&state).await;
    }

    /// Whether a pod's hooks are over, and had failed so that nothing of it was read.
    pub(super) fn hooks_have_failed(&self, key: &str) -> bool {
        let spared = format!("{key}{SPARED}");
        self.hook_state().done.contains(&spared)
    }

    /// Pods whose pre hooks have begun and whose post hooks have not ended.
    pub(super) fn open_hook_keys(&self) -> Vec<String> {
        self.hook_state().open
    }

    /// Writes down that a pod's hooks are over, and whether its volumes could be read.
    pub(super) async fn close_hooks(&self, key: &str, were_read: bool) {
        let state = self.change_hooks(|hooks| {
            hooks.open.retain(|open| open != key);
            let spared = if were_read { "" } else { SPARED };
            hooks.done.push(format!("{key}{spared}"));
        });
        self.write_hooks(&state).await;
    }

    /// Counts a hook that has run, with why it failed, and writes that down: a controller that takes over goes on counting.
    pub(super) async fn count_hook(&self, about: &str, failure: Option<&str>, on_error: OnError) {
        let state = self.change_hooks(|hooks| {
            hooks.counts.attempted += 1;
            if let Some(failure) = failure {
                hooks.counts.failed += 1;
                if hooks.failures.len() < 100 {
                    let goes_on = if on_error == OnError::Continue { GOES_ON } else { "" };
                    hooks.failures.push(format!("{about}: {failure}{goes_on}"));
                }
            }
        });
        self.write_hooks(&state).await;
    }

    async fn write_hooks(&self, state: &HookState) {
        let status = json!({
            "openHooks": state.open,
            "hooksDone": state.done,
            "hookFailures": state.failures,
            "hooks": state.counts,
        });
        if let Err(error) = self.patch(&status).await {
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
