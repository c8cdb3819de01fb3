//! Forgetting, pruning and grouping: what goes, what stays, and what is said of it.

use serde_json::Value;

use crate::home::{Home, noise};

/// Makes a snapshot of a small file with these further arguments; gives its id.
fn snapshot(home: &Home, arguments: &[&str]) -> String {
    let source = home.source();
    let mut all = vec!["backup", source.to_str().unwrap()];
    all.extend(arguments);
    home.json(all)["snapshot"].as_str().unwrap().to_owned()
}

fn ids(snapshots: &Value) -> Vec<String> {
    let list = snapshots.as_array().unwrap().iter();
    list.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned())
        .collect()
}

fn with_file() -> Home {
    let home = Home::with_repository();
    home.write("source/file", "content");
    home
}

/// `forget latest --host web1` once forgot the newest snapshot of any host.
#[test]
fn a_name_is_looked_for_among_what_the_filters_leave() {
    let home = with_file();
    let older = snapshot(&home, &["--host", "web1"]);
    let newer = snapshot(&home, &["--host", "web1", "--label", "unit=night"]);
    let other = snapshot(&home, &["--host", "db1"]);
    let forgotten = home.json(["forget", "latest", "--host", "web1"]);
    assert_eq!(forgotten["forgotten"], serde_json::json!([newer]));
    assert_eq!(ids(&home.json(["snapshots"])), [older.as_str(), other.as_str()]);
    home.repo(["forget", "latest", "--label", "unit=night"])
        .ends(1)
        .says(&["There is no snapshot `latest`"]);
    assert_eq!(ids(&home.json(["snapshots"])), [older, other]);
}

/// An unset variable makes `--keep-tag "$UNSET"` an empty tag, which no snapshot has: all of them once went.
#[test]
fn a_policy_with_a_slip_of_the_pen_forgets_nothing() {
    let home = with_file();
    for _ in 0..2 {
        snapshot(&home, &["--tag", "good"]);
    }
    for (policy, says) in [
        (&["--keep-tag", ""][..], "empty tag"),
        (&["--keep-tag", "good,"], "empty tag"),
        (&["--keep-within=-7d"], "negative"),
        (&["--tag", "", "--keep-last", "1"], "empty tag"),
        (&["--keep-tag", "godo"], "would forget all 2 snapshots of"),
        (&[], "keeps nothing"),
    ] {
        home.repo([&["forget"], policy].concat()).ends(2).says(&[says]);
        assert_eq!(ids(&home.json(["snapshots"])).len(), 2, "{policy:?}");
    }
    home.repo(["forget", "--keep-tag", "godo"])
        .ends(2)
        .says(&["--allow-empty-groups"]);
    home.ok(["forget", "--keep-tag", "godo", "--allow-empty-groups"]);
    assert!(ids(&home.json(["snapshots"])).is_empty());
}

/// The volumes of a Kubernetes backup are snapshots of their own, which no rule keeps because their backup is kept.
#[test]
fn what_is_held_and_what_belongs_to_kubernetes_backups_no_policy_takes() {
    let home = with_file();
    let held = snapshot(&home, &[]);
    home.ok(["tag", "--add", "ararat.dev/hold", &held]);
    let older = snapshot(&home, &[]);
    let newer = snapshot(&home, &[]);
    let volume = snapshot(&home, &["--label", "ararat.dev/kind=volume"]);
    let text = home.ok(["forget", "--keep-last", "1", "--dry-run"]).out;
    for said in [
        "1 snapshot would be forgotten",
        "1 of Kubernetes backups was not judged",
    ] {
        assert!(text.contains(said), "{text}");
    }
    let forgotten = home.json(["forget", "--keep-last", "1"]);
    assert_eq!(forgotten["forgotten"], serde_json::json!([older]));
    assert_eq!(forgotten["spared"], 1);
    assert_eq!(
        ids(&home.json(["snapshots"])),
        [&held, &newer, &volume].map(String::as_str)
    );
    // Who names one means it; who names what is held is told how.
    home.ok(["forget", &volume]);
    home.repo(["forget", &newer, &held]).ends(2).says(&[
        "is held by its tag ararat.dev/hold",
        "ararat repo tag --remove ararat.dev/hold",
    ]);
    assert_eq!(ids(&home.json(["snapshots"])), [&held, &newer].map(String::as_str));
    home.ok(["tag", "--remove", "ararat.dev/hold", &held]);
    home.ok(["forget", &held]);
    assert_eq!(ids(&home.json(["snapshots"])), [newer]);
}

