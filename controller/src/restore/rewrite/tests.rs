//! The rules of every kind, as a table: an object as the backup has it, and as it is made.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use api::RestoreSpec;
use serde_json::{Value, json};

use super::*;

fn circumstances() -> Circumstances {
    let spec = RestoreSpec {
        namespace_mapping: BTreeMap::from([("web".to_owned(), "web2".to_owned())]),
        storage_class_mapping: BTreeMap::from([("fast".to_owned(), "ssd".to_owned())]),
        ..RestoreSpec::default()
    };
    let mut nodes = Nodes::default();
    nodes.add(&json!({ "metadata": { "name": "here" } }));
    Circumstances {
        mapping: Mapping::new(&spec),
        volumes: RwLock::new(BTreeSet::from(["static".into()])),
        nodes,
        default_class: Some("ssd".to_owned()),
        ..Circumstances::default()
    }
}

fn made(resource: &str, object: Value) -> Rewritten {
    rewrite(resource, object, &circumstances())
}

/// One line of the table: kind, before, after, and the reasons of what a person is told.
fn holds(resource: &str, before: Value, after: Value, notes: &[&str]) {
    let made = made(resource, before.clone());
    assert_eq!(made.object, after, "{resource} {before}");
    assert_eq!(
        made.notes.iter().map(|note| note.reason).collect::<Vec<_>>(),
        notes,
        "{resource} {before}"
    );
}

#[test]
fn what_belongs_to_one_life_of_an_object_goes() {
    let object = json!({
        "metadata": { "name": "x", "namespace": "web", "uid": "1", "resourceVersion": "2", "generation": 3, "creationTimestamp": "t", "selfLink": "s",
            "generateName": "x-", "managedFields": [], "ownerReferences": [{ "uid": "9" }], "finalizers": ["orphan", "example.org/mine"],
            "labels": { "ararat.dev/restore-name": "old", "app": "x" }, "annotations": { "ararat.dev/restore-uid": "old" } },
        "status": { "ready": true } });
    let made = made("widgets.example.org", object);
    let expected = json!({ "metadata": { "name": "x", "namespace": "web2", "finalizers": ["example.org/mine"], "labels": { "app": "x" } } });
    assert_eq!(made.object, expected);
    assert_eq!((made.owners.len(), made.status), (1, Some(json!({ "ready": true }))));
}

#[test]
fn pods_find_a_node_and_get_new_tokens() {
    let before = json!({ "spec": { "nodeName": "gone", "priority": 5, "priorityClassName": "high", "preemptionPolicy": "Never", "ephemeralContainers": [{}],
        "serviceAccountName": "app", "nodeSelector": { "kubernetes.io/hostname": "gone" },
        "initContainers": [{ "name": "restore-wait" }],
        "containers": [{ "name": "a", "volumeMounts": [{ "name": "kube-api-access-x" }, { "name": "data" }, { "name": "app-token-12345" }] }],
        "volumes": [{ "name": "kube-api-access-x", "projected": { "sources": [{ "serviceAccountToken": {} }] } }, { "name": "data" },
            { "name": "app-token-12345", "secret": {} }] } });
    let after = json!({ "spec": { "priorityClassName": "high", "serviceAccountName": "app",
        "containers": [{ "name": "a", "volumeMounts": [{ "name": "data" }] }], "volumes": [{ "name": "data" }] } });
    holds("pods", before, after, &["NodeAbsent"]);
}

