//! Restoring: what may and may not happen to the file system that is written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

// A repository and short calls.
#[path = "../engine/bench.rs"]
mod bench;
// Block devices over files.
#[path = "../machine/loop_device.rs"]
mod loop_device;
// Small file systems.
#[path = "../machine/mount.rs"]
mod mount;
// Small file systems that change.
#[path = "../machine/remount.rs"]
mod remount;
// What is said of a test that cannot run.
#[path = "../machine/skipped.rs"]
mod skipped;
// Two trees of the file system, compared in everything that a restore gives back.
mod likeness;
// The target floor by itself: folders, files, nodes, metadata, removal.
mod floor;
// The whole verb: there and back again, whole and in parts.
mod verb;
// Restoring over what is there.
mod in_place;
// Deleting what the snapshot does not have.
mod delete;
// Large files: progress, comparison, memory.
mod large;
// Files with several names.
mod links;
// A file as a stream, a folder as an archive.
mod dump;
// Restoring onto a block device.
mod device;
// What goes wrong: damaged repositories, full disks, a killed restore.
mod faults;
// Snapshots that somebody wrote to do harm.
mod hostile;

/// Runs one test of this file again as a user that may do nothing special.
fn as_ordinary_user(test: &str) {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    run_again(
        command
            .args(["--exact", test, "--nocapture"])
            .uid(65534)
            .gid(65534)
            .env("TMPDIR", "/tmp")
            .current_dir("/"),
    );
}

/// Runs one test of this file again with at most 200 open files.
fn with_few_descriptors(test: &str) {
    let mut command = std::process::Command::new("sh");
    let command = command.args(["-c", "ulimit -n 200 && exec \"$0\" --exact \"$1\" --nocapture"]);
    run_again(command.arg(std::env::current_exe().unwrap()).arg(test));
}

fn run_again(command: &mut std::process::Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
