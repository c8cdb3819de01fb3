//! The walk: threads that walk stretches ahead of the one who reads them, and the delivery in path order.
//!
//! Three maps in path order hold all there is: stretches to be walked, stretches that a thread is walking, finds that
//! wait to be read. A free thread takes the first stretch. The reader takes what comes first of all: finds are
//! delivered, a running stretch is waited for, one that nobody has begun the reader walks itself; so the walk never
//! stands still, even with no thread at all. Threads stop when the finds that wait outweigh the budget.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::excludes::{Excludes, Filter};
use super::folder::Descriptors;
use super::found::SourceError;
use super::left_out::LeftOut;
use super::roots::Roots;
use super::step::take_root;
use super::stretch::{Finds, Item, NAMES_MOST, Rules, Scratch, Stretch};
use crate::format::tree::entry::compare_paths;
use crate::words::{Error, Result};

/// Finds may wait until they occupy this much; then threads pause.
const AHEAD_BYTES: usize = 8 * 1024 * 1024;

/// Stretches that wait to be walked, at which threads pause.
const STRETCHES_MOST: usize = 1_024;

/// Items after which a batch is handed out although more is there.
const BATCH_ITEMS: usize = 1_024;

/// Items that follow one another in path order.
pub type Batch = Vec<Item>;

/// How a source is read.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// What is left out.
    pub excludes: Excludes,
    /// Stay in the file system of each source: what is mounted in it is kept as an empty folder.
    pub one_file_system: bool,
    /// Folders that are left out whatever path leads to them, unless they are named as sources: the program's own.
    pub left_out: Vec<PathBuf>,
    /// The folder that relative sources start from; by default the process's own.
    pub here: PathBuf,
    /// Threads that walk ahead; 0 means as many as the machine has, from 2 to 8.
    pub threads: usize,
    /// Folders that stay open at once; 0 means a quarter of what the process may open. Each thread needs ten more.
    pub open_folders: usize,
    /// Names of one folder that are held at once; a larger folder is listed in several passes. 0 means a million.
    pub names_at_once: usize,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            excludes: Excludes::default(),
            one_file_system: false,
            left_out: Vec::new(),
            here: PathBuf::from("."),
            threads: 0,
            open_folders: 0,
            names_at_once: 0,
        }
    }
}

impl SourceOptions {
    /// What was left out on purpose, as text, for the snapshot's record.
    pub fn left_out(&self) -> Vec<String> {
        LeftOut::texts(&self.excludes, self.one_file_system)
    }
}

/// A walk through sources: an iterator over batches of items.
#[derive(Debug)]
pub struct Walk {
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Pool {
    rules: Rules,
    state: Mutex<State>,
    /// There is a stretch for a thread, or nothing more to do.
    work: Condvar,
    /// What the reader waits for may be there.
    ready: Condvar,
}

#[derive(Debug, Default)]
struct State {
    todo: BTreeMap<Place, Stretch>,
    running: BTreeSet<Place>,
    found: BTreeMap<Place, Finds>,
    /// What the finds weigh.
    ahead: usize,
    idle: usize,
    reader_waits: bool,
    stop: bool,
    /// A thread has died.
    broken: bool,
}

/// A path, ordered as the items are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place(Vec<u8>);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_paths(&self.0, &other.0)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Walk {
    /// Starts to walk the sources.
    ///
    /// Fails when a pattern or a path makes no sense, when two sources would be stored at one place, and when there is
    /// none of the sources; one that is missing among others is an item's error.
    pub fn new(sources: &[PathBuf], options: SourceOptions) -> Result<Self> {
        let descriptors = Descriptors::new(options.open_folders);
        let rules = Rules {
            roots: Roots::new(sources, &options.here, &descriptors)?,
            filter: Filter::new(options.excludes)?,
            one_file_system: options.one_file_system,
            left_out: options.left_out.iter().filter_map(|path| identity_of(path)).collect(),
            met: Mutex::default(),
            descriptors,
            names_most: if options.names_at_once == 0 {
                NAMES_MOST
            } else {
                options.names_at_once
            },
            excluded: AtomicU64::new(0),
        };
        let mut scratch = Scratch::new();
        let mut state = State::default();
        let mut finds = Finds::default();
        let frame =
            take_root(&rules, &mut scratch, &mut finds).map_err(|error| Error::io("read", &options.here, error))?;
        state.add_finds(Place(Vec::new()), finds);
        state.add_stretch(frame.and_then(|frame| Stretch::new(Vec::new(), frame)));
        let pool = Arc::new(Pool {
            rules,
            state: Mutex::new(state),
            work: Condvar::new(),
            ready: Condvar::new(),
        });
        let mut walk = Self {
            pool,
            threads: Vec::new(),
            scratch,
        };
        for at in 0..threads(options.threads) {
            let pool = Arc::clone(&walk.pool);
            let builder = std::thread::Builder::new().name(format!("walk-{at}"));
            match builder.spawn(move || pool.work()) {
                Ok(thread) => walk.threads.push(thread),
                // The reader walks by itself what no thread does.
                Err(error) => tracing::debug!(%error, "Could not start a thread to walk"),
            }
        }
        Ok(walk)
    }

