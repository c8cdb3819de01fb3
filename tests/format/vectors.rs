//! The vectors of FORMAT.md, section 14: computed by the engine, and the same on the page for ever. `UPDATE=1` writes them into the page.
//!
//! The Python reader computes them from the page alone (`tests/reader/test_vectors.py`).

use std::fmt::Write;
use std::path::Path;

use data_encoding::HEXLOWER;
use engine::chunker::{Chunker, ChunkerParameters};
use engine::crypto::aead;
use engine::crypto::key_text::{HolderKey, recipient_to_text, root_fingerprint};
use engine::crypto::passphrase::{PassphraseCost, stretch};
use engine::crypto::{BlobIds, BlobSealer, PublicKey, Secret, SecretPair};
use engine::format::config::{Config, Cutting};
use engine::format::end::{End, Outcome};
use engine::format::envelope::{self, Kind};
use engine::format::keys::vouch_key;
use engine::format::object::Binding;
use engine::format::open::check_at;
use engine::format::tree::{
    Content, ContentWriter, Entry, EntryKind, Extent, HardLink, Metadata, TreeSink, TreeWriter,
};
use engine::words::{BlobId, BlobKind, RepositoryId, Result, SessionId, Timestamp};

/// `from, from + 1, …`: bytes that anybody can write down.
fn counted<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|place| from + place as u8)
}

const REPOSITORY: [u8; 16] = [0xa0; 16];
const SESSION: [u8; 16] = [0xb0; 16];
const NONCE: [u8; 12] = [0xc0; 12];

/// Made once by the engine with fresh randomness; what opens them is in the vectors.
const WRAPPED: &str =
    "efed0ff5bc22a7118b5ca04dce3cfcbdd1ddb6b2371a42dbbe0cdc4135204d3869c7c23e30146f7b0af2d88787161c631cbc0682b48499";
const WRAPPED_FROM: &str =
    "5e58778aa62df9ee6d9a1b3013d858f4f718768fd5a0decca1673b9ae8ba29636616b4668620efaa1ab4e6d0ef0dd32c47d8710883300b";

#[derive(Default)]
struct Vectors(String);

impl Vectors {
    fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        writeln!(self.0, "{gap}# {title}").unwrap();
    }

    fn text(&mut self, name: &str, text: &str) {
        writeln!(self.0, "{name} = {text}").unwrap();
    }

    fn bytes(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.text(name, &HEXLOWER.encode(bytes.as_ref()));
    }
}

/// Keeps tree blobs in the order in which they were saved; ids are keyed with the vectors' id key.
struct Saved(Vec<Vec<u8>>);

impl TreeSink for Saved {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        let id = BlobIds::new(&Secret::new(counted(0))).id(BlobKind::Tree, &blob);
        self.0.push(blob);
        Ok(id)
    }
}

fn vectors() -> String {
    let mut vectors = Vectors::default();
    ids(&mut vectors);
    let pair = passphrase(&mut vectors);
    wrapped(&mut vectors, &pair);
    seals(&mut vectors);
    cuts(&mut vectors);
    trees(&mut vectors);
    vectors.0
}

fn ids(vectors: &mut Vectors) {
    let key = Secret::new(counted(0));
    let ids = BlobIds::new(&key);
    vectors.title("4: ids of the content \"abc\"");
    vectors.bytes("id_key", key.expose());
    vectors.bytes("data_id", ids.id(BlobKind::Data, b"abc").0);
    vectors.bytes("tree_id", ids.id(BlobKind::Tree, b"abc").0);
    vectors.bytes("file_check", &ids.file_hash(b"abc")[..8]);
}

fn passphrase(vectors: &mut Vectors) -> SecretPair {
    let cost = PassphraseCost {
        memory_kib: 64,
        passes: 2,
        lanes: 2,
    };
    let salt = counted(0x10);
    let material = stretch(b"correct horse battery staple", &salt, cost).unwrap();
    let pair = SecretPair::derive(&material);
    let root = SecretPair::from_secret(Secret::new(counted(0x20))).public();
    let vouched = [REPOSITORY.as_slice(), &root.0].concat();
    let binding =
        |material: &[u8]| blake3::keyed_hash(&blake3::derive_key("ararat v1 slot binding", material), &vouched);
    vectors.title("3.2: the passphrase \"correct horse battery staple\", 64 KiB, 2 passes, 2 lanes (holder_secret clamped as in RFC 7748, which changes nothing)");
    vectors.bytes("repository", REPOSITORY);
    vectors.bytes("salt", salt);
    vectors.bytes("k", material.expose());
    vectors.bytes("holder_secret", pair.secret().expose());
    vectors.bytes("holder_public", pair.public().0);
    vectors.bytes("root_secret", counted::<32>(0x20));
    vectors.bytes("root_public", root.0);
    vectors.bytes("binding_for_passphrase", binding(material.expose()).as_bytes());
    vectors.bytes("binding_for_recipient", binding(&pair.public().0).as_bytes());
    vectors.bytes(
        "recipient_slot",
        &blake3::derive_key("ararat v1 slot name", &pair.public().0)[..16],
    );

    let repository = RepositoryId(REPOSITORY);
    let key = HolderKey {
        root_fingerprint: root_fingerprint(&repository, &root),
        pair: pair.clone(),
    };
    vectors.title("3.4: the same holder's key as text");
    vectors.bytes("root_fingerprint", key.root_fingerprint);
    vectors.text("key_text", &key.to_text());
    vectors.text("recipient_text", &recipient_to_text(&pair.public()));
    pair
}

