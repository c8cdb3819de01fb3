//! The kinds as the API server knows them: explained, listed, and bad ones refused with what to write instead.

use std::time::Duration;

use crate::bench;
use crate::kubernetes::{text, wait};
use crate::space::Space;

const KINDS: &[&str] = &[
    "backup",
    "restore",
    "schedule",
    "backupstoragelocation",
    "backuprepository",
    "podvolumebackup",
    "podvolumerestore",
    "deletebackuprequest",
    "downloadrequest",
];

#[test]
fn every_kind_is_explained_and_listed() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    for kind in KINDS {
        cluster
            .kubectl(&format!("explain {kind}.spec"))
            .ok()
            .hides(&["<empty>"]);
        cluster
            .kubectl(&format!("explain {kind}.status"))
            .ok()
            .hides(&["<empty>"]);
        cluster.kubectl(&format!("get {kind} -n ararat")).ok();
    }
    for short in [
        "bak", "rst", "sched", "bsl", "brepo", "pvb", "pvr", "dbr", "dreq", "ararat",
    ] {
        cluster.kubectl(&format!("get {short} -n ararat")).ok();
    }
    cluster
        .kubectl("get backupstoragelocation -n ararat")
        .ok()
        .says(&["URL", "PHASE", "Available", "default"]);
    for kind in KINDS {
        let crd = cluster.get(&format!("crd {kind}s.ararat.dev").replace("repositorys", "repositories"));
        let conditions = crd["status"]["conditions"].to_string();
        assert!(!conditions.contains("NonStructuralSchema"), "{kind}: {conditions}");
    }
}

#[test]
fn bad_objects_are_refused_with_what_to_write_instead() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let refused = |kind: &str, spec: &str, says: &str| {
        let document = format!(
            "
apiVersion: ararat.dev/v1alpha1
kind: {kind}
metadata: {{name: bad}}
spec: {spec}
"
        );
        cluster.try_apply("ararat", &document).fails().says(&[says]);
    };
    refused("Backup", "{ttl: tomorrow}", "spec.ttl");
    refused(
        "Backup",
        "{labelSelector: {matchLabels: {a: b}}, orLabelSelectors: [{matchLabels: {c: d}}]}",
        "not both",
    );
    refused("Restore", "{}", "backupName");
    refused("Restore", "{backupName: a, scheduleName: b}", "one of the two");
    refused(
        "Restore",
        "{backupName: a, existingResourcePolicy: Overwrite}",
        "Recreate",
    );
    refused("Schedule", "{schedule: 'every day', template: {}}", "@daily");
    refused(
        "BackupStorageLocation",
        "{url: 'http://bucket', repositoryKey: {name: k}}",
        "s3://",
    );
    refused(
        "BackupStorageLocation",
        "{url: 's3://bucket', options: {secret: x}, repositoryKey: {name: k}}",
        "Secret",
    );
    refused("DeleteBackupRequest", "{backupName: ''}", "backupName");

    let name = story.name("fixed");
    cluster
        .ararat(&format!("backup create {name} --include-namespaces kube-public --wait"))
        .ok();
    let change = format!("patch backup -n ararat {name} --type=merge -p '{{\"spec\":{{\"ttl\":\"5h\"}}}}'");
    cluster.kubectl(&change).fails().says(&["make another Backup"]);
    assert_eq!(text(&cluster.object("backup", &name), "/status/phase"), "Completed");
}

/// `kubectl apply` takes the namespace of the context: nobody ever said that such a Backup is in the wrong one.
#[test]
fn an_object_where_nobody_works_says_where_it_belongs() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("stray"));
    let name = &space.name;
    let document = "
apiVersion: ararat.dev/v1alpha1
kind: Backup
metadata: {name: stray}
spec: {}
";
    cluster.apply(name, document);
    let said = wait("the event", Duration::from_secs(30), || {
        let events = cluster.kubectl(&format!("events -n {name} --for backup.ararat.dev/stray"));
        events.out.contains("WrongNamespace").then_some(events.out)
    });
    assert!(said.contains("-n ararat"), "{said}");

    // Where another Ararat works, or is being installed, the same is left to that one.
    let other = Space::new(cluster, &story.name("installed"));
    cluster.apply(
        &other.name,
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: ararat-controller}}",
    );
    cluster.apply(&other.name, document);
    let later = Space::new(cluster, &story.name("stray-later"));
    cluster.apply(&later.name, document);
    wait("the event of the later one", Duration::from_secs(30), || {
        let events = cluster.kubectl(&format!("events -n {} --for backup.ararat.dev/stray", later.name));
        events.out.contains("WrongNamespace").then_some(())
    });
    let events = cluster.kubectl(&format!("events -n {} --for backup.ararat.dev/stray", other.name));
    assert!(!events.out.contains("WrongNamespace"), "{}", events.out);
    assert_eq!(
        text(&cluster.get(&format!("backup -n {name} stray")), "/status/phase"),
        ""
    );
}
