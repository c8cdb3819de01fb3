//! Hooks: before the data, after the data, whatever happens in between; and those of a restore.

use std::time::Duration;

use crate::bench::{self, spotless};
use crate::kubernetes::{Kubernetes, number, text, wait};
use crate::space::Space;
use crate::workload;

/// Before: the application writes down that it is frozen. After: it takes that back.
const FREEZE: &str = r#"{
  pre.hook.backup.ararat.dev/command: '["sh", "-c", "echo frozen >/data/state"]',
  pre.hook.backup.ararat.dev/timeout: 20s,
  post.hook.backup.velero.io/command: '["sh", "-c", "echo running >/data/state; date >>/tmp/post"]'
}"#;

/// Makes a namespace with one pod that has these annotations, and some data.
fn pod<'a>(cluster: &'a Kubernetes, name: &str, annotations: &str) -> Space<'a> {
    let space = Space::new(cluster, name);
    cluster.apply(
        &space.name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::pod("app", "data", annotations)),
    );
    space.ready("app");
    cluster.shell(name, "app", "echo running >/data/state; echo payload >/data/payload");
    space
}

/// What the volume of a backup says of the application's state, seen by restoring it elsewhere.
fn state_in_backup(cluster: &Kubernetes, namespace: &str, backup: &str) -> String {
    let elsewhere = Space::awaited(cluster, &format!("{namespace}-seen"));
    let line = format!(
        "restore create {backup}-seen --from-backup {backup} --namespace-mappings {namespace}:{} --wait",
        elsewhere.name
    );
    cluster.ararat(&line).ok();
    elsewhere.ready("app");
    cluster.shell(&elsewhere.name, "app", "cat /data/state")
}

#[test]
fn the_data_is_read_between_the_hooks() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("hooked");
    let space = pod(cluster, &name, FREEZE);
    cluster
        .ararat(&format!(
            "backup create {name} --include-namespaces {} --wait",
            space.name
        ))
        .ok();
    let backup = cluster.object("backup", &name);
    spotless(cluster, &backup);
    assert_eq!(
        (
            number(&backup, "/status/hooks/attempted"),
            number(&backup, "/status/hooks/failed")
        ),
        (2, 0)
    );
    assert_eq!(cluster.shell(&space.name, "app", "cat /data/state"), "running\n");
    assert_eq!(state_in_backup(cluster, &space.name, &name), "frozen\n");
    cluster
        .ararat(&format!("backup describe {name}"))
        .ok()
        .says(&["ook", "2"]);
}

#[test]
fn a_failing_pre_hook_spares_the_volume_and_the_post_hook_runs_all_the_same() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("refusing");
    let refusing = FREEZE.replace(
        "echo frozen >/data/state",
        "echo frozen >/data/state; echo not today >&2; exit 3",
    );
    let space = pod(cluster, &name, &refusing);
    let line = format!("backup create {name} --include-namespaces {} --wait", space.name);
    cluster.ararat(&line).ends(3).says(&["partially failed", "not today"]);
    let backup = cluster.object("backup", &name);
    assert_eq!(text(&backup, "/status/phase"), "PartiallyFailed");
    assert_eq!(number(&backup, "/status/hooks/failed"), 1);
    cluster
        .ararat(&format!("backup describe {name}"))
        .ok()
        .says(&["not today", "app"]);
    assert_eq!(cluster.shell(&space.name, "app", "cat /data/state"), "running\n");
    // The objects are saved, the volume is not: nothing starts on an empty claim, and what to do is said.
    let elsewhere = Space::awaited(cluster, &format!("{name}-seen"));
    let restore = |called: &str, more: &str| {
        let mapping = format!("--namespace-mappings {name}:{}", elsewhere.name);
        cluster.ararat(&format!(
            "restore create {called} --from-backup {name} {mapping} {more} --wait"
        ))
    };
    restore(&name, "").ends(3).says(&["partially failed"]);
    cluster
        .ararat(&format!("restore describe {name} --details"))
        .ok()
        .says(&["not in the backup", "--restore-volumes=false"]);
    assert!(cluster.find(&format!("pod -n {} app", elsewhere.name)).is_none());
    // Whoever wants it all the same gets it.
    restore(&format!("{name}-empty"), "--restore-volumes=false").ok();
    elsewhere.ready("app");
    assert_eq!(cluster.shell(&elsewhere.name, "app", "ls /data"), "");
}

