//! Places that are full or may no longer be written: a repository that became read-only, a target that has no room. Where nobody may mount: skipped.

use crate::home::{Home, noise};
use crate::mount::Mount;
use crate::remount::remount;
use crate::trees;

fn fill(home: &Home) {
    home.write("source/large", noise(1, 9_000_000));
    for number in 0..20u64 {
        home.write(&format!("source/small/{number}"), noise(number + 2, 10_000));
    }
}

/// A repository on a file system of its own, with a snapshot.
fn on_a_disk() -> Option<(Home, Mount)> {
    let mut home = Home::new();
    let disk = home.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Mount::new(&disk, "size=64m")?;
    let key = home.path("key");
    home.set("ARARAT_REPOSITORY", disk.join("repository").to_str().unwrap());
    home.ok(["init".as_ref(), "--new-key".as_ref(), key.as_os_str()]);
    home.set("ARARAT_KEY_FILE", key.to_str().unwrap());
    fill(&home);
    trees::settle();
    home.backup();
    Some((home, mount))
}

#[test]
fn a_repository_that_became_read_only_says_so_and_still_gives_everything_back() {
    let Some((home, _mount)) = on_a_disk() else { return };
    home.write("source/new", "new");
    remount(&home.path("disk"), "ro");
    let (source, repository) = (home.source(), home.path("disk/repository"));
    let (source, repository) = (source.to_str().unwrap(), repository.to_str().unwrap());
    for arguments in [
        &["backup", source][..],
        &["forget", "latest"],
        &["prune"],
        &["tag", "latest", "--add", "x"],
        &["key", "rotate"],
        &["key", "add", "--new-key", "other"],
    ] {
        let ran = home.repo(arguments).ends(1);
        ran.says(&[repository, "read-only", "Make the place writable, or choose another"]);
        assert_eq!(ran.err.matches("os error").count(), 1, "{}", ran.err);
    }
    assert!(!home.path("other").exists(), "a key that opens nothing");
    // A device that cannot be written can still be read.
    std::fs::remove_file(home.path("source/new")).unwrap();
    assert_eq!(home.json(["snapshots"]).as_array().unwrap().len(), 1);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    let target = home.path("restored");
    let within = format!("latest:{source}");
    home.ok(["--no-cache", "restore", &within, "--target", target.to_str().unwrap()]);
    trees::same(&home.source(), &target);
    remount(&home.path("disk"), "rw");
    home.backup();
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn a_target_without_room_is_named_and_the_next_restore_goes_on() {
    let home = Home::with_repository();
    fill(&home);
    home.backup();
    let target = home.path("target");
    std::fs::create_dir(&target).unwrap();
    let Some(_mount) = Mount::new(&target, "size=4m") else {
        return;
    };
    let within = format!("latest:{}", home.source().display());
    let restore = ["restore", &within, "--target", target.to_str().unwrap()];
    let ran = home.repo(restore).ends(1);
    ran.says(&["Could not write", "large", "No space left", "Make room"]);
    assert!(!target.join("large").exists(), "a file that is not whole is not there");

    remount(&target, "size=64m");
    home.ok(restore);
    trees::same(&home.source(), &target);

    remount(&target, "ro");
    home.ok(restore);
    std::fs::remove_file(home.path("source/small/0")).unwrap();
    home.write("source/small/new", "new");
    home.backup();
    home.repo(restore).ends(1).says(&[
        "Could not create",
        "small/new",
        "ead-only",
        "Choose a place that can be written",
    ]);
}
