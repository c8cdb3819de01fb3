//! The store as it really is: away for a minute, and read by others. What a user met elsewhere, and is not to meet here.

use std::time::Duration;

use crate::bench::{self, spotless};
use crate::kubernetes::{text, wait};
use crate::objects::many;
use crate::servers::or_skip;
use crate::servers::toxiproxy::Toxiproxy;
use crate::space::Space;
use crate::workload;

#[test]
fn a_store_that_refuses_for_a_minute_delays_a_backup_and_a_restore_but_fails_neither() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let Some(proxy) = or_skip(Toxiproxy::start()) else {
        return;
    };
    let space = Space::new(cluster, &story.name("outage"));
    let name = space.name.clone();
    let address = proxy.open("s3", story.store.address());
    story.location(&name, &story.store.location_through(address, &name), "");
    cluster.apply(
        &name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.create(&name, &many(200));
    cluster.rolled_out(&name, "deploy/app");
    cluster.shell(
        &name,
        "deploy/app",
        "head -c 120000000 /dev/urandom >/data/big; sha256sum /data/big >/data/sum",
    );

    cluster
        .ararat(&format!(
            "backup create {name} --include-namespaces {name} --storage-location {name}"
        ))
        .ok();
    wait("the volume to be read", Duration::from_secs(60), || {
        let volumes = cluster.list("podvolumebackups -n ararat");
        volumes
            .iter()
            .any(|volume| text(volume, "/spec/backupName") == name && !text(volume, "/status/phase").is_empty())
            .then_some(())
    });
    proxy.enable("s3", false);
    std::thread::sleep(Duration::from_secs(60));
    proxy.enable("s3", true);
    spotless(cluster, &cluster.ended("backup", &name, Duration::from_secs(180)));

    let there = Space::awaited(cluster, &format!("{name}-there"));
    let line = format!(
        "restore create {name} --from-backup {name} --namespace-mappings {name}:{}",
        there.name
    );
    cluster.ararat(&line).ok();
    wait("the restore to begin", Duration::from_secs(60), || {
        (cluster.phase("restore", &name) == "InProgress").then_some(())
    });
    proxy.enable("s3", false);
    std::thread::sleep(Duration::from_secs(45));
    proxy.enable("s3", true);
    spotless(cluster, &cluster.ended("restore", &name, Duration::from_secs(180)));
    cluster.rolled_out(&there.name, "deploy/app");
    cluster.shell(&there.name, "deploy/app", "sha256sum -c /data/sum");
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
}

/// As many as there are slots, and one more.
const WAITING: usize = 5;

#[test]
fn backups_to_a_store_that_is_down_keep_those_to_another_one_from_nothing() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let Some(proxy) = or_skip(Toxiproxy::start()) else {
        return;
    };
    let space = Space::new(cluster, &story.name("queue"));
    let name = space.name.clone();
    let address = proxy.open("s3", story.store.address());
    story.location(&name, &story.store.location_through(address, &name), "");
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    proxy.enable("s3", false);
    wait("the location to be missed", Duration::from_secs(120), || {
        (cluster.phase("backupstoragelocation", &name) == "Unavailable").then_some(())
    });
    let waiting: Vec<String> = (0..WAITING).map(|number| format!("{name}-{number}")).collect();
    for backup in &waiting {
        let document = serde_json::json!({
            "apiVersion": "ararat.dev/v1alpha1", "kind": "Backup", "metadata": { "name": backup },
            "spec": { "includedNamespaces": [name], "storageLocation": name },
        });
        cluster.apply("ararat", &document.to_string());
    }
    for backup in &waiting {
        wait("the word that it waits", Duration::from_secs(60), || {
            let described = cluster.ararat(&format!("backup describe {backup}"));
            described.out.contains("Waiting for the location").then_some(())
        });
    }
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    // One that waits is stopped at once.
    cluster.ararat(&format!("backup cancel {}", waiting[0])).ok();
    let stopped = cluster.ended("backup", &waiting[0], Duration::from_secs(30));
    assert_eq!(text(&stopped, "/status/phase"), "Canceled", "{stopped:#}");
    proxy.enable("s3", true);
    for backup in &waiting[1..] {
        spotless(cluster, &cluster.ended("backup", backup, Duration::from_secs(120)));
    }
    drop(space);
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
}

