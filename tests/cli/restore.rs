//! Restoring from the command line: over what is there, in parts, onto a stream; and what is said of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::home::{Home, Ran, noise, run};
use crate::likeness::difference;
use crate::trees;

/// Backs up what is in the source, as `.`, with these arguments too.
#[track_caller]
fn backup(home: &Home, arguments: &[&str]) {
    let mut command = home.command();
    let command = command.args(["repo", "backup", "."]).args(arguments);
    run(command.current_dir(home.source())).ends(0);
}

/// Restores the newest snapshot to `target`, with these arguments too.
fn restore(home: &Home, arguments: &[&str]) -> Ran {
    let target = home.path("target");
    let fixed = [
        OsStr::new("restore"),
        OsStr::new("latest"),
        OsStr::new("--target"),
        target.as_os_str(),
    ];
    home.repo(fixed.into_iter().chain(arguments.iter().map(OsStr::new)))
}

fn set_time(path: &Path, seconds: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn what_is_there_gives_way_as_overwrite_says() {
    let home = Home::with_repository();
    set_time(&home.write("source/file", "snapshot"), 2_000);
    backup(&home, &[]);
    for (overwrite, seconds, expected) in [
        ("never", 1_000, "existing"),
        ("if-newer", 3_000, "existing"),
        ("if-newer", 1_000, "snapshot"),
        ("if-changed", 2_000, "existing"),
        ("if-changed", 1_000, "snapshot"),
        ("always", 2_000, "snapshot"),
    ] {
        let path = home.write("target/file", "existing");
        set_time(&path, seconds);
        restore(&home, &["--overwrite", overwrite]).ends(0);
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            expected,
            "{overwrite} {seconds}"
        );
    }
    // Comparing the content finds what size and time do not show.
    let path = home.write("target/file", "existing");
    set_time(&path, 2_000);
    let ran = restore(&home, &["--overwrite", "if-changed", "--verify"]).ends(3);
    ran.says(&["Could not restore file: It differs from the snapshot when read back"]);
    assert_eq!(ran.err.matches("It differs").count(), 1, "{}", ran.err);
    let ran = restore(&home, &["--overwrite", "always", "--verify"]).ends(0);
    assert!(ran.out.contains("1 files were read back and compared"), "{}", ran.out);
}

#[test]
fn deleting_is_shown_first_and_spares_what_the_backup_left_out() {
    let home = Home::with_repository();
    home.write("source/folder/kept", "x");
    home.write("source/kept.jpg", "x");
    backup(&home, &["--exclude", "*.tmp", "--exclude-larger-than", "1000"]);
    restore(&home, &[]).ends(0);
    let extra = ["target/extra", "target/folder/extra/deep", "target/extra.jpg"];
    let spared = ["target/a.tmp", "target/folder/a.tmp", "target/huge"];
    for name in extra.iter().chain(&spared) {
        home.write(name, "planted");
    }
    home.write("target/huge", noise(1, 2000));
    let there = |name: &&str| home.path(name).exists();

    let plan = restore(&home, &["--delete", "--dry-run"]).ends(0);
    for name in ["extra", "folder/extra", "folder/extra/deep", "extra.jpg"] {
        assert!(
            plan.out.contains(&format!("deleted   {name}\n")),
            "{name}: {}",
            plan.out
        );
    }
    assert!(!plan.out.contains(".tmp") && !plan.out.contains("huge"), "{}", plan.out);
    assert!(extra.iter().chain(&spared).all(&there));

    restore(&home, &["--delete", "--include", "*.jpg"]).ends(0);
    assert!(there(&"target/kept.jpg") && there(&"target/extra") && !there(&"target/extra.jpg"));
    let ran = restore(&home, &["--delete"]).ends(0);
    ran.says(&["What the backup left out or could not read is not deleted"]);
    assert!(ran.out.contains("3 deleted"), "{}", ran.out);
    assert!(!extra.iter().any(&there) && spared.iter().all(&there));
    assert!(there(&"target/folder/kept") && there(&"target/kept.jpg"));
}

