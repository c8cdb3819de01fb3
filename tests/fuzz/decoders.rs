//! Every decoder of stored bytes, and of texts that hold keys or places: fed with any bytes, it errs or gives something that it writes and reads again
//! as the same; it never panics, and allocates no more than the input lets expect.
//!
//! The input is what an attacker with a key could have sealed: so it is sealed here where the format seals it, and reaches the decoder behind the seal.
//! Each function says whether the bytes decoded, by which the seeds are known to be worth something (`tests/format/decoders.rs`).

use std::fmt::Debug;

use engine::compress::Decompressor;
use engine::crypto::key_text::{HolderKey, recipient_from_text, recipient_to_text};
use engine::crypto::{Secret, SecretPair, aead, hpke};
use engine::format::config::Config;
use engine::format::end::{End, IndexPart, end_name};
use engine::format::envelope::{self, Access, Kind};
use engine::format::generation::{CataloguePart, Generation, Rewrap, catalogue_name, generation_name, rewrap_name};
use engine::format::keys::{Keys, Slot, SlotNote};
use engine::format::mark::{Mark, mark_name, marked_session};
use engine::format::object::{Binding, seal};
use engine::format::open::{Open, SessionKind, check_at, open_for_volume, open_name, unwrap_key};
use engine::format::pack::{self, Footer};
use engine::format::references::References;
use engine::format::segment::Segment;
use engine::format::snapshot::Snapshot;
use engine::format::{codec, open};
use engine::index::Index;
use engine::store::Location;
use engine::words::{BlobId, PackName, RepositoryId, Result, SessionId, Timestamp};

mod trees;

pub use self::trees::{leaf, list, parent, tree, tree_ids};

/// A decoder; it says whether the bytes decoded.
pub type Decoder = fn(&[u8]) -> bool;

/// All of them, by the names of their targets and their folders of seeds.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("at", at),
    ("blob", blob),
    ("catalogue", catalogue),
    ("config", config),
    ("end_index", end_index),
    ("end_maintenance", end_maintenance),
    ("end_sections", end_sections),
    ("envelope", envelope),
    ("frames", frames),
    ("generation", generation),
    ("keys", keys),
    ("leaf", leaf),
    ("list", list),
    ("mark", mark),
    ("open", open_record),
    ("pack", pack_table),
    ("parent", parent),
    ("references", references),
    ("rewrap", rewrap),
    ("segment", segment),
    ("slot", slot),
    ("slot_note", slot_note),
    ("snapshot", snapshot),
    ("text", text),
    ("tree", tree),
];

const REPOSITORY: RepositoryId = RepositoryId([0xa0; 16]);
const SESSION: SessionId = SessionId([0xb0; 16]);
const KINDS: [Kind; 12] = [
    Kind::Config,
    Kind::Slot,
    Kind::Open,
    Kind::At,
    Kind::End,
    Kind::Generation,
    Kind::Catalogue,
    Kind::Pack,
    Kind::Segment,
    Kind::References,
    Kind::Rewrap,
    Kind::Mark,
];

fn secret() -> Secret {
    Secret::new([7; 32])
}

fn pair() -> SecretPair {
    SecretPair::from_secret(Secret::new([9; 32]))
}

fn binding(kind: Kind, name: &str) -> Binding<'_> {
    Binding {
        repository: REPOSITORY,
        kind,
        name,
    }
}

/// What decodes; it is written and read again as the same.
fn same_again<T: PartialEq + Debug>(
    object: &[u8],
    read: impl Fn(&[u8]) -> Result<T>,
    write: impl Fn(&T) -> Result<Vec<u8>>,
) -> Option<T> {
    let first = read(object).ok()?;
    let again = write(&first).expect("what was read can be written");
    assert_eq!(read(&again).expect("what was written can be read"), first);
    Some(first)
}

/// Whole objects: any bytes, and any bytes with the right hash.
pub fn envelope(data: &[u8]) -> bool {
    let hashed = envelope::finish(data.to_vec());
    let mut read = false;
    for kind in KINDS {
        for access in [Access::Read, Access::Write, Access::Maintain] {
            read |= envelope::parse("name", kind, access, data).is_ok();
            read |= envelope::parse("name", kind, access, &hashed).is_ok();
        }
    }
    read
}

