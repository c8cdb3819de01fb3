//! Somebody holds a writer's whole secret and puts forged objects into the store: nothing is deleted on their word, and every snapshot restores.

use std::collections::BTreeMap;

use engine::crypto::{Secret, SecretPair};
use engine::format::end::{End, IndexPart, MaintenancePart, NewEnd, Outcome, end_name};
use engine::format::envelope::{Access, Kind};
use engine::format::generation::{Condemned, Generation, Rewrap, generation_name, rewrap_name};
use engine::format::keys::{Halves, Keys, Role, Slot};
use engine::format::mark::{Mark, MarkKind, mark_name};
use engine::format::object::Binding;
use engine::format::open::{
    Open, SessionKind, at_name, at_object, open_for_volume, open_name, unwrap_key, unwrap_rewrapped, wrap_key,
};
use engine::format::references::{Moved, References};
use engine::format::segment::SegmentBuilder;
use engine::format::snapshot::Summary;
use engine::pack::OpenPack;
use engine::repository::slots::Holder;
use engine::repository::{Credential, Repository, Writer, WriterOptions};
use engine::store::Store;
use engine::verbs::prune::{PruneReport, prune};
use engine::words::{BlobId, BlobKind, Error, NoProgress, PackName, Result, SessionId, Timestamp};

use crate::bench::{Bench, clock, machine, noise};

type Contents = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An owner's snapshots, a maintainer, and an attacker with the key of a writer.
struct Forging {
    bench: Bench,
    attacker: Credential,
    maintainer: Credential,
    snapshots: Vec<(SessionId, Contents)>,
}

impl Forging {
    fn new() -> Self {
        let bench = Bench::new();
        let key = |role| {
            let added = bench.open().add_slot(Holder::NewKey, role, String::new(), clock());
            Credential::Key(added.unwrap().1.unwrap())
        };
        let (attacker, maintainer) = (key(Role::Writer), key(Role::Maintainer));
        let mut forging = Self {
            bench,
            attacker,
            maintainer,
            snapshots: Vec::new(),
        };
        for number in 0..3 {
            forging.bench.write(&format!("files/{number}"), noise(number, 400_000));
            forging.back_up();
        }
        forging
    }

    fn back_up(&mut self) -> SessionId {
        let snapshot = self.bench.backup().snapshot.unwrap();
        self.snapshots.push((snapshot, self.bench.contents(snapshot)));
        snapshot
    }

    fn store(&self) -> Store {
        self.bench.store()
    }

    fn attacking(&self) -> Repository {
        Repository::open(self.store(), &self.attacker, None, Access::Write).unwrap()
    }

    fn prune(&self) -> Result<PruneReport> {
        let repository = Repository::open(self.store(), &self.maintainer, None, Access::Maintain)?;
        let mut options = self.bench.prune_options();
        // The store's clock is not the bench's.
        options.fence_seconds = i64::MAX;
        prune(&repository, &options, &NoProgress)
    }

    fn packs(&self) -> Vec<PackName> {
        let listed = self.store().list("p/").unwrap();
        let name = |name: &str| {
            let (session, number) = name.strip_prefix("p/")?.split_once('/')?;
            Some(PackName {
                session: session.parse().ok()?,
                number: u32::from_str_radix(number, 16).ok()?,
            })
        };
        listed.iter().map(|object| name(&object.name).unwrap()).collect()
    }

    fn assert_all_restore(&self) {
        for (snapshot, contents) in &self.snapshots {
            assert_eq!(&self.bench.contents(*snapshot), contents);
        }
    }

    /// Puts a generation that follows the newest, or has another number, and calls every pack dead.
    fn forge_generation(&self, number: Option<u64>) -> String {
        let repository = self.attacking();
        let (newest, predecessor) = repository.newest_generation(0).unwrap();
        let packs = self.packs();
        let condemned = packs.iter().map(|pack| Condemned {
            pack: *pack,
            generation: 1,
            time: Timestamp::default(),
        });
        let generation = Generation {
            number: number.unwrap_or(newest.number + 1),
            predecessor,
            condemned: condemned.collect(),
            dead: packs.clone(),
            ..newest
        };
        let object = generation.to_object(repository.id(), &repository.keys().index, &Secret::random());
        let name = generation_name(generation.number);
        self.store().put(&name, object.unwrap().into()).unwrap();
        name
    }
}

