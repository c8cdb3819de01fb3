//! The whole way of a user: a first backup with nothing configured, a look around, care, and the worst day.

use serde_json::Value;

use crate::home::Home;
use crate::likeness::{bytes_on_disk, difference};
use crate::trees;

/// The document has each of these fields.
#[track_caller]
fn has(document: &Value, fields: &[&str]) {
    for field in fields {
        assert!(document.get(field).is_some(), "no `{field}` in {document}");
    }
}

fn with_default_repository() -> Home {
    let home = Home::new();
    trees::fill(&home.source());
    trees::settle();
    home
}

#[test]
fn the_first_backup_makes_a_repository_and_says_where_it_and_its_key_are() {
    let home = with_default_repository();
    let ran = home.ok(["backup".as_ref(), home.source().as_os_str()]);
    let places = [
        home.path("data/ararat/repository"),
        home.path("config/ararat/repository.key"),
        home.path("config/ararat/recovery-sheet.txt"),
    ];
    for (place, word) in places.iter().zip(["repository", "key", "recovery sheet"]) {
        assert!(place.exists(), "{}", place.display());
        ran.says(&[place.to_str().unwrap(), word]);
    }
    assert!(ran.out.contains("Snapshot "), "{}", ran.out);
    for secret in &places[1..] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    let again = home.ok(["backup".as_ref(), home.source().as_os_str()]);
    assert!(again.err.is_empty(), "{}", again.err);
    assert!(again.out.contains("0 new, 0 changed"), "{}", again.out);
    assert!(home.ok(["snapshots"]).out.contains("2 snapshots"));
}

#[test]
fn a_restored_tree_is_the_tree_that_was_backed_up() {
    let home = with_default_repository();
    let root = std::fs::canonicalize(home.source()).unwrap();
    let report = crate::home::run(
        home.command()
            .args(["repo", "--json", "backup", "."])
            .current_dir(home.source()),
    )
    .ends(0)
    .json();
    assert_eq!(report["counts"]["errors"], 0, "{report}");
    let target = home.path("restored");
    let said = home.ok([
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
        "--verify".as_ref(),
    ]);
    assert!(said.out.contains("Restored "), "{}", said.out);
    trees::same(&root, &target);

    let again = home.json([
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
    ]);
    assert_eq!(again["bytes_fetched"], 0, "{again}");
    assert_eq!(again["failed"], 0, "{again}");
    has(
        &again,
        &[
            "snapshot",
            "folders",
            "files",
            "replaced",
            "links",
            "others",
            "unchanged",
            "kept",
            "deleted",
        ],
    );
    has(
        &again,
        &["bytes", "bytes_reused", "verified", "failures", "losses", "requests"],
    );
}

/// Backs `.` up in the source; gives the report.
#[track_caller]
fn back_up_here(home: &Home) -> Value {
    let mut command = home.command();
    command
        .args(["repo", "--json", "backup", "."])
        .current_dir(home.source());
    let report = crate::home::run(&mut command).ends(0).json();
    assert_eq!(report["counts"]["errors"], 0, "{report}");
    report
}

