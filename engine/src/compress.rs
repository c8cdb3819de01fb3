//! Compression of blobs: what stands inside their seal (FORMAT.md, 4). The only module that names `zstd`.
//!
//! `codec u8 ‖ u32 length of the plaintext ‖ payload`. What cannot be made smaller is kept as it is, and found out cheaply beforehand. A decompressor
//! allocates no more than the length says, and that is at most 16 MiB: there are no bombs.

use std::io::Cursor;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, ResetDirective, Strategy};

use crate::words::{Error, Result};

/// The most plaintext a blob may have, in bytes.
pub const PLAINTEXT_MAX: usize = 16 << 20;

/// The level for slabs of small files and for chunks that are cut by content. Solid blocks of one or two MiB gain so much over file by file that
/// more effort would buy little: 4 % less on programs for half as much time again.
pub const LEVEL_LARGE: i32 = 1;

/// The level for blocks that are cut at fixed places, which are short, and for trees, which are few.
pub const LEVEL_SMALL: i32 = 3;

/// Bytes before the payload.
const FRAME: usize = 5;

/// How a payload is encoded; the numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// The payload is the plaintext.
    Raw = 0,
    /// The payload is one Zstandard frame.
    Zstd = 1,
}

/// Plaintexts longer than this are probed before they are compressed.
const PROBE_FROM: usize = 128 << 10;
/// A probe looks at so many places …
const PROBE_SAMPLES: usize = 4;
/// … of so many bytes each.
const PROBE_SAMPLE: usize = 12 << 10;
/// The probe's level: one that is many times faster than any that is used for real.
const PROBE_LEVEL: i32 = -5;

/// The binary logarithm of the window: a whole slab or chunk of the average size. The library takes 19 for its fast levels, which costs them 6 %.
const WINDOW: u32 = 21;

/// What we set the library to at its levels 1 to 3: hash table, second table, shortest match, strategy. Smaller tables stay in a core's cache.
///
/// Measured against the library's own levels over slabs of sources and chunks of programs: 1 is as fast and 3 % smaller; 2 is 1.1 times as fast and 3 %
/// smaller on slabs; 3 is 1.1 times as fast and 0.3 % larger. The figures are in `benches/README.md`.
const TUNED: [(u32, u32, u32, Strategy); 3] = [
    (15, 14, 7, Strategy::ZSTD_fast),
    (14, 14, 6, Strategy::ZSTD_dfast),
    (16, 16, 5, Strategy::ZSTD_dfast),
];

/// Compresses blob after blob with one context. One for each thread; holds about 4 MiB at the usual levels.
pub struct Compressor {
    context: CCtx<'static>,
    /// The level that the context is set to.
    level: Option<i32>,
    /// Apart, so that the other one's tables stay as they are.
    prober: CCtx<'static>,
    scratch: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor with fresh contexts.
    pub fn new() -> Self {
        let mut prober = CCtx::create();
        // Should the library not know the level, it probes at its own: slower, as good.
        let _ = prober.set_parameter(CParameter::CompressionLevel(PROBE_LEVEL));
        Self {
            context: CCtx::create(),
            level: None,
            prober,
            scratch: Vec::new(),
        }
    }

    /// Appends the plaintext to `out`, compressed at `level` (-7 to 19; 0 stores it as it is) if that saves at least 3 %, and says which it was.
    ///
    /// # Panics
    /// When the plaintext is longer than [`PLAINTEXT_MAX`]: only a bug makes such a blob.
    pub fn compress(&mut self, level: i32, plaintext: &[u8], out: &mut Vec<u8>) -> Codec {
        assert!(plaintext.len() <= PLAINTEXT_MAX, "a blob of {} bytes", plaintext.len());
        let start = out.len();
        out.reserve(FRAME + zstd_safe::compress_bound(plaintext.len()));
        out.push(Codec::Zstd as u8);
        // The assertion above keeps this exact.
        out.extend_from_slice(&(plaintext.len() as u32).to_le_bytes());
        if level != 0
            && self.promising(plaintext)
            && self
                .deflate(level, plaintext, out)
                .is_some_and(|length| worth_it(length, plaintext.len()))
        {
            return Codec::Zstd;
        }
        out.truncate(start + FRAME);
        out[start] = Codec::Raw as u8;
        out.extend_from_slice(plaintext);
        Codec::Raw
    }

