//! What never comes back, and by which rule: what the cluster makes by itself, what is over, what belongs to one cluster alone. Pure; each rule is a line of a
//! table.
//!
//! Rules that need to know other objects (an owner that is restored, a service of the same name) are in [`plan`](super::plan).

use serde_json::Value;

use super::fields::{annotation, is_true, items, label, name, text};

/// Why an object is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Omission {
    /// It tells what is the case in one cluster.
    ClusterState,
    /// The cluster makes it by itself.
    MadeByCluster,
    /// Its controller is restored and makes it anew.
    MadeByController,
    /// It belongs to an application that asks for a certificate anew.
    CertificateRequest,
    /// It is an operation of Ararat, or of Velero.
    BackupOperation,
    /// A disk snapshot belongs to the storage that made it.
    DiskSnapshot,
    /// It ran to its end.
    Finished,
    /// A node has it from a file of its own.
    MirrorPod,
    /// It was about to be deleted.
    BeingDeleted,
    /// A service account gets new tokens.
    AccountToken,
    /// Its claim is provisioned anew.
    DynamicVolume,
    /// The claim of an ephemeral volume is made for its pod.
    EphemeralClaim,
    /// It is in a namespace of the cluster, or of Ararat, which is restored only when it is named.
    SystemNamespace,
    /// Its storage class is mapped to another one.
    ClassMapped,
    /// No node of this cluster can use the volume.
    VolumeElsewhere,
}

impl Omission {
    /// The rule, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::ClusterState => "it tells what is the case in one cluster",
            Self::MadeByCluster => "the cluster makes it by itself",
            Self::MadeByController => "its controller is restored and makes it anew; name its kind to restore it",
            Self::CertificateRequest => "certificates are asked for anew",
            Self::BackupOperation => "it is an operation of a backup system, and would be done again",
            Self::DiskSnapshot => "a disk snapshot belongs to the storage that made it",
            Self::Finished => "it had run to its end",
            Self::MirrorPod => "a node has it from a file of its own",
            Self::BeingDeleted => "it was about to be deleted",
            Self::AccountToken => "service accounts get new tokens",
            Self::DynamicVolume => "its claim is provisioned anew",
            Self::EphemeralClaim => "it is made for its pod",
            Self::SystemNamespace => "namespaces of the cluster and of Ararat are restored only when they are named",
            Self::ClassMapped => "its storage class is mapped to another one",
            Self::VolumeElsewhere => "no node of this cluster can use the volume",
        }
    }
}

/// Kinds that are never restored.
const KINDS: &[(&str, Omission)] = &[
    ("nodes", Omission::ClusterState),
    ("componentstatuses", Omission::ClusterState),
    ("events", Omission::ClusterState),
    ("events.events.k8s.io", Omission::ClusterState),
    ("leases.coordination.k8s.io", Omission::ClusterState),
    ("leasecandidates.coordination.k8s.io", Omission::ClusterState),
    ("csinodes.storage.k8s.io", Omission::ClusterState),
    ("csistoragecapacities.storage.k8s.io", Omission::ClusterState),
    ("volumeattachments.storage.k8s.io", Omission::ClusterState),
    ("ipaddresses.networking.k8s.io", Omission::ClusterState),
    ("resourceslices.resource.k8s.io", Omission::ClusterState),
    ("storageversions.internal.apiserver.k8s.io", Omission::ClusterState),
    (
        "storageversionmigrations.storagemigration.k8s.io",
        Omission::ClusterState,
    ),
    ("nodes.metrics.k8s.io", Omission::ClusterState),
    ("pods.metrics.k8s.io", Omission::ClusterState),
    (
        "certificatesigningrequests.certificates.k8s.io",
        Omission::CertificateRequest,
    ),
    (
        "podcertificaterequests.certificates.k8s.io",
        Omission::CertificateRequest,
    ),
    ("certificaterequests.cert-manager.io", Omission::CertificateRequest),
    ("orders.acme.cert-manager.io", Omission::CertificateRequest),
    ("challenges.acme.cert-manager.io", Omission::CertificateRequest),
    ("volumesnapshots.snapshot.storage.k8s.io", Omission::DiskSnapshot),
    ("volumesnapshotcontents.snapshot.storage.k8s.io", Omission::DiskSnapshot),
    (
        "volumegroupsnapshots.groupsnapshot.storage.k8s.io",
        Omission::DiskSnapshot,
    ),
    (
        "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io",
        Omission::DiskSnapshot,
    ),
    ("backups.ararat.dev", Omission::BackupOperation),
    ("restores.ararat.dev", Omission::BackupOperation),
    ("podvolumebackups.ararat.dev", Omission::BackupOperation),
    ("podvolumerestores.ararat.dev", Omission::BackupOperation),
    ("deletebackuprequests.ararat.dev", Omission::BackupOperation),
    ("downloadrequests.ararat.dev", Omission::BackupOperation),
    ("backuprepositories.ararat.dev", Omission::BackupOperation),
    ("backups.velero.io", Omission::BackupOperation),
    ("restores.velero.io", Omission::BackupOperation),
    ("podvolumebackups.velero.io", Omission::BackupOperation),
    ("podvolumerestores.velero.io", Omission::BackupOperation),
    ("deletebackuprequests.velero.io", Omission::BackupOperation),
    ("downloadrequests.velero.io", Omission::BackupOperation),
    ("backuprepositories.velero.io", Omission::BackupOperation),
    ("resticrepositories.velero.io", Omission::BackupOperation),
    ("serverstatusrequests.velero.io", Omission::BackupOperation),
    ("datauploads.velero.io", Omission::BackupOperation),
    ("datadownloads.velero.io", Omission::BackupOperation),
];

