//! Whether an installation is ready; and when it is not, why: what the pods and the location say.

use std::time::{Duration, Instant};

use anyhow::Result;
use api::BackupStorageLocation;
use api::location::LocationPhase;
use engine::words::Progress;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;

use super::{Cluster, download};
use crate::failure::Failure;
use crate::installation::{AGENT, CONTROLLER};
use crate::output::progress::Shown;

/// A location that says the same for so long after everything runs will not mend by itself.
const LOCATION_PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the controller, the agents and the location are ready.
pub async fn wait(cluster: &Cluster, location: Option<&str>, limit: Duration, shown: &Shown) -> Result<()> {
    let begun = Instant::now();
    let mut complaint: Option<(String, Instant)> = None;
    loop {
        let programs = programs(cluster).await?;
        let place = match location {
            Some(name) => location_state(cluster.api::<BackupStorageLocation>().get(name).await?),
            None => State::Ready,
        };
        let waiting: Vec<String> = [programs.clone(), place.clone()]
            .into_iter()
            .filter_map(State::waiting)
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        shown.stage(&format!("Waiting: {}", waiting.join("; ")), "");
        // The same complaint, while everything else runs.
        complaint = match (&programs, &place) {
            (State::Ready, State::Refused(why)) => match complaint {
                Some((before, since)) if before == *why => Some((before, since)),
                _ => Some((why.clone(), Instant::now())),
            },
            _ => None,
        };
        if let Some((why, since)) = &complaint
            && since.elapsed() >= LOCATION_PATIENCE
        {
            let failure = Failure::new(why.clone());
            return Err(failure
                .hint(
                    "Everything else is ready. Mend the store, or give the location other credentials or options: `ararat backup-location set NAME --credentials-file FILE --option NAME=VALUE`.",
                )
                .into());
        }
        if begun.elapsed() >= limit {
            return Err(not_ready(cluster, &waiting, limit).await);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn not_ready(cluster: &Cluster, waiting: &[String], limit: Duration) -> anyhow::Error {
    let mut lines = vec![format!(
        "After {} the installation is not ready: {}",
        api::duration::text(limit),
        waiting.join("; ")
    )];
    let selector = ListParams::default().labels("app.kubernetes.io/part-of=ararat");
    if let Ok(pods) = cluster.api::<Pod>().list(&selector).await {
        lines.extend(
            pods.iter()
                .filter_map(|pod| Some(format!("  pod {}: {}", pod.name_any(), pod_problem(pod)?))),
        );
    }
    Failure::new(lines.join("\n"))
        .hint(download::pods_hint(&cluster.namespace))
        .into()
}

/// Whether a part is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// It will be; what is missing.
    Coming(String),
    /// It says why it cannot be.
    Refused(String),
}

impl State {
    fn waiting(self) -> Option<String> {
        match self {
            Self::Ready => None,
            Self::Coming(what) | Self::Refused(what) => Some(what),
        }
    }
}

async fn programs(cluster: &Cluster) -> Result<State> {
    let deployment = deployment_state(&cluster.api::<Deployment>().get(CONTROLLER).await?);
    let agents = daemon_set_state(&cluster.api::<DaemonSet>().get(AGENT).await?);
    let missing: Vec<String> = [deployment, agents].into_iter().flatten().collect();
    Ok(if missing.is_empty() {
        State::Ready
    } else {
        State::Coming(missing.join("; "))
    })
}

/// What is missing of a Deployment.
fn deployment_state(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let seen = status.observed_generation >= deployment.metadata.generation;
    let ready = if seen {
        status
            .available_replicas
            .unwrap_or(0)
            .min(status.updated_replicas.unwrap_or(0))
    } else {
        0
    };
    // Pods of the version before must be gone as well, or one of them may still lead.
    let old = status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    (ready < wanted || old > 0).then(|| format!("{ready} of {wanted} controllers are ready"))
}

/// What is missing of a DaemonSet.
fn daemon_set_state(daemon_set: &DaemonSet) -> Option<String> {
    let status = daemon_set.status.clone().unwrap_or_default();
    if status.observed_generation < daemon_set.metadata.generation {
        return Some("the agents are being started".to_owned());
    }
    let wanted = status.desired_number_scheduled;
    let ready = status
        .number_available
        .unwrap_or(0)
        .min(status.updated_number_scheduled.unwrap_or(0));
    (ready < wanted).then(|| format!("{ready} of {wanted} agents are ready"))
}

fn location_state(location: BackupStorageLocation) -> State {
    let name = location.name_any();
    let status = location.status.clone().unwrap_or_default();
    let is_seen = status.observed_generation >= location.metadata.generation;
    match (is_seen, status.phase, status.message) {
        (true, LocationPhase::Available, _) => State::Ready,
        (true, LocationPhase::Unavailable, Some(why)) => {
            State::Refused(format!("The location `{name}` is unavailable: {why}"))
        }
        _ => State::Coming(format!("the location `{name}` has not been looked at yet")),
    }
}

/// Why a pod is not ready, as its containers or the scheduler say.
fn pod_problem(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    for container in status.container_statuses.iter().flatten() {
        if container.ready {
            continue;
        }
        let last = container
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        let ended = last.map(|ended| {
            let message = ended
                .message
                .as_deref()
                .map_or_else(String::new, |message| format!(": {}", message.trim()));
            format!("it ended with code {}{message}", ended.exit_code)
        });
        if let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            let message = ended.or_else(|| waiting.message.clone()).unwrap_or_default();
            return Some(format!("{reason} {message}").trim().to_owned());
        }
        return Some(ended.unwrap_or_else(|| "it runs and is not ready".to_owned()));
    }
    let condition = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.status == "False")?;
    let reason = condition.reason.as_deref().unwrap_or(&condition.type_);
    Some(
        format!("{reason} {}", condition.message.as_deref().unwrap_or_default())
            .trim()
            .to_owned(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_ready_when_all_of_its_newest_pods_are_and_no_older_is_left() {
        let deployment = |status: serde_json::Value| -> Deployment {
            serde_json::from_value(json!({ "metadata": { "generation": 3 }, "spec": { "replicas": 2, "selector": {}, "template": {} }, "status": status })).unwrap()
        };
        let ready = json!({ "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        assert_eq!(deployment_state(&deployment(ready)), None);
        let old = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        assert_eq!(
            deployment_state(&deployment(old)).unwrap(),
            "0 of 2 controllers are ready"
        );
        let rolling = json!({ "observedGeneration": 3, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3 });
        assert!(deployment_state(&deployment(rolling)).is_some());
    }

    #[test]
    fn a_location_that_nobody_has_looked_at_is_not_refused_yet() {
        let location = |status: serde_json::Value| -> BackupStorageLocation {
            serde_json::from_value(json!({ "metadata": { "name": "default", "generation": 1 }, "spec": { "url": "s3://b/p", "repositoryKey": { "name": "k" } }, "status": status })).unwrap()
        };
        assert!(matches!(location_state(location(json!({}))), State::Coming(_)));
        let denied = json!({ "observedGeneration": 1, "phase": "Unavailable", "message": "Access denied" });
        assert_eq!(
            location_state(location(denied)),
            State::Refused("The location `default` is unavailable: Access denied".into())
        );
        assert_eq!(
            location_state(location(json!({ "observedGeneration": 1, "phase": "Available" }))),
            State::Ready
        );
    }

    #[test]
    fn pods_say_what_is_the_matter_with_them() {
        let pod = |status: serde_json::Value| -> Pod {
            serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": status })).unwrap()
        };
        let container = |state: serde_json::Value, last: serde_json::Value| {
            pod(
                json!({ "containerStatuses": [{ "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last }] }),
            )
        };
        let pulling = container(
            json!({ "waiting": { "reason": "ErrImageNeverPull", "message": "Container image \"x\" is not present" } }),
            json!({}),
        );
        assert_eq!(
            pod_problem(&pulling).unwrap(),
            "ErrImageNeverPull Container image \"x\" is not present"
        );
        let crashing = container(
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } }),
            json!({ "terminated": { "exitCode": 2 } }),
        );
        assert_eq!(pod_problem(&crashing).unwrap(), "CrashLoopBackOff it ended with code 2");
        let pending = pod(
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }] }),
        );
        assert_eq!(pod_problem(&pending).unwrap(), "Unschedulable 0/1 nodes");
    }
}
