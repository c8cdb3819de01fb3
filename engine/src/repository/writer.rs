//! A session from `open` to `end`: blobs in, packs, segments and references out, and the commit.
//!
//! The order of writes is FORMAT.md's, 11: packs, then the segments that name them, then references, then `end`, each durable before the next.
//! A blob is referred to only where the view that was read *after* `open` was written neither condemns nor calls dead its pack.

mod advance;
mod commit;
mod killed;
mod uploads;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use self::advance::Advanced;
use self::uploads::Uploads;
use super::open::Repository;
use super::view::View;
use crate::compress::{Compressor, LEVEL_LARGE, LEVEL_SMALL};
use crate::crypto::{BlobIds, BlobSealer, PublicKey, Secret};
use crate::format::keys::{Halves, WrappedKey};
use crate::format::open::{Open, SessionKind, open_name, seal_for_volume, wrap_at_key, wrap_key};
use crate::format::references::Used;
use crate::format::segment::PackInfo;
use crate::index::{Pending, Place};
use crate::pack::OpenPack;
use crate::words::{BlobId, BlobKind, Error, PackName, Result, SessionId, Timestamp};

/// The machine and process that a session runs on; so that others on the machine can see whether it still does.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The machine's name.
    pub host: String,
    /// The kernel's boot id and the name space of process numbers: those for whom both are equal see the same processes.
    pub boot: String,
    /// This process's number.
    pub process: u32,
    /// Whether a process of this machine and boot is still running.
    pub is_running: fn(u32) -> bool,
    /// Name and version of the program.
    pub program: String,
}

impl Machine {
    /// Whether a session's process ran here and is gone. Unknown is not gone.
    pub(crate) fn misses(&self, open: &Open) -> bool {
        open.host == self.host && open.boot == self.boot && !(self.is_running)(open.process)
    }
}

/// How a session writes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The present.
    pub now: Timestamp,
    /// Where it runs.
    pub machine: Machine,
    /// What it does.
    pub kind: SessionKind,
    /// Which source it backs up; zeros for other kinds.
    pub source: [u8; 16],
    /// The compression level, -7 to 19; without one, what suits slabs, chunks and trees.
    pub level: Option<i32>,
    /// How many packs are uploaded at once, 1 to 64. Each costs a pack of memory.
    pub uploads: usize,
    /// Seals the session's tree key for the node that has the source.
    pub volume_key: Option<Secret>,
}

/// What a thread's buffer keeps for the next blob; few blobs are longer.
const SCRATCH_KEPT: usize = 4 << 20;
/// Lost blobs that are remembered at most.
const LOST_MAX: usize = 64 << 10;

/// What one thread keeps between blobs: contexts and buffers.
pub struct Scratch {
    compressor: Compressor,
    buffer: Vec<u8>,
}

impl Scratch {
    /// Fresh ones.
    pub fn new() -> Self {
        Self {
            compressor: Compressor::new(),
            buffer: Vec::new(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// What a session has written so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) blobs: AtomicU64,
    pub(crate) plaintext: AtomicU64,
}

/// What a session has written so far, as plain numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Blobs that were not in the repository.
    pub blobs: u64,
    /// Their plaintext bytes.
    pub plaintext: u64,
    /// Bytes of the packs that were stored.
    pub stored: u64,
    /// Packs that were stored.
    pub packs: u32,
}

/// A session that writes. All methods but those that end it may be called from many threads.
pub struct Writer<'r> {
    repository: &'r Repository,
    options: WriterOptions,
    session: SessionId,
    open_hash: [u8; 32],
    view: Arc<View>,
    ids: Option<BlobIds>,
    sealers: Option<[BlobSealer; 2]>,
    tree_key: Secret,
    at_key: Secret,
    pending: Pending,
    /// Blobs that the index knows and that could not be read: they are saved again by whoever has them.
    lost: RwLock<HashSet<BlobId>>,
    open_packs: [Mutex<Option<OpenPack>>; 2],
    next_pack: AtomicU32,
    uploads: Uploads,
    references: Mutex<HashMap<PackName, Used>>,
    /// Packs that a repack copies from: as long as they are not dead, the keys of what it copies are kept.
    sources: Mutex<HashSet<PackName>>,
    /// Held for reading while a blob is looked up and referred to, for writing while the session advances: what is referred to was
    /// not condemned in the view that holds at that moment.
    gate: RwLock<()>,
    advanced: Advanced,
    tally: Tally,
}

/// The highest epoch's public key.
fn newest(epochs: &[(u32, Halves)]) -> Option<(u32, PublicKey)> {
    epochs
        .iter()
        .rev()
        .find_map(|(number, halves)| Some((*number, halves.public?)))
}

impl<'r> Writer<'r> {
    /// Opens a session that writes blobs: writes `open`, then reads the view.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for readers and maintainers; what the store says.
    pub fn begin(repository: &'r Repository, options: WriterOptions) -> Result<Self> {
        let keys = repository.keys();
        let needed = || repository.role_too_small("a writer or an owner");
        let (data, tree) = (
            newest(&keys.data).ok_or_else(needed)?,
            newest(&keys.tree).ok_or_else(needed)?,
        );
        let ids = repository.ids()?.clone();
        let (session, id) = (SessionId::random(), repository.id());
        let (data_key, tree_key) = (Secret::random(), Secret::random());
        let wrapped = vec![
            wrap_key(id, session, BlobKind::Data, data, &data_key)?,
            wrap_key(id, session, BlobKind::Tree, tree, &tree_key)?,
        ];
        let volume = options
            .volume_key
            .as_ref()
            .map(|key| seal_for_volume(id, session, key, &tree_key));
        let sealers = [(BlobKind::Data, data_key), (BlobKind::Tree, tree_key.clone())]
            .map(|(kind, key)| BlobSealer::new(id, session, kind, key));
        let mut writer = Self::open(repository, options, session, wrapped, volume)?;
        (writer.ids, writer.sealers, writer.tree_key) = (Some(ids), Some(sealers), tree_key);
        Ok(writer)
    }

