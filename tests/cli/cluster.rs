//! The commands for a cluster where there is none: manifests that are only printed, objects that would be made, backups read from their store alone, and
//! what is said when nobody answers.

use crate::home::{Home, Ran, run};

fn ararat(home: &Home, line: &str) -> Ran {
    run(home.command().args(line.split(' ')))
}

/// A repository with a Backup as the controller leaves one.
fn with_backup() -> Home {
    let home = Home::with_repository();
    let record = r#"{"format": 1, "program": "test", "name": "nginx-backup", "uid": "u", "cluster": "c", "kubernetes": "v1.36.3",
        "spec": {"labelSelector": {"matchLabels": {"app": "nginx"}}},
        "status": {"phase": "PartiallyFailed", "startTimestamp": "2026-11-23T04:05:06Z", "completionTimestamp": "2026-11-23T04:06:21Z",
            "storageLocation": "default", "errors": 1, "progress": {"totalItems": 2, "itemsBackedUp": 2}},
        "kinds": {"configmaps": 1, "namespaces": 1}}"#;
    home.write("backup/record.json", record);
    let volumes = r#"[{"source": "claims/shop/data", "namespace": "shop", "mode": "Filesystem", "action": "FsBackup", "reason": "default",
        "error": "the pod is gone"}]"#;
    home.write("backup/volumes.json", volumes);
    let results = r#"{"warnings": [], "errors": [{"reason": "VolumeFailed", "about": "claims/shop/data", "message": "the pod is gone"}]}"#;
    home.write("backup/results.json", results);
    home.write("backup/run.log", "it began\nit \u{1b}[31mended\n");
    home.write(
        "backup/objects/configmaps/namespaces/shop/conf",
        r#"{"kind": "ConfigMap"}"#,
    );
    home.write("backup/objects/namespaces/cluster/shop", r#"{"kind": "Namespace"}"#);
    stored(&home, "backup", "nginx-backup");
    home
}

fn from_location(home: &Home, line: &str) -> Ran {
    let repository = home.path("repository");
    run(home
        .command()
        .args(line.split(' '))
        .arg("--from-location")
        .arg(repository))
}

#[test]
fn backups_are_read_from_their_store_alone() {
    let home = with_backup();
    let got = from_location(&home, "backup get").ends(0).out;
    assert!(
        got.contains("nginx-backup  PartiallyFailed") && got.contains("app=nginx"),
        "{got}"
    );
    let backup = from_location(&home, "get backups nginx-backup -o json").ends(0).json();
    assert_eq!(
        (&backup["kind"], &backup["status"]["errors"]),
        (&"Backup".into(), &1.into())
    );
    let told = from_location(&home, "backup describe nginx-backup --details")
        .ends(0)
        .out;
    for part in [
        "NOT SAVED: the pod is gone",
        "VolumeFailed (1)",
        "1  configmaps\n          shop/conf",
        "in 1m15s",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let log = from_location(&home, "backup logs nginx-backup").ends(0).out;
    assert_eq!(log, "it began\nit \\u{1b}[31mended\n");
}

/// The same repository with what became of a Restore, as the controller leaves it.
fn with_restore() -> Home {
    let home = with_backup();
    let record = r#"{"format": 1, "program": "test", "name": "nginx-20261123050607", "uid": "r", "cluster": "c", "kubernetes": "v1.36.3",
        "labels": {"team": "web"},
        "spec": {"backupName": "nginx-backup", "namespaceMapping": {"shop": "shop-test"}},
        "status": {"phase": "PartiallyFailed", "backupName": "nginx-backup", "startTimestamp": "2026-11-23T05:06:07Z",
            "completionTimestamp": "2026-11-23T05:07:22Z", "storageLocation": "default", "errors": 1,
            "progress": {"totalItems": 2, "itemsRestored": 2, "created": 2}, "volumes": {"total": 1, "completed": 0, "failed": 1}}}"#;
    home.write("restore/record.json", record);
    let volumes = r#"[{"source": "claims/shop/data", "pod": "shop-test/holder", "node": "node1", "phase": "Failed", "message": "the disk is full"}]"#;
    home.write("restore/volumes.json", volumes);
    let results = r#"{"warnings": [], "errors": [{"reason": "VolumeFailed", "about": "claims/shop/data", "message": "the disk is full"}]}"#;
    home.write("restore/results.json", results);
    home.write("restore/run.log", "it began anew\nit \u{1b}[31mended\n");
    stored(&home, "restore", "nginx-20261123050607");
    home
}

