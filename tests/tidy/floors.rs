//! The engine's floors: which module may import which, and what no floor of the engine may know at all.

use std::collections::BTreeMap;

use crate::source::{File, Finding, Tree, places_of};

/// Top-level modules of the engine, lowest floor first. Modules of one floor may import one another.
const FLOORS: &[&[&str]] = &[
    &["words"],
    &["chunker", "compress", "crypto", "format"],
    &["store"],
    &["pack", "index"],
    &["repository"],
    &["source", "target"],
    &["verbs"],
];

/// Words of the outside world and what to do instead. `CARGO_…` variables at compile time (`env!`) are no exception:
/// the engine does not need them.
const WORLDLY: &[(&str, &str)] = &[
    ("SystemTime::now", "take `now` as an argument"),
    ("Timestamp::now", "take `now` as an argument"),
    ("Zoned::now", "take `now` as an argument"),
    (
        "env::var",
        "take the value as an argument; programs read the environment",
    ),
    (
        "env::vars",
        "take the values as an argument; programs read the environment",
    ),
    (
        "env::var_os",
        "take the value as an argument; programs read the environment",
    ),
    ("env::current_dir", "take the folder as an argument"),
    ("env::home_dir", "take the folder as an argument"),
    ("println!", "return a report or use Progress; programs print"),
    ("eprintln!", "return a report or use Progress; programs print"),
    ("print!", "return a report or use Progress; programs print"),
    ("eprint!", "return a report or use Progress; programs print"),
    ("io::stdin", "take a Read"),
    ("io::stdout", "take a Write"),
    ("io::stderr", "take a Write"),
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The top-level module a file of the engine belongs to: `engine/src/store/retry.rs` → `store`.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("engine/src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|module| *module != "lib")
}

pub fn upward_imports(tree: &Tree) -> Vec<Finding> {
    let exports = root_exports(tree.file("engine/src/lib.rs").unwrap());
    let mut findings = Vec::new();
    for file in tree.below("engine/src/") {
        let Some(module) = module_of(&file.path) else { continue };
        let Some(floor) = floor_of(module) else {
            findings.push(file.whole(format!(
                "module `{module}` has no floor: add it to FLOORS and to engine/src/lib.rs"
            )));
            continue;
        };
        for (at, name) in crate_names(&file.code) {
            let target = exports.get(name.as_str()).map_or(name.as_str(), String::as_str);
            match floor_of(target) {
                Some(other) if other > floor => findings.push(file.finding(
                    at,
                    format!("`{module}` (floor {}) imports `{target}` (floor {}): move what is shared down, or the caller up", floor + 1, other + 1),
                )),
                Some(_) => {}
                None => findings.push(file.finding(at, format!("`crate::{name}` is no module with a floor, nor a name that lib.rs exports"))),
            }
        }
    }
    findings
}

/// What lib.rs re-exports at the root, with the module it comes from: `Error` → `words`.
fn root_exports(lib: &File) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for (at, _) in lib.code.match_indices("pub use ") {
        let statement = lib.code[at + 8..].split(';').next().unwrap_or("");
        let statement = statement.trim_start_matches("crate::").trim_start_matches("self::");
        let module = statement.split("::").next().unwrap_or("").trim().to_string();
        for name in statement.split(|c: char| !c.is_alphanumeric() && c != '_') {
            exports.insert(name.to_string(), module.clone());
        }
    }
    exports
}

/// Every first name after `crate::`, also inside `crate::{…}`, with its place.
fn crate_names(code: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for at in places_of(code, "crate").filter(|at| code[*at..].starts_with("crate::")) {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut fresh) = (0, true);
            for (offset, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    c if depth == 0 && fresh && !c.is_whitespace() => {
                        names.push((at, first_name(&group[offset..])));
                        fresh = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.push((at, first_name(rest)));
        }
    }
    names
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

pub fn head_disagreements(tree: &Tree) -> Vec<Finding> {
    let lib = tree.file("engine/src/lib.rs").unwrap();
    let head: String = lib
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut findings = Vec::new();
    let mut last = 0;
    for module in FLOORS.iter().copied().flatten() {
        // rustdoc wants `mod@` where a macro has the same name.
        match head
            .find(&format!("[`{module}`]"))
            .or_else(|| head.find(&format!("[`mod@{module}`]")))
        {
            None => findings.push(lib.whole(format!("the head does not list [`{module}`]"))),
            Some(at) if at < last => findings.push(lib.whole(format!("the head lists [`{module}`] too early"))),
            Some(at) => last = at,
        }
    }
    for at in places_of(&lib.code, "mod") {
        let module = first_name(lib.code[at + 3..].trim_start());
        if floor_of(&module).is_none() {
            findings.push(lib.finding(
                at,
                format!("module `{module}` has no floor: add it to FLOORS in tests/tidy/floors.rs"),
            ));
        }
    }
    findings
}

pub fn worldly_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.below("engine/src/") {
        for (word, instead) in WORLDLY {
            findings.extend(places_of(file.product(), word).map(|at| file.finding(at, format!("`{word}`: {instead}"))));
        }
    }
    findings
}

#[test]
fn names_are_found_in_paths_and_in_groups() {
    let code = "use crate::{store::{Store, x}, words::Id};\nfn f() { crate::pack::open() } pub(crate) mod x {}";
    let names: Vec<String> = crate_names(code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["store", "words", "pack"]);
}