fn wrapped(vectors: &mut Vectors, pair: &SecretPair) {
    let sender: PublicKey = SecretPair::from_secret(Secret::new(counted(0x20))).public();
    let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
    assert_eq!(pair.unwrap(b"info", &bytes(WRAPPED)).unwrap(), b"wrapped");
    assert_eq!(
        pair.unwrap_from(sender, b"info", &bytes(WRAPPED_FROM)).unwrap(),
        b"wrapped"
    );
    vectors.title("2.2: \"wrapped\", with the info \"info\", for holder_secret; in Auth mode from root_secret");
    vectors.text("wrap", WRAPPED);
    vectors.text("wrap_from", WRAPPED_FROM);
}

fn seals(vectors: &mut Vectors) {
    let sealed = |key: &Secret, associated: &[u8], plaintext: &[u8]| {
        let mut buffer = NONCE.to_vec();
        buffer.extend_from_slice(plaintext);
        aead::seal_with_nonce(key, associated, &NONCE, &mut buffer);
        buffer
    };
    let config = Config {
        repository: RepositoryId(REPOSITORY),
        created: Timestamp(1_700_000_000_123_456_789),
        root_public: SecretPair::from_secret(Secret::new(counted(0x20))).public(),
        chunker: Cutting::default(),
        pack_bytes: 24 << 20,
        tree_pack_bytes: 8 << 20,
        padding: 1,
    };
    vectors.title("2.1 and 3.1: a config, the whole object");
    vectors.bytes("config", config.to_object().unwrap());

    let maintenance = SecretPair::from_secret(Secret::new(counted(0xc0)));
    let vouch = vouch_key(&maintenance);
    let binding = Binding {
        repository: RepositoryId(REPOSITORY),
        kind: Kind::Generation,
        name: "g/0000000000000007",
    };
    vectors.title("2.3: what maintenance says of \"abc\" in the object g/0000000000000007");
    vectors.bytes("maintenance_secret", maintenance.secret().expose());
    vectors.bytes("vouch", vouch.expose());
    vectors.bytes("voucher_context", binding.context(9));
    vectors.bytes("voucher", binding.voucher(&vouch, b"abc").expose());

    let index_key = Secret::new(counted(0x40));
    let name = format!("s/{}/at-0000000000000007", HEXLOWER.encode(&SESSION));
    let binding = Binding {
        repository: RepositoryId(REPOSITORY),
        kind: Kind::At,
        name: &name,
    };
    let (at_key, generation_hash) = (Secret::new(counted(0x90)), [0xd0; 32]);
    let voucher = binding.voucher(&at_key, &generation_hash);
    let context = binding.context(0);
    let header = envelope::header(Kind::At, true, (aead::OVERHEAD + 32) as u64);
    let associated = [header.as_slice(), &context].concat();
    let mut object = header.to_vec();
    object.extend(sealed(&index_key.subkey(&context), &associated, voucher.expose()));
    let object = envelope::finish(object);
    let (id, session) = (RepositoryId(REPOSITORY), SessionId(SESSION));
    assert!(check_at(id, session, (7, &generation_hash), &index_key, &at_key, &object).unwrap());
    vectors.title("2.2 and 7: the whole object at-0000000000000007, of a generation whose whole object has the hash generation_hash");
    vectors.bytes("index_key", index_key.expose());
    vectors.bytes("session", SESSION);
    vectors.bytes("nonce", NONCE);
    vectors.bytes("context", &context);
    vectors.bytes("subkey", index_key.subkey(&context).expose());
    vectors.bytes("at_key", at_key.expose());
    vectors.bytes("generation_hash", generation_hash);
    vectors.bytes("at", object);

    // Version 1; open_hash, ended, source; no segments and none inline; no packs; a backup; no references.
    let a = [
        [0u8; 4].as_slice(),
        &[0xe0; 32],
        &1_700_000_000_123_456_789_i64.to_le_bytes(),
        &[0xe1; 16],
        &[0; 4 + 1 + 4 + 4 + 1],
    ]
    .concat();
    let name = format!("s/{}/end", HEXLOWER.encode(&SESSION));
    let binding = Binding {
        repository: RepositoryId(REPOSITORY),
        kind: Kind::End,
        name: &name,
    };
    let clear = [[2].as_slice(), &[0xe2; 16]].concat();
    let context = [binding.context(1), clear.clone()].concat();
    let header = envelope::header(Kind::End, true, (17 + 12 + a.len() + aead::OVERHEAD) as u64);
    let associated = [header.as_slice(), &context].concat();
    let a = sealed(&index_key.subkey(&context), &associated, &a);
    let length = (a.len() as u32).to_le_bytes();
    let object = envelope::finish([header.as_slice(), &clear, &length, &a, &[0; 8]].concat());
    let end = End::from_object(id, session, &index_key, &object).unwrap();
    assert_eq!((end.outcome, end.nonce), (Outcome::Abort, [0xe2; 16]));
    vectors.title("7: an ABORT, the whole object `end`");
    vectors.bytes("end_context", context);
    vectors.bytes("end", object);

    let session_key = Secret::new(counted(0x60));
    let id = BlobIds::new(&Secret::new(counted(0))).id(BlobKind::Data, b"abc");
    let associated = [b"ararat1 blob".as_slice(), &REPOSITORY, &[0], &id.0, &SESSION].concat();
    let framed = [&[0u8, 3, 0, 0, 0], b"abc".as_slice()].concat();
    let blob = sealed(&session_key.subkey(&id.0), &associated, &framed);
    let sealer = BlobSealer::new(
        RepositoryId(REPOSITORY),
        SessionId(SESSION),
        BlobKind::Data,
        session_key.clone(),
    );
    let mut opened = Vec::new();
    sealer.open(&id, &blob, &mut opened).unwrap();
    assert_eq!(opened, framed);
    vectors.title("4: the data blob \"abc\", not compressed, as it is stored");
    vectors.bytes("session_key", session_key.expose());
    vectors.bytes("blob_subkey", session_key.subkey(&id.0).expose());
    vectors.bytes("blob", blob);
}

