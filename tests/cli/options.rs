//! Options that change what is stored, kept or shown: each does what its help says.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::home::{Home, noise, run};
use crate::skipped::skipped;

/// Bytes of all packs.
fn stored(home: &Home) -> u64 {
    home.json(["stats"])["stored_bytes"].as_u64().unwrap()
}

#[test]
fn a_higher_level_stores_less_and_none_at_all_the_most() {
    let mut sizes = Vec::new();
    for level in ["0", "-5", "19"] {
        let home = Home::with_repository();
        home.write("source/text", include_str!("../../Cargo.lock"));
        let source = home.source();
        home.ok(["backup", "--compression", level, source.to_str().unwrap()]);
        sizes.push(stored(&home));
        assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    }
    assert!(sizes[0] > sizes[1] * 2 && sizes[1] > sizes[2], "{sizes:?}");
    let home = Home::with_repository();
    let source = home.source();
    for wrong in ["20", "-8", "best"] {
        home.repo(["backup", "--compression", wrong, source.to_str().unwrap()])
            .ends(2);
    }
}

/// Padding makes packs of a few sizes, so that their lengths tell little; without it they are as long as what they hold.
#[test]
fn packs_are_padded_unless_that_is_refused() {
    let sizes = [&[][..], &["--no-padding"]].map(|flags| {
        let mut home = Home::new();
        let key = home.path("key").to_str().unwrap().to_owned();
        home.set("ARARAT_REPOSITORY", home.path("repository").to_str().unwrap());
        home.ok([&["init", "--new-key", &key], flags].concat());
        home.set("ARARAT_KEY_FILE", &key);
        assert_eq!(home.json(["cat", "config"])["padding"], flags.is_empty());
        (0..8u64)
            .map(|number| {
                home.write("source/file", noise(number + 1, 100_003 + 37 * number as usize));
                home.backup();
                stored(&home)
            })
            .collect::<Vec<_>>()
    });
    let [padded, exact] = sizes;
    assert!(padded[7] > exact[7], "{padded:?} {exact:?}");
    // Each backup's file is 37 bytes longer than the one before: exact sizes show that, padded ones do not.
    let steps = |sizes: &[u64]| {
        sizes
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(steps(&padded).len() < steps(&exact).len(), "{padded:?} {exact:?}");
}

#[test]
fn a_difference_in_metadata_alone_is_shown_when_asked_for() {
    let home = Home::with_repository();
    let file = home.write("source/file", "content");
    home.backup();
    let mut permissions = file.metadata().unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&file, permissions).unwrap();
    home.backup();
    let lines = |flags: &[&str]| {
        home.ok([&["--json", "diff", "latest~1", "latest"], flags].concat())
            .json_lines()
    };
    assert_eq!(lines(&[]), [json!({ "added": 0, "removed": 0, "changed": 0 })]);
    let shown = lines(&["--metadata"]);
    let file: Vec<&Value> = shown.iter().filter(|line| line["entry"]["type"] == "file").collect();
    assert_eq!((file.len(), &file[0]["change"]), (1, &json!("metadata")), "{shown:?}");
    let text = home.ok(["diff", "latest~1", "latest", "--metadata"]).out;
    assert!(text.contains("U ") && text.contains("/file"), "{text}");
}

#[test]
fn tags_are_added_taken_away_and_replaced_and_a_trial_changes_none() {
    let home = Home::with_repository();
    home.write("source/file", "content");
    home.backup();
    let tag = |flags: &[&str]| home.json([&["tag", "latest"], flags].concat())["tags"].clone();
    let has = || home.json(["snapshots"])[0]["tags"].clone();
    assert_eq!(tag(&["--add", "a,b"]), json!(["a", "b"]));
    assert_eq!(tag(&["--remove", "a", "--add", "c"]), json!(["b", "c"]));
    assert_eq!(tag(&["--set", "d", "--dry-run"]), json!(["d"]));
    assert_eq!(has(), json!(["b", "c"]));
    let said = home.ok(["tag", "latest", "--set", "d", "-n"]).out;
    assert!(said.contains("would have the tag d"), "{said}");
    assert_eq!(tag(&["--set", "d,e"]), json!(["d", "e"]));
    assert_eq!(has(), json!(["d", "e"]));
    assert_eq!(tag(&["--set", ""]), json!([]));
    assert_eq!(has(), json!([]));
    home.repo(["tag", "latest"]).ends(2).says(&["--add, --remove or --set"]);
    home.repo(["tag", "latest", "--set", "x", "--add", "y"]).ends(2);
}

