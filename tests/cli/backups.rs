//! `ararat repo backup` with all that can be said to it: what is taken, what is left out, what is written, and how it ends.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Home, Ran, noise, run};

/// A home with a few files below `source`.
fn with_files(names: &[&str]) -> Home {
    let home = Home::with_repository();
    for name in names {
        home.write(&format!("source/{name}"), *name);
    }
    home
}

/// Backs `.` up in the source; gives what it printed.
fn backup(home: &Home, arguments: &[&str]) -> Ran {
    let mut command = home.command();
    command.args(["repo", "--json", "backup"]).args(arguments);
    run(command.current_dir(home.source()))
}

/// The files of the newest snapshot.
fn files(home: &Home) -> Vec<String> {
    let listed = home.ok(["--json", "ls", "latest", "-R"]).json_lines();
    let files = listed.iter().filter(|entry| entry["type"] == "file");
    files
        .map(|entry| entry["path"].as_str().unwrap().trim_start_matches('/').to_owned())
        .collect()
}

#[test]
fn what_is_excluded_by_flags_and_lists_is_left_out() {
    let home = with_files(&[
        "a.txt",
        "B.TXT",
        "c.log",
        "D.LOG",
        "keep/a.txt",
        "cache/CACHEDIR.TAG",
        "cache/x",
        "off/.no",
        "off/y",
    ]);
    home.write(
        "source/cache/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55",
    );
    home.write("source/large", noise(1, 300_000));
    let list = home.write("patterns", "# a comment\n*.log\n");
    let any_case = home.write("any-case", "*.txt\n");
    let all = [
        "B.TXT",
        "D.LOG",
        "a.txt",
        "c.log",
        "cache/CACHEDIR.TAG",
        "cache/x",
        "keep/a.txt",
        "large",
        "off/.no",
        "off/y",
    ];
    let without = |gone: &[&str]| -> Vec<String> {
        all.iter()
            .filter(|name| !gone.contains(name))
            .map(|name| (*name).to_owned())
            .collect()
    };
    let (list, any_case) = (list.to_str().unwrap(), any_case.to_str().unwrap());
    for (arguments, gone) in [
        (vec![], vec![]),
        (vec!["-e", "*.txt"], vec!["a.txt", "keep/a.txt"]),
        (vec!["--iexclude", "*.txt"], vec!["a.txt", "keep/a.txt", "B.TXT"]),
        (vec!["--exclude-file", list], vec!["c.log"]),
        (vec!["--iexclude-file", any_case], vec!["a.txt", "keep/a.txt", "B.TXT"]),
        (vec!["--exclude-caches"], vec!["cache/x"]),
        (vec!["--exclude-if-present", ".no"], vec!["off/y"]),
        (vec!["--exclude-larger-than", "100KiB"], vec!["large"]),
    ] {
        let report = backup(&home, &[&arguments[..], &["."]].concat()).ends(0).json();
        let mut found = files(&home);
        // A folder that is marked may keep its marker or go as a whole.
        let mut expected = without(&gone);
        for marker in ["cache/CACHEDIR.TAG", "off/.no"] {
            if !found.iter().any(|name| name == marker) {
                expected.retain(|name| name != marker);
            }
        }
        found.sort();
        assert_eq!(found, expected, "{arguments:?}");
        assert_eq!(
            report["excluded"].as_u64().unwrap() > 0,
            !gone.is_empty(),
            "{arguments:?}: {report}"
        );
    }
}

#[test]
fn paths_come_from_lists_and_all_of_one_file_system_is_taken() {
    let home = with_files(&["a", "b", "c d"]);
    let lines = home.write("lines", "a\nc d\n");
    backup(&home, &["--files-from", lines.to_str().unwrap()]).ends(0);
    assert_eq!(files(&home), ["a", "c d"]);
    let raw = home.write("raw", b"b\0a\0");
    backup(&home, &["--files-from-raw", raw.to_str().unwrap()]).ends(0);
    assert_eq!(files(&home), ["a", "b"]);
    let mut child = home.command();
    child
        .args(["repo", "backup", "--files-from", "-"])
        .current_dir(home.source());
    let mut child = child
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"c d\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(files(&home), ["c d"]);

    // All of the source is one file system here; that mounts are left out is shown where there are some (tests/source).
    backup(&home, &["-x", "."]).ends(0);
    assert_eq!(files(&home), ["a", "b", "c d"]);
    home.repo(["backup"]).ends(2).says(&["Nothing to back up was named"]);
}

