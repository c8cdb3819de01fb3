//! Packs on their way to the store, and the segments that name those that have arrived.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::super::open::Repository;
use super::super::view::segment_name;
use super::poisoned;
use crate::crypto::Secret;
use crate::format::envelope::Kind;
use crate::format::object::Binding;
use crate::format::segment::SegmentBuilder;
use crate::pack::{OpenPack, SealedPack};
use crate::store::Store;
use crate::store::cache::Cache;
use crate::words::{BlobKind, Error, RepositoryId, Result, SessionId};

/// A segment is written at the latest after so many packs or so long: what a killed backup loses.
const SEGMENT_PACKS: u32 = 8;
const SEGMENT_AGE: Duration = Duration::from_secs(60);

/// Uploads packs in the background.
pub(super) struct Uploads {
    packs: Option<Sender<OpenPack>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    cache: Option<Cache>,
    repository: RepositoryId,
    session: SessionId,
    index: Secret,
    padding: bool,
    state: Mutex<State>,
}

struct State {
    segment: SegmentBuilder,
    segment_since: Instant,
    segment_packs: u32,
    segments: u32,
    packs: u32,
    bytes: u64,
    failure: Option<Error>,
}

/// What has arrived when all is done.
pub(super) struct Arrived {
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
                segment_since: Instant::now(),
                segment_packs: 0,
                segments: 0,
                packs: 0,
                bytes: 0,
                failure: None,
            }),
        });
        // No queue beyond the threads: a pack waits in the hand of whoever filled it, so memory stays bounded.
        let (sender, receiver) = bounded(0);
        let threads = (0..count)
            .map(|_| {
                let (shared, receiver) = (Arc::clone(&shared), receiver.clone());
                std::thread::spawn(move || shared.run(&receiver))
            })
            .collect();
        Self {
            packs: Some(sender),
            threads,
            shared,
        }
    }

    /// Hands over a full pack; waits while all threads are busy.
    pub(super) fn send(&self, pack: OpenPack) -> Result<()> {
        if let Some(failure) = self.shared.state.lock().map_err(poisoned)?.failure.take() {
            return Err(failure);
        }
        let gone = || Error::Internal("the threads that upload are gone".into());
        self.packs.as_ref().ok_or_else(gone)?.send(pack).map_err(|_| gone())
    }

    /// Bytes and packs that have arrived.
    pub(super) fn stored(&self) -> (u64, u32) {
        self.shared
            .state
            .lock()
            .map(|state| (state.bytes, state.packs))
            .unwrap_or_default()
    }

    /// Waits until every pack has arrived.
    pub(super) fn finish(mut self) -> Result<Arrived> {
        self.join();
        let mut state = self.shared.state.lock().map_err(poisoned)?;
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let rest = (state.segment_packs > 0).then(|| std::mem::replace(&mut state.segment, SegmentBuilder::new()));
        Ok(Arrived {
            segments: state.segments,
            rest,
            packs: state.packs,
            bytes: state.bytes,
        })
    }

    fn join(&mut self) {
        self.packs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err()
                && let Ok(mut state) = self.shared.state.lock()
            {
                state.failure = Some(Error::Internal("a thread that uploads packs died".into()));
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
            let stored = self.store(pack);
            if let Err(error) = stored
                && let Ok(mut state) = self.state.lock()
            {
                state.failure.get_or_insert(error);
            }
        }
    }

    fn store(&self, pack: OpenPack) -> Result<()> {
        let pack = pack.seal(self.padding, &self.index);
        self.store.put(&pack.name.object(), pack.object.clone())?;
        if let Some(cache) = &self.cache
            && pack.table.entries.iter().all(|entry| entry.kind == BlobKind::Tree)
        {
            cache.put(&pack.name.object(), &pack.object);
        }
        self.arrived(&pack)
    }

    /// Only packs that are durable are named by a segment.
    fn arrived(&self, pack: &SealedPack) -> Result<()> {
        let (number, segment) = {
            let mut state = self.state.lock().map_err(poisoned)?;
            state.packs += 1;
            state.bytes += pack.object.len() as u64;
            state.segment.add(pack.info(), &pack.table.entries);
            state.segment_packs += 1;
            if state.segment_packs < SEGMENT_PACKS && state.segment_since.elapsed() < SEGMENT_AGE {
                return Ok(());
            }
            state.segment_packs = 0;
            state.segment_since = Instant::now();
            state.segments += 1;
            (
                state.segments - 1,
                std::mem::replace(&mut state.segment, SegmentBuilder::new()),
            )
        };
        put_segment(&self.store, self.repository, self.session, number, segment, &self.index)
    }
}

/// Stores one segment of a session.
pub(super) fn put_segment(
    store: &Store,
    repository: RepositoryId,
    session: SessionId,
    number: u32,
    segment: SegmentBuilder,
    index: &Secret,
) -> Result<()> {
    let name = segment_name(session, number);
    let binding = Binding {
        repository,
        kind: Kind::Segment,
        name: &name,
    };
    store.put(&name, binding.framed_object(index, b"", &segment.finish()).into())
}
