//! Cutting one huge file with several threads, with the same cuts as in sequence.
//!
//! The file is divided into regions, and each is cut as if it were a file of its own. Its first cuts are probably not the file's, but after a few
//! chunks two runs of the chunker over the same bytes agree, and once they agree at one place they agree from there on. So
//!
//! 1. each region passes over a *head* without giving out its chunks, then gives out every chunk that begins before the next region does
//!    ([`Chunker::cut_region`]);
//! 2. each *seam* runs on from where one region ended to a chunk that the next one gave out: normally its very first ([`Chunker::cut_seam`]);
//! 3. [`Chunker::join`] puts them together, and where a seam has not met its region, as in a long stretch of zeros, runs on until it does.
//!
//! Steps 1 and 2 may be done in any order and on any thread; a region costs its head twice, and nothing is held in memory but one window each.
//! What a region gave out and no seam met (rare) is not part of the result: blobs made of it are garbage like those of an interrupted backup.
//!
//! ```text
//! region 0 ├──┼────┼───┼──┼─────┼──┤
//! region 1            head ├┄┄┄┼┄┄┄┄┄┼──┼───┼────┼──┤          ┄ cut, not given out
//! seam 0                           ├─┼──┤                       from the end of region 0 to the first chunk of region 1
//! ```

use std::io;
use std::ops::Range;

use super::stream::{Cut, Window};
use super::{Chunker, Rule};

/// Something that can be read at any place, by many threads at once.
pub trait ReadAt: Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 only at the end, or for an empty buffer.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..))
            .unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// A part of a file that one thread cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins.
    pub start: u64,
    /// Where the next one begins; the end of the file for the last.
    pub end: u64,
    /// How many bytes from its start are cut without giving out chunks; 0 for the first.
    head: u64,
}

/// What a region or a seam found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// The chunks that were given out: where each begins, and what the caller made of it.
    pub chunks: Vec<(u64, T)>,
    /// Where the last chunk ends; where the run began if there is none.
    pub end: u64,
}

impl<T> Found<T> {
    fn begins(&self, offset: u64) -> bool {
        self.chunks.binary_search_by_key(&offset, |(start, _)| *start).is_ok()
    }
}

impl Chunker {
    /// Divides `size` bytes into regions of about `length` bytes, at least sixteen of the largest chunks. A file of less than two is one region.
    pub fn regions(&self, size: u64, length: u64) -> Vec<Region> {
        let largest = self.size_max() as u64;
        let head = match &self.0 {
            // Four of the largest are about sixteen average ones: then all but one of thousands of seams meet their region (measured below).
            Rule::Content(_) => 4 * largest,
            // Fixed chunks agree at once, as regions begin at multiples.
            Rule::Fixed(_) => 0,
        };
        let length = length.max(16 * largest).next_multiple_of(largest);
        let count = (size / length).max(1);
        (0..count)
            .map(|number| Region {
                start: number * length,
                end: if number + 1 == count {
                    size
                } else {
                    (number + 1) * length
                },
                head: if number == 0 { 0 } else { head },
            })
            .collect()
    }

