//! One object damaged or lost: everything that is not in it is read and backed up, `check` names it, and nothing is deleted until it is whole again.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::format::mark::MarkKind;
use engine::repository::SnapshotFilter;
use engine::verbs::forget::{ForgetOptions, GroupBy, KeepPolicy, What, forget};
use engine::verbs::prune::prune;
use engine::words::{Error, NoProgress, ObjectName, Result, SessionId};

use crate::bench::{Bench, clock, noise};
use crate::life::{Contents, contents};

/// A repository with folded and new sessions, with segments of their own and within `end`.
struct Story {
    bench: Bench,
    snapshots: BTreeMap<SessionId, Contents>,
    objects: BTreeMap<ObjectName, Bytes>,
}

impl Story {
    /// With a session that stores so many chunks of a seventh of a pack.
    fn new(chunks: u64) -> Self {
        let bench = Bench::new();
        let mut snapshots = BTreeMap::new();
        let mut keep = |bench: &Bench| {
            let snapshot = bench.backup().snapshot.unwrap();
            snapshots.insert(snapshot, bench.expected());
            snapshot
        };
        bench.write("large", noise(1, 300_000));
        bench.write("small/a", noise(2, 3000));
        keep(&bench);
        bench.write("small/b", noise(3, 150_000));
        keep(&bench);
        bench.prune();
        for number in 0..chunks {
            bench.write(&format!("other/{number}"), noise(100 + number, 140_000));
        }
        keep(&bench);
        std::fs::remove_dir_all(bench.path("other")).unwrap();
        bench.write("small/c", noise(5, 150_000));
        keep(&bench);
        bench.write("small/d", noise(6, 200_000));
        let tagged = keep(&bench);
        let unwanted = bench.backup().snapshot.unwrap();
        bench.forget(unwanted);
        let repository = bench.open();
        let tags = vec!["kept".into()];
        repository.mark(tagged, MarkKind::Tags { tags }, clock()).unwrap();
        let store = bench.store();
        let listed = store.list("").unwrap().into_iter();
        let objects = listed.map(|object| (object.name.clone(), store.get(&object.name).unwrap()));
        Self {
            objects: objects.collect(),
            bench,
            snapshots,
        }
    }

    /// The objects that a damaged one of must not stop anything.
    fn victims(&self) -> Vec<&ObjectName> {
        let generation = self.objects.keys().rfind(|name| name.starts_with("g/")).unwrap();
        let newest = generation.trim_start_matches("g/");
        let is_victim = |name: &str| {
            let is_old = (name.starts_with("x/g") || name.starts_with("c/")) && !name.contains(newest);
            !is_old && (name.starts_with("s/") || ["x/", "f/", "c/"].iter().any(|prefix| name.starts_with(prefix)))
        };
        self.objects.keys().filter(|name| is_victim(name)).collect()
    }

    /// The repository with other bytes, or nothing, in the place of an object.
    fn with(&self, name: &ObjectName, bytes: Option<Bytes>) -> Bench {
        let copy = self.bench.copied();
        replace(&copy, name, bytes);
        copy
    }
}

fn replace(bench: &Bench, name: &ObjectName, bytes: Option<Bytes>) {
    let store = bench.store();
    store.delete(std::slice::from_ref(name)).unwrap();
    if let Some(bytes) = bytes {
        store.put(name, bytes).unwrap();
    }
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    bytes.into()
}

fn forget_all_but_one(bench: &Bench) -> Result<()> {
    let options = ForgetOptions {
        what: What::Policy {
            keep: KeepPolicy {
                last: 1,
                ..KeepPolicy::default()
            },
            filter: SnapshotFilter::default(),
            group_by: GroupBy::default(),
            allow_empty_groups: false,
            spared: None,
        },
        now: clock(),
        time_zone: jiff::tz::TimeZone::UTC,
        dry_run: false,
    };
    forget(&bench.open(), &options, &NoProgress).map(drop)
}

/// Which snapshots may be lost with an object: its own; and where keys are lost, also those that share blobs with it.
fn may_be_lost(name: &str, snapshot: SessionId) -> bool {
    holds_keys(name) || name.starts_with(&format!("s/{snapshot}/"))
}

fn holds_keys(name: &str) -> bool {
    name.starts_with("c/") || name.ends_with("/open")
}

fn goes_on(story: &Story, name: &ObjectName, bytes: Option<Bytes>) {
    let bench = story.with(name, bytes);
    let repository = bench.open();
    let (mut read, mut lost) = (0, 0);
    for (snapshot, expected) in &story.snapshots {
        match contents(&repository, *snapshot) {
            Ok(found) => {
                assert!(found == *expected, "{name}: {snapshot} reads wrong");
                read += 1;
            }
            Err(error) => {
                assert!(may_be_lost(name, *snapshot), "{name}: {snapshot}: {error}");
                lost += 1;
            }
        }
    }
    assert!(lost <= 1 || holds_keys(name), "{name}: {lost} lost, {read} read");

    // A backup of what was there goes on, and is whole.
    for path in ["large", "small/a", "small/c"] {
        bench.write(path, std::fs::read(story.bench.path(path)).unwrap());
    }
    bench.write("new", noise(7, 100_000));
    let saved = bench.backup().snapshot.unwrap();
    let expected = bench.expected();
    // A backup does not read the keys of each session whose blobs it finds: that is what a check does.
    if !name.ends_with("/open") {
        assert!(bench.contents(saved) == expected, "{name}: the new backup reads wrong");
    }

    // It is named, and nothing is deleted.
    let findings = bench.findings();
    assert!(
        findings.iter().any(|finding| finding.message.contains(name.as_str())),
        "{name}: {findings:?}"
    );
    let before = bench.store().list("p/").unwrap();
    if !name.ends_with("/open") {
        for refused in [
            prune(&bench.open(), &bench.prune_options(), &NoProgress).map(drop),
            forget_all_but_one(&bench),
        ] {
            assert!(
                matches!(&refused, Err(Error::Damaged { name: named, .. }) if named == name),
                "{name}: {refused:?}"
            );
        }
    }
    assert_eq!(bench.store().list("p/").unwrap(), before, "{name}");

    // Put back, everything is there, and maintenance goes on.
    replace(&bench, name, Some(story.objects[name].clone()));
    bench.prune();
    assert_eq!(bench.findings(), [], "{name}");
    for (snapshot, expected) in story.snapshots.iter().chain([(&saved, &expected)]) {
        assert!(
            bench.contents(*snapshot) == *expected,
            "{name}: {snapshot} reads wrong in the end"
        );
    }
}

#[test]
fn one_damaged_object_costs_what_is_in_it_and_stops_nothing_else() {
    let story = Story::new(1);
    let victims = story.victims();
    for kind in ["s/", "x/g", "c/", "f/"] {
        assert!(
            victims.iter().any(|name| name.starts_with(kind)),
            "no {kind}: {victims:?}"
        );
    }
    for name in victims {
        goes_on(&story, name, Some(flipped(&story.objects[name])));
        if name.starts_with("x/") || name.starts_with("c/") {
            goes_on(&story, name, None);
        }
    }
}

#[test]
fn a_lost_segment_is_read_from_the_packs_themselves() {
    // So many packs that their segment is an object of its own.
    let story = Story::new(64);
    let victims = story.victims().into_iter();
    let segments: Vec<_> = victims
        .filter(|name| name.starts_with("x/") && !name.starts_with("x/g"))
        .collect();
    assert!(!segments.is_empty());
    for name in segments {
        goes_on(&story, name, Some(flipped(&story.objects[name])));
        goes_on(&story, name, None);
    }
}