#[test]
fn a_large_file_is_changed_in_place_and_zeros_become_holes() {
    let home = Home::with_repository();
    let content = noise(1, 6_000_000);
    home.write("source/large", &content);
    home.write("source/zeros", vec![0; 4_000_000]);
    backup(&home, &[]);
    let mut old = content.clone();
    old[3_000_000] ^= 1;
    let path = home.write("target/large", &old);
    let inode = std::fs::metadata(&path).unwrap().ino();
    restore(&home, &["--in-place", "--sparse", "--owner-names", "--sync"]).ends(0);
    let there = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (there.ino(), there.uid()),
        (inode, std::fs::metadata(home.path("source/large")).unwrap().uid())
    );
    assert!(std::fs::read(&path).unwrap() == content);
    let zeros = home.path("target/zeros");
    assert!(std::fs::metadata(&zeros).unwrap().blocks() < 100);
    assert!(std::fs::read(&zeros).unwrap() == vec![0; 4_000_000]);
}

/// Whatever was something else before: the newer snapshot is restored over the older one, and leaves nothing of it.
#[test]
fn a_restore_over_an_older_state_gives_the_newer_one() {
    let home = Home::with_repository();
    trees::fill(&home.source());
    trees::fill_rare(&home.source());
    backup(&home, &[]);
    restore(&home, &["--delete", "--verify"]).ends(0);

    let at = |name: &str| home.source().join(name);
    for name in ["pipe", "dangling", "odd link", "old", "large"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    std::fs::remove_dir_all(at("small/1")).unwrap();
    std::fs::remove_dir(at("nothing in it")).unwrap();
    // A pipe becomes a file, a link a folder, a file a link, a folder a file; one of the two names of a file goes.
    home.write("source/pipe", "no pipe any more");
    home.write("source/dangling/file", "x");
    std::os::unix::fs::symlink("small", at("old")).unwrap();
    home.write("source/nothing in it", "something");
    for (name, attribute, value) in [("sparse", "user.any", &b"other"[..]), ("empty", "user.new", b"new")] {
        let _ = rustix::fs::lsetxattr(at(name), attribute, value, rustix::fs::XattrFlags::empty());
    }
    let _ = rustix::fs::lremovexattr(at("sparse"), "user.long");
    let _ = rustix::fs::lremovexattr(at("rare"), "user.folder");
    std::fs::set_permissions(at("rare"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // What was a hole holds data, and the other way round.
    let sparse = std::fs::File::options().write(true).open(at("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &crate::home::noise(9, 5000), 6 << 20).unwrap();
    let cut = std::fs::File::options().write(true).open(at("one hole")).unwrap();
    cut.set_len(1).unwrap();
    trees::settle();
    backup(&home, &[]);
    restore(&home, &["--delete", "--verify"]).ends(0);
    assert_eq!(difference(&home.source(), &home.path("target")), None);
    let unchanged = restore(&home, &["--delete", "--json"]).ends(0).json();
    assert_eq!(
        (&unchanged["bytes_fetched"], &unchanged["deleted"]),
        (&0.into(), &0.into()),
        "{unchanged}"
    );
}

#[test]
fn each_file_that_fails_is_named_once() {
    let home = Home::with_repository();
    for number in 0..120 {
        home.write(&format!("source/{number}"), "x");
        home.write(&format!("target/{number}/in the way"), "x");
    }
    backup(&home, &[]);
    let ran = restore(&home, &[]).ends(3);
    for number in 0..120 {
        let line = format!("Could not restore {number}: Could not remove the folder that is in its place");
        assert_eq!(
            ran.err.lines().filter(|said| said.starts_with(&line)).count(),
            1,
            "{line}\n{}",
            ran.err
        );
    }
    assert!(ran.out.contains("120 items could not be restored"), "{}", ran.out);
}

/// Bytes on standard output, as they are.
#[track_caller]
fn dumped(home: &Home, arguments: &[&OsStr]) -> Vec<u8> {
    let output = home.command().arg("repo").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_file_is_dumped_as_it_is_and_a_folder_as_an_archive() {
    let home = Home::with_repository();
    let content = noise(1, 3_000_000);
    home.write("source/folder/large", &content);
    home.write("source/folder/deep/small", "small\n");
    backup(&home, &[]);
    assert!(dumped(&home, &[OsStr::new("dump"), OsStr::new("latest:folder/large")]) == content);
    // With --json too: the bytes, and nothing else.
    assert_eq!(
        dumped(
            &home,
            &[
                OsStr::new("--json"),
                OsStr::new("dump"),
                OsStr::new("latest:/folder/deep/small")
            ]
        ),
        b"small\n"
    );
    let archive = home.path("archive.tar");
    std::fs::write(
        &archive,
        dumped(
            &home,
            &[OsStr::new("dump"), OsStr::new("--tar"), OsStr::new("latest:folder")],
        ),
    )
    .unwrap();
    let unpacked = home.path("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let mut tar = std::process::Command::new("tar");
    let status = tar.arg("-xf").arg(&archive).arg("-C").arg(&unpacked).status().unwrap();
    assert!(status.success());
    let large = ["large", "folder/large"].map(|name| unpacked.join(name));
    let large = large.iter().find(|path| path.exists()).unwrap();
    assert!(std::fs::read(large).unwrap() == content);
    home.repo(["dump", "latest:folder"]).ends(2).says(&["folder"]);
}

#[test]
fn names_that_are_not_text_can_be_asked_for() {
    let home = Home::with_repository();
    let name = OsStr::from_bytes(b"odd\xff:name");
    std::fs::write(home.source().join(name), "odd").unwrap();
    home.write("source/other", "x");
    backup(&home, &[]);
    let what = OsString::from(OsStr::from_bytes(b"latest:odd\xff:name"));
    assert_eq!(dumped(&home, &["dump".as_ref(), &what]), b"odd");
    assert!(!dumped(&home, &["ls".as_ref(), &what]).is_empty());
    let target = home.path("target");
    home.ok([
        "restore".as_ref(),
        what.as_os_str(),
        "--target".as_ref(),
        target.as_os_str(),
    ]);
    assert_eq!(std::fs::read(target.join(name)).unwrap(), b"odd");
    std::fs::remove_dir_all(&target).unwrap();
    for pattern in [&b"odd\xff*"[..], b"od?\xff:name"] {
        let pattern = OsStr::from_bytes(pattern);
        home.ok([
            "restore".as_ref(),
            "latest".as_ref(),
            "--target".as_ref(),
            target.as_os_str(),
            "--include".as_ref(),
            pattern,
        ]);
        assert!(target.join(name).exists() && !target.join("other").exists());
        std::fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_path_in_a_snapshot_is_honoured_or_refused_but_never_ignored() {
    let home = Home::with_repository();
    home.write("source/a/file", "x");
    home.write("source/b/file", "x");
    backup(&home, &[]);
    home.write("source/a/new", "x");
    home.write("source/b/new", "x");
    backup(&home, &[]);
    for arguments in [
        &["latest~1:a", "latest:a"][..],
        &["latest~1:/a/", "latest"],
        &["latest~1", "latest:a"],
        &["latest~1:a"],
    ] {
        let ran = home.ok(["diff"].iter().chain(arguments));
        assert!(
            ran.out.contains("+ a/new\n1 added, 0 removed, 0 changed"),
            "{arguments:?}: {}",
            ran.out
        );
    }
    home.repo(["diff", "latest~1:a", "latest:b"])
        .ends(2)
        .says(&["`a`", "`b`", "name it once"]);
    home.repo(["diff", "latest~1:c", "latest:c"])
        .ends(2)
        .says(&["There is no c"]);
    home.repo(["cat", "latest:a"])
        .ends(2)
        .says(&["cat takes a whole snapshot", "leave out `:a`"]);
    home.repo(["tag", "latest:a", "--add", "x"])
        .ends(2)
        .says(&["tag takes a whole snapshot"]);
    assert_eq!(home.json(["cat", "latest"])["tags"], serde_json::json!([]));
}
