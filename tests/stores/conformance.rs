//! What every store must do, whatever it is made of. [`suite`] is the list; each kind of store runs all of it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use engine::store::{Created, Store};
use engine::words::{Error, StoreFailure};

use crate::opening;

#[test]
fn a_local_folder_does_what_the_engine_needs() {
    let (_folder, store) = opening::local();
    suite(&store);
}

#[test]
fn memory_does_what_the_engine_needs() {
    suite(&opening::memory());
}

/// Runs all of it on an empty store and leaves it empty.
pub fn suite(store: &Store) {
    what_was_put_is_read_back_whole_and_in_parts(store);
    nothing_is_where_nothing_was_put(store);
    objects_of_every_size_come_back(store);
    many_are_read_at_once_in_order(store);
    a_put_never_replaces(store);
    a_create_tells_ours_from_theirs(store);
    one_of_many_creators_wins(store);
    lists_are_sorted_and_cut_at_prefixes(store);
    deleting_twice_is_fine(store);
    names_that_lead_elsewhere_are_refused(store);
    a_list_longer_than_a_page_is_whole(store);
    requests_are_counted(store);
    assert_eq!(store.list("").unwrap(), [], "the suite leaves nothing behind");
}

fn what_was_put_is_read_back_whole_and_in_parts(store: &Store) {
    let bytes = noise(100_000, 1);
    store.put("p/a/00000000", bytes.clone()).unwrap();
    assert_eq!(store.get("p/a/00000000").unwrap(), bytes);
    assert_eq!(store.get_range("p/a/00000000", 0..1).unwrap(), bytes.slice(0..1));
    assert_eq!(
        store.get_range("p/a/00000000", 99_999..100_000).unwrap(),
        bytes.slice(99_999..)
    );
    assert_eq!(
        store.get_range("p/a/00000000", 5_000..60_000).unwrap(),
        bytes.slice(5_000..60_000)
    );
    assert_eq!(store.get_range("p/a/00000000", 7..7).unwrap(), Bytes::new());
    for beyond in [99_999..100_001, 100_000..100_001, 5_000_000..5_000_010] {
        let error = store.get_range("p/a/00000000", beyond.clone()).unwrap_err();
        assert!(
            matches!(&error, Error::Damaged { name, .. } if name == "p/a/00000000"),
            "{beyond:?}: {error}"
        );
    }
    store.delete(&["p/a/00000000".to_owned()]).unwrap();
}

fn nothing_is_where_nothing_was_put(store: &Store) {
    let error = store.get("config").unwrap_err();
    assert!(matches!(&error, Error::Missing { name } if name == "config"), "{error}");
    let error = store.get_range("p/none/00000000", 0..10).unwrap_err();
    assert!(
        matches!(&error, Error::Missing { name } if name == "p/none/00000000"),
        "{error}"
    );
    assert_eq!(store.list("s/").unwrap(), []);
    assert_eq!(store.list_after("g/", "g/0000000000000001").unwrap(), []);
}

fn objects_of_every_size_come_back(store: &Store) {
    let sizes = [0, 1, 31, 4_096, 65_537, 3 << 20, (12 << 20) + 17];
    for (number, size) in sizes.into_iter().enumerate() {
        store
            .put(&format!("p/sizes/{number:08x}"), noise(size, number as u64))
            .unwrap();
    }
    for (number, size) in sizes.into_iter().enumerate() {
        assert_eq!(
            store.get(&format!("p/sizes/{number:08x}")).unwrap(),
            noise(size, number as u64),
            "{size} bytes"
        );
    }
    let listed = store.list("p/sizes/").unwrap();
    assert_eq!(
        listed.iter().map(|object| object.size).collect::<Vec<_>>(),
        sizes.map(|size| size as u64)
    );
    store
        .delete(&listed.into_iter().map(|object| object.name).collect::<Vec<_>>())
        .unwrap();
}