/// Bodies of sealed frames.
pub fn frames(data: &[u8]) -> bool {
    let binding = binding(Kind::Segment, "x/name");
    let mut object = envelope::header(Kind::Segment, true, data.len() as u64).to_vec();
    object.extend_from_slice(data);
    let object = envelope::finish(object);
    let _ = binding.open_framed(Access::Read, &object, 0, |_| Ok(secret()));
    let _ = binding.open_framed(Access::Read, &object, 32, |_| Ok(secret()));
    let sealed = binding.framed_object(&secret(), b"", data);
    let opened = binding.open_framed(Access::Read, &sealed, 0, |_| Ok(secret()));
    opened.is_ok_and(|opened| opened == data)
}

/// `config`
pub fn config(data: &[u8]) -> bool {
    let read = |object: &[u8]| Config::from_object(object, Access::Write);
    same_again(&envelope::clear(Kind::Config, data), read, Config::to_object).is_some()
}

/// `keys/<slot>`
pub fn slot(data: &[u8]) -> bool {
    let read = |object: &[u8]| Slot::from_object("keys/name", object);
    same_again(&envelope::clear(Kind::Slot, data), read, Slot::to_object).is_some()
}

/// The note in a slot.
pub fn slot_note(data: &[u8]) -> bool {
    let (root, name) = (pair(), "keys/name");
    let sealed = aead::seal(&root.secret().derive("ararat v1 slot note"), name.as_bytes(), data);
    let read = |sealed: &[u8]| SlotNote::open(&root, name, sealed);
    same_again(&sealed, read, |note| note.seal(&root, name)).is_some()
}

/// The keys in a slot.
pub fn keys(data: &[u8]) -> bool {
    let Ok(keys) = Keys::decode("keys/name", data) else {
        return false;
    };
    let again = keys.encode().expect("what was read can be written");
    let twice = Keys::decode("keys/name", &again).expect("what was written can be read");
    assert_eq!(*twice.encode().expect("what was read can be written"), *again);
    true
}

/// `s/<sid>/open`
pub fn open_record(data: &[u8]) -> bool {
    let name = open_name(SESSION);
    let object = binding(Kind::Open, &name).sealed_object(&secret(), data);
    let read = |object: &[u8]| Open::from_object(REPOSITORY, SESSION, &secret(), object);
    let Some(open) = same_again(&object, read, |open| open.to_object(REPOSITORY, SESSION, &secret())) else {
        return false;
    };
    for key in &open.keys {
        let _ = unwrap_key(REPOSITORY, SESSION, key, &pair());
    }
    if let Some(sealed) = &open.volume {
        let _ = open_for_volume(REPOSITORY, SESSION, &secret(), sealed);
    }
    let _ = open.at_key(REPOSITORY, SESSION, &pair());
    true
}

/// `s/<sid>/at-<g>`
pub fn at(data: &[u8]) -> bool {
    let (seen, name) = ((3, &[1; 32]), open::at_name(SESSION, 3));
    let object = binding(Kind::At, &name).sealed_object(&secret(), data);
    check_at(REPOSITORY, SESSION, seen, &secret(), &secret(), &object).is_ok()
}

/// An object `end` of these sections.
fn end_object(outcome: u8, index: &[u8], maintenance: Option<&[u8]>, snapshot: Option<&[u8]>) -> Vec<u8> {
    let name = end_name(SESSION);
    let (binding, nonce) = (binding(Kind::End, &name), [5; 16]);
    let wrapped = hpke::wrap(
        pair().public(),
        &[b"ararat v1 maintenance".as_slice(), &REPOSITORY.0, &SESSION.0].concat(),
        secret().expose(),
    )
    .expect("the key is a good one");
    let length = |plaintext: &[u8]| plaintext.len() + aead::OVERHEAD;
    let lengths = [
        length(index),
        maintenance.map_or(0, |plaintext| wrapped.len() + length(plaintext)),
        snapshot.map_or(0, length),
    ];
    let body = 17 + 12 + lengths.iter().sum::<usize>();
    let header = envelope::header(Kind::End, true, body as u64);
    let mut object = header.to_vec();
    object.push(outcome);
    object.extend_from_slice(&nonce);
    let mut context = binding.context(1);
    context.push(outcome);
    context.extend_from_slice(&nonce);
    object.extend_from_slice(&(lengths[0] as u32).to_le_bytes());
    object.extend_from_slice(&seal(&secret(), &header, &context, index));
    object.extend_from_slice(&(lengths[1] as u32).to_le_bytes());
    if let Some(plaintext) = maintenance {
        object.extend_from_slice(&wrapped);
        object.extend_from_slice(&binding.seal(&secret(), &header, 2, plaintext));
    }
    object.extend_from_slice(&(lengths[2] as u32).to_le_bytes());
    if let Some(plaintext) = snapshot {
        object.extend_from_slice(&binding.seal(&secret(), &header, 3, plaintext));
    }
    envelope::finish(object)
}