fn writer_options() -> WriterOptions {
    WriterOptions {
        now: clock(),
        machine: machine(),
        kind: SessionKind::Backup,
        source: [1; 16],
        level: None,
        uploads: 1,
        volume_key: None,
    }
}

impl Forging {
    /// Opens a session as anybody with the index key can.
    fn open_session(&self, repository: &Repository, session: SessionId, kind: SessionKind) {
        let open = Open {
            kind,
            started: clock(),
            host: String::new(),
            process: 0,
            boot: String::new(),
            program: String::new(),
            keys: Vec::new(),
            volume: None,
            source: [0; 16],
            pins: Vec::new(),
            at_key: None,
        };
        let object = open
            .to_object(repository.id(), session, &repository.keys().index)
            .unwrap();
        self.store().put(&open_name(session), object.into()).unwrap();
    }
}

fn index_part(kind: SessionKind) -> IndexPart {
    IndexPart {
        open_hash: [0; 32],
        ended: clock(),
        source: [0; 16],
        segments: 0,
        segment: None,
        packs: 0,
        kind,
        external_references: false,
    }
}

#[test]
fn prune_stops_at_a_forged_generation_and_deletes_nothing_on_its_word() {
    let mut forging = Forging::new();
    for round in 0..2 {
        for number in [None, Some(u64::MAX)] {
            let packs = forging.packs();
            let name = forging.forge_generation(number);
            match forging.prune() {
                Err(Error::Forged { name: said }) => assert_eq!(said, name),
                other => panic!("{other:?}"),
            }
            assert_eq!(forging.packs(), packs);
            // Who can check vouchers reads on, and backs up, as if it were not there.
            forging.assert_all_restore();
            forging.bench.write("more", noise(1000 + round, 5000));
            forging.back_up();

            forging.store().delete(&[name]).unwrap();
            forging.assert_all_restore();
        }
        let report = forging.prune().unwrap();
        assert_eq!((report.packs_deleted, report.packs_waiting), (0, 0), "{report:?}");
        assert!(report.generation > Some(0));
        forging.assert_all_restore();
    }
}

#[test]
fn a_forged_repack_leads_no_reference_astray() {
    let forging = Forging::new();
    let repository = forging.attacking();
    let (id, keys, session) = (repository.id(), repository.keys(), SessionId::random());
    let honest = forging.packs();

    // The pack that everything is said to have been moved to, and the session that says so.
    forging.open_session(&repository, session, SessionKind::Repack);
    let mut pack = OpenPack::new(id, PackName { session, number: 0 }, 1000);
    pack.append(BlobId([7; 32]), BlobKind::Data, 10, session, &[0; 50]);
    let sealed = pack.seal(false, &keys.index);
    forging
        .store()
        .put(&sealed.name.object(), sealed.object.clone())
        .unwrap();
    let mut segment = SegmentBuilder::new();
    segment.add(sealed.info(), &sealed.table.entries);
    let index = IndexPart {
        segment: Some(segment.finish()),
        packs: 1,
        ..index_part(SessionKind::Repack)
    };
    let moved = honest.iter().map(|pack| Moved {
        session: pack.session,
        number: pack.number,
        to: (0..1000).map(|ordinal| (ordinal, 0, 0)).collect(),
    });
    let part = MaintenancePart {
        summary: Summary::default(),
        references: None,
        moved: moved.collect(),
    };
    let halves = Halves {
        public: keys.maintenance.public,
        pair: Some(SecretPair::random()),
    };
    let end = NewEnd {
        outcome: Outcome::Commit,
        nonce: [1; 16],
        index: &index,
        maintenance: Some((&part, &halves)),
        snapshot: None,
    };
    let object = end.to_object(id, session, &keys.index).unwrap();
    forging.store().put(&end_name(session), object.into()).unwrap();

    for _ in 0..2 {
        forging.prune().unwrap();
        let left = forging.packs();
        assert!(honest.iter().all(|pack| left.contains(pack)));
        forging.assert_all_restore();
    }
}

