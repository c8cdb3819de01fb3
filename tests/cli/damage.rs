//! Damage on the command line: each kind is named with whom it hurts and ends with code 4, and what is not hurt goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::errors::in_cloud;
use crate::home::{Home, Ran, noise};
use crate::servers::fault_proxy::{Fault, FaultProxy, Rule};
use crate::servers::{GCS, Server, or_skip};
use crate::trees;

/// A repository with a folded and a new snapshot.
struct Story {
    home: Home,
    snapshots: [String; 2],
}

impl Story {
    fn new() -> Self {
        let home = Home::with_repository();
        for number in 0..50u64 {
            home.write(&format!("source/small/{number}"), noise(number + 1, 3000));
        }
        home.write("source/large", noise(100, 2_000_000));
        trees::settle();
        let first = home.backup();
        home.ok(["prune"]);
        home.write("source/new", noise(101, 2_000_000));
        trees::settle();
        let second = home.backup();
        let id = |report: &Value| report["snapshot"].as_str().unwrap().to_owned();
        Self {
            snapshots: [id(&first), id(&second)],
            home,
        }
    }

    fn objects(&self) -> Vec<String> {
        let repository = self.home.path("repository");
        let mut found = Vec::new();
        let mut folders = vec![repository.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&repository).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The only object for which that is so.
    fn the(&self, is_meant: impl Fn(&str, &[u8]) -> bool) -> String {
        let objects = self.objects().into_iter();
        let found: Vec<String> = objects
            .filter(|name| is_meant(name, &std::fs::read(self.path(name)).unwrap()))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// The second snapshot's pack that holds data, or trees.
    fn pack(&self, contents: u8) -> String {
        let session = format!("p/{}/", self.snapshots[1]);
        self.the(|name, bytes| name.starts_with(&session) && bytes[68] == contents)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path("repository").join(name)
    }

    /// Runs what must be told of the damage, and puts the object back.
    fn with(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>, run: impl FnOnce(&Home)) {
        let path = self.path(name);
        let before = std::fs::read(&path).ok();
        set(&path, change(before.clone().unwrap_or_default()));
        run(&self.home);
        set(&path, before);
    }
}

fn set(path: &Path, bytes: Option<Vec<u8>>) {
    let _ = std::fs::remove_file(path);
    if let Some(bytes) = bytes {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn flipped(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Some(bytes)
}

fn lost(_: Vec<u8>) -> Option<Vec<u8>> {
    None
}

fn cut(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    bytes.truncate(bytes.len() / 2);
    Some(bytes)
}

/// The findings of a check, in text and as JSON; it ends with 4.
fn findings(home: &Home) -> (String, Vec<Value>) {
    let Ran { out, .. } = home.repo(["check", "--read-data"]).ends(4);
    let document = home.repo(["--json", "check", "--read-data"]).ends(4).json();
    assert_eq!(document["healthy"], false);
    (out, document["findings"].as_array().unwrap().clone())
}

#[test]
fn a_damaged_pack_is_named_with_the_snapshots_and_files_it_hurts() {
    let story = Story::new();
    let (data, tree) = (story.pack(1), story.pack(2));
    for (pack, path) in [(&data, Some("source/new")), (&tree, None)] {
        for change in [flipped, lost, cut] {
            story.with(pack, change, |home| {
                let (text, findings) = findings(home);
                let name = pack.strip_prefix("p/").unwrap();
                let finding = findings.iter().find(|finding| finding["pack"] == name);
                let finding = finding.unwrap_or_else(|| panic!("{name}: {findings:?}"));
                assert!(finding["message"].as_str().unwrap().contains(name), "{finding}");
                assert!(finding["file_count"].as_u64().unwrap() > 0, "{finding}");
                let files = finding["files"].as_array().unwrap();
                assert!(
                    files.iter().all(|file| file["snapshot"] == story.snapshots[1].as_str()),
                    "{finding}"
                );
                if let Some(path) = path {
                    assert!(files[0]["path"].as_str().unwrap().ends_with(path), "{finding}");
                    assert!(text.contains(path), "{text}");
                    let file = format!("{}:{}", story.snapshots[1], home.path(path).display());
                    home.repo(["dump", &file]).ends(4).says(&[name, "repo check"]);
                }
                assert!(text.contains(name) && text.contains(&story.snapshots[1][..8]), "{text}");
            });
        }
    }
    assert_eq!(story.home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn a_damaged_object_is_named_and_what_is_not_in_it_goes_on() {
    let story = Story::new();
    let end = format!("s/{}/end", story.snapshots[1]);
    let level = story.the(|name, _| name.starts_with("x/g"));
    for (name, readable) in [(&end, 0), (&level, 1), (&level, 0)] {
        story.with(name, flipped, |home| {
            let (text, findings) = findings(home);
            let named = findings
                .iter()
                .filter(|finding| finding["message"].as_str().unwrap().contains(name.as_str()));
            assert_eq!(named.count(), 1, "{findings:?}");
            assert!(text.contains(name.as_str()), "{text}");
            // Restoring and listing go on and say it.
            let target = home.path("back");
            let snapshot = &story.snapshots[readable];
            let ran = home
                .repo(["restore", snapshot, "--target", target.to_str().unwrap()])
                .ends(0);
            ran.says(&[name, "check"]);
            let _ = std::fs::remove_dir_all(&target);
            home.ok(["snapshots"]).says(&[name]);
            // What would delete does not.
            for arguments in [&["prune"][..], &["forget", "--keep-last", "1"]] {
                home.repo(arguments)
                    .ends(4)
                    .says(&[name, "put it back from a copy", "repo check"]);
            }
        });
    }
    // Damaged is not missing.
    story.with(&end, flipped, |home| {
        let ran = home.repo(["ls", &story.snapshots[1]]).ends(4);
        ran.says(&[&end, "damaged"]);
    });
    story.with(&end, flipped, |home| {
        home.backup();
    });
    assert_eq!(story.home.json(["check", "--read-data"])["healthy"], true);
    assert_eq!(story.home.json(["snapshots"]).as_array().unwrap().len(), 3);
}

#[test]
fn damaged_references_are_named_before_prune_needs_them() {
    let story = Story::new();
    let references = format!("r/{}", story.snapshots[1]);
    story.with(
        &references,
        |_| Some(b"no references".to_vec()),
        |home| {
            let (text, findings) = findings(home);
            assert!(
                findings[0]["message"].as_str().unwrap().contains(&references),
                "{findings:?}"
            );
            assert!(text.contains(&references), "{text}");
        },
    );
}

/// A server that gets requests without one of their headers: one that checks no signatures, which cover it.
fn without_header(header: &'static str) -> Option<(Server, FaultProxy, Home)> {
    let server = or_skip(Server::start(&GCS))?;
    let proxy = FaultProxy::start(server.address());
    proxy.inject(Rule::always(Fault::DropHeader(header)));
    let home = in_cloud(&server.location_through(proxy.address(), "r"));
    Some((server, proxy, home))
}

#[test]
fn init_says_what_a_store_lacks_and_makes_the_repository_all_the_same() {
    let Some((_server, _proxy, home)) = without_header("x-goog-if-generation-match") else {
        return;
    };
    let ran = home.repo(["--json", "init"]).ends(0);
    ran.says(&["Warning", "--exclusive"]);
    assert!(ran.json()["verdict"].as_str().unwrap().contains("--exclusive"));
    home.write("source/file", "x");
    home.backup();
    home.repo(["prune"]).ends(2).says(&["--exclusive"]);
    home.ok(["prune", "--exclusive"]);
    let healthy = Home::with_repository();
    assert!(
        healthy.json(["probe"])["verdict"]
            .as_str()
            .unwrap()
            .contains("all that is needed")
    );
}

#[test]
fn a_store_that_gives_no_parts_of_objects_fails_the_probe() {
    let Some((_server, _proxy, home)) = without_header("range") else {
        return;
    };
    let document = home.repo(["--json", "probe"]).ends(3).json();
    assert_eq!(document["ranges"], false, "{document}");
    assert_eq!(document["read_after_write"], true, "{document}");
    let ran = home.repo(["probe"]).ends(3);
    assert!(ran.out.contains("cannot be used"), "{}", ran.out);
}

#[test]
fn stats_do_not_call_zero_what_a_key_does_not_show() {
    let story = Story::new();
    let all = story.home.json(["stats"]);
    for (role, hidden, shown) in [
        ("maintainer", "logical_bytes", "used_bytes"),
        ("reader", "used_bytes", "logical_bytes"),
    ] {
        let key = story.home.path(role);
        let key = key.to_str().unwrap();
        story.home.ok(["key", "add", "--role", role, "--new-key", key]);
        let stats = story.home.json(["--key-file", key, "stats"]);
        assert!(stats[hidden].is_null() && stats["deduplication"].is_null(), "{stats}");
        assert_eq!(stats[shown], all[shown], "{stats}");
        let text = story.home.ok(["--key-file", key, "stats"]).out;
        assert!(text.contains("not visible with this key"), "{text}");
    }
    let ratio = |name: &str| all[name].as_f64().unwrap();
    assert!(
        (ratio("reduction") - ratio("logical_bytes") / ratio("used_bytes")).abs() < 1e-9,
        "{all}"
    );
    assert!(
        ratio("deduplication") > 1.4 && (0.9..1.1).contains(&ratio("compression")),
        "{all}"
    );
}
