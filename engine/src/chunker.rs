//! Where files are cut. The only module that names `fastcdc`.
//!
//! What must always hold: the cuts are a function of the bytes, the parameters and the cut key alone, never of how the bytes arrive
//! (buffer sizes, [`stream`]) nor of how many threads work on a file ([`regions`]). Golden vectors below pin them: other cuts would
//! read fine, but every file of an old repository would be stored once more.

use std::sync::Arc;

use fastcdc::v2020::{
    AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN, Normalization, cut_gear, select_masks,
};
use serde::{Deserialize, Serialize};

use crate::words::{Error, Result};

pub mod regions;
pub mod stream;
pub mod style;

pub use regions::{ReadAt, Region};
pub use stream::{Cut, Cuts, Window};

/// The sizes of chunks, in bytes. They stand in the repository's `config` and never change there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkerParameters {
    /// No chunk but a file's last is smaller; a power of two, 64 to 1 MiB.
    pub min: u32,
    /// What chunks are aimed at; a power of two, 256 to 4 MiB.
    pub average: u32,
    /// No chunk is larger; a power of two, 1 KiB to 16 MiB.
    pub max: u32,
    /// How strongly sizes are drawn to the average, 0 to 3.
    pub normalization: u8,
}

impl Default for ChunkerParameters {
    /// 512 KiB, 2 MiB, 8 MiB, level 2.
    fn default() -> Self {
        Self {
            min: 512 << 10,
            average: 2 << 20,
            max: 8 << 20,
            normalization: 2,
        }
    }
}

/// Cuts files into chunks, by content or at fixed multiples. Cheap to clone.
#[derive(Clone)]
pub struct Chunker(Rule);

#[derive(Clone)]
enum Rule {
    Content(Arc<Gear>),
    Fixed(usize),
}

/// The keyed table and everything else `cut_gear` asks for.
struct Gear {
    table: [u64; 256],
    /// The table, each value shifted left by one: FastCDC 2020 takes two bytes a step.
    table_shifted: [u64; 256],
    min: usize,
    average: usize,
    max: usize,
    /// Below the average fewer cuts match, above it more.
    mask_below: u64,
    mask_above: u64,
}

impl Chunker {
    /// Cuts by content, with a table derived from the repository's cut key, so that the lengths of chunks say little to whoever lacks it.
    ///
    /// # Errors
    /// `Invalid` when a size is no power of two or out of its range, or they do not rise.
    pub fn new(parameters: &ChunkerParameters, cut_key: &[u8; 32]) -> Result<Self> {
        let level = validate(parameters)?;
        let average = parameters.average as usize;
        let (mask_below, mask_above) = select_masks(average, level);
        let table = gear_table(cut_key);
        Ok(Self(Rule::Content(Arc::new(Gear {
            table,
            table_shifted: table.map(|value| value << 1),
            min: parameters.min as usize,
            average,
            max: parameters.max as usize,
            mask_below,
            mask_above,
        }))))
    }

    /// Cuts at multiples of `size`: for block devices and files that are rewritten in place, where blocks keep their places.
    ///
    /// # Errors
    /// `Invalid` when `size` is no power of two from 4 KiB to 16 MiB.
    pub fn fixed(size: u32) -> Result<Self> {
        if !size.is_power_of_two() || !(4 << 10..=16 << 20).contains(&size) {
            return Err(Error::Invalid(format!(
                "A chunk size of {size} bytes is not a power of two from 4 KiB to 16 MiB"
            )));
        }
        Ok(Self(Rule::Fixed(size as usize)))
    }

    /// Returns the length of the chunk that begins where `data` begins, or `None` when that depends on bytes that are not there.
    ///
    /// `last` says that nothing follows `data`. Never `None` for `last` and some data, nor for [`Self::size_max`] bytes; always `None` for none.
    pub fn cut(&self, data: &[u8], last: bool) -> Option<usize> {
        if data.is_empty() {
            return None;
        }
        let length = match &self.0 {
            Rule::Content(gear) => gear.cut(data),
            Rule::Fixed(size) => data.len().min(*size),
        };
        // A cut at the end of the data may be just that, the end of the data. Anything before it was found, and more data changes nothing.
        (length < data.len() || last || length == self.size_max()).then_some(length)
    }

