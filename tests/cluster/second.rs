//! Another cluster: empty, with other storage classes, and nothing in common with the first but the store.

use std::time::Duration;

use crate::bench::{self, Bench, credentials, options, ready, spotless, uninstall};
use crate::command::Ran;
use crate::content;
use crate::kubernetes::{Kubernetes, text, wait};
use crate::servers::{AZURITE, Location, Server, or_skip};
use crate::space::Space;
use crate::workload;

/// Installs in the second cluster with a key of the first, as its recovery sheet or Secret gives it.
pub fn install(second: &Kubernetes, place: &Location, key: &str, more: &str) {
    uninstall(second);
    let credentials = credentials(second, "main", place);
    let file = second.home.join("owner.key");
    std::fs::write(&file, key).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let line = format!(
        "install --image localhost/ararat --image-pull-policy Never --location {} {} --credentials-file {credentials} --key-file {} --wait-timeout 180s {more}",
        place.url,
        options(place, "--location-option"),
        file.display(),
    );
    second.ararat(&line).ok();
    ready(second);
}

/// The key of a location's repository, from the Secret that the location names.
pub fn key(cluster: &Kubernetes, location: &str) -> String {
    let secret = text(
        &cluster.object("backupstoragelocation", location),
        "/spec/repositoryKey/name",
    );
    let line =
        format!("get secret -n ararat {secret} -o 'go-template={{{{index .data \"owner.key\" | base64decode}}}}'");
    cluster.kubectl(&line).ok().out
}

/// `ararat repo VERB` on the repository of a location, as its owner from anywhere.
pub fn repo(bench: &Bench, location: &str, verb: &str) -> Ran {
    repo_at(bench, &bench.store.location(location), location, verb)
}

/// The same of a location that is elsewhere than its name says.
fn repo_at(bench: &Bench, place: &Location, location: &str, verb: &str) -> Ran {
    let cluster = &bench.cluster;
    let file = cluster.home.join(format!("{location}.key"));
    std::fs::write(&file, key(cluster, location)).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let variables: String = place
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value} "))
        .collect();
    let ararat = env!("CARGO_BIN_EXE_ararat");
    cluster.program(&format!(
        "env {variables} {ararat} repo {verb} -r {} --key-file {}",
        place.url,
        file.display()
    ))
}

/// What is in the repository of a location, for the message of a test that expected something else.
pub fn snapshots(bench: &Bench, location: &str) -> String {
    let (snapshots, stats) = (repo(bench, location, "snapshots"), repo(bench, location, "stats"));
    format!("{}{}\n{}{}", snapshots.out, snapshots.err, stats.out, stats.err)
}

