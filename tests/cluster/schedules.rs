//! Time: backups at times, and when they go; what was deleted leaves nothing in the store.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::{self, Story, spotless};
use crate::content;
use crate::kubernetes::{Kubernetes, text, wait};
use crate::space::Space;
use crate::workload;

/// The Backups of a schedule, in the order of their names.
fn made_by(cluster: &Kubernetes, schedule: &str) -> Vec<String> {
    cluster.names(&format!("backups -n ararat -l ararat.dev/schedule-name={schedule}"))
}

#[test]
fn a_schedule_makes_backups_until_it_is_paused_and_when_it_is_told() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("timed"));
    let name = space.name.clone();
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    cluster
        .ararat(&format!(
            "schedule create {name} --schedule '@every 5s' --include-namespaces {name} --ttl 1h"
        ))
        .ok();
    wait("two backups", Duration::from_secs(60), || {
        (made_by(cluster, &name).len() >= 2).then_some(())
    });
    cluster.ararat(&format!("schedule pause {name}")).ok();
    cluster.ararat("schedule get").ok().says(&[&name, "@every 5s"]);
    cluster
        .ararat(&format!("schedule describe {name}"))
        .ok()
        .says(&["aused"]);
    // One that was about to begin may still come.
    std::thread::sleep(Duration::from_secs(2));
    let paused = made_by(cluster, &name);
    for backup in &paused {
        let time = backup.strip_prefix(&format!("{name}-")).unwrap_or_default();
        assert!(
            time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit()),
            "{backup}"
        );
        spotless(cluster, &cluster.ended("backup", backup, Duration::from_secs(60)));
        assert!(!text(&cluster.object("backup", backup), "/status/expiration").is_empty());
    }
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(made_by(cluster, &name), paused, "a paused schedule goes on");
    cluster.ararat(&format!("schedule run {name}")).ok();
    wait("the backup that was asked for", Duration::from_secs(60), || {
        (made_by(cluster, &name).len() == paused.len() + 1).then_some(())
    });
    cluster
        .ararat(&format!("backup create --from-schedule {name} --wait"))
        .ok();
    cluster
        .ararat(&format!("restore create --from-schedule {name} --wait"))
        .ok();
    cluster.kubectl(&format!("delete schedule -n ararat {name}")).ok();
    // What it made is not lost with it.
    assert!(made_by(cluster, &name).len() > paused.len());
}

#[test]
fn times_that_are_none_are_refused_with_the_reason() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let name = story.name("never");
    for wrong in ["61 * * * *", "hourly", "* * * *"] {
        let ran = cluster.ararat(&format!("schedule create {name} --schedule '{wrong}'"));
        let refused = ran.code != 0 || {
            wait("the schedule to be looked at", Duration::from_secs(30), || {
                let schedule = cluster.object("schedule", &name);
                schedule
                    .pointer("/status/conditions/0")
                    .map(|condition| text(condition, "/status") == "False")
            })
        };
        assert!(refused, "`{wrong}` is taken for a schedule");
        cluster
            .kubectl(&format!("delete schedule -n ararat {name} --ignore-not-found"))
            .ok();
    }
}

/// The files of the store's packs: volumes, objects and logs are in packs.
fn packs(story: &Story, prefix: &str) -> Vec<PathBuf> {
    let folder = story.store.folder().join("data/ararat").join(prefix).join("p");
    let sessions = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let packs = sessions.flat_map(|session| std::fs::read_dir(session.path()).into_iter().flatten().flatten());
    packs.map(|pack| pack.path()).filter(|path| path.is_file()).collect()
}

/// Prunes the repository of a location now, and waits until it is done.
pub fn prune(cluster: &Kubernetes, location: &str) {
    let stamp =
        format!("{:?}", std::time::SystemTime::now()).replace(|letter: char| !letter.is_ascii_alphanumeric(), "");
    let change = format!(
        "patch backuprepository -n ararat {location} --type=merge -p '{{\"spec\":{{\"pruneNow\":\"{stamp}\"}}}}'"
    );
    cluster.kubectl(&change).ok();
    let done = wait("the prune", Duration::from_secs(120), || {
        let repository = cluster.object("backuprepository", location);
        let is_done = text(&repository, "/status/pruneNow") == stamp
            && !text(&repository, "/status/lastPrune/completed").is_empty();
        is_done.then_some(repository)
    });
    assert_eq!(text(&done, "/status/lastPrune/succeeded"), "true", "{done:#}");
}