    /// How many items the excludes have left out up to here; a folder counts once, with all that is in it.
    pub fn excluded(&self) -> u64 {
        self.pool.rules.excluded.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Where folders of `left_out` were met up to here.
    pub fn left_out(&self) -> Vec<Vec<u8>> {
        self.pool
            .rules
            .met
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Device and inode of a folder; what is not there needs not be left out.
fn identity_of(folder: &std::path::Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(folder).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

impl Iterator for Walk {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.pool.next(&mut self.scratch)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.pool.lock().stop = true;
        self.pool.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
        wanted => wanted,
    }
}

/// What comes first of all.
enum First {
    Finds,
    Running,
    Stretch,
    Nothing,
}

impl State {
    fn first(&self) -> First {
        let found = self.found.first_key_value().map(|(place, _)| place);
        let running = self.running.first();
        let todo = self.todo.first_key_value().map(|(place, _)| place);
        let before = |left: Option<&Place>, right: Option<&Place>| match (left, right) {
            (Some(left), Some(right)) => left <= right,
            (left, _) => left.is_some(),
        };
        // Finds come first where a stretch that is left over begins: they were found before it.
        if before(found, running) && before(found, todo) {
            First::Finds
        } else if before(running, todo) {
            First::Running
        } else if todo.is_some() {
            First::Stretch
        } else {
            First::Nothing
        }
    }

    fn add_finds(&mut self, place: Place, finds: Finds) {
        if !finds.items.is_empty() {
            self.ahead += finds.weight;
            self.found.insert(place, finds);
        }
    }

    fn add_stretch(&mut self, stretch: Option<Stretch>) {
        if let Some(stretch) = stretch {
            self.todo.insert(Place(stretch.begins()), stretch);
        }
    }

    /// Takes the first stretch, and leaves the rest of it for others.
    fn begin(&mut self) -> Option<(Place, Stretch)> {
        let (place, stretch) = self.todo.pop_first()?;
        let (stretch, rest) = stretch.split();
        self.add_stretch(rest);
        self.running.insert(place.clone());
        Some((place, stretch))
    }

    fn end(&mut self, place: Place, finds: Finds, rest: Option<Stretch>) {
        self.running.remove(&place);
        self.add_finds(place, finds);
        self.add_stretch(rest);
    }

    fn has_room(&self) -> bool {
        self.ahead < AHEAD_BYTES && self.todo.len() < STRETCHES_MOST
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes as many threads as there is work for.
    fn call(&self, state: &State) {
        if state.idle > 0 && !state.todo.is_empty() && state.has_room() {
            self.work.notify_one();
        }
    }

    /// What a thread does until the walk is over.
    fn work(&self) {
        let _guard = Guard(self);
        let mut scratch = Scratch::new();
        let mut state = self.lock();
        loop {
            if state.stop {
                return;
            }
            let begun = if state.has_room() { state.begin() } else { None };
            let Some((place, stretch)) = begun else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            self.call(&state);
            drop(state);
            let mut finds = Finds::default();
            let rest = stretch.walk(&self.rules, &mut scratch, &mut finds);
            state = self.lock();
            state.end(place, finds, rest);
            if state.reader_waits && !matches!(state.first(), First::Running) {
                state.reader_waits = false;
                self.ready.notify_one();
            }
        }
    }

    fn next(&self, scratch: &mut Scratch) -> Option<Batch> {
        let mut batch = Batch::new();
        let mut state = self.lock();
        loop {
            if state.broken {
                state.stop = true;
                state.todo.clear();
                state.running.clear();
                state.broken = false;
                let why = std::io::Error::other("a thread of the walk has died, and what it was to read is missing");
                batch.push(Err(SourceError::new(b"", "walk", why)));
                return Some(batch);
            }
            match state.first() {
                First::Finds => {
                    let Some((_, finds)) = state.found.pop_first() else {
                        continue;
                    };
                    state.ahead = state.ahead.saturating_sub(finds.weight);
                    if batch.is_empty() {
                        batch = finds.items;
                    } else {
                        batch.extend(finds.items);
                    }
                    if batch.len() < BATCH_ITEMS {
                        continue;
                    }
                }
                First::Running if batch.is_empty() => {
                    state.reader_waits = true;
                    state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                First::Stretch if batch.is_empty() => {
                    let Some((place, stretch)) = state.begin() else {
                        continue;
                    };
                    self.call(&state);
                    drop(state);
                    let mut finds = Finds::default();
                    let rest = stretch.walk(&self.rules, scratch, &mut finds);
                    state = self.lock();
                    state.end(place, finds, rest);
                    continue;
                }
                First::Nothing if batch.is_empty() => return None,
                First::Running | First::Stretch | First::Nothing => {}
            }
            // Half of the budget is free again: enough for the threads to wake for.
            if state.ahead < AHEAD_BYTES / 2 {
                self.call(&state);
            }
            return Some(batch);
        }
    }
}

/// Tells the reader when a thread panics, so that it does not wait for ever.
struct Guard<'a>(&'a Pool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().broken = true;
            self.0.ready.notify_all();
        }
    }
}