/// Backs up in the first cluster, restores in the second under another name and class, and compares.
fn carried_over(bench: &Bench, second: &Kubernetes, place: &Location, location: &str, name: &str) {
    let first = &bench.cluster;
    let space = Space::new(first, name);
    first.apply(
        name,
        &(workload::claim("data", first.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    first
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    first.rolled_out(name, "deploy/app");
    content::fill(first, name, "deploy/app", "/data");
    let before = content::listing(first, name, "deploy/app", "/data");
    first
        .ararat(&format!(
            "backup create {name} --include-namespaces {name} --storage-location {location} --wait"
        ))
        .ok();
    spotless(first, &first.object("backup", name));
    drop(space);

    install(second, place, &key(first, location), "--restore-only");
    wait("the Backup to be found in the store", Duration::from_secs(90), || {
        (second.phase("backup", name) == "Completed").then_some(())
    });
    // What reads alone has a reader's key for its agents: they are handed that one, and one that is none is of no use to them.
    let reader = first.home.join(format!("{name}.reader"));
    let verb = format!("key add --role reader --new-key {}", reader.display());
    repo_at(bench, place, location, &verb).ok();
    let there = Space::awaited(second, &format!("{name}-there"));
    let restore = |restore: &str| {
        let line = format!(
            "restore create {restore} --from-backup {name} --namespace-mappings {name}:{} --storage-class-mappings {}:{} --wait",
            there.name,
            first.class,
            second.late()
        );
        second.ararat(&line)
    };
    give_reader(second, "none");
    restore(&format!("{name}-none")).fails().says(&["data"]);
    there.destroy();
    give_reader(second, &std::fs::read_to_string(&reader).unwrap());
    restore(name).ok();
    spotless(second, &second.object("restore", name));
    second.rolled_out(&there.name, "deploy/app");
    content::assert_same(&before, &content::listing(second, &there.name, "deploy/app", "/data"));
    assert_eq!(
        text(&second.get(&format!("configmap -n {} words", there.name)), "/data/a"),
        "b"
    );
    let claim = second.get(&format!("pvc -n {} data", there.name));
    assert_eq!(text(&claim, "/spec/storageClassName"), second.late());

    // Whoever only looks on changes nothing: no backup, no deletion.
    second
        .ararat(&format!("backup create {name}-no --include-namespaces {}", there.name))
        .fails()
        .says(&["reading only"]);
    second
        .ararat(&format!("backup delete {name} --confirm"))
        .fails()
        .says(&["ReadOnly"]);
    assert_eq!(first.phase("backup", name), "Completed");
}

/// Puts a reader's key beside the owner's in the Secret of the default location.
fn give_reader(cluster: &Kubernetes, key: &str) {
    let patch = serde_json::json!({ "stringData": { "reader.key": key } });
    let line = format!("patch secret -n ararat location-default-key --type=merge -p '{patch}'");
    cluster.kubectl(&line).ok();
}

#[test]
fn a_second_cluster_restores_what_the_first_has_saved_in_s3() {
    let Some(story) = bench::alone() else { return };
    let Some(second) = story.second() else { return };
    let name = story.name("carried");
    carried_over(&story, &second, &story.place(), "default", &name);

    // The objects of what is gone from the store go as well.
    story.cluster.ararat(&format!("backup delete {name} --confirm")).ok();
    second
        .kubectl("patch backupstoragelocation -n ararat default --type=merge -p '{\"spec\":{\"syncPeriod\":\"2s\"}}'")
        .ok();
    wait("the Backup to go", Duration::from_secs(90), || {
        second.find(&format!("backup -n ararat {name}")).is_none().then_some(())
    });

    // The first cluster owns the location; the second may take it over, and then writes there.
    let owner = text(&second.object("backupstoragelocation", "default"), "/status/owner");
    assert_eq!(
        owner,
        text(&story.cluster.get("namespace kube-system"), "/metadata/uid")
    );
    second
        .ararat("backup-location set default --access-mode ReadWrite")
        .ok();
    second
        .ararat(&format!(
            "backup create {name}-refused --include-namespaces kube-public --wait"
        ))
        .fails()
        .says(&["own"]);
    second.ararat("backup-location set default --take-over").ok();
    wait("the location to be taken over", Duration::from_secs(60), || {
        let location = second.object("backupstoragelocation", "default");
        (text(&location, "/status/owner") == text(&second.get("namespace kube-system"), "/metadata/uid")).then_some(())
    });
    second
        .ararat(&format!(
            "backup create {name}-mine --include-namespaces kube-public --wait"
        ))
        .ok();
    story.cluster.ararat("backup-location set default --take-over").ok();
    uninstalled_leaves_nothing(&second);
}

/// Whoever uninstalls with the keys and the kinds finds the cluster as it was before.
fn uninstalled_leaves_nothing(cluster: &Kubernetes) {
    cluster.ararat("uninstall --confirm --delete-key --crds").ok();
    wait("the namespace to go", Duration::from_secs(60), || {
        cluster.find("namespace ararat").is_none().then_some(())
    });
    let ours = "crd,clusterrole,clusterrolebinding,priorityclass,namespace -l app.kubernetes.io/part-of=ararat";
    assert_eq!(cluster.names(ours), [""; 0]);
    assert_eq!(
        cluster.names("pods,secrets -A -l app.kubernetes.io/part-of=ararat"),
        [""; 0]
    );
}

#[test]
fn a_second_cluster_restores_what_the_first_has_saved_in_azure() {
    let Some(story) = bench::alone() else { return };
    let Some(second) = story.second() else { return };
    let Some(server) = or_skip(Server::start(&AZURITE)) else {
        return;
    };
    let name = story.name("azure");
    let place = server.location(&name);
    story.location("azure", &place, "");
    carried_over(&story, &second, &place, "azure", &name);
    story.cluster.ararat("backup-location delete azure --confirm").ok();
    uninstall(&second);
}

#[test]
fn everything_can_be_read_from_the_bucket_with_no_cluster() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("bucket"));
    let name = space.name.clone();
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    let there = Space::awaited(cluster, &format!("{name}-there"));
    let mapping = format!("{name}:{}", there.name);
    cluster
        .ararat(&format!(
            "restore create {name} --from-backup {name} --namespace-mappings {mapping} --wait"
        ))
        .ok();
    let restore = cluster.object("restore", &name);
    let file = cluster.home.join("bucket.key");
    std::fs::write(&file, key(cluster, "default")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let place = story.place();
    let laptop = Kubernetes {
        folder: "/nowhere".into(),
        ..cluster.clone()
    };
    let read = |line: &str| {
        let variables: String = place
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect();
        let ararat = env!("CARGO_BIN_EXE_ararat");
        let words = format!(
            "env {variables} {ararat} {line} --from-location {} --key-file {}",
            place.url,
            file.display()
        );
        laptop.program(&words)
    };
    read("backup get").ok().says(&[&name, "Completed"]);
    read(&format!("backup describe {name}"))
        .ok()
        .says(&[&name, "Completed"]);
    read(&format!("backup logs {name}")).ok().says(&[&name]);
    let archive = cluster.home.join("bucket.tar");
    read(&format!("backup download {name} -o {}", archive.display())).ok();
    let listed = laptop.program(&format!("tar -tf {}", archive.display())).ok().out;
    assert!(
        listed.contains(&format!("objects/configmaps/namespaces/{name}/words")),
        "{listed}"
    );

    // What became of a restore is there as well, also when its object is gone.
    cluster.kubectl(&format!("delete restore -n ararat {name}")).ok();
    let kept = read(&format!("restore get {name} -o json")).ok().json();
    for place in ["/metadata/uid", "/spec", "/status"] {
        assert_eq!(kept.pointer(place), restore.pointer(place), "{kept:#}\n{restore:#}");
    }
    read("restore get").ok().says(&[&name, "Completed"]);
    read(&format!("restore describe {name}"))
        .ok()
        .says(&["Completed", &there.name]);
    read(&format!("restore logs {name}"))
        .ok()
        .says(&[&format!("of backup {name}")]);
    read(&format!("restore logs {name}x"))
        .fails()
        .says(&["Did you mean", &name]);
}
