//! Which primitive took how much of a thread's time.

use rustix::time::{ClockId, clock_gettime};

/// One of the primitives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    List,
    Read,
    Cut,
    Hash,
    Compress,
    Seal,
    Store,
}

impl Part {
    pub const ALL: [Self; 7] = [
        Self::List,
        Self::Read,
        Self::Cut,
        Self::Hash,
        Self::Compress,
        Self::Seal,
        Self::Store,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Cut => "cut",
            Self::Hash => "hash",
            Self::Compress => "compress",
            Self::Seal => "seal",
            Self::Store => "store",
        }
    }
}

/// CPU seconds of each primitive.
#[derive(Clone, Copy, Default)]
pub struct Spent([f64; 7]);

impl Spent {
    /// Does something, on this primitive's account.
    pub fn on<T>(&mut self, part: Part, does: impl FnOnce() -> T) -> T {
        let begun = cpu_s(ClockId::ThreadCPUTime);
        let result = does();
        self.0[part as usize] += cpu_s(ClockId::ThreadCPUTime) - begun;
        result
    }

    pub fn of(&self, part: Part) -> f64 {
        self.0[part as usize]
    }

    pub fn add(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// CPU seconds of this process.
pub fn process_cpu_s() -> f64 {
    cpu_s(ClockId::ProcessCPUTime)
}

fn cpu_s(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