/// Saves the folder of that name as the controller's snapshot of a kind.
fn stored(home: &Home, kind: &str, name: &str) {
    let labels = [
        format!("--label=ararat.dev/kind={kind}"),
        format!("--label=ararat.dev/name={name}"),
    ];
    let mut command = home.command();
    command.current_dir(home.path(kind));
    run(command.args(["repo", "backup", "."]).args(labels)).ends(0);
}

#[test]
fn restores_are_read_from_their_store_alone() {
    let home = with_restore();
    let got = from_location(&home, "restore get").ends(0).out;
    assert!(
        got.contains("nginx-20261123050607  nginx-backup  PartiallyFailed") && !got.contains("nginx-backup  <"),
        "{got}"
    );
    let restore = from_location(&home, "get restores nginx-20261123050607 -o json")
        .ends(0)
        .json();
    assert_eq!(
        (
            &restore["kind"],
            &restore["status"]["errors"],
            &restore["metadata"]["uid"]
        ),
        (&"Restore".into(), &1.into(), &"r".into())
    );
    let names = from_location(&home, "restore get -l team=web -o name").ends(0).out;
    assert!(names.contains("nginx-20261123050607"), "{names}");
    let other = from_location(&home, "restore get -l team=other").ends(0).out;
    assert_eq!(other, "No restores\n");
    let told = from_location(&home, "restore describe --details").ends(0).out;
    for part in [
        "Backup:                nginx-backup",
        "shop → shop-test",
        "claims/shop/data through pod shop-test/holder on node1: Failed",
        "the disk is full",
        "VolumeFailed (1)",
        "1m15s",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let log = from_location(&home, "restore logs nginx-20261123050607").ends(0).out;
    assert_eq!(log, "it began anew\nit \\u{1b}[31mended\n");
    // The other kind is not seen among them.
    let backups = from_location(&home, "backup get -o name").ends(0).out;
    assert!(!backups.contains("nginx-20261123050607"), "{backups}");
}

#[test]
fn a_restore_that_is_not_there_is_answered_with_those_that_are_near() {
    let home = with_restore();
    for line in ["restore get", "restore describe", "restore logs"] {
        from_location(&home, &format!("{line} nginx-20261123050600"))
            .ends(1)
            .says(&[
                "There is no Restore `nginx-20261123050600`",
                "Did you mean `nginx-20261123050607`?",
            ]);
    }
    from_location(&home, "restore logs other")
        .ends(1)
        .says(&["There is no Restore `other`", "ararat restore get --from-location"]);
    let empty = Home::with_repository();
    assert_eq!(from_location(&empty, "restore get").ends(0).out, "No restores\n");
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other_restore() {
    let home = with_restore();
    home.write("restore/record.json", r#"{"format": 99, "program": "test", "name": "newer", "uid": "n", "cluster": "c", "kubernetes": "v9", "spec": {}, "status": {}}"#);
    stored(&home, "restore", "newer");
    let got = from_location(&home, "restore get").ends(3);
    got.says(&["is left out", "newer version"]);
    assert!(got.out.contains("nginx-20261123050607"), "{}", got.out);
    from_location(&home, "restore logs newer")
        .ends(1)
        .says(&["Restore `newer` was written by a newer version", "Use a newer version"]);
}

#[test]
fn contents_go_into_an_archive_that_is_never_written_over_unasked() {
    let home = with_backup();
    from_location(&home, "backup download nginx-backup").ends(0);
    let archive = std::fs::read(home.path("nginx-backup.tar")).unwrap();
    let text = String::from_utf8_lossy(&archive);
    assert!(text.contains("objects/configmaps/namespaces/shop/conf") && text.contains("record.json"));
    from_location(&home, "backup download nginx-backup")
        .ends(2)
        .says(&["nginx-backup.tar exists", "--force"]);
    from_location(&home, "backup download nginx-backup --force").ends(0);
    assert!(!home.path("nginx-backup.tar.new").exists());
}

#[test]
fn a_backup_that_cannot_be_read_hides_no_other_one() {
    let home = with_backup();
    home.write("backup/record.json", "{");
    stored(&home, "backup", "broken");
    let got = from_location(&home, "backup get").ends(3);
    got.says(&["is left out", "record.json"]);
    assert!(got.out.contains("nginx-backup"), "{}", got.out);
}

#[test]
fn a_wrong_name_is_answered_with_those_that_are_near() {
    let home = with_backup();
    from_location(&home, "backup describe ngnix-backup")
        .ends(1)
        .says(&["There is no Backup `ngnix-backup`", "Did you mean `nginx-backup`?"]);
}

#[test]
fn a_dry_run_prints_what_would_be_applied_and_draws_no_key() {
    let home = Home::new();
    home.write(
        "credentials",
        "[default]\naws_access_key_id=AK\naws_secret_access_key=hunter2\n",
    );
    let line =
        "install --image localhost/ararat --location s3://bucket/prefix --credentials-file credentials --dry-run";
    let ran = ararat(&home, line).ends(0);
    ran.says(&["A dry run draws no key", "--key-file"]);
    let kinds = ran
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("kind: "))
        .collect::<Vec<_>>();
    assert_eq!((kinds[0], kinds[1]), ("Namespace", "CustomResourceDefinition"));
    assert_eq!(
        kinds[kinds.len() - 4..],
        ["Secret", "BackupStorageLocation", "Deployment", "DaemonSet"]
    );
    assert!(!ran.out.contains("owner.key: ") && !home.path("ararat-recovery-sheet-default.txt").exists());
    let json = ararat(&home, "install --image x --no-location --dry-run -o json")
        .ends(0)
        .json();
    assert_eq!(json["items"].as_array().unwrap().len(), kinds.len() - 2);
}

#[test]
fn the_key_of_a_repository_that_is_there_becomes_a_secret() {
    let home = Home::with_repository();
    let key = home.path("key");
    let line = format!(
        "install --image x --location s3://bucket/prefix --key-file {} --dry-run",
        key.display()
    );
    let ran = ararat(&home, &line).ends(0);
    assert!(ran.out.contains("owner.key: ") && ran.out.contains("name: location-default-key"));
}

#[test]
fn objects_that_would_be_made_are_printed_in_the_words_of_the_field() {
    let home = Home::new();
    let backup = ararat(
        &home,
        "backup create nginx-backup --selector app=nginx --snapshot-volumes=false --ttl 72h --dry-run=client -o json",
    )
    .ends(0)
    .json();
    assert_eq!(backup["spec"]["labelSelector"]["matchLabels"]["app"], "nginx");
    assert_eq!(
        (&backup["spec"]["ttl"], &backup["spec"]["snapshotVolumes"]),
        (&"72h".into(), &false.into())
    );
    let restore = ararat(
        &home,
        "create restore --from-backup nginx-backup --namespace-mappings a:b --dry-run=client -o json",
    )
    .ends(0)
    .json();
    let name = restore["metadata"]["name"].as_str().unwrap();
    assert!(
        name.strip_prefix("nginx-backup-").is_some_and(|time| time.len() == 14),
        "{name}"
    );
    assert_eq!(restore["spec"]["namespaceMapping"]["a"], "b");
    let schedule = ararat(
        &home,
        "-n tools schedule create nightly --schedule @daily --timezone Europe/Berlin --dry-run=client -o json",
    )
    .ends(0)
    .json();
    assert_eq!(
        (&schedule["metadata"]["namespace"], &schedule["spec"]["timeZone"]),
        (&"tools".into(), &"Europe/Berlin".into())
    );
    ararat(&home, "schedule create nightly --schedule never --dry-run=client")
        .ends(2)
        .says(&["`never` is no schedule", "@daily"]);
}

#[test]
fn without_a_cluster_it_is_said_how_one_is_named() {
    let mut home = Home::new();
    ararat(&home, "backup get")
        .ends(1)
        .says(&["No cluster is known", "--kubeconfig"]);
    ararat(&home, "version --client-only").ends(0);
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\nusers: [{name: u, user: {}}]\n";
    let config = home.write("config", config);
    home.set("KUBECONFIG", config.to_str().unwrap());
    ararat(&home, "backup create x").ends(1).says(&[
        "The API server https://127.0.0.1:9 does not answer",
        "Check that the cluster runs",
    ]);
    ararat(&home, "backup get --context nope")
        .ends(1)
        .says(&["nope", "get-contexts"]);
    let told = ararat(&home, "--json backup get").ends(1).json();
    assert_eq!(told["error"]["exit_code"], 1);
    ararat(&home, "backup delete x --confirm").ends(1);
    ararat(&home, "uninstall").ends(1);
}

#[test]
fn a_plugin_of_kubectl_calls_itself_so() {
    let home = Home::new();
    let plugin = home.path("kubectl-ararat");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ararat"), &plugin).unwrap();
    let ran = run(home.command_of(plugin.to_str().unwrap()).args(["backup", "create"]));
    ran.ends(2).says(&["Usage: kubectl ararat backup create"]);
}