#[test]
fn what_is_deleted_or_has_expired_leaves_nothing_in_the_store() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("mortal"));
    let name = space.name.clone();
    story.location(&name, &story.store.location(&name), "");
    cluster.apply(
        &name,
        &(workload::claim("data", cluster.class, "Filesystem") + &workload::deployment("app", "data")),
    );
    cluster.rolled_out(&name, "deploy/app");
    content::fill(cluster, &name, "deploy/app", "/data");
    let create = |backup: &str, more: &str| {
        let line =
            format!("backup create {backup} --include-namespaces {name} --storage-location {name} --wait {more}");
        cluster.ararat(&line).ok();
    };
    create(&format!("{name}-deleted"), "");
    create(&format!("{name}-expired"), "--ttl 20s");
    let elsewhere = Space::awaited(cluster, &format!("{name}-there"));
    let line = format!(
        "restore create {name} --from-backup {name}-deleted --namespace-mappings {name}:{} --wait",
        elsewhere.name
    );
    cluster.ararat(&line).ok();
    assert!(!packs(&story, &name).is_empty());

    // The object alone is not the data: it comes back from the store.
    cluster.kubectl(&format!("delete backup -n ararat {name}-deleted")).ok();
    cluster
        .kubectl(&format!(
            "patch backupstoragelocation -n ararat {name} --type=merge -p '{{\"spec\":{{\"syncPeriod\":\"2s\"}}}}'"
        ))
        .ok();
    wait(
        "the Backup to come back from the store",
        Duration::from_secs(60),
        || (cluster.phase("backup", &format!("{name}-deleted")) == "Completed").then_some(()),
    );

    cluster.ararat(&format!("backup delete {name}-deleted --confirm")).ok();
    assert!(cluster.find(&format!("backup -n ararat {name}-deleted")).is_none());
    assert!(
        cluster.find(&format!("restore -n ararat {name}")).is_none(),
        "the Restore of a deleted Backup stays"
    );
    wait("the Backup to expire", Duration::from_secs(90), || {
        cluster
            .find(&format!("backup -n ararat {name}-expired"))
            .is_none()
            .then_some(())
    });
    prune(cluster, &name);
    // The record of the cluster that owns the location is all that stays.
    let left = packs(&story, &name);
    let snapshots = crate::second::snapshots(&story, &name);
    assert!(
        left.len() == 1 && snapshots.contains("owner") && snapshots.contains("\n1 snapshot\n"),
        "packs are left behind: {left:?}\n{snapshots}"
    );
    // And neither comes back with the next look at the store.
    std::thread::sleep(Duration::from_secs(5));
    let backups = cluster.names("backups -n ararat");
    assert!(!backups.iter().any(|backup| backup.starts_with(&name)), "{backups:?}");
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
}

/// What is said of holding a Backup: whether the repository does, and why it is said.
fn held(cluster: &Kubernetes, backup: &str) -> Option<(String, String)> {
    let backup = cluster.find(&format!("backup -n ararat {backup}"))?;
    let conditions = backup.pointer("/status/conditions")?.as_array()?.clone();
    let said = conditions.into_iter().find(|said| text(said, "/type") == "Held")?;
    Some((text(&said, "/status"), text(&said, "/reason")))
}

/// Sets spec.hold of a Backup, and waits for what is said of it.
fn hold(cluster: &Kubernetes, backup: &str, hold: bool, status: &str, reason: &str) {
    let change = format!("patch backup -n ararat {backup} --type=merge -p '{{\"spec\":{{\"hold\":{hold}}}}}'");
    cluster.kubectl(&change).ok();
    wait("the word of the hold", Duration::from_secs(60), || {
        (held(cluster, backup) == Some((status.to_owned(), reason.to_owned()))).then_some(())
    });
}

