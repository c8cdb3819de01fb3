//! Volumes in each of their forms: devices, claims that nobody mounts, those of pods alone; and which are chosen, and why.

use std::time::Duration;

use crate::bench::{self, Story, spotless};
use crate::content;
use crate::guide::nothing_left;
use crate::kubernetes::{Kubernetes, number, text};
use crate::space::Space;
use crate::workload;

/// A pod with a claim as a device at /dev/raw.
const DEVICE_POD: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: engine}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, '999999'], volumeDevices: [{name: raw, devicePath: /dev/raw}]}
  volumes: [{name: raw, persistentVolumeClaim: {claimName: raw}}]
";

#[test]
fn a_block_mode_volume_comes_back_bit_for_bit() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("device"));
    cluster.apply(
        &space.name,
        &(workload::claim("raw", &cluster.late(), "Block").replace("1Gi", "64Mi") + DEVICE_POD),
    );
    space.ready("engine");
    let write = "dd if=/dev/urandom of=/dev/raw bs=1M seek=5 count=7 2>/dev/null; printf mark | dd of=/dev/raw bs=1 seek=67108800 2>/dev/null; sync";
    cluster.shell(&space.name, "engine", write);
    let before = cluster.shell(&space.name, "engine", "sha256sum /dev/raw");

    // An agent without the right to devices says what it lacks, and saves the rest.
    let refused = story.name("device-refused");
    let line = format!("backup create {refused} --include-namespaces {} --wait", space.name);
    cluster.ararat(&line).ends(3);
    cluster
        .ararat(&format!("backup describe {refused}"))
        .ok()
        .says(&["claims/", "raw", "--privileged-agent"]);

    story.install("--privileged-agent");
    let backup = story.name("device");
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
    space.ready("engine");
    let after = cluster.shell(&space.name, "engine", "sha256sum /dev/raw");
    nothing_left(cluster, &space.name);
    drop(space);
    story.install("");
    assert_eq!(before, after);
}

#[test]
fn a_claim_that_no_pod_mounts_is_saved_and_comes_back() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::labelled(
        cluster,
        &story.name("unmounted"),
        &["pod-security.kubernetes.io/enforce=restricted"],
    );
    // Somebody fills it, from a namespace that admits what fills as root.
    cluster
        .kubectl(&format!(
            "label namespace {} pod-security.kubernetes.io/enforce=privileged --overwrite",
            space.name
        ))
        .ok();
    cluster.apply(
        &space.name,
        &(workload::claim("archive", &cluster.late(), "Filesystem") + &workload::pod("writer", "archive", "{}")),
    );
    space.ready("writer");
    content::fill(cluster, &space.name, "writer", "/data");
    let before = content::listing(cluster, &space.name, "writer", "/data");
    cluster
        .kubectl(&format!("delete pod -n {} writer --timeout=60s", space.name))
        .ok();
    cluster
        .kubectl(&format!(
            "label namespace {} pod-security.kubernetes.io/enforce=restricted --overwrite",
            space.name
        ))
        .ok();

    let backup = story.name("unmounted");
    cluster
        .ararat(&format!(
            "backup create {backup} --include-namespaces {} --wait",
            space.name
        ))
        .ok();
    spotless(cluster, &cluster.object("backup", &backup));
    nothing_left(cluster, &space.name);
    space.destroy();
    cluster
        .ararat(&format!("restore create {backup} --from-backup {backup} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", &backup));
    nothing_left(cluster, &space.name);
    assert!(cluster.names(&format!("pods -n {}", space.name)).is_empty());
    cluster
        .kubectl(&format!(
            "label namespace {} pod-security.kubernetes.io/enforce=privileged --overwrite",
            space.name
        ))
        .ok();
    cluster.apply(&space.name, &workload::pod("reader", "archive", "{}"));
    space.ready("reader");
    content::assert_same(&before, &content::listing(cluster, &space.name, "reader", "/data"));
}

