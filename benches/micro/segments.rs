//! Segments of a made-up repository: packs of sixteen blobs, a quarter of a million blobs a segment.

use engine::format::segment::{PackInfo, SegmentBuilder, SegmentEntry};
use engine::words::{BlobId, BlobKind, PackName, SessionId};

pub const BLOBS_PER_PACK: u64 = 16;
const BLOBS_PER_SEGMENT: u64 = 1 << 18;

/// A blob's id.
pub fn id(number: u64) -> BlobId {
    BlobId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// The names of the segments of so many blobs.
pub fn names(blobs: u64) -> Vec<String> {
    let segments = blobs.div_ceil(BLOBS_PER_SEGMENT);
    (0..segments)
        .map(|number| format!("x/{number:032x}/00000000"))
        .collect()
}

/// One of them.
pub fn plaintext(segment: u64, blobs: u64) -> Vec<u8> {
    let mut builder = SegmentBuilder::new();
    let first = segment * BLOBS_PER_SEGMENT;
    let end = (first + BLOBS_PER_SEGMENT).min(blobs);
    for pack in first / BLOBS_PER_PACK..end / BLOBS_PER_PACK {
        builder.add_entries(info(pack), &entries(pack));
    }
    builder.finish()
}

fn info(pack: u64) -> PackInfo {
    let session = SessionId(*id(pack >> 12 | 1 << 50).0.first_chunk().unwrap());
    PackInfo {
        name: PackName {
            session,
            number: pack as u32 & 0xfff,
        },
        contents: 1,
        size: 24 << 20,
        blobs: BLOBS_PER_PACK as u32,
        table_offset: 23 << 20,
        table_length: 1000,
        hash: [7; 32],
        key_sessions: vec![session],
    }
}

fn entries(pack: u64) -> Vec<SegmentEntry> {
    let entries = (0..BLOBS_PER_PACK).map(|ordinal| SegmentEntry {
        prefix: id(pack * BLOBS_PER_PACK + ordinal).prefix(),
        pack: 0,
        offset: 72 + (ordinal as u32) * 1_000_000,
        length: 1_000_000,
        ordinal: ordinal as u16,
        kind: BlobKind::Data,
    });
    entries.collect()
}
