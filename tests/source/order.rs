//! The order of the items: strictly rising and complete, whatever the tree and however many threads.

use std::collections::BTreeSet;

use engine::source::{SourceOptions, Walk};
use proptest::prelude::*;

use crate::trees::{Tree, collect};

/// Names that are hard to sort: around the separator, prefixes of one another, high bytes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let hard: Vec<&'static [u8]> = vec![
        b"a", b"a.b", b"a-b", b"ab", b"a\x01", b"a0", b"A", b"\xff", b"z\n", b"a.", b"-", b"aa",
    ];
    prop_oneof![
        3 => prop::sample::select(hard).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(prop_oneof![1..=0x2e_u8, 0x30..=0xff_u8], 1..12),
    ]
    .prop_filter("not a name", |name| name != b"." && name != b"..")
}

fn path() -> impl Strategy<Value = (Vec<Vec<u8>>, bool)> {
    (prop::collection::vec(name(), 1..6), any::<bool>())
}

/// Makes the paths that can be made, and gives all that exist then.
fn make(tree: &Tree, paths: &[(Vec<Vec<u8>>, bool)]) -> BTreeSet<Vec<u8>> {
    let mut made = BTreeSet::from([Vec::new()]);
    for (names, is_folder) in paths {
        let path = names.join(&b'/');
        let above = tree.at(names[..names.len() - 1].join(&b'/'));
        if std::fs::create_dir_all(above).is_err() || tree.at(&path).exists() {
            continue;
        }
        if *is_folder {
            std::fs::create_dir(tree.at(&path)).unwrap();
        } else {
            std::fs::write(tree.at(&path), "").unwrap();
        }
        made.extend((1..=names.len()).map(|depth| names[..depth].join(&b'/')));
    }
    // Some beginnings were made although their ends could not be.
    made.retain(|path| path.is_empty() || tree.at(path).exists());
    for (names, _) in paths {
        made.extend(
            (1..names.len())
                .map(|depth| names[..depth].join(&b'/'))
                .filter(|path| tree.at(path).exists()),
        );
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_come_out_in_order_and_complete(paths in prop::collection::vec(path(), 0..60), threads in 1..4_usize, few in any::<bool>()) {
        let tree = Tree::new();
        let expected = make(&tree, &paths);
        let mut options = SourceOptions { threads, ..tree.options() };
        if few {
            options.open_folders = 1;
            options.names_at_once = 3;
        }
        let walked = collect(Walk::new(&[".".into()], options).unwrap()).expect_no_errors();
        let found: BTreeSet<Vec<u8>> = walked.found.iter().map(|found| found.path.clone()).collect();
        prop_assert_eq!(found.len(), walked.found.len());
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn many_threads_give_what_one_gives() {
    let tree = Tree::new();
    for outer in 0..40 {
        for inner in 0..(outer % 7) * 20 {
            tree.file(format!("{outer}/{inner}/{}", inner * outer), "");
        }
        for file in 0..outer * 3 {
            tree.file(format!("{outer}/file.{file}"), "");
        }
    }
    let one = tree.walk().expect_no_errors().paths();
    for threads in [1, 3, 16] {
        let options = SourceOptions {
            threads,
            ..tree.options()
        };
        let many = collect(Walk::new(&[".".into()], options).unwrap()).expect_no_errors();
        assert_eq!(many.paths(), one);
    }
}

#[test]
fn a_walk_that_is_abandoned_ends_its_threads() {
    let tree = Tree::new();
    for at in 0..3_000 {
        tree.file(format!("{}/{at}", at % 50), "");
    }
    for batches in [0, 1, 2] {
        let mut walk = Walk::new(
            &[".".into()],
            SourceOptions {
                threads: 8,
                ..tree.options()
            },
        )
        .unwrap();
        assert_eq!(walk.by_ref().take(batches).count(), batches);
        drop(walk);
    }
}
