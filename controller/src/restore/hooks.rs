//! Hooks of a restore: containers that are put before a pod's own, and commands that run in pods once they have started.
//!
//! The pods of a restored workload are known by its selector, as many as it wants. Every wait ends: a hook without a word on it waits five minutes. What has run is written
//! down, so that a controller that begins again runs a hook a second time only if the one before it died while it ran.

mod done;
mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::hook::{self, HookFailure, Moment, OnError, RestoreExecHook, RestoreHook};
use api::restore::HookDone;
use api::selection::{Globs, selects};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use self::pods::{Readiness, readiness};
use super::fields::{self, text};
use super::tally::count;
use super::work::Work;
use crate::cluster::exec;
use crate::issues::Issues;
use crate::volumes::workload::template_path;

/// How long a container may take to start unless the hook says otherwise.
const WAIT: Duration = Duration::from_secs(300);
/// Pods in which hooks run at once.
const AT_ONCE: usize = 16;

/// The hooks of a Restore.
#[derive(Debug, Default)]
pub struct Hooks {
    all: Vec<(RestoreHook, Globs)>,
    /// Held while it is written down which have run: an older list must not come after a newer one.
    noting: tokio::sync::Mutex<()>,
}

/// A workload whose pods have hooks.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its place in the plan.
    pub place: usize,
    /// What runs in each of its pods, with the name of the hook.
    pub hooks: Vec<(String, RestoreExecHook)>,
}

impl Hooks {
    /// Of a Restore.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn new(hooks: &[RestoreHook]) -> Result<Self, Vec<String>> {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for hook in hooks {
            let wrong = |why: String| format!("hook {}: {why}", hook.name);
            errors.extend(
                hook.label_selector
                    .as_ref()
                    .and_then(api::selection::selector_error)
                    .map(wrong),
            );
            for container in &hook.init_containers {
                for field in ["/name", "/image"] {
                    if text(container, field).is_none_or(str::is_empty) {
                        errors.push(wrong(format!(
                            "an init container has no {}",
                            field.trim_start_matches('/')
                        )));
                    }
                }
            }
            for command in &hook.exec {
                let durations = [&command.exec_timeout, &command.wait_timeout].into_iter().flatten();
                errors.extend(durations.filter_map(|text| api::duration::parse(text).err()).map(wrong));
            }
            match Globs::new(&hook.included_namespaces, &hook.excluded_namespaces) {
                Ok(globs) => all.push((hook.clone(), globs)),
                Err(why) => errors.push(wrong(why)),
            }
        }
        if errors.is_empty() {
            Ok(Self { all, ..Self::default() })
        } else {
            Err(errors)
        }
    }

    fn of<'a>(&'a self, namespace: &str, labels: &BTreeMap<String, String>) -> impl Iterator<Item = &'a RestoreHook> {
        self.all.iter().filter_map(move |(hook, namespaces)| {
            let fits = namespaces.matches(namespace)
                && hook
                    .label_selector
                    .as_ref()
                    .is_none_or(|selector| selects(selector, Some(labels)));
            fits.then_some(hook)
        })
    }

    /// What is put before the init containers of a pod, or of a template of pods: what its annotations ask for, otherwise what the Restore says.
    pub fn init_containers(
        &self,
        namespace: &str,
        template: Option<&Value>,
        issues: &Issues,
        about: &str,
    ) -> Vec<Value> {
        let Some(template) = template else { return Vec::new() };
        let annotations = fields::texts(template, "/metadata/annotations");
        match hook::init_of_annotations(Some(&annotations)) {
            Ok(Some(container)) => vec![container],
            Ok(None) => {
                let labels = fields::texts(template, "/metadata/labels");
                self.of(namespace, &labels)
                    .flat_map(|hook| hook.init_containers.iter().cloned())
                    .collect()
            }
            Err(why) => {
                issues.error("HookInvalid", about, why);
                Vec::new()
            }
        }
    }

    /// The commands that run in the pods of an object that was made; none when it makes no pods, or there are no commands for them.
    pub fn expect(&self, work: &Work, place: usize, object: &Value) -> Option<Expected> {
        let item = work.item(place);
        // The pods of a cron job come when their time does.
        let path = template_path(&item.facts.resource).filter(|_| &*item.facts.resource != "cronjobs.batch")?;
        let template = object.pointer(path)?;
        let hooks = match self.commands(&item.target, template) {
            Ok(hooks) => hooks,
            Err(why) => {
                work.issues.error("HookInvalid", work.about(item), why);
                return None;
            }
        };
        (!hooks.is_empty()).then_some(Expected { place, hooks })
    }

    fn commands(&self, namespace: &str, template: &Value) -> Result<Vec<(String, RestoreExecHook)>, String> {
        let annotations = fields::texts(template, "/metadata/annotations");
        if let Some(hook) = hook::of_annotations(Some(&annotations), Moment::Restored)? {
            return Ok(vec![("annotation".to_owned(), hook)]);
        }
        let labels = fields::texts(template, "/metadata/labels");
        let hooks = self.of(namespace, &labels);
        Ok(hooks
            .flat_map(|hook| hook.exec.iter().map(|command| (hook.name.clone(), command.clone())))
            .collect())
    }
}

