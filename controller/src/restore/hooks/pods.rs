//! The pods of a restored workload, and whether a container of one has started.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use tokio::time::Instant;

use super::super::fields::{items, text};
use super::super::work::Work;
use crate::cluster::list;
use crate::context::{is_passing, say};

/// Whether a container has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It has.
    Ready,
    /// Not yet, and why.
    NotYet(String),
    /// It never will, and why.
    Never(String),
}

/// Whether a container of a pod (its first, if none is named) runs, or is ready.
pub fn readiness(pod: &Value, container: Option<&str>, wait_for_ready: bool) -> Readiness {
    let first = || {
        items(pod, "/spec/containers")
            .next()
            .and_then(|container| text(container, "/name"))
    };
    let Some(name) = container.or_else(first) else {
        return Readiness::Never("the pod has no container".to_owned());
    };
    let is_there = ["/spec/containers", "/spec/initContainers"]
        .iter()
        .any(|list| items(pod, list).any(|container| text(container, "/name") == Some(name)));
    if !is_there {
        return Readiness::Never(format!("the pod has no container {name}"));
    }
    if matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"))
        || text(pod, "/metadata/deletionTimestamp").is_some()
    {
        return Readiness::Never("the pod has ended".to_owned());
    }
    // A sidecar is an init container that goes on.
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let status = lists
        .iter()
        .find_map(|list| items(pod, list).find(|status| text(status, "/name") == Some(name)));
    let Some(status) = status else {
        return Readiness::NotYet(format!("the container {name} waits"));
    };
    if status.pointer("/state/running").is_some() {
        let ready = status.get("ready").and_then(Value::as_bool) == Some(true);
        if wait_for_ready && !ready {
            return Readiness::NotYet(format!("the container {name} runs and is not ready"));
        }
        return Readiness::Ready;
    }
    let why = text(status, "/state/waiting/reason")
        .or_else(|| text(status, "/state/terminated/reason"))
        .unwrap_or("it waits");
    Readiness::NotYet(format!("the container {name}: {why}"))
}

/// A pod.
pub async fn get(work: &Work, namespace: &str, name: &str) -> Result<Option<Value>, String> {
    let kind = work.served("pods").ok_or_else(|| "pods are not served".to_owned())?;
    work.get(&kind, namespace, name).await.map_err(|error| say(&error))
}

/// The names of the pods of a workload: itself, if it is one; otherwise as many as it wants, once they are there.
///
/// # Errors
/// Says how many were there when the time was over.
pub async fn of(work: &Work, place: usize, until: Instant) -> Result<Vec<String>, String> {
    let item = work.item(place);
    let name = work.target_name(item);
    if &*item.facts.resource == "pods" {
        return Ok(vec![name]);
    }
    let kind = work
        .kind(&item.facts.resource)
        .await
        .ok_or_else(|| "its kind is not served".to_owned())?;
    let pods = work.served("pods").ok_or_else(|| "pods are not served".to_owned())?;
    loop {
        let workload = work
            .get(&kind, &item.target, &name)
            .await
            .map_err(|error| say(&error))?;
        let workload = workload.ok_or_else(|| "it is gone".to_owned())?;
        let wanted = wanted(&item.facts.resource, &workload);
        let mut found = Vec::new();
        if wanted != Some(0) {
            let listed = list::list(&work.context.client, &pods, &item.target, |page| {
                found.extend(
                    page.iter()
                        .filter(|pod| is_of(&workload, pod))
                        .map(|pod| super::super::fields::name(pod).to_owned()),
                );
            });
            match listed.await {
                Err(error) if !is_passing(&error) => return Err(say(&error)),
                _ => {}
            }
        }
        if wanted.is_some_and(|wanted| found.len() as u64 >= wanted) {
            return Ok(found);
        }
        if Instant::now() > until {
            return if found.is_empty() {
                Err("it has no pods yet".to_owned())
            } else {
                Ok(found)
            };
        }
        work.stop
            .sleep(Duration::from_millis(500))
            .await
            .map_err(|_| "the restore was stopped".to_owned())?;
    }
}