#[test]
fn labels_tags_and_times_are_in_the_record() {
    let home = with_files(&["a"]);
    let arguments = [
        "--tag",
        "x,y",
        "--label",
        "app=db",
        "--description",
        "a line",
        "--host",
        "there",
        "--time",
        "2026-01-02T03:04:05Z",
        ".",
    ];
    backup(&home, &arguments).ends(0);
    let record = home.json(["cat", "latest"]);
    assert_eq!(record["tags"], serde_json::json!(["x", "y"]));
    assert_eq!(record["host"], "there");
    assert_eq!(record["description"], "a line");
    assert!(
        record["time"].as_str().unwrap().starts_with("2026-01-02T03:04:05"),
        "{record}"
    );
}

#[test]
fn a_trial_writes_nothing_runs_nothing_and_makes_no_repository() {
    let home = Home::new();
    home.write("source/a", "a");
    let ran = backup(&home, &["-n", "."]).ends(0).json();
    assert_eq!(
        (&ran["counts"]["files"], &ran["snapshot"]),
        (&1.into(), &Value::Null),
        "{ran}"
    );
    for made in ["data", "config"] {
        assert!(!home.path(made).exists(), "{made}");
    }
    let home = with_files(&["a"]);
    let touched = home.path("touched");
    let arguments = ["-n", "--stdin-from-command", "--", "touch", touched.to_str().unwrap()];
    backup(&home, &arguments).ends(0);
    assert!(!touched.exists());
    assert_eq!(home.json(["snapshots"]), serde_json::json!([]));
}

#[test]
fn a_command_is_not_run_when_there_is_no_place_for_what_it_says() {
    let mut home = with_files(&["a"]);
    home.set("ARARAT_REPOSITORY", home.path("nowhere").to_str().unwrap());
    let touched = home.path("touched");
    backup(
        &home,
        &["--stdin-from-command", "--", "touch", touched.to_str().unwrap()],
    )
    .ends(10);
    assert!(!touched.exists());
}

#[test]
fn standard_input_and_commands_become_files_of_any_name() {
    let home = Home::with_repository();
    let name = OsStr::from_bytes(b"/dumps/\xff.sql");
    let mut command = home.command();
    command.args(["repo", "backup", "--stdin-filename"]).arg(name);
    run(command.args(["--stdin-from-command", "--", "echo", "hello"])).ends(0);
    let listed = home.ok(["--json", "ls", "latest", "-R"]).json_lines();
    assert_eq!(
        listed.iter().filter(|entry| entry["type"] == "file").count(),
        1,
        "{listed:?}"
    );
    let before = home.json(["snapshots"]).as_array().unwrap().len();
    backup(&home, &["--stdin-from-command", "--", "sh", "-c", "echo half; exit 3"]).ends(1);
    assert_eq!(home.json(["snapshots"]).as_array().unwrap().len(), before);
    backup(&home, &["--stdin-from-command"]).ends(2);
}

#[test]
fn nothing_new_writes_no_snapshot_when_that_is_asked_for() {
    let home = with_files(&["a"]);
    std::thread::sleep(Duration::from_millis(1200));
    let first = backup(&home, &["--skip-if-unchanged", "."]).ends(0).json();
    assert!(first["snapshot"].is_string());
    let second = backup(&home, &["--skip-if-unchanged", "."]).ends(0).json();
    assert_eq!(
        (&second["snapshot"], &second["unchanged"]),
        (&Value::Null, &true.into()),
        "{second}"
    );
    let forced = backup(&home, &["--force", "."]).ends(0).json();
    assert_eq!(
        (&forced["parent"], &forced["counts"]["bytes_read"]),
        (&Value::Null, &1.into()),
        "{forced}"
    );
    let parent = first["snapshot"].as_str().unwrap();
    let chosen = backup(&home, &["--parent", parent, "."]).ends(0).json();
    assert_eq!(
        (&chosen["parent"], &chosen["counts"]["bytes_read"]),
        (&first["snapshot"], &0.into()),
        "{chosen}"
    );
    backup(&home, &["--parent", "ffffffff", "."]).ends(1);
}