/// A segment that says how many blobs somebody else's pack has would be believed when references to that pack are followed.
#[test]
fn a_segment_speaks_for_the_packs_of_its_own_session_alone() {
    let forging = Forging::new();
    let repository = forging.attacking();
    let (id, keys) = (repository.id(), repository.keys());
    let session = SessionId::random();
    let writer = Writer::begin(&repository, writer_options()).unwrap();
    let view = writer.view().clone();
    let mut stolen = view.index.packs().unwrap().next().unwrap().unwrap();
    stolen.blobs = 1;
    writer.abort(clock()).unwrap();
    let mut segment = SegmentBuilder::new();
    segment.add(stolen, &[]);
    let index = IndexPart {
        segment: Some(segment.finish()),
        packs: 1,
        ..index_part(SessionKind::Backup)
    };
    let end = NewEnd {
        outcome: Outcome::Abort,
        nonce: [1; 16],
        index: &index,
        maintenance: None,
        snapshot: None,
    };
    forging.open_session(&repository, session, SessionKind::Backup);
    let object = end.to_object(id, session, &keys.index).unwrap();
    forging.store().put(&end_name(session), object.into()).unwrap();
    forging.assert_all_restore();
    // Maintenance does not count with it there; whoever removes it gets everything back as it was.
    assert!(matches!(forging.prune(), Err(Error::Damaged { .. })));
    forging.store().delete(&[end_name(session)]).unwrap();
    forging.prune().unwrap();
    forging.assert_all_restore();
}

/// A session that has not seen what is condemned holds it, whatever others say of the session.
#[test]
fn nobody_says_for_a_session_that_it_has_advanced() {
    let mut forging = Forging::new();
    let (gone, _) = forging.snapshots.swap_remove(2);
    forging.bench.forget(gone);
    let owner = forging.bench.open();
    let writer = Writer::begin(&owner, writer_options()).unwrap();
    let repository = forging.attacking();
    for number in 1..4 {
        let seen = (number, &[0; 32]);
        let object = at_object(
            repository.id(),
            writer.session(),
            seen,
            &repository.keys().index,
            &Secret::random(),
        );
        forging
            .store()
            .put(&at_name(writer.session(), number), object.into())
            .unwrap();
    }
    let packs = forging.packs();
    let report = forging.prune().unwrap();
    assert_eq!(report.sessions_waited_for, [writer.session()]);
    assert!(report.packs_waiting > 0 && report.packs_deleted == 0, "{report:?}");
    assert_eq!(forging.packs(), packs);

    // The session itself is believed, be it ever so poor in rights.
    writer.abort(clock()).unwrap();
    let writer = Writer::begin(&repository, writer_options()).unwrap();
    forging.bench.forget(forging.snapshots.swap_remove(1).0);
    let report = forging.prune().unwrap();
    assert_eq!(report.sessions_waited_for, [writer.session()]);
    let seen = writer.advance(0).unwrap();
    assert_eq!(Some(seen), report.generation);
    let report = forging.prune().unwrap();
    assert_eq!(
        (report.sessions_waited_for.len(), report.packs_waiting),
        (0, 0),
        "{report:?}"
    );
    assert!(report.packs_deleted > 0);
    forging.assert_all_restore();
}

/// It has seen another generation of that number, so it may still refer to what the true one condemns.
#[test]
fn having_seen_a_forged_generation_is_not_having_seen_the_true_one() {
    let mut forging = Forging::new();
    let (gone, _) = forging.snapshots.swap_remove(2);
    let repository = forging.attacking();
    let writer = Writer::begin(&repository, writer_options()).unwrap();
    let forged = forging.forge_generation(None);
    assert_eq!(writer.advance(0).unwrap(), 1);
    forging.store().delete(&[forged]).unwrap();
    forging.bench.forget(gone);
    let report = forging.prune().unwrap();
    assert_eq!(report.sessions_waited_for, [writer.session()]);
    assert!(report.packs_waiting > 0 && report.packs_deleted == 0, "{report:?}");
    forging.assert_all_restore();
}

