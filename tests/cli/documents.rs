//! JSON.md and what the verbs print with `--json` hold each other: every field that is printed is described, and every field that is described is
//! printed, by the verb whose section it stands in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::errors::packs;
use crate::home::{Home, Ran, noise, run};
use crate::killed::kill_after;

type Fields = BTreeSet<String>;

/// The fields that each section of JSON.md describes, and what a field may be called anywhere.
fn described() -> (BTreeMap<String, Fields>, Fields) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/JSON.md")).unwrap();
    let mut sections: BTreeMap<String, Fields> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.split([',', '(']).next().unwrap().trim().to_owned();
        }
        // Every second part of a line is between backticks.
        for quoted in line.split('`').skip(1).step_by(2) {
            let is_field = |c: char| c.is_ascii_lowercase() || c == '_';
            if quoted.chars().all(|c| is_field(c) || "{}\",: …".contains(c)) {
                let words = quoted.split(|c| !is_field(c)).filter(|word| !word.is_empty());
                sections
                    .entry(section.clone())
                    .or_default()
                    .extend(words.map(str::to_owned));
            }
        }
    }
    let anywhere = sections.remove("").unwrap();
    (sections, anywhere)
}

/// The names of all fields in a document, but those that a person chose.
fn fields(document: &Value, into: &mut Fields) {
    match document {
        Value::Object(object) => {
            for (name, value) in object {
                into.insert(name.clone());
                if name != "labels" {
                    fields(value, into);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the sections say in words that are no fields: what a field may hold.
const VALUES: [(&str, &[&str]); 4] = [
    (
        "ls",
        &[
            "folder",
            "file",
            "symlink",
            "fifo",
            "socket",
            "character_device",
            "block_device",
        ],
    ),
    ("diff", &["type", "content", "metadata"]),
    (
        "key",
        &[
            "add", "generate", "key", "list", "passwd", "password", "remove", "rotate", "sheet",
        ],
    ),
    ("cache", &["list", "clear"]),
];

/// Verbs that the sections speak of.
const VERBS: [&str; 4] = ["cat", "ls", "probe", "prune"];

/// Sections that another one's documents have in them.
const HOLDS: [(&str, &[&str]); 4] = [
    ("snapshots", &["backup"]),
    ("forget", &["snapshots", "backup", "prune"]),
    ("diff", &["ls"]),
    ("cat config", &[]),
];

#[derive(Default)]
struct Seen(BTreeMap<&'static str, Fields>);

impl Seen {
    /// Runs a verb and takes up what it printed.
    #[track_caller]
    fn run(&mut self, home: &Home, section: &'static str, code: i32, arguments: &[&str]) -> Ran {
        let ran = run(home.command().args(["repo", "--json"]).args(arguments)).ends(code);
        let seen = self.0.entry(section).or_default();
        ran.json_lines().iter().for_each(|document| fields(document, seen));
        ran
    }
}

/// Every verb, in such a way that as much as possible is in its documents.
fn all_verbs() -> Seen {
    let mut seen = Seen::default();
    let home = Home::with_repository();
    home.write("source/large", noise(1, 40 << 20));
    kill_after(&home, &home.path("repository"), 1);
    let path = |name: &str| home.path(name).to_str().unwrap().to_owned();
    let source = path("source");
    std::os::unix::fs::symlink("large", home.path("source/link")).unwrap();
    let missing = path("missing");
    seen.run(
        &home,
        "backup",
        3,
        &["backup", &source, &missing, "--label", "unit=night"],
    );
    home.write("source/second", noise(2, 300_000));
    seen.run(
        &home,
        "backup",
        0,
        &["backup", &source, "--tag", "a", "--description", "words"],
    );
    seen.run(
        &home,
        "init",
        0,
        &["-r", &path("other"), "init", "--new-key", &path("other-key")],
    );
    seen.run(&home, "snapshots", 0, &["snapshots"]);
    seen.run(&home, "snapshots", 0, &["snapshots", "--group-by", "host,paths,tags"]);
    seen.run(&home, "snapshots", 0, &["cat", "latest"]);
    seen.run(&home, "cat config", 0, &["cat", "config"]);
    seen.run(&home, "ls", 0, &["ls", "-R"]);
    seen.run(&home, "diff", 0, &["diff", "latest~1", "latest", "--metadata"]);
    seen.run(&home, "stats", 0, &["stats"]);
    seen.run(&home, "tag", 0, &["tag", "latest", "--add", "b"]);
    let target = path("target");
    seen.run(
        &home,
        "restore",
        0,
        &["restore", "latest", "--target", &target, "--verify"],
    );
    seen.run(&home, "Errors", 1, &["restore", "nothing", "--target", &target]);
    seen.run(&home, "probe", 0, &["probe"]);
    seen.run(&home, "cache", 0, &["cache", "list"]);
    for key in ["list", "rotate"] {
        seen.run(&home, "key", 0, &["key", key]);
    }
    let added = seen
        .run(&home, "key", 0, &["key", "add", "--new-key", &path("second-key")])
        .json();
    seen.run(
        &home,
        "key",
        0,
        &["key", "remove", "--dry-run", added["added"].as_str().unwrap()],
    );
    seen.run(&home, "key", 0, &["key", "generate", &path("third-key")]);
    seen.run(
        &home,
        "forget",
        0,
        &["forget", "--keep-last", "1", "--dry-run", "--prune"],
    );
    damaged(&home, &mut seen);
    seen.run(&home, "cache", 0, &["cache", "clear", "--all", "--dry-run"]);
    seen
}

/// The verbs that say something of damage: every large pack has zeros in its middle.
fn damaged(home: &Home, seen: &mut Seen) {
    for pack in packs(home) {
        let mut bytes = std::fs::read(&pack).unwrap();
        let length = bytes.len();
        if length > 5 << 20 {
            bytes[length / 8..length / 8 * 7].fill(0);
            std::fs::write(&pack, bytes).unwrap();
        }
    }
    let target = home.path("damaged").to_str().unwrap().to_owned();
    seen.run(home, "restore", 3, &["restore", "latest", "--target", &target]);
    seen.run(home, "check", 4, &["check", "--read-data"]);
    // Half of what they hold is not needed any more: the rest would be moved, could it be read.
    home.write("source/large", noise(1, 20 << 20));
    home.backup();
    seen.run(home, "forget", 0, &["forget", "--keep-last", "1", "--group-by", "host"]);
    seen.run(home, "prune", 4, &["prune"]);
}

#[test]
fn every_field_is_described_and_every_description_is_true() {
    let (described, anywhere) = described();
    let seen = all_verbs();
    let of = |section: &str| described.get(section).cloned().unwrap_or_default();
    for (section, seen) in &seen.0 {
        let mut known = of(section);
        assert!(!known.is_empty(), "JSON.md has no section `{section}`");
        let held = HOLDS.iter().filter(|(holder, _)| holder == section);
        known.extend(held.flat_map(|(_, held)| held.iter()).flat_map(|section| of(section)));
        known.extend(anywhere.iter().cloned());
        let untold: Vec<_> = seen.difference(&known).collect();
        assert!(
            untold.is_empty(),
            "`{section}` prints {untold:?}, which JSON.md does not describe"
        );
    }
    let mut untrue = Vec::new();
    for (section, fields) in &described {
        if section == "Exit codes" || section == "dump" {
            continue;
        }
        let seen = seen
            .0
            .get(section.as_str())
            .unwrap_or_else(|| panic!("no verb prints what `{section}` describes"));
        let values: Vec<&str> = VALUES
            .iter()
            .filter(|(holder, _)| holder == section)
            .flat_map(|(_, values)| values.iter().copied())
            .collect();
        let unseen: Vec<_> = fields
            .iter()
            .filter(|field| {
                !seen.contains(*field) && !values.contains(&field.as_str()) && !VERBS.contains(&field.as_str())
            })
            .collect();
        untrue.extend(unseen.into_iter().map(|field| format!("{section}: {field}")));
    }
    assert!(untrue.is_empty(), "JSON.md describes what is not printed: {untrue:?}");
}
