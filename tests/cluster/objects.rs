//! Objects alone: many, of own kinds, owned by one another, with rights and webhooks; into the same and into another namespace.

use std::time::Duration;

use crate::bench::{self, spotless};
use crate::kubernetes::{Kubernetes, number, text, wait};
use crate::space::Space;

/// Words, keys and rights of an application, with a kind of its own; `NAMESPACE` is put in by the story.
const APPLICATION: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: clerk, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-nodes}
rules: [{apiGroups: [''], resources: [nodes], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-nodes}
subjects: [{kind: ServiceAccount, name: clerk, namespace: NAMESPACE}]
---
apiVersion: v1
kind: Service
metadata: {name: chosen}
spec: {type: NodePort, selector: {app: x}, ports: [{port: 80, nodePort: 30123}]}
---
apiVersion: v1
kind: Service
metadata: {name: given}
spec: {type: NodePort, selector: {app: x}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: x}, ports: [{port: 80}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 3 * * *'
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: localhost/busybox, imagePullPolicy: Never}]}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: budget}
spec: {minAvailable: 1, selector: {matchLabels: {app: x}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door}
spec: {rules: [{host: door.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: given, port: {number: 80}}}}]}}]}
";

/// A kind of the application's own, with a status and a rule.
const KIND: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.stories.example}
spec:
  group: stories.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}, status: {type: object, properties: {level: {type: integer}}}}}}
";

/// So many ConfigMaps and Secrets, in one list.
pub fn many(count: usize) -> String {
    let item = |number: usize| {
        let kind = if number.is_multiple_of(2) {
            "ConfigMap"
        } else {
            "Secret"
        };
        let field = if number.is_multiple_of(2) { "data" } else { "stringData" };
        format!(
            "- {{apiVersion: v1, kind: {kind}, metadata: {{name: item-{number:05}, labels: {{story: many}}}}, {field}: {{text: 'the text of {number}'}}}}\n"
        )
    };
    "apiVersion: v1\nkind: List\nitems:\n".to_owned() + &(0..count).map(item).collect::<String>()
}

/// Widgets, one owning the other and a ConfigMap, with a status on the first.
fn widgets(cluster: &Kubernetes, namespace: &str) {
    cluster.apply(namespace, KIND);
    cluster
        .kubectl("wait --for=condition=Established crd/widgets.stories.example --timeout=60s")
        .ok();
    cluster.apply(
        namespace,
        "
apiVersion: stories.example/v1
kind: Widget
metadata: {name: parent}
spec: {size: 7}
",
    );
    let parent = text(&cluster.get(&format!("widget -n {namespace} parent")), "/metadata/uid");
    let owners = format!(
        "[{{apiVersion: stories.example/v1, kind: Widget, name: parent, uid: {parent}, controller: true, blockOwnerDeletion: true}}]"
    );
    cluster.apply(
        namespace,
        &format!(
            "
apiVersion: stories.example/v1
kind: Widget
metadata: {{name: child, ownerReferences: {owners}}}
spec: {{size: 1}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: owned, ownerReferences: {owners}}}
data: {{a: b}}
"
        ),
    );
    let status = "patch widget parent --subresource=status --type=merge -p '{\"status\":{\"level\":42}}'";
    cluster.kubectl(&format!("-n {namespace} {status}")).ok();
}

#[test]
fn an_application_comes_back_whole_with_its_kind_rights_and_owners() {
    // A kind goes and comes: a backup beside it would warn of that.
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("whole"));
    let name = space.name.clone();
    cluster.apply(&name, &APPLICATION.replace("NAMESPACE", &name));
    widgets(cluster, &name);
    cluster.create(&name, &many(300));
    // Not applied: only its managed fields say that a person has chosen.
    cluster
        .kubectl(&format!(
            "create service nodeport -n {name} made --tcp=80 --node-port=30125"
        ))
        .ok();
    let ports = |object: &str| {
        text(
            &cluster.get(&format!("service -n {name} {object}")),
            "/spec/ports/0/nodePort",
        )
    };
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    let backup = cluster.object("backup", &name);
    spotless(cluster, &backup);
    // What is asked for by the names of namespaces brings along what it needs of the cluster, and no more.
    let resources = cluster.ararat(&format!("backup describe {name} --details")).ok();
    let resources = resources.says(&["widgets.stories.example", &format!("{name}-nodes"), "item-00299"]);
    resources.hides(&["system:node"]);

    space.destroy();
    cluster
        .kubectl(&format!(
            "delete crd/widgets.stories.example clusterrole/{name}-nodes clusterrolebinding/{name}-nodes"
        ))
        .ok();
    cluster
        .ararat(&format!(
            "restore create {name} --from-backup {name} --restore-status widgets.stories.example --wait"
        ))
        .ok();
    let restore = cluster.object("restore", &name);
    spotless(cluster, &restore);
    assert_eq!(
        cluster
            .names(&format!("configmaps,secrets -n {name} -l story=many"))
            .len(),
        300
    );
    assert_eq!(
        text(&cluster.get(&format!("secret -n {name} item-00299")), "/data/text"),
        "dGhlIHRleHQgb2YgMjk5"
    );
    let parent = cluster.get(&format!("widget -n {name} parent"));
    assert_eq!(number(&parent, "/status/level"), 42);
    for owned in ["widget child", "configmap owned"] {
        let owned = cluster.get(&format!("-n {name} {owned}"));
        assert_eq!(
            owned["metadata"]["ownerReferences"][0]["uid"], parent["metadata"]["uid"],
            "{owned:#}"
        );
    }
    let may = |verb: &str| {
        cluster
            .kubectl(&format!("auth can-i {verb} --as system:serviceaccount:{name}:clerk"))
            .code
            == 0
    };
    assert!(may(&format!("list configmaps -n {name}")) && may("get nodes") && !may(&format!("get secrets -n {name}")));
    assert_eq!([ports("chosen"), ports("made")], ["30123", "30125"]);
    assert!(!ports("given").is_empty());
    assert_eq!(
        text(&cluster.get(&format!("service -n {name} headless")), "/spec/clusterIP"),
        "None"
    );
    assert_eq!(
        text(&cluster.get(&format!("cronjob -n {name} nightly")), "/spec/suspend"),
        "true"
    );

    // Once more: everything is there, nothing is changed, and nobody is warned of what every cluster makes by itself.
    cluster
        .ararat(&format!("restore create {name}-again --from-backup {name} --wait"))
        .ok()
        .hides(&["kube-root-ca.crt"]);
    let again = cluster.object("restore", &format!("{name}-again"));
    spotless(cluster, &again);
    assert_eq!(
        (
            number(&again, "/status/progress/created"),
            number(&again, "/status/progress/updated")
        ),
        (0, 0),
        "{again:#}"
    );
    assert!(number(&again, "/status/progress/unchanged") > 300);
    assert_eq!(
        number(&again, "/status/progress/itemsRestored"),
        number(&again, "/status/progress/totalItems")
    );
    cluster
        .kubectl(&format!(
            "delete clusterrole/{name}-nodes clusterrolebinding/{name}-nodes"
        ))
        .ok();
}

