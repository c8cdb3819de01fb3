//! Packs on their way to the store, and the segments that name those that have arrived.
//!
//! What must hold: a pack that was handed over has arrived, or nothing after it goes well: the first failure stays, every later pack is refused
//! for it, and who asks at the end is told of it again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::super::open::Repository;
use super::super::view::segment_name;
use super::poisoned;
use crate::crypto::Secret;
use crate::format::envelope::Kind;
use crate::format::object::Binding;
use crate::format::segment::SegmentBuilder;
use crate::pack::{OpenPack, SealedPack};
use crate::store::cache::Cache;
use crate::store::{Created, Store};
use crate::words::{BlobKind, Error, RepositoryId, Result, SessionId};

/// A segment is written when so many packs have arrived, or when one has waited so long: what a backup that is killed loses besides its open packs,
/// unless the next one runs on the same machine.
pub(super) const SEGMENT_PACKS: u32 = 8;
const SEGMENT_AGE: Duration = Duration::from_secs(10);
/// How often it is looked whether packs have waited long enough.
const SEGMENT_LOOK: Duration = Duration::from_secs(1);

/// Buffers that wait to be used again at most: one is filled for each that is given back.
const SPARE_MAX: usize = 2;

/// Uploads packs in the background.
pub(super) struct Uploads {
    packs: Option<Sender<OpenPack>>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped to end the thread that looks after packs that wait.
    ends: Option<Sender<()>>,
    shared: Arc<Shared>,
    sent: AtomicU32,
}

struct Shared {
    store: Store,
    cache: Option<Cache>,
    repository: RepositoryId,
    session: SessionId,
    index: Secret,
    padding: bool,
    state: Mutex<State>,
    /// Buffers of packs that have arrived.
    spare: Mutex<Vec<Vec<u8>>>,
}

struct State {
    segment: SegmentBuilder,
    /// When the first of its packs arrived.
    segment_since: Option<Instant>,
    segment_packs: u32,
    segments: u32,
    packs: u32,
    bytes: u64,
    /// The first failure, for good.
    failure: Option<Error>,
    /// A segment that was numbered is not there.
    segment_lost: bool,
}

