//! Each way in which a command fails: exit code, the thing, the cause, the next step.

use std::path::{Path, PathBuf};

use crate::home::{Home, Ran, noise, run};
use crate::mount::Mount;
use crate::remount::remount;
use crate::servers::{Location, Server, VERSITYGW, or_skip};
use crate::skipped::skipped;

fn backup(home: &Home) -> Ran {
    home.repo(["backup".as_ref(), home.source().as_os_str()])
}

fn with_snapshot() -> Home {
    let home = Home::with_repository();
    home.write("source/file", noise(1, 300_000));
    home.backup();
    home
}

/// The usual permissions do not bind root, which may be who runs the tests.
fn is_root() -> bool {
    run(std::process::Command::new("id").arg("-u")).out.trim() == "0"
}

#[test]
fn a_wrong_password_opens_nothing() {
    let mut home = Home::new();
    let place = home.path("repository");
    home.set("ARARAT_REPOSITORY", place.to_str().unwrap());
    home.set("ARARAT_PASSWORD", "right");
    home.ok(["init"]);
    home.set("ARARAT_PASSWORD", "hunter2");
    let ran = home.repo(["snapshots"]).ends(12);
    ran.says(&[
        place.to_str().unwrap(),
        "opens none of the 1 key slots",
        "ARARAT_PASSWORD",
    ]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    let document = home.repo(["--json", "snapshots"]).ends(12).json();
    assert_eq!(document["error"]["exit_code"], 12, "{document}");
    assert!(document["error"]["hint"].is_string() && document["error"]["message"].is_string());
}

#[test]
fn no_repository_is_at_that_place() {
    let mut home = Home::new();
    home.set("ARARAT_PASSWORD", "secret");
    let place = home.path("nowhere");
    let place = place.to_str().unwrap();
    let ran = home.repo(["-r", place, "snapshots"]).ends(10);
    ran.says(&["There is no repository at", place, "ararat repo init"]);
}

#[test]
fn no_key_was_given() {
    let mut home = with_snapshot();
    home.unset("ARARAT_KEY_FILE");
    home.repo(["snapshots"])
        .ends(2)
        .says(&["No key was given", "ARARAT_PASSWORD", "--key-file"]);
}

#[test]
fn a_repository_is_there_already() {
    let home = with_snapshot();
    let ran = home.repo(["init".as_ref(), "--new-key".as_ref(), home.path("another").as_os_str()]);
    let ran = ran.ends(1);
    ran.says(&[
        "There is a repository at",
        home.path("repository").to_str().unwrap(),
        "another place",
    ]);
    assert!(!home.path("another").exists());
}

#[test]
fn a_newer_format_names_the_version_it_needs() {
    let home = with_snapshot();
    let path = home.path("repository/config");
    let mut config = std::fs::read(&path).unwrap();
    let body = config.len() - 32;
    config[5] += 1;
    let hash = blake3::hash(&config[..body]);
    config[body..].copy_from_slice(hash.as_bytes());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, config).unwrap();
    let ran = home.repo(["snapshots"]).ends(1);
    ran.says(&["config", "needs a newer version of Ararat", "version"]);
}

#[test]
fn an_unknown_snapshot_is_named() {
    let home = with_snapshot();
    let ran = home.repo(["ls", "abcdef"]).ends(1);
    ran.says(&["There is no snapshot `abcdef`", "ararat repo snapshots"]);
}

#[test]
fn words_that_make_no_sense() {
    let home = with_snapshot();
    home.repo(["bakcup"]).ends(2).says(&["bakcup", "backup"]);
    home.repo(["backup"])
        .ends(2)
        .says(&["Nothing to back up was named", "ararat repo backup ."]);
    home.repo(["tag", "latest"]).ends(2).says(&["--add, --remove or --set"]);
    home.repo(["forget", "latest", "--keep-last", "1"])
        .ends(2)
        .says(&["not both"]);
    home.repo(["check", "--read-data-subset", "9/7"]).ends(2).says(&["9/7"]);
    home.repo(["ls", "latest:no/such/path"]).ends(2).says(&["no/such/path"]);
}

#[test]
fn a_path_that_is_not_there_leaves_the_rest_backed_up() {
    let home = with_snapshot();
    let gone = home.path("gone");
    let ran = home.repo(["backup".as_ref(), home.source().as_os_str(), gone.as_os_str()]);
    let ran = ran.ends(3);
    // Named as it would be in the snapshot, where no path begins with a slash.
    let named = gone.to_str().unwrap().trim_start_matches('/');
    ran.says(&[named, "No such file"]);
    assert!(ran.out.contains("Errors  1"), "{}", ran.out);
    assert!(home.ok(["snapshots"]).out.contains("2 snapshots"));
}