fn many_are_read_at_once_in_order(store: &Store) {
    let names: Vec<String> = (0..40).map(|number| format!("p/many/{number:08x}")).collect();
    for (number, name) in names.iter().enumerate() {
        store.put(name, noise(1_000, number as u64)).unwrap();
    }
    let mut wanted: Vec<_> = names.iter().rev().map(|name| (name.clone(), Some(10..20))).collect();
    wanted.push(("p/many/none".to_owned(), None));
    wanted.push((names[3].clone(), None));
    wanted.push((names[3].clone(), Some(999..1_002)));
    let mut got = store.get_many(wanted);
    assert!(matches!(got.pop(), Some(Err(Error::Damaged { .. }))));
    assert_eq!(got.pop().unwrap().unwrap(), noise(1_000, 3));
    assert!(matches!(got.pop(), Some(Err(Error::Missing { .. }))));
    for (number, bytes) in got.into_iter().rev().enumerate() {
        assert_eq!(bytes.unwrap(), noise(1_000, number as u64).slice(10..20), "{number}");
    }
    assert!(store.get_many(Vec::new()).is_empty());
    store.delete(&names).unwrap();
}

fn a_put_never_replaces(store: &Store) {
    store.put("x/a/00000001", Bytes::from_static(b"first")).unwrap();
    store.put("x/a/00000001", Bytes::from_static(b"first")).unwrap();
    let error = store.put("x/a/00000001", Bytes::from_static(b"other")).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Store {
                action: "write",
                failure: StoreFailure::Other,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(store.get("x/a/00000001").unwrap(), "first");
    store.delete(&["x/a/00000001".to_owned()]).unwrap();
}

fn a_create_tells_ours_from_theirs(store: &Store) {
    assert_eq!(
        store.create("s/a/end", Bytes::from_static(b"commit")).unwrap(),
        Created::Done
    );
    assert_eq!(
        store.create("s/a/end", Bytes::from_static(b"commit")).unwrap(),
        Created::Done
    );
    let theirs = Created::Exists(Bytes::from_static(b"commit"));
    assert_eq!(store.create("s/a/end", Bytes::from_static(b"fenced")).unwrap(), theirs);
    store.delete(&["s/a/end".to_owned()]).unwrap();
    assert_eq!(
        store.create("s/a/end", Bytes::from_static(b"again")).unwrap(),
        Created::Done
    );
    store.delete(&["s/a/end".to_owned()]).unwrap();
}

fn one_of_many_creators_wins(store: &Store) {
    const CREATORS: usize = 16;
    for round in 0..5 {
        let name = format!("g/{round:016x}");
        let (barrier, winners) = (Barrier::new(CREATORS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for creator in 0..CREATORS {
                let (barrier, winners, name) = (&barrier, &winners, &name);
                scope.spawn(move || {
                    let ours = noise(2_000, creator as u64);
                    barrier.wait();
                    match store.create(name, ours.clone()).unwrap() {
                        Created::Done => {
                            winners.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(store.get(name).unwrap(), ours);
                        }
                        Created::Exists(theirs) => assert_eq!(theirs.len(), ours.len()),
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
        store.delete(&[name]).unwrap();
    }
}

fn lists_are_sorted_and_cut_at_prefixes(store: &Store) {
    let mut names: Vec<String> = [
        "g/1",
        "g/2",
        "g/a",
        "s/b/end",
        "s/b/open",
        "s/a/open",
        "s/ab/open",
        "sx",
        "config",
    ]
    .map(String::from)
    .to_vec();
    for (at, name) in names.iter().enumerate() {
        store.put(name, noise(at, 0)).unwrap();
    }
    let listed = |prefix: &str| {
        store
            .list(prefix)
            .unwrap()
            .into_iter()
            .map(|object| object.name)
            .collect::<Vec<_>>()
    };
    let after = |prefix: &str, after: &str| {
        store
            .list_after(prefix, after)
            .unwrap()
            .into_iter()
            .map(|object| object.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("g/"), ["g/1", "g/2", "g/a"]);
    assert_eq!(listed("s/"), ["s/a/open", "s/ab/open", "s/b/end", "s/b/open"]);
    assert_eq!(listed("s/a/"), ["s/a/open"]);
    assert_eq!(listed("s/b/e"), ["s/b/end"]);
    assert_eq!(after("g/", "g/1"), ["g/2", "g/a"]);
    assert_eq!(after("g/", "g/0"), ["g/1", "g/2", "g/a"]);
    assert_eq!(after("g/", "g/a"), [""; 0]);
    assert_eq!(after("s/", "s/ab"), ["s/ab/open", "s/b/end", "s/b/open"]);
    assert_eq!(after("s/", "s/ab/open"), ["s/b/end", "s/b/open"]);
    assert_eq!(after("s/", "a"), ["s/a/open", "s/ab/open", "s/b/end", "s/b/open"]);
    names.sort();
    assert_eq!(listed(""), names);
    store.delete(&names).unwrap();
}

fn deleting_twice_is_fine(store: &Store) {
    let names: Vec<String> = (0..30).map(|number| format!("p/gone/{number:08x}")).collect();
    for name in &names[..20] {
        store.put(name, noise(10, 0)).unwrap();
    }
    store.delete(&names).unwrap();
    store.delete(&names).unwrap();
    store.delete(&names[..1]).unwrap();
    store.delete(&[]).unwrap();
    assert_eq!(store.list("p/").unwrap(), []);
}

fn names_that_lead_elsewhere_are_refused(store: &Store) {
    for name in [
        "",
        "/",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        "/etc/passwd",
        ".tmp-0",
        "a/.b",
        "a b",
        "ä",
        "a\0b",
    ] {
        assert!(matches!(store.get(name), Err(Error::Store { .. })), "{name:?}");
        assert!(
            matches!(store.put(name, Bytes::new()), Err(Error::Store { .. })),
            "{name:?}"
        );
        assert!(
            matches!(store.delete(&[name.to_owned()]), Err(Error::Store { .. })),
            "{name:?}"
        );
        assert!(
            store.get_many(vec![(name.to_owned(), None)]).remove(0).is_err(),
            "{name:?}"
        );
    }
    assert!(matches!(store.list("../"), Err(Error::Store { .. })));
}

/// Clouds give lists in pages of 1,000 and delete 1,000 at once.
fn a_list_longer_than_a_page_is_whole(store: &Store) {
    let names: Vec<String> = (0..1_234).map(|number| format!("p/page/{number:08x}")).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(names.len() / 8 + 1) {
            scope.spawn(move || {
                part.iter()
                    .for_each(|name| store.put(name, Bytes::from_static(b"x")).unwrap())
            });
        }
    });
    let listed = store.list("p/page/").unwrap();
    assert!(listed.iter().map(|object| &object.name).eq(names.iter()));
    let after = store.list_after("p/page/", &names[1_199]).unwrap();
    assert!(after.iter().map(|object| &object.name).eq(names[1_200..].iter()));
    store.delete(&names).unwrap();
    assert_eq!(store.list("p/").unwrap(), []);
}

fn requests_are_counted(store: &Store) {
    let before = store.requests();
    store.put("p/count", noise(1_000, 0)).unwrap();
    store.get("p/count").unwrap();
    store.get_range("p/count", 0..100).unwrap();
    store.list("p/").unwrap();
    store.delete(&["p/count".to_owned()]).unwrap();
    let after = store.requests();
    assert_eq!(after.put - before.put, 1);
    assert_eq!(after.get - before.get, 2);
    assert_eq!(after.list - before.list, 1);
    assert_eq!(after.delete - before.delete, 1);
    assert_eq!(after.bytes_up - before.bytes_up, 1_000);
    assert_eq!(after.bytes_down - before.bytes_down, 1_100);
    assert_eq!(after.total() - before.total(), 5);
}

/// Bytes that look random and depend on the seed.
pub fn noise(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes()[..(length - bytes.len()).min(8)]);
    }
    bytes.into()
}
