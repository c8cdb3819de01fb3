//! What changes in an object on its way from the backup into a cluster. Pure: an object as JSON in, one that can be made out.
//!
//! What every kind has is here; each kind's own rules are in a file of its family. Whatever is not named stays as it was.

mod account;
mod admission;
mod claim;
mod definition;
mod network;
mod pod;
mod service;
mod volume;
mod workload;

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use api::words;
use serde_json::Value;

use super::fields::{self, map_mut, remove, remove_all, remove_annotations, remove_empty, retain};
use super::mapping::Mapping;
use crate::cluster::nodes::Nodes;
use crate::volumes::workload::template_path;

pub use claim::class as class_of_claim;
pub use pod::{WAIT, add_first, wait_for_volumes};
pub use service::{free_families, free_ports};

/// What objects are rewritten for.
#[derive(Debug, Default)]
pub struct Circumstances {
    /// Other names.
    pub mapping: Mapping,
    /// Node ports that were chosen by the cluster are kept.
    pub preserve_node_ports: bool,
    /// PersistentVolumes that come back, and whose claims stay bound to them. One that turns out to be somebody else's is taken out.
    pub volumes: RwLock<BTreeSet<Box<str>>>,
    /// The nodes of this cluster.
    pub nodes: Nodes,
    /// The storage class of this cluster that claims without a class get.
    pub default_class: Option<String>,
}

impl Circumstances {
    /// The same for objects that are in this cluster already: they have their names. Both sides of a comparison go through the same rules.
    pub fn here(&self) -> Self {
        Self {
            mapping: Mapping::default(),
            preserve_node_ports: self.preserve_node_ports,
            volumes: RwLock::new(self.volumes.read().unwrap_or_else(PoisonError::into_inner).clone()),
            nodes: self.nodes.clone(),
            default_class: self.default_class.clone(),
        }
    }

    fn keeps_volume(&self, name: &str) -> bool {
        self.volumes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }
}

/// An object that can be made.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The object.
    pub object: Value,
    /// Its owners, with the UIDs that they had.
    pub owners: Vec<Value>,
    /// Its status, as it was.
    pub status: Option<Value>,
    /// It is to be paused once it has pods: a paused rollout makes none.
    pub pause_later: bool,
    /// What a person should know.
    pub notes: Vec<Note>,
}

/// Something a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Why, in one word.
    pub reason: &'static str,
    /// What was changed.
    pub message: String,
}

/// Fields of metadata that belong to one life of an object.
const LIFE: &[&str] = &[
    "/metadata/generateName",
    "/metadata/selfLink",
    "/metadata/uid",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/metadata/deletionTimestamp",
    "/metadata/deletionGracePeriodSeconds",
];

/// Finalizers of deletions that were under way, or of things outside the cluster that this object does not have yet: nobody would take them off.
const FINALIZERS: &[&str] = &[
    "foregroundDeletion",
    "orphan",
    "service.kubernetes.io/load-balancer-cleanup",
    "external-provisioner.volume.kubernetes.io/finalizer",
    "snapshot.storage.kubernetes.io/pvc-as-source-protection",
    "snapshot.storage.kubernetes.io/pvc-bound-protection",
    "batch.kubernetes.io/job-tracking",
];

/// Makes an object of a backup one that can be made here.
pub fn rewrite(resource: &str, mut object: Value, circumstances: &Circumstances) -> Rewritten {
    remove_all(&mut object, LIFE);
    // Those of services say what a person has chosen.
    if resource != "services" {
        remove(&mut object, "/metadata/managedFields");
    }
    let owners = match remove(&mut object, "/metadata/ownerReferences") {
        Some(Value::Array(owners)) => owners,
        _ => Vec::new(),
    };
    let status =
        remove(&mut object, "/status").filter(|status| status.as_object().is_some_and(|status| !status.is_empty()));
    retain(&mut object, "/metadata/finalizers", |finalizer| {
        finalizer
            .as_str()
            .is_none_or(|finalizer| !FINALIZERS.contains(&finalizer))
    });
    remove_annotations(&mut object, &[words::RESTORE_UID, words::AWAITS_DATA]);
    if let Some(labels) = map_mut(&mut object, "/metadata/labels") {
        labels.retain(|name, _| name != words::RESTORE_NAME && name != words::BACKUP_NAME);
    }
    remove_empty(&mut object, "/metadata/labels");
    if let Some(Value::String(namespace)) = object.pointer_mut("/metadata/namespace") {
        *namespace = circumstances.mapping.namespace(namespace).to_owned();
    }
    let mut rewritten = Rewritten {
        object,
        owners,
        status,
        ..Rewritten::default()
    };
    by_kind(resource, &mut rewritten, circumstances);
    rewritten
}