/// Attributes, owners, pipes, devices, names of any bytes, times of any age: with all of it a restored tree is the like of the other.
#[test]
fn everything_that_a_file_system_can_have_comes_back() {
    let home = with_default_repository();
    trees::fill_rare(&home.source());
    trees::settle();
    back_up_here(&home);
    let target = home.path("restored");
    let restore = ["restore", "latest", "--target", target.to_str().unwrap(), "--verify"];
    let report = home.json(restore);
    assert_eq!(
        (&report["failed"], &report["losses"]),
        (&0.into(), &serde_json::json!([])),
        "{report}"
    );
    assert_eq!(difference(&home.source(), &target), None);
    for name in ["sparse", "one hole"] {
        let [there, here] = [&home.source(), &target].map(|folder| bytes_on_disk(folder, name.as_bytes()));
        assert!(here <= there + (64 << 10), "{name} takes {here} bytes, it took {there}");
    }
    let again = back_up_here(&home);
    assert_eq!(again["counts"]["bytes_read"], 0, "{again}");
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn documents_for_programs_have_their_fields() {
    let home = with_default_repository();
    let first = home.backup();
    has(
        &first,
        &[
            "snapshot",
            "parent",
            "unchanged",
            "interrupted",
            "started",
            "ended",
            "counts",
            "excluded",
        ],
    );
    has(&first, &["stored", "continued", "errors", "requests"]);
    assert_eq!(first["counts"]["files"], 66, "{first}");
    assert!(first["counts"]["bytes_stored"].as_u64().unwrap() > 6_000_000, "{first}");
    home.write("source/later", "later");
    let second = home.backup();
    assert_eq!(second["parent"], first["snapshot"]);
    assert_eq!(second["counts"]["files_new"], 1, "{second}");
    assert!(second["counts"]["bytes_read"].as_u64().unwrap() < 100_000, "{second}");

    let snapshots = home.json(["snapshots"]);
    assert_eq!(snapshots.as_array().unwrap().len(), 2);
    for field in [
        "id",
        "time",
        "host",
        "user",
        "paths",
        "tags",
        "labels",
        "incomplete",
        "description",
    ] {
        has(&snapshots[1], &[field]);
    }
    has(
        &snapshots[1],
        &["parent", "root", "program", "started", "ended", "counts"],
    );

    let listed = home.ok(["--json", "ls", "latest", "-R"]).json_lines();
    for entry in &listed {
        has(entry, &["path", "type", "size", "mode", "uid", "gid", "mtime", "inode"]);
    }
    assert!(
        listed
            .iter()
            .any(|entry| entry["type"] == "symlink" && entry["target"] == "nowhere")
    );

    let differences = home.ok(["--json", "diff", "latest~1", "latest"]).json_lines();
    let last = differences.last().unwrap();
    assert_eq!((&last["added"], &last["removed"]), (&1.into(), &0.into()), "{last}");
    assert_eq!(differences[0]["change"], "added");
    assert!(
        differences[0]["entry"]["path"]
            .as_str()
            .unwrap()
            .ends_with("source/later")
    );

    let stats = home.json(["stats"]);
    has(
        &stats,
        &[
            "snapshots",
            "files",
            "logical_bytes",
            "blobs",
            "used_bytes",
            "packs",
            "stored_bytes",
        ],
    );
    has(&stats, &["reduction", "alone"]);
    assert_eq!(stats["snapshots"], 2);

    let tagged = home.json(["tag", "latest", "--add", "good,kept"]);
    assert_eq!(tagged["tags"], serde_json::json!(["good", "kept"]));
    let config = home.json(["cat", "config"]);
    has(
        &config,
        &[
            "repository",
            "created",
            "root",
            "chunker",
            "pack_bytes",
            "tree_pack_bytes",
            "padding",
        ],
    );
    let record = home.json(["cat", "latest"]);
    assert_eq!(record["id"], second["snapshot"]);
    assert_eq!(record["tags"], serde_json::json!(["good", "kept"]));

    let checked = home.json(["check", "--read-data"]);
    has(
        &checked,
        &[
            "healthy",
            "findings",
            "notes",
            "snapshots",
            "tree_blobs",
            "packs",
            "packs_read",
        ],
    );
    has(&checked, &["bytes_read", "blobs_read", "keys", "requests"]);
    assert_eq!(checked["healthy"], true, "{checked}");

    let forgotten = home.json(["forget", "--keep-last", "1", "--prune"]);
    assert_eq!(forgotten["forgotten"], serde_json::json!([first["snapshot"]]));
    has(&forgotten["groups"][0][0], &["snapshot", "keep", "reasons"]);
    has(
        &forgotten["prune"],
        &[
            "plan",
            "deleted",
            "repacked",
            "waiting",
            "fenced",
            "folded",
            "generation",
        ],
    );
    has(&home.json(["prune"]), &["plan", "deleted", "requests"]);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    has(
        &home.json(["probe"]),
        &["create_if_absent", "read_after_write", "list_after_write", "verdict"],
    );
}

#[test]
fn the_recovery_sheet_alone_brings_everything_back() {
    let mut home = with_default_repository();
    home.backup();
    let sheet = home.path("sheet.txt");
    let printed = home.ok(["key", "sheet"]).out;
    let stored = std::fs::read_to_string(home.path("config/ararat/recovery-sheet.txt")).unwrap();
    assert_eq!(printed.trim(), stored.trim());
    std::fs::write(&sheet, printed).unwrap();
    std::fs::remove_dir_all(home.path("config")).unwrap();
    // A cache is there or not: it must not matter.
    let _ = std::fs::remove_dir_all(home.path("cache"));
    home.set(
        "ARARAT_REPOSITORY",
        home.path("data/ararat/repository").to_str().unwrap(),
    );
    let target = home.path("restored");
    let within = format!("latest:{}", home.source().display());
    home.ok([
        "--key-file".as_ref(),
        sheet.as_os_str(),
        "restore".as_ref(),
        within.as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
    ]);
    trees::same(&home.source(), &target);
}

#[test]
fn keys_are_added_listed_rotated_and_removed() {
    let home = with_default_repository();
    home.backup();
    let other = home.path("other.key");
    let added = home.json([
        "key".as_ref(),
        "add".as_ref(),
        "--label".as_ref(),
        "second".as_ref(),
        "--new-key".as_ref(),
        other.as_os_str(),
    ]);
    let slots = home.json(["key", "list"]);
    assert_eq!(slots.as_array().unwrap().len(), 2, "{slots}");
    has(
        &slots[0],
        &["slot", "kind", "recipient", "stored", "current", "role", "label"],
    );
    has(&home.json(["key", "rotate"]), &["epoch", "sessions", "slots"]);
    let with_other = |verb: &str| home.repo(["--key-file".as_ref(), other.as_os_str(), verb.as_ref()]);
    assert!(with_other("snapshots").ends(0).out.contains("1 snapshot\n"));
    home.backup();
    let slots = home.json(["key", "list"]);
    let slot = slots.as_array().unwrap().iter().find(|slot| slot["label"] == "second");
    let slot = slot.unwrap_or_else(|| panic!("{slots} {added}"))["slot"]
        .as_str()
        .unwrap();
    has(&home.json(["key", "remove", slot]), &["removed"]);
    with_other("snapshots").ends(12);
    assert!(home.ok(["snapshots"]).out.contains("2 snapshots"));
}

#[test]
fn a_password_opens_a_repository_until_it_is_changed() {
    let mut home = with_default_repository();
    home.set("ARARAT_REPOSITORY", home.path("repository").to_str().unwrap());
    home.set("ARARAT_PASSWORD", "first");
    has(
        &home.json(["init"]),
        &["repository", "location", "key_file", "recovery_sheet"],
    );
    home.backup();
    let file = home.write("new", "second\n");
    home.ok([
        "key".as_ref(),
        "passwd".as_ref(),
        "--new-password-file".as_ref(),
        file.as_os_str(),
    ]);
    home.repo(["snapshots"]).ends(12);
    home.unset("ARARAT_PASSWORD");
    home.set("ARARAT_PASSWORD_FILE", file.to_str().unwrap());
    assert!(home.ok(["snapshots"]).out.contains("1 snapshot\n"));
    home.unset("ARARAT_PASSWORD_FILE");
    home.set("ARARAT_PASSWORD_COMMAND", "echo second");
    assert!(home.ok(["snapshots"]).out.contains("1 snapshot\n"));
}
