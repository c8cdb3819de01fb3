//! What goes wrong without anybody's fault: a disk that is full, credentials that are no good any more, a pod that is evicted, rights that are missing, an
//! API server that is busy. Each is named with its cause, nothing hangs, and what can be done is done.

use std::time::Duration;

use serde_json::json;

use crate::bench::{self, spotless};
use crate::cancel::worked_on;
use crate::guide::nothing_left;
use crate::kubernetes::{Kubernetes, number, text, wait};
use crate::objects::many;
use crate::space::Space;
use crate::workload;

/// Volumes that end after 20 MB.
const SMALL_CLASS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: NAME}
provisioner: folder.csi.test
parameters: {limit: 20m}
";

#[test]
fn a_disk_that_is_full_fails_its_own_volume_and_says_so() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("full");
    let space = Space::new(cluster, &name);
    for app in ["big", "small"] {
        cluster.apply(
            &name,
            &(workload::claim(app, cluster.class, "Filesystem") + &workload::deployment(app, app)),
        );
        cluster.rolled_out(&name, &format!("deploy/{app}"));
    }
    cluster.shell(&name, "deploy/big", "head -c 60000000 /dev/urandom >/data/big");
    cluster.shell(&name, "deploy/small", "echo fits >/data/small");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    space.destroy();
    cluster.apply("default", &SMALL_CLASS.replace("NAME", &name));
    let line = format!(
        "restore create {name} --from-backup {name} --storage-class-mappings {}:{name} --wait",
        cluster.class
    );
    cluster.ararat(&line).ends(3).says(&["partially failed"]);
    let restore = cluster.object("restore", &name);
    assert_eq!(number(&restore, "/status/volumes/failed"), 1, "{restore:#}");
    assert_eq!(number(&restore, "/status/volumes/completed"), 1, "{restore:#}");
    cluster
        .ararat(&format!("restore describe {name} --details"))
        .ok()
        .says(&[&format!("{name}/big"), "No space left"]);
    cluster.rolled_out(&name, "deploy/small");
    assert_eq!(cluster.shell(&name, "deploy/small", "cat /data/small"), "fits\n");
    nothing_left(cluster, &name);

    // Somebody starts a pod on the claim that has no data. The next restore neither writes over what that has written nor starts the application beside it.
    cluster.apply(&name, &workload::pod("by-hand", "big", "{}"));
    cluster
        .kubectl(&format!(
            "wait -n {name} --for=condition=Ready pod/by-hand --timeout=120s"
        ))
        .ok();
    // What the failed attempt has left fills the disk.
    cluster.shell(&name, "by-hand", "rm -rf /data/* /data/.[!.]*; echo mine >/data/mine");
    cluster
        .ararat(&format!("restore create {name}-again --from-backup {name} --wait"))
        .ends(3);
    cluster
        .ararat(&format!("restore describe {name}-again --details"))
        .ok()
        .says(&["ClaimAwaitsData", "by-hand"]);
    assert!(cluster.find(&format!("deploy -n {name} big")).is_none());
    assert_eq!(cluster.shell(&name, "by-hand", "cat /data/mine"), "mine\n");
    drop(space);
    cluster
        .kubectl(&format!("delete storageclass {name} --wait=false"))
        .ok();
}

#[test]
fn credentials_that_are_no_good_any_more_are_named_and_fresh_ones_are_taken_up() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("stale");
    let space = Space::new(cluster, &name);
    story.location(&name, &story.store.location(&name), "");
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    let secret = text(&cluster.object("backupstoragelocation", &name), "/spec/credential/name");
    let good = cluster.get(&format!("secret -n ararat {secret}"))["data"].clone();
    let put = |data: &serde_json::Value| {
        let patch = json!({ "data": data }).to_string();
        cluster
            .kubectl(&format!("patch secret -n ararat {secret} --type=merge -p '{patch}'"))
            .ok();
    };
    let mut bad = good.clone();
    // "no-longer-good"
    bad["AWS_SECRET_ACCESS_KEY"] = "bm8tbG9uZ2VyLWdvb2Q=".into();
    put(&bad);
    wait("the location to be refused", Duration::from_secs(30), || {
        (cluster.phase("backupstoragelocation", &name) == "Unavailable").then_some(())
    });
    cluster
        .ararat(&format!(
            "backup create {name} --include-namespaces {name} --storage-location {name}"
        ))
        .fails()
        .says(&[&name, &secret])
        .hides(&["no-longer-good"]);
    // A Backup that somebody made in another way waits, and says for what.
    let spec = json!({ "includedNamespaces": [name], "storageLocation": name });
    let document = json!({
        "apiVersion": "ararat.dev/v1alpha1", "kind": "Backup", "metadata": { "name": name }, "spec": spec,
    });
    cluster.apply("ararat", &document.to_string());
    wait("an event that says what is waited for", Duration::from_secs(30), || {
        let events = cluster.kubectl(&format!("events -n ararat --for backup.ararat.dev/{name}"));
        events.out.contains("LocationUnavailable").then_some(())
    });
    put(&good);
    spotless(cluster, &cluster.ended("backup", &name, Duration::from_secs(60)));
    drop(space);
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
}

