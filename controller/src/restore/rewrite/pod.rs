//! Pods, and the templates of pods in workloads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::fields::{items, items_mut, map_mut, remove, remove_all, remove_empty, retain, text};
use super::{Circumstances, Note};
use crate::cluster::nodes::HOSTNAME;

/// The name of the init container that waits until the pod's own volumes are filled.
pub const WAIT: &str = "ararat-restore-wait";
/// Where it has them.
const WAIT_FOLDER: &str = "/restores";

/// Init containers of restores before this one.
const WAITED: &[&str] = &[WAIT, "restore-wait", "restic-wait"];

/// A pod that is restored by itself: the scheduler finds it a node.
pub fn pod(pod: &mut Value, circumstances: &Circumstances, notes: &mut Vec<Note>) {
    // Ephemeral containers can only be added to a pod that is there.
    remove_all(pod, &["/spec/nodeName", "/spec/priority", "/spec/ephemeralContainers"]);
    // Admission sets these from the classes, and refuses other values.
    if pod.pointer("/spec/priorityClassName").is_some() {
        remove(pod, "/spec/preemptionPolicy");
    }
    if pod.pointer("/spec/runtimeClassName").is_some() {
        remove(pod, "/spec/overhead");
    }
    tokens(pod);
    retain(pod, "/spec/initContainers", |container| {
        text(container, "/name").is_none_or(|name| !WAITED.contains(&name))
    });
    nodes(pod, circumstances, notes);
}

/// The pods that a workload will make. Its template is at `path`.
pub fn template(object: &mut Value, path: &str, circumstances: &Circumstances, notes: &mut Vec<Note>) {
    if let Some(template) = object.pointer_mut(path) {
        remove(template, "/metadata/creationTimestamp");
        nodes(template, circumstances, notes);
    }
}

/// Takes out the volumes by which a pod had the token of its account: it gets new ones.
fn tokens(pod: &mut Value) {
    let account = text(pod, "/spec/serviceAccountName").unwrap_or("default").to_owned();
    let is_token = |volume: &Value| {
        let name = text(volume, "/name").unwrap_or_default();
        let projected = items(volume, "/projected/sources").any(|source| source.get("serviceAccountToken").is_some());
        (name.starts_with("kube-api-access-") && projected)
            || (name.starts_with(&format!("{account}-token-")) && volume.get("secret").is_some())
    };
    let gone: BTreeSet<String> = items(pod, "/spec/volumes")
        .filter(|volume| is_token(volume))
        .filter_map(|volume| text(volume, "/name").map(str::to_owned))
        .collect();
    let stays = |item: &Value| text(item, "/name").is_none_or(|name| !gone.contains(name));
    retain(pod, "/spec/volumes", stays);
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in items_mut(pod, list) {
            retain(container, "/volumeMounts", stays);
        }
    }
}

const AFFINITY: &str = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";

/// A pod that is bound to a node which is not here would wait for ever: the bond goes, and a person is told.
fn nodes(pod: &mut Value, circumstances: &Circumstances, notes: &mut Vec<Note>) {
    let nodes = &circumstances.nodes;
    let absent = pod
        .pointer("/spec/nodeSelector")
        .and_then(|selector| selector.get(HOSTNAME))
        .and_then(Value::as_str);
    if let Some(absent) = absent.filter(|name| !nodes.has(name)).map(str::to_owned) {
        if let Some(selector) = map_mut(pod, "/spec/nodeSelector") {
            selector.remove(HOSTNAME);
        }
        remove_empty(pod, "/spec/nodeSelector");
        notes.push(Note {
            reason: "NodeAbsent",
            message: format!("It was bound to the node {absent}, which is not here; it may run on any node now"),
        });
    }
    let by_name = |expression: &Value| {
        text(expression, "/key") == Some(HOSTNAME)
            && text(expression, "/operator") == Some("In")
            && !items(expression, "/values")
                .filter_map(Value::as_str)
                .any(|name| nodes.has(name))
    };
    let mut unbound = false;
    for term in items_mut(pod, &format!("{AFFINITY}/nodeSelectorTerms")) {
        let before = items(term, "/matchExpressions").count();
        retain(term, "/matchExpressions", |expression| !by_name(expression));
        unbound |= items(term, "/matchExpressions").count() < before;
    }
    if unbound {
        // A term without anything fits nothing.
        retain(pod, &format!("{AFFINITY}/nodeSelectorTerms"), |term| {
            term.as_object().is_some_and(|term| !term.is_empty())
        });
        for path in [AFFINITY, "/spec/affinity/nodeAffinity", "/spec/affinity"] {
            remove_empty(pod, path);
        }
        notes.push(Note {
            reason: "NodeAbsent",
            message: "Its affinity asked for nodes that are not here; it may run on other nodes now".to_owned(),
        });
    }
}

/// Puts containers before the init containers of a pod, or of a template at `path`.
pub fn add_first(object: &mut Value, path: &str, containers: &[Value]) {
    let Some(spec) = object
        .pointer_mut(&format!("{path}/spec"))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let mut all = containers.to_vec();
    if let Some(Value::Array(others)) = spec.remove("initContainers") {
        let is_new = |other: &Value| {
            !containers
                .iter()
                .any(|container| container.get("name") == other.get("name"))
        };
        all.extend(others.into_iter().filter(is_new));
    }
    spec.insert("initContainers".to_owned(), Value::Array(all));
}

/// Lets a pod wait until its own volumes are filled: an init container before all others, of whatever user the pod's files belong to.
pub fn wait_for_volumes(pod: &mut Value, volumes: &[&str], image: &str, pull_policy: &str) {
    let user = |path: &str| pod.pointer(path).and_then(Value::as_i64).filter(|user| *user > 0);
    let run_as =
        user("/spec/containers/0/securityContext/runAsUser").or_else(|| user("/spec/securityContext/runAsUser"));
    let group =
        user("/spec/containers/0/securityContext/runAsGroup").or_else(|| user("/spec/securityContext/runAsGroup"));
    let folder = |volume: &&str| format!("{WAIT_FOLDER}/{volume}");
    let mut command = vec!["/bin/ararat-agent".to_owned(), "wait".to_owned()];
    command.extend(volumes.iter().map(folder));
    let mounts: Vec<Value> = volumes
        .iter()
        .map(|volume| json!({ "name": volume, "mountPath": folder(volume) }))
        .collect();
    let container = json!({
        "name": WAIT,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": command,
        "volumeMounts": mounts,
        "resources": { "requests": { "cpu": "1m", "memory": "16Mi" }, "limits": { "cpu": "100m", "memory": "64Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": run_as.unwrap_or(65532),
            "runAsGroup": group.unwrap_or(65532),
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    add_first(pod, "", &[container]);
}