    /// The most bytes a chunk can have.
    pub fn size_max(&self) -> usize {
        match &self.0 {
            Rule::Content(gear) => gear.max,
            Rule::Fixed(size) => *size,
        }
    }

    /// The chunks of what a reader gives, through a window that can serve file after file.
    pub fn cuts<'a, R: std::io::Read>(&'a self, reader: R, window: &'a mut Window) -> Cuts<'a, R> {
        Cuts::new(self, reader, window)
    }
}

impl Gear {
    fn cut(&self, data: &[u8]) -> usize {
        cut_gear(
            data,
            self.min,
            self.average,
            self.max,
            self.mask_below,
            self.mask_above,
            self.mask_below << 1,
            self.mask_above << 1,
            &self.table,
            &self.table_shifted,
        )
        .1
    }
}

/// The table of FORMAT.md, 6.1.
fn gear_table(cut_key: &[u8; 32]) -> [u64; 256] {
    let mut stream = blake3::Hasher::new_derive_key("ararat v1 gear")
        .update(cut_key)
        .finalize_xof();
    let mut table = [0; 256];
    for value in &mut table {
        let mut bytes = [0; 8];
        stream.fill(&mut bytes);
        *value = u64::from_le_bytes(bytes);
    }
    table
}

/// Checks what the crate only asserts in debug builds. Powers of two alone: releases of the crate have moved the cuts of other sizes.
fn validate(parameters: &ChunkerParameters) -> Result<Normalization> {
    let ChunkerParameters {
        min,
        average,
        max,
        normalization,
    } = *parameters;
    let ranges = [
        ("smallest", min, MINIMUM_MIN, MINIMUM_MAX),
        ("average", average, AVERAGE_MIN, AVERAGE_MAX),
        ("largest", max, MAXIMUM_MIN, MAXIMUM_MAX),
    ];
    for (what, size, low, high) in ranges {
        if !size.is_power_of_two() || !(low..=high).contains(&(size as usize)) {
            return Err(Error::Invalid(format!(
                "The {what} chunk size, {size} bytes, is not a power of two from {low} to {high}"
            )));
        }
    }
    if min >= average || average >= max {
        return Err(Error::Invalid(format!(
            "The chunk sizes do not rise: smallest {min}, average {average}, largest {max} bytes"
        )));
    }
    match normalization {
        0 => Ok(Normalization::Level0),
        1 => Ok(Normalization::Level1),
        2 => Ok(Normalization::Level2),
        3 => Ok(Normalization::Level3),
        other => Err(Error::Invalid(format!(
            "Normalization {other} is none of the levels 0 to 3"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that look random and are the same every time.
    pub fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    /// A chunker small enough for tests to see many cuts: 64, 256, 1024 bytes.
    pub fn small() -> Chunker {
        let parameters = ChunkerParameters {
            min: 64,
            average: 256,
            max: 1024,
            normalization: 2,
        };
        Chunker::new(&parameters, &[7; 32]).unwrap()
    }

    /// The cuts of data that is all there: the reference for every other way.
    pub fn reference(chunker: &Chunker, data: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        let mut at = 0;
        while let Some(length) = chunker.cut(&data[at..], true) {
            at += length;
            cuts.push(at);
        }
        cuts
    }

    fn fingerprint(cuts: &[usize]) -> String {
        let mut hasher = blake3::Hasher::new();
        for cut in cuts {
            hasher.update(&(*cut as u64).to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    #[test]
    fn cuts_of_a_known_buffer_never_change() {
        let data = noise(1, 64 << 20);
        let chunker = Chunker::new(&ChunkerParameters::default(), &[42; 32]).unwrap();
        let cuts = reference(&chunker, &data);
        let small = reference(&small(), &data[..1 << 20]);
        let found = format!(
            "{} {:?}\n{}\n{} {:?}\n{}",
            cuts.len(),
            &cuts[..4],
            fingerprint(&cuts),
            small.len(),
            &small[..4],
            fingerprint(&small)
        );
        assert_eq!(found, GOLDEN);
    }

    /// The number of cuts, the first four, and the hash of all as u64 each: for the default sizes, and for the small ones.
    const GOLDEN: &str = "29 [1827127, 4473071, 7372088, 10459462]
a4910a8092265884773f3aa62d79d63aa721d71975d68026f6962b1bd61590ed
3616 [362, 655, 929, 1189]
c73a4ffeb1e8758736f3284cc5fa4685e8dd45213a346468d0873c3ececc3918";

    /// The algorithm as the paper has it, byte by byte: should the crate ever be replaced, this is what must come out.
    #[test]
    fn cuts_are_those_of_a_plain_gear_hash() {
        let data = noise(5, 200_000);
        let chunker = small();
        let Rule::Content(gear) = &chunker.0 else { panic!() };
        let mut cuts = Vec::new();
        let mut start = 0;
        while start < data.len() {
            let rest = &data[start..(start + gear.max).min(data.len())];
            let mut hash = 0u64;
            let mut length = rest.len();
            for (at, byte) in rest.iter().enumerate().skip(gear.min) {
                hash = (hash << 1).wrapping_add(gear.table[*byte as usize]);
                let mask = if at < gear.average {
                    gear.mask_below
                } else {
                    gear.mask_above
                };
                if hash & mask == 0 {
                    length = at;
                    break;
                }
            }
            start += length;
            cuts.push(start);
        }
        assert_eq!(reference(&chunker, &data), cuts);
    }

    #[test]
    fn the_table_is_what_the_format_says() {
        let table = gear_table(&[42; 32]);
        let mut bytes = [0; 2048];
        blake3::Hasher::new_derive_key("ararat v1 gear")
            .update(&[42; 32])
            .finalize_xof()
            .fill(&mut bytes);
        assert_eq!(table[0].to_le_bytes(), bytes[..8]);
        assert_eq!(table[255].to_le_bytes(), bytes[2040..]);
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let data = noise(2, 1 << 20);
        let parameters = ChunkerParameters {
            min: 64,
            average: 256,
            max: 1024,
            normalization: 2,
        };
        let other = Chunker::new(&parameters, &[8; 32]).unwrap();
        assert_ne!(reference(&small(), &data), reference(&other, &data));
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let good = ChunkerParameters::default();
        let bad = [
            ChunkerParameters { min: 0, ..good },
            ChunkerParameters { min: 1000, ..good },
            ChunkerParameters { min: 2 << 20, ..good },
            ChunkerParameters {
                average: 3 << 20,
                ..good
            },
            ChunkerParameters {
                average: 512 << 10,
                ..good
            },
            ChunkerParameters { max: 2 << 20, ..good },
            ChunkerParameters { max: 32 << 20, ..good },
            ChunkerParameters {
                normalization: 4,
                ..good
            },
        ];
        for parameters in bad {
            assert!(Chunker::new(&parameters, &[0; 32]).is_err(), "{parameters:?}");
        }
        for size in [0, 5000, 2048, 32 << 20] {
            assert!(Chunker::fixed(size).is_err(), "{size}");
        }
    }

    #[test]
    fn fixed_chunks_lie_at_multiples() {
        let chunker = Chunker::fixed(4096).unwrap();
        assert_eq!(reference(&chunker, &[0; 10_000]), [4096, 8192, 10_000]);
        assert_eq!(chunker.cut(&[0; 4095], false), None);
        assert_eq!(chunker.cut(&[0; 4096], false), Some(4096));
    }

    #[test]
    fn no_bytes_make_no_chunk() {
        assert_eq!(small().cut(&[], true), None);
        assert_eq!(small().cut(&[], false), None);
    }

    proptest! {
        #[test]
        fn a_cut_that_was_given_is_the_same_when_more_is_known(seed: u64, length in 0usize..4000, more in 0usize..2000) {
            let data = noise(seed, length + more);
            let chunker = small();
            if let Some(cut) = chunker.cut(&data[..length], false) {
                prop_assert_eq!(chunker.cut(&data, false), Some(cut));
                prop_assert_eq!(chunker.cut(&data, true), Some(cut));
            }
        }

        #[test]
        fn chunks_keep_their_bounds(seed: u64, length in 0usize..20_000) {
            let data = noise(seed, length);
            let cuts = reference(&small(), &data);
            prop_assert_eq!(cuts.last().copied().unwrap_or(0), length);
            let mut before = 0;
            for (number, cut) in cuts.iter().enumerate() {
                let size = cut - before;
                prop_assert!(size <= 1024);
                prop_assert!(size >= 64 || number + 1 == cuts.len());
                before = *cut;
            }
        }
    }
}
