//! Key slots: damaged ones lock nobody out, each holder has one, and an interrupted rotation or init is finished by the next.

use std::time::Duration;

use engine::crypto::SecretPair;
use engine::crypto::key_text::{HolderKey, root_fingerprint};
use engine::crypto::passphrase::PassphraseCost;
use engine::format::envelope::Access;
use engine::format::keys::Role;
use engine::repository::slots::Holder;
use engine::repository::{Credential, InitOptions, Repository, new_first_key};
use engine::store::faulty::{FaultPlan, Faulty};
use engine::store::{Location, Store, StoreOptions};
use engine::verbs::backup::{BackupReport, Input, backup};
use engine::words::{Error, NoProgress, Result};

use crate::bench::{Bench, clock, noise};

const CHEAP: PassphraseCost = PassphraseCost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

fn passphrase(text: &str) -> Credential {
    Credential::Passphrase(text.as_bytes().to_vec().into())
}

fn open(bench: &Bench, credential: &Credential) -> Result<Repository> {
    Repository::open(bench.store(), credential, None, Access::Write)
}

fn add(bench: &Bench, role: Role, label: &str) -> Credential {
    let added = bench.open().add_slot(Holder::NewKey, role, label.into(), clock());
    Credential::Key(added.unwrap().1.unwrap())
}

fn add_passphrase(bench: &Bench, text: &str, role: Role) {
    let holder = Holder::Passphrase(text.as_bytes().to_vec().into(), CHEAP);
    bench.open().add_slot(holder, role, text.into(), clock()).unwrap();
}

fn slots(bench: &Bench) -> Vec<String> {
    let listed = bench.store().list("keys/").unwrap();
    listed.into_iter().map(|object| object.name).collect()
}

fn back_up(repository: &Repository, bench: &Bench) -> BackupReport {
    backup(
        repository,
        Input::Paths(vec![".".into()]),
        &bench.backup_options(),
        &NoProgress,
    )
    .unwrap()
}

#[test]
fn slots_that_cannot_be_read_lock_nobody_out() {
    let bench = Bench::new();
    add_passphrase(&bench, "mine", Role::Owner);
    let reader = add(&bench, Role::Reader, "reader");
    let whole = bench.store().get(&slots(&bench)[0]).unwrap();
    let mut newer = whole.to_vec();
    newer[5] = 2;
    for (place, bytes) in [b"junk".to_vec(), whole[..whole.len() / 2].to_vec(), newer]
        .into_iter()
        .enumerate()
    {
        for start in ["00", "ff"] {
            let name = format!("keys/{start}{place:030x}");
            bench.store().put(&name, bytes.clone().into()).unwrap();
        }
    }
    open(&bench, &passphrase("mine")).unwrap();
    open(&bench, &reader).unwrap();
    open(&bench, &bench.key).unwrap();
    // Nothing opens: then they are spoken of, for one of them may have been the right one.
    let error = open(&bench, &passphrase("other")).err().unwrap();
    assert!(
        matches!(error, Error::Damaged { .. } | Error::NewerFormat { .. }),
        "{error}"
    );
}

