//! Where a volume is while it is filled: a pod that holds its claim, or the pod that it belongs to; and whether that is still there.

use std::collections::BTreeMap;
use std::time::Duration;

use api::volume::{FOLDER_KEPT, VolumePlace};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::super::rewrite::WAIT;
use super::super::work::Work;
use super::{Target, placing};
use crate::context::{say, steady};
use crate::volumes::holder::{self, Hold};

/// How long a holder pod may take to start.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a pod may take until its init container runs.
const POD_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a holder pod may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Where a volume is.
pub struct Found {
    /// The node.
    pub node: String,
    /// Where the kubelet has it.
    pub place: VolumePlace,
}

/// Why a volume is nowhere.
pub enum Lost {
    /// The restore was stopped.
    Stopped,
    /// It cannot be mounted, for this reason.
    Never(&'static str, String),
    /// What is there is somebody's, and stays.
    Kept(String),
}

/// Finds, or makes, the pod that a volume is filled through.
pub async fn find(work: &Work, target: &Target) -> Result<Found, Lost> {
    if target.is_claim() {
        of_claim(work, target).await
    } else {
        of_pod(work, target).await
    }
}

fn hold_of(work: &Work, target: &Target) -> Hold {
    Hold {
        namespace: target.namespace.clone(),
        claim: target.name.clone(),
        mode: target.record.mode,
        owner_kind: "Restore",
        owner_name: work.name.clone(),
        owner_uid: work.uid.clone(),
        placing: target.placing.clone(),
        taken: BTreeMap::new(),
    }
}

async fn of_claim(work: &Work, target: &Target) -> Result<Found, Lost> {
    let client = &work.context.client;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &target.namespace);
    let never = |error: kube::Error| Lost::Never("VolumeFailed", say(&error));
    let claim = steady(|| claims.get(&target.name)).await.map_err(never)?;
    class_is_here(work, &claim).await?;
    let hold = Hold {
        taken: placing::taken(work, target).await,
        ..hold_of(work, target)
    };
    let held = holder::hold(&work.context, &hold, Instant::now() + HOLDER_TIMEOUT).await;
    let held = held.map_err(|why| Lost::Never("ClaimNotMounted", why))?;
    // It is bound now: pods do not run before.
    let claim = steady(|| claims.get(&target.name)).await.map_err(never)?;
    let volume = claim.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let host_path = match steady(|| volumes.get_opt(&volume)).await {
        Ok(found) => found
            .and_then(|volume| volume.spec?.host_path)
            .map(|host_path| host_path.path),
        Err(error) => return Err(never(error)),
    };
    Ok(Found {
        node: held.node,
        place: VolumePlace {
            pod_namespace: target.namespace.clone(),
            pod_name: held.pod,
            pod_uid: held.uid,
            volume: holder::VOLUME.to_owned(),
            folder: volume,
            mode: target.record.mode,
            host_path,
        },
    })
}

/// A claim of a class that is not here would wait for ever: that is said at once.
async fn class_is_here(work: &Work, claim: &PersistentVolumeClaim) -> Result<(), Lost> {
    let spec = claim.spec.as_ref();
    let is_bound = spec.is_some_and(|spec| spec.volume_name.as_ref().is_some_and(|name| !name.is_empty()));
    let class = serde_json::to_value(claim).ok();
    let class = class
        .as_ref()
        .and_then(super::super::rewrite::class_of_claim)
        .unwrap_or_default()
        .to_owned();
    if is_bound || class.is_empty() {
        return Ok(());
    }
    let classes: Api<StorageClass> = Api::all(work.context.client.clone());
    match steady(|| classes.get_opt(&class)).await {
        // Who may not look does not know.
        Ok(Some(_)) | Err(_) => Ok(()),
        Ok(None) => Err(Lost::Never(
            "StorageClassMissing",
            format!(
                "The storage class {class} is not here; choose another one by storageClassMapping (`kubectl get storageclass` lists them)"
            ),
        )),
    }
}

