//! What is left out, and how much that was.

use engine::source::{Excludes, Marker, Pattern, SourceOptions};

use crate::mount::Mount;
use crate::trees::{Tree, Walked, walk};

fn patterns(list: &[&str]) -> Vec<Pattern> {
    list.iter().map(|text| Pattern::new(*text)).collect()
}

fn excluding(tree: &Tree, excludes: Excludes) -> Walked {
    walk(
        &["."],
        SourceOptions {
            excludes,
            ..tree.options()
        },
    )
    .expect_no_errors()
}

#[test]
fn patterns_leave_out_what_matches_and_count_it() {
    let tree = Tree::new();
    tree.file("a.tmp", "")
        .file("keep.tmp", "")
        .file("target/x/y", "")
        .file("src/target", "")
        .file("src/a.tmp", "");
    let excludes = Excludes {
        patterns: patterns(&["*.tmp", "!keep.tmp", "/target"]),
        ..Excludes::default()
    };
    let walked = excluding(&tree, excludes);
    assert_eq!(walked.paths(), ["", "keep.tmp", "src", "src/target"]);
    assert_eq!(walked.excluded, 3);
}

#[test]
fn absolute_sources_are_matched_by_their_whole_path() {
    let tree = Tree::new();
    tree.file("cache/x", "").file("data/cache/x", "");
    let excludes = Excludes {
        patterns: patterns(&[tree.at("cache").to_str().unwrap()]),
        ..Excludes::default()
    };
    let walked = walk(
        &[tree.path()],
        SourceOptions {
            excludes,
            ..tree.options()
        },
    )
    .expect_no_errors();
    let kept = walked
        .paths()
        .into_iter()
        .filter(|path| path.ends_with("/x"))
        .collect::<Vec<_>>();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].ends_with("data/cache/x"));
}

#[test]
fn a_source_in_an_excluded_folder_is_read_all_the_same() {
    let tree = Tree::new();
    tree.file("cache/keep/x", "").file("cache/y", "").file("z", "");
    let excludes = Excludes {
        patterns: patterns(&["/cache"]),
        ..Excludes::default()
    };
    let walked = walk(
        &[".", "cache/keep"],
        SourceOptions {
            excludes,
            ..tree.options()
        },
    )
    .expect_no_errors();
    assert_eq!(walked.paths(), ["", "cache", "cache/keep", "cache/keep/x", "z"]);
}

#[test]
fn includes_leave_out_all_other_files() {
    let tree = Tree::new();
    tree.file("a.jpg", "")
        .file("b.png", "")
        .file("all/deep/x", "")
        .file("other/c.jpg", "")
        .file("other/d", "");
    let excludes = Excludes {
        includes: patterns(&["*.jpg", "/all/"]),
        ..Excludes::default()
    };
    let walked = excluding(&tree, excludes);
    assert_eq!(
        walked.paths(),
        ["", "a.jpg", "all", "all/deep", "all/deep/x", "other", "other/c.jpg"]
    );
    assert_eq!(walked.excluded, 2);
}

#[test]
fn marked_folders_keep_themselves_and_the_marker() {
    let tree = Tree::new();
    let signature = "Signature: 8a477f597d28d172789f06886806bc55\n# more";
    tree.file("cache/CACHEDIR.TAG", signature)
        .file("cache/big", "")
        .file("cache/deep/x", "");
    tree.file("fake/CACHEDIR.TAG", "Signature: none").file("fake/x", "");
    tree.file("skipped/.nobackup", "")
        .file("skipped/x", "")
        .folder("odd/CACHEDIR.TAG");
    let markers = vec![Marker::of_caches(), Marker::parse(b".nobackup").unwrap()];
    let walked = excluding(
        &tree,
        Excludes {
            markers,
            ..Excludes::default()
        },
    );
    let expected = [
        "",
        "cache",
        "cache/CACHEDIR.TAG",
        "fake",
        "fake/CACHEDIR.TAG",
        "fake/x",
        "odd",
        "odd/CACHEDIR.TAG",
    ];
    assert_eq!(walked.paths()[..8], expected);
    assert_eq!(walked.paths()[8..], ["skipped", "skipped/.nobackup"]);
    assert_eq!(walked.excluded, 3);
}

#[test]
fn large_files_are_left_out() {
    let tree = Tree::new();
    tree.file("small", "12345").file("large", "123456");
    let walked = excluding(
        &tree,
        Excludes {
            larger_than: Some(5),
            ..Excludes::default()
        },
    );
    assert_eq!(walked.paths(), ["", "small"]);
    assert_eq!(walked.excluded, 1);
}

#[test]
fn what_is_mounted_is_an_empty_folder_in_one_file_system() {
    let tree = Tree::new();
    tree.file("mounted/hidden", "").file("z", "");
    let Some(_mount) = Mount::new(&tree.at("mounted"), "size=4m") else {
        return;
    };
    tree.file("mounted/inner/x", "");
    let options = || SourceOptions {
        one_file_system: true,
        ..tree.options()
    };
    assert_eq!(walk(&["."], options()).expect_no_errors().paths(), ["", "mounted", "z"]);
    assert_eq!(
        tree.walk().paths(),
        ["", "mounted", "mounted/inner", "mounted/inner/x", "z"]
    );
    let inner = walk(&[".", "mounted/inner"], options()).expect_no_errors();
    assert_eq!(inner.paths(), ["", "mounted", "mounted/inner", "mounted/inner/x", "z"]);
    let mounted = walk(&["mounted"], options()).expect_no_errors();
    assert_eq!(mounted.paths(), ["mounted", "mounted/inner", "mounted/inner/x"]);
}