/// Whoever holds a backup means its data, and not an object in one cluster.
#[test]
fn a_hold_is_in_the_repository_and_outlives_the_backup_object() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("keepsake"));
    let name = space.name.clone();
    story.location(&name, &story.store.location(&name), "--sync-period 2s");
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    let line = format!("backup create {name} --include-namespaces {name} --storage-location {name} --ttl 1h --wait");
    cluster.ararat(&line).ok();
    let found_again = || {
        cluster.kubectl(&format!("delete backup -n ararat {name}")).ok();
        wait(
            "the Backup to come back from the store",
            Duration::from_secs(60),
            || (cluster.phase("backup", &name) == "Completed").then_some(()),
        );
        text(&cluster.object("backup", &name), "/spec/hold")
    };
    hold(cluster, &name, true, "True", "InRepository");
    assert_eq!(found_again(), "true", "the hold went with the object");
    hold(cluster, &name, false, "False", "NotHeld");
    assert_eq!(found_again(), "false", "the end of the hold went with the object");

    // From anywhere, with no cluster.
    let snapshot = text(&cluster.object("backup", &name), "/status/snapshotID");
    let tag = format!("tag --add ararat.dev/hold {snapshot}");
    crate::second::repo(&story, &name, &tag).ok();
    wait("the hold to be seen", Duration::from_secs(60), || {
        (text(&cluster.object("backup", &name), "/spec/hold") == "true").then_some(())
    });
    // A policy leaves everything of this cluster alone, and what is held cannot be named either.
    crate::second::repo(&story, &name, "forget --keep-last 1 --group-by host")
        .ok()
        .says(&["0 snapshots forgotten", "not judged"]);
    let forgotten = crate::second::repo(&story, &name, &format!("forget {snapshot}"));
    assert_eq!(forgotten.code, 2, "{}", forgotten.err);
    assert!(forgotten.err.contains("is held by its tag"), "{}", forgotten.err);
    hold(cluster, &name, false, "False", "NotHeld");

    // Where nothing is written, a hold keeps nothing, and that is said.
    cluster
        .ararat(&format!("backup-location set {name} --access-mode ReadOnly"))
        .ok();
    hold(cluster, &name, true, "False", "OnlyHere");
    cluster
        .ararat(&format!("backup describe {name}"))
        .ok()
        .says(&["keeps nothing", "ReadOnly"]);
    let snapshots = crate::second::repo(&story, &name, "snapshots").ok();
    assert!(!snapshots.out.contains("ararat.dev/hold"), "{}", snapshots.out);
    cluster
        .ararat(&format!("backup-location set {name} --access-mode ReadWrite"))
        .ok();
    wait("the hold to be written", Duration::from_secs(60), || {
        (held(cluster, &name)?.0 == "True").then_some(())
    });
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
}

#[test]
fn what_is_held_outlives_its_time() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("held"));
    let name = space.name.clone();
    cluster
        .kubectl(&format!("create configmap -n {name} words --from-literal=a=b"))
        .ok();
    cluster
        .ararat(&format!(
            "backup create {name} --include-namespaces {name} --ttl 8s --wait"
        ))
        .ok();
    cluster
        .kubectl(&format!(
            "patch backup -n ararat {name} --type=merge -p '{{\"spec\":{{\"hold\":true}}}}'"
        ))
        .ok();
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(cluster.phase("backup", &name), "Completed");
    cluster
        .kubectl(&format!(
            "patch backup -n ararat {name} --type=merge -p '{{\"spec\":{{\"hold\":false}}}}'"
        ))
        .ok();
    wait("the Backup to expire", Duration::from_secs(90), || {
        cluster
            .find(&format!("backup -n ararat {name}"))
            .is_none()
            .then_some(())
    });
}

/// What the users' page shows of BackupRepositories is run as it stands there.
#[test]
fn a_repository_is_pruned_and_checked_when_it_is_asked_for() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    for (asked, done) in [("pruneNow", "lastPrune"), ("checkNow", "lastCheck")] {
        let page = include_str!("../../cli/KUBERNETES.md");
        let beginning =
            format!("kubectl -n ararat patch backuprepository default --type=merge -p '{{\"spec\":{{\"{asked}\"");
        let script = cluster.home.join(asked);
        std::fs::write(
            &script,
            crate::guide::shown(page, "Locations and keys", &beginning, "'"),
        )
        .unwrap();
        cluster.program(&format!("sh {}", script.display())).ok();
        let wanted = text(
            &cluster.get("backuprepository -n ararat default"),
            &format!("/spec/{asked}"),
        );
        assert!(
            !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit()),
            "{wanted}"
        );
        wait(asked, Duration::from_secs(120), || {
            let repository = cluster.get("backuprepository -n ararat default");
            let is_done = text(&repository, &format!("/status/{asked}")) == wanted
                && text(&repository, &format!("/status/{done}/succeeded")) == "true"
                && text(&repository, &format!("/status/{done}/completed"))
                    >= text(&repository, &format!("/status/{done}/started"));
            is_done.then_some(())
        });
    }
    let page = include_str!("../../cli/KUBERNETES.md");
    let get = crate::guide::shown(page, "Locations and keys", "kubectl -n ararat get", "yaml");
    cluster
        .kubectl(get.split_once(' ').unwrap().1)
        .ok()
        .says(&["lastPrune:", "lastCheck:", "type: Healthy"]);
}
