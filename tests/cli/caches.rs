//! What a machine keeps of repositories: seen, bounded and removed, without a key and without the repository.

use crate::home::{Home, noise};
use crate::servers::{Server, VERSITYGW, or_skip};

fn with_cache() -> Home {
    let home = Home::with_repository();
    home.write("source/file", noise(1, 100_000));
    home.backup();
    home.ok(["snapshots"]);
    home
}

#[test]
fn what_is_kept_is_listed_and_removed_without_a_key_or_the_repository() {
    let mut home = with_cache();
    let config = home.json(["cat", "config"]);
    home.unset("ARARAT_KEY_FILE");
    std::fs::rename(home.path("repository"), home.path("away")).unwrap();
    let listed = home.json(["cache", "list"]);
    let kept = listed["repositories"].as_array().unwrap();
    assert_eq!(kept.len(), 1, "{listed}");
    assert_eq!(kept[0]["repository"], config["repository"]);
    assert_eq!(kept[0]["location"], home.path("repository").to_str().unwrap());
    assert!(
        kept[0]["bytes"].as_u64().unwrap() > 0 && kept[0]["used"].is_string(),
        "{listed}"
    );
    assert_eq!(listed["bytes"], kept[0]["bytes"]);
    assert_eq!(listed["limit_bytes"], 4_u64 << 30);
    let text = home.ok(["cache", "list"]).out;
    assert!(
        text.contains("LAST USE") && text.contains(home.path("repository").to_str().unwrap()),
        "{text}"
    );

    let elsewhere = home.path("elsewhere");
    let ran = home.ok(["-r", elsewhere.to_str().unwrap(), "cache", "clear"]);
    assert!(ran.out.contains("Nothing is kept of"), "{}", ran.out);
    home.ok(["cache", "clear", "--dry-run"]);
    assert_eq!(
        home.json(["cache", "list"])["repositories"].as_array().unwrap().len(),
        1
    );
    let cleared = home.json(["cache", "clear"]);
    assert_eq!(cleared["removed"][0]["repository"], config["repository"]);
    assert_eq!(home.json(["cache", "list"])["repositories"], serde_json::json!([]));
}

#[test]
fn a_cache_that_was_removed_is_made_again() {
    let home = with_cache();
    home.ok(["cache", "clear", "--all"]);
    assert!(home.ok(["snapshots"]).out.contains("1 snapshot"));
    home.backup();
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
    assert_eq!(
        home.json(["cache", "list"])["repositories"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn what_was_not_used_for_long_goes_and_the_rest_stays() {
    let mut home = with_cache();
    let old = home.json(["cat", "config"])["repository"].clone();
    let year_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(365 * 24 * 3600);
    let listed = home.json(["cache", "list"]);
    let mut folders = vec![std::path::PathBuf::from(
        listed["repositories"][0]["path"].as_str().unwrap(),
    )];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_times(std::fs::FileTimes::new().set_modified(year_ago))
                .unwrap();
        }
    }
    home.set("ARARAT_REPOSITORY", home.path("second").to_str().unwrap());
    let key = home.path("second key");
    home.ok(["init".as_ref(), "--new-key".as_ref(), key.as_os_str()]);
    home.set("ARARAT_KEY_FILE", key.to_str().unwrap());
    home.backup();
    let new = home.json(["cat", "config"])["repository"].clone();

    let cleared = home.json(["cache", "clear", "--older-than", "30d"]);
    assert_eq!(cleared["removed"][0]["repository"], old, "{cleared}");
    let left = home.json(["cache", "list"]);
    assert_eq!(left["repositories"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["repositories"][0]["repository"], new);
    home.repo(["cache", "clear", "--older-than=-1d"])
        .ends(2)
        .says(&["negative"]);
    home.repo(["--no-cache", "cache", "list"]).ends(2).says(&["--no-cache"]);
}

#[test]
fn copies_of_a_clouds_objects_stay_below_the_limit() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let mut home = Home::new();
    let location = server.location("r");
    for (name, value) in &location.environment {
        home.set(name, value);
    }
    home.set("ARARAT_REPOSITORY", &location.url);
    home.set("ARARAT_PASSWORD", "x");
    home.ok(["init"]);
    for number in 0..400 {
        home.write(&format!("source/{number}"), noise(number + 1, 3_000));
    }
    home.backup();
    home.ok(["ls", "-R"]);
    let bytes = |home: &Home| home.json(["cache", "list"])["bytes"].as_u64().unwrap();
    let before = bytes(&home);
    home.set("ARARAT_CACHE_LIMIT", "1KiB");
    assert_eq!(home.json(["cache", "list"])["limit_bytes"], 1024);
    home.ok(["ls", "-R"]);
    let objects = home.path("cache/ararat");
    let objects = std::fs::read_dir(objects)
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("objects"));
    let kept: u64 = objects
        .filter(|path| path.exists())
        .flat_map(|path| std::fs::read_dir(path).unwrap().flatten().collect::<Vec<_>>())
        .filter(|entry| entry.file_name() != "CACHEDIR.TAG")
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(kept <= 1024, "{kept}");
    assert!(bytes(&home) < before);
}