fn cuts(vectors: &mut Vectors) {
    let mut stream = vec![0; 1 << 20];
    blake3::Hasher::new().update(b"stream").finalize_xof().fill(&mut stream);
    let mut gear = [0; 2048];
    blake3::Hasher::new_derive_key("ararat v1 gear")
        .update(&counted::<32>(0x80))
        .finalize_xof()
        .fill(&mut gear);
    let parameters = ChunkerParameters {
        min: 16 << 10,
        average: 64 << 10,
        max: 256 << 10,
        ..ChunkerParameters::default()
    };
    let chunker = Chunker::new(&parameters, &counted(0x80)).unwrap();
    let (mut lengths, mut rest) = (Vec::new(), stream.as_slice());
    while let Some(length) = chunker.cut(rest, true).filter(|_| !rest.is_empty()) {
        lengths.push(length.to_string());
        rest = &rest[length..];
    }
    vectors.title("6.1: the first 1 MiB of the extended output of `hash(\"stream\")`, cut with 16 KiB, 64 KiB, 256 KiB, normalization 2");
    vectors.bytes("cut_key", counted::<32>(0x80));
    vectors.bytes("gear_0", &gear[..8]);
    vectors.bytes("gear_255", &gear[2040..]);
    vectors.text("chunk_lengths", &lengths.join(" "));
}

/// Entries that use every type, content and field.
fn entries() -> Vec<Entry> {
    let metadata = |mode: u32, inode: u64| Metadata {
        mode,
        user: 1000,
        group: 100,
        modified: Timestamp(1_700_000_000_123_456_789),
        changed: Timestamp(1_700_000_001_000_000_001),
        inode,
        attributes: Vec::new(),
    };
    let entry = |path: &[u8], mode, inode, kind| Entry {
        path: path.to_vec(),
        kind,
        metadata: metadata(mode, inode),
    };
    let file = |size, content, link, from_device| EntryKind::File {
        size,
        content,
        link,
        from_device,
    };
    let blob = |byte| BlobId([byte; 32]);
    let link = Some(HardLink { links: 2, device: 2049 });
    let chunk = Extent::Chunk {
        blob: blob(0xb2),
        length: 300_000,
    };
    let chunks = Content::Chunks(vec![chunk, Extent::Hole { length: 1 << 20 }, chunk]);
    let slab = Content::Slab {
        blob: blob(0xa1),
        offset: 4096,
        check: *b"checked!",
    };
    let list = Content::List { blob: blob(0xc3) };
    let mut attributed = entry(b"home/fifo", 0o600, 13, EntryKind::Fifo);
    attributed.metadata.attributes = vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), Vec::new())];
    attributed.metadata.modified = Timestamp(-1);
    attributed.metadata.changed = Timestamp(-2_000_000_000);
    let target = b"../etc".to_vec();
    vec![
        entry(b"", 0o755, 2, EntryKind::Folder),
        entry(b"dev", 0o755, 3, EntryKind::Folder),
        entry(b"dev/null", 0o666, 5, EntryKind::CharacterDevice { major: 1, minor: 3 }),
        entry(b"dev/sda", 0o660, 4, EntryKind::BlockDevice { major: 8, minor: 0 }),
        entry(b"home", 0o755, 10, EntryKind::Folder),
        entry(b"home/empty", 0o644, 11, file(0, Content::Empty, None, false)),
        attributed,
        entry(b"home/list", 0o644, 14, file(1 << 40, list, None, false)),
        entry(b"home/name-\xff", 0o4755, 15, file(5, slab, link, false)),
        entry(b"home/other-name", 0o777, 16, EntryKind::Symlink { target, link }),
        entry(b"home/socket", 0o777, 17, EntryKind::Socket),
        entry(b"home/sparse", 0o644, 18, file(600_000 + (1 << 20), chunks, None, true)),
    ]
}

