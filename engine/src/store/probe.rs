//! Does this store do what the protocol needs? Asked of the store itself, by racing writers, never of its documentation.
//!
//! The protocol leans on create-if-absent (who commits, who fences, whose generation) and on reads and lists that show what was written
//! (who runs). Some stores ignore the condition of a put and answer 200: those take backups and give restores all the same, because these write
//! names that nobody else uses; but maintenance there must be alone.

use std::fmt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::{Created, Store};
use crate::words::id::random_bytes;
use crate::words::{Error, ObjectName, Result};

const RACES: usize = 3;
const RACERS: usize = 16;
/// Objects for reading, listing and timing.
const OBJECTS: usize = 8;

/// What a store was seen to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Of many who create one name, exactly one succeeds, and the others are told.
    pub create_if_absent: bool,
    /// What was written can be read at once, also by those who have just missed it.
    pub read_after_write: bool,
    /// What was written is in the next list, and what was deleted is not.
    pub list_after_write: bool,
    /// Parts of objects can be read.
    pub ranges: bool,
    /// What the probe has written could be deleted. A credential that may only write is no failure.
    pub deletes: bool,
    /// How long requests took, one at a time.
    pub latency: Latency,
}

/// Medians.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Writing 1 KiB.
    pub put: Duration,
    /// Reading it.
    pub get: Duration,
    /// Listing a few objects.
    pub list: Duration,
}

/// What can be done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it, by any number of processes at once.
    Everything,
    /// Backups and restores; maintenance only with `--exclusive`, by which a person vouches that nothing else runs.
    ExclusiveMaintenance,
    /// Backups and restores; no maintenance.
    NoMaintenance,
    /// Nothing: not even parts of objects can be read.
    Nothing,
}

impl ProbeReport {
    /// What can be done with this store.
    pub fn verdict(&self) -> Verdict {
        match (
            self.ranges,
            self.read_after_write && self.list_after_write,
            self.create_if_absent,
        ) {
            (false, ..) => Verdict::Nothing,
            (true, false, _) => Verdict::NoMaintenance,
            (true, true, false) => Verdict::ExclusiveMaintenance,
            (true, true, true) => Verdict::Everything,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "This store does all that is needed: backups, restores and maintenance, any number at once",
            Self::ExclusiveMaintenance => {
                "This store lets a second writer replace an object. Backups and restores work, any number at once; \
                 maintenance works only with --exclusive, when nothing else runs"
            }
            Self::NoMaintenance => {
                "This store does not show at once what was written. Backups and restores work; maintenance would not be safe and is refused"
            }
            Self::Nothing => "This store cannot give parts of objects and cannot be used",
        })
    }
}

/// Tries a store out below a prefix of its own (`probe/<random>/`), of which nothing stays behind. Takes about 120 requests.
///
/// # Errors
/// What the store says, when it refuses to be read or written at all.
pub fn probe(store: &Store) -> Result<ProbeReport> {
    let trial = Trial::new(store);
    let outcome = trial.run();
    // Also after a failure; a credential without the right to delete shows here.
    let deletes = trial.clean_up();
    let mut report = outcome?;
    report.deletes = deletes;
    Ok(report)
}

/// The quick form, for use before maintenance: what can be done with the store as far as one object shows. Costs about eight requests.
///
/// # Errors
/// What the store says.
pub fn for_maintenance(store: &Store) -> Result<Verdict> {
    let name = format!("probe/{}", HEXLOWER.encode(&random_bytes::<16>()));
    let outcome = try_one(store, &name);
    let deleted = store.delete(std::slice::from_ref(&name));
    let verdict = outcome?;
    deleted?;
    // What was deleted must be gone from lists as well.
    let lags = is_listed(store, &name)?;
    Ok(if lags { Verdict::NoMaintenance } else { verdict })
}

fn try_one(store: &Store, name: &str) -> Result<Verdict> {
    let (mine, other) = (racer_bytes(0), racer_bytes(1));
    // Some stores remember for a while that a name was missed.
    let missed = match store.get(name) {
        Ok(_) => false,
        Err(Error::Missing { .. }) => true,
        Err(error) => return Err(error),
    };
    let created = matches!(store.create(name, mine.clone())?, Created::Done);
    let reads = match store.get(name) {
        Ok(there) => there == mine,
        Err(Error::Missing { .. }) => false,
        Err(error) => return Err(error),
    };
    if !(missed && reads && is_listed(store, name)?) {
        return Ok(Verdict::NoMaintenance);
    }
    let refused = matches!(store.create(name, other)?, Created::Exists(there) if there == mine);
    // Where the condition is emulated by a look before the write, writers one after another see no difference.
    Ok(if created && refused && !store.has_only_looked() {
        Verdict::Everything
    } else {
        Verdict::ExclusiveMaintenance
    })
}

fn is_listed(store: &Store, name: &str) -> Result<bool> {
    Ok(store.list(name)?.iter().any(|object| object.name == name))
}

struct Trial<'a> {
    store: &'a Store,
    prefix: String,
}

