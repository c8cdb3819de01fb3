//! The bytes of one leaf, for ever: FORMAT.md shows the same (section 14).

use data_encoding::HEXLOWER;

use super::super::leaf_writer::LeafWriter;
use super::super::*;
use super::samples::Blobs;
use crate::words::{BlobId, Timestamp};

/// Twelve entries that use every type, content and field.
pub fn entries() -> Vec<Entry> {
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
    let file = |size, content| EntryKind::File {
        size,
        content,
        link: None,
        from_device: false,
    };
    let blob = |byte| BlobId([byte; 32]);
    let link = Some(HardLink { links: 2, device: 2049 });
    let chunks = Content::Chunks(vec![
        Extent::Chunk {
            blob: blob(0xb2),
            length: 300_000,
        },
        Extent::Hole { length: 1 << 20 },
        Extent::Chunk {
            blob: blob(0xb2),
            length: 300_000,
        },
    ]);
    let slab = Content::Slab {
        blob: blob(0xa1),
        offset: 4096,
        check: *b"checked!",
    };
    let mut attributed = entry(b"home/fifo", 0o600, 13, EntryKind::Fifo);
    attributed.metadata.attributes = vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), Vec::new())];
    attributed.metadata.modified = Timestamp(-1);
    attributed.metadata.changed = Timestamp(-2_000_000_000);
    vec![
        entry(b"", 0o755, 2, EntryKind::Folder),
        entry(b"dev", 0o755, 3, EntryKind::Folder),
        entry(b"dev/null", 0o666, 5, EntryKind::CharacterDevice { major: 1, minor: 3 }),
        entry(b"dev/sda", 0o660, 4, EntryKind::BlockDevice { major: 8, minor: 0 }),
        entry(b"home", 0o755, 10, EntryKind::Folder),
        entry(b"home/empty", 0o644, 11, file(0, Content::Empty)),
        attributed,
        entry(
            b"home/list",
            0o644,
            14,
            file(1 << 40, Content::List { blob: blob(0xc3) }),
        ),
        entry(
            b"home/name-\xff",
            0o4755,
            15,
            EntryKind::File {
                size: 5,
                content: slab,
                link,
                from_device: false,
            },
        ),
        entry(
            b"home/other-name",
            0o4755,
            15,
            EntryKind::Symlink {
                target: b"../etc".to_vec(),
                link,
            },
        ),
        entry(b"home/socket", 0o777, 16, EntryKind::Socket),
        entry(
            b"home/sparse",
            0o644,
            17,
            EntryKind::File {
                size: 600_000 + (1 << 20),
                content: chunks,
                link: None,
                from_device: true,
            },
        ),
    ]
}

const LEAF: &str = concat!(
    "0103c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
    "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2",
    "b2b217000001ed03e8076480c49fd50c15cd5b0702010000000416000364657601ed03e807640015cd5b070201000000",
    "021c03052f6e756c6c06b603e807640015cd5b07020100000004020201031a040373646107b003e807640015cd5b0702",
    "010000000102020800170004686f6d6501ed03e807640015cd5b0702010000000c1b04062f656d70747902a403e80764",
    "0015cd5b0702010000000200002f05046669666f048003e8076481c49fd50cffc99a3b01000000000403120206757365",
    "722e61013106757365722e62002305046c69737402a403e8076482c49fd50c15cd5b0702010000000280808080802003",
    "002b05066e616d652dff02ed13e807640015cd5b070201000000020501018020636865636b65642104030281102a050a",
    "6f746865722d6e616d6503ed13e807640015cd5b0702010000000001062e2e2f6574630403028110190506736f636b65",
    "7405ff03e807640015cd5b070201000000022b0605706172736502a403e807640015cd5b07020100000002c0cf640203",
    "03e0a7120080804003e0a7120500",
);

#[test]
fn the_bytes_of_a_leaf_stay_as_they_are() {
    let mut writer = LeafWriter::default();
    for entry in entries() {
        writer.push(&entry).unwrap();
    }
    let size = writer.size();
    let leaf = writer.finish();
    assert_eq!(size, leaf.len());
    assert_eq!(HEXLOWER.encode(&leaf), LEAF);
    let mut blobs = Blobs::default();
    let root = blobs.save(leaf).unwrap();
    let read: Vec<Entry> = TreeReader::new(&blobs, root).map(|entry| entry.unwrap()).collect();
    assert_eq!(read, entries());
}