    /// Says whether compressing is likely to gain anything, from a few samples.
    fn promising(&mut self, plaintext: &[u8]) -> bool {
        if plaintext.len() <= PROBE_FROM {
            return true;
        }
        // From the very start to the very end: heads and tables of containers compress although their contents may not.
        let stride = (plaintext.len() - PROBE_SAMPLE) / (PROBE_SAMPLES - 1);
        (0..PROBE_SAMPLES).any(|number| {
            let sample = &plaintext[number * stride..][..PROBE_SAMPLE];
            self.scratch.clear();
            self.scratch.reserve(zstd_safe::compress_bound(PROBE_SAMPLE));
            append(&mut self.prober, sample, &mut self.scratch).is_some_and(|length| worth_it(length, PROBE_SAMPLE))
        })
    }

    /// Appends one frame to `out` and returns its length; `None` if the library refuses, which it has no reason to.
    fn deflate(&mut self, level: i32, plaintext: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if self.level != Some(level) {
            self.level = None;
            tune(&mut self.context, level)?;
            self.level = Some(level);
        }
        append(&mut self.context, plaintext, out)
    }
}

/// Sets a context to one of our levels.
fn tune(context: &mut CCtx<'_>, level: i32) -> Option<()> {
    context.reset(ResetDirective::SessionAndParameters).ok()?;
    let mut set = |parameter| context.set_parameter(parameter).ok();
    set(CParameter::CompressionLevel(level))?;
    let tuned = usize::try_from(level - 1).ok().and_then(|number| TUNED.get(number));
    if let Some((hash_log, chain_log, match_min, strategy)) = tuned {
        set(CParameter::HashLog(*hash_log))?;
        set(CParameter::ChainLog(*chain_log))?;
        set(CParameter::MinMatch(*match_min))?;
        set(CParameter::Strategy(*strategy))?;
        set(CParameter::WindowLog(WINDOW))?;
    }
    Some(())
}

/// Appends one frame to `out`, which has room for it.
fn append(context: &mut CCtx<'_>, plaintext: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut cursor = Cursor::new(out);
    cursor.set_position(cursor.get_ref().len() as u64);
    context.compress2(&mut cursor, plaintext).ok()
}

/// At least 3 % are saved.
fn worth_it(compressed: usize, plain: usize) -> bool {
    compressed < plain - plain / 32
}

/// Decompresses blob after blob with one context. One for each thread.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Decompressor {
    /// A decompressor with a fresh context.
    pub fn new() -> Self {
        Self {
            context: DCtx::create(),
        }
    }

    /// Makes `out` the plaintext of what [`Compressor::compress`] made. After an error `out` holds nothing of use.
    ///
    /// # Errors
    /// `Damaged` if the codec is unknown, the length over [`PLAINTEXT_MAX`] or not the length of what comes out.
    pub fn decompress(&mut self, framed: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let (codec, length, payload) = split(framed)?;
        match codec {
            Codec::Raw if payload.len() == length => {
                out.extend_from_slice(payload);
                Ok(())
            }
            Codec::Raw => Err(damaged(format!("it holds {} bytes and says {length}", payload.len()))),
            Codec::Zstd => self.inflate(payload, length, out),
        }
    }

    fn inflate(&mut self, payload: &[u8], length: usize, out: &mut Vec<u8>) -> Result<()> {
        // The library would take several frames, and frames to be skipped; the format has exactly one.
        if zstd_safe::find_frame_compressed_size(payload) != Ok(payload.len()) {
            return Err(damaged("it is not one Zstandard frame".into()));
        }
        out.reserve_exact(length);
        let count = self
            .context
            .decompress(out, payload)
            .map_err(|code| damaged(format!("it does not decompress: {}", zstd_safe::get_error_name(code))))?;
        if count != length || out.len() != length {
            out.clear();
            return Err(damaged(format!("it decompresses to {count} bytes and says {length}")));
        }
        Ok(())
    }
}

/// The parts of a framed blob; the length is bounded.
fn split(framed: &[u8]) -> Result<(Codec, usize, &[u8])> {
    let Some((&[codec, a, b, c, d], payload)) = framed.split_first_chunk::<FRAME>() else {
        return Err(damaged("it is shorter than its head".into()));
    };
    let codec = match codec {
        0 => Codec::Raw,
        1 => Codec::Zstd,
        other => return Err(damaged(format!("it has the unknown codec {other}"))),
    };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > PLAINTEXT_MAX {
        return Err(damaged(format!(
            "it says that it has {length} bytes, over the limit of {PLAINTEXT_MAX}"
        )));
    }
    Ok((codec, length, payload))
}

