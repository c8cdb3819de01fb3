//! Holder pods: tiny pods without rights that do nothing but mount a claim, so that the agent of their node can read or fill it. They are in the claim's namespace
//! and pass the restricted Pod Security standard; the scheduler chooses their node, which also binds claims that wait for a first consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::volume::VolumeMode;
use api::words;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::workload::Placing;
use crate::context::{Context, is_conflict, is_not_found, is_passing, say};
use crate::watched::change;

/// The name of the volume in the pod.
pub const VOLUME: &str = "data";
/// Label: the same for holder pods that had better be on different nodes.
const GROUP: &str = "ararat.dev/holder-group";
/// Annotation: the UID of the Backup or Restore that the pod holds the claim for.
const OWNER: &str = "ararat.dev/holder-for";

/// Which claim is to be held, and for whom.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The claim's namespace.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// How it is used.
    pub mode: VolumeMode,
    /// `Backup` or `Restore`.
    pub owner_kind: &'static str,
    /// Its name.
    pub owner_name: String,
    /// Its UID.
    pub owner_uid: String,
    /// Where it may be: where those may be that mount the claim otherwise.
    pub placing: Placing,
    /// Labels of nodes, with the values of those where others are that it had better not meet.
    pub taken: BTreeMap<String, BTreeSet<String>>,
}

/// A pod that holds a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// The node it is on.
    pub node: String,
}

/// The name of the pod that holds a claim for somebody.
pub fn name(hold: &Hold) -> String {
    words::derived_name("ararat-holder", &[&hold.owner_uid, &hold.claim])
}

/// Makes the pod, unless it is there, and waits until it runs.
///
/// # Errors
/// Says for people why it does not run before the deadline, or cannot be made.
pub async fn hold(context: &Context, hold: &Hold, deadline: Instant) -> Result<Held, String> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &hold.namespace);
    let name = name(hold);
    let pod = manifest(context, hold, &name)?;
    let mut changes = context.watches.holders.changes();
    let (mut seen, mut refused) = (None, None);
    loop {
        changes.mark_unchanged();
        if let Some(pod) = context.watches.holders.get(&hold.namespace, &name) {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                .unwrap_or_default();
            let ending = pod.metadata.deletion_timestamp.is_some();
            match (phase, pod.spec.as_ref().and_then(|spec| spec.node_name.clone())) {
                ("Running", Some(node)) if !ending => {
                    let uid = pod.uid().unwrap_or_default();
                    return Ok(Held { pod: name, uid, node });
                }
                // Evicted, or its node was drained: another one.
                ("Failed" | "Succeeded", _) if !ending => release(context, &hold.namespace, &name).await,
                _ => seen = Some(pod),
            }
        } else {
            match pods.create(&PostParams::default(), &pod).await {
                Ok(_) => refused = None,
                // Ours of before, which the watch has not shown yet; or one that is still ending.
                Err(error) if is_conflict(&error) => {}
                Err(error) if is_passing(&error) => refused = Some(say(&error)),
                Err(error) => {
                    return Err(format!(
                        "The pod that holds the claim {} could not be made: {}",
                        hold.claim,
                        say(&error)
                    ));
                }
            }
        }
        if Instant::now() > deadline {
            let why = match &seen {
                Some(pod) => reason(context, pod).await,
                None => refused.unwrap_or_else(|| "it was not seen".to_owned()),
            };
            release(context, &hold.namespace, &name).await;
            return Err(format!(
                "The pod {name} that holds the claim {} did not start: {why}",
                hold.claim
            ));
        }
        change(&mut changes, Duration::from_secs(1)).await;
    }
}

/// Why a pod does not run: what its conditions, containers and events say.
async fn reason(context: &Context, pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = conditions.iter().filter(|condition| condition.status == "False");
    let condition = condition
        .filter_map(|condition| condition.message.clone())
        .find(|message| !message.is_empty());
    let waiting = status
        .container_statuses
        .unwrap_or_default()
        .into_iter()
        .find_map(|container| {
            let waiting = container.state?.waiting?;
            Some(format!(
                "{} {}",
                waiting.reason.unwrap_or_default(),
                waiting.message.unwrap_or_default()
            ))
        });
    let events: Api<k8s_openapi::api::core::v1::Event> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let fields = format!("involvedObject.name={},type=Warning", pod.name_any());
    let events = events.list(&kube::api::ListParams::default().fields(&fields)).await;
    let event = events
        .ok()
        .and_then(|events| events.items.last().and_then(|event| event.message.clone()));
    let said: Vec<String> = [condition, waiting, event]
        .into_iter()
        .flatten()
        .map(|text| text.trim().to_owned())
        .collect();
    if said.is_empty() {
        "nothing says why".to_owned()
    } else {
        said.join("; ")
    }
}

