//! Keeps the house as ARCHITECTURE.md draws it: what a machine can check about the source is checked here.
//!
//! Each test is one rule and prints every place that breaks it, with what to do instead. Nothing is compiled: the
//! rules read the text of the tree, so they take a second and hold for code behind any switch. What clippy can say
//! is left to clippy (the lints stand in the root `Cargo.toml`), what cargo-deny can say to `deny.toml`; the few of
//! its rules that would hurt most are repeated in `tidy/packages.rs`, because cargo-deny is not on every machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "tidy/doors.rs"]
mod doors;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/packages.rs"]
mod packages;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{Finding, Tree};

/// Ends the test with all findings at once, so that one run is enough to mend them all.
fn expect_none(rule: &str, findings: Vec<Finding>) {
    if findings.is_empty() {
        return;
    }
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    panic!("{rule}\n\n{}\n\n{} to mend", lines.join("\n"), lines.len());
}

#[test]
fn engine_modules_import_only_downwards() {
    expect_none(
        "The engine's floors stand in engine/src/lib.rs; a module imports from its own floor or from below.",
        floors::upward_imports(&Tree::read()),
    );
}

#[test]
fn engine_head_lists_the_floors_in_the_order_that_is_checked() {
    expect_none(
        "The head of engine/src/lib.rs and FLOORS in tests/tidy/floors.rs say the same thing.",
        floors::head_disagreements(&Tree::read()),
    );
}

#[test]
fn engine_knows_no_environment_clock_or_terminal() {
    expect_none(
        "What is not in memory is given to the engine: clock, environment, terminal.",
        floors::worldly_words(&Tree::read()),
    );
}

#[test]
fn houses_depend_only_on_their_foundations() {
    expect_none(
        "engine and api stand alone; agent, controller and cli never import one another.",
        packages::house_dependencies(&Tree::read()),
    );
}

#[test]
fn members_take_versions_and_lints_from_the_workspace() {
    expect_none(
        "Versions and lints stand once, in the root Cargo.toml.",
        packages::own_versions(&Tree::read()),
    );
}

#[test]
fn banned_packages_and_unknown_licences_stay_out() {
    expect_none("deny.toml says what may come in.", packages::denied(&Tree::read()));
}

#[test]
fn outside_packages_are_named_at_their_door_only() {
    expect_none(
        "One outside package, one door: call the module that owns it.",
        doors::strangers_inside(&Tree::read()),
    );
}

#[test]
fn files_have_a_head_and_one_reason_to_change() {
    expect_none(
        "A file starts with `//!` (what lives here, what must hold) and stays short.",
        files::shapeless(&Tree::read()),
    );
}

#[test]
fn files_are_named_by_nouns_of_the_field() {
    expect_none(
        "A file is named after what lives in it.",
        files::nameless(&Tree::read()),
    );
}

#[test]
fn every_file_is_compiled_by_somebody() {
    expect_none(
        "A .rs file that no `mod` or target names is never compiled, and its tests never run.",
        files::orphans(&Tree::read()),
    );
}

#[test]
fn nothing_unfinished_or_unsafe_is_left_in_the_code() {
    expect_none(
        "Finish it, or say plainly to the user what is not done.",
        words::unfinished(&Tree::read()),
    );
}

#[test]
fn tests_are_named_by_sentences() {
    expect_none("A test's name says what holds.", words::unspoken_tests(&Tree::read()));
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    expect_none(
        "The tree is at home on every machine.",
        words::machine_paths(&Tree::read()),
    );
}
