//! Workloads: what their controllers have written into them, and what would keep them from beginning anew.

use serde_json::Value;

use super::super::fields::{is_true, items_mut, map_mut, remove, remove_annotations, text};
use super::super::mapping::Mapping;

/// A paused rollout makes no pods when there are none: it begins unpaused, and is paused again afterwards. Tells whether it was paused.
pub fn deployment(deployment: &mut Value) -> bool {
    remove_annotations(deployment, &["deployment.kubernetes.io/revision"]);
    let paused = is_true(deployment, "/spec/paused");
    if paused {
        remove(deployment, "/spec/paused");
    }
    paused
}

/// The generation of the template is counted anew.
pub fn daemon_set(set: &mut Value) {
    remove_annotations(set, &["deprecated.daemonset.template.generation"]);
}

/// Claims that it makes later have the class that claims have here. Where its numbers start (`spec.ordinals`) stays: its claims are named by them.
pub fn stateful_set(set: &mut Value, mapping: &Mapping) {
    for claim in items_mut(set, "/spec/volumeClaimTemplates") {
        super::claim::map_class(claim, mapping);
        remove(claim, "/status");
        remove(claim, "/metadata/creationTimestamp");
    }
}

/// A job chooses its pods by its own UID, unless a person has written the selector.
pub fn job(job: &mut Value) {
    remove_annotations(job, &["batch.kubernetes.io/job-tracking"]);
    if is_true(job, "/spec/manualSelector") {
        return;
    }
    remove(job, "/spec/selector");
    for path in ["/metadata/labels", "/spec/template/metadata/labels"] {
        if let Some(labels) = map_mut(job, path) {
            labels.remove("controller-uid");
            labels.remove("batch.kubernetes.io/controller-uid");
        }
    }
}

/// A cron job that comes back after a long time does not run for every time it has missed: it does not remember when it last ran.
pub fn cron_job(_job: &mut Value, status: &mut Option<Value>) {
    if let Some(status) = status {
        for field in ["/lastScheduleTime", "/lastSuccessfulTime", "/active"] {
            remove(status, field);
        }
    }
    if status
        .as_ref()
        .and_then(Value::as_object)
        .is_some_and(serde_json::Map::is_empty)
    {
        *status = None;
    }
}

/// What version 1 keeps of an autoscaler's status in annotations.
pub fn autoscaler(autoscaler: &mut Value) {
    const STATUS: &[&str] = &[
        "autoscaling.alpha.kubernetes.io/conditions",
        "autoscaling.alpha.kubernetes.io/current-metrics",
    ];
    if text(autoscaler, "/apiVersion") == Some("autoscaling/v1") {
        remove_annotations(autoscaler, STATUS);
    }
}
