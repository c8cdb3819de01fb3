//! From wanted blobs to ranges of packs. Pure.

use std::collections::HashMap;

use crate::repository::Place;
use crate::words::{BlobId, PackName};

/// How much is fetched by one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimits {
    /// Bytes that nobody wants are fetched along if there are at most so many between two blobs.
    pub gap_max: u64,
    /// A request is for at most so many bytes, unless a single blob is larger.
    pub range_max: u64,
}

impl RangeLimits {
    /// For stores where a request takes long.
    pub const FAR: Self = Self {
        gap_max: 512 << 10,
        range_max: 8 << 20,
    };
    /// For stores that are as near as the memory: enough to keep the number of calls low, little enough to stay in a processor's cache.
    pub const NEAR: Self = Self {
        gap_max: 16 << 10,
        range_max: 2 << 20,
    };
}

/// A blob, where it lies, and who uses it.
#[derive(Debug)]
pub struct WantedBlob<U> {
    /// Its id.
    pub id: BlobId,
    /// Where it lies.
    pub place: Place,
    /// Every place it goes to.
    pub uses: Vec<U>,
}

/// A part of a pack, fetched by one request, and the blobs in it, in the order they lie there.
#[derive(Debug)]
pub struct PackRange<U> {
    /// The pack.
    pub pack: PackName,
    /// Where it begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What is wanted of it.
    pub blobs: Vec<WantedBlob<U>>,
}

/// Brings the uses of each blob together; blobs come in the order in which they are met first.
pub fn gather<U>(wanted: Vec<(BlobId, U)>) -> Vec<(BlobId, Vec<U>)> {
    let mut gathered: Vec<(BlobId, Vec<U>)> = Vec::new();
    let mut known: HashMap<BlobId, usize> = HashMap::new();
    for (id, user) in wanted {
        // Small files that share a blob come one after another.
        match gathered.last_mut() {
            Some((last, uses)) if *last == id => uses.push(user),
            _ => {
                let at = *known.entry(id).or_insert(gathered.len());
                match gathered.get_mut(at) {
                    Some((_, uses)) => uses.push(user),
                    None => gathered.push((id, vec![user])),
                }
            }
        }
    }
    gathered
}

/// Sorts blobs by where they lie, and joins neighbours.
pub fn ranges<U>(mut blobs: Vec<WantedBlob<U>>, limits: RangeLimits) -> Vec<PackRange<U>> {
    blobs.sort_unstable_by_key(|blob| (blob.place.pack, blob.place.offset));
    let mut ranges: Vec<PackRange<U>> = Vec::new();
    for blob in blobs {
        let start = u64::from(blob.place.offset);
        let end = start + u64::from(blob.place.length);
        match ranges.last_mut() {
            Some(range)
                if range.pack == blob.place.pack
                    && start <= range.end.saturating_add(limits.gap_max)
                    && end.max(range.end) - range.start <= limits.range_max =>
            {
                range.end = range.end.max(end);
                range.blobs.push(blob);
            }
            Some(_) | None => ranges.push(PackRange {
                pack: blob.place.pack,
                start,
                end,
                blobs: vec![blob],
            }),
        }
    }
    ranges
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::words::{BlobKind, SessionId};

    fn blob(pack: u32, offset: u32, length: u32) -> WantedBlob<()> {
        let pack = PackName {
            session: SessionId([0; 16]),
            number: pack,
        };
        WantedBlob {
            id: BlobId([0; 32]),
            place: Place {
                pack,
                offset,
                length,
                ordinal: 0,
                pack_size: 0,
                pack_number: pack.number,
                kind: BlobKind::Data,
            },
            uses: vec![()],
        }
    }

    fn shapes(blobs: Vec<WantedBlob<()>>) -> Vec<(u32, u64, u64, usize)> {
        let limits = RangeLimits {
            gap_max: 10,
            range_max: 100,
        };
        ranges(blobs, limits)
            .iter()
            .map(|range| (range.pack.number, range.start, range.end, range.blobs.len()))
            .collect()
    }

    #[test]
    fn neighbours_are_fetched_together_and_strangers_apart() {
        assert_eq!(shapes(vec![]), []);
        assert_eq!(
            shapes(vec![blob(1, 50, 20), blob(1, 0, 40), blob(2, 70, 5)]),
            [(1, 0, 70, 2), (2, 70, 75, 1)]
        );
        assert_eq!(
            shapes(vec![blob(1, 0, 40), blob(1, 51, 20)]),
            [(1, 0, 40, 1), (1, 51, 71, 1)],
            "the gap is too wide"
        );
        assert_eq!(
            shapes(vec![blob(1, 0, 60), blob(1, 60, 41)]),
            [(1, 0, 60, 1), (1, 60, 101, 1)],
            "together too long"
        );
        assert_eq!(
            shapes(vec![blob(1, 0, 500)]),
            [(1, 0, 500, 1)],
            "a single blob is never cut"
        );
        assert_eq!(
            shapes(vec![blob(1, 0, 40), blob(1, 10, 5)]),
            [(1, 0, 40, 2)],
            "inside one another, from a hostile index"
        );
    }

    #[test]
    fn the_uses_of_a_blob_come_together() {
        let (a, b) = (BlobId([1; 32]), BlobId([2; 32]));
        let gathered = gather(vec![(a, 1), (a, 2), (b, 3), (a, 4), (b, 5)]);
        assert_eq!(gathered, [(a, vec![1, 2, 4]), (b, vec![3, 5])]);
    }
}