fn plain_index_part() -> Vec<u8> {
    let part = IndexPart {
        open_hash: [1; 32],
        ended: Timestamp(1),
        source: [2; 16],
        segments: 0,
        segment: None,
        packs: 0,
        kind: SessionKind::Backup,
        external_references: false,
    };
    codec::encode(&(0u32, part)).expect("it is short")
}

/// The body of `s/<sid>/end`: sections that add up or not.
pub fn end_sections(data: &[u8]) -> bool {
    let mut object = envelope::header(Kind::End, true, data.len() as u64).to_vec();
    object.extend_from_slice(data);
    let object = envelope::finish(object);
    // It cannot open: what is sealed was sealed for no place. That it is refused for this, and not for its sections, says that they were read.
    match End::from_object(REPOSITORY, SESSION, &secret(), &object) {
        Ok(_) => true,
        Err(error) => error.to_string().contains("does not open"),
    }
}

/// Section A of `s/<sid>/end`
pub fn end_index(data: &[u8]) -> bool {
    let read = |section: &[u8]| {
        let object = end_object(1, section, None, None);
        End::from_object(REPOSITORY, SESSION, &secret(), &object).map(|end| end.index)
    };
    let Some(index) = same_again(data, read, |index| codec::encode(&(0u32, index))) else {
        return false;
    };
    if let Some(segment) = &index.segment {
        let _ = Segment::decode("x/inline", segment);
    }
    true
}

/// Section B of `s/<sid>/end`
pub fn end_maintenance(data: &[u8]) -> bool {
    let object = end_object(1, &plain_index_part(), Some(data), None);
    let end = End::from_object(REPOSITORY, SESSION, &secret(), &object).expect("section A is a good one");
    let Ok(part) = end.maintenance(REPOSITORY, SESSION, &pair()) else {
        return false;
    };
    if let Some(references) = &part.references {
        let _ = References::decode("r/inline", references);
    }
    true
}

/// Section C of `s/<sid>/end`
pub fn snapshot(data: &[u8]) -> bool {
    let end = |record: &[u8]| {
        let object = end_object(1, &plain_index_part(), None, Some(record));
        End::from_object(REPOSITORY, SESSION, &secret(), &object).expect("section A is a good one")
    };
    let read = |record: &[u8]| end(record).snapshot(REPOSITORY, SESSION, &secret());
    let snapshot = same_again(data, read, Snapshot::encode);
    snapshot.map(|snapshot| snapshot.summary()).is_some()
}

/// `g/<n>`
pub fn generation(data: &[u8]) -> bool {
    let vouch = secret();
    // Which number it has is checked against its name.
    (1..=4).any(|number| {
        let name = generation_name(number);
        let binding = binding(Kind::Generation, &name);
        let object = binding.framed_object(&secret(), b"", &binding.vouched(&vouch, data.to_vec()));
        let read = |object: &[u8]| Generation::from_object(REPOSITORY, number, &secret(), Some(&vouch), object);
        let write = |generation: &Generation| generation.to_object(REPOSITORY, &secret(), &vouch);
        same_again(&object, read, write).is_some()
    })
}

