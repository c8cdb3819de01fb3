//! What is measured on: the same bytes every time.

use engine::words::BlobId;

/// Bytes that nothing can compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A slab of sources: this package's own, over and over in another order, so that it compresses about as sources do.
pub fn sources(length: usize) -> Vec<u8> {
    let files = [
        include_str!("../../engine/src/words/error.rs"),
        include_str!("../../engine/src/chunker.rs"),
        include_str!("../../engine/src/compress.rs"),
        include_str!("../../engine/src/index.rs"),
        include_str!("../../engine/src/index/run.rs"),
        include_str!("../../engine/FORMAT.md"),
        include_str!("../../Cargo.lock"),
    ];
    let lines: Vec<&str> = files.iter().flat_map(|file| file.lines()).collect();
    let mut bytes = Vec::with_capacity(length + 200);
    let mut place = 0;
    while bytes.len() < length {
        // Stretches of ten lines from all over; a tenth of the lines are nobody else's.
        place = (place * 31 + 17) % lines.len();
        for line in &lines[place..(place + 10).min(lines.len())] {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        let hash = blake3::hash(&(bytes.len() as u64).to_le_bytes());
        bytes.extend_from_slice(hash.to_hex().as_bytes());
        bytes.push(b'\n');
    }
    bytes.truncate(length);
    bytes
}

/// A blob's id.
pub fn id(number: u64) -> BlobId {
    BlobId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}