/// A reader holds the key of marks; should it ever be able to create objects, it still makes nobody forget.
#[test]
fn a_forged_mark_forgets_nothing() {
    let forging = Forging::new();
    let owner = forging.bench.open();
    let (_, key) = owner
        .add_slot(Holder::NewKey, Role::Reader, String::new(), clock())
        .unwrap();
    let reader = Repository::open(forging.store(), &Credential::Key(key.unwrap()), None, Access::Read).unwrap();
    for (number, (snapshot, _)) in forging.snapshots.iter().enumerate() {
        let mark = Mark {
            time: clock(),
            what: MarkKind::Forget { reason: String::new() },
        };
        let name = mark_name(*snapshot, number as u64);
        let mark_key = reader.keys().mark.as_ref().unwrap();
        let object = mark.to_object(reader.id(), &name, mark_key, &Secret::random()).unwrap();
        forging.store().put(&name, object.into()).unwrap();
    }
    assert_eq!(forging.bench.snapshots().len(), 3);
    forging.prune().unwrap();
    forging.assert_all_restore();
}

/// Keys that a writer wraps for another's session are passed over: what the owner has wrapped opens.
#[test]
fn a_forged_rewrap_shuts_nobody_out() {
    let forging = Forging::new();
    let owner = forging.bench.open();
    let repository = forging.attacking();
    let (id, keys) = (repository.id(), repository.keys());
    let mut rewrap = Rewrap::default();
    for (session, _) in &forging.snapshots {
        for (kind, epochs) in [
            (BlobKind::Data, &owner.keys().data),
            (BlobKind::Tree, &owner.keys().tree),
        ] {
            let public = epochs[0].1.public.unwrap();
            let wrapped = wrap_key(id, *session, kind, (2, public), &Secret::random()).unwrap();
            rewrap.keys.push((*session, wrapped));
        }
    }
    let name = rewrap_name(2, 7);
    let object = rewrap.to_object(id, &name, &keys.index).unwrap();
    forging.store().put(&name, object.into()).unwrap();
    let rotated = forging.bench.open().rotate(clock()).unwrap();
    assert_eq!((rotated.epoch, rotated.sessions), (3, 3));
    forging.assert_all_restore();
    let (_, key) = forging
        .bench
        .open()
        .add_slot(Holder::NewKey, Role::Reader, String::new(), clock())
        .unwrap();
    let reader = Repository::open(forging.store(), &Credential::Key(key.unwrap()), None, Access::Read).unwrap();
    assert_eq!(reader.snapshots(&Default::default()).unwrap().len(), 3);
}