/// A key of another repository is a wrong key, and not damage.
#[test]
fn a_key_of_another_repository_is_a_wrong_key() {
    let (bench, other) = (Bench::new(), Bench::new());
    for credential in [&other.key, &add(&other, Role::Reader, "reader")] {
        let error = open(&bench, credential).err().unwrap();
        assert!(matches!(error, Error::WrongKey { slots: 1, .. }), "{error}");
    }
    // Our own key, made for another root, is another matter: somebody has replaced the repository's identity.
    let Credential::Key(key) = &bench.key else {
        unreachable!()
    };
    let mistrusting = HolderKey {
        root_fingerprint: [1; 16],
        ..key.clone()
    };
    let error = open(&bench, &Credential::Key(mistrusting)).err().unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_recipient_has_one_slot_and_is_removed_by_its_whole_name() {
    let bench = Bench::new();
    let pair = SecretPair::random();
    let key = Credential::Key(HolderKey {
        pair: pair.clone(),
        root_fingerprint: [0; 16],
    });
    let add = |role| {
        let added = bench
            .open()
            .add_slot(Holder::Recipient(pair.public()), role, String::new(), clock());
        added.unwrap().0
    };
    let first = add(Role::Owner);
    assert_eq!(open(&bench, &key).unwrap().role(), Role::Owner);
    let second = add(Role::Reader);
    assert_eq!(second, format!("{first}.00000001"));
    assert_eq!(slots(&bench).len(), 2);
    assert_eq!(open(&bench, &key).unwrap().role(), Role::Reader);

    // As if the first had come back: the highest version counts, and both go with the holder.
    let bytes = bench.store().get(&second).unwrap();
    bench.store().put(&first, bytes).unwrap();
    assert_eq!(open(&bench, &key).unwrap().slot(), second);
    assert_eq!(bench.open().remove_slot(&first).unwrap(), second);
    assert_eq!(slots(&bench).len(), 1);
    assert!(matches!(open(&bench, &key), Err(Error::WrongKey { .. })));
    let owner = bench.open();
    assert!(matches!(owner.remove_slot(owner.slot()), Err(Error::Invalid(_))));
    assert!(matches!(owner.remove_slot(""), Err(Error::Invalid(_))));
}

#[test]
fn a_new_password_takes_the_place_of_a_password_and_never_of_a_key() {
    let bench = Bench::new();
    let owner = bench.open();
    let error = owner.change_passphrase(b"new".to_vec().into(), CHEAP).err().unwrap();
    assert!(error.to_string().contains("key add"), "{error}");
    assert_eq!(slots(&bench), [owner.slot()]);
    add_passphrase(&bench, "old", Role::Owner);
    let owner = open(&bench, &passphrase("old")).unwrap();
    owner.change_passphrase(b"new".to_vec().into(), CHEAP).unwrap();
    assert!(open(&bench, &passphrase("old")).is_err());
    open(&bench, &passphrase("new")).unwrap();
    bench.open();
}

fn spoiled(store: Store, plan: FaultPlan) -> (Store, std::sync::Arc<Faulty>) {
    let mut kept = None;
    let hasty = StoreOptions {
        retry_pause: Duration::from_millis(1),
        retries_max: 3,
        ..StoreOptions::default()
    };
    let store = store.wrapped(&hasty, |inner| {
        let faulty = std::sync::Arc::new(Faulty::new(inner, plan));
        kept = Some(faulty.clone());
        faulty
    });
    (store, kept.unwrap())
}

/// Killed at every operation and repeated: every holder can always open the repository, every backup made in between can be read, and in the end
/// each holder has one slot with the newest keys. It used to fail for ever after the first object that it had written.
#[test]
fn a_rotation_may_lose_its_power_at_any_operation_and_is_repeated() {
    let start = Bench::new();
    start.write("file", noise(1, 20_000));
    let old = start.backup().snapshot.unwrap();
    add_passphrase(&start, "owner", Role::Owner);
    add_passphrase(&start, "reading", Role::Reader);
    let (reader, writer) = (add(&start, Role::Reader, "reader"), add(&start, Role::Writer, "writer"));
    let maintainer = add(&start, Role::Maintainer, "maintainer");
    let holders = [passphrase("owner"), passphrase("reading"), reader, writer, maintainer];
    let count = slots(&start).len();

    let whole = start.copied();
    let (store, faulty) = spoiled(whole.store(), FaultPlan::default());
    whole.open_through(store).unwrap().rotate(clock()).unwrap();
    let operations = faulty.operations();
    assert!(operations > 15, "{operations}");
    for at in 0..operations + 2 {
        let bench = start.copied();
        bench.write("file", noise(2, 30_000));
        let plan = FaultPlan {
            seed: at,
            power_lost_at: Some(at),
            ..FaultPlan::default()
        };
        let (store, faulty) = spoiled(bench.store(), plan);
        let first = bench
            .open_through(store)
            .and_then(|repository| repository.rotate(clock()));
        assert!(
            first.is_ok() || !faulty.has_power(),
            "operation {at}: {:?}",
            first.err()
        );
        for holder in &holders {
            open(&bench, holder).unwrap();
        }
        // Whoever may use the new keys already does so now.
        let [by_writer, by_owner] = [&holders[3], &holders[0]].map(|holder| {
            let repository = open(&bench, holder).unwrap();
            back_up(&repository, &bench).snapshot.unwrap()
        });
        let rotated = bench.open().rotate(clock()).unwrap();
        assert!(rotated.epoch == 2 || rotated.epoch == 3, "operation {at}: {rotated:?}");
        assert_eq!(slots(&bench).len(), count, "operation {at}");
        for holder in [&holders[0], &holders[1], &holders[2], &bench.key] {
            let repository = open(&bench, holder).unwrap();
            assert_eq!(repository.keys().epoch(), rotated.epoch);
            let found: Vec<_> = repository.snapshots(&Default::default()).unwrap();
            for snapshot in [old, by_writer, by_owner] {
                assert!(found.iter().any(|found| found.id == snapshot), "operation {at}");
            }
        }
        assert_eq!(open(&bench, &holders[3]).unwrap().keys().epoch(), rotated.epoch);
        assert_eq!(bench.contents(old), start.contents(old));
        assert_eq!(bench.contents(by_writer), bench.expected(), "operation {at}");
        assert_eq!(bench.contents(by_owner), bench.expected(), "operation {at}");
    }
}

/// What was sealed for the keys of the interrupted rotation would be lost by an owner who does not have them.
#[test]
fn an_owner_whom_a_rotation_has_not_reached_does_not_rotate_past_it() {
    let bench = Bench::new();
    let other = add(&bench, Role::Owner, "the other");
    let theirs = open(&bench, &other).unwrap();
    let before = (theirs.slot().to_owned(), bench.store().get(theirs.slot()).unwrap());
    bench.open().rotate(clock()).unwrap();
    // As if the rotation had been killed before it came to the other's slot.
    bench.store().delete(&[format!("{}.00000001", before.0)]).unwrap();
    bench.store().put(&before.0, before.1).unwrap();
    let error = open(&bench, &other).unwrap().rotate(clock()).err().unwrap();
    assert!(error.to_string().contains("interrupted"), "{error}");
    assert_eq!(bench.open().rotate(clock()).unwrap().epoch, 3);
    assert_eq!(open(&bench, &other).unwrap().rotate(clock()).unwrap().epoch, 4);
}

/// Killed at every operation and repeated with the same key or password: in the end there is a repository, and its holder opens it.
#[test]
fn an_init_may_lose_its_power_at_any_operation_and_is_repeated() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let store = |name: &str| {
        let location = Location::parse(name).unwrap();
        Store::open(&location, &StoreOptions::default(), runtime.handle().clone()).unwrap()
    };
    for with_key in [true, false] {
        let key = new_first_key();
        let options = || InitOptions {
            now: clock(),
            first_key: with_key.then(|| key.clone()),
            passphrase: (!with_key).then(|| (b"mine".to_vec().into(), CHEAP)),
            ..InitOptions::default()
        };
        let credential = if with_key {
            Credential::Key(key.clone())
        } else {
            passphrase("mine")
        };
        for at in 0..6 {
            for seed in 0..4 {
                let name = format!("memory:init-{with_key}-{at}-{seed}");
                let plan = FaultPlan {
                    seed,
                    power_lost_at: Some(at),
                    ..FaultPlan::default()
                };
                let (spoiled, _) = spoiled(store(&name), plan);
                let _ = Repository::init(spoiled, options());
                match Repository::init(store(&name), options()) {
                    Ok(_) | Err(Error::RepositoryExists { .. }) => {}
                    Err(error) => panic!("operation {at}: {error}"),
                }
                let repository = Repository::open(store(&name), &credential, None, Access::Write).unwrap();
                if with_key {
                    let config = repository.config();
                    let fingerprint = root_fingerprint(&config.repository, &config.root_public);
                    assert_eq!(key.root_fingerprint, fingerprint);
                }
            }
        }
    }
}