/// What has arrived when all is done.
pub(super) struct Arrived {
    /// Why not every pack that was handed over has.
    pub(super) failure: Option<Error>,
    /// The segments do not follow one another without a gap: they cannot be counted.
    pub(super) segment_lost: bool,
    /// Segments that were written as objects.
    pub(super) segments: u32,
    /// What no segment names yet.
    pub(super) rest: Option<SegmentBuilder>,
    /// Packs.
    pub(super) packs: u32,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl Uploads {
    pub(super) fn start(repository: &Repository, session: SessionId, count: usize) -> Self {
        let shared = Arc::new(Shared {
            store: repository.store.clone(),
            cache: repository.cache.clone(),
            repository: repository.id(),
            session,
            index: repository.keys.index.clone(),
            padding: repository.config.padding == 1,
            state: Mutex::new(State {
                segment: SegmentBuilder::new(),
                segment_since: None,
                segment_packs: 0,
                segments: 0,
                packs: 0,
                bytes: 0,
                failure: None,
                segment_lost: false,
            }),
            spare: Mutex::default(),
        });
        // No queue beyond the threads: a pack waits in the hand of whoever filled it, so memory stays bounded.
        let (sender, receiver) = bounded(0);
        let mut threads: Vec<_> = (0..count)
            .map(|_| {
                let (shared, receiver) = (Arc::clone(&shared), receiver.clone());
                std::thread::spawn(move || shared.run(&receiver))
            })
            .collect();
        let (ends, ended) = bounded(0);
        let waiting = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || waiting.look(&ended)));
        Self {
            packs: Some(sender),
            threads,
            ends: Some(ends),
            shared,
            sent: AtomicU32::new(0),
        }
    }

    /// Hands over a full pack; waits while all threads are busy.
    pub(super) fn send(&self, pack: OpenPack) -> Result<()> {
        if let Some(failure) = &self.shared.state.lock().map_err(poisoned)?.failure {
            return Err(again(failure));
        }
        let gone = || Error::Internal("the threads that upload are gone".into());
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.packs.as_ref().ok_or_else(gone)?.send(pack).map_err(|_| gone())
    }

    /// A buffer for a pack of about so many bytes, used before if there is one.
    pub(super) fn buffer(&self, capacity: usize) -> Vec<u8> {
        let mut spare = self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| (capacity..=capacity * 2).contains(&buffer.capacity());
        let found = spare.iter().position(fits);
        found.map_or_else(Vec::new, |place| spare.swap_remove(place))
    }

    /// Bytes and packs that have arrived.
    pub(super) fn stored(&self) -> (u64, u32) {
        self.shared
            .state
            .lock()
            .map(|state| (state.bytes, state.packs))
            .unwrap_or_default()
    }

    /// Waits until every pack has arrived, or failed to.
    pub(super) fn finish(mut self) -> Result<Arrived> {
        self.join();
        let mut state = self.shared.state.lock().map_err(poisoned)?;
        let sent = self.sent.load(Ordering::Relaxed);
        let missing = || Error::Internal(format!("{} of {sent} packs have arrived", state.packs));
        let failure = match &state.failure {
            Some(failure) => Some(again(failure)),
            None => (state.packs != sent).then(missing),
        };
        let rest = (state.segment_packs > 0).then(|| std::mem::replace(&mut state.segment, SegmentBuilder::new()));
        Ok(Arrived {
            failure,
            segment_lost: state.segment_lost,
            segments: state.segments,
            rest,
            packs: state.packs,
            bytes: state.bytes,
        })
    }

    fn join(&mut self) {
        (self.packs, self.ends) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err()
                && let Ok(mut state) = self.shared.state.lock()
            {
                let died = || Error::Internal("a thread that uploads packs died".into());
                state.failure.get_or_insert_with(died);
            }
        }
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    fn run(&self, packs: &Receiver<OpenPack>) {
        for pack in packs {
            if let Err(error) = self.store(pack) {
                self.fail(error);
            }
        }
    }

    /// The first failure stays.
    fn fail(&self, error: Error) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.get_or_insert(error);
    }

    fn store(&self, pack: OpenPack) -> Result<()> {
        let pack = pack.seal(self.padding, &self.index);
        self.store.put(&pack.name.object(), pack.object.clone())?;
        if let Some(cache) = &self.cache
            && pack.table.entries.iter().all(|entry| entry.kind == BlobKind::Tree)
        {
            cache.put(&pack.name.object(), &pack.object);
        }
        self.arrived(&pack)?;
        if let Some(buffer) = pack.into_buffer() {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < SPARE_MAX {
                spare.push(buffer);
            }
        }
        Ok(())
    }

    /// Only packs that are durable are named by a segment.
    fn arrived(&self, pack: &SealedPack) -> Result<()> {
        let mut state = self.state.lock().map_err(poisoned)?;
        state.packs += 1;
        state.bytes += pack.object.len() as u64;
        state.segment.add(pack.info(), &pack.table.entries);
        state.segment_packs += 1;
        state.segment_since.get_or_insert_with(Instant::now);
        self.put_due_segment(state)
    }

    /// Sees to it that packs do not wait for others that may never come.
    fn look(&self, ended: &Receiver<()>) {
        while ended.recv_timeout(SEGMENT_LOOK) == Err(RecvTimeoutError::Timeout) {
            let state = self.state.lock().map_err(poisoned);
            if let Err(error) = state.and_then(|state| self.put_due_segment(state)) {
                self.fail(error);
            }
        }
    }

    fn put_due_segment(&self, mut state: MutexGuard<'_, State>) -> Result<()> {
        let old = state.segment_since.is_some_and(|since| since.elapsed() >= SEGMENT_AGE);
        if state.segment_packs < SEGMENT_PACKS && !old {
            return Ok(());
        }
        state.segment_packs = 0;
        state.segment_since = None;
        let segment = std::mem::replace(&mut state.segment, SegmentBuilder::new()).finish();
        drop(state);
        let put = loop {
            let mut state = self.state.lock().map_err(poisoned)?;
            state.segments += 1;
            let number = state.segments - 1;
            drop(state);
            match put_segment(
                &self.store,
                self.repository,
                self.session,
                number,
                &segment,
                &self.index,
            ) {
                Ok(false) => {}
                put => break put.map(drop),
            }
        };
        if put.is_err() {
            self.state.lock().map_err(poisoned)?.segment_lost = true;
        }
        put
    }
}

/// The same failure once more, for the next who asks.
fn again(failure: &Error) -> Error {
    if let Error::Store {
        action,
        name,
        failure,
        cause,
    } = failure
    {
        let (name, cause) = (name.clone(), cause.clone());
        return Error::Store {
            action,
            name,
            failure: *failure,
            cause,
        };
    }
    Error::Internal(format!("a pack could not be stored: {failure}"))
}

/// Stores one segment of a session. False when another has this number: somebody took the session for dead and named its packs (`killed.rs`); then the
/// next number is as good, since a pack may stand in several segments.
pub(super) fn put_segment(
    store: &Store,
    repository: RepositoryId,
    session: SessionId,
    number: u32,
    segment: &[u8],
    index: &Secret,
) -> Result<bool> {
    let name = segment_name(session, number);
    let binding = Binding {
        repository,
        kind: Kind::Segment,
        name: &name,
    };
    let created = store.create(&name, binding.framed_object(index, b"", segment).into())?;
    Ok(matches!(created, Created::Done))
}