fn trees(vectors: &mut Vectors) {
    let mut saved = Saved(Vec::new());
    let mut writer = TreeWriter::new(counted(0x80));
    for entry in entries() {
        writer.push(&entry, &mut saved).unwrap();
    }
    writer.finish(&mut saved).unwrap();
    vectors.title("6.2: a leaf with every type, content and field");
    vectors.bytes("leaf", &saved.0[0]);

    // Two leaves make a parent: an attribute fills the first.
    let mut saved = Saved(Vec::new());
    let mut writer = TreeWriter::new(counted(0x80));
    for path in ["a", "b"] {
        let mut entry = entries().swap_remove(5);
        entry.path = path.into();
        entry.metadata.attributes = vec![(b"user.large".to_vec(), vec![0; 256 << 10])];
        writer.push(&entry, &mut saved).unwrap();
    }
    writer.finish(&mut saved).unwrap();
    vectors.title("6.2: the parent of two leaves with a file each, `a` and `b`, empty, with an attribute `user.large` of 256 KiB of zeros");
    vectors.bytes("parent", &saved.0[2]);

    // Alternating chunks and holes, 1,026 in all: a list with 1,024 of them, one with the rest, and one over both.
    let mut saved = Saved(Vec::new());
    let mut content = ContentWriter::new();
    for _ in 0..513 {
        let blob = BlobId([0xb2; 32]);
        content.push(Extent::Chunk { blob, length: 4096 }, &mut saved).unwrap();
        content.push(Extent::Hole { length: 61_440 }, &mut saved).unwrap();
    }
    content.finish(&mut saved).unwrap();
    vectors.title(
        "6.2: 513 times a chunk (b2…) of 4,096 bytes and a hole of 61,440: the second list, and the list of lists",
    );
    vectors.bytes("list", &saved.0[1]);
    vectors.bytes("list_of_lists", &saved.0[2]);
}

#[test]
fn the_vectors_on_the_page_are_those_of_the_engine() {
    const BEGIN: &str = "<!-- vectors -->\n```\n";
    const END: &str = "```\n<!-- end of vectors -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("FORMAT.md has a place for vectors");
    let (on_the_page, after) = rest.split_once(END).expect("the vectors end somewhere");
    let vectors = vectors();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{vectors}{END}{after}")).unwrap();
        return;
    }
    for (page, engine) in on_the_page.lines().zip(vectors.lines()) {
        assert_eq!(page, engine, "a stored byte has changed");
    }
    assert_eq!(on_the_page, vectors);
}

/// They are random each time; those on the page were drawn so.
#[test]
fn wrapped_texts_that_are_drawn_anew_open_as_those_on_the_page() {
    let root = SecretPair::from_secret(Secret::new(counted(0x20)));
    let cost = PassphraseCost {
        memory_kib: 64,
        passes: 2,
        lanes: 2,
    };
    let material = stretch(b"correct horse battery staple", &counted(0x10), cost).unwrap();
    let pair = SecretPair::derive(&material);
    let drawn = engine::crypto::hpke::wrap(pair.public(), b"info", b"wrapped").unwrap();
    let drawn_from = root.wrap_from(pair.public(), b"info", b"wrapped").unwrap();
    assert_eq!(
        (drawn.len() * 2, drawn_from.len() * 2),
        (WRAPPED.len(), WRAPPED_FROM.len())
    );
    assert_eq!(pair.unwrap(b"info", &drawn).unwrap(), b"wrapped");
    assert_eq!(
        pair.unwrap_from(root.public(), b"info", &drawn_from).unwrap(),
        b"wrapped"
    );
}