    /// Cuts one region, and gives out the chunks that begin in it, its head excepted. `size` is that of the file; bytes beyond are not read.
    ///
    /// # Errors
    /// Of the source or of `give`.
    pub fn cut_region<T, E: From<io::Error>>(
        &self,
        source: &(impl ReadAt + ?Sized),
        size: u64,
        region: Region,
        window: &mut Window,
        mut give: impl FnMut(Cut<'_>) -> Result<T, E>,
    ) -> Result<Found<T>, E> {
        let first = region.start + region.head;
        let mut found = Found {
            chunks: Vec::new(),
            end: region.start,
        };
        let mut cuts = self.cuts(Tail::new(source, region.start, size), window);
        while found.end < region.end {
            let Some(Cut { offset, data }) = cuts.next()? else {
                break;
            };
            let offset = region.start + offset;
            found.end = offset + data.len() as u64;
            if offset >= first {
                found.chunks.push((offset, give(Cut { offset, data })?));
            }
        }
        Ok(found)
    }

    /// Cuts from the end of the region before `next` to the first chunk that `next` gave out. Gives up soon if that is not met; [`Self::join`] goes on.
    ///
    /// # Errors
    /// Of the source or of `give`.
    pub fn cut_seam<T, E: From<io::Error>>(
        &self,
        source: &(impl ReadAt + ?Sized),
        size: u64,
        before: &Found<T>,
        next: (Region, &Found<T>),
        window: &mut Window,
        give: impl FnMut(Cut<'_>) -> Result<T, E>,
    ) -> Result<Found<T>, E> {
        let (region, found) = next;
        let until = region.start + 2 * region.head;
        self.run_on(source, size, before.end..until, found, window, give)
    }

    /// Puts the chunks in order, as a single run over the file gives them. `seams[i]` lies between `found[i]` and `found[i + 1]`.
    ///
    /// The second part of the result is where the chunks end: `size`, or less if the file shrank meanwhile. Without a gap in any case.
    ///
    /// # Errors
    /// Of the source or of `give`.
    #[expect(clippy::too_many_arguments, reason = "each has a type of its own")]
    pub fn join<T, E: From<io::Error>>(
        &self,
        source: &(impl ReadAt + ?Sized),
        size: u64,
        regions: &[Region],
        found: Vec<Found<T>>,
        seams: Vec<Found<T>>,
        window: &mut Window,
        mut give: impl FnMut(Cut<'_>) -> Result<T, E>,
    ) -> Result<(Vec<(u64, T)>, u64), E> {
        let mut chunks = Vec::new();
        let mut end = 0;
        // Whether the region before this one was part of the run: then so is the seam after it.
        let mut joined = false;
        let mut seams = seams.into_iter();
        for (number, (region, found)) in regions.iter().zip(found).enumerate() {
            if let Some(seam) = (number > 0).then(|| seams.next()).flatten()
                && joined
            {
                end = seam.end;
                chunks.extend(seam.chunks);
            }
            let more = self.run_on(source, size, end..region.end, &found, window, &mut give)?;
            end = more.end;
            chunks.extend(more.chunks);
            joined = found.begins(end);
            if joined {
                chunks.extend(found.chunks.into_iter().filter(|(start, _)| *start >= end));
                end = found.end;
            }
        }
        Ok((chunks, end))
    }

    /// Cuts from the start of `range` until a chunk of `found` begins there, or the end of the range or of the file is reached.
    fn run_on<T, E: From<io::Error>>(
        &self,
        source: &(impl ReadAt + ?Sized),
        size: u64,
        range: Range<u64>,
        found: &Found<T>,
        window: &mut Window,
        mut give: impl FnMut(Cut<'_>) -> Result<T, E>,
    ) -> Result<Found<T>, E> {
        let mut more = Found {
            chunks: Vec::new(),
            end: range.start,
        };
        let mut cuts = self.cuts(Tail::new(source, range.start, size), window);
        while more.end < range.end && !found.begins(more.end) {
            let Some(Cut { offset, data }) = cuts.next()? else {
                break;
            };
            let offset = range.start + offset;
            more.end = offset + data.len() as u64;
            more.chunks.push((offset, give(Cut { offset, data })?));
        }
        Ok(more)
    }
}

/// A reader over part of a source.
struct Tail<'a, S: ?Sized> {
    source: &'a S,
    offset: u64,
    end: u64,
}

impl<'a, S: ?Sized> Tail<'a, S> {
    fn new(source: &'a S, offset: u64, end: u64) -> Self {
        Self { source, offset, end }
    }
}

impl<S: ReadAt + ?Sized> io::Read for Tail<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let count = self.source.read_at(&mut buffer[..room], self.offset)?.min(room);
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{noise, reference, small};
    use super::*;

    /// All three steps; the first two in an order that nobody would choose. Also says how many bytes were given out in vain.
    fn cut_in_regions(chunker: &Chunker, data: &[u8], length: u64) -> (Vec<usize>, u64) {
        let size = data.len() as u64;
        let regions = chunker.regions(size, length);
        let mut window = Window::new();
        let mut given = 0;
        let mut give = |cut: Cut<'_>| {
            let start = usize::try_from(cut.offset).unwrap();
            assert_eq!(cut.data, &data[start..start + cut.data.len()]);
            given += cut.data.len() as u64;
            io::Result::Ok(cut.data.len())
        };
        let mut found: Vec<_> = regions
            .iter()
            .rev()
            .map(|region| chunker.cut_region(data, size, *region, &mut window, &mut give).unwrap())
            .collect();
        found.reverse();
        let mut seams: Vec<_> = (1..regions.len())
            .rev()
            .map(|number| {
                let next = (regions[number], &found[number]);
                chunker
                    .cut_seam(data, size, &found[number - 1], next, &mut window, &mut give)
                    .unwrap()
            })
            .collect();
        seams.reverse();
        let (chunks, end) = chunker
            .join(data, size, &regions, found, seams, &mut window, &mut give)
            .unwrap();
        assert_eq!(end, size);
        let mut cuts = Vec::new();
        for (start, length) in chunks {
            let start = usize::try_from(start).unwrap();
            assert_eq!(start, cuts.last().copied().unwrap_or(0), "there is a gap");
            cuts.push(start + length);
        }
        (cuts, given - size)
    }

    proptest! {
        #[test]
        fn cuts_do_not_depend_on_the_number_of_regions(seed: u64, size in 0usize..300_000, length in 0u64..100_000) {
            let data = noise(seed, size);
            let (cuts, _) = cut_in_regions(&small(), &data, length);
            prop_assert_eq!(cuts, reference(&small(), &data));
        }

        #[test]
        fn stretches_without_any_cut_are_no_exception(seed: u64, runs in prop::collection::vec((any::<bool>(), 1usize..60_000), 1..12)) {
            let mut data = Vec::new();
            for (number, (noisy, length)) in runs.into_iter().enumerate() {
                let run = if noisy { noise(seed ^ number as u64, length) } else { vec![0; length] };
                data.extend(run);
            }
            let (cuts, _) = cut_in_regions(&small(), &data, 0);
            prop_assert_eq!(cuts, reference(&small(), &data));
        }

        #[test]
        fn fixed_chunks_are_the_same_in_regions(size in 0usize..1_000_000, length in 0u64..300_000) {
            let chunker = Chunker::fixed(4096).unwrap();
            let data = vec![1; size];
            let (cuts, in_vain) = cut_in_regions(&chunker, &data, length);
            prop_assert_eq!(cuts, reference(&chunker, &data));
            prop_assert_eq!(in_vain, 0);
        }
    }

    #[test]
    fn little_is_cut_in_vain() {
        let data = noise(3, 32 << 20);
        let (cuts, in_vain) = cut_in_regions(&small(), &data, 0);
        assert_eq!(cuts, reference(&small(), &data));
        println!("{in_vain} bytes in vain of {}", data.len());
        assert!(
            in_vain < data.len() as u64 / 1000,
            "{in_vain} bytes were given out in vain"
        );
    }

    #[test]
    fn a_file_that_shrinks_meanwhile_ends_early_and_has_no_gap() {
        let data = noise(4, 100_000);
        let chunker = small();
        let size = 100_000;
        let regions = chunker.regions(size, 0);
        assert!(regions.len() > 4);
        let mut window = Window::new();
        let give = |cut: Cut<'_>| io::Result::Ok(cut.data.len());
        let half = &data[..50_000];
        // The later regions were read while the file was whole.
        let found: Vec<_> = regions
            .iter()
            .enumerate()
            .map(|(number, region)| {
                let seen = if number < 4 { half } else { &data[..] };
                chunker.cut_region(seen, size, *region, &mut window, give).unwrap()
            })
            .collect();
        let seams = (1..regions.len())
            .map(|number| {
                let next = (regions[number], &found[number]);
                chunker
                    .cut_seam(half, size, &found[number - 1], next, &mut window, give)
                    .unwrap()
            })
            .collect();
        let (chunks, end) = chunker
            .join(half, size, &regions, found, seams, &mut window, give)
            .unwrap();
        assert_eq!(end, 50_000);
        assert_eq!(chunks.iter().map(|(_, length)| *length as u64).sum::<u64>(), end);
    }
}
