//! One outside package, one door: the files that may name a package; everybody else calls the module that owns it.
//!
//! Doors are for the houses. Benches and tests may name what they measure.

use crate::source::{Finding, Tree, places_of};

/// Package (as it is named in code) and where it may be named: a file, a folder (or what a path starts with), or a word that the
/// file's name or one of its folders contains (starts with `*`).
const DOORS: &[(&str, &[&str])] = &[
    ("fastcdc", &["engine/src/chunker.rs", "engine/src/chunker/"]),
    ("zstd", &["engine/src/compress.rs", "engine/src/compress/"]),
    ("chacha20poly1305", &["engine/src/crypto/aead.rs"]),
    ("hpke", &["engine/src/crypto/hpke.rs"]),
    ("argon2", &["engine/src/crypto/passphrase.rs"]),
    ("bincode", &["engine/src/format/codec.rs"]),
    ("object_store", STORE),
    ("reqwest", &["engine/src/store/cloud/"]),
    ("tokio", WAITING),
    ("futures", WAITING),
    ("rayon", &["engine/src/index/write.rs"]),
    ("crossbeam_channel", THREADS_MEET),
    ("clap", ARGUMENTS),
    ("clap_complete", ARGUMENTS),
    ("clap_mangen", ARGUMENTS),
    ("kube", &["agent/src/", "controller/", "cli/src/"]),
    ("axum", &["agent/src/", "controller/src/"]),
];

const STORE: &[&str] = &["engine/src/store.rs", "engine/src/store/"];

/// Where the network is waited for; in the engine only the store does.
const WAITING: &[&str] = &[STORE[0], STORE[1], "agent/src/", "controller/src/", "cli/src/"];

/// Where threads hand work to one another: pipelines, the backup, and what uploads packs.
const THREADS_MEET: &[&str] = &[
    "*pipeline",
    "engine/src/verbs/backup/",
    "engine/src/repository/writer/uploads.rs",
];

/// Where the command line's words are read.
const ARGUMENTS: &[&str] = &[
    "agent/src/args.rs",
    "agent/src/main.rs",
    "controller/src/args.rs",
    "controller/src/main.rs",
    "cli/src/main.rs",
    "cli/src/args",
    "cli/src/commands",
];

const HOUSES: &[&str] = &[
    "engine/src/",
    "agent/src/",
    "controller/src/",
    "controller/api/src/",
    "cli/src/",
];

pub fn strangers_inside(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in HOUSES.iter().flat_map(|house| tree.below(house)) {
        for (package, doors) in DOORS {
            if doors.iter().any(|door| opens(door, &file.path)) || is_our_module(&file.code, package) {
                continue;
            }
            for at in places_of(&file.code, package).filter(|at| names_package(&file.code, *at, package)) {
                findings.push(file.finding(at, format!("names `{package}`, whose door is {}", doors.join(", "))));
            }
        }
    }
    findings
}

fn opens(door: &str, path: &str) -> bool {
    match door.strip_prefix('*') {
        Some(word) => path.contains(word),
        None => path == door || path.starts_with(door),
    }
}

/// Says whether the word means a module of ours in this file: `mod hpke;` or `use crate::crypto::{aead, hpke};`.
fn is_our_module(code: &str, package: &str) -> bool {
    let declared = places_of(code, package).any(|at| code[..at].trim_end().ends_with("mod"));
    let imported = places_of(code, "use").any(|at| {
        let statement = code[at + 3..].split(';').next().unwrap_or("").trim_start();
        let ours = ["crate::", "self::", "super::"]
            .iter()
            .any(|start| statement.starts_with(start));
        ours && places_of(statement, package).next().is_some()
    });
    declared || imported
}

/// Says whether the word is a package's name here: `x::…`, `use x;`, `use x as y`, and not a module's (`self::x::…`).
fn names_package(code: &str, at: usize, package: &str) -> bool {
    let (before, after) = (&code[..at], &code[at + package.len()..]);
    if before.ends_with("::") && !before.trim_end_matches("::").ends_with([' ', '(', '<', '&', ',', '\n']) {
        return false;
    }
    let imported = before.trim_end().ends_with("use") && after.trim_start().starts_with([';', 'a']);
    after.starts_with("::") || imported
}

#[test]
fn packages_are_told_from_modules_and_variables() {
    let named = |code: &str| places_of(code, "zstd").any(|at| names_package(code, at, "zstd"));
    assert!(named("use zstd::Encoder;"));
    assert!(named("use zstd as z;"));
    assert!(named("let a = ::zstd::x();"));
    assert!(named("fn f(a: &zstd::Dictionary)"));
    assert!(!named("use crate::compress::zstd::Encoder;"));
    assert!(!named("let zstd = 3; f(zstd)"));
    assert!(is_our_module("use crate::{compress::{lz, zstd}};", "zstd"));
    assert!(is_our_module("pub mod zstd;\npub use zstd::Level;", "zstd"));
    assert!(!is_our_module("use zstd::Encoder;\nuse crate::words::Error;", "zstd"));
}