    /// Opens a session that moves sealed blobs; it has no keys of its own.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for readers; what the store says.
    pub(crate) fn begin_repack(repository: &'r Repository, options: WriterOptions) -> Result<Self> {
        Self::open(repository, options, SessionId::random(), Vec::new(), None)
    }

    fn open(
        repository: &'r Repository,
        options: WriterOptions,
        session: SessionId,
        wrapped: Vec<WrappedKey>,
        volume: Option<([u8; 8], Vec<u8>)>,
    ) -> Result<Self> {
        let keys = repository.keys();
        let maintenance = keys
            .maintenance
            .public
            .ok_or_else(|| repository.role_too_small("a writer, a maintainer or an owner"))?;
        let at_key = Secret::random();
        let open = Open {
            kind: options.kind,
            started: options.now,
            host: options.machine.host.clone(),
            process: options.machine.process,
            boot: options.machine.boot.clone(),
            program: options.machine.program.clone(),
            keys: wrapped,
            volume,
            source: options.source,
            pins: Vec::new(),
            at_key: Some(wrap_at_key(repository.id(), session, maintenance, &at_key)?),
        };
        let object = open.to_object(repository.id(), session, &keys.index)?;
        let open_hash = *blake3::hash(&object).as_bytes();
        repository.store.put(&open_name(session), object.into())?;
        let mut view = repository.load_view_beside(session)?;
        if repository.name_packs_of_killed(&view, &options.machine) {
            view = repository.load_view_beside(session)?;
        }
        let view = Arc::new(view);
        Ok(Self {
            repository,
            session,
            open_hash,
            references: Mutex::default(),
            sources: Mutex::default(),
            view,
            ids: None,
            sealers: None,
            tree_key: Secret::random(),
            at_key,
            pending: Pending::new(repository.cache_folder.as_deref()),
            lost: RwLock::default(),
            open_packs: [Mutex::new(None), Mutex::new(None)],
            next_pack: AtomicU32::new(0),
            uploads: Uploads::start(repository, session, options.uploads.clamp(1, 64)),
            gate: RwLock::new(()),
            advanced: Mutex::new((0, Instant::now())),
            tally: Tally::default(),
            options,
        })
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What the session saw when it began.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The repository that is written.
    pub fn repository(&self) -> &'r Repository {
        self.repository
    }

    /// What has been written so far.
    pub fn written(&self) -> Written {
        let (stored, packs) = self.uploads.stored();
        Written {
            blobs: self.tally.blobs.load(Ordering::Relaxed),
            plaintext: self.tally.plaintext.load(Ordering::Relaxed),
            stored,
            packs,
        }
    }

    /// Makes sure that the repository has this blob, and that the snapshot refers to it.
    ///
    /// # Errors
    /// What the store said to this or an earlier pack of the session.
    pub fn save(&self, kind: BlobKind, plaintext: &[u8], scratch: &mut Scratch) -> Result<BlobId> {
        self.save_at(self.options.level.unwrap_or(LEVEL_SMALL), kind, plaintext, scratch)
    }

    /// [`Writer::save`] for data in large blobs: many small files in one, or a chunk that was cut by content.
    ///
    /// # Errors
    /// As [`Writer::save`].
    pub fn save_large(&self, data: &[u8], scratch: &mut Scratch) -> Result<BlobId> {
        self.save_at(self.options.level.unwrap_or(LEVEL_LARGE), BlobKind::Data, data, scratch)
    }