#[test]
fn bonds_to_nodes_that_are_here_stay() {
    let template = |node: &str| {
        json!({ "spec": { "template": { "spec": { "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] }] } } } } } } })
    };
    holds("daemonsets.apps", template("here"), template("here"), &[]);
    holds(
        "daemonsets.apps",
        template("gone"),
        json!({ "spec": { "template": { "spec": {} } } }),
        &["NodeAbsent"],
    );
}

#[test]
fn services_keep_what_a_person_has_chosen() {
    let applied = |text: &str| json!({ "kubectl.kubernetes.io/last-applied-configuration": text });
    let table = [
        (
            json!({ "spec": { "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{ "port": 80, "nodePort": 30001 }], "healthCheckNodePort": 30002 } }),
            json!({ "spec": { "ports": [{ "port": 80 }] } }),
        ),
        (
            json!({ "spec": { "clusterIP": "None", "clusterIPs": ["None"] } }),
            json!({ "spec": { "clusterIP": "None", "clusterIPs": ["None"] } }),
        ),
        (
            json!({ "spec": { "externalName": "db.web.svc.cluster.local" } }),
            json!({ "spec": { "externalName": "db.web2.svc.cluster.local" } }),
        ),
        (
            json!({ "metadata": { "annotations": applied(r#"{"spec":{"healthCheckNodePort":null,"ports":[{"name":"a","port":80,"nodePort":30001},{"name":"b","port":81}]}}"#) },
                "spec": { "ports": [{ "name": "a", "port": 80, "nodePort": 30001 }, { "name": "b", "port": 81, "nodePort": 30003 }], "healthCheckNodePort": 30002 } }),
            json!({ "metadata": { "annotations": applied(r#"{"spec":{"healthCheckNodePort":null,"ports":[{"name":"a","port":80,"nodePort":30001},{"name":"b","port":81}]}}"#) },
                "spec": { "ports": [{ "name": "a", "port": 80, "nodePort": 30001 }, { "name": "b", "port": 81 }] } }),
        ),
        // Helm and server-side apply leave no annotation: who owns a field has sent it.
        (
            json!({ "metadata": { "managedFields": [
                    { "manager": "helm", "operation": "Update", "fieldsV1": { "f:spec": { "f:ports": { ".": {},
                        "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:nodePort": {} }, "k:{\"port\":81,\"protocol\":\"TCP\"}": { ".": {} } } } } },
                    { "manager": "cloud", "subresource": "status", "fieldsV1": { "f:spec": { "f:ports": { "k:{\"port\":81,\"protocol\":\"TCP\"}": { "f:nodePort": {} } } } } } ] },
                "spec": { "ports": [{ "port": 80, "nodePort": 30001 }, { "port": 80, "protocol": "UDP", "nodePort": 30002 }, { "port": 81, "nodePort": 30003 }] } }),
            json!({ "metadata": {}, "spec": { "ports": [{ "port": 80, "nodePort": 30001 }, { "port": 80, "protocol": "UDP" }, { "port": 81 }] } }),
        ),
    ];
    for (before, after) in table {
        holds("services", before, after, &[]);
    }
    let kept = Circumstances {
        preserve_node_ports: true,
        ..Circumstances::default()
    };
    let object = json!({ "spec": { "ports": [{ "port": 80, "nodePort": 30001 }] } });
    assert_eq!(rewrite("services", object.clone(), &kept).object, object);
}

#[test]
fn claims_are_provisioned_anew_unless_their_volume_comes_back() {
    let before = |volume: &str| {
        json!({ "metadata": { "annotations": { "pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/selected-node": "gone", "mine": "x" } },
            "spec": { "volumeName": volume, "storageClassName": "fast", "dataSource": {}, "dataSourceRef": {},
                "resources": { "requests": { "storage": "1Gi" } } },
            "status": { "capacity": { "storage": "2Gi" } } })
    };
    let after = json!({ "metadata": { "annotations": { "mine": "x" } },
        "spec": { "storageClassName": "ssd", "resources": { "requests": { "storage": "2Gi" } } } });
    holds("persistentvolumeclaims", before("pvc-1"), after, &["ClaimGrown"]);
    let kept = json!({ "metadata": { "annotations": { "mine": "x" } },
        "spec": { "volumeName": "static", "storageClassName": "ssd", "resources": { "requests": { "storage": "1Gi" } } } });
    holds("persistentvolumeclaims", before("static"), kept, &[]);
}

#[test]
fn volumes_wait_for_their_claim_and_classes_are_not_the_second_default() {
    holds(
        "persistentvolumes",
        json!({ "spec": { "claimRef": { "namespace": "web", "name": "data", "uid": "1", "resourceVersion": "2" }, "storageClassName": "fast",
            "csi": { "driver": "x", "nodeStageSecretRef": { "name": "s", "namespace": "web" } } } }),
        json!({ "spec": { "claimRef": { "namespace": "web2", "name": "data" }, "storageClassName": "ssd",
            "csi": { "driver": "x", "nodeStageSecretRef": { "name": "s", "namespace": "web2" } } } }),
        &[],
    );
    holds(
        "storageclasses.storage.k8s.io",
        json!({ "metadata": { "name": "slow", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
            "parameters": { "csi.storage.k8s.io/node-stage-secret-namespace": "web", "type": "web" } }),
        json!({ "metadata": { "name": "slow" }, "parameters": { "csi.storage.k8s.io/node-stage-secret-namespace": "web2", "type": "web" } }),
        &["DefaultClass"],
    );
}

#[test]
fn workloads_begin_anew() {
    let paused = made(
        "deployments.apps",
        json!({ "metadata": { "annotations": { "deployment.kubernetes.io/revision": "7" } }, "spec": { "paused": true } }),
    );
    assert!(paused.pause_later);
    assert_eq!(paused.object, json!({ "metadata": {}, "spec": {} }));
    let labels = || json!({ "controller-uid": "1", "batch.kubernetes.io/controller-uid": "1", "job-name": "x" });
    holds(
        "jobs.batch",
        json!({ "spec": { "selector": {}, "template": { "metadata": { "labels": labels() } } } }),
        json!({ "spec": { "template": { "metadata": { "labels": { "job-name": "x" } } } } }),
        &[],
    );
    let manual = json!({ "spec": { "manualSelector": true, "selector": {}, "template": { "metadata": { "labels": labels() } } } });
    holds("jobs.batch", manual.clone(), manual, &[]);
    holds(
        "statefulsets.apps",
        json!({ "spec": { "ordinals": { "start": 3 }, "volumeClaimTemplates": [{ "spec": { "storageClassName": "fast" }, "status": {} }] } }),
        json!({ "spec": { "ordinals": { "start": 3 }, "volumeClaimTemplates": [{ "spec": { "storageClassName": "ssd" } }] } }),
        &[],
    );
    let cron = made(
        "cronjobs.batch",
        json!({ "spec": {}, "status": { "lastScheduleTime": "2020-01-01T00:00:00Z", "active": [{}] } }),
    );
    assert_eq!(cron.status, None);
    holds(
        "horizontalpodautoscalers.autoscaling",
        json!({ "apiVersion": "autoscaling/v1", "metadata": { "annotations": { "autoscaling.alpha.kubernetes.io/conditions": "[]" } }, "status": { "currentReplicas": 9 } }),
        json!({ "apiVersion": "autoscaling/v1", "metadata": {} }),
        &[],
    );
}

#[test]
fn accounts_and_bindings_follow_their_namespace() {
    holds(
        "serviceaccounts",
        json!({ "metadata": { "name": "app" }, "secrets": [{ "name": "app-token-abcde" }], "imagePullSecrets": [{ "name": "registry" }, { "name": "app-dockercfg-abcde" }] }),
        json!({ "metadata": { "name": "app" }, "imagePullSecrets": [{ "name": "registry" }] }),
        &[],
    );
    holds(
        "secrets",
        json!({ "type": "kubernetes.io/service-account-token", "metadata": { "annotations": { "kubernetes.io/service-account.uid": "1", "kubernetes.io/service-account.name": "app" } },
            "data": { "token": "t", "ca.crt": "c", "namespace": "n" } }),
        json!({ "type": "kubernetes.io/service-account-token", "metadata": { "annotations": { "kubernetes.io/service-account.name": "app" } } }),
        &[],
    );
    holds(
        "clusterrolebindings.rbac.authorization.k8s.io",
        json!({ "subjects": [{ "kind": "ServiceAccount", "name": "app", "namespace": "web" }, { "kind": "Group", "name": "system:serviceaccounts:web" }, { "kind": "User", "name": "jane" }] }),
        json!({ "subjects": [{ "kind": "ServiceAccount", "name": "app", "namespace": "web2" }, { "kind": "Group", "name": "system:serviceaccounts:web2" }, { "kind": "User", "name": "jane" }] }),
        &[],
    );
}

#[test]
fn references_into_namespaces_are_mapped_wherever_they_are() {
    let selector = |name: &str| json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
    holds(
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        json!({ "webhooks": [{ "sideEffects": "Unknown", "clientConfig": { "service": { "namespace": "web" } }, "namespaceSelector": selector("web") }] }),
        json!({ "webhooks": [{ "sideEffects": "None", "clientConfig": { "service": { "namespace": "web2" } }, "namespaceSelector": selector("web2") }] }),
        &[],
    );
    holds(
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        json!({ "spec": { "paramRef": { "namespace": "web" }, "matchResources": { "namespaceSelector": selector("web") } } }),
        json!({ "spec": { "paramRef": { "namespace": "web2" }, "matchResources": { "namespaceSelector": selector("web2") } } }),
        &[],
    );
    holds(
        "networkpolicies.networking.k8s.io",
        json!({ "spec": { "ingress": [{ "from": [{ "namespaceSelector": selector("web") }] }], "egress": [{ "to": [{ "namespaceSelector": selector("other") }] }] } }),
        json!({ "spec": { "ingress": [{ "from": [{ "namespaceSelector": selector("web2") }] }], "egress": [{ "to": [{ "namespaceSelector": selector("other") }] }] } }),
        &[],
    );
    holds(
        "httproutes.gateway.networking.k8s.io",
        json!({ "spec": { "parentRefs": [{ "namespace": "web", "name": "web" }], "hostnames": ["web"] } }),
        json!({ "spec": { "parentRefs": [{ "namespace": "web2", "name": "web" }], "hostnames": ["web"] } }),
        &[],
    );
    holds(
        "apiservices.apiregistration.k8s.io",
        json!({ "spec": { "service": { "namespace": "web" } } }),
        json!({ "spec": { "service": { "namespace": "web2" } } }),
        &[],
    );
    holds(
        "endpoints",
        json!({ "subsets": [{ "addresses": [{ "ip": "10.0.0.9", "targetRef": { "namespace": "web", "name": "x", "uid": "1" } }] }] }),
        json!({ "subsets": [{ "addresses": [{ "ip": "10.0.0.9", "targetRef": { "namespace": "web2", "name": "x" } }] }] }),
        &[],
    );
    holds(
        "namespaces",
        json!({ "metadata": { "name": "web", "labels": { "kubernetes.io/metadata.name": "web" } }, "spec": { "finalizers": ["kubernetes"] } }),
        json!({ "metadata": { "name": "web2" } }),
        &[],
    );
}

#[test]
fn hosts_are_kept_when_they_were_chosen_and_made_anew_when_not() {
    let ingress = json!({ "spec": { "rules": [{ "host": "www.example.org" }] } });
    holds("ingresses.networking.k8s.io", ingress.clone(), ingress, &["HostKept"]);
    holds(
        "routes.route.openshift.io",
        json!({ "metadata": { "annotations": { "openshift.io/host.generated": "true" } }, "spec": { "host": "x" } }),
        json!({ "metadata": {}, "spec": {} }),
        &[],
    );
}

#[test]
fn definitions_that_keep_unknown_fields_do_so_the_new_way() {
    holds(
        "customresourcedefinitions.apiextensions.k8s.io",
        json!({ "spec": { "preserveUnknownFields": true, "conversion": { "webhook": { "clientConfig": { "service": { "namespace": "web" } } } }, "versions": [{ "name": "v1" }] } }),
        json!({ "spec": { "conversion": { "webhook": { "clientConfig": { "service": { "namespace": "web2" } } } },
            "versions": [{ "name": "v1", "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] } }),
        &[],
    );
}

#[test]
fn pods_wait_for_their_own_volumes_as_the_user_of_their_files() {
    let mut pod = json!({ "spec": { "securityContext": { "runAsUser": 1000 }, "containers": [{ "name": "a" }], "initContainers": [{ "name": "first" }] } });
    wait_for_volumes(&mut pod, &["scratch"], "localhost/ararat", "Never");
    let names: Vec<&str> = fields::items(&pod, "/spec/initContainers")
        .filter_map(|container| fields::text(container, "/name"))
        .collect();
    assert_eq!(names, [WAIT, "first"]);
    let wait = &pod["spec"]["initContainers"][0];
    assert_eq!(
        wait["command"],
        json!(["/bin/ararat-agent", "wait", "/restores/scratch"])
    );
    assert_eq!(wait["securityContext"]["runAsUser"], json!(1000));
    stamp(&mut pod, "backup", "restore", "uid");
    assert_eq!(fields::annotation(&pod, words::RESTORE_UID), Some("uid"));
}

/// A claim that awaits its data may be backed up, and is compared with one that has it.
#[test]
fn what_a_restore_says_on_a_claim_is_not_part_of_it() {
    let claim = made(
        "persistentvolumeclaims",
        json!({ "metadata": { "name": "data", "annotations": { words::AWAITS_DATA: "u1", words::RESTORE_UID: "u1", "kept": "yes" } } }),
    );
    assert_eq!(claim.object["metadata"]["annotations"], json!({ "kept": "yes" }));
}

#[test]
fn what_is_made_is_the_same_when_it_is_made_again() {
    let object = json!({ "metadata": { "name": "a", "namespace": "other", "labels": { "x": "y" } }, "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80, "nodePort": 30001 }] } });
    let once = made("services", object).object;
    assert_eq!(made("services", once.clone()).object, once);
}