/// `c/<n>/<i>.<m>`
pub fn catalogue(data: &[u8]) -> bool {
    let name = catalogue_name(1, 0);
    let object = binding(Kind::Catalogue, &name).framed_object(&secret(), b"", data);
    let read = |object: &[u8]| CataloguePart::from_object(REPOSITORY, &name, &secret(), object);
    let Some(part) = same_again(&object, read, |part| part.to_object(REPOSITORY, &name, &secret())) else {
        return false;
    };
    for session in &part.sessions {
        let _ = Open::from_object(REPOSITORY, session.session, &secret(), &session.open);
        if let Some(end) = &session.end {
            let _ = End::from_object(REPOSITORY, session.session, &secret(), end);
        }
    }
    true
}

/// `k/<epoch>/<n>`
pub fn rewrap(data: &[u8]) -> bool {
    let name = rewrap_name(1, 0);
    let object = binding(Kind::Rewrap, &name).framed_object(&secret(), b"", data);
    let read = |object: &[u8]| Rewrap::from_object(REPOSITORY, &name, &secret(), object);
    same_again(&object, read, |rewrap| rewrap.to_object(REPOSITORY, &name, &secret())).is_some()
}

/// `f/<sid>.<m>`
pub fn mark(data: &[u8]) -> bool {
    let (name, vouch) = (mark_name(SESSION, 1), secret());
    let binding = binding(Kind::Mark, &name);
    let object = binding.sealed_object(&secret(), &binding.vouched(&vouch, data.to_vec()));
    let read = |object: &[u8]| Mark::from_object(REPOSITORY, &name, &secret(), Some(&vouch), object);
    same_again(&object, read, |mark| {
        mark.to_object(REPOSITORY, &name, &secret(), &vouch)
    })
    .is_some()
}

/// `r/<sid>`, opened.
pub fn references(data: &[u8]) -> bool {
    let read = |bytes: &[u8]| References::decode("r/name", bytes);
    same_again(data, read, |references| Ok(references.encode())).is_some()
}

/// `x/…`, opened, and the index that is made of it.
pub fn segment(data: &[u8]) -> bool {
    let Ok(segment) = Segment::decode("x/name", data) else {
        return false;
    };
    let mut index = Index::builder(None, ["x/name"]);
    if index.add_segment("x/name", data).is_err() {
        return false;
    }
    let Ok(index) = index.finish() else { return false };
    for pack in &segment.packs {
        let _ = index.pack(&pack.name);
    }
    for entry in segment.entries.iter().take(100) {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&entry.prefix);
        let _ = index.locate(entry.kind, &BlobId(id));
    }
    true
}

/// A pack's footer, and the table it points to.
pub fn pack_table(data: &[u8]) -> bool {
    let pack = PackName {
        session: SESSION,
        number: 3,
    };
    let _ = pack::footer(pack, data.len() as u64, data);
    let Some((blobs, table)) = data.split_first_chunk::<4>() else {
        return false;
    };
    let name = pack.object();
    let header = envelope::header(Kind::Pack, true, 1 << 20);
    let sealed = binding(Kind::Pack, &name).seal(&secret(), &header, 0, table);
    let footer = Footer {
        table_offset: 1 << 19,
        table_length: sealed.len() as u32,
        blobs: u32::from_le_bytes(*blobs),
    };
    pack::table(REPOSITORY, pack, &header, &footer, &sealed, &secret()).is_ok()
}

/// What is behind a blob's seal: the codec, the length, and what is compressed.
pub fn blob(data: &[u8]) -> bool {
    let mut out = Vec::new();
    Decompressor::new().decompress(data, &mut out).is_ok()
}

/// Keys, recipients, places and names, as people and lists give them.
pub fn text(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let key = HolderKey::from_text(text);
    if let Ok(key) = &key {
        let again = HolderKey::from_text(&key.to_text()).expect("what was written can be read");
        assert_eq!(again.root_fingerprint, key.root_fingerprint);
    }
    let recipient = recipient_from_text(text);
    if let Ok(recipient) = &recipient {
        assert_eq!(
            recipient_from_text(&recipient_to_text(recipient)).ok().as_ref(),
            Some(recipient)
        );
    }
    let location = Location::parse(text);
    let names = PackName::of_object(text).is_some() || marked_session(text).is_some();
    let id = text.parse::<SessionId>().is_ok() || text.parse::<BlobId>().is_ok();
    key.is_ok() || recipient.is_ok() || location.is_ok() || names || id
}