/// Objects that every cluster has from its beginning: kind, namespace (`*` for each) and name.
const NAMES: &[(&str, &str, &str)] = &[
    ("namespaces", "", "default"),
    ("services", "default", "kubernetes"),
    ("endpoints", "default", "kubernetes"),
    ("endpointslices.discovery.k8s.io", "default", "kubernetes"),
    ("servicecidrs.networking.k8s.io", "", "kubernetes"),
    ("configmaps", "*", "kube-root-ca.crt"),
    ("configmaps", "*", "openshift-service-ca.crt"),
    ("priorityclasses.scheduling.k8s.io", "", "system-node-critical"),
    ("priorityclasses.scheduling.k8s.io", "", "system-cluster-critical"),
];

/// Namespaces of the cluster itself.
const SYSTEM: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];

/// Controllers of Kubernetes: what they own, they make.
const MAKERS: &[(&str, &str)] = &[
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("", "ReplicationController"),
    ("", "Service"),
];

/// Whether a namespace belongs to the cluster, or to the installation.
pub fn is_system(namespace: &str, installation: &str) -> bool {
    SYSTEM.contains(&namespace) || namespace == installation
}

/// Whether what is owned (with `controller: true`) by such an object is made by it: by the controllers of Kubernetes always, by others if it is a pod, which
/// holds nothing of its own. Secrets and settings that an operator owns hold what it would not make again.
pub fn is_made(resource: &str, owner_group: &str, owner_kind: &str) -> bool {
    if resource == "persistentvolumeclaims" {
        return false;
    }
    resource == "pods" || MAKERS.contains(&(owner_group, owner_kind))
}

/// The rule by which an object is left out, whatever else there is.
pub fn omits(resource: &str, namespace: &str, object: &Value) -> Option<Omission> {
    if let Some((_, omission)) = KINDS.iter().find(|(kind, _)| *kind == resource) {
        return Some(*omission);
    }
    let fits = |(kind, within, called): &&(&str, &str, &str)| {
        *kind == resource && (*within == "*" || *within == namespace) && *called == name(object)
    };
    if NAMES.iter().any(|line| fits(&line)) {
        return Some(Omission::MadeByCluster);
    }
    if text(object, "/metadata/deletionTimestamp").is_some() {
        return Some(Omission::BeingDeleted);
    }
    if label(object, "kubernetes.io/bootstrapping") == Some("rbac-defaults")
        || label(object, api::words::HOLDER).is_some()
    {
        return Some(Omission::MadeByCluster);
    }
    match resource {
        "pods" => pod(object),
        "jobs.batch" => job(object),
        "secrets" => secret(object),
        "persistentvolumes" => volume(object),
        "persistentvolumeclaims" => claim(object),
        "endpointslices.discovery.k8s.io" => slice(object),
        "apiservices.apiregistration.k8s.io" => api_service(object),
        "flowschemas.flowcontrol.apiserver.k8s.io" | "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io" => {
            let own = annotation(object, "apf.kubernetes.io/autoupdate-spec") == Some("true");
            own.then_some(Omission::MadeByCluster)
        }
        _ => None,
    }
}

fn pod(pod: &Value) -> Option<Omission> {
    if annotation(pod, "kubernetes.io/config.mirror").is_some()
        || items(pod, "/metadata/ownerReferences").any(|owner| text(owner, "/kind") == Some("Node"))
    {
        return Some(Omission::MirrorPod);
    }
    let phase = text(pod, "/status/phase").unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed").then_some(Omission::Finished)
}

fn job(job: &Value) -> Option<Omission> {
    let over = |condition: &Value| {
        matches!(text(condition, "/type"), Some("Complete" | "Failed")) && text(condition, "/status") == Some("True")
    };
    let finished = text(job, "/status/completionTime").is_some() || items(job, "/status/conditions").any(over);
    finished.then_some(Omission::Finished)
}

/// A token that was made for an account by itself is named after the account; one that a person asked for has a name of its own, and gets a new token.
fn secret(secret: &Value) -> Option<Omission> {
    if text(secret, "/type") != Some("kubernetes.io/service-account-token") {
        return None;
    }
    let account = annotation(secret, "kubernetes.io/service-account.name")?;
    let rest = name(secret).strip_prefix(account)?.strip_prefix("-token-")?;
    (rest.len() == 5).then_some(Omission::AccountToken)
}

fn volume(volume: &Value) -> Option<Omission> {
    annotation(volume, "pv.kubernetes.io/provisioned-by").map(|_| Omission::DynamicVolume)
}

