//! What each role may do, and what it is refused: with keys that `key add --role` made.

use serde_json::Value;

use crate::errors::in_cloud;
use crate::home::{Home, Ran, noise};
use crate::servers::fault_proxy::{Fault, FaultProxy, Rule};
use crate::servers::{Server, VERSITYGW, or_skip};
use crate::trees;

/// A repository with a snapshot and a key of each role.
fn with_roles() -> Home {
    let home = Home::with_repository();
    for number in 0..20u64 {
        home.write(&format!("source/{number}"), noise(number + 1, 20_000));
    }
    trees::settle();
    home.backup();
    add_keys(&home);
    home
}

/// A key of each role but the owner's, in files called by the role.
fn add_keys(home: &Home) {
    for role in ["writer", "reader", "maintainer"] {
        let key = home.path(role);
        home.ok([
            "key".as_ref(),
            "add".as_ref(),
            "--role".as_ref(),
            role.as_ref(),
            "--new-key".as_ref(),
            key.as_os_str(),
        ]);
    }
}

/// Runs a verb with the key of a role.
fn run_as(home: &Home, role: &str, arguments: &[&str]) -> Ran {
    let key = home.path(role);
    let mut all = vec!["--key-file", key.to_str().unwrap()];
    all.extend(arguments);
    home.repo(all)
}

/// A verb is refused, and the person is told which key would do and how to find one.
#[track_caller]
fn refused(home: &Home, role: &str, arguments: &[&str]) {
    run_as(home, role, arguments)
        .ends(1)
        .says(&["This needs the key of", role, "key list"]);
}

#[test]
fn a_writer_adds_to_what_others_stored_and_reads_nothing() {
    let home = with_roles();
    let source = home.source();
    let backup = ["--json", "backup", source.to_str().unwrap()];
    let first: Value = run_as(&home, "writer", &backup).ends(0).json();
    assert_eq!(first["counts"]["errors"], 0, "{first}");
    let second: Value = run_as(&home, "writer", &backup).ends(0).json();
    // The store has all of it: nothing is stored twice, though the writer can read none of it back.
    assert!(second["counts"]["bytes_stored"].as_u64().unwrap() < 100_000, "{second}");
    let target = home.path("restored");
    for arguments in [
        &["restore", "latest", "--target", target.to_str().unwrap()][..],
        &["ls", "latest"],
        &["diff", "latest~1", "latest"],
        &["forget", "--keep-last", "1"],
        &["key", "rotate"],
    ] {
        refused(&home, "writer", arguments);
    }
    assert!(!target.exists());
    // An owner restores what the writer stored.
    let within = format!("latest:{}", source.display());
    home.ok(["restore", &within, "--target", target.to_str().unwrap()]);
    trees::same(&source, &target);
}

#[test]
fn a_reader_restores_and_changes_nothing() {
    let home = with_roles();
    let (source, target) = (home.source(), home.path("restored"));
    let within = format!("latest:{}", source.display());
    run_as(
        &home,
        "reader",
        &["restore", &within, "--target", target.to_str().unwrap()],
    )
    .ends(0);
    trees::same(&source, &target);
    for arguments in [
        &["snapshots"][..],
        &["ls", "latest"],
        &["cat", "latest"],
        &["check", "--read-data"],
    ] {
        run_as(&home, "reader", arguments).ends(0);
    }
    for arguments in [
        &["backup", source.to_str().unwrap()][..],
        &["forget", "latest"],
        &["prune"],
        &["tag", "latest", "--add", "x"],
        &["key", "rotate"],
    ] {
        refused(&home, "reader", arguments);
    }
}