/// Every secret of a writer is tried on every stored object, in every way that its kind has: no content, tree, record, summary or key opens.
#[test]
fn a_writers_secrets_open_no_data_and_no_tree_in_any_object() {
    let mut forging = Forging::new();
    let volume_key = Secret::random();
    let mut options = forging.bench.backup_options();
    options.volume_key = Some(volume_key);
    forging.bench.backup_with(&options);
    forging.bench.forget(forging.snapshots.swap_remove(0).0);
    forging.prune().unwrap();
    let tags = MarkKind::Tags { tags: Vec::new() };
    forging
        .bench
        .open()
        .mark(forging.snapshots[0].0, tags, clock())
        .unwrap();
    forging.bench.open().rotate(clock()).unwrap();
    forging.back_up();
    // The references of this one are in an object of their own.
    let references = References::default();
    let owner = forging.bench.open();
    let session = SessionId::random();
    let public = owner.keys().maintenance.public.unwrap();
    let object = references.to_object(owner.id(), session, public).unwrap();
    forging.store().put(&format!("r/{session}"), object.into()).unwrap();

    let repository = forging.attacking();
    let Credential::Key(holder) = &forging.attacker else {
        unreachable!()
    };
    let (id, root) = (repository.id(), repository.config().root_public);
    let keys: &Keys = repository.keys();
    let secrets: Vec<Secret> = [
        keys.id.as_ref(),
        keys.cut.as_ref(),
        keys.mark.as_ref(),
        Some(&keys.index),
    ]
    .into_iter()
    .flatten()
    .chain([holder.pair.secret()])
    .cloned()
    .collect();
    assert_eq!(secrets.len(), 4);
    let pairs: Vec<SecretPair> = secrets.iter().cloned().map(SecretPair::from_secret).collect();
    let own_slot = repository.slot().to_owned();
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    for object in forging.store().list("").unwrap() {
        let (name, bytes) = (object.name.as_str(), forging.store().get(&object.name).unwrap());
        let parts: Vec<&str> = name.split('/').collect();
        let session = || parts[1].parse::<SessionId>().unwrap();
        let what = match parts.as_slice() {
            ["config"] | ["g" | "c" | "x", ..] => "index",
            ["keys", _] if name == own_slot => "own slot",
            ["keys", slot] => {
                let slot_id = data_encoding::HEXLOWER.decode(&slot.as_bytes()[..32]).unwrap();
                let info = [b"ararat v1 slot".as_slice(), &id.0, &slot_id].concat();
                let slot = Slot::from_object(name, &bytes).unwrap();
                for pair in &pairs {
                    assert!(pair.unwrap_from(root, &info, &slot.sealed).is_err());
                    assert!(pair.unwrap(&info, &slot.sealed).is_err());
                }
                "slot"
            }
            ["s", _, "open"] => {
                let open = Open::from_object(id, session(), &keys.index, &bytes).unwrap();
                for pair in &pairs {
                    assert!(
                        open.keys
                            .iter()
                            .all(|key| unwrap_key(id, session(), key, pair).is_err())
                    );
                    assert!(open.at_key(id, session(), pair).is_none());
                }
                for (secret, volume) in secrets.iter().zip(open.volume.iter().cycle()) {
                    assert!(!matches!(open_for_volume(id, session(), secret, volume), Ok(Some(_))));
                }
                "open"
            }
            ["s", _, "end"] => {
                let end = End::from_object(id, session(), &keys.index, &bytes).unwrap();
                assert!(pairs.iter().all(|pair| end.maintenance(id, session(), pair).is_err()));
                assert!(
                    secrets
                        .iter()
                        .all(|secret| end.snapshot(id, session(), secret).is_err())
                );
                "end"
            }
            ["p", _, number] => {
                let pack = PackName {
                    session: session(),
                    number: u32::from_str_radix(number, 16).unwrap(),
                };
                let table = repository.table(pack, bytes.len() as u64).unwrap();
                for entry in &table.entries {
                    let sealed = &bytes[entry.offset as usize..][..entry.length as usize];
                    let of = table.key_sessions[usize::from(entry.key)];
                    for secret in &secrets {
                        let sealer = engine::crypto::BlobSealer::new(id, of, entry.kind, secret.clone());
                        assert!(sealer.open(&entry.id, sealed, &mut Vec::new()).is_err());
                    }
                }
                "pack"
            }
            ["r", _] => {
                assert!(
                    pairs
                        .iter()
                        .all(|pair| References::from_object(id, session(), pair, &bytes).is_err())
                );
                "references"
            }
            ["k", ..] => {
                let rewrap = Rewrap::from_object(id, name, &keys.index, &bytes).unwrap();
                for (of, key) in &rewrap.keys {
                    for pair in &pairs {
                        assert!(unwrap_rewrapped(id, *of, key, pair, root).is_none());
                        assert!(unwrap_key(id, *of, key, pair).is_err());
                    }
                }
                "rewrap"
            }
            ["f", _] => {
                let binding = Binding {
                    repository: id,
                    kind: Kind::Mark,
                    name,
                };
                assert!(
                    secrets
                        .iter()
                        .all(|secret| binding.open_object(secret, Access::Read, &bytes).is_err())
                );
                "mark"
            }
            other => panic!("{other:?}"),
        };
        *tried.entry(what).or_default() += 1;
    }
    let kinds: Vec<&str> = tried.into_keys().collect();
    let expected = [
        "end",
        "index",
        "mark",
        "open",
        "own slot",
        "pack",
        "references",
        "rewrap",
        "slot",
    ];
    assert_eq!(kinds, expected);
}
