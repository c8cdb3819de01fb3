//! Two nodes, and volumes that are on one of them alone: each is read by the agent of its node, and comes back on the node where its workload must run,
//! which only the workload says.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::bench::{self, Story, spotless};
use crate::command::{Ran, run};
use crate::content;
use crate::guide::nothing_left;
use crate::kubernetes::{Kubernetes, number, text, wait};
use crate::space::Space;
use crate::workload;

const FIRST: &str = "node1";
const SECOND: &str = "node2";

/// The second node, in the first cluster for as long as a story has it, which nobody may use but those who tolerate `only=this`.
struct SecondNode;

impl SecondNode {
    /// Joins it, and waits for its agent. Only for a story that is alone: others would get pods there.
    #[track_caller]
    fn join(story: &Story) -> Self {
        let cluster = &story.cluster;
        let node = Self;
        node.cluster("join").ok();
        cluster
            .kubectl(&format!("taint node {SECOND} only=this:NoSchedule"))
            .ok();
        wait("an agent on each node", Duration::from_secs(60), || {
            let agents = cluster.get("daemonset -n ararat ararat-agent");
            (number(&agents, "/status/numberReady") == 2).then_some(())
        });
        node
    }

    /// `tests/cluster/cluster VERB NODE`, which knows its cluster by the environment.
    #[track_caller]
    fn cluster(&self, verb: &str) -> Ran {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cluster/cluster"));
        command.args([verb, SECOND]);
        run(command, "", Duration::from_secs(180))
    }
}

impl Drop for SecondNode {
    fn drop(&mut self) {
        self.cluster("leave");
    }
}

/// A claim that is on one node alone, and the Deployment that mounts it.
fn local(cluster: &Kubernetes, name: &str) -> String {
    workload::claim(name, &cluster.local(), "Filesystem") + &workload::deployment(name, name)
}

/// The same on the second node, whose taint it tolerates.
fn local_on_second(cluster: &Kubernetes, name: &str) -> String {
    let tolerates = "tolerations: [{key: only, operator: Equal, value: this, effect: NoSchedule}]";
    local_with(
        cluster,
        name,
        &format!("nodeSelector: {{kubernetes.io/hostname: {SECOND}}}\n      {tolerates}"),
    )
}

/// The same with more in the spec of its pods.
fn local_with(cluster: &Kubernetes, name: &str, more: &str) -> String {
    let document = local(cluster, name);
    let placed = document.replace(
        "    spec:\n      terminationGracePeriodSeconds",
        &format!("    spec:\n      {more}\n      terminationGracePeriodSeconds"),
    );
    assert_ne!(placed, document);
    placed
}

/// The node that each claim of a namespace is on.
#[track_caller]
fn claims(cluster: &Kubernetes, namespace: &str) -> BTreeMap<String, String> {
    let claims = cluster.list(&format!("pvc -n {namespace}"));
    let node = |claim: &serde_json::Value| {
        assert_eq!(text(claim, "/status/phase"), "Bound", "{claim:#}");
        let volume = cluster.get(&format!("pv {}", text(claim, "/spec/volumeName")));
        let only = "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0";
        (text(claim, "/metadata/name"), text(&volume, only))
    };
    claims.iter().map(node).collect()
}

/// The node whose agent did each claim's part of a Backup (`podvolumebackups`, `backupName`) or Restore.
#[track_caller]
fn agents(cluster: &Kubernetes, kind: &str, owner: &str, name: &str) -> BTreeMap<String, String> {
    let parts = cluster.list(&format!("{kind} -n ararat"));
    let of_it = parts
        .iter()
        .filter(|part| text(part, &format!("/spec/{owner}")) == name);
    let node = |part: &serde_json::Value| {
        let source = text(part, "/spec/source");
        let claim = source.rsplit('/').next().unwrap_or_default().to_owned();
        (claim, text(part, "/spec/node"))
    };
    of_it.map(node).collect()
}

/// The claims with the node that each should be on.
fn placed<const COUNT: usize>(claims: [(&str, &str); COUNT]) -> BTreeMap<String, String> {
    claims.map(|(claim, node)| (claim.to_owned(), node.to_owned())).into()
}

/// Backs the namespace up, under its own name.
#[track_caller]
fn saved(cluster: &Kubernetes, name: &str) {
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("backup", name));
}