#[test]
fn a_file_that_may_not_be_read_leaves_the_rest_backed_up() {
    use std::os::unix::fs::PermissionsExt;
    if is_root() {
        return skipped("root may read every file");
    }
    let home = with_snapshot();
    let path = home.write("source/closed", "closed");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let ran = backup(&home).ends(3);
    ran.says(&[path.to_str().unwrap(), "ermission denied"]);
}

/// The files of packs, largest first.
pub fn packs(home: &Home) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![home.path("repository/p")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    found
}

pub fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::PermissionsExt;
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 1;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn damage_is_found_and_named_with_what_it_hurts() {
    let home = with_snapshot();
    let pack = packs(&home).remove(0);
    flip(&pack, 5_000);
    let snapshot = home.json(["snapshots"])[0]["id"].as_str().unwrap().to_owned();
    let number = pack.file_stem().unwrap().to_str().unwrap().to_owned();
    let ran = home.repo(["check", "--read-data"]).ends(4);
    for part in ["DAMAGE", &number, "source/file", &snapshot[..8]] {
        assert!(ran.out.contains(part), "`{part}` is not said:\n{}", ran.out);
    }
    let document = home.repo(["--json", "check", "--read-data"]).ends(4).json();
    assert_eq!(document["healthy"], false);
    assert_eq!(
        document["findings"][0]["files"][0]["snapshot"],
        snapshot.as_str(),
        "{document}"
    );
    let ran = home.repo([
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        home.path("to").as_os_str(),
    ]);
    ran.ends(3).says(&["Could not restore", "source/file", "damaged"]);
}

#[test]
fn a_full_disk_is_named_and_a_later_backup_goes_on() {
    let mut home = Home::new();
    let disk = home.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mount) = Mount::new(&disk, "size=4m") else {
        return;
    };
    let key = home.path("key");
    home.set("ARARAT_REPOSITORY", disk.join("repository").to_str().unwrap());
    home.ok(["init".as_ref(), "--new-key".as_ref(), key.as_os_str()]);
    home.set("ARARAT_KEY_FILE", key.to_str().unwrap());
    home.write("source/large", noise(1, 20_000_000));
    let ran = backup(&home).ends(1);
    ran.says(&["Could not write", "Make room"]);

    remount(&disk, "size=64m");
    backup(&home).ends(0);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn a_place_that_may_not_be_written_is_named() {
    let mut home = Home::new();
    let disk = home.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mount) = Mount::new(&disk, "size=1m,ro") else {
        return;
    };
    home.set("ARARAT_PASSWORD", "x");
    let place = disk.join("repository");
    let ran = home.repo(["-r", place.to_str().unwrap(), "init"]).ends(1);
    ran.says(&[disk.to_str().unwrap(), "ead-only", "writ"]);
}

pub fn in_cloud(location: &Location) -> Home {
    let mut home = Home::new();
    for (name, value) in &location.environment {
        home.set(name, value);
    }
    home.set("ARARAT_REPOSITORY", &location.url);
    home.set("ARARAT_PASSWORD", "x");
    home
}

#[test]
fn a_host_that_does_not_answer() {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "ararat-tests-secret"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
    ];
    let home = in_cloud(&Location {
        url: "s3://bucket/r".to_owned(),
        environment: environment.map(|(name, value)| (name, value.to_owned())).to_vec(),
    });
    let ran = home.repo(["snapshots"]).ends(1);
    ran.says(&["s3://bucket/r", "Connection refused", "Check the address"]);
    assert!(!ran.err.contains("ararat-tests-secret"), "{}", ran.err);
}

#[test]
fn credentials_that_are_refused_and_a_bucket_that_is_not_there() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let mut home = in_cloud(&server.location("r"));
    home.ok(["init"]);
    home.set("AWS_SECRET_ACCESS_KEY", "hunter2");
    let ran = home.repo(["snapshots"]).ends(1);
    ran.says(&["SignatureDoesNotMatch", "Check the credentials"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);

    let mut location = server.location("r");
    location.url = location.url.replace("ararat", "nowhere");
    let ran = in_cloud(&location).repo(["init"]).ends(1);
    ran.says(&["nowhere", "Make the bucket"]);
}