#[test]
fn no_slot_is_left_whose_key_could_not_be_written() {
    let home = Home::with_repository();
    let file = home.write("a-file", "");
    home.repo(["key", "add", "--new-key", file.join("key").to_str().unwrap()])
        .ends(1)
        .says(&["a-file/key"]);
    assert_eq!(home.json(["key", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_key_slot_is_named_before_it_goes() {
    let home = Home::with_repository();
    let second = home.path("second");
    let added = home.json(["key", "add", "--new-key", second.to_str().unwrap()])["added"].clone();
    let name = added.as_str().unwrap();
    assert_eq!(home.json(["key", "remove", "-n", name])["removed"], added);
    assert_eq!(home.json(["key", "list"]).as_array().unwrap().len(), 2);
    // The one in use is refused in a trial, too.
    let slots = home.json(["key", "list"]);
    let current = slots
        .as_array()
        .unwrap()
        .iter()
        .find(|slot| slot["current"] == true)
        .unwrap();
    home.repo(["key", "remove", "-n", current["slot"].as_str().unwrap()])
        .ends(2)
        .says(&["in use"]);
    assert_eq!(home.json(["key", "remove", name])["removed"], added);
    assert_eq!(home.json(["key", "list"]).as_array().unwrap().len(), 1);
}

/// A home with two snapshots, the older one forgotten, whose only pack nothing else needs.
fn with_unused() -> Home {
    let home = Home::with_repository();
    home.write("source/file", noise(1, 500_000));
    home.backup();
    home.write("source/file", noise(2, 500_000));
    home.backup();
    home.ok(["forget", "latest~1"]);
    home
}

#[test]
fn unused_packs_stay_for_the_undelete_window() {
    let home = with_unused();
    let kept = home.json(["prune", "--undelete-window", "1h"]);
    assert_eq!(
        (&kept["deleted"]["packs"], &kept["fenced"]),
        (&json!(0), &json!([])),
        "{kept}"
    );
    assert!(kept["waiting"]["bytes"].as_u64().unwrap() >= 500_000, "{kept}");
    assert_eq!(kept["waiting"]["for_sessions"], json!([]));
    let text = home.ok(["prune", "--undelete-window", "1h"]).out;
    assert!(text.contains("for the undelete window to pass"), "{text}");
    let done = home.json(["prune", "--undelete-window", "0s"]);
    assert_eq!(done["waiting"]["packs"], 0, "{done}");
    assert!(done["deleted"]["bytes"].as_u64().unwrap() >= 500_000, "{done}");
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    home.repo(["prune", "--undelete-window=-1h"]).ends(2);
}

/// Starts a backup of a stream that ends with its standard input. It has begun once its session is there.
fn stream(home: &Home, command: &mut Command) -> Child {
    let sessions = || std::fs::read_dir(home.path("repository/s")).map_or(0, |sessions| sessions.count());
    let before = sessions();
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| sessions() > before);
    child
}

#[track_caller]
fn wait_for(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to pass");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_prune_leaves_what_a_running_backup_may_need_or_waits_for_it() {
    let home = with_unused();
    let mut backup = stream(&home, home.command().args(["repo", "backup", "--stdin"]));
    let left = home.json(["prune"]);
    assert_eq!(left["deleted"]["packs"], 0, "{left}");
    assert_eq!(left["waiting"]["for_sessions"].as_array().unwrap().len(), 1, "{left}");
    let text = home.ok(["prune"]).out;
    assert!(
        text.contains("for 1 running sessions") && text.contains("--wait"),
        "{text}"
    );

    let mut prune = home.command();
    prune.args(["repo", "--json", "prune", "--wait", "5m"]);
    let prune = prune.stdout(Stdio::piped()).spawn().unwrap();
    // While the prune waits the backup goes on and ends.
    let mut input = backup.stdin.take().unwrap();
    input.write_all(&noise(3, 100_000)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    drop(input);
    assert!(backup.wait().unwrap().success());
    let output = prune.wait_with_output().unwrap();
    assert!(output.status.success());
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["waiting"]["for_sessions"], json!([]), "{done}");
    assert!(done["deleted"]["bytes"].as_u64().unwrap() >= 500_000, "{done}");
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    assert_eq!(home.json(["snapshots"]).as_array().unwrap().len(), 2);
}

/// Numbers of processes mean nothing from one name space to another, so a backup in another one is as on another machine.
#[test]
fn a_backup_of_another_machine_that_gives_no_sign_is_ended_after_so_long() {
    let apart = ["--pid", "--fork", "--kill-child"];
    if !Command::new("unshare")
        .args(apart)
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return skipped("this needs the right to a name space of processes");
    }
    let home = with_unused();
    let mut command = home.command_of("unshare");
    command
        .args(apart)
        .arg(home.command().get_program())
        .args(["repo", "backup", "--stdin"]);
    let mut backup = stream(&home, &mut command);
    let session = newest_session(&home.path("repository/s"));
    backup.kill().unwrap();
    backup.wait().unwrap();
    let left = home.json(["prune"]);
    assert_eq!(left["waiting"]["for_sessions"], json!([session]), "{left}");
    assert_eq!(left["fenced"], json!([]));
    std::thread::sleep(Duration::from_millis(2100));
    let text = home.ok(["prune", "--fence-after", "1s"]).out;
    assert!(text.contains("Ended the dead session"), "{text}");
    let done = home.json(["prune"]);
    assert_eq!(done["waiting"]["packs"], 0, "{done}");
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

fn newest_session(folder: &Path) -> String {
    let sessions = std::fs::read_dir(folder).unwrap().map(|session| session.unwrap());
    let newest = sessions.max_by_key(|session| session.metadata().unwrap().modified().unwrap());
    newest.unwrap().file_name().to_str().unwrap().to_owned()
}

#[test]
fn the_log_says_more_when_asked_and_nothing_by_itself() {
    let home = Home::with_repository();
    home.write("source/file", "content");
    home.backup();
    for (flags, has_log) in [(&[][..], false), (&["-q"], false), (&["-vv"], true)] {
        let target = home.path(&format!("target{}", flags.concat()));
        let mut command = home.command();
        command
            .arg("repo")
            .args(flags)
            .args(["restore", "latest", "--target"])
            .arg(target);
        let ran = run(&mut command).ends(0);
        assert_eq!(
            ran.out.contains("/file") || ran.err.contains("DEBUG"),
            has_log,
            "{flags:?}: {}{}",
            ran.out,
            ran.err
        );
    }
    home.repo(["-q", "-v", "snapshots"]).ends(2);
}