#[test]
fn a_hook_that_hangs_is_ended_and_one_that_may_fail_is_a_warning() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("hanging");
    let space = pod(cluster, &name, "{}");
    cluster.apply(
        "ararat",
        &format!(
            "
apiVersion: ararat.dev/v1alpha1
kind: Backup
metadata: {{name: {name}}}
spec:
  includedNamespaces: [{}]
  hooks:
  - name: patience
    labelSelector: {{matchLabels: {{app: app}}}}
    pre: [{{command: [sleep, '600'], timeout: 3s, onError: Continue}}, {{command: [sh, -c, 'echo second >/data/state'], container: main}}]
    post: [{{command: ['false'], onError: Continue}}, {{command: [sh, -c, 'echo last >/data/state']}}]
",
            space.name
        ),
    );
    let backup = cluster.ended("backup", &name, Duration::from_secs(90));
    assert_eq!(text(&backup, "/status/phase"), "Completed", "{backup:#}");
    assert_eq!(
        (
            number(&backup, "/status/hooks/attempted"),
            number(&backup, "/status/hooks/failed")
        ),
        (4, 2)
    );
    assert!(number(&backup, "/status/warnings") >= 2);
    assert_eq!(cluster.shell(&space.name, "app", "cat /data/state"), "last\n");
    assert_eq!(state_in_backup(cluster, &space.name, &name), "second\n");
}

/// A pod whose backup has frozen it, and has no controller any more.
#[track_caller]
fn killed_while_frozen<'c>(cluster: &'c Kubernetes, name: &str) -> Space<'c> {
    let space = pod(cluster, name, FREEZE);
    cluster.shell(&space.name, "app", "head -c 300000000 /dev/urandom >/data/big");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {}", space.name))
        .ok();
    wait("the pre hook", Duration::from_secs(60), || {
        (cluster.shell(&space.name, "app", "cat /data/state") == "frozen\n").then_some(())
    });
    cluster.kill_program("ararat-controller");
    space
}

#[test]
fn the_post_hook_runs_even_when_the_controllers_die_in_between() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let name = story.name("thawed");
    let space = killed_while_frozen(cluster, &name);
    let backup = cluster.ended("backup", &name, Duration::from_secs(180));
    assert_eq!(text(&backup, "/status/phase"), "Completed", "{backup:#}");
    assert_eq!(cluster.shell(&space.name, "app", "cat /data/state"), "running\n");
    assert_eq!(cluster.shell(&space.name, "app", "wc -l </tmp/post"), "1\n");
    assert!(
        ["", "[]"].contains(&text(&backup, "/status/openHooks").as_str()),
        "{backup:#}"
    );
    assert_eq!(
        (
            number(&backup, "/status/hooks/attempted"),
            number(&backup, "/status/hooks/failed")
        ),
        (2, 0),
        "{backup:#}"
    );
    assert_eq!(state_in_backup(cluster, &space.name, &name), "frozen\n");
    bench::ready(cluster);
}

#[test]
fn a_backup_that_is_stopped_after_its_controllers_died_leaves_no_pod_frozen() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let name = story.name("refrozen");
    let space = killed_while_frozen(cluster, &name);
    cluster
        .kubectl(&format!(
            "patch backup -n ararat {name} --type=merge -p '{{\"spec\":{{\"cancel\":true}}}}'"
        ))
        .ok();
    let backup = cluster.ended("backup", &name, Duration::from_secs(60));
    assert_eq!(text(&backup, "/status/phase"), "Canceled", "{backup:#}");
    assert_eq!(cluster.shell(&space.name, "app", "cat /data/state"), "running\n");
    bench::ready(cluster);
}

#[test]
fn hooks_of_a_restore_run_before_and_after_the_start() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("awakened");
    let space = Space::new(cluster, &name);
    cluster.apply(
        &space.name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(&space.name, "deploy/app");
    cluster.shell(&space.name, "deploy/app", "echo payload >/data/payload");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    space.destroy();
    cluster.apply(
        "ararat",
        &format!(
            "
apiVersion: ararat.dev/v1alpha1
kind: Restore
metadata: {{name: {name}}}
spec:
  backupName: {name}
  hooks:
  - name: awake
    labelSelector: {{matchLabels: {{app: app}}}}
    initContainers:
    - {{name: first, image: localhost/busybox, imagePullPolicy: Never, command: [sh, -c, 'cp /data/payload /data/seen-before-start'], volumeMounts: [{{name: data, mountPath: /data}}]}}
    exec: [{{command: [sh, -c, 'echo awake >/data/awake'], waitForReady: true, waitTimeout: 90s}}]
"
        ),
    );
    spotless(cluster, &cluster.ended("restore", &name, Duration::from_secs(180)));
    cluster.rolled_out(&space.name, "deploy/app");
    assert_eq!(
        cluster.shell(&space.name, "deploy/app", "cat /data/seen-before-start /data/awake"),
        "payload\nawake\n"
    );
    assert_eq!(number(&cluster.object("restore", &name), "/status/hooks/failed"), 0);
}
