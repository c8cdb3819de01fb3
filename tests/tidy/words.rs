//! Words that must not be in the tree: unfinished work, paths of one machine, unspoken names.
//!
//! The forbidden words are written in two halves here, so that this file does not find itself.

use crate::source::{File, Finding, Tree, places_of};

/// Files that may say `unsafe`, each with the reason and with `// SAFETY:` beside every use. The workspace denies it.
const UNSAFE: &[(&str, &str)] = &[
    ("agent/src/allocator.rs", ALLOCATOR),
    ("cli/src/allocator.rs", ALLOCATOR),
    ("controller/src/allocator.rs", ALLOCATOR),
];
const ALLOCATOR: &str = "options of the allocator are set through C alone; half of a backup's peak of memory";

pub fn unfinished(tree: &Tree) -> Vec<Finding> {
    let macros = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];
    let notes = [
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("TO", "DO"),
        concat!("for ", "now"),
        concat!("not implemented", " yet"),
    ];
    let mut findings = Vec::new();
    for file in tree.rust() {
        for word in macros {
            findings.extend(places_of(&file.code, word).map(|at| file.finding(at, format!("`{word}`"))));
        }
        if !UNSAFE.iter().any(|(path, _)| *path == file.path) {
            let places = places_of(&file.code, "unsafe").filter(|at| !file.code[*at..].starts_with("unsafe_code"));
            findings.extend(
                places.map(|at| file.finding(at, "`unsafe`: ask first, then list the file in UNSAFE with its reason")),
            );
        }
    }
    for file in tree.files.iter().filter(|file| written_here(file)) {
        for word in notes {
            findings.extend(places_of(&file.text, word).map(|at| file.finding(at, format!("“{word}”"))));
        }
    }
    findings
}

/// Lock files and the like are not ours to word.
fn written_here(file: &File) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or("");
    file.is_rust()
        || name.ends_with(".md")
        || name.ends_with(".sh")
        || name.ends_with(".py")
        || !name.contains('.') && name != "LICENSE"
}

/// Names of fewer than three words, or that start with `test_`.
pub fn unspoken_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let markers = file
            .code
            .match_indices("#[test]")
            .chain(file.code.match_indices("#[tokio::test"));
        for (marker, _) in markers {
            let Some(offset) = file.code[marker..].find("fn ") else {
                continue;
            };
            let at = marker + offset + 3;
            let name: String = file.code[at..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if name.starts_with("test_") {
                findings.push(file.finding(at, format!("`{name}`: leave out `test_` and say what holds")));
            } else if name.split('_').filter(|word| !word.is_empty()).count() < 3 {
                findings.push(file.finding(at, format!("`{name}` is no sentence: say what holds")));
            }
        }
    }
    findings
}

pub fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let paths = [
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
        concat!("/wo", "rk/."),
        concat!("/tmp", "/w/"),
        concat!("/fa", "rm/"),
        concat!("/tmp/", "studio"),
        concat!("/ro", "ot/."),
    ];
    let mut findings = Vec::new();
    for file in &tree.files {
        for path in paths {
            findings.extend(
                file.text
                    .match_indices(path)
                    .map(|(at, _)| file.finding(at, format!("{path}…"))),
            );
        }
    }
    findings
}
