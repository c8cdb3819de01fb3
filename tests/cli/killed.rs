//! A backup that is killed without warning: every pack that was whole by then is used again, and the next one says so.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::errors::in_cloud;
use crate::home::{Home, noise, run};
use crate::servers::{Server, VERSITYGW, or_skip};

/// What the source holds, in so many files: about four packs, of which nothing can be compressed or used twice.
const BYTES: usize = 64 << 20;

fn fill(home: &Home, files: u8) {
    for number in 0..files {
        let content = noise(u64::from(number) + 1, BYTES / usize::from(files));
        home.write(&format!("source/{number}"), content);
    }
}

fn with_source(files: u8) -> Home {
    let home = Home::with_repository();
    fill(&home, files);
    home
}

/// Sessions of a repository and the sizes of their finished packs. One that is being written has another name.
fn packs(repository: &Path) -> Vec<(String, Vec<u64>)> {
    let folder = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let sizes = |session: &Path| {
        let finished = folder(session).into_iter().filter(|path| !name(path).starts_with('.'));
        finished.map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>()
    };
    let sessions = folder(&repository.join("p")).into_iter();
    let mut found: Vec<_> = sessions.map(|path| (name(&path), sizes(&path))).collect();
    found.retain(|(_, sizes)| !sizes.is_empty());
    found.sort();
    found
}

fn backup(home: &Home, arguments: &[&str]) -> std::process::Command {
    let mut command = home.command();
    command.arg("repo").args(arguments).args(["backup", "."]);
    command.current_dir(home.source());
    command
}

/// Starts a slow backup and kills it once it has finished so many packs.
#[track_caller]
pub fn kill_after(home: &Home, repository: &Path, wanted: usize) {
    let count = || packs(repository).iter().map(|(_, sizes)| sizes.len()).sum::<usize>();
    let before = count();
    let mut command = backup(home, &["--limit-upload", "20MiB"]);
    kill_when(&mut command, || count() >= before + wanted);
    assert!(count() >= before + wanted);
}

/// Starts a command and kills it as soon as that is so.
#[track_caller]
fn kill_when(command: &mut std::process::Command, is_so: impl Fn() -> bool) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < Duration::from_secs(60) {
        assert_eq!(child.try_wait().unwrap(), None, "it was done before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it was done before it was killed");
}

/// Every session that was killed is continued, with all packs that were finished.
#[track_caller]
fn continues(report: &Value, before: &[(String, Vec<u64>)]) {
    let mut continued: Vec<_> = report["continued"].as_array().unwrap().iter().collect();
    continued.sort_by_key(|continued| continued["session"].as_str());
    let expected: Vec<Value> = before
        .iter()
        .map(|(session, sizes)| {
            let bytes: u64 = sizes.iter().sum();
            serde_json::json!({ "session": session, "packs": sizes.len(), "bytes": bytes })
        })
        .collect();
    assert_eq!(serde_json::json!(continued), serde_json::json!(expected), "{report}");
    // What they hold is not stored twice. It may be a little less than they take: packs are padded, and have a list of what is in them.
    let kept: u64 = before.iter().flat_map(|(_, sizes)| sizes).sum();
    let all = BYTES as u64;
    let new = report["counts"]["bytes_new"].as_u64().unwrap();
    assert!(new < all - kept + kept / 50 + (1 << 20), "{kept} of {all}: {report}");
}

#[track_caller]
fn comes_back(home: &Home, more: &[&str]) {
    let target = home.path("restored");
    let restore = ["restore", "latest", "--target", target.to_str().unwrap()];
    let ran = home.ok([more, &restore[..]].concat());
    assert_eq!(ran.err, "");
    crate::trees::same(&home.source(), &target);
    std::fs::remove_dir_all(target).unwrap();
}

#[test]
fn all_packs_that_a_killed_backup_had_finished_are_used_again_and_it_is_said() {
    let home = with_source(8);
    let repository = home.path("repository");
    kill_after(&home, &repository, 2);
    let before = packs(&repository);
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(home.json(["snapshots"]), serde_json::json!([]));

    // Once for people and once for programs, who get no text: each on the state that the killed one left.
    let copy = home.path("copy");
    run(home.command_of("cp").arg("-a").arg(&repository).arg(&copy)).ends(0);
    let in_copy = ["-r", copy.to_str().unwrap(), "--no-cache"];
    let ran = run(&mut backup(&home, &in_copy)).ends(0);
    let (session, sizes) = &before[0];
    let said = format!("Continuing an interrupted backup: {} packs", sizes.len());
    ran.says(&[&said, &session[..8], "used again"]);
    comes_back(&home, &in_copy);

    let ran = run(&mut backup(&home, &["--json"])).ends(0);
    continues(&ran.json(), &before);
    assert_eq!(ran.err, "");
    comes_back(&home, &[]);

    // It is told once; and what the killed one left unfinished goes with the next prune.
    let unfinished = |home: &Home| {
        let mut find = home.command_of("find");
        run(find.arg(home.path("repository")).args(["-name", ".*"])).ends(0).out
    };
    let again = run(&mut backup(&home, &["--json"])).ends(0).json();
    assert_eq!(again["continued"], serde_json::json!([]), "{again}");
    home.ok(["prune"]);
    assert_eq!(unfinished(&home), "");
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    comes_back(&home, &[]);
}