/// The dry run once planned as if nothing was forgotten.
#[test]
fn a_dry_run_counts_what_the_forgetting_would_free() {
    let home = with_file();
    for seed in 1..4 {
        home.write("source/file", noise(seed, 300_000));
        snapshot(&home, &[]);
    }
    let arguments = ["forget", "--keep-last", "1", "--prune"];
    let foreseen = home.json([&arguments[..], &["--dry-run"]].concat());
    assert_eq!(foreseen["forgotten"], serde_json::json!([]));
    assert_eq!(foreseen["prune"]["generation"], Value::Null);
    assert_eq!(foreseen["prune"]["deleted"]["packs"], 0);
    let plan = &foreseen["prune"]["plan"];
    assert!(plan["unused_bytes"].as_u64().unwrap() > 600_000, "{plan}");
    assert_eq!(ids(&home.json(["snapshots"])).len(), 3);
    let text = home.ok([&arguments[..], &["-n"]].concat()).out;
    assert!(
        text.contains("2 snapshots would be forgotten") && text.contains("would be deleted"),
        "{text}"
    );

    let done = home.json(arguments);
    assert_eq!(&done["prune"]["plan"], plan);
    assert_eq!(done["prune"]["deleted"]["bytes"], plan["unused_bytes"]);
    assert!(done["prune"]["generation"].is_u64(), "{done}");
}

#[test]
fn each_rule_keeps_what_it_says_and_the_dry_run_says_why() {
    let home = with_file();
    let times = [
        "2025-12-30T12:00:00Z",
        "2026-01-31T12:00:00Z",
        "2026-03-02T10:00:00Z",
        "2026-03-03T10:00:00Z",
        "2026-03-03T11:00:00Z",
        "2026-03-03T11:30:00Z",
    ];
    let all: Vec<String> = times
        .iter()
        .enumerate()
        .map(|(number, time)| {
            snapshot(
                &home,
                &["--time", time, "--tag", if number == 1 { "month,end" } else { "end" }],
            )
        })
        .collect();
    for (rule, kept, why) in [
        ("--keep-last=2", &[4, 5][..], "one of the last"),
        ("--keep-hourly=2", &[3, 5], "newest of its hour"),
        ("--keep-daily=2", &[2, 5], "newest of its day"),
        ("--keep-weekly=2", &[1, 5], "newest of its week"),
        ("--keep-monthly=2", &[1, 5], "newest of its month"),
        ("--keep-yearly=2", &[0, 5], "newest of its year"),
        ("--keep-within=1h", &[4, 5], "young enough"),
        ("--keep-tag=month,end", &[1], "has the tags"),
    ] {
        let report = home.json(["forget", rule, "--dry-run"]);
        let group = report["groups"][0].as_array().unwrap();
        assert_eq!(group.len(), all.len());
        for decision in group {
            let number = all
                .iter()
                .position(|id| decision["snapshot"]["id"] == id.as_str())
                .unwrap();
            let keep = kept.contains(&number);
            assert_eq!(decision["keep"], keep, "{rule}: {}", times[number]);
            let reasons = if keep {
                serde_json::json!([why])
            } else {
                serde_json::json!([])
            };
            assert_eq!(decision["reasons"], reasons, "{rule}: {}", times[number]);
        }
        let text = home.ok(["forget", rule, "-n"]).out;
        assert!(text.contains(why) && text.contains("no rule keeps it"), "{text}");
    }
    assert_eq!(ids(&home.json(["snapshots"])), all);
}

