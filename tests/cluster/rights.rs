//! What Ararat's own accounts may not do, tried; and how its pods stand.

use crate::bench;
use crate::kubernetes::text;
use crate::space::Space;

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