#[test]
fn a_backup_that_was_killed_twice_uses_the_packs_of_both_runs() {
    // In the midst of one large file.
    let home = with_source(1);
    let repository = home.path("repository");
    kill_after(&home, &repository, 1);
    kill_after(&home, &repository, 1);
    let before = packs(&repository);
    assert_eq!(before.len(), 2, "{before:?}");
    // A check finds nothing wrong in what was left.
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    let report = run(&mut backup(&home, &["--json"])).ends(0).json();
    continues(&report, &before);
    comes_back(&home, &[]);
}

/// Care that is taken between a kill and the next backup takes nothing away that is needed, and leaves nothing behind for good.
#[test]
fn a_prune_between_a_kill_and_the_next_backup_hurts_nothing() {
    let home = with_source(8);
    let repository = home.path("repository");
    kill_after(&home, &repository, 1);
    let before: u64 = packs(&repository).iter().flat_map(|(_, sizes)| sizes).sum();
    home.ok(["prune"]);
    let report = run(&mut backup(&home, &["--json"])).ends(0).json();
    // The session has ended, and what it had finished is used all the same.
    let new = report["counts"]["bytes_new"].as_u64().unwrap();
    assert!(
        new < BYTES as u64 - before + before / 50 + (1 << 20),
        "{before}: {report}"
    );
    comes_back(&home, &[]);
    home.ok(["prune"]);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    comes_back(&home, &[]);
    let kept: u64 = packs(&repository).iter().flat_map(|(_, sizes)| sizes).sum();
    let all = BYTES as u64;
    assert!(kept < all + all / 50, "{kept} bytes for {all}");
}

#[test]
fn a_backup_to_a_server_goes_on_from_the_packs_that_had_arrived() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let home = in_cloud(&server.location("r"));
    home.ok(["init"]);
    fill(&home, 8);
    // This server keeps each object in a file of its name.
    let repository = server.folder().join("data/ararat/r");
    kill_after(&home, &repository, 2);
    // What the killed one had sent is still on its way into a file.
    std::thread::sleep(Duration::from_millis(300));
    let before = packs(&repository);
    let report = run(&mut backup(&home, &["--json"])).ends(0).json();
    continues(&report, &before);
    comes_back(&home, &[]);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

/// New files are written under their own names: one that is not whole has not the snapshot's time, and so is not taken for done.
#[test]
fn a_killed_restore_is_finished_by_the_next_and_leaves_nothing_behind() {
    let home = with_source(8);
    crate::trees::fill(&home.source());
    run(&mut backup(&home, &[])).ends(0);
    let target = home.path("restored");
    let restore = ["restore", "latest", "--target", target.to_str().unwrap()];
    let count = || std::fs::read_dir(&target).map_or(0, Iterator::count);
    let mut command = home.command();
    command.args(["repo", "--limit-download", "20MiB"]).args(restore);
    kill_when(&mut command, || count() > 4);
    home.ok(restore);
    crate::trees::same(&home.source(), &target);
}

/// On another machine, or after the next start of this one, nobody knows that the process is gone: there a backup goes on from what segments name, so
/// packs of a slow backup do not wait for many others to be named.
#[test]
fn packs_of_a_slow_backup_are_named_after_some_seconds() {
    let home = with_source(8);
    let repository = home.path("repository");
    let segments = || {
        let sessions = std::fs::read_dir(repository.join("x")).into_iter().flatten().flatten();
        let files = sessions.flat_map(|session| std::fs::read_dir(session.path()).into_iter().flatten().flatten());
        files
            .filter(|file| !file.file_name().to_str().unwrap().starts_with('.'))
            .count()
    };
    let mut command = backup(&home, &["--limit-upload", "3MiB"]);
    kill_when(&mut command, || segments() > 0);
    // Far fewer packs than make a segment by their number.
    let finished: usize = packs(&repository).iter().map(|(_, sizes)| sizes.len()).sum();
    assert!((1..8).contains(&finished), "{finished} packs");
}