impl<'a> Trial<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            prefix: format!("probe/{}/", HEXLOWER.encode(&random_bytes::<16>())),
        }
    }

    fn run(&self) -> Result<ProbeReport> {
        let (reads, ranges, mut latency) = self.write_and_read()?;
        let (lists, list) = self.list()?;
        latency.list = list;
        let mut create_if_absent = true;
        for race in 0..RACES {
            create_if_absent &= self.race(&format!("{}race-{race}", self.prefix))?;
        }
        create_if_absent &= !self.store.has_only_looked();
        Ok(ProbeReport {
            create_if_absent,
            read_after_write: reads,
            list_after_write: lists,
            ranges,
            deletes: false,
            latency,
        })
    }

    fn name(&self, number: usize) -> ObjectName {
        format!("{}object-{number}", self.prefix)
    }

    /// Whether what was written is read back at once, whole and in part, and how long that takes.
    fn write_and_read(&self) -> Result<(bool, bool, Latency)> {
        let (mut reads, mut ranges) = (true, true);
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for number in 0..OBJECTS {
            let (name, bytes) = (self.name(number), object_bytes(number));
            // Some stores remember for a while that a name was missed.
            reads &= matches!(self.store.get(&name), Err(Error::Missing { .. }));
            puts.push(timed(|| self.store.put(&name, bytes.clone()))?.1);
            match timed(|| self.store.get(&name)) {
                Ok((there, took)) => {
                    reads &= there == bytes;
                    gets.push(took);
                }
                Err(Error::Missing { .. }) => reads = false,
                Err(error) => return Err(error),
            }
            match self.store.get_range(&name, 100..300) {
                Ok(part) => ranges &= part == bytes.slice(100..300),
                Err(Error::Missing { .. }) => reads = false,
                Err(_) => ranges = false,
            }
        }
        Ok((
            reads,
            ranges,
            Latency {
                put: median(puts),
                get: median(gets),
                list: Duration::ZERO,
            },
        ))
    }

    /// Whether lists show each write and each delete at once.
    fn list(&self) -> Result<(bool, Duration)> {
        let mut names: Vec<ObjectName> = (0..OBJECTS).map(|number| self.name(number)).collect();
        let mut shows = true;
        let mut lists = Vec::new();
        let mut look = |names: &[ObjectName], shows: &mut bool| -> Result<()> {
            let (listed, took) = timed(|| self.store.list(&self.prefix))?;
            *shows &= listed.iter().map(|object| &object.name).eq(names);
            lists.push(took);
            Ok(())
        };
        look(&names, &mut shows)?;
        for number in OBJECTS..OBJECTS + 4 {
            self.store.put(&self.name(number), object_bytes(number))?;
            names.push(self.name(number));
            names.sort_unstable();
            look(&names, &mut shows)?;
        }
        let gone = names.remove(0);
        match self.store.delete(std::slice::from_ref(&gone)) {
            Ok(()) => {
                look(&names, &mut shows)?;
                shows &= matches!(self.store.get(&gone), Err(Error::Missing { .. }));
            }
            // It may not delete: that is seen again at the end.
            Err(_) => drop(gone),
        }
        Ok((shows, median(lists)))
    }

    /// Whether of many who create one name at once exactly one wins, for good.
    fn race(&self, name: &str) -> Result<bool> {
        let (barrier, winners, fair) = (Barrier::new(RACERS), AtomicUsize::new(0), AtomicUsize::new(0));
        let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let racer = |number: usize| {
                let (barrier, winners, fair) = (&barrier, &winners, &fair);
                move || {
                    barrier.wait();
                    match self.store.create(name, racer_bytes(number))? {
                        Created::Done => {
                            winners.fetch_add(1, Ordering::Relaxed);
                            // Somebody may have overwritten it in the meantime.
                            fair.fetch_add(
                                usize::from(self.store.get(name)? == racer_bytes(number)),
                                Ordering::Relaxed,
                            );
                        }
                        Created::Exists(_) => {}
                    }
                    Ok(())
                }
            };
            let threads: Vec<_> = (0..RACERS).map(|number| scope.spawn(racer(number))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Err(Error::Internal("a racer died".to_owned()))))
                .collect()
        });
        let (winners, fair) = (winners.into_inner(), fair.into_inner());
        // A refusal is an answer too; a store that lets nobody win does not do what is needed.
        if winners == 0 {
            outcomes.into_iter().collect::<Result<()>>()?;
            return Ok(false);
        }
        Ok(winners == 1 && fair == 1 && outcomes.iter().all(Result::is_ok))
    }

    fn clean_up(&self) -> bool {
        let mut names: Vec<ObjectName> = (0..OBJECTS + 4).map(|number| self.name(number)).collect();
        names.extend((0..RACES).map(|race| format!("{}race-{race}", self.prefix)));
        self.store.delete(&names).is_ok() && self.store.list(&self.prefix).is_ok_and(|left| left.is_empty())
    }
}

fn object_bytes(number: usize) -> Bytes {
    (0..1024_usize).map(|at| (at * 31 + number) as u8).collect()
}

fn racer_bytes(number: usize) -> Bytes {
    Bytes::from(format!("racer {number}"))
}

fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let begun = Instant::now();
    what().map(|done| (done, begun.elapsed()))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