#[test]
fn a_source_that_is_missing_among_others_is_said_and_the_rest_is_saved() {
    let home = with_files(&["a"]);
    let report = backup(&home, &["a", "missing"]).ends(3).json();
    assert!(report["snapshot"].is_string(), "{report}");
    assert_eq!(report["counts"]["errors"], 1);
    assert_eq!(report["errors"].as_array().unwrap().len(), 1);
    assert!(
        report["errors"][0]["message"].as_str().unwrap().contains("missing"),
        "{report}"
    );
}

/// Backs up a large file, slowly, while that is done to it again and again; the file is named, and there is a snapshot nevertheless.
#[track_caller]
fn while_it_is_read(home: &Home, change: impl Fn() + Send + Sync) -> Value {
    home.write("source/log", noise(1, 80 << 20));
    let ended = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // A part of it has been read by then.
                if has_file(&home.path("repository/p")) {
                    change();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let ran = backup(home, &["--limit-upload", "60MiB", "."]);
        ended.store(true, Ordering::Relaxed);
        ran.ends(3).json()
    });
    assert_eq!(report["errors"][0]["path"], "log", "{report}");
    let message = report["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("changed while it was read"), "{report}");
    assert!(report["snapshot"].is_string());
    report
}

/// The bytes that the newest snapshot has of it.
fn saved(home: &Home) -> Vec<u8> {
    let mut command = home.command();
    let output = command.args(["repo", "dump", "latest:log"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_file_that_grows_while_it_is_read_is_said() {
    let home = Home::with_repository();
    let path = home.path("source/log");
    while_it_is_read(&home, || {
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(b"one more line\n").unwrap();
    });
    assert!(saved(&home).starts_with(&noise(1, 80 << 20)));
}

/// What is left of it is saved, and nothing in place of what has gone.
#[test]
fn a_file_that_shrinks_while_it_is_read_is_said() {
    let home = Home::with_repository();
    let path = home.path("source/log");
    while_it_is_read(&home, || {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - length / 50).unwrap();
    });
    let saved = saved(&home);
    assert!(
        saved.len() < 80 << 20 && noise(1, 80 << 20).starts_with(&saved),
        "{} bytes",
        saved.len()
    );
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

/// Nothing of the one is mixed with the other.
#[test]
fn a_file_that_is_replaced_while_it_is_read_is_one_or_the_other() {
    let home = Home::with_repository();
    let (path, new) = (home.path("source/log"), home.path("new"));
    let other = noise(2, 1 << 20);
    while_it_is_read(&home, || {
        std::fs::write(&new, &other).unwrap();
        std::fs::rename(&new, &path).unwrap();
    });
    let saved = saved(&home);
    assert!(saved == other || saved == noise(1, 80 << 20), "{} bytes", saved.len());
}

#[test]
fn an_interrupted_backup_says_so_and_the_next_one_goes_on_from_it() {
    let home = Home::with_repository();
    for number in 0..4 {
        home.write(&format!("source/{number}"), noise(number, 40 << 20));
    }
    let mut command = home.command();
    command.args(["repo", "--json", "--limit-upload", "30MiB", "backup", "."]);
    command.current_dir(home.source()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let packs = home.path("repository/p");
    let begun = Instant::now();
    while !has_file(&packs) && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    run(std::process::Command::new("kill").args(["-INT", &child.id().to_string()])).ends(0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Stopping where it is safe"));
    let first: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(first["interrupted"], true, "{first}");
    assert!(first["snapshot"].is_string(), "{first}");
    assert!(first["counts"]["bytes_read"].as_u64().unwrap() < 160 << 20, "{first}");
    assert_eq!(home.json(["snapshots"])[0]["incomplete"], true);

    let second = backup(&home, &["."]).ends(0).json();
    let new = second["counts"]["bytes_new"].as_u64().unwrap();
    assert!(new < 150 << 20, "nothing of the first one was used: {second}");
    let target = home.path("restored");
    home.ok([
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
    ]);
    for number in 0..4 {
        assert!(std::fs::read(target.join(number.to_string())).unwrap() == noise(number, 40 << 20));
    }
}

/// Whether there is any file below a folder.
fn has_file(folder: &std::path::Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        // A pack that is being written has another name.
        let is_whole = !entry.file_name().to_string_lossy().contains("tmp");
        path.is_file() && is_whole || path.is_dir() && has_file(&path)
    })
}
