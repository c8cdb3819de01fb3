//! The whole way of a user, once on a server of each cloud: init, backups, restores, check, forget and prune; and what it costs in requests.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::errors::in_cloud;
use crate::home::{Home, noise, run};
use crate::likeness::difference;
use crate::servers::{AZURITE, GCS, Kind, Server, VERSITYGW, or_skip};
use crate::trees;

/// Backs `.` up in the source; gives the report.
#[track_caller]
fn backup(home: &Home) -> Value {
    let mut command = home.command();
    command.args(["repo", "--json", "backup", "."]);
    let report = run(command.current_dir(home.source())).ends(0).json();
    assert_eq!(report["counts"]["errors"], 0, "{report}");
    report
}

/// The number of that name among the counts.
#[track_caller]
fn count(report: &Value, name: &str) -> u64 {
    let number = report["counts"][name].as_u64();
    number.unwrap_or_else(|| panic!("no count `{name}` in {report}"))
}

/// Restores a snapshot into a new folder, which must then be the like of `expected`.
#[track_caller]
fn comes_back(home: &Home, snapshot: &str, expected: &Path) {
    let target = home.path("restored");
    let report = home.json(["restore", snapshot, "--target", target.to_str().unwrap(), "--verify"]);
    assert_eq!(
        (&report["failed"], &report["losses"]),
        (&0.into(), &serde_json::json!([])),
        "{report}"
    );
    assert_eq!(difference(expected, &target), None);
    std::fs::remove_dir_all(&target).unwrap();
}

/// Some hundred small files, a large one and one of each kind of thing.
fn fill(home: &Home) {
    for number in 0..240u64 {
        let length = usize::try_from(number * 37 % 5000).unwrap();
        home.write(
            &format!("source/many/{}/{number}", number % 7),
            noise(2000 + number, length),
        );
    }
    home.write("source/twenty", noise(3000, 20 << 20));
    trees::fill(&home.source());
    trees::fill_rare(&home.source());
}

/// Changes, adds, moves and removes; nearly all stays as it was.
fn change(home: &Home) {
    let mut twenty = std::fs::read(home.path("source/twenty")).unwrap();
    twenty[10 << 20..][..100].fill(7);
    home.write("source/twenty", twenty);
    home.write("source/many/0/0", "changed");
    home.write("source/new/folder/file", noise(4000, 70_000));
    std::fs::rename(home.path("source/many/1"), home.path("source/moved")).unwrap();
    std::fs::remove_dir_all(home.path("source/many/2")).unwrap();
}

/// The whole way of a user on a server of this kind.
fn the_whole_way(kind: &'static Kind) {
    let Some(server) = or_skip(Server::start(kind)) else {
        return;
    };
    let mut home = in_cloud(&server.location("some/where"));
    home.set("ARARAT_PASSWORD", "horse battery");
    home.ok(["init"]);
    fill(&home);
    trees::settle();
    let first = backup(&home);
    assert!(count(&first, "files_new") > 300, "{first}");
    assert!(count(&first, "bytes_stored") > 25_000_000, "{first}");
    comes_back(&home, "latest", &home.source());

    let before = home.path("before");
    run(home.command_of("cp").arg("-a").arg(home.source()).arg(&before)).ends(0);
    change(&home);
    trees::settle();
    let second = backup(&home);
    assert_eq!(second["parent"], first["snapshot"]);
    // A stretch of the large file, and two small ones: what was moved is known by its content. Where chunks end hangs on the repository's key; a
    // stretch touches two of the longest at most, and they have 8 MiB.
    assert!(count(&second, "bytes_new") < 17_000_000, "{second}");
    comes_back(&home, "latest", &home.source());
    comes_back(&home, "latest~1", &before);

    let third = backup(&home);
    assert_eq!(
        (count(&third, "bytes_read"), count(&third, "blobs_new")),
        (0, 0),
        "{third}"
    );

    let checked = home.json(["check", "--read-data"]);
    assert_eq!((&checked["healthy"], &checked["snapshots"]), (&true.into(), &3.into()));
    let forgotten = home.json(["forget", "--keep-last", "1", "--prune"]);
    let mut ids: Vec<_> = forgotten["forgotten"].as_array().unwrap().iter().collect();
    ids.sort_by_key(|id| **id != first["snapshot"]);
    assert_eq!(ids, [&first["snapshot"], &second["snapshot"]]);
    // Another machine, which has kept nothing of the repository.
    std::fs::remove_dir_all(home.path("cache")).unwrap();
    assert_eq!(home.json(["snapshots"]).as_array().unwrap().len(), 1);
    comes_back(&home, "latest", &home.source());
    home.repo(["ls", first["snapshot"].as_str().unwrap()]).ends(1);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    let again = backup(&home);
    assert_eq!((count(&again, "bytes_read"), &again["parent"]), (0, &third["snapshot"]));

    home.set("ARARAT_PASSWORD", "horse buttery");
    home.repo(["snapshots"]).ends(12);
}

#[test]
fn the_whole_way_of_a_user_can_be_gone_on_s3() {
    the_whole_way(&VERSITYGW);
}

#[test]
fn the_whole_way_of_a_user_can_be_gone_on_google() {
    the_whole_way(&GCS);
}

#[test]
fn the_whole_way_of_a_user_can_be_gone_on_azure() {
    the_whole_way(&AZURITE);
}

/// The most requests that a first backup of a few files may take: each is a round trip that somebody waits and pays for.
const REQUESTS_MAX: u64 = 8;

#[test]
fn a_small_backup_takes_few_requests() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let home = in_cloud(&server.location("r"));
    home.ok(["init"]);
    for number in 0..5 {
        home.write(&format!("source/{number}"), noise(number + 1, 5000));
    }
    trees::settle();
    let _ = std::fs::remove_dir_all(home.path("cache"));
    let first = backup(&home);
    let second = backup(&home);
    home.write("source/0", "changed");
    trees::settle();
    let third = backup(&home);
    let of = |report: &Value| report["requests"].as_u64().unwrap();
    let all = [&first, &second, &third].map(of);
    // Not eprintln!, which the test harness keeps to itself as long as a test passes.
    writeln!(
        std::io::stderr(),
        "requests of a small backup: {} with a fresh cache, {} unchanged, {} with a changed file",
        all[0],
        all[1],
        all[2]
    )
    .ok();
    assert!(all[0] <= REQUESTS_MAX, "{first}");
    assert_eq!(count(&second, "bytes_read"), 0, "{second}");
    assert_eq!(count(&third, "bytes_read"), 7, "{third}");
}
