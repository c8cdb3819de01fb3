//! Maintenance where it is thinnest: what others do between two of its requests, what is lost under it, and what it must not delete then.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::format::open::SessionKind;
use engine::repository::writer::{Machine, WriterOptions};
use engine::repository::{Repository, Scratch, Writer};
use engine::store::faulty::{FaultPlan, Faulty};
use engine::store::{Store, StoreOptions};
use engine::verbs::backup::{Input, backup};
use engine::verbs::prune::{PruneReport, prune};
use engine::words::{BlobId, BlobKind, Error, NoProgress, Result};

use crate::bench::{Bench, clock, machine, noise};
use crate::hooked::{Hooks, hooked};
use crate::life::half_forgotten;

fn prune_through(bench: &Bench, store: Store) -> Result<PruneReport> {
    prune(&bench.open_through(store)?, &bench.prune_options(), &NoProgress)
}

fn names(bench: &Bench, prefix: &str) -> Vec<String> {
    let listed = bench.store().list(prefix).unwrap();
    listed.into_iter().map(|object| object.name).collect()
}

fn writer(repository: &'static Repository, machine: Machine) -> Writer<'static> {
    let options = WriterOptions {
        now: clock(),
        machine,
        kind: SessionKind::Backup,
        source: [7; 16],
        level: None,
        uploads: 1,
        volume_key: None,
    };
    Writer::begin(repository, options).unwrap()
}

/// Stores as many blobs as a segment has packs, and waits until there are so many segments. Gives the first blob.
fn fill_a_segment(bench: &Store, writer: &Writer<'_>, seed: u64, segments: usize) -> BlobId {
    let mut scratch = Scratch::new();
    let mut save = |seed| writer.save_large(&noise(seed, 1 << 20), &mut scratch).unwrap();
    let first = save(seed);
    for number in 1..10 {
        save(seed + number);
    }
    let begun = Instant::now();
    let prefix = format!("x/{}/", writer.session());
    while bench.list(&prefix).unwrap().len() < segments {
        assert!(begun.elapsed() < Duration::from_secs(60), "no segment has come");
        std::thread::sleep(Duration::from_millis(5));
    }
    first
}

/// A session that is fenced goes on writing until it wants to commit. What it writes after maintenance has looked at its segments is in no index
/// once it is folded: another backup that referred to it said "saved", and its snapshot could not be read.
#[test]
fn a_writer_uses_nothing_that_a_fenced_session_wrote_after_its_fence() {
    let bench = Bench::new();
    // Elsewhere: whoever fences it knows its age alone.
    let zombie = Machine {
        host: "elsewhere".into(),
        ..machine()
    };
    let repository: &'static Repository = Box::leak(Box::new(bench.open()));
    let zombie = writer(repository, zombie);
    let early = fill_a_segment(&bench.store(), &zombie, 0, 1);
    let found: Arc<Mutex<Option<(bool, bool)>>> = Arc::default();
    let (seen, store, fenced) = (found.clone(), bench.store(), zombie.session());
    let hooks = Hooks {
        // The levels are written; the generation that names them is not.
        before_put: Some((
            "c/",
            Box::new(move || {
                let late = fill_a_segment(&store, &zombie, 100, 2);
                let other = writer(repository, machine());
                let carry = |id| other.carry(BlobKind::Data, id).unwrap();
                *seen.lock().unwrap() = Some((carry(&early), carry(&late)));
                other.abort(clock()).unwrap();
            }),
        )),
        ..Hooks::default()
    };
    let report = prune_through(&bench, hooked(&bench.store(), hooks)).unwrap();
    assert_eq!(report.sessions_fenced, [fenced]);
    assert_eq!(*found.lock().unwrap(), Some((true, false)));
    assert!(bench.open().find(BlobKind::Data, &early).is_ok(), "it is in the levels");
}

#[test]
fn a_prune_refuses_when_a_snapshots_pack_is_lost_and_goes_on_once_it_is_forgotten() {
    let (bench, kept) = half_forgotten(12 << 20);
    bench.prune();
    bench.write("more", noise(9000, 3 << 20));
    let third = bench.backup().snapshot.unwrap();
    bench.forget(third);
    let own = format!("p/{kept}/");
    let lost = names(&bench, "p/")
        .into_iter()
        .find(|name| name.starts_with(&own))
        .unwrap();
    bench.store().delete(std::slice::from_ref(&lost)).unwrap();
    let before = names(&bench, "");
    match prune_through(&bench, bench.store()) {
        Err(Error::Damaged { name, why }) => {
            assert!(
                name.contains(&kept.to_string()) && why.contains("nothing was deleted"),
                "{name}: {why}"
            );
        }
        other => panic!("{other:?}"),
    }
    let after = names(&bench, "");
    assert!(before.iter().all(|name| after.contains(name)));
    bench.forget(kept);
    bench.prune();
    assert_eq!(names(&bench, "p/"), Vec::<String>::new());
}

/// The snapshot's `end` is listed and the store says it is not there: taken for a session that was removed, its packs would be unused.
#[test]
fn an_object_that_is_listed_and_cannot_be_read_stops_a_prune() {
    let (bench, kept) = half_forgotten(12 << 20);
    let before = names(&bench, "p/");
    for what in ["end", "open"] {
        let hooks = Hooks {
            lost: Some(format!("s/{kept}/{what}")),
            ..Hooks::default()
        };
        let refused = prune_through(&bench, hooked(&bench.store(), hooks));
        // Either way it is the object that is named.
        match refused {
            Err(Error::Missing { name } | Error::Damaged { name, .. }) => assert_eq!(name, format!("s/{kept}/{what}")),
            other => panic!("{what}: {other:?}"),
        }
        let after = names(&bench, "p/");
        assert!(before.iter().all(|pack| after.contains(pack)), "{what}");
    }
    let content = bench.expected();
    bench.prune();
    assert_eq!(bench.contents(kept), content);
}

/// Copying what has rotted and deleting the original would spoil what a copy of the store could still mend.
#[test]
fn a_pack_that_has_rotted_is_left_where_it_is() {
    let (bench, kept) = half_forgotten(12 << 20);
    let moved = |bench: &Bench| {
        let before = names(bench, "p/");
        let copy = bench.copied();
        assert!(copy.prune().packs_repacked > 0);
        let after = names(&copy, "p/");
        before
            .into_iter()
            .filter(|name| !after.contains(name))
            .collect::<Vec<_>>()
    };
    let gone = moved(&bench);
    // All that a healthy prune would move or delete is read wrongly; what is deleted unread goes.
    for rotten in gone {
        let copy = bench.copied();
        let hooks = Hooks {
            rotten: Some(rotten.clone()),
            ..Hooks::default()
        };
        prune_through(&copy, hooked(&copy.store(), hooks)).unwrap();
        assert_eq!(copy.contents(kept), bench.expected());
        assert_eq!(copy.findings(), []);
        // Either it was unused, or it is still there.
        if names(&copy, "p/").contains(&rotten) {
            return;
        }
    }
    panic!("no pack was left where it was");
}

/// A bucket that was brought back to an earlier state gets another generation of a number that this machine has seen.
#[test]
fn the_newest_generation_is_read_from_the_store() {
    let (bench, _) = half_forgotten(12 << 20);
    let earlier = bench.copied();
    bench.prune();
    bench.open().view().unwrap();
    let store = bench.store();
    store.delete(&names(&bench, "")).unwrap();
    for name in names(&earlier, "") {
        store.put(&name, earlier.store().get(&name).unwrap()).unwrap();
    }
    bench.prune();
    let view = bench.open().view().unwrap();
    let newest = names(&bench, "g/").pop().unwrap();
    let hash = *blake3::hash(&store.get(&newest).unwrap()).as_bytes();
    assert_eq!(view.generation_hash, hash);
}

/// A list of a folder is not of one moment: it may show the `end` of a commit, and not its `open`.
#[test]
fn a_commit_whose_open_one_list_does_not_show_is_not_removed() {
    let start = Bench::new();
    start.write("old", noise(76, 100_000));
    start.backup();
    start.write("new", noise(77, 200_000));
    let fresh = start.backup().snapshot.unwrap();
    let content = start.expected();
    for list in 1..=6 {
        let bench = start.copied();
        let hooks = Hooks {
            hidden: Some((format!("s/{fresh}/open"), list)),
            ..Hooks::default()
        };
        // It may refuse.
        let _ = prune_through(&bench, hooked(&bench.store(), hooks));
        assert_eq!(bench.contents(fresh), content, "list {list}");
        assert_eq!(bench.findings(), [], "list {list}");
        bench.prune();
        assert_eq!(bench.contents(fresh), content, "list {list}");
    }
}

/// A prune died after it had published and deleted packs, before it removed the segments that name them.
#[test]
fn a_dead_pack_stays_listed_while_a_segment_names_it() {
    let (bench, _) = half_forgotten(12 << 20);
    let through = || {
        let hooks = Hooks {
            kept: vec!["s/", "x/"],
            ..Hooks::default()
        };
        hooked(&bench.store(), hooks)
    };
    let dead = || bench.open().newest_generation(0).unwrap().0.dead.len();
    assert!(prune_through(&bench, through()).unwrap().packs_deleted > 0);
    assert!(dead() > 0);
    prune_through(&bench, through()).unwrap();
    assert!(dead() > 0, "the segments are still there");
    bench.prune();
    bench.prune();
    assert_eq!(dead(), 0);
}

/// "Unchanged" against a snapshot that is forgotten left nothing once it was pruned.
#[test]
fn nothing_is_skipped_for_a_forgotten_snapshots_sake() {
    let bench = Bench::new();
    bench.write("a", noise(1, 100_000));
    let first = bench.backup().snapshot.unwrap();
    let mut options = bench.backup_options();
    options.skip_if_unchanged = true;
    assert!(bench.backup_with(&options).unchanged);
    bench.forget(first);
    let report = bench.backup_with(&options);
    assert!(!report.unchanged);
    bench.prune();
    assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
    assert!(bench.backup_with(&options).unchanged);
}

#[test]
fn a_session_that_uploads_is_not_taken_for_dead() {
    let bench = Bench::new();
    let repository: &'static Repository = Box::leak(Box::new(bench.open()));
    let busy = writer(repository, machine());
    fill_a_segment(&bench.store(), &busy, 0, 1);
    let hooks = Hooks {
        packs_written: Some(clock()),
        ..Hooks::default()
    };
    let report = prune_through(&bench, hooked(&bench.store(), hooks)).unwrap();
    assert_eq!(report.sessions_fenced, []);
    assert_eq!(bench.prune().sessions_fenced, [busy.session()]);
}

/// The catalogue is the only copy of keys and records once what it was made from is deleted.
#[test]
fn a_catalogue_that_was_not_stored_as_it_was_written_replaces_nothing() {
    let (bench, kept) = half_forgotten(12 << 20);
    let before = names(&bench, "");
    for rotten in ["c/", "x/g", "g/"] {
        let hooks = Hooks {
            rotten: Some(rotten.into()),
            ..Hooks::default()
        };
        let refused = prune_through(&bench, hooked(&bench.store(), hooks));
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{rotten}: {refused:?}");
        let after = names(&bench, "");
        assert!(before.iter().all(|name| after.contains(name)), "{rotten}");
    }
    bench.prune();
    assert_eq!(bench.contents(kept), bench.expected());
}

/// So short that no file of it is cut, whatever the repository's key.
const UNCUT: usize = 500 << 10;

/// Stores blobs until some packs are there that no segment names. The process is gone for everybody but itself.
fn asleep(bench: &Bench, repository: &'static Repository) -> Writer<'static> {
    let machine = Machine {
        process: 1,
        ..machine()
    };
    let writer = writer(repository, machine);
    let mut scratch = Scratch::new();
    for seed in 0..12 {
        writer.save_large(&noise(seed, UNCUT), &mut scratch).unwrap();
    }
    let packs = format!("p/{}/", writer.session());
    let begun = Instant::now();
    while names(bench, &packs).len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no pack has come");
        std::thread::sleep(Duration::from_millis(5));
    }
    writer
}

/// A process that looks gone and is not (its number is reused, or its machine was cloned) goes on: who named its packs has taken a number of a
/// segment, and there are more.
#[test]
fn a_session_whose_packs_somebody_else_has_named_goes_on_beside_it() {
    let bench = Bench::new();
    let repository: &'static Repository = Box::leak(Box::new(bench.open()));
    let asleep = asleep(&bench, repository);
    bench.write("a", noise(0, UNCUT));
    let other = bench.backup();
    assert_eq!(
        other.written.blobs, 1,
        "of the tree, for the content is there: {other:?}"
    );
    let segments = format!("x/{}/", asleep.session());
    assert_eq!(names(&bench, &segments).len(), 1);
    // Two more of its own: one while it works and one at its end.
    let mut scratch = Scratch::new();
    for seed in 12..42 {
        asleep.save_large(&noise(seed, UNCUT), &mut scratch).unwrap();
    }
    let session = asleep.session();
    asleep.abort(clock()).unwrap();
    assert!(names(&bench, &segments).len() >= 3);
    // Everything of it is known to the next one, and nothing is wrong.
    for seed in 0..42 {
        bench.write(&format!("all/of them {seed}"), noise(seed, UNCUT));
    }
    let next = bench.backup();
    assert!(next.written.stored < 100_000, "{session}: {next:?}");
    assert_eq!(bench.contents(next.snapshot.unwrap()), bench.expected());
    assert_eq!(bench.findings(), []);
    bench.prune();
    assert_eq!(bench.contents(next.snapshot.unwrap()), bench.expected());
    assert_eq!(bench.findings(), []);
}

/// Two backups begin at once after a kill: both want to name its packs, and both use them.
#[test]
fn two_backups_that_name_the_same_packs_of_a_killed_one_both_use_them() {
    let bench = Bench::new();
    let repository: &'static Repository = Box::leak(Box::new(bench.open()));
    let killed = asleep(&bench, repository);
    for seed in 0..3 {
        bench.write(&format!("file {seed}"), noise(seed, UNCUT));
    }
    let first = bench.open();
    let (folder, seen) = (bench.backup_options(), Arc::new(Mutex::new(None)));
    let saw = seen.clone();
    let hooks = Hooks {
        before_put: Some((
            "x/",
            Box::new(move || {
                let report = backup(&first, Input::Paths(vec![".".into()]), &folder, &NoProgress).unwrap();
                *saw.lock().unwrap() = Some(report);
            }),
        )),
        ..Hooks::default()
    };
    let second = bench.open_through(hooked(&bench.store(), hooks)).unwrap();
    let options = bench.backup_options();
    let late = backup(&second, Input::Paths(vec![".".into()]), &options, &NoProgress).unwrap();
    let early = seen.lock().unwrap().take().unwrap();
    for report in [&early, &late] {
        assert!(report.written.stored < 100_000, "{report:?}");
        assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
    }
    assert_eq!(names(&bench, &format!("x/{}/", killed.session())).len(), 1);
    assert_eq!(bench.findings(), []);
}

/// Where a store cannot keep what was there first, a late put of the killed process could replace the segment: then nothing is named in its place.
#[test]
fn nothing_is_named_for_a_killed_backup_where_a_store_knows_no_condition() {
    let bench = Bench::new();
    let repository: &'static Repository = Box::leak(Box::new(bench.open()));
    let killed = asleep(&bench, repository);
    bench.write("file", noise(0, UNCUT));
    let plan = FaultPlan {
        looks: true,
        ..FaultPlan::default()
    };
    let store = bench
        .store()
        .wrapped(&StoreOptions::default(), |inner| Arc::new(Faulty::new(inner, plan)));
    let repository = bench.open_through(store).unwrap();
    let input = Input::Paths(vec![".".into()]);
    let report = backup(&repository, input, &bench.backup_options(), &NoProgress).unwrap();
    assert!(report.written.stored > UNCUT as u64, "{report:?}");
    assert_eq!(names(&bench, &format!("x/{}/", killed.session())), [] as [String; 0]);
    assert_eq!(bench.contents(report.snapshot.unwrap()), bench.expected());
}
