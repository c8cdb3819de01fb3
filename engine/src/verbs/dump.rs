//! Dump: one file of a snapshot as a stream, or a folder as a tar archive.
//!
//! The output is made in units, in order: a unit is a lot of small entries, or a stretch of a large file. Several threads fetch and open units ahead of
//! the one that is being written; how far ahead, and so the memory, does not depend on the size of anything.

pub mod tar;

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::format::tree::{Content, Entry, EntryKind, Metadata, TreeReader};
use crate::repository::{Repository, StoredSnapshot};
use crate::verbs::restore::extents::{Batch, Batches, Piece};
use crate::verbs::restore::pipeline::JobQueue;
use crate::words::{BlobId, BlobKind, Error, Progress, Result};

/// How many units are made ahead, at most.
const AHEAD: usize = 8;
/// A lot of small entries has about so many bytes …
const LOT_BYTES: usize = 4 << 20;
/// … or so many entries.
const LOT_ENTRIES: usize = 2048;
/// Zeros are written so many at a time.
const ZEROS: usize = 1 << 16;

/// What to dump, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpOptions {
    /// A path in the snapshot, without a leading `/`; no bytes for all of it.
    pub path: Vec<u8>,
    /// As a tar archive, of a folder or a single file; else only the content of a single file.
    pub tar: bool,
}

/// What was dumped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpReport {
    /// Entries written.
    pub entries: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// Entries that an archive cannot hold (sockets): path and reason, the first hundred.
    pub left_out: Vec<(Vec<u8>, String)>,
}

