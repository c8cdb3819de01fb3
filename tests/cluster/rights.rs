//! What Ararat's own accounts may not do, tried; and how its pods stand.

use std::path::Path;
use std::time::Duration;

use crate::bench::{self, spotless};
use crate::content;
use crate::kubernetes::text;
use crate::servers::{BUCKET, s3_request};
use crate::space::Space;
use crate::workload;

#[test]
fn an_agent_may_do_nothing_but_its_own_volumes_work() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let may = |what: &str| {
        let line = format!("auth can-i {what} --as system:serviceaccount:ararat:ararat-agent");
        cluster.kubectl(&line).code == 0
    };
    for refused in [
        "get secrets -n ararat",
        "list secrets -A",
        "get pods -n default",
        "list pods -A",
        "get configmaps -n ararat",
        "create pods -n ararat",
        "delete pods -n ararat",
        "create pods/exec -n ararat",
        "get backups.ararat.dev -n ararat",
        "get restores.ararat.dev -n ararat",
        "get backupstoragelocations.ararat.dev -n ararat",
        "create podvolumebackups.ararat.dev -n ararat",
        "delete podvolumebackups.ararat.dev -n ararat",
        "update podvolumebackups.ararat.dev -n ararat",
        "get podvolumebackups.ararat.dev -n default",
        "get nodes",
        "create serviceaccounts/token -n ararat",
        "create clusterrolebindings",
        "get persistentvolumes",
    ] {
        assert!(!may(refused), "the agent may {refused}");
    }
    for needed in [
        "list podvolumebackups.ararat.dev -n ararat",
        "watch podvolumerestores.ararat.dev -n ararat",
        "patch podvolumebackups.ararat.dev --subresource=status -n ararat",
    ] {
        assert!(may(needed), "the agent may not {needed}");
    }
    let agent = cluster.get("daemonset -n ararat ararat-agent");
    let context = agent
        .pointer("/spec/template/spec/containers/0/securityContext")
        .unwrap();
    assert_ne!(text(context, "/privileged"), "true");
    assert_eq!(text(context, "/capabilities/drop/0"), "ALL");
    assert_ne!(text(&agent, "/spec/template/spec/hostPID"), "true");
    assert_ne!(text(&agent, "/spec/template/spec/hostNetwork"), "true");
}

#[test]
fn the_controllers_pod_is_one_that_a_restricted_namespace_admits() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::labelled(
        cluster,
        &story.name("admits"),
        &["pod-security.kubernetes.io/enforce=restricted"],
    );
    let template = cluster.get("deploy -n ararat ararat-controller")["spec"]["template"].clone();
    let pod = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "controller"},
        "spec": template["spec"],
    });
    let mut pod = pod;
    pod["spec"]["serviceAccountName"] = "default".into();
    pod["spec"]["serviceAccount"] = "default".into();
    let document = serde_json::to_string(&pod).unwrap();
    cluster.try_apply(&space.name, &document).ok();
}

#[test]
fn a_tenants_backup_reaches_its_own_namespace_alone() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("tenant"));
    let name = space.name.clone();
    cluster.apply(
        &name,
        &format!(
            "
apiVersion: ararat.dev/v1alpha1
kind: Backup
metadata: {{name: {name}}}
spec: {{includedNamespaces: [kube-system]}}
"
        ),
    );
    std::thread::sleep(std::time::Duration::from_secs(5));
    let backup = cluster.get(&format!("backup -n {name} {name}"));
    let phase = text(&backup, "/status/phase");
    assert!(
        ["", "New", "FailedValidation"].contains(&phase.as_str()),
        "a tenant's Backup of another namespace is {phase}"
    );
}

/// SECURITY.md: agents list, read and create, and need no delete. So whoever takes a node over can delete nothing: the store itself says no.
#[test]
fn agents_back_up_and_restore_with_a_credential_that_may_not_delete() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("keeps"));
    let name = space.name.clone();
    let place = story.store.location(&name);
    let of_agents = story.store.without_delete(&place);
    let file = bench::credentials(cluster, &format!("{name}-agents"), &of_agents);
    story.location(&name, &place, &format!("--agent-credentials-file {file}"));
    cluster.apply(
        &name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(&name, "deploy/app");
    content::fill(cluster, &name, "deploy/app", "/data");
    let before = content::listing(cluster, &name, "deploy/app", "/data");
    let save = |backup: &str| {
        let line = format!("backup create {backup} --include-namespaces {name} --storage-location {name} --wait");
        (
            cluster.ararat(&line),
            cluster.ended("backup", backup, Duration::from_secs(60)),
        )
    };
    let (ran, saved) = save(&name);
    ran.ok();
    spotless(cluster, &saved);

    let there = Space::awaited(cluster, &format!("{name}-there"));
    let mapping = format!("--namespace-mappings {name}:{}", there.name);
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} {mapping} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", &name));
    cluster.rolled_out(&there.name, "deploy/app");
    content::assert_same(&before, &content::listing(cluster, &there.name, "deploy/app", "/data"));

    // With that credential nothing can be deleted, of whatever kind it is.
    let folder = story.store.folder().join("data").join(BUCKET);
    let objects = objects_below(&folder.join(&name));
    assert!(!objects.is_empty(), "nothing is in the store");
    for object in &objects {
        let key = object.strip_prefix(&folder).unwrap().display();
        let (status, answer) = s3_request(&of_agents, "DELETE", &format!("{BUCKET}/{key}"), "");
        assert!(
            status == 403 && answer.contains("AccessDenied"),
            "{key}: {status} {answer}"
        );
    }

    // It is the agents' own that they use: without it no volume is saved, and with it again all of them are.
    let set = |secret: &str| {
        let place = of_agents.with("AWS_SECRET_ACCESS_KEY", secret);
        let file = bench::credentials(cluster, &format!("{name}-agents"), &place);
        cluster
            .ararat(&format!("backup-location set {name} --agent-credentials-file {file}"))
            .ok();
        bench::available(cluster, &name);
    };
    set("no-longer-good");
    let (ran, refused) = save(&format!("{name}-refused"));
    ran.ends(3).hides(&["no-longer-good"]);
    assert_eq!(text(&refused, "/status/phase"), "PartiallyFailed", "{refused:#}");
    set(&of_agents.variable("AWS_SECRET_ACCESS_KEY"));
    let (ran, saved) = save(&format!("{name}-again"));
    ran.ok();
    spotless(cluster, &saved);
    drop((space, there));
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
}

/// The files below a folder.
fn objects_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(objects_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