fn by_kind(resource: &str, rewritten: &mut Rewritten, circumstances: &Circumstances) {
    let Rewritten {
        object,
        status,
        notes,
        pause_later,
        ..
    } = rewritten;
    let mapping = &circumstances.mapping;
    match resource {
        "namespaces" => namespace(object, mapping),
        "pods" => pod::pod(object, circumstances, notes),
        "deployments.apps" => *pause_later = workload::deployment(object),
        "daemonsets.apps" => workload::daemon_set(object),
        "statefulsets.apps" => workload::stateful_set(object, mapping),
        "jobs.batch" => workload::job(object),
        "cronjobs.batch" => workload::cron_job(object, status),
        "horizontalpodautoscalers.autoscaling" => workload::autoscaler(object),
        "services" => service::service(object, circumstances.preserve_node_ports, mapping),
        "endpoints" | "endpointslices.discovery.k8s.io" => network::endpoints(object, mapping),
        "persistentvolumeclaims" => claim::claim(object, status.as_ref(), circumstances, notes),
        "persistentvolumes" => volume::volume(object, mapping),
        "storageclasses.storage.k8s.io" => volume::class(object, circumstances, notes),
        "serviceaccounts" => account::account(object),
        "secrets" => account::secret(object),
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            account::binding(object, mapping)
        }
        "customresourcedefinitions.apiextensions.k8s.io" => definition::definition(object, mapping),
        "apiservices.apiregistration.k8s.io" => definition::api_service(object, mapping),
        "networkpolicies.networking.k8s.io" => network::policy(object, mapping),
        "ingresses.networking.k8s.io" => network::ingress(object, mapping, notes),
        "routes.route.openshift.io" => network::route(object),
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
        | "mutatingwebhookconfigurations.admissionregistration.k8s.io" => {
            admission::webhooks(object, mapping);
        }
        "validatingadmissionpolicies.admissionregistration.k8s.io"
        | "validatingadmissionpolicybindings.admissionregistration.k8s.io"
        | "mutatingadmissionpolicies.admissionregistration.k8s.io"
        | "mutatingadmissionpolicybindings.admissionregistration.k8s.io" => admission::policy(object, mapping),
        _ if resource.ends_with(".gateway.networking.k8s.io") => network::gateway(object, mapping),
        _ => {}
    }
    if resource != "pods"
        && let Some(path) = template_path(resource)
    {
        pod::template(object, path, circumstances, notes);
    }
}

/// A namespace gets its other name, and the label that says it is the API server's to give.
fn namespace(object: &mut Value, mapping: &Mapping) {
    let name = mapping.namespace(fields::name(object)).to_owned();
    fields::set(object, &["metadata", "name"], Value::String(name));
    remove(object, "/metadata/labels/kubernetes.io~1metadata.name");
    remove_empty(object, "/metadata/labels");
    // What finalizes a namespace's content is the cluster's to say.
    remove(object, "/spec/finalizers");
    remove_empty(object, "/spec");
}

/// Says on an object which Restore has made it.
pub fn stamp(object: &mut Value, backup: &str, restore: &str, uid: &str) {
    let text = |text: &str| Value::String(text.to_owned());
    fields::set(
        object,
        &["metadata", "labels", words::BACKUP_NAME],
        text(&words::label_value(backup)),
    );
    fields::set(
        object,
        &["metadata", "labels", words::RESTORE_NAME],
        text(&words::label_value(restore)),
    );
    fields::set(object, &["metadata", "annotations", words::RESTORE_UID], text(uid));
}

#[cfg(test)]
#[path = "rewrite/tests.rs"]
mod tests;