#[test]
fn snapshots_are_found_by_host_tag_label_and_any_spelling_of_their_source() {
    let home = with_file();
    home.write("source/folder/file", "content");
    let whole = snapshot(&home, &["--tag", "a,b", "--label", "unit=night", "--host", "web1"]);
    let part = home.json(["backup", "./source//folder/", "--tag", "b"])["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut stream = home.command();
    stream.args(["repo", "--json", "backup", "--stdin", "--stdin-filename", "db.sql"]);
    let stream = crate::home::run(&mut stream).ends(0).json()["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let source = home.source();
    let source = source.to_str().unwrap();
    for (filter, found) in [
        (&["--host", "web1"][..], vec![&whole]),
        (&["--tag", "b"], vec![&whole, &part]),
        (&["--tag", "a,b"], vec![&whole]),
        (&["--label", "unit=night"], vec![&whole]),
        (&["--label", "unit=day"], vec![]),
        (&["--path", source], vec![&whole]),
        (&["--path", "source"], vec![&whole]),
        (&["--path", "./source/."], vec![&whole]),
        (&["--path", "source/folder/"], vec![&part]),
        (&["--path", "db.sql"], vec![&stream]),
        (&["--path", "."], vec![]),
    ] {
        let listed = ids(&home.json([&["snapshots"], filter].concat()));
        assert_eq!(listed.iter().collect::<Vec<_>>(), found, "{filter:?}");
    }
    let mut within = home.command();
    within
        .args(["repo", "--json", "snapshots", "--path", "."])
        .current_dir(source);
    assert_eq!(ids(&crate::home::run(&mut within).ends(0).json()), [whole]);
    home.repo(["snapshots", "--label", "unit"])
        .ends(2)
        .says(&["NAME=VALUE"]);
}

#[test]
fn snapshots_are_listed_in_groups() {
    let home = with_file();
    let first = snapshot(&home, &["--host", "web1", "--tag", "daily"]);
    let second = snapshot(&home, &["--host", "db1"]);
    let third = snapshot(&home, &["--host", "web1", "--tag", "daily"]);
    let groups = home.json(["snapshots", "--group-by", "host,tags"]);
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert_eq!(
        groups[0]["group"],
        serde_json::json!({ "host": "db1", "paths": null, "tags": [] })
    );
    assert_eq!(ids(&groups[0]["snapshots"]), [second.as_str()]);
    assert_eq!(groups[1]["group"]["tags"], serde_json::json!(["daily"]));
    assert_eq!(ids(&groups[1]["snapshots"]), [first, third.clone()]);

    let text = home.ok(["snapshots", "-g", "host,paths"]).out;
    let source = home.source().display().to_string();
    for line in [format!("{source} on db1"), format!("{source} on web1")] {
        assert!(
            text.lines().any(|found| found == line),
            "`{line}` is no heading:\n{text}"
        );
    }
    assert!(
        text.contains("1 snapshot\n") && text.contains("2 snapshots\n"),
        "{text}"
    );

    let newest = home.json(["snapshots", "-g", "host", "--latest", "1"]);
    assert_eq!(ids(&newest[1]["snapshots"]), [third]);
    assert_eq!(ids(&newest[0]["snapshots"]), [second]);
    home.repo(["snapshots", "-g", "hots"]).ends(2).says(&["hots"]);
}

/// A repository one of whose packs is partly unused.
fn with_half_a_pack() -> Home {
    let home = Home::with_repository();
    home.write("source/stays", noise(1, 400_000));
    home.write("source/goes", noise(2, 400_000));
    snapshot(&home, &[]);
    std::fs::remove_file(home.path("source/goes")).unwrap();
    snapshot(&home, &[]);
    home.ok(["forget", "latest~1"]);
    home
}

#[test]
fn no_more_is_repacked_than_is_allowed() {
    let home = with_half_a_pack();
    let plan = |limit: &str| home.json(["prune", "-n", "--max-repack", limit])["plan"].clone();
    let none = plan("100KiB");
    assert_eq!(none["repack_packs"], 0, "{none}");
    assert!(none["left_bytes"].as_u64().unwrap() > 300_000, "{none}");
    assert!(plan("10MiB")["repack_frees"].as_u64().unwrap() > 300_000);
    let kept = home.json(["prune", "-n", "--max-unused", "90%"]);
    assert_eq!(kept["plan"]["repack_packs"], 0, "{kept}");

    let done = home.json(["prune", "--max-repack", "100KiB"]);
    assert_eq!(done["repacked"]["packs"], 0, "{done}");
    let done = home.json(["prune", "--max-repack", "10MiB"]);
    assert!(done["repacked"]["bytes"].as_u64().unwrap() >= 400_000, "{done}");
    assert!(done["deleted"]["bytes"].as_u64().unwrap() >= 800_000, "{done}");
    assert!(done["left_bytes"].as_u64().unwrap() < 50_000, "{done}");
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

/// What a killed backup leaves half written, up to a pack in size, once stayed for ever.
#[test]
fn half_written_files_of_the_dead_go_with_the_next_prune() {
    let home = with_half_a_pack();
    let session = std::fs::read_dir(home.path("repository/p")).unwrap().next().unwrap();
    let leftover = session.unwrap().path().join(".tmp-0123456789abcdef");
    std::fs::write(&leftover, noise(3, 100_000)).unwrap();
    assert_eq!(home.json(["prune", "-n"])["leftovers"], 0);
    assert!(leftover.exists());
    assert_eq!(home.json(["prune"])["leftovers"], 1);
    assert!(!leftover.exists());
}

/// A pack that cannot be read once was a note, and the prune a success.
#[test]
fn a_damaged_pack_that_should_be_repacked_is_reported() {
    let home = with_half_a_pack();
    let mut packs: Vec<_> = crate::errors::packs(&home);
    let pack = packs.remove(0);
    crate::errors::flip(&pack, pack.metadata().unwrap().len() as usize - 40);
    let ran = home.repo(["--json", "prune"]).ends(4);
    let report = ran.json();
    let damaged = report["damaged"].as_array().unwrap();
    assert_eq!(damaged.len(), 1, "{report}");
    let number = pack.file_name().unwrap().to_str().unwrap();
    assert!(damaged[0]["pack"].as_str().unwrap().contains(number), "{report}");
    assert!(damaged[0]["message"].is_string());
    assert!(pack.exists());
    let text = home.repo(["prune"]).ends(4).out;
    assert!(text.contains("DAMAGE") && text.contains("check --read-data"), "{text}");
}

#[test]
fn each_way_to_read_a_part_of_the_data_is_taken() {
    let home = Home::with_repository();
    for number in 0..3 {
        home.write("source/file", noise(number + 1, 200_000));
        snapshot(&home, &[]);
    }
    let read = |subset: &str| home.json(["check", "--read-data-subset", subset]);
    let all = home.json(["check", "--read-data"])["packs_read"].as_u64().unwrap();
    let slices: u64 = (1..=3)
        .map(|number| read(&format!("{number}/3"))["packs_read"].as_u64().unwrap())
        .sum();
    assert_eq!(slices, all, "the slices together are everything");
    assert_eq!(read("100%")["packs_read"], all);
    assert_eq!(read("0%")["packs_read"], 0);
    assert!(read("50%")["packs_read"].as_u64().unwrap() < all);
    assert_eq!(read("1GiB")["packs_read"], all);
    let some = read("250KiB")["packs_read"].as_u64().unwrap();
    assert!(some > 0 && some < all, "{some} of {all}");
}

#[test]
fn names_reach_programs_whole_and_terminals_escaped() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::with_repository();
    for name in [&b"del\x7fete"[..], b"esc\x1b[2J", b"new\nline", b"no utf\xff"] {
        std::fs::write(home.source().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    snapshot(&home, &[]);
    let within = format!("latest:{}", home.source().display());
    let names: Vec<Value> = home
        .ok(["--json", "ls", &within])
        .json_lines()
        .into_iter()
        .map(|entry| entry["path"].clone())
        .collect();
    let path = |name: &str| Value::from(format!("{}/{name}", &home.source().to_str().unwrap()[1..]));
    for name in ["del\u{7f}ete", "esc\u{1b}[2J", "new\nline"] {
        assert!(names.contains(&path(name)), "{names:?}");
    }
    assert!(
        names
            .iter()
            .any(|name| name["text"].as_str().is_some_and(|text| text.ends_with("no utf\\xff")))
    );
    let text = home.ok(["ls", "-l", &within]).out;
    assert!(!text.contains(['\u{7f}', '\u{1b}']), "{text:?}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("del\\u{7f}ete") && text.contains("new\\nline"), "{text}");
    // Errors name things too.
    let ran = home.repo(["ls", "latest:no\u{1b}[2Jthing"]).ends(2);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

#[test]
fn a_long_listing_names_owners_and_stands_in_columns() {
    let home = Home::with_repository();
    home.write("source/a", noise(1, 12));
    home.write("source/larger", noise(1, 123_456));
    std::os::unix::fs::symlink("a", home.path("source/link")).unwrap();
    snapshot(&home, &["--tag", "daily"]);
    let within = format!("latest:{}", home.source().display());
    let text = home.ok(["ls", "-l", &within]).out;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    let id = crate::home::run(std::process::Command::new("id").arg("-un"));
    assert!(lines.iter().all(|line| line[1] == id.out.trim()), "{text}");
    assert_eq!((lines[0][3], lines[1][3]), ("12", "123456"));
    let dates: Vec<usize> = text.lines().map(|line| line.find(" 20").unwrap()).collect();
    assert!(dates.iter().all(|at| *at == dates[0]), "{text}");
    assert!(text.lines().any(|line| line.ends_with("link -> a")), "{text}");
    let table = home.ok(["snapshots"]).out;
    assert!(table.starts_with("ID "), "{table:?}");
}

#[test]
fn verbs_for_whole_snapshots_refuse_a_part_of_one() {
    let home = with_file();
    snapshot(&home, &[]);
    for verb in [&["cat", "latest:source"][..], &["tag", "latest:source", "--add", "x"]] {
        home.repo(verb).ends(2).says(&["whole snapshot", "source"]);
    }
    let said = home.ok(["tag", "latest", "--add", "one,two"]).out;
    assert!(said.contains("has the tags one, two"), "{said}");
    let said = home.ok(["tag", "latest", "--remove", "one,two"]).out;
    assert!(said.contains("has no tags"), "{said}");
}