#[test]
fn a_pod_that_is_evicted_while_its_volume_is_read_is_no_obstacle() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("evicted");
    let space = Space::new(cluster, &name);
    cluster.apply(
        &name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(&name, "deploy/app");
    cluster.shell(
        &name,
        "deploy/app",
        "head -c 600000000 /dev/urandom >/data/big; sha256sum /data/big >/data/sum",
    );
    let pod = cluster.names(&format!("pods -n {name}")).remove(0);
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name}"))
        .ok();
    worked_on(cluster, "podvolumebackups", "/spec/backupName", &name);
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod, "namespace": name },
        "deleteOptions": { "gracePeriodSeconds": 0 },
    });
    let file = cluster.home.join(format!("{name}.json"));
    std::fs::write(&file, eviction.to_string()).unwrap();
    cluster
        .kubectl(&format!(
            "create --raw /api/v1/namespaces/{name}/pods/{pod}/eviction -f {}",
            file.display()
        ))
        .ok();
    spotless(cluster, &cluster.ended("backup", &name, Duration::from_secs(180)));
    nothing_left(cluster, &name);
    space.destroy();
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} --wait"))
        .ok();
    cluster.rolled_out(&name, "deploy/app");
    cluster.shell(&name, "deploy/app", "sha256sum -c /data/sum");
}

#[test]
fn what_may_not_be_read_is_listed_and_the_rest_is_saved() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let name = story.name("partial");
    let space = Space::new(cluster, &name);
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    cluster
        .kubectl(&format!("create secret generic -n {name} word --from-literal=a=b"))
        .ok();
    // An operator who trusts nobody with Secrets but those of the installation.
    let role = cluster
        .names("clusterroles -l app.kubernetes.io/part-of=ararat")
        .into_iter()
        .next()
        .unwrap();
    let rules = cluster.get(&format!("clusterrole {role}"))["rules"].clone();
    let groups = cluster.kubectl("api-resources --verbs=list -o name").ok().out;
    let (mut core, mut others): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for resource in groups.lines() {
        match resource.split_once('.') {
            None if resource != "secrets" => core.push(resource.to_owned()),
            None => {}
            Some((_, group)) => others.push(group.to_owned()),
        }
    }
    core.push("pods/exec".to_owned());
    let narrow = json!([
        { "apiGroups": [""], "resources": core, "verbs": ["*"] },
        { "apiGroups": others, "resources": ["*"], "verbs": ["*"] },
    ]);
    let put = |rules: &serde_json::Value| {
        let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]).to_string();
        cluster
            .kubectl(&format!("patch clusterrole {role} --type=json -p '{patch}'"))
            .ok();
    };
    let own = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "own-secrets" },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }] });
    cluster.apply("ararat", &own.to_string());
    cluster
        .kubectl(
            "create rolebinding -n ararat own-secrets --role=own-secrets --serviceaccount=ararat:ararat-controller",
        )
        .ok();
    put(&narrow);
    let line = format!("backup create {name} --include-namespaces {name} --wait");
    let ran = cluster.ararat(&line);
    let described = cluster.ararat(&format!("backup describe {name} --details"));
    put(&rules);
    cluster
        .kubectl("delete -n ararat role/own-secrets rolebinding/own-secrets")
        .ok();
    ran.ends(3).says(&["partially failed"]);
    described
        .ok()
        .says(&["secrets", "forbidden", "words"])
        .hides(&["v1/Secret"]);
    let backup = cluster.object("backup", &name);
    assert_eq!(number(&backup, "/status/errors"), 1, "{backup:#}");
    bench::ready(cluster);
    drop(space);
}