fn damaged(why: String) -> Error {
    Error::damaged("The inside of a blob", why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunker::tests::noise;

    fn round_trip(level: i32, plaintext: &[u8]) -> (Codec, usize) {
        let mut framed = b"before".to_vec();
        let codec = Compressor::new().compress(level, plaintext, &mut framed);
        assert_eq!(&framed[..6], b"before");
        let mut out = b"old".to_vec();
        Decompressor::new().decompress(&framed[6..], &mut out).unwrap();
        assert!(out == plaintext);
        (codec, framed.len() - 6)
    }

    fn text(length: usize) -> Vec<u8> {
        (0..)
            .flat_map(|line: u32| format!("line {line} of a text\n").into_bytes())
            .take(length)
            .collect()
    }

    #[test]
    fn text_shrinks_and_noise_stays_as_it_is() {
        for length in [1000, 100_000, 200_000, 2 << 20] {
            for level in [-5, 1, 3] {
                let (codec, stored) = round_trip(level, &text(length));
                assert_eq!(codec, Codec::Zstd, "{length} at {level}");
                assert!(stored < length / 2);
                assert_eq!(
                    round_trip(level, &noise(length as u64, length)),
                    (Codec::Raw, length + FRAME)
                );
            }
        }
        assert_eq!(round_trip(0, &text(100_000)).0, Codec::Raw);
        assert_eq!(round_trip(3, &[]), (Codec::Raw, FRAME));
        assert_eq!(round_trip(3, &[0; PLAINTEXT_MAX]).0, Codec::Zstd);
    }

    #[test]
    fn a_blob_that_compresses_only_in_places_is_compressed() {
        let mut mixed = noise(1, 1 << 20);
        mixed.extend(text(1 << 20));
        assert_eq!(round_trip(3, &mixed).0, Codec::Zstd);
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let mut framed = Vec::new();
        Compressor::new().compress(3, &vec![0; PLAINTEXT_MAX], &mut framed);
        let mut out = Vec::new();
        // It says less than it holds.
        framed[1..5].copy_from_slice(&1000u32.to_le_bytes());
        assert!(Decompressor::new().decompress(&framed, &mut out).is_err());
        assert!(out.capacity() < 1 << 16, "allocated {}", out.capacity());
        // It says more than any blob may hold.
        framed[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Decompressor::new().decompress(&framed, &mut out).is_err());
        assert!(out.capacity() < 1 << 16, "allocated {}", out.capacity());
    }

    #[test]
    fn whatever_is_not_exactly_one_frame_is_damaged() {
        let mut framed = Vec::new();
        Compressor::new().compress(3, &text(1000), &mut framed);
        let mut decompressor = Decompressor::new();
        let mut out = Vec::new();
        for length in 0..framed.len() {
            assert!(
                decompressor.decompress(&framed[..length], &mut out).is_err(),
                "cut at {length}"
            );
        }
        let twice = [&framed[..], &framed[FRAME..]].concat();
        assert!(decompressor.decompress(&twice, &mut out).is_err());
        let skipped = [&framed[..], &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]].concat();
        assert!(decompressor.decompress(&skipped, &mut out).is_err());
        framed[0] = 2;
        assert!(decompressor.decompress(&framed, &mut out).is_err());
        // The context is still good.
        framed[0] = 1;
        decompressor.decompress(&framed, &mut out).unwrap();
        assert_eq!(out, text(1000));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(framed in prop::collection::vec(any::<u8>(), 0..300), codec in 0u8..3) {
            let mut framed = framed;
            if let Some(first) = framed.first_mut() {
                *first = codec;
            }
            let _ = Decompressor::new().decompress(&framed, &mut Vec::new());
        }

        #[test]
        fn one_context_serves_blobs_of_all_kinds(blobs in prop::collection::vec((0usize..300_000, any::<bool>(), -3i32..6), 1..6)) {
            let mut compressor = Compressor::new();
            let mut decompressor = Decompressor::new();
            let mut out = Vec::new();
            for (length, noisy, level) in blobs {
                let plaintext = if noisy { noise(length as u64, length) } else { text(length) };
                let mut framed = Vec::new();
                compressor.compress(level, &plaintext, &mut framed);
                decompressor.decompress(&framed, &mut out).unwrap();
                prop_assert!(out == plaintext);
            }
        }
    }
}