    fn save_at(&self, level: i32, kind: BlobKind, plaintext: &[u8], scratch: &mut Scratch) -> Result<BlobId> {
        let (Some(ids), Some(sealers)) = (&self.ids, &self.sealers) else {
            return Err(Error::Internal("a repack saves no new blobs".into()));
        };
        let id = ids.id(kind, plaintext);
        if self.carry(kind, &id)? || !self.pending.claim(kind, &id)? {
            return Ok(id);
        }
        let buffer = &mut scratch.buffer;
        buffer.clear();
        buffer.resize(crate::crypto::aead::NONCE, 0);
        scratch.compressor.compress(level, plaintext, buffer);
        sealers[kind as usize].seal(&id, buffer);
        self.tally.blobs.fetch_add(1, Ordering::Relaxed);
        self.tally
            .plaintext
            .fetch_add(plaintext.len() as u64, Ordering::Relaxed);
        self.append(kind, &id, plaintext.len() as u32, self.session, buffer)?;
        if buffer.capacity() > SCRATCH_KEPT {
            buffer.clear();
            buffer.shrink_to(SCRATCH_KEPT);
        }
        Ok(id)
    }

    /// Refers to a blob that should be there already. False when it is not, or may not be referred to: then it must be saved again.
    ///
    /// # Errors
    /// What the store said to an earlier pack of the session.
    pub fn carry(&self, kind: BlobKind, id: &BlobId) -> Result<bool> {
        self.keep_up();
        let _steady = self.gate.read().map_err(poisoned)?;
        if !self.is_lost(id)
            && let Some(place) = self.view.index.locate(kind, id)
        {
            self.refer(&place)?;
            return Ok(true);
        }
        self.pending.contains(kind, id)
    }

    /// Takes note that a blob cannot be read, whatever the index says: it is not referred to, and saved again when it comes.
    pub fn give_up(&self, id: &BlobId) {
        let mut lost = self.lost.write().unwrap_or_else(PoisonError::into_inner);
        if lost.len() < LOST_MAX {
            lost.insert(*id);
        }
    }

    fn is_lost(&self, id: &BlobId) -> bool {
        self.lost.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// The keyed hash of a small file; its first 8 bytes go into its entry.
    pub fn file_hash(&self, content: &[u8]) -> [u8; 32] {
        self.ids.as_ref().map_or([0; 32], |ids| ids.file_hash(content))
    }

    fn refer(&self, place: &Place) -> Result<()> {
        let mut references = self.references.lock().map_err(poisoned)?;
        let used = match references.entry(place.pack) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let info = self.view.index.pack(&place.pack)?;
                let info = info.ok_or_else(|| Error::Internal(format!("pack {} is not in the index", place.pack)))?;
                free.insert(Used::none(info.blobs))
            }
        };
        used.insert(place.ordinal);
        Ok(())
    }

    /// The pack that a repack wants to copy from; nothing when it is condemned by now. The session does not advance past a generation that condemns it.
    ///
    /// # Errors
    /// What the index says.
    pub(crate) fn copy_from(&self, pack: &PackName) -> Result<Option<PackInfo>> {
        let _steady = self.gate.read().map_err(poisoned)?;
        let info = self.view.index.pack(pack)?;
        if info.is_some() {
            self.sources.lock().map_err(poisoned)?.insert(*pack);
        }
        Ok(info)
    }

    /// Appends a sealed blob to the open pack of its kind. Gives the pack's number and the blob's ordinal.
    ///
    /// # Errors
    /// What the store said to an earlier pack of the session.
    pub(crate) fn append(
        &self,
        kind: BlobKind,
        id: &BlobId,
        plaintext: u32,
        key_session: SessionId,
        sealed: &[u8],
    ) -> Result<(u32, u16)> {
        let target = match kind {
            BlobKind::Data => self.repository.config.pack_bytes,
            BlobKind::Tree => self.repository.config.tree_pack_bytes,
        } as usize;
        self.keep_up();
        let mut open = self.open_packs[kind as usize].lock().map_err(poisoned)?;
        // A blob that would make the pack overshoot begins the next one.
        if open
            .as_ref()
            .is_some_and(|pack| !pack.is_empty() && pack.len() + sealed.len() > target)
            && let Some(full) = open.take()
        {
            self.uploads.send(full)?;
        }
        let pack = open.get_or_insert_with(|| {
            let number = self.next_pack.fetch_add(1, Ordering::Relaxed);
            OpenPack::within(
                self.uploads.buffer(target),
                self.repository.id(),
                PackName {
                    session: self.session,
                    number,
                },
                target,
            )
        });
        let ordinal = pack.append(*id, kind, plaintext, key_session, sealed);
        let number = pack.name().number;
        if pack.is_full(target)
            && let Some(full) = open.take()
        {
            self.uploads.send(full)?;
        }
        Ok((number, ordinal))
    }
}

fn poisoned<T>(_: std::sync::PoisonError<T>) -> Error {
    Error::Internal("a thread of the session died".into())
}
