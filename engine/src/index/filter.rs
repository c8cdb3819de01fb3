//! A Bloom filter in blocks of a cache line: whether a blob may be in a run, without reading the run.
//!
//! Blob ids are keyed hashes, so their bits serve as they are. Never larger than [`BYTES_MAX`], however many blobs there are: beyond
//! about fifty million it merely errs more often, and an error costs one read.

/// Bytes of a cache line.
const LINE: usize = 64;
/// The most memory that one filter takes.
pub(super) const BYTES_MAX: usize = 64 << 20;
/// What is aimed at: one error in about a hundred.
const BITS_PER_KEY: u64 = 10;

/// The filter.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    bytes: Vec<u8>,
    /// How many bits are set for a key, 1 to 7.
    hashes: u32,
}

impl Filter {
    /// An empty one for so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        let bytes = (keys.saturating_mul(BITS_PER_KEY) / 8).clamp(LINE as u64, BYTES_MAX as u64);
        let bytes = (bytes as usize).next_multiple_of(LINE);
        // The best number of bits to set is that of bits a key has, times ln 2.
        let hashes = (bytes as u64 * 8 * 7 / 10 / keys.max(1)).clamp(1, 6) as u32;
        Self {
            bytes: vec![0; bytes],
            hashes,
        }
    }

    /// One that was stored; `None` if that cannot be.
    pub(super) fn from_bytes(bytes: Vec<u8>, hashes: u32) -> Option<Self> {
        let fits = !bytes.is_empty() && bytes.len().is_multiple_of(LINE) && (1..=7).contains(&hashes);
        fits.then_some(Self { bytes, hashes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn hashes(&self) -> u32 {
        self.hashes
    }

    /// Adds a key.
    pub(super) fn insert(&mut self, prefix: &[u8; 16]) {
        let (line, mut bits) = self.place(prefix);
        for _ in 0..self.hashes {
            self.bytes[line + (bits as usize & 511) / 8] |= 1 << (bits & 7);
            bits >>= 9;
        }
    }

    /// Whether a key may have been added: always true when it was.
    pub(super) fn may_contain(&self, prefix: &[u8; 16]) -> bool {
        let (line, mut bits) = self.place(prefix);
        let line = &self.bytes[line..line + LINE];
        (0..self.hashes).all(|_| {
            let set = line[(bits as usize & 511) / 8] & (1 << (bits & 7)) != 0;
            bits >>= 9;
            set
        })
    }

    /// Where the key's line begins, and the bits that say which of its bits are meant, nine each.
    fn place(&self, prefix: &[u8; 16]) -> (usize, u64) {
        let number = u128::from_be_bytes(*prefix);
        let lines = (self.bytes.len() / LINE) as u128;
        // The low half chooses the line by its share of all, the high half the bits in it.
        let line = ((number & u128::from(u64::MAX)) * lines) >> 64;
        (line as usize * LINE, (number >> 64) as u64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn key(number: u64) -> [u8; 16] {
        *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap()
    }

    #[test]
    fn what_was_added_is_always_found_and_little_else() {
        for keys in [0u64, 1, 10, 1000, 100_000] {
            let mut filter = Filter::for_keys(keys);
            (0..keys).for_each(|number| filter.insert(&key(number)));
            let filter = Filter::from_bytes(filter.bytes().to_vec(), filter.hashes()).unwrap();
            assert!((0..keys).all(|number| filter.may_contain(&key(number))));
            let wrong = (0..100_000)
                .filter(|number| filter.may_contain(&key(1 << 40 | number)))
                .count();
            assert!(wrong < 3000, "{wrong} of 100,000 with {keys} keys");
        }
    }

    #[test]
    fn no_filter_is_larger_than_its_bound() {
        let filter = Filter::for_keys(1 << 40);
        assert_eq!((filter.bytes().len(), filter.hashes()), (BYTES_MAX, 1));
    }
}