/// A pod with a volume of each kind that is not a claim.
const SCRATCH: &str = "
apiVersion: v1
kind: Pod
metadata: {name: scratch, labels: {app: scratch}, annotations: {ararat.dev/backup-volumes-excludes: cache}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: localhost/busybox
    imagePullPolicy: Never
    command: [sh, -c, 'ls /kept >/tmp/found-at-start; sleep 999999']
    volumeMounts: [{name: kept, mountPath: /kept}, {name: cache, mountPath: /cache}, {name: host, mountPath: /host}, {name: map, mountPath: /map}]
  volumes:
  - {name: kept, emptyDir: {}}
  - {name: cache, emptyDir: {}}
  - {name: host, hostPath: {path: /tmp}}
  - {name: map, configMap: {name: words}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {a: b}
";

#[test]
fn volumes_of_a_pod_alone_are_chosen_by_rule_and_come_back_before_it_starts() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("scratch"));
    cluster.apply(&space.name, SCRATCH);
    space.ready("scratch");
    content::fill(cluster, &space.name, "scratch", "/kept");
    cluster.shell(&space.name, "scratch", "echo gone >/cache/file");
    let before = content::listing(cluster, &space.name, "scratch", "/kept");
    let backup = story.name("scratch");
    cluster
        .ararat(&format!(
            "backup create {backup} --include-namespaces {} --wait",
            space.name
        ))
        .ok();
    let described = cluster.ararat(&format!("backup describe {backup} --details")).ok();
    described.says(&["kept", "cache", "annotation", "hostPath"]);

    space.destroy();
    cluster
        .ararat(&format!("restore create {backup} --from-backup {backup} --wait"))
        .ok();
    space.ready("scratch");
    // The folder's own time is when the waiting container took its mark away; all that is in it is as it was.
    let below = |listing: &str| -> String {
        let lines = listing.lines().filter(|line| !line.starts_with(". "));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let after = content::listing(cluster, &space.name, "scratch", "/kept");
    content::assert_same(&below(&before), &below(&after));
    assert_eq!(cluster.shell(&space.name, "scratch", "ls /cache"), "");
    assert!(
        cluster
            .shell(&space.name, "scratch", "cat /tmp/found-at-start")
            .contains("random")
    );
}

/// A pod alone with a volume of its own, and a folder of its node that it asks to be saved.
const HOST_POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: both, annotations: {ararat.dev/backup-volumes: host}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: localhost/busybox
    imagePullPolicy: Never
    command: [sleep, '999999']
    volumeMounts: [{name: kept, mountPath: /kept}, {name: host, mountPath: /host}]
  volumes:
  - {name: kept, emptyDir: {}}
  - {name: host, hostPath: {path: /tmp/ararat-hosts/NAME, type: DirectoryOrCreate}}
";

#[test]
fn a_folder_of_the_node_comes_back_beside_other_volumes_if_it_is_empty() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    story.install("--host-path /tmp/ararat-hosts");
    let space = Space::new(cluster, &story.name("host"));
    let name = space.name.clone();
    cluster.apply(&name, &HOST_POD.replace("NAME", &name));
    space.ready("both");
    cluster.shell(&name, "both", "echo kept >/kept/file; echo host >/host/file");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("backup", &name));
    cluster.shell(&name, "both", "rm -r /host/*");
    space.destroy();
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("restore", &name));
    space.ready("both");
    assert_eq!(
        cluster.shell(&name, "both", "cat /kept/file /host/file"),
        "kept\nhost\n"
    );

    // What is in the folder is somebody's now: it stays, the pod starts, and that is said.
    cluster.shell(&name, "both", "echo theirs >/host/file");
    space.destroy();
    cluster
        .ararat(&format!("restore create {name}-again --from-backup {name} --wait"))
        .ok();
    cluster
        .ararat(&format!("restore describe {name}-again --details"))
        .ok()
        .says(&["HostPathKept", "not empty"]);
    space.ready("both");
    assert_eq!(
        cluster.shell(&name, "both", "cat /kept/file /host/file"),
        "kept\ntheirs\n"
    );
    cluster.shell(&name, "both", "rm -r /host/*");
    drop(space);
    story.install("");
}