/// How many pods a workload wants; none while its controller has not said so.
fn wanted(resource: &str, workload: &Value) -> Option<u64> {
    let number = |path: &str| workload.pointer(path).and_then(Value::as_u64);
    match resource {
        "daemonsets.apps" => {
            number("/status/observedGeneration").and_then(|_| number("/status/desiredNumberScheduled"))
        }
        "jobs.batch" if workload.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) => Some(0),
        "jobs.batch" => Some(number("/spec/parallelism").unwrap_or(1)),
        _ => Some(number("/spec/replicas").unwrap_or(1)),
    }
}

/// Whether a pod that goes on is of a workload, by the labels that this chooses.
fn is_of(workload: &Value, pod: &Value) -> bool {
    let labels = super::super::fields::texts(pod, "/metadata/labels");
    let selector = workload.pointer("/spec/selector").cloned().unwrap_or_default();
    // A replication controller's selector is labels and nothing else.
    let is_plain = text(workload, "/kind") == Some("ReplicationController");
    let selector = if is_plain {
        serde_json::json!({ "matchLabels": selector })
    } else {
        selector
    };
    let selector: LabelSelector = serde_json::from_value(selector).unwrap_or_default();
    let says_something = selector.match_labels.as_ref().is_some_and(|labels| !labels.is_empty())
        || selector
            .match_expressions
            .as_ref()
            .is_some_and(|expressions| !expressions.is_empty());
    says_something
        && api::selection::selects(&selector, Some(&labels))
        && text(pod, "/metadata/deletionTimestamp").is_none()
        && !matches!(text(pod, "/status/phase"), Some("Failed" | "Succeeded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_are_ready_when_they_run_and_sidecars_count() {
        let pod = |state: Value, ready: bool| {
            json!({ "spec": { "containers": [{ "name": "a" }], "initContainers": [{ "name": "side" }] },
                "status": { "phase": "Running", "containerStatuses": [{ "name": "a", "state": state, "ready": ready }],
                    "initContainerStatuses": [{ "name": "side", "state": { "running": {} }, "ready": true }] } })
        };
        assert_eq!(
            readiness(&pod(json!({ "running": {} }), false), None, false),
            Readiness::Ready
        );
        assert!(matches!(
            readiness(&pod(json!({ "running": {} }), false), None, true),
            Readiness::NotYet(_)
        ));
        assert_eq!(readiness(&pod(json!({}), false), Some("side"), true), Readiness::Ready);
        assert!(
            matches!(readiness(&pod(json!({ "waiting": { "reason": "ImagePullBackOff" } }), false), None, false), Readiness::NotYet(why) if why.contains("ImagePullBackOff"))
        );
        assert!(matches!(
            readiness(&pod(json!({}), false), Some("b"), false),
            Readiness::Never(_)
        ));
    }

    #[test]
    fn pods_of_a_workload_are_known_by_what_it_chooses() {
        let pod =
            |app: &str, phase: &str| json!({ "metadata": { "labels": { "app": app } }, "status": { "phase": phase } });
        let set =
            json!({ "kind": "StatefulSet", "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "db" } } } });
        let controller = json!({ "kind": "ReplicationController", "spec": { "selector": { "app": "db" } } });
        for workload in [&set, &controller] {
            assert!(
                is_of(workload, &pod("db", "Pending"))
                    && !is_of(workload, &pod("web", "Running"))
                    && !is_of(workload, &pod("db", "Failed"))
            );
        }
        assert!(!is_of(&json!({ "spec": {} }), &pod("db", "Running")));
        assert_eq!(
            (wanted("statefulsets.apps", &set), wanted("daemonsets.apps", &json!({}))),
            (Some(2), None)
        );
    }
}