/// Lets the claim go: the pod is deleted. That it cannot be is noticed by [`sweep`].
pub async fn release(context: &Context, namespace: &str, pod: &str) {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    match pods.delete(pod, &DeleteParams::default().grace_period(0)).await {
        Err(error) if !is_not_found(&error) => {
            tracing::warn!("Could not delete the pod {namespace}/{pod}: {}", say(&error))
        }
        _ => {}
    }
}

/// Lets the claim go, and waits until the pod is gone: until then its volume is in use.
pub async fn release_and_wait(context: &Context, namespace: &str, pod: &str, at_most: Duration) {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let until = Instant::now() + at_most;
    loop {
        release(context, namespace, pod).await;
        match pods.get_opt(pod).await {
            Ok(None) => return,
            _ if Instant::now() > until => return,
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Deletes holder pods whose Backup or Restore is done or gone, until the process ends: nothing is left by whoever died.
pub async fn sweep(context: Arc<Context>) {
    loop {
        for pod in context.watches.holders.all() {
            let owner = pod.annotations().get(OWNER).cloned().unwrap_or_default();
            let backups = context.watches.backups.all();
            let backup = backups.iter().find(|backup| backup.uid().as_deref() == Some(&owner));
            let restores = context.watches.restores.all();
            let restore = restores.iter().find(|restore| restore.uid().as_deref() == Some(&owner));
            let at_work = backup
                .is_some_and(|backup| !backup.status.as_ref().is_some_and(|status| status.phase.is_final()))
                || restore
                    .is_some_and(|restore| !restore.status.as_ref().is_some_and(|status| status.phase.is_final()));
            if !at_work {
                release(&context, &pod.namespace().unwrap_or_default(), &pod.name_any()).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
}

fn manifest(context: &Context, hold: &Hold, name: &str) -> Result<Pod, String> {
    let uses = match hold.mode {
        VolumeMode::Filesystem => ("volumeMounts", json!([{ "name": VOLUME, "mountPath": "/data" }])),
        VolumeMode::Block => ("volumeDevices", json!([{ "name": VOLUME, "devicePath": "/dev/data" }])),
    };
    let mut container = json!({
        "name": "holder",
        "image": context.args.image,
        "imagePullPolicy": context.args.image_pull_policy,
        "command": ["/bin/ararat-agent", "hold"],
        "resources": { "requests": { "cpu": "1m", "memory": "16Mi" }, "limits": { "cpu": "100m", "memory": "64Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
    });
    if let Some(container) = container.as_object_mut() {
        container.insert(uses.0.to_owned(), uses.1);
    }
    let mut labels = BTreeMap::from([
        (words::HOLDER, hold.owner_kind.to_ascii_lowercase()),
        ("app.kubernetes.io/name", "ararat-holder".to_owned()),
        ("app.kubernetes.io/part-of", "ararat".to_owned()),
        // It lives for moments, and is never part of what is backed up.
        (words::EXCLUDE, "true".to_owned()),
    ]);
    let group = match hold.placing.apart() {
        Some((group, _)) => words::label_value(&words::derived_name("group", &[&hold.owner_uid, group])),
        None => String::new(),
    };
    if !group.is_empty() {
        labels.insert(GROUP, group.clone());
    }
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": hold.namespace,
            "labels": labels,
            "annotations": { OWNER: hold.owner_uid, "ararat.dev/holder-of": format!("{} {}", hold.owner_kind, hold.owner_name) },
        },
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [container],
            "volumes": [{ "name": VOLUME, "persistentVolumeClaim": { "claimName": hold.claim } }],
        },
    });
    if let Some(spec) = pod.get_mut("spec") {
        hold.placing.apply(spec, (GROUP, &group), &hold.taken);
    }
    serde_json::from_value(pod).map_err(|error| error.to_string())
}
