//! Huge files: their regions are cut, and the chunks saved, by all workers at once, with the same cuts as in sequence ([`crate::chunker::regions`]).
//!
//! A file is taken in lots of a few regions for each worker, so that memory does not grow with it. The worker that came upon the file asks the others
//! to help; whoever finishes the second of two neighbours also cuts the seam between them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::jobs::{Piece, Workers};
use super::large::is_zero;
use crate::chunker::regions::Found;
use crate::chunker::{Cut, ReadAt, Region, Window};
use crate::format::tree::Extent;
use crate::repository::Scratch;
use crate::source::OpenFile;
use crate::words::{Error, Result};

/// Data of at least so many of the largest chunks is cut in regions: a gibibyte, of 8 MiB.
const HUGE_CHUNKS: u64 = 128;
/// A region has at most so many of the largest chunks; its head of four is read and cut twice.
const REGION_CHUNKS: u64 = 64;
/// Regions of one lot, for each worker.
const REGIONS_EACH: u64 = 4;

/// Part of a file.
struct Part {
    file: Arc<OpenFile>,
    start: u64,
}

impl ReadAt for Part {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, self.start + offset)
    }
}

/// Why a region was not cut to its end.
pub(super) enum Failure {
    /// The file could not be read: it fails by itself.
    Read(io::Error),
    /// A person wants to stop.
    Interrupted,
    /// The backup cannot go on.
    Backup(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// A call for help with a lot.
pub(super) struct RegionJob(Arc<Lot>);

impl RegionJob {
    /// Cuts regions of the lot until none is left.
    pub(super) fn run(self, workers: &Workers<'_, '_>, scratch: &mut Scratch) {
        self.0.help(workers, scratch);
    }
}

/// Regions of one file that are cut at the same time.
struct Lot {
    part: Part,
    /// How far the data goes; the regions may end before.
    length: u64,
    regions: Vec<Region>,
    state: Mutex<State>,
    settled: Condvar,
}

struct State {
    /// The next region that nobody has taken.
    next: usize,
    /// Regions and seams that are being cut.
    running: usize,
    found: Vec<Option<Arc<Found<Extent>>>>,
    seams: Vec<Option<Found<Extent>>>,
    failure: Option<Failure>,
}

/// Whether so much data is worth cutting in regions.
pub(super) fn is_huge(workers: &Workers<'_, '_>, length: u64) -> bool {
    workers.count > 1 && length >= HUGE_CHUNKS * workers.chunker.size_max() as u64
}

/// Cuts the data in `range` of a file and saves its chunks. Gives them, without a gap, and where they end: the end of the range, or less if the file
/// has become shorter. `push` gets them in order.
pub(super) fn read(
    workers: &Workers<'_, '_>,
    file: &Arc<OpenFile>,
    range: std::ops::Range<u64>,
    scratch: &mut Scratch,
    mut push: impl FnMut(Extent, &mut Scratch) -> Result<()>,
) -> std::result::Result<u64, Failure> {
    let helpers = workers.count.max(1) as u64;
    let mut at = range.start;
    while at < range.end {
        let left = range.end - at;
        let most = (REGION_CHUNKS * workers.chunker.size_max() as u64).min((range.end - range.start) / helpers);
        let lot = Lot::new(workers, file, at, left, (most * helpers * REGIONS_EACH).min(left), most);
        let (chunks, end) = lot.cut(workers, scratch)?;
        for (_, extent) in chunks {
            push(extent, scratch).map_err(Failure::Backup)?;
        }
        let whole = end >= lot.regions.last().map_or(0, |region| region.end);
        at += end;
        if !whole {
            // The file has become shorter; what is there now is all there is.
            break;
        }
    }
    Ok(at)
}

impl Lot {
    fn new(
        workers: &Workers<'_, '_>,
        file: &Arc<OpenFile>,
        start: u64,
        length: u64,
        of_lot: u64,
        most: u64,
    ) -> Arc<Self> {
        let regions = workers.chunker.regions(of_lot, most);
        let count = regions.len();
        Arc::new(Self {
            part: Part {
                file: Arc::clone(file),
                start,
            },
            length,
            regions,
            state: Mutex::new(State {
                next: 0,
                running: 0,
                found: vec![None; count],
                seams: (1..count).map(|_| None).collect(),
                failure: None,
            }),
            settled: Condvar::new(),
        })
    }

    /// Cuts all regions, with whoever has time, and joins them.
    fn cut(
        self: &Arc<Self>,
        workers: &Workers<'_, '_>,
        scratch: &mut Scratch,
    ) -> std::result::Result<(Vec<(u64, Extent)>, u64), Failure> {
        for _ in 1..self.regions.len().min(workers.count) {
            // Who has no time does not come.
            let _ = workers.chunks.0.try_send(Piece::Region(RegionJob(Arc::clone(self))));
        }
        self.help(workers, scratch);
        let mut state = self.lock()?;
        while state.running > 0 {
            state = self.settled.wait(state).map_err(|_| died())?;
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let found: Option<Vec<_>> = state
            .found
            .iter_mut()
            .map(|found| found.take().map(Arc::unwrap_or_clone))
            .collect();
        let seams: Option<Vec<_>> = state.seams.iter_mut().map(Option::take).collect();
        drop(state);
        let (Some(found), Some(seams)) = (found, seams) else {
            return Err(died());
        };
        let mut window = Window::new();
        let save = |cut: Cut<'_>| save(workers, cut, scratch);
        workers
            .chunker
            .join(&self.part, self.length, &self.regions, found, seams, &mut window, save)
    }

    fn help(&self, workers: &Workers<'_, '_>, scratch: &mut Scratch) {
        let mut window = Window::new();
        while let Some(number) = self.take() {
            // A panic on the way must not leave the others waiting.
            let mut taken = Taken {
                lot: self,
                failure: Some(died()),
            };
            taken.failure = self.region(workers, number, &mut window, scratch).err();
        }
    }

    /// Takes the next region, unless something has failed.
    fn take(&self) -> Option<usize> {
        let mut state = self.state.lock().ok()?;
        let number = state.next;
        if number >= self.regions.len() || state.failure.is_some() {
            return None;
        }
        state.next += 1;
        state.running += 1;
        Some(number)
    }

    fn lock(&self) -> std::result::Result<MutexGuard<'_, State>, Failure> {
        self.state.lock().map_err(|_| died())
    }

    /// Cuts a region, and the seams at its ends if its neighbours are there already.
    fn region(
        &self,
        workers: &Workers<'_, '_>,
        number: usize,
        window: &mut Window,
        scratch: &mut Scratch,
    ) -> std::result::Result<(), Failure> {
        let region = self.regions[number];
        let found = workers
            .chunker
            .cut_region(&self.part, self.length, region, window, |cut| {
                save(workers, cut, scratch)
            })?;
        let found = Arc::new(found);
        let (before, after) = {
            let mut state = self.lock()?;
            state.found[number] = Some(Arc::clone(&found));
            let neighbour = |place: Option<usize>| place.and_then(|place| state.found.get(place).cloned().flatten());
            (neighbour(number.checked_sub(1)), neighbour(Some(number + 1)))
        };
        let mut seam = |place: usize, before: &Found<Extent>, next: &Found<Extent>| {
            let next = (self.regions[place + 1], next);
            let save = |cut: Cut<'_>| save(workers, cut, scratch);
            let seam = workers
                .chunker
                .cut_seam(&self.part, self.length, before, next, window, save)?;
            self.lock()?.seams[place] = Some(seam);
            Ok::<_, Failure>(())
        };
        if let Some(before) = before {
            seam(number - 1, &before, &found)?;
        }
        if let Some(after) = after {
            seam(number, &found, &after)?;
        }
        Ok(())
    }
}

/// A region that somebody is cutting.
struct Taken<'a> {
    lot: &'a Lot,
    failure: Option<Failure>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.lot.state.lock() {
            state.running -= 1;
            if let Some(failure) = self.failure.take() {
                state.failure.get_or_insert(failure);
            }
        }
        self.lot.settled.notify_all();
    }
}

fn died() -> Failure {
    Failure::Backup(Error::Internal("a thread that cuts a large file died".into()))
}

/// Saves a chunk; zeros are a hole.
fn save(workers: &Workers<'_, '_>, cut: Cut<'_>, scratch: &mut Scratch) -> std::result::Result<Extent, Failure> {
    if workers.progress.interrupted() {
        return Err(Failure::Interrupted);
    }
    workers.read(cut.data.len() as u64);
    if is_zero(cut.data) {
        return Ok(Extent::Hole {
            length: cut.data.len() as u64,
        });
    }
    let blob = workers.writer.save_large(cut.data, scratch).map_err(Failure::Backup)?;
    Ok(Extent::Chunk {
        blob,
        length: cut.data.len() as u32,
    })
}
