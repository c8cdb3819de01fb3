//! Stopping what runs, and deleting it while it runs.

use std::time::{Duration, Instant};

use crate::bench::{self, spotless};
use crate::guide::nothing_left;
use crate::kubernetes::{Kubernetes, text, wait};
use crate::space::Space;
use crate::workload;

/// A namespace with a volume that takes its time.
fn slow<'a>(cluster: &'a Kubernetes, name: &str) -> Space<'a> {
    let space = Space::new(cluster, name);
    cluster.apply(
        name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(name, "deploy/app");
    cluster.shell(name, "deploy/app", "head -c 700000000 /dev/urandom >/data/big");
    space
}

/// Waits until a volume of a Backup or Restore is worked on.
pub fn worked_on(cluster: &Kubernetes, kind: &str, owner: &str, name: &str) {
    wait("a volume to be worked on", Duration::from_secs(90), || {
        let volumes = cluster.list(&format!("{kind} -n ararat"));
        let found = volumes
            .iter()
            .any(|volume| text(volume, owner) == name && text(volume, "/status/phase") == "InProgress");
        found.then_some(())
    });
}

#[test]
fn a_backup_is_stopped_within_half_a_minute_and_leaves_nothing_running() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("stopped");
    let space = slow(cluster, &name);
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name}"))
        .ok();
    worked_on(cluster, "podvolumebackups", "/spec/backupName", &name);
    let asked = Instant::now();
    cluster.ararat(&format!("backup cancel {name}")).ok();
    let backup = cluster.ended("backup", &name, Duration::from_secs(30));
    assert!(asked.elapsed() < Duration::from_secs(30));
    assert_eq!(text(&backup, "/status/phase"), "Canceled", "{backup:#}");
    cluster
        .ararat(&format!("restore create {name} --from-backup {name}"))
        .fails()
        .says(&[&name, "Canceled"]);
    // The next one uses what was read.
    cluster
        .ararat(&format!("backup create {name}-next --include-namespaces {name} --wait"))
        .ok();

    let there = Space::awaited(cluster, &format!("{name}-there"));
    let line = format!(
        "restore create {name} --from-backup {name}-next --namespace-mappings {name}:{}",
        there.name
    );
    cluster.ararat(&line).ok();
    worked_on(cluster, "podvolumerestores", "/spec/restoreName", &name);
    let asked = Instant::now();
    cluster.ararat(&format!("restore cancel {name}")).ok();
    let restore = cluster.ended("restore", &name, Duration::from_secs(30));
    assert!(asked.elapsed() < Duration::from_secs(30));
    assert_eq!(text(&restore, "/status/phase"), "Canceled", "{restore:#}");
    wait("the holder pods to go", Duration::from_secs(60), || {
        cluster
            .names(&format!("pods -n {} -l ararat.dev/holder", there.name))
            .is_empty()
            .then_some(())
    });
    nothing_left(cluster, &there.name);

    // The claim says that it has no data yet. The next restore fills it, and only then starts what mounts it.
    let awaits = || {
        let claim = cluster.get(&format!("pvc -n {} data", there.name));
        !text(&claim, "/metadata/annotations/ararat.dev~1awaits-data").is_empty()
    };
    assert!(awaits(), "a claim that was not filled looks like any other");
    let line = format!(
        "restore create {name}-again --from-backup {name}-next --namespace-mappings {name}:{} --wait",
        there.name
    );
    cluster.ararat(&line).ok();
    spotless(cluster, &cluster.object("restore", &format!("{name}-again")));
    assert!(!awaits());
    cluster.rolled_out(&there.name, "deploy/app");
    let size = cluster.shell(&there.name, "deploy/app", "stat -c %s /data/big");
    assert_eq!(size, "700000000\n");
    drop(space);
}

#[test]
fn deleting_a_running_backup_stops_it_and_deletes_it() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("unwanted");
    let space = slow(cluster, &name);
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name}"))
        .ok();
    worked_on(cluster, "podvolumebackups", "/spec/backupName", &name);
    cluster.ararat(&format!("backup delete {name} --confirm")).ok();
    assert!(cluster.find(&format!("backup -n ararat {name}")).is_none());
    let volumes = cluster.list("podvolumebackups -n ararat");
    assert!(
        volumes.iter().all(|volume| text(volume, "/spec/backupName") != name),
        "{volumes:#?}"
    );
    drop(space);
}
