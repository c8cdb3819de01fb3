//! For tests: a store that fails by a seeded plan. It wraps any backend and is as good as that one when the plan is empty.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::backend::{Attempt, Backend, Failure, ObjectInfo, Put};
use crate::words::{ObjectName, StoreFailure};

/// What goes wrong, and how often: each number is out of a thousand operations.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// The seed: the same plan and the same order of operations fail in the same way.
    pub seed: u64,
    /// The operation fails and nothing was done.
    pub fails: u32,
    /// The operation is done and its reply is lost.
    pub loses_replies: u32,
    /// The store asks to slow down.
    pub is_busy: u32,
    /// Operations take up to so long.
    pub delay_max: Duration,
    /// The power goes at this operation (counted from 0): it is done or not, by chance, and nothing works from then on.
    pub power_lost_at: Option<u64>,
    /// Creates ignore the condition and overwrite, and say they are done.
    pub overwrites: bool,
    /// The store knows no condition: creates look first, then write.
    pub looks: bool,
    /// The newest objects, so many, do not show up in lists yet.
    pub lists_lag: usize,
    /// The newest objects, so many, cannot be read yet.
    pub reads_lag: usize,
    /// The put of this pack (counted from 0) is refused, and no other.
    pub refuses_pack: Option<u64>,
}

/// A backend that fails by a plan.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Backend>,
    plan: FaultPlan,
    operations: AtomicU64,
    packs: AtomicU64,
    has_power: AtomicBool,
    newest: Mutex<VecDeque<ObjectName>>,
}

#[derive(PartialEq, Eq)]
enum Fault {
    None,
    Before(Planned),
    After(Planned),
}

/// The failures that the plan knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Planned {
    Error,
    LostReply,
    Busy,
    NoPower,
}

impl Planned {
    fn failure(self) -> Failure {
        match self {
            Self::Error => Failure::passing(StoreFailure::Other, "planned failure"),
            Self::LostReply => Failure::passing(StoreFailure::Timeout, "planned loss of a reply"),
            Self::Busy => Failure::passing(StoreFailure::Busy, "planned slowness"),
            Self::NoPower => Failure::lasting(StoreFailure::Unreachable, "planned loss of power"),
        }
    }
}

impl Faulty {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, plan: FaultPlan) -> Self {
        Self {
            inner,
            plan,
            operations: AtomicU64::new(0),
            packs: AtomicU64::new(0),
            has_power: AtomicBool::new(true),
            newest: Mutex::default(),
        }
    }

    /// How many operations were asked for so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// Whether the power is still there.
    pub fn has_power(&self) -> bool {
        self.has_power.load(Ordering::SeqCst)
    }

    fn fault(&self) -> Fault {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        if !self.has_power() {
            return Fault::Before(Planned::NoPower);
        }
        let chance = mixed(self.plan.seed ^ mixed(number));
        if self.plan.power_lost_at.is_some_and(|at| number >= at) {
            self.has_power.store(false, Ordering::SeqCst);
            return if chance & 1 == 0 {
                Fault::Before(Planned::NoPower)
            } else {
                Fault::After(Planned::NoPower)
            };
        }
        if !self.plan.delay_max.is_zero() {
            let part = (mixed(chance) % 1000) as u32;
            std::thread::sleep(self.plan.delay_max * part / 1000);
        }
        let dice = (chance >> 8) as u32 % 1000;
        let FaultPlan {
            fails,
            loses_replies,
            is_busy,
            ..
        } = self.plan;
        match dice {
            _ if dice < fails => Fault::Before(Planned::Error),
            _ if dice < fails + is_busy => Fault::Before(Planned::Busy),
            _ if dice < fails + is_busy + loses_replies => Fault::After(Planned::LostReply),
            _ => Fault::None,
        }
    }

    fn with_faults<T>(&self, operation: impl FnOnce() -> Attempt<T>) -> Attempt<T> {
        match self.fault() {
            Fault::None => operation(),
            Fault::Before(failure) => Err(failure.failure()),
            Fault::After(failure) => {
                let _ = operation();
                Err(failure.failure())
            }
        }
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, VecDeque<ObjectName>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lags(&self, name: &str, lag: usize) -> bool {
        lag > 0 && self.newest().iter().rev().take(lag).any(|newest| newest == name)
    }
}

impl Backend for Faulty {
    fn create_root(&self) -> Attempt<()> {
        self.inner.create_root()
    }

    fn get(&self, name: &str, range: Option<Range<u64>>) -> Attempt<Bytes> {
        self.with_faults(|| {
            if self.lags(name, self.plan.reads_lag) {
                Err(Failure::not_found())
            } else {
                self.inner.get(name, range)
            }
        })
    }

    fn put(&self, name: &str, bytes: Bytes) -> Attempt<Put> {
        if name.starts_with("p/") && self.plan.refuses_pack == Some(self.packs.fetch_add(1, Ordering::SeqCst)) {
            return Err(Failure::lasting(StoreFailure::Denied, "planned refusal"));
        }
        self.with_faults(|| {
            let mut put = self.inner.put(name, bytes.clone())?;
            if self.plan.overwrites && put == Put::Exists {
                self.inner.delete(&[name.to_owned()])?;
                self.inner.put(name, bytes)?;
                put = Put::Done;
            }
            if self.plan.looks && put == Put::Done {
                put = Put::Looked;
            }
            let mut newest = self.newest();
            newest.push_back(name.to_owned());
            if newest.len() > self.plan.lists_lag.max(self.plan.reads_lag) {
                newest.pop_front();
            }
            Ok(put)
        })
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Attempt<Vec<ObjectInfo>> {
        self.with_faults(|| {
            let mut listed = self.inner.list(prefix, after)?;
            listed.retain(|object| !self.lags(&object.name, self.plan.lists_lag));
            Ok(listed)
        })
    }

    fn delete(&self, names: &[ObjectName]) -> Attempt<()> {
        self.with_faults(|| self.inner.delete(names))
    }
}

/// A mix of all bits (splitmix64), so that every operation has its own chance.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
