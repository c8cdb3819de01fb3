//! What a plan decides, in tables over small backups.
#![allow(clippy::unwrap_used, reason = "tests")]

use api::RestoreSpec;
use serde_json::{Value, json};

use super::super::facts::{Looked, Names};
use super::*;

/// A plan over objects: resource, namespace, name, and what else it has. Its UID is its name.
pub fn plan(spec: &RestoreSpec, objects: &[(&str, &str, &str, Value)]) -> Plan {
    let selection = Selection::of_restore(spec).unwrap();
    let mut objects: Vec<_> = objects.to_vec();
    objects.sort_by(|left, right| (left.0, left.1, left.2).cmp(&(right.0, right.1, right.2)));
    let (mut names, mut kinds, mut facts) = (Names::default(), BTreeMap::new(), Vec::new());
    for (resource, namespace, name, mut object) in objects {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let kind = Kind {
            group: group.into(),
            version: "v1".into(),
            kind: plural.trim_end_matches('s').into(),
            plural: plural.into(),
            short: Vec::new(),
            namespaced: !namespace.is_empty(),
        };
        object["metadata"]["uid"] = json!(name);
        object["metadata"]["name"] = json!(name);
        let looked = Looked {
            selection: &selection,
            kind: &kind,
            installation: "ararat",
            is_named: &|_| false,
            nodes: &crate::cluster::nodes::Nodes::default(),
        };
        let resource = names.keep(resource);
        facts.push(Facts::of(&resource, &names.keep(namespace), name, &object, &looked));
        kinds.insert(resource, kind);
    }
    Plan::new(facts, kinds, &selection, &Mapping::new(spec))
}

fn about(item: &Item) -> String {
    super::super::facts::about(&item.facts.resource, &item.facts.namespace, &item.facts.name)
}

fn find(plan: &Plan, wanted: &str) -> usize {
    plan.items.iter().position(|item| about(item) == wanted).unwrap()
}

fn restored(plan: &Plan) -> Vec<String> {
    let mut items: Vec<&Item> = plan.restored().map(|(_, item)| item).collect();
    items.sort_by_key(|item| item.level);
    items.iter().map(|item| about(item)).collect()
}

fn owned(kind: &str, version: &str, uid: &str) -> Value {
    json!({ "metadata": { "ownerReferences": [{ "apiVersion": version, "kind": kind, "name": uid, "uid": uid, "controller": true }] } })
}

fn application() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    vec![
        ("namespaces", "", "web", json!({})),
        (
            "deployments.apps",
            "web",
            "app",
            json!({ "spec": { "template": { "spec": { "volumes": [{ "persistentVolumeClaim": { "claimName": "data" } }] } } } }),
        ),
        (
            "replicasets.apps",
            "web",
            "app-1",
            owned("Deployment", "apps/v1", "app"),
        ),
        ("pods", "web", "app-1-x", owned("ReplicaSet", "apps/v1", "app-1")),
        ("pods", "web", "bare", json!({})),
        (
            "persistentvolumeclaims",
            "web",
            "data",
            json!({ "spec": { "storageClassName": "fast", "volumeName": "pv-1" } }),
        ),
        (
            "persistentvolumes",
            "",
            "pv-1",
            json!({ "metadata": { "annotations": { "pv.kubernetes.io/provisioned-by": "csi" } } }),
        ),
        ("storageclasses.storage.k8s.io", "", "fast", json!({})),
        ("storageclasses.storage.k8s.io", "", "slow", json!({})),
        (
            "services",
            "web",
            "app",
            json!({ "spec": { "selector": { "app": "app" } } }),
        ),
        ("endpoints", "web", "app", json!({})),
        ("endpoints", "web", "outside", json!({})),
        ("services", "web", "outside", json!({ "spec": {} })),
        (
            "endpointslices.discovery.k8s.io",
            "web",
            "outside-1",
            owned("Service", "v1", "outside"),
        ),
        (
            "endpointslices.discovery.k8s.io",
            "web",
            "app-1",
            owned("Service", "v1", "app"),
        ),
    ]
}

#[test]
fn controllers_come_back_and_make_what_is_theirs() {
    let plan = plan(&RestoreSpec::default(), &application());
    assert_eq!(
        restored(&plan),
        [
            "namespaces/web",
            "storageclasses.storage.k8s.io/fast",
            "storageclasses.storage.k8s.io/slow",
            "persistentvolumeclaims/web/data",
            "services/web/app",
            "services/web/outside",
            "endpoints/web/outside",
            "endpointslices.discovery.k8s.io/web/outside-1",
            "deployments.apps/web/app",
            "pods/web/bare",
        ]
    );
    let omitted = plan.omitted();
    assert_eq!(
        (omitted[&Omission::MadeByController], omitted[&Omission::DynamicVolume]),
        (4, 1)
    );
}