/// Runs all of them, each pod's one after the other.
pub async fn run(work: &Arc<Work>) {
    let expected = std::mem::take(&mut work.known().expected);
    let all = futures::stream::iter(expected)
        .for_each_concurrent(AT_ONCE, |expected| async move { of_workload(work, &expected).await });
    let _ = work.stop.or(all).await;
}

fn wait(hook: &RestoreExecHook) -> Duration {
    api::duration::of(hook.wait_timeout.as_deref(), WAIT)
}

async fn of_workload(work: &Arc<Work>, expected: &Expected) {
    let item = work.item(expected.place);
    let longest = expected.hooks.iter().map(|(_, hook)| wait(hook)).max().unwrap_or(WAIT);
    let until = Instant::now() + longest;
    let pods = match pods::of(work, expected.place, until).await {
        Ok(pods) => pods,
        Err(why) => {
            for (name, hook) in &expected.hooks {
                tell(work, &failure(&work.about(item), name, hook, &why));
            }
            return;
        }
    };
    let in_pods = futures::stream::iter(pods).for_each_concurrent(AT_ONCE, |pod| async move {
        for (number, (name, hook)) in expected.hooks.iter().enumerate() {
            let about = format!("pods/{}/{pod}", item.target);
            let key = format!("{about} {name} {number}");
            if work.known().hooks_done.iter().any(|entry| entry.hook == key) {
                continue;
            }
            let failure = match in_pod(work, &item.target, &pod, hook).await {
                Ok(()) => None,
                Err(_) if work.stop.is_asked() => return,
                Err(why) => Some(failure(&about, name, hook, &why)),
            };
            if let Some(failure) = &failure {
                tell(work, failure);
            } else {
                count(&work.tally.hooks_attempted);
                work.issues.log(&format!("{about}: the hook {name} has run"));
            }
            note(work, done::entry(&key, failure.as_ref())).await;
        }
    });
    in_pods.await;
}

/// Runs a hook in a pod, once its container has started.
async fn in_pod(work: &Work, namespace: &str, pod: &str, hook: &RestoreExecHook) -> Result<(), String> {
    started(work, namespace, pod, hook).await?;
    exec::run(
        &work.context.client,
        namespace,
        pod,
        &api::hook::ExecHook::from(hook.clone()),
    )
    .await
}

/// Writes down that a hook has run, and how.
async fn note(work: &Work, entry: HookDone) {
    let _noting = work.hooks.noting.lock().await;
    let done = {
        let mut known = work.known();
        known.hooks_done.push(entry);
        known.hooks_done.clone()
    };
    if let Err(error) = work
        .context
        .patch_status::<api::Restore>(&work.name, &serde_json::json!({ "hooksDone": done }))
        .await
    {
        tracing::warn!(
            "Could not write down that a hook of the Restore {} has run: {}",
            work.name,
            crate::context::say(&error)
        );
    }
}