/// Restores it.
#[track_caller]
fn restored(cluster: &Kubernetes, name: &str) {
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", name));
}

#[test]
fn a_volume_of_one_node_comes_back_on_the_node_where_its_workload_must_run() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let _second = SecondNode::join(&story);
    let space = Space::new(cluster, &story.name("nodes"));
    let name = &space.name;
    // The taint keeps one away from the second node, the other one may be nowhere else.
    cluster.apply(name, &(local(cluster, "near") + &local_on_second(cluster, "far")));
    for app in ["near", "far"] {
        cluster.rolled_out(name, &format!("deploy/{app}"));
        content::fill(cluster, name, &format!("deploy/{app}"), "/data");
    }
    let listing = |app: &str| content::listing(cluster, name, &format!("deploy/{app}"), "/data");
    let before = ["near", "far"].map(listing);
    let expected = placed([("near", FIRST), ("far", SECOND)]);
    assert_eq!(claims(cluster, name), expected);

    saved(cluster, name);
    assert_eq!(agents(cluster, "podvolumebackups", "backupName", name), expected);

    space.destroy();
    restored(cluster, name);
    assert_eq!(claims(cluster, name), expected);
    assert_eq!(agents(cluster, "podvolumerestores", "restoreName", name), expected);
    for app in ["near", "far"] {
        cluster.rolled_out(name, &format!("deploy/{app}"));
    }
    for (before, app) in before.iter().zip(["near", "far"]) {
        content::assert_same(before, &listing(app));
    }
    nothing_left(cluster, name);
}

#[test]
fn a_volume_of_a_workload_that_sleeps_comes_back_on_the_node_where_it_will_run() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let _second = SecondNode::join(&story);
    let space = Space::new(cluster, &story.name("asleep"));
    let name = &space.name;
    cluster.apply(name, &local_on_second(cluster, "far"));
    cluster.rolled_out(name, "deploy/far");
    content::fill(cluster, name, "deploy/far", "/data");
    let before = content::listing(cluster, name, "deploy/far", "/data");
    let scale = |count: u8| {
        cluster
            .kubectl(&format!("scale -n {name} deploy/far --replicas {count}"))
            .ok()
    };
    scale(0);
    wait("the pod to go", Duration::from_secs(60), || {
        cluster.names(&format!("pods -n {name}")).is_empty().then_some(())
    });

    // Nobody mounts it: what reads it has to get to its node, past the taint.
    saved(cluster, name);
    let expected = placed([("far", SECOND)]);
    assert_eq!(agents(cluster, "podvolumebackups", "backupName", name), expected);
    nothing_left(cluster, name);

    space.destroy();
    restored(cluster, name);
    assert_eq!(claims(cluster, name), expected);
    nothing_left(cluster, name);
    assert!(cluster.names(&format!("pods -n {name}")).is_empty());
    scale(1);
    cluster.rolled_out(name, "deploy/far");
    content::assert_same(&before, &content::listing(cluster, name, "deploy/far", "/data"));
}

/// The bug: what a workload asks of nodes in its own cloud is on none in another one, and a pod that waits for such a node fills nothing.
#[test]
fn data_comes_back_where_no_node_fits_its_workload_and_waits_for_one() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("pool"));
    let name = &space.name;
    let label = |value: &str| {
        cluster
            .kubectl(&format!("label node {FIRST} stories.example/{name}{value}"))
            .ok()
    };
    label("=data");
    let asks = format!("nodeSelector: {{stories.example/{name}: data}}");
    cluster.apply(name, &local_with(cluster, "picky", &asks));
    cluster.rolled_out(name, "deploy/picky");
    content::fill(cluster, name, "deploy/picky", "/data");
    let before = content::listing(cluster, name, "deploy/picky", "/data");
    saved(cluster, name);

    space.destroy();
    label("-");
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} --wait"))
        .ok();
    cluster
        .ararat(&format!("restore describe {name}"))
        .ok()
        .says(&["NoNodeFits (1)", "picky"]);
    assert_eq!(claims(cluster, name), placed([("picky", FIRST)]));
    label("=data");
    cluster.rolled_out(name, "deploy/picky");
    content::assert_same(&before, &content::listing(cluster, name, "deploy/picky", "/data"));
    label("-");
    nothing_left(cluster, name);
}