#[test]
fn kinds_that_are_named_come_back_though_their_controllers_do() {
    let spec = RestoreSpec {
        included_resources: vec!["pods".into()],
        ..RestoreSpec::default()
    };
    // The claims of pods are not among what is named.
    assert_eq!(
        restored(&plan(&spec, &application())),
        ["namespaces/web", "pods/web/app-1-x", "pods/web/bare"]
    );
}

#[test]
fn what_is_selected_brings_what_it_cannot_be_without() {
    let mut objects = application();
    objects[1].3["metadata"] = json!({ "labels": { "app": "app" } });
    let spec = RestoreSpec {
        label_selector: Some(serde_json::from_value(json!({ "matchLabels": { "app": "app" } })).unwrap()),
        ..RestoreSpec::default()
    };
    let expected = [
        "namespaces/web",
        "storageclasses.storage.k8s.io/fast",
        "persistentvolumeclaims/web/data",
        "deployments.apps/web/app",
    ];
    assert_eq!(restored(&plan(&spec, &objects)), expected);
    let without = RestoreSpec {
        include_cluster_resources: Some(false),
        ..spec
    };
    let expected = [
        "namespaces/web",
        "persistentvolumeclaims/web/data",
        "deployments.apps/web/app",
    ];
    assert_eq!(restored(&plan(&without, &objects)), expected);
}

#[test]
fn claims_of_a_set_and_the_definition_of_a_kind_come_with_them() {
    let objects = [
        (
            "customresourcedefinitions.apiextensions.k8s.io",
            "",
            "widgets.example.org",
            json!({}),
        ),
        ("widgets.example.org", "web", "one", json!({})),
        (
            "statefulsets.apps",
            "web",
            "db",
            json!({ "spec": { "template": {}, "volumeClaimTemplates": [{ "metadata": { "name": "data" } }] } }),
        ),
        ("persistentvolumeclaims", "web", "data-db-0", json!({})),
        ("persistentvolumeclaims", "web", "data-db-10", json!({})),
        ("persistentvolumeclaims", "web", "data-db-other", json!({})),
    ];
    let named = |name: &str| {
        let spec = RestoreSpec {
            included_names: vec![name.into()],
            ..RestoreSpec::default()
        };
        restored(&plan(&spec, &objects))
    };
    assert_eq!(
        named("db"),
        [
            "persistentvolumeclaims/web/data-db-0",
            "persistentvolumeclaims/web/data-db-10",
            "statefulsets.apps/web/db"
        ]
    );
    assert_eq!(
        named("one"),
        [
            "customresourcedefinitions.apiextensions.k8s.io/widgets.example.org",
            "widgets.example.org/web/one"
        ]
    );
    let kind = RestoreSpec {
        included_resources: vec!["widgets.example.org".into()],
        ..RestoreSpec::default()
    };
    assert_eq!(restored(&plan(&kind, &objects)).len(), 2);
}

#[test]
fn owners_stand_above_what_is_theirs() {
    let objects = [
        ("clusters.example.org", "db", "main", json!({})),
        (
            "configs.example.org",
            "db",
            "a",
            owned("Cluster", "example.org/v1", "main"),
        ),
        ("secrets", "db", "password", owned("Cluster", "example.org/v1", "main")),
        ("pods", "db", "main-1", owned("Cluster", "example.org/v1", "main")),
    ];
    let plan = plan(&RestoreSpec::default(), &objects);
    assert_eq!(
        restored(&plan),
        [
            "secrets/db/password",
            "clusters.example.org/db/main",
            "configs.example.org/db/a"
        ]
    );
    assert_eq!(about(plan.by_uid("main").unwrap().1), "clusters.example.org/db/main");
}

#[test]
fn namespaces_get_their_new_names_and_mapped_classes_stay_away() {
    let spec = RestoreSpec {
        namespace_mapping: BTreeMap::from([("web".to_owned(), "web2".to_owned())]),
        storage_class_mapping: BTreeMap::from([("fast".to_owned(), "slow".to_owned())]),
        ..RestoreSpec::default()
    };
    let plan = plan(&spec, &application());
    let mapping = Mapping::new(&spec);
    let place = find(&plan, "namespaces/web");
    assert_eq!(plan.items[place].about(&mapping), "namespaces/web2");
    assert_eq!(plan.namespaces.iter().map(|name| &**name).collect::<Vec<_>>(), ["web2"]);
    let fast = find(&plan, "storageclasses.storage.k8s.io/fast");
    assert_eq!(plan.items[fast].fate, Fate::Omitted(Omission::ClassMapped));
}
