//! A namespace that admits restricted pods only: what Ararat puts there must pass, and what comes back must still be the user's.

use crate::bench::{self, spotless};
use crate::content;
use crate::guide::nothing_left;
use crate::space::Space;

const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";

/// A StatefulSet as a restricted namespace admits it: non-root, with a group for its files.
fn stateful(class: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: ledger, labels: {{app: ledger}}}}
spec:
  serviceName: ledger
  replicas: 1
  selector: {{matchLabels: {{app: ledger}}}}
  template:
    metadata: {{labels: {{app: ledger}}}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {{runAsNonRoot: true, runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: main
        image: localhost/busybox
        imagePullPolicy: Never
        command: [sleep, '999999']
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
"
    )
}

#[test]
fn a_restricted_namespace_comes_back_with_its_owners_and_groups() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::labelled(cluster, &story.name("restricted"), &[RESTRICTED]);
    // Claims that wait for their first consumer: on the restore that is a holder pod.
    cluster.apply(&space.name, &stateful(&cluster.late()));
    cluster.rolled_out(&space.name, "statefulset/ledger");
    content::fill(cluster, &space.name, "ledger-0", "/data");
    // The kubelet gives files to the group when it mounts; after this start nothing changes any more.
    cluster
        .kubectl(&format!("delete pod -n {} ledger-0 --timeout=60s", space.name))
        .ok();
    cluster.rolled_out(&space.name, "statefulset/ledger");
    let before = content::listing(cluster, &space.name, "ledger-0", "/data");

    let backup = story.name("restricted");
    cluster
        .ararat(&format!(
            "backup create {backup} --include-namespaces {} --wait",
            space.name
        ))
        .ok();
    spotless(cluster, &cluster.object("backup", &backup));
    space.destroy();
    cluster
        .ararat(&format!("restore create {backup} --from-backup {backup} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", &backup));

    cluster.rolled_out(&space.name, "statefulset/ledger");
    let labels = cluster.get(&format!("namespace {}", space.name))["metadata"]["labels"].to_string();
    assert!(labels.contains("restricted"), "{labels}");
    let after = content::listing(cluster, &space.name, "ledger-0", "/data");
    content::assert_same(&before, &after);
    cluster.shell(
        &space.name,
        "ledger-0",
        "echo more >>/data/texts/hello && rm /data/random",
    );
    nothing_left(cluster, &space.name);
}

#[test]
fn the_members_of_a_stateful_set_get_their_own_volumes_back() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("members"));
    cluster.apply(
        &space.name,
        &stateful(cluster.class).replace("replicas: 1", "replicas: 3"),
    );
    cluster.rolled_out(&space.name, "statefulset/ledger");
    for member in 0..3 {
        cluster.shell(
            &space.name,
            &format!("ledger-{member}"),
            &format!("echo {member} >/data/number"),
        );
    }
    let backup = story.name("members");
    cluster
        .ararat(&format!(
            "backup create {backup} --include-namespaces {} --wait",
            space.name
        ))
        .ok();
    let elsewhere = Space::awaited(cluster, &format!("{}-again", space.name));
    let line = format!(
        "restore create {backup} --from-backup {backup} --namespace-mappings {}:{} --storage-class-mappings {}:{} --wait",
        space.name,
        elsewhere.name,
        cluster.class,
        cluster.late()
    );
    cluster.ararat(&line).ok();
    spotless(cluster, &cluster.object("restore", &backup));
    cluster.rolled_out(&elsewhere.name, "statefulset/ledger");
    for member in 0..3 {
        let number = cluster.shell(&elsewhere.name, &format!("ledger-{member}"), "cat /data/number");
        assert_eq!(number, format!("{member}\n"));
    }
    let claims = cluster.list(&format!("pvc -n {}", elsewhere.name));
    assert!(
        claims.len() == 3
            && claims
                .iter()
                .all(|claim| claim["spec"]["storageClassName"] == cluster.late().as_str())
    );
    nothing_left(cluster, &elsewhere.name);
}