/// Writes a file's content, or an archive.
///
/// # Errors
/// [`Error::Invalid`] when the path is not there or is not what was asked for; [`Error::Damaged`] (what was written so far is good, and not all);
/// what the store says; [`Error::Io`] when the output cannot be written; [`Error::Interrupted`].
pub fn dump(
    repository: &Repository,
    snapshot: &StoredSnapshot,
    options: &DumpOptions,
    output: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<DumpReport> {
    let record = snapshot.record.as_ref().ok_or(Error::RoleTooSmall {
        needed: "a reader or an owner",
        role: "a maintainer",
    })?;
    let names = |names: &[(u32, Vec<u8>)]| names.iter().cloned().collect::<HashMap<_, _>>();
    let units = Units {
        repository,
        reader: TreeReader::new(repository, record.root.0).subtree(&options.path)?,
        options,
        users: names(&record.owners),
        groups: names(&record.groups),
        links: HashMap::new(),
        large: None,
        held: None,
        ended: false,
        report: DumpReport::default(),
    };
    run(repository, units, output, progress)
}

/// One part of the output.
enum Unit {
    Lot(Vec<Small>),
    Stretch(Batch),
    Zeros(usize),
}

/// A header, and a content that lies in one blob.
struct Small {
    header: Vec<u8>,
    blob: Option<(BlobId, usize, usize)>,
    filling: usize,
}

/// A part of the output, ready to be written.
enum Ready {
    Bytes(Vec<u8>),
    Zeros(u64),
}

type Answer = Result<Vec<Ready>>;

fn run(
    repository: &Repository,
    mut units: Units<'_>,
    output: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<DumpReport> {
    let queue = JobQueue::new(AHEAD);
    let threads = crate::verbs::restore::threads(repository).min(AHEAD);
    let work = |(unit, answer): (Unit, SyncSender<Answer>)| {
        // Nobody may be listening any more.
        let _ = answer.send(make(repository, unit));
    };
    queue.run(threads, work, || {
        let written = write_all(&queue, &mut units, output, progress);
        if written.is_err() {
            queue.stop();
        }
        written
    })?;
    Ok(units.report)
}

fn write_all(
    queue: &JobQueue<(Unit, SyncSender<Answer>)>,
    units: &mut Units<'_>,
    output: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let mut ahead: VecDeque<Receiver<Answer>> = VecDeque::new();
    loop {
        while ahead.len() < AHEAD
            && let Some(unit) = units.next().transpose()?
        {
            let (answer, ready) = sync_channel(1);
            queue.push((unit, answer), 1);
            ahead.push_back(ready);
        }
        let Some(ready) = ahead.pop_front() else { break };
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let parts = ready
            .recv()
            .map_err(|_| Error::Internal("a thread ended without an answer".into()))??;
        for part in parts {
            let written = match &part {
                Ready::Bytes(bytes) => output.write_all(bytes).map(|()| bytes.len() as u64),
                Ready::Zeros(count) => write_zeros(output, *count).map(|()| *count),
            };
            progress.done(0, written.map_err(|error| Error::io("write to", "the output", error))?);
        }
    }
    output
        .flush()
        .map_err(|error| Error::io("write to", "the output", error))
}

fn write_zeros(output: &mut dyn Write, mut count: u64) -> std::io::Result<()> {
    let zeros = [0; ZEROS];
    while count > 0 {
        let some = count.min(ZEROS as u64);
        output.write_all(&zeros[..some as usize])?;
        count -= some;
    }
    Ok(())
}

/// Fetches and opens what a unit needs.
fn make(repository: &Repository, unit: Unit) -> Answer {
    match unit {
        Unit::Zeros(count) => Ok(vec![Ready::Zeros(count as u64)]),
        Unit::Stretch(batch) => {
            let mut ready = Vec::new();
            batch.read(repository, |_, piece| {
                match piece {
                    Piece::Bytes(bytes) => ready.push(Ready::Bytes(bytes.to_vec())),
                    Piece::Hole(length) => ready.push(Ready::Zeros(length)),
                }
                Ok(())
            })?;
            Ok(ready)
        }
        Unit::Lot(lot) => {
            let mut bytes = Vec::new();
            // Small files that lie in one blob follow one another.
            let mut open = None;
            for small in lot {
                bytes.extend(small.header);
                if let Some((id, start, length)) = small.blob {
                    let content = match open.take() {
                        Some((known, content)) if known == id => content,
                        _ => repository.blob(BlobKind::Data, &id)?,
                    };
                    let part = start.checked_add(length).and_then(|end| content.get(start..end));
                    bytes.extend(
                        part.ok_or_else(|| Error::damaged(format!("Blob {id}"), "a file in it ends behind it"))?,
                    );
                    open = Some((id, content));
                }
                bytes.resize(bytes.len() + small.filling, 0);
            }
            Ok(vec![Ready::Bytes(bytes)])
        }
    }
}

/// Finds the units, in order.
struct Units<'r> {
    repository: &'r Repository,
    reader: TreeReader<&'r Repository>,
    options: &'r DumpOptions,
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
    /// Files with several names: where the first one is in the archive, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    /// The rest of a large file, and the zeros after it.
    large: Option<(Batches<'r>, usize)>,
    /// A unit that comes next.
    held: Option<Unit>,
    ended: bool,
    report: DumpReport,
}

impl Units<'_> {
    fn next(&mut self) -> Option<Result<Unit>> {
        self.find().transpose()
    }

    fn find(&mut self) -> Result<Option<Unit>> {
        if let Some(unit) = self.held.take() {
            return Ok(Some(unit));
        }
        if let Some((batches, filling)) = &mut self.large {
            if let Some(batch) = batches.next() {
                return Ok(Some(Unit::Stretch(batch?)));
            }
            let filling = *filling;
            self.large = None;
            if filling > 0 {
                return Ok(Some(Unit::Zeros(filling)));
            }
        }
        if self.ended {
            return Ok(None);
        }
        let (mut lot, mut bytes) = (Vec::new(), 0);
        while bytes < LOT_BYTES && lot.len() < LOT_ENTRIES && self.large.is_none() {
            let Some(entry) = self.reader.next_entry()? else {
                self.end()?;
                break;
            };
            let entry = entry.clone();
            if let Some(small) = self.take(entry)? {
                bytes += small.header.len() + small.blob.map_or(0, |(_, _, length)| length);
                lot.push(small);
            }
        }
        match lot.is_empty() {
            false => Ok(Some(Unit::Lot(lot))),
            true => self.find(),
        }
    }

    /// The tree has been read.
    fn end(&mut self) -> Result<()> {
        self.ended = true;
        if self.report.entries == 0 && self.report.left_out.is_empty() {
            let path = String::from_utf8_lossy(&self.options.path).into_owned();
            return Err(Error::Invalid(format!("`{path}` is not in the snapshot")));
        }
        if self.options.tar {
            self.held = Some(Unit::Zeros(2 * tar::BLOCK as usize));
        }
        Ok(())
    }

    /// What an entry adds to the lot. A large file's content follows the lot.
    fn take(&mut self, entry: Entry) -> Result<Option<Small>> {
        let mut header = Vec::new();
        let mut has_content = true;
        if self.options.tar {
            let same_as = self.same_as(&entry);
            let path = self.below(&entry).to_vec();
            has_content = same_as.is_none();
            match self.header(&path, same_as.as_deref(), &entry.kind, &entry.metadata) {
                Some(bytes) => header = bytes,
                None => {
                    if self.report.left_out.len() < 100 {
                        self.report
                            .left_out
                            .push((entry.path, "An archive cannot hold a socket".to_owned()));
                    }
                    return Ok(None);
                }
            }
        } else if !matches!(entry.kind, EntryKind::File { .. }) || entry.path != self.options.path {
            let path = String::from_utf8_lossy(&self.options.path).into_owned();
            return Err(Error::Invalid(format!("`{path}` is not a file")));
        }
        self.report.entries += 1;
        let size = entry.size();
        let filling = if self.options.tar && has_content {
            tar::filling(size)
        } else {
            0
        };
        let EntryKind::File { content, .. } = entry.kind else {
            return Ok(Some(Small {
                header,
                blob: None,
                filling: 0,
            }));
        };
        if !has_content {
            return Ok(Some(Small {
                header,
                blob: None,
                filling: 0,
            }));
        }
        self.report.bytes += size;
        let blob = match (&content, usize::try_from(size)) {
            (Content::Slab { blob, offset, .. }, Ok(size)) if size <= LOT_BYTES => {
                Some((*blob, *offset as usize, size))
            }
            (_, _) => None,
        };
        if blob.is_some() || size == 0 {
            return Ok(Some(Small { header, blob, filling }));
        }
        self.large = Some((Batches::of(self.repository, size, content), filling));
        Ok(Some(Small {
            header,
            blob: None,
            filling: 0,
        }))
    }

    fn header(&self, path: &[u8], same_as: Option<&[u8]>, kind: &EntryKind, metadata: &Metadata) -> Option<Vec<u8>> {
        let name = |names: &HashMap<u32, Vec<u8>>, number| names.get(&number).cloned().unwrap_or_default();
        let (user, group) = (name(&self.users, metadata.user), name(&self.groups, metadata.group));
        tar::header(&tar::TarEntry {
            path,
            kind,
            same_as,
            metadata,
            user: &user,
            group: &group,
        })
    }

    /// The entry's path in the archive: what is in the folder that was asked for is at its top, a single file has its own name.
    fn below<'e>(&self, entry: &'e Entry) -> &'e [u8] {
        let asked = &self.options.path;
        if entry.path == *asked {
            return if matches!(entry.kind, EntryKind::Folder) {
                &[]
            } else {
                entry.name()
            };
        }
        match asked.is_empty() {
            true => &entry.path,
            false => entry.path.get(asked.len() + 1..).unwrap_or_default(),
        }
    }

    /// The first of the file's names in the archive, if this is a further one.
    fn same_as(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        let (EntryKind::File { link: Some(link), .. } | EntryKind::Symlink { link: Some(link), .. }) = &entry.kind
        else {
            return None;
        };
        let key = (link.device, entry.metadata.inode);
        match self.links.get_mut(&key) {
            Some((first, left)) => {
                let first = first.clone();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.links.remove(&key);
                }
                Some(first)
            }
            None => {
                if link.links > 1 {
                    let path = self.below(entry).to_vec();
                    self.links.insert(key, (path, link.links - 1));
                }
                None
            }
        }
    }
}
