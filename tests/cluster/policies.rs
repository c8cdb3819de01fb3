//! What happens to objects that exist, and what is shown before it happens.

use crate::bench::{self, spotless};
use crate::kubernetes::{number, text};
use crate::space::Space;

const WORDS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: words, labels: {a: b}}
data: {greeting: hello, farewell: bye}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {here: there}
";

#[test]
fn objects_that_exist_stay_are_updated_or_made_anew_as_it_is_asked() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("existing"));
    let name = space.name.clone();
    cluster.apply(&name, WORDS);
    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    let change = format!(
        "patch configmap -n {name} words --type=merge -p '{{\"data\":{{\"greeting\":\"changed\",\"mine\":\"kept\"}}}}'"
    );
    cluster.kubectl(&change).ok();
    let uid = text(&cluster.get(&format!("configmap -n {name} words")), "/metadata/uid");
    let words = || cluster.get(&format!("configmap -n {name} words"));
    let restore = |policy: &str| {
        let line =
            format!("restore create {name}-{policy} --from-backup {name} --existing-resource-policy {policy} --wait");
        let ran = cluster.ararat(&line);
        (ran, cluster.object("restore", &format!("{name}-{policy}")))
    };

    let (ran, skipped) = restore("skip");
    ran.ok();
    assert_eq!(
        (
            text(&skipped, "/status/phase").as_str(),
            number(&skipped, "/status/warnings")
        ),
        ("Completed", 1),
        "{skipped:#}"
    );
    assert_eq!(text(&words(), "/data/greeting"), "changed");
    cluster
        .ararat(&format!("restore describe {name}-skip"))
        .ok()
        .says(&["words", "greeting"]);

    let (ran, failed) = restore("fail");
    ran.ends(1).says(&["words"]);
    assert_eq!(text(&failed, "/status/phase"), "Failed");
    assert_eq!(text(&words(), "/data/greeting"), "changed");

    let (ran, updated) = restore("update");
    ran.ok();
    spotless(cluster, &updated);
    assert_eq!(number(&updated, "/status/progress/updated"), 1, "{updated:#}");
    assert_eq!(text(&words(), "/data/greeting"), "hello");
    assert_eq!(text(&words(), "/metadata/uid"), uid);

    cluster.kubectl(&change).ok();
    let (ran, recreated) = restore("recreate");
    ran.ok();
    spotless(cluster, &recreated);
    assert_eq!(text(&words(), "/data/greeting"), "hello");
    assert_eq!(text(&words(), "/data/mine"), "");
    assert_ne!(text(&words(), "/metadata/uid"), uid);
}

#[test]
fn a_dry_run_shows_what_would_be_done_and_does_nothing() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("planned"));
    let name = space.name.clone();
    cluster.apply(&name, WORDS);
    let plan = cluster
        .ararat(&format!(
            "backup create {name}-plan --include-namespaces {name} --exclude-names other --dry-run"
        ))
        .ok();
    plan.says(&["words", "selected"]);
    assert!(
        cluster.find(&format!("backup -n ararat {name}-plan")).is_none(),
        "a dry run left a Backup behind"
    );

    cluster
        .ararat(&format!("backup create {name} --include-namespaces {name} --wait"))
        .ok();
    cluster.kubectl(&format!("delete configmap -n {name} other")).ok();
    cluster
        .kubectl(&format!(
            "patch configmap -n {name} words --type=merge -p '{{\"data\":{{\"greeting\":\"changed\"}}}}'"
        ))
        .ok();
    let line = format!("restore create {name}-plan --from-backup {name} --existing-resource-policy update --dry-run");
    cluster
        .ararat(&line)
        .ok()
        .says(&["other", "words", "data.greeting", "hello", "changed"]);
    assert!(cluster.find(&format!("configmap -n {name} other")).is_none());
    assert_eq!(
        text(&cluster.get(&format!("configmap -n {name} words")), "/data/greeting"),
        "changed"
    );
    assert!(
        cluster.find(&format!("restore -n ararat {name}-plan")).is_none(),
        "a dry run left a Restore behind"
    );
}

#[test]
fn filters_choose_what_is_saved_and_what_comes_back() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let base = story.name("filter");
    let spaces = ["one", "two", "three"].map(|end| Space::new(cluster, &format!("{base}-{end}")));
    for space in &spaces {
        cluster.apply(&space.name, WORDS);
        cluster
            .kubectl(&format!(
                "create secret generic -n {} keys --from-literal=a=b",
                space.name
            ))
            .ok();
    }
    cluster
        .kubectl(&format!(
            "label configmap -n {base}-one other velero.io/exclude-from-backup=true"
        ))
        .ok();
    let line = format!(
        "backup create {base} --include-namespaces {base}-* --exclude-namespaces {base}-t?r* --exclude-resources secret --wait"
    );
    cluster.ararat(&line).ok();
    spotless(cluster, &cluster.object("backup", &base));
    for space in &spaces {
        cluster
            .kubectl(&format!(
                "delete configmap,secret -n {} words other keys --ignore-not-found",
                space.name
            ))
            .ok();
    }
    cluster
        .ararat(&format!(
            "restore create {base} --from-backup {base} --include-names words --selector a=b --wait"
        ))
        .ok();
    let there = |end: &str| {
        let names = cluster.names(&format!("configmap,secret -n {base}-{end}"));
        names
            .into_iter()
            .filter(|name| name != "kube-root-ca.crt")
            .collect::<Vec<_>>()
    };
    assert_eq!(there("one"), ["words"]);
    assert_eq!(there("two"), ["words"]);
    assert!(there("three").is_empty());
    cluster
        .ararat(&format!("restore create {base}-rest --from-backup {base} --wait"))
        .ok();
    assert_eq!(
        there("one"),
        ["words"],
        "an object with the label that excludes it was saved"
    );
    assert_eq!(there("two"), ["other", "words"]);
}