/// A pod alone whose claim is made for it, and goes with it.
const EPHEMERAL_POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: lone}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, '999999'], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  volumes:
  - name: scratch
    ephemeral:
      volumeClaimTemplate: {spec: {storageClassName: CLASS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}}
";

/// A claim that a restore made would not be the pod's, which would wait for its own for ever.
#[test]
fn the_claim_of_an_ephemeral_volume_is_left_to_its_pod_and_its_data_is_missed_aloud() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("ephemeral"));
    let name = space.name.clone();
    cluster.apply(&name, &EPHEMERAL_POD.replace("CLASS", &cluster.late()));
    space.ready("lone");
    cluster.shell(&name, "lone", "echo old >/scratch/file; sync");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    spotless(cluster, &cluster.object("backup", &name));
    cluster
        .ararat(&format!("backup describe {name} --details"))
        .ok()
        .says(&["lone-scratch", "(ephemeral)"]);

    space.destroy();
    cluster
        .ararat(&format!("restore create {name} --from-backup {name} --wait"))
        .ok();
    let described = cluster.ararat(&format!("restore describe {name} --details")).ok();
    described.says(&["DataNotRestored", "lone-scratch", "it is made for its pod"]);
    space.ready("lone");
    assert_eq!(cluster.shell(&name, "lone", "ls -A /scratch"), "");
    nothing_left(cluster, &name);
}

#[test]
fn a_volume_that_did_not_change_moves_no_data() {
    let Some(story) = bench::alone() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("unchanged"));
    cluster.apply(
        &space.name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("one", "data")),
    );
    cluster.rolled_out(&space.name, "deploy/one");
    content::fill(cluster, &space.name, "deploy/one", "/data");
    // A file that changed a moment before it was read may change again within the same tick: it is read once more.
    std::thread::sleep(Duration::from_secs(4));
    let first = read_of(cluster, &story, &space.name, "first");
    assert!(first.0 > 3_000_000, "{first:?}");
    let unchanged = read_of(cluster, &story, &space.name, "unchanged");
    assert_eq!(unchanged.0, 0, "an unchanged volume was read");
    assert!(unchanged.1 < 20_000, "an unchanged volume wrote {} bytes", unchanged.1);

    // Another pod of another name, and programs that have started anew, know the claim by its name.
    cluster
        .kubectl(&format!("delete deploy -n {} one --timeout=60s", space.name))
        .ok();
    cluster.apply(&space.name, &workload::deployment("two", "data"));
    cluster.rolled_out(&space.name, "deploy/two");
    cluster
        .kubectl("rollout restart -n ararat deploy/ararat-controller daemonset/ararat-agent")
        .ok();
    bench::ready(cluster);
    let renamed = read_of(cluster, &story, &space.name, "renamed");
    assert_eq!(renamed.0, 0, "a claim in another pod was read again");

    cluster.shell(&space.name, "deploy/two", "echo changed >>/data/texts/hello");
    let changed = read_of(cluster, &story, &space.name, "changed");
    assert!((1..100_000).contains(&changed.0), "{changed:?}");
}

/// Backs a namespace up and gives the bytes that were read from its one volume, and those that were stored.
fn read_of(cluster: &Kubernetes, story: &Story, namespace: &str, name: &str) -> (u64, u64) {
    let backup = story.name(name);
    cluster
        .ararat(&format!(
            "backup create {backup} --include-namespaces {namespace} --wait"
        ))
        .ok();
    spotless(cluster, &cluster.ended("backup", &backup, Duration::from_secs(10)));
    let volumes = cluster.list("podvolumebackups -n ararat");
    let of_it = |volume: &&serde_json::Value| text(volume, "/spec/backupName") == backup;
    let volumes: Vec<_> = volumes.iter().filter(of_it).collect();
    assert_eq!(volumes.len(), 1, "{volumes:#?}");
    (
        number(volumes[0], "/status/bytesRead"),
        number(volumes[0], "/status/bytesStored"),
    )
}