#[test]
fn a_store_that_is_not_there_is_named_with_the_cause() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("nowhere");
    let (proxy, place) = (
        std::net::TcpListener::bind((story.store.address().ip(), 0)).unwrap(),
        story.store.location(&name),
    );
    // A port that was free a moment ago: nobody listens there.
    let address = proxy.local_addr().unwrap();
    drop(proxy);
    let place = place.with("AWS_ENDPOINT_URL", format!("http://{address}"));
    let credentials = bench::credentials(cluster, &name, &place);
    let line = format!(
        "backup-location create {name} --url {} {} --credentials-file {credentials} --recovery-sheet {}",
        place.url,
        bench::options(&place, "--option"),
        cluster.home.join(&name).display()
    );
    cluster.ararat(&line);
    wait("the location to be looked at", Duration::from_secs(120), || {
        let location = cluster.object("backupstoragelocation", &name);
        (text(&location, "/status/phase") == "Unavailable" && !text(&location, "/status/message").is_empty())
            .then_some(())
    });
    cluster
        .ararat(&format!("backup create {name} --storage-location {name}"))
        .fails()
        .says(&[&name, "onnect"]);
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
    cluster
        .ararat(&format!("backup create {name} --storage-location {name}"))
        .fails()
        .says(&[&name, "BackupStorageLocation"]);
}

#[test]
fn no_word_of_a_secret_or_a_file_is_in_the_bucket() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("secret"));
    let name = space.name.clone();
    // Long enough to be found in no other place.
    let (word, file) = (format!("hunter2-{name}-"), format!("diary-of-{name}"));
    cluster
        .kubectl(&format!(
            "create secret generic -n {name} keys --from-literal=password={}",
            word.repeat(40)
        ))
        .ok();
    cluster.apply(
        &name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(&name, "deploy/app");
    cluster.shell(
        &name,
        "deploy/app",
        &format!("for i in 1 2 3 4 5 6 7 8 9; do echo {word} >>/data/{file}; done"),
    );
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    let folder = story.store.folder().join("data");
    let base64 = cluster.get(&format!("secret -n {name} keys"))["data"]["password"]
        .as_str()
        .unwrap()[..40]
        .to_owned();
    for pattern in [
        word.as_str(),
        file.as_str(),
        base64.as_str(),
        "kind\":\"Secret",
        name.as_str(),
    ] {
        let line = format!("grep -rlaF '{pattern}' {}", folder.display());
        assert_eq!(
            cluster.program(&line).code,
            1,
            "`{pattern}` lies in the bucket in the clear"
        );
    }
    // Nor do the programs say it.
    for line in [
        "logs -n ararat deploy/ararat-controller --all-pods",
        "logs -n ararat daemonset/ararat-agent --all-pods",
    ] {
        cluster
            .kubectl(line)
            .ok()
            .hides(&[&word, &base64, "ararat-tests-secret"]);
    }
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("pipe"));
    let name = space.name.clone();
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok()
        .hides(&["\x1b", "\r"]);
    let reads = [
        "backup get",
        "backup describe NAME",
        "backup logs NAME",
        "backup-location get",
        "schedule get",
        "restore get",
        "version",
    ];
    for read in reads {
        cluster.ararat(&read.replace("NAME", &name)).ok().hides(&["\x1b", "\r"]);
    }
    for output in ["json", "yaml", "wide", "name"] {
        cluster
            .ararat(&format!("backup get {name} -o {output}"))
            .ok()
            .says(&[&name]);
    }
    cluster.ararat(&format!("backup get {}x", name)).fails().says(&[&name]);
}