fn claim(claim: &Value) -> Option<Omission> {
    let of_pod = |owner: &Value| text(owner, "/kind") == Some("Pod") && is_true(owner, "/controller");
    items(claim, "/metadata/ownerReferences")
        .any(of_pod)
        .then_some(Omission::EphemeralClaim)
}

fn slice(slice: &Value) -> Option<Omission> {
    let manager = label(slice, "endpointslice.kubernetes.io/managed-by").unwrap_or_default();
    manager.ends_with(".k8s.io").then_some(Omission::MadeByController)
}

fn api_service(service: &Value) -> Option<Omission> {
    let automatic = label(service, "kube-aggregator.kubernetes.io/automanaged").is_some();
    (automatic || service.pointer("/spec/service").is_none_or(Value::is_null)).then_some(Omission::MadeByCluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_cluster_makes_or_what_is_over_does_not_come_back() {
        let table = [
            ("nodes", "", json!({}), Some(Omission::ClusterState)),
            (
                "leases.coordination.k8s.io",
                "web",
                json!({}),
                Some(Omission::ClusterState),
            ),
            (
                "orders.acme.cert-manager.io",
                "web",
                json!({}),
                Some(Omission::CertificateRequest),
            ),
            (
                "restores.ararat.dev",
                "ararat",
                json!({}),
                Some(Omission::BackupOperation),
            ),
            ("schedules.ararat.dev", "ararat", json!({}), None),
            (
                "configmaps",
                "web",
                json!({ "metadata": { "name": "kube-root-ca.crt" } }),
                Some(Omission::MadeByCluster),
            ),
            ("configmaps", "web", json!({ "metadata": { "name": "mine" } }), None),
            (
                "services",
                "default",
                json!({ "metadata": { "name": "kubernetes" } }),
                Some(Omission::MadeByCluster),
            ),
            ("services", "web", json!({ "metadata": { "name": "kubernetes" } }), None),
            (
                "configmaps",
                "web",
                json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }),
                Some(Omission::BeingDeleted),
            ),
            (
                "clusterroles.rbac.authorization.k8s.io",
                "",
                json!({ "metadata": { "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } } }),
                Some(Omission::MadeByCluster),
            ),
            (
                "pods",
                "web",
                json!({ "status": { "phase": "Succeeded" } }),
                Some(Omission::Finished),
            ),
            ("pods", "web", json!({ "status": { "phase": "Running" } }), None),
            (
                "pods",
                "web",
                json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } } }),
                Some(Omission::MirrorPod),
            ),
            (
                "jobs.batch",
                "web",
                json!({ "status": { "completionTime": "x" } }),
                Some(Omission::Finished),
            ),
            (
                "jobs.batch",
                "web",
                json!({ "status": { "conditions": [{ "type": "Failed", "status": "True" }] } }),
                Some(Omission::Finished),
            ),
            ("jobs.batch", "web", json!({ "status": { "active": 1 } }), None),
            (
                "persistentvolumes",
                "",
                json!({ "metadata": { "annotations": { "pv.kubernetes.io/provisioned-by": "x" } } }),
                Some(Omission::DynamicVolume),
            ),
            ("persistentvolumes", "", json!({ "spec": { "local": {} } }), None),
            (
                "persistentvolumeclaims",
                "web",
                json!({ "metadata": { "ownerReferences": [{ "kind": "Pod", "controller": true }] } }),
                Some(Omission::EphemeralClaim),
            ),
            (
                "endpointslices.discovery.k8s.io",
                "web",
                json!({ "metadata": { "labels": { "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" } } }),
                Some(Omission::MadeByController),
            ),
            (
                "apiservices.apiregistration.k8s.io",
                "",
                json!({ "spec": { "service": null } }),
                Some(Omission::MadeByCluster),
            ),
            (
                "apiservices.apiregistration.k8s.io",
                "",
                json!({ "spec": { "service": { "name": "x" } } }),
                None,
            ),
        ];
        for (resource, namespace, object, expected) in table {
            assert_eq!(omits(resource, namespace, &object), expected, "{resource} {object}");
        }
    }

    #[test]
    fn tokens_that_were_made_by_themselves_are_told_from_those_that_were_asked_for() {
        let token = |name: &str| {
            json!({ "type": "kubernetes.io/service-account-token",
                "metadata": { "name": name, "annotations": { "kubernetes.io/service-account.name": "default" } } })
        };
        assert_eq!(
            omits("secrets", "web", &token("default-token-abc12")),
            Some(Omission::AccountToken)
        );
        assert_eq!(omits("secrets", "web", &token("for-the-pipeline")), None);
    }

    #[test]
    fn pods_are_made_by_any_controller_and_other_things_by_those_of_kubernetes() {
        assert!(is_made("pods", "postgresql.example.org", "Cluster"));
        assert!(is_made("replicasets.apps", "apps", "Deployment"));
        assert!(is_made("controllerrevisions.apps", "apps", "StatefulSet"));
        assert!(!is_made("secrets", "postgresql.example.org", "Cluster"));
        assert!(!is_made("persistentvolumeclaims", "apps", "StatefulSet"));
    }
}
