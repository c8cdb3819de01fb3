//! What the threads of a restore are given to do, and the files that several of them write.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::compare::{Comparison, SmallFile};
use super::link::{LaterName, Link};
use super::plan::PackRange;
use crate::format::tree::{EntryKind, Extent, Metadata};
use crate::target::file::Way;
use crate::target::{Existing, Failure, Folder, NewFile};

/// Something to make: where, dressed how, in place of what.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Box<[u8]>,
    pub(super) metadata: Metadata,
    pub(super) way: Way,
    /// Set for the first of a file's several names.
    pub(super) link: Option<Arc<Link>>,
}

impl Item {
    pub(super) fn path(&self) -> Vec<u8> {
        self.folder.path_of(&self.name)
    }
}

/// Where the content of a blob goes.
#[derive(Debug)]
pub(super) enum Use {
    /// A part of the blob is a whole file.
    Part { item: Item, offset: u32, size: u64 },
    /// The blob is a whole file.
    Whole { item: Item, size: u64 },
    /// The blob is a piece of a larger file.
    Piece {
        file: Arc<LargeFile>,
        offset: u64,
        length: u32,
    },
}

/// What a thread does in one go.
pub(super) enum Job {
    /// Fetch a part of a pack, and write every blob in it wherever it goes.
    Fetch(PackRange<Use>),
    /// Write a blob that is open already to some of the places it goes to.
    Write(Bytes, Vec<Use>),
    /// Make things that need no blob.
    Make(Vec<Little>),
    /// Compare small files with what is there, and fetch those that differ.
    Compare(Vec<SmallFile>),
    /// Compare a stretch of a large file with what is there.
    CompareLarge(Arc<Comparison>, Vec<(u64, Extent)>),
}

/// Something that needs no blob.
pub(super) enum Little {
    /// A file without bytes, or nothing but a hole.
    Empty {
        item: Item,
        size: u64,
    },
    Symlink {
        item: Item,
        target: Vec<u8>,
        existing: Option<Existing>,
    },
    Node {
        item: Item,
        kind: EntryKind,
    },
    /// It is right, but for its metadata.
    RefreshFile {
        item: Item,
        size: u64,
    },
    RefreshNode {
        item: Item,
    },
    LaterName(Arc<Link>, LaterName),
}

/// A file in several pieces, which any thread may write in any order.
#[derive(Debug)]
pub(super) struct LargeFile {
    item: Mutex<Option<Item>>,
    /// Its path below the target, for messages.
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    file: Mutex<Option<Arc<NewFile>>>,
    /// Pieces that are missing, and one for whoever still finds more of them.
    left: AtomicU64,
    failed: AtomicBool,
    /// Bytes that have been shown as done.
    shown: AtomicU64,
}

/// The last piece of a large file is there: what is left to do.
pub(super) struct Complete {
    pub(super) item: Item,
    /// Nothing if it could not even be made, or has failed.
    pub(super) file: Option<NewFile>,
}

impl LargeFile {
    pub(super) fn new(item: Item, size: u64) -> Arc<Self> {
        Arc::new(Self {
            path: item.path(),
            item: Mutex::new(Some(item)),
            size,
            file: Mutex::new(None),
            left: AtomicU64::new(1),
            failed: AtomicBool::new(false),
            shown: AtomicU64::new(0),
        })
    }

    /// The blob that begins at `offset` of the file is still to come.
    pub(super) fn piece(self: &Arc<Self>, offset: u64, length: u32) -> Use {
        self.left.fetch_add(1, Ordering::Relaxed);
        Use::Piece {
            file: Arc::clone(self),
            offset,
            length,
        }
    }

    /// The file to write to; it is made when it is first needed.
    pub(super) fn open(&self) -> Result<Arc<NewFile>, Failure> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let item = self.item.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(item) = &*item else {
            return Err(Failure::refused("It has been closed already"));
        };
        let made = Arc::new(NewFile::create(&item.folder, &item.name, &item.metadata, item.way)?);
        *file = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Looks at, or changes, what is to be made.
    pub(super) fn with_item<T>(&self, act: impl FnOnce(&mut Item) -> T) -> Option<T> {
        self.item
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .map(act)
    }

    /// Notes that it cannot be whole any more. Returns whether that is news.
    pub(super) fn fail(&self) -> bool {
        !self.failed.swap(true, Ordering::Relaxed)
    }

    /// Whether a piece of it has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// So many of its bytes are shown as done. A broken snapshot may have more than the file, which are not.
    pub(super) fn show(&self, bytes: u64) -> u64 {
        let before = self.shown.fetch_add(bytes, Ordering::Relaxed);
        bytes.min(self.size.saturating_sub(before))
    }

    /// How many have been.
    pub(super) fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed).min(self.size)
    }

    /// One piece is done, or whoever looked for pieces is. The last one gets the file to finish it.
    pub(super) fn release(&self) -> Option<Complete> {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        let item = self.item.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // Nobody else can hold it: every writer let go of it before its piece was done.
        let file = self
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .and_then(Arc::into_inner);
        Some(Complete { item, file })
    }
}