#[test]
fn a_maintainer_checks_and_prunes_what_it_cannot_read() {
    let home = with_roles();
    home.write("source/0", noise(500, 2_000_000));
    home.backup();
    for arguments in [
        &["check"][..],
        &["forget", "--keep-last", "1", "--prune"],
        &["prune"],
        &["check", "--read-data"],
    ] {
        run_as(&home, "maintainer", arguments).ends(0);
    }
    let target = home.path("restored");
    for arguments in [
        &["restore", "latest", "--target", target.to_str().unwrap()][..],
        &["ls", "latest"],
        &["backup", home.source().to_str().unwrap()],
        &["key", "rotate"],
    ] {
        refused(&home, "maintainer", arguments);
    }
    assert_eq!(home.json(["snapshots"]).as_array().unwrap().len(), 1);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

/// The table of SECURITY.md: with a credential that may do no more, each role does all of its work.
#[test]
fn a_credential_need_allow_no_more_than_its_role_does() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let mut home = in_cloud(&server.location_through(proxy.address(), "r"));
    let owner = home.path("owner");
    home.unset("ARARAT_PASSWORD");
    home.ok(["init", "--new-key", owner.to_str().unwrap()]);
    home.set("ARARAT_KEY_FILE", owner.to_str().unwrap());
    home.write("source/file", noise(1, 3_000_000));
    trees::settle();
    add_keys(&home);
    let source = home.source();
    let source = source.to_str().unwrap();

    forbid(&proxy, &["DELETE", "POST"]);
    proxy.forget_seen();
    for round in 2..5 {
        let report: Value = run_as(&home, "writer", &["--json", "backup", source]).ends(0).json();
        assert_eq!(report["counts"]["errors"], 0, "{report}");
        home.write("source/file", noise(round, 3_000_000));
        trees::settle();
    }
    run_as(&home, "writer", &["backup", source]).ends(0);
    let written: Vec<String> = proxy
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "PUT")
        .map(|seen| seen.target)
        .collect();
    let names: std::collections::BTreeSet<&String> = written.iter().collect();
    assert!(
        names.len() == written.len() && !names.is_empty(),
        "written over: {written:?}"
    );

    forbid(&proxy, &["DELETE", "POST", "PUT"]);
    let target = home.path("restored");
    let within = format!("latest:{source}");
    run_as(
        &home,
        "reader",
        &["restore", &within, "--target", target.to_str().unwrap()],
    )
    .ends(0);
    trees::same(&home.source(), &target);
    for arguments in [&["snapshots"][..], &["ls", "latest"], &["check", "--read-data"]] {
        run_as(&home, "reader", arguments).ends(0);
    }
    run_as(&home, "maintainer", &["check"]).ends(0);
    // Without the right to create and delete there is no maintenance, and it says what is missing.
    run_as(&home, "maintainer", &["prune"]).ends(1).says(&["AccessDenied"]);

    forbid(&proxy, &[]);
    let pruned: Value = run_as(
        &home,
        "maintainer",
        &["--json", "forget", "--keep-last", "1", "--prune"],
    )
    .ends(0)
    .json();
    assert!(
        pruned["prune"]["deleted"]["bytes"].as_u64().unwrap() > 3_000_000,
        "{pruned}"
    );
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

/// The same with a user of the store's own, as an operator makes one for agents.
#[test]
fn a_user_of_the_store_who_may_not_delete_backs_up_and_restores_and_prunes_nothing() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let place = server.location("r");
    let mut home = in_cloud(&place);
    let owner = home.path("owner");
    home.unset("ARARAT_PASSWORD");
    home.ok(["init", "--new-key", owner.to_str().unwrap()]);
    home.set("ARARAT_KEY_FILE", owner.to_str().unwrap());
    add_keys(&home);
    for (name, value) in &server.without_delete(&place).environment {
        home.set(name, value);
    }
    for round in 1..4 {
        home.write("source/file", noise(round, 3_000_000));
        trees::settle();
        let source = home.source();
        run_as(&home, "writer", &["backup", source.to_str().unwrap()]).ends(0);
    }
    let (target, within) = (
        home.path("restored"),
        format!("latest:{}", home.source().to_str().unwrap()),
    );
    let restore = ["restore", &within, "--target", target.to_str().unwrap()];
    run_as(&home, "reader", &restore).ends(0);
    trees::same(&home.source(), &target);
    // Not even with the owner's key is anything deleted.
    let forget = ["forget", "--keep-last", "1", "--prune"];
    run_as(&home, "owner", &forget).ends(1).says(&["AccessDenied"]);
    run_as(&home, "reader", &["check", "--read-data"]).ends(0);
}

/// What the store refuses from now on: requests of these methods, and nothing else.
fn forbid(proxy: &FaultProxy, methods: &[&'static str]) {
    proxy.clear();
    for method in methods {
        proxy.inject(Rule::always(Fault::access_denied()).method(method));
    }
}