/// Waits until the container that a hook runs in has started.
async fn started(work: &Work, namespace: &str, pod: &str, hook: &RestoreExecHook) -> Result<(), String> {
    let until = Instant::now() + wait(hook);
    loop {
        let why = match pods::get(work, namespace, pod).await? {
            None => return Err("the pod is gone".to_owned()),
            Some(pod) => match readiness(&pod, hook.container.as_deref(), hook.wait_for_ready) {
                Readiness::Ready => return Ok(()),
                Readiness::Never(why) => return Err(why),
                Readiness::NotYet(why) => why,
            },
        };
        if Instant::now() > until {
            return Err(format!(
                "it did not start within {}: {why}",
                api::duration::text(wait(hook))
            ));
        }
        work.stop
            .sleep(Duration::from_millis(500))
            .await
            .map_err(|_| "the restore was stopped".to_owned())?;
    }
}

fn failure(about: &str, name: &str, hook: &RestoreExecHook, why: &str) -> HookFailure {
    HookFailure {
        about: about.to_owned(),
        on_error: hook.on_error,
        message: format!("The hook {name} ({}) failed: {why}", hook.command.join(" ")),
    }
}

fn tell(work: &Work, failure: &HookFailure) {
    count(&work.tally.hooks_attempted);
    count(&work.tally.hooks_failed);
    say(&work.issues, failure);
}

fn say(issues: &Issues, failure: &HookFailure) {
    let HookFailure {
        about,
        on_error,
        message,
    } = failure.clone();
    match on_error {
        OnError::Fail => issues.error("HookFailed", about, message),
        OnError::Continue => issues.warning("HookFailed", about, message),
    }
}

/// Says once more of hooks that ran before that they failed, for a controller that takes over. `done` is what is written down of them. Gives how many there are.
pub fn tell_again(issues: &Issues, done: &[HookDone]) -> u64 {
    let failures = done.iter().filter_map(|done| done.failure.as_ref());
    failures.fold(0, |failed, failure| {
        say(issues, failure);
        failed + 1
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn hook(value: Value) -> RestoreHook {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn annotations_go_before_what_the_restore_says() {
        let hooks = Hooks::new(&[
            hook(json!({ "name": "all", "exec": [{ "command": ["true"] }], "initContainers": [{ "name": "a", "image": "b" }] })),
            hook(json!({ "name": "db", "includedNamespaces": ["db-*"], "exec": [{ "command": ["warm"] }] })),
            hook(json!({ "name": "labels", "labelSelector": { "matchLabels": { "app": "x" } }, "exec": [{ "command": ["x"] }] })),
        ])
        .unwrap();
        let names = |namespace: &str, template: Value| -> Vec<String> {
            hooks
                .commands(namespace, &template)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names("db-1", json!({})), ["all", "db"]);
        assert_eq!(
            names("web", json!({ "metadata": { "labels": { "app": "x" } } })),
            ["all", "labels"]
        );
        let annotated =
            json!({ "metadata": { "annotations": { "post.hook.restore.velero.io/command": "/bin/true" } } });
        assert_eq!(names("web", annotated), ["annotation"]);
        let issues = Issues::default();
        assert_eq!(hooks.init_containers("web", Some(&json!({})), &issues, "").len(), 1);
        let own = json!({ "metadata": { "annotations": { "init.hook.restore.ararat.dev/container-image": "c" } } });
        assert_eq!(
            hooks.init_containers("web", Some(&own), &issues, "")[0]["image"],
            json!("c")
        );
    }

    #[test]
    fn hooks_that_cannot_work_are_refused_before_anything_is_done() {
        let wrong = [
            json!({ "name": "a", "includedNamespaces": ["["] }),
            json!({ "name": "a", "initContainers": [{ "name": "x" }] }),
            json!({ "name": "a", "exec": [{ "command": ["x"], "waitTimeout": "soon" }] }),
        ];
        for value in wrong {
            let errors = Hooks::new(&[hook(value.clone())]).unwrap_err();
            assert!(errors[0].starts_with("hook a: "), "{value}");
        }
    }
}
