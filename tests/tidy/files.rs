//! What every Rust file looks like: its head, its size, its name, and that somebody compiles it.

use crate::source::{Finding, Tree, places_of};

/// The most lines a file may have, tests included. Most of ours have 100 to 400.
const LINES_MAX: usize = 600;

/// Names that say nothing: whatever has no other place ends up there.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "shared", "stuff", "types", "lib2",
];

pub fn shapeless(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
        if !first.starts_with("//!") {
            findings.push(file.whole("has no `//!` head: say what lives here and what must hold"));
        } else if first.trim_start_matches("//!").split_whitespace().count() < 2 {
            findings.push(file.finding(0, "the head's first line is not a sentence"));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            findings.push(file.whole(format!(
                "has {lines} lines (most {LINES_MAX}): what are its two reasons to change?"
            )));
        }
    }
    findings
}

pub fn nameless(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let parts = file.path.trim_end_matches(".rs").split('/');
        for part in parts.filter(|part| EMPTY_NAMES.contains(part)) {
            findings.push(file.whole(format!(
                "`{part}` says nothing: a helper lives beside its only user, or gets a noun"
            )));
        }
    }
    findings
}

/// Files that no `mod NAME`, no `path = "…NAME.rs"` and no custom of Cargo's reaches.
pub fn orphans(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let root = ["main.rs", "lib.rs", "build.rs"].contains(&name)
            || folder.ends_with("src/bin")
            || folder.ends_with("examples");
        let tail = if name == "mod.rs" {
            format!("{}/mod.rs", file.stem())
        } else {
            name.to_string()
        };
        let by_path = || tree.files.iter().any(|other| names_path(&other.text, &tail));
        let by_mod = || {
            tree.rust()
                .any(|other| other.path != file.path && declares(&other.code, file.stem()))
        };
        if !root && !by_mod() && !by_path() {
            findings.push(file.whole("no `mod` and no target names it: it is never compiled"));
        }
    }
    findings
}

fn names_path(text: &str, tail: &str) -> bool {
    text.lines().any(|line| {
        line.contains("path = \"") && (line.contains(&format!("/{tail}\"")) || line.contains(&format!("\"{tail}\"")))
    })
}

fn declares(code: &str, module: &str) -> bool {
    places_of(code, module)
        .any(|at| code[..at].trim_end().ends_with("mod") && code[at + module.len()..].trim_start().starts_with(';'))
}