#[test]
fn another_namespace_gets_what_pointed_to_the_first() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("moved"));
    let name = space.name.clone();
    cluster.apply(
        &name,
        &APPLICATION.replace("NAMESPACE", &name).replace("30123", "30124"),
    );
    let ports = |namespace: &str| {
        text(
            &cluster.get(&format!("service -n {namespace} given")),
            "/spec/ports/0/nodePort",
        )
    };
    cluster.ararat(&format!("backup create {name} --include-namespaces {name} --exclude-resources services,clusterroles,clusterrolebindings --wait")).ok();
    let elsewhere = Space::awaited(cluster, &format!("{name}-there"));
    let there = elsewhere.name.clone();
    cluster
        .ararat(&format!(
            "restore create {name} --from-backup {name} --namespace-mappings {name}:{there} --wait"
        ))
        .ok();
    // What only one of the two can have is kept, and said.
    let restore = cluster.object("restore", &name);
    assert_eq!(
        (number(&restore, "/status/errors"), number(&restore, "/status/warnings")),
        (0, 1),
        "{restore:#}"
    );
    cluster
        .ararat(&format!("restore describe {name}"))
        .ok()
        .says(&["door.example"]);
    let subject = cluster.get(&format!("rolebinding -n {there} reader"));
    assert_eq!(text(&subject, "/subjects/0/namespace"), there);
    assert!(cluster.find(&format!("service -n {there} given")).is_none());
    assert!(!ports(&name).is_empty());
    cluster
        .kubectl(&format!(
            "delete clusterrole/{name}-nodes clusterrolebinding/{name}-nodes"
        ))
        .ok();
}

#[test]
fn webhooks_come_last_and_one_that_fails_at_first_is_waited_for() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::labelled(cluster, &story.name("webhook"), &["story=webhook"]);
    let name = space.name.clone();
    cluster.create(&name, &many(40).replace("story: many", "story: webhook"));
    // It asks a service that nobody stands behind, and says no to everything.
    let hook = format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {name}, labels: {{story: webhook}}}}
webhooks:
- name: check.stories.example
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 2
  clientConfig: {{service: {{namespace: {name}, name: nobody}}, caBundle: ''}}
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}
  rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps, secrets]}}]
"
    );
    cluster.apply(&name, &hook);
    cluster
        .ararat(&format!(
            "backup create {name} --selector story=webhook --include-cluster-resources=true --wait"
        ))
        .ok();
    let forget = format!("delete validatingwebhookconfiguration {name}");
    cluster.kubectl(&forget).ok();
    space.destroy();
    // It is among what comes back, after what it would have refused.
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", &name));
    assert!(
        cluster
            .find(&format!("validatingwebhookconfiguration {name}"))
            .is_some()
    );
    assert_eq!(
        cluster
            .names(&format!("configmaps,secrets -n {name} -l story=webhook"))
            .len(),
        40
    );

    // It is there before, refuses, and after a while does not any more.
    let gone = format!("delete configmaps,secrets -n {name} -l story=webhook");
    cluster.kubectl(&gone).ok();
    cluster
        .ararat(&format!(
            "restore create {name}-refused --from-backup {name} --include-resources configmaps,secrets"
        ))
        .ok();
    wait("the restore to begin", Duration::from_secs(30), || {
        (cluster.phase("restore", &format!("{name}-refused")) == "InProgress").then_some(())
    });
    std::thread::sleep(Duration::from_secs(4));
    cluster.kubectl(&forget).ok();
    let refused = cluster.ended("restore", &format!("{name}-refused"), Duration::from_secs(120));
    assert_eq!(
        (
            text(&refused, "/status/phase").as_str(),
            number(&refused, "/status/errors")
        ),
        ("Completed", 0),
        "{refused:#}"
    );
    assert_eq!(
        cluster
            .names(&format!("configmaps,secrets -n {name} -l story=webhook"))
            .len(),
        40
    );
}
