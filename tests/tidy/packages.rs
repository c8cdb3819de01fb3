//! Which house may depend on which, where versions stand, and the rules of `deny.toml` that matter most.
//!
//! `deny.toml` is read as text, so that its lists stand once. Only the packages that are really built count: a
//! package that the lock file names for a switch nobody turns on (ring is one) is not there.

use std::collections::BTreeSet;
use std::process::Command;

use crate::source::{File, Finding, Tree};

/// House, and the houses it may depend on.
const HOUSES: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("controller/api", &[]),
    ("agent", &["engine", "api"]),
    ("controller", &["engine", "api"]),
    ("cli", &["engine", "api"]),
];
const HOUSE_NAMES: &[&str] = &["engine", "api", "agent", "controller", "cli"];
/// What no manifest of a foundation may name: it has never heard of Kubernetes, terminals or web servers.
const NOT_IN_ENGINE: &[&str] = &[
    "kube",
    "k8s-openapi",
    "clap",
    "axum",
    "tonic",
    "indicatif",
    "anstream",
    "anstyle",
    "comfy-table",
    "rpassword",
    "tracing-subscriber",
];

pub fn house_dependencies(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (house, allowed) in HOUSES {
        let Some(manifest) = tree.file(&format!("{house}/Cargo.toml")) else {
            continue;
        };
        for (at, name) in dependencies(manifest) {
            if HOUSE_NAMES.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                findings.push(manifest.finding(
                    at,
                    format!("{house} depends on {name}: they meet only in the Kubernetes API and in the repository"),
                ));
            }
            if *house == "engine" && NOT_IN_ENGINE.contains(&name.as_str()) {
                findings.push(manifest.finding(at, format!("the engine depends on {name}: that belongs to a program")));
            }
        }
    }
    findings
}

pub fn own_versions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (house, _) in HOUSES {
        let Some(manifest) = tree.file(&format!("{house}/Cargo.toml")) else {
            continue;
        };
        for (at, name) in dependencies(manifest) {
            let line = manifest.text[at..].lines().next().unwrap_or("");
            if !line.contains("workspace = true") {
                findings.push(manifest.finding(
                    at,
                    format!("{name}: put the version into the root Cargo.toml and write {name}.workspace = true"),
                ));
            }
        }
        if !manifest.text.contains("[lints]\nworkspace = true") {
            findings.push(manifest.whole("does not take the workspace's lints"));
        }
    }
    findings
}

/// Names in the dependency tables, development ones too, with their places.
fn dependencies(manifest: &File) -> Vec<(usize, String)> {
    let (mut names, mut inside, mut at) = (Vec::new(), false, 0);
    for line in manifest.text.split_inclusive('\n') {
        if line.starts_with('[') {
            inside = line.trim_end().trim_end_matches(']').ends_with("dependencies");
        } else if inside && line.starts_with(|c: char| c.is_alphanumeric()) {
            let name: String = line
                .chars()
                .take_while(|c| c.is_alphanumeric() || "-_".contains(*c))
                .collect();
            names.push((at, name));
        }
        at += line.len();
    }
    names
}

pub fn denied(tree: &Tree) -> Vec<Finding> {
    let Some(deny) = tree.file("deny.toml") else {
        panic!("There is no deny.toml")
    };
    let licences = quoted_list(deny, "licenses", "allow");
    let banned = quoted_list(deny, "bans", "deny");
    let mut findings = Vec::new();
    for (package, licence) in built_packages(tree) {
        let name = package.split(' ').next().unwrap_or("");
        if banned.contains(name) {
            findings.push(deny.whole(format!(
                "{package} is banned; find who brings it with: cargo tree -i {name}"
            )));
        }
        if !licence_fits(&licence, &licences) {
            findings.push(deny.whole(format!("{package} is under {licence:?}, which is not allowed")));
        }
    }
    for line in tree.root.join("Cargo.lock").pipe_lines() {
        if line.starts_with("source = ") && !line.contains("registry+https://github.com/rust-lang/crates.io-index") {
            findings.push(deny.whole(format!("Cargo.lock has {line}: packages come from crates.io alone")));
        }
    }
    findings
}

trait PipeLines {
    fn pipe_lines(&self) -> Vec<String>;
}

impl PipeLines for std::path::PathBuf {
    fn pipe_lines(&self) -> Vec<String> {
        std::fs::read_to_string(self)
            .unwrap()
            .lines()
            .map(str::to_string)
            .collect()
    }
}

/// The quoted words of `key = [ … ]` in `[section]`.
fn quoted_list(deny: &File, section: &str, key: &str) -> BTreeSet<String> {
    let body = deny
        .text
        .split(&format!("[{section}]\n"))
        .nth(1)
        .unwrap_or_else(|| panic!("deny.toml has no [{section}]"));
    let body = body.split("\n[").next().unwrap_or("");
    let list = body
        .split(&format!("{key} = ["))
        .nth(1)
        .unwrap_or_else(|| panic!("deny.toml: [{section}] has no {key}"));
    let list: String = list
        .split("\n]")
        .next()
        .unwrap_or("")
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""))
        .collect();
    list.split('"').skip(1).step_by(2).map(str::to_string).collect()
}

/// Every package that is built for this machine, tests included, as (`name vX.Y.Z`, licence).
fn built_packages(tree: &Tree) -> BTreeSet<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "tree",
        "--offline",
        "--locked",
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ];
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(&tree.root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .map(|(package, licence)| {
            (
                package.split(" (").next().unwrap_or(package).to_string(),
                licence.to_string(),
            )
        })
        .collect()
}

/// Reads the few forms that are in use: words joined by OR, AND, `/` and WITH, with parentheses.
fn licence_fits(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let words = licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = words.split_whitespace().rev().collect();
    !words.is_empty() && either(&mut words, allowed) && words.is_empty()
}

fn either(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut fits = both(words, allowed);
    while words.last() == Some(&"OR") {
        words.pop();
        fits |= both(words, allowed);
    }
    fits
}

fn both(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut fits = one(words, allowed);
    while words.last() == Some(&"AND") {
        words.pop();
        fits &= one(words, allowed);
    }
    fits
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    match words.pop() {
        Some("(") => {
            let fits = either(words, allowed);
            words.pop() == Some(")") && fits
        }
        Some(name) if words.last() == Some(&"WITH") => {
            words.pop();
            let exception = words.pop().unwrap_or("");
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        Some(name) => allowed.contains(name),
        None => false,
    }
}

#[test]
fn licence_expressions_are_read_with_and_or_and_parentheses() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Unicode-3.0"].map(str::to_string).into();
    assert!(licence_fits("MIT OR Apache-2.0", &allowed));
    assert!(licence_fits("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(licence_fits("Unlicense/MIT", &allowed));
    assert!(!licence_fits("ISC AND OpenSSL", &allowed));
    assert!(!licence_fits("Apache-2.0 WITH LLVM-exception", &allowed));
    assert!(!licence_fits("", &allowed));
}