/// A pod that waits for its own volumes: found once its init container runs.
///
/// A folder of the node may hold what is somebody's, and a volume that is filled becomes what the snapshot says, whatever was in it. So the agent fills such a folder
/// only if it is empty. A pod that waits for it alone does not even wait if it is not.
async fn of_pod(work: &Work, target: &Target) -> Result<Found, Lost> {
    let pods: Api<Pod> = Api::namespaced(work.context.client.clone(), &target.namespace);
    let until = Instant::now() + POD_TIMEOUT;
    let volume = target.record.volume.clone().unwrap_or_default();
    loop {
        let pod = match steady(|| pods.get_opt(&target.name)).await {
            Ok(Some(pod)) => pod,
            Ok(None) => {
                return Err(Lost::Never(
                    "PodGone",
                    "The pod was deleted before its volume was filled".to_owned(),
                ));
            }
            Err(error) => return Err(Lost::Never("VolumeFailed", say(&error))),
        };
        let status = pod.status.clone().unwrap_or_default();
        let init = status.init_container_statuses.unwrap_or_default();
        let waiting = init
            .iter()
            .find(|container| container.name == WAIT)
            .and_then(|container| container.state.clone());
        let state = waiting.unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let host_path = host_path(&pod, &volume);
        if let Some(node) = node.filter(|_| state.running.is_some()) {
            return Ok(Found {
                node,
                place: VolumePlace {
                    pod_namespace: target.namespace.clone(),
                    pod_name: target.name.clone(),
                    pod_uid: pod.uid().unwrap_or_default(),
                    folder: volume.clone(),
                    volume,
                    mode: target.record.mode,
                    host_path,
                },
            });
        }
        if state.terminated.is_some_and(|ended| ended.exit_code == 0) {
            return Err(match host_path {
                Some(_) => Lost::Kept(FOLDER_KEPT.to_owned()),
                None => Lost::Never(
                    "PodRuns",
                    "The pod has begun already: its volume is its own now".to_owned(),
                ),
            });
        }
        if Instant::now() > until {
            let waiting = state.waiting.and_then(|waiting| waiting.message.or(waiting.reason));
            let condition = status
                .conditions
                .unwrap_or_default()
                .into_iter()
                .find_map(|condition| condition.message);
            let why = waiting.or(condition).unwrap_or_else(|| "nothing says why".to_owned());
            return Err(Lost::Never(
                "PodNotStarted",
                format!("The pod did not start, so its volume was not filled: {why}"),
            ));
        }
        if work.stop.sleep(Duration::from_millis(500)).await.is_err() {
            return Err(Lost::Stopped);
        }
    }
}

/// The folder of its node that a pod has under this name, if it is one.
fn host_path(pod: &Pod, volume: &str) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|known| known.name == volume)?;
    Some(volume.host_path.as_ref()?.path.clone())
}

/// Whether the pod that a claim is held by is gone, ends, or is another one than that with this UID.
pub async fn is_gone(work: &Work, target: &Target, uid: Option<&str>) -> bool {
    let name = if target.is_claim() {
        holder::name(&hold_of(work, target))
    } else {
        target.name.clone()
    };
    let pods: Api<Pod> = Api::namespaced(work.context.client.clone(), &target.namespace);
    match pods.get_opt(&name).await {
        Ok(Some(pod)) => {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.clone())
                .unwrap_or_default();
            pod.metadata.deletion_timestamp.is_some()
                || matches!(phase.as_str(), "Failed" | "Succeeded")
                || uid.is_some_and(|uid| pod.uid().as_deref() != Some(uid))
        }
        Ok(None) => true,
        // Who cannot be asked is not said to be gone.
        Err(_) => false,
    }
}

/// Lets a claim go, and waits until it is; a restore that is stopped does not wait.
pub async fn release(work: &Work, target: &Target) {
    if !target.is_claim() {
        return;
    }
    let pod = holder::name(&hold_of(work, target));
    let at_most = if work.stop.is_asked() {
        Duration::ZERO
    } else {
        GONE_WITHIN
    };
    holder::release_and_wait(&work.context, &target.namespace, &pod, at_most).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn folders_of_the_node_are_found_by_their_paths() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [], "volumes": [
            { "name": "kept", "emptyDir": {} }, { "name": "logs", "hostPath": { "path": "/var/log" } } ] } }))
        .unwrap();
        assert_eq!(host_path(&pod, "logs").as_deref(), Some("/var/log"));
        assert_eq!(
            [host_path(&pod, "kept"), host_path(&Pod::default(), "logs")],
            [None, None]
        );
    }
}