/// One request of the controller at a time is taken, and all others beside it are refused: the API server's own way to be busy.
const BUSY: &str = "
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: ararat-one-at-a-time}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: ararat-one-at-a-time}
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: {name: ararat-one-at-a-time}
  rules:
  - subjects: [{kind: ServiceAccount, serviceAccount: {namespace: ararat, name: ararat-controller}}]
    resourceRules: [{verbs: [get, list, create, update, patch, delete], apiGroups: ['*'], resources: ['*'], namespaces: ['*'], clusterScope: true}]
";

/// The server is busy while this lives.
struct Busy<'a>(&'a Kubernetes);

impl<'a> Busy<'a> {
    fn new(cluster: &'a Kubernetes) -> Self {
        cluster.apply("default", BUSY);
        Self(cluster)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0
            .kubectl("delete flowschema/ararat-one-at-a-time prioritylevelconfiguration/ararat-one-at-a-time");
    }
}

#[test]
fn a_busy_server_and_others_who_write_too_delay_and_do_no_harm() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let name = story.name("busy");
    let space = Space::new(cluster, &name);
    cluster.create(&name, &many(200));
    // Somebody else writes to the same object all the while.
    let disturb = |kind: &str| {
        for round in 0..10 {
            cluster.kubectl(&format!(
                "annotate -n ararat {kind} {name} disturbed={round} --overwrite"
            ));
        }
    };
    let busy = Busy::new(cluster);
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name}"))
        .ok();
    disturb("backup");
    spotless(cluster, &cluster.ended("backup", &name, Duration::from_secs(300)));
    space.destroy();
    cluster
        .ararat(&format!("restore create {name} --from-backup {name}"))
        .ok();
    disturb("restore");
    let restore = cluster.ended("restore", &name, Duration::from_secs(300));
    let metrics = cluster.kubectl("get --raw /metrics").ok().out;
    drop(busy);
    spotless(cluster, &restore);
    let there = cluster.names(&format!("configmaps,secrets -n {name} -l story=many"));
    assert_eq!(there.len(), 200);
    let is_refusal = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total{") && line.contains("ararat-one-at-a-time")
    };
    let refusals: f64 = metrics
        .lines()
        .filter(is_refusal)
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert!(refusals > 0.0, "nothing was refused: this has shown nothing");
    bench::ready(cluster);
}

/// The bug: a claim that could not be made, or that somebody deletes while its data comes back, was taken for one that is here; its workload was made, and whoever makes
/// claims for it made an empty one.
#[test]
fn nothing_starts_without_a_claim_that_cannot_be_made_or_is_deleted_meanwhile() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("claimless"));
    let name = space.name.clone();
    cluster.apply(
        &name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(&name, "deploy/app");
    cluster.shell(&name, "deploy/app", "head -c 500000000 /dev/urandom >/data/big");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    space.destroy();

    // No class can be called that.
    cluster
        .ararat(&format!(
            "restore create {name}-refused --from-backup {name} --storage-class-mappings {}:No_Name --wait",
            cluster.class
        ))
        .ends(3);
    cluster
        .ararat(&format!("restore describe {name}-refused --details"))
        .ok()
        .says(&["DataMissing", "No_Name"]);
    let restore = cluster.object("restore", &format!("{name}-refused"));
    assert_eq!(number(&restore, "/status/volumes/failed"), 1, "{restore:#}");
    let made = |kind: &str| cluster.names(&format!("{kind} -n {name}"));
    assert_eq!([made("deployments"), made("pvc")], [Vec::<String>::new(), Vec::new()]);

    cluster
        .ararat(&format!("restore create {name}-robbed --from-backup {name}"))
        .ok();
    worked_on(
        cluster,
        "podvolumerestores",
        "/spec/restoreName",
        &format!("{name}-robbed"),
    );
    cluster.kubectl(&format!("delete pvc -n {name} data --wait=false")).ok();
    let restore = cluster.ended("restore", &format!("{name}-robbed"), Duration::from_secs(180));
    assert_eq!(text(&restore, "/status/phase"), "PartiallyFailed", "{restore:#}");
    cluster
        .ararat(&format!("restore describe {name}-robbed --details"))
        .ok()
        .says(&["ClaimGone", "DataMissing"]);
    assert!(made("deployments").is_empty());

    cluster
        .ararat(&format!("restore create {name}-whole --from-backup {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", &format!("{name}-whole")));
    cluster.rolled_out(&name, "deploy/app");
    let size = cluster.shell(&name, "deploy/app", "stat -c %s /data/big");
    assert_eq!(size, "500000000\n");
}
