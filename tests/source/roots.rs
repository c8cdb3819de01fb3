//! Where sources are stored, several of them, links and devices among them.

use std::path::Path;

use engine::source::{FoundKind, SourceOptions};

use crate::loop_device::LoopDevice;
use crate::skipped::skipped;
use crate::trees::{Tree, Walked, is_root, walk};

/// The paths below the tree, for sources that were given as absolute paths.
fn below(walked: &Walked, tree: &Tree) -> Vec<String> {
    let prefix = tree.path().to_str().unwrap()[1..].to_string();
    walked
        .paths()
        .iter()
        .filter_map(|path| path.strip_prefix(&prefix))
        .map(str::to_string)
        .collect()
}

#[test]
fn relative_sources_keep_their_folders() {
    let tree = Tree::new();
    tree.file("foo/bar/x", "").file("foo/other", "").file("y", "");
    let walked = walk(&["foo/bar"], tree.options()).expect_no_errors();
    assert_eq!(walked.paths(), ["foo", "foo/bar", "foo/bar/x"]);
    assert_eq!(
        walk(&["foo/bar/", "y"], tree.options()).paths(),
        ["foo", "foo/bar", "foo/bar/x", "y"]
    );
    assert_eq!(walk(&["./foo/other"], tree.options()).paths(), ["foo", "foo/other"]);
}

#[test]
fn absolute_sources_keep_their_whole_path() {
    let tree = Tree::new();
    tree.file("a/x", "").file("b", "");
    let walked = walk(&[tree.at("a")], SourceOptions::default()).expect_no_errors();
    assert_eq!(below(&walked, &tree), ["", "/a", "/a/x"]);
    let first = tree.path().components().nth(1).unwrap();
    assert_eq!(walked.paths()[0], first.as_os_str().to_str().unwrap());
    assert!(
        walked.found.iter().all(|found| !found.path.is_empty()),
        "the root is no source"
    );
    let inner = tree.at("a");
    let by_dots = walk(
        &[".."],
        SourceOptions {
            here: inner,
            ..tree.options()
        },
    )
    .expect_no_errors();
    assert_eq!(below(&by_dots, &tree), ["", "/a", "/a/x", "/b"]);
}

#[test]
fn nested_and_equal_sources_are_read_once() {
    let tree = Tree::new();
    tree.file("a/b/c", "").file("a/d", "").file("e", "");
    let expected = tree.walk().paths();
    assert_eq!(
        walk(&[".", "a/b", "a", "a/b/c", "a/"], tree.options())
            .expect_no_errors()
            .paths(),
        expected
    );
    let walked = walk(&["a/b", "a", "a/b", "e"], tree.options()).expect_no_errors();
    assert_eq!(walked.paths(), ["a", "a/b", "a/b/c", "a/d", "e"]);
}

#[test]
fn sources_from_here_and_from_the_top_are_merged() {
    let (tree, other) = (Tree::new(), Tree::new());
    tree.file("zz/x", "").file("0", "");
    other.file("file", "");
    let walked = walk(&[Path::new("."), other.path()], tree.options()).expect_no_errors();
    let paths = walked.paths();
    assert_eq!(paths.first().unwrap(), "");
    assert!(paths.contains(&"zz/x".to_string()) && paths.contains(&"0".to_string()));
    assert_eq!(below(&walked, &other), ["", "/file"]);
}

#[test]
fn links_above_a_source_are_followed_and_a_source_that_is_a_link_is_one() {
    let tree = Tree::new();
    tree.file("real/inner/x", "")
        .symlink("real", "link")
        .symlink("inner", "real/again");
    let walked = walk(&["link/inner"], tree.options()).expect_no_errors();
    assert_eq!(walked.paths(), ["link", "link/inner", "link/inner/x"]);
    assert_eq!(*walked.kind("link"), FoundKind::Folder);
    let walked = walk(&["link"], tree.options()).expect_no_errors();
    assert!(matches!(walked.kind("link"), FoundKind::Symlink { .. }));
    let walked = walk(&["link/"], tree.options()).expect_no_errors();
    assert_eq!(walked.paths(), ["link", "link/again", "link/inner", "link/inner/x"]);
    assert!(matches!(walked.kind("link/again"), FoundKind::Symlink { .. }));
}

#[test]
fn a_source_below_a_link_of_another_source_is_an_error_of_its_own() {
    let tree = Tree::new();
    tree.file("real/x", "").symlink("real", "link");
    let walked = walk(&[".", "link/x"], tree.options());
    assert_eq!(walked.paths(), ["", "link", "real", "real/x"]);
    assert_eq!(walked.errors.len(), 1);
    assert!(
        walked.errors[0].to_string().contains("link: it is no folder"),
        "{}",
        walked.errors[0]
    );
}

#[test]
fn a_source_that_is_missing_is_an_error_among_others() {
    let tree = Tree::new();
    tree.file("there", "");
    let walked = walk(&["missing/x", "there", "gone"], tree.options());
    assert_eq!(walked.paths(), ["there"]);
    let failed: Vec<_> = walked.errors.iter().map(|error| error.path.as_slice()).collect();
    assert_eq!(failed, [b"gone".as_slice(), b"missing"]);
    // Whoever passes over what vanished meanwhile must not pass over these.
    assert!(walked.errors.iter().all(|error| error.named && !error.vanished()));
}

#[test]
fn files_and_pipes_can_be_sources() {
    let tree = Tree::new();
    tree.file("file", "123");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let walked = walk(&["fifo", "file"], tree.options()).expect_no_errors();
    assert_eq!(*walked.kind("fifo"), FoundKind::Fifo);
    assert_eq!(walked.get("file").size(), 3);
}

#[test]
fn a_block_device_that_is_a_source_is_read_like_a_file() {
    if !is_root() {
        return skipped("only root reads devices");
    }
    let tree = Tree::new();
    let Some(device) = LoopDevice::new(&tree.at("image"), 1 << 20) else {
        return;
    };
    let file = std::fs::File::options().write(true).open(&device.path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"device", 1_000_000).unwrap();
    file.sync_all().unwrap();
    tree.symlink(&device.path, "link");
    let walked = walk(&[Path::new("link"), Path::new(&device.path)], tree.options()).expect_no_errors();
    for path in ["link", &device.path[1..]] {
        let mut found = walked.get(path).clone();
        assert!(
            matches!(
                found.kind,
                FoundKind::File {
                    size: 1_048_576,
                    from_device: true,
                    ..
                }
            ),
            "{found:?}"
        );
        let file = found.open().unwrap();
        let mut bytes = [0; 6];
        assert_eq!(file.read_at(&mut bytes, 1_000_000).unwrap(), 6);
        assert_eq!(&bytes, b"device");
        assert!(!file.has_changed().unwrap());
        assert_eq!(found.link(), None);
    }
}
