//! Files that are read in chunks. The chunks of one file are compressed by all workers; the one that reads it keeps their order.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::TrySendError;

use super::jobs::{Piece, SMALL_BYTES, Workers, entry, failure, finish};
use super::queue::Made;
use super::regions::{self, Failure};
use crate::chunker::style::{DEVICE_BYTES, Style, style_of};
use crate::format::tree::{Content, ContentWriter, Extent, TreeSink};
use crate::repository::{Scratch, Writer};
use crate::source::{Found, FoundKind, OpenFile};
use crate::words::{BlobId, BlobKind, Error, Result};

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes beyond the longest chunk that are gathered before cutting.
const LOOK_AHEAD: usize = 4 << 20;
/// Chunks of one file that are under way at most.
const AHEAD: usize = 8;
/// Bytes of the chunks of all files that wait for a worker or are with one; beyond, who reads a file saves its chunks itself.
const CHUNK_BYTES_MAX: usize = 20 << 20;

/// Buffers of chunks come in multiples of this, so that one fits the next chunk, too.
const CHUNK_BUFFER_UNIT: usize = 1 << 20;

/// A chunk on its way to be saved by whoever is free.
pub(super) struct ChunkJob {
    bytes: Vec<u8>,
    style: Style,
    /// To be taken when the chunk is saved.
    slot: Option<Arc<ChunkSlot>>,
}

#[derive(Default)]
struct ChunkSlot {
    id: Mutex<Option<Result<BlobId>>>,
    ready: Condvar,
}

impl ChunkJob {
    /// Saves the chunk.
    pub(super) fn run(mut self, workers: &Workers<'_, '_>, scratch: &mut Scratch) {
        let id = save(workers, &self.bytes, self.style, scratch);
        self.free(workers);
        if let Some(slot) = self.slot.take() {
            slot.set(id);
        }
    }

    /// Gives its memory back.
    fn free(&mut self, workers: &Workers<'_, '_>) {
        let bytes = std::mem::take(&mut self.bytes);
        workers.chunk_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        workers.chunk_buffers.give_back(bytes);
    }
}

fn save(workers: &Workers<'_, '_>, chunk: &[u8], style: Style, scratch: &mut Scratch) -> Result<BlobId> {
    match style {
        Style::Content => workers.writer.save_large(chunk, scratch),
        Style::Fixed(_) => workers.writer.save(BlobKind::Data, chunk, scratch),
    }
}

impl Drop for ChunkJob {
    /// A chunk whose thread died is not waited for.
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.set(Err(died()));
        }
    }
}

impl ChunkSlot {
    /// Leaves what became of the chunk.
    fn set(&self, id: Result<BlobId>) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        self.ready.notify_all();
    }
}

fn died() -> Error {
    Error::Internal("a thread that saves chunks died".into())
}

/// Buffers that are used again: fresh ones cost page faults, and an allocator that is asked for many sizes keeps too much.
pub(super) struct Spare {
    buffers: Mutex<Vec<Vec<u8>>>,
    bytes_max: usize,
}

impl Spare {
    /// Keeps up to so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            buffers: Mutex::default(),
            bytes_max,
        }
    }

    /// A buffer that may hold old bytes.
    fn take(&self) -> Vec<u8> {
        self.buffers
            .lock()
            .ok()
            .and_then(|mut spare| spare.pop())
            .unwrap_or_default()
    }

    /// An empty buffer for so many bytes: the smallest that has room, or a fresh one.
    fn take_for(&self, bytes: usize) -> Vec<u8> {
        let fitting = self.buffers.lock().ok().and_then(|mut spare| {
            let fits = spare
                .iter()
                .enumerate()
                .filter(|(_, buffer)| buffer.capacity() >= bytes);
            let place = fits.min_by_key(|(_, buffer)| buffer.capacity())?.0;
            Some(spare.swap_remove(place))
        });
        let mut buffer = fitting.unwrap_or_else(|| Vec::with_capacity(bytes.next_multiple_of(CHUNK_BUFFER_UNIT)));
        buffer.clear();
        buffer
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if let Ok(mut spare) = self.buffers.lock() {
            let kept: usize = spare.iter().map(Vec::capacity).sum();
            if kept + buffer.capacity() <= self.bytes_max {
                spare.push(buffer);
            }
        }
    }
}

/// Saves tree blobs through a writer.
pub(super) struct Sink<'a, 'r> {
    pub(super) writer: &'a Writer<'r>,
    pub(super) scratch: &'a mut Scratch,
}

impl TreeSink for Sink<'_, '_> {
    fn save(&mut self, blob: Vec<u8>) -> Result<BlobId> {
        self.writer.save(BlobKind::Tree, &blob, self.scratch)
    }
}

/// Cuts a stream of bytes, has the chunks saved, and collects where they are.
pub(super) struct ChunkStream<'a, 'w, 'r> {
    workers: &'a Workers<'w, 'r>,
    style: Option<Style>,
    name: Vec<u8>,
    expected: u64,
    /// Bytes that have been read and not cut, and room behind them that may hold old bytes.
    buffer: Vec<u8>,
    filled: usize,
    /// Where in the file the buffer begins.
    offset: u64,
    under_way: VecDeque<(u32, Arc<ChunkSlot>)>,
    hole: u64,
    content: ContentWriter,
}

impl<'a, 'w, 'r> ChunkStream<'a, 'w, 'r> {
    /// For a file with this name and about this size; `style` when it is known already.
    pub(super) fn new(workers: &'a Workers<'w, 'r>, name: &[u8], expected: u64, style: Option<Style>) -> Self {
        Self {
            workers,
            style,
            name: name.to_vec(),
            expected,
            buffer: workers.buffers_for(expected).take(),
            filled: 0,
            offset: 0,
            under_way: VecDeque::new(),
            hole: 0,
            content: ContentWriter::new(),
        }
    }

    /// Room for the next bytes of the stream; what was read is told by [`ChunkStream::filled`].
    pub(super) fn room(&mut self) -> &mut [u8] {
        let end = self.filled + READ_BYTES;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.filled..end]
    }

    /// `count` bytes of the room were filled.
    pub(super) fn filled(&mut self, count: usize, scratch: &mut Scratch) -> Result<()> {
        self.filled += count;
        self.cut(false, scratch)
    }

    /// The stream has a hole here.
    pub(super) fn hole(&mut self, length: u64, scratch: &mut Scratch) -> Result<()> {
        self.cut(true, scratch)?;
        self.settle(0, scratch)?;
        self.offset += length;
        self.push(Extent::Hole { length }, scratch)
    }

    fn cut(&mut self, last: bool, scratch: &mut Scratch) -> Result<()> {
        let style = *self
            .style
            .get_or_insert_with(|| style_of(&self.name, self.expected, &self.buffer[..self.filled]));
        // A cut by content needs the longest chunk in sight, and every byte should be looked at once.
        let most = self.workers.chunker.size_max();
        if style == Style::Content && !last && self.filled < most + LOOK_AHEAD {
            return Ok(());
        }
        // Out of `self` meanwhile, so that chunks can be saved from where they are. After a failure nobody needs it.
        let mut buffer = std::mem::take(&mut self.buffer);
        let start = self.cut_up(&buffer[..self.filled], style, last, scratch)?;
        buffer.copy_within(start..self.filled, 0);
        self.buffer = buffer;
        self.filled -= start;
        Ok(())
    }

    /// Cuts what is complete of these bytes, and says how many those are.
    fn cut_up(&mut self, bytes: &[u8], style: Style, last: bool, scratch: &mut Scratch) -> Result<usize> {
        let most = self.workers.chunker.size_max();
        let mut start = 0;
        while start < bytes.len() {
            let rest = &bytes[start..];
            let length = match style {
                Style::Content if rest.len() < most && !last => None,
                Style::Content => self.workers.chunker.cut(rest, last),
                Style::Fixed(block) => {
                    // Blocks are aligned to the file, whatever holes it has: the first one after a hole may be shorter.
                    let whole = block - (self.offset % block as u64) as usize;
                    (last || rest.len() >= whole).then_some(whole.min(rest.len()))
                }
            };
            let Some(length) = length else { break };
            start += length;
            self.offset += length as u64;
            self.send(&rest[..length], style, scratch)?;
        }
        Ok(start)
    }

    fn send(&mut self, chunk: &[u8], style: Style, scratch: &mut Scratch) -> Result<()> {
        if is_zero(chunk) {
            self.settle(0, scratch)?;
            return self.push(
                Extent::Hole {
                    length: chunk.len() as u64,
                },
                scratch,
            );
        }
        self.settle(AHEAD, scratch)?;
        let slot = Arc::new(ChunkSlot::default());
        self.under_way.push_back((chunk.len() as u32, Arc::clone(&slot)));
        if !self.hand_over(chunk, style, &slot) {
            // Everybody is busy: so are we, and the chunk need not be copied.
            slot.set(save(self.workers, chunk, style, scratch));
        }
        Ok(())
    }

    /// Gives a copy of the chunk to a worker that has nothing to do, if there is one.
    fn hand_over(&self, chunk: &[u8], style: Style, slot: &Arc<ChunkSlot>) -> bool {
        let workers = self.workers;
        if workers.idle.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let given = workers.chunk_bytes.fetch_add(chunk.len(), Ordering::Relaxed);
        if given + chunk.len() > CHUNK_BYTES_MAX {
            workers.chunk_bytes.fetch_sub(chunk.len(), Ordering::Relaxed);
            return false;
        }
        let mut bytes = workers.chunk_buffers.take_for(chunk.len());
        bytes.extend_from_slice(chunk);
        let slot = Some(Arc::clone(slot));
        let refused = workers.chunks.0.try_send(Piece::Chunk(ChunkJob { bytes, style, slot }));
        match refused.map_err(TrySendError::into_inner) {
            Err(Piece::Chunk(mut job)) => {
                job.slot = None;
                job.free(workers);
                false
            }
            Ok(()) | Err(Piece::Region(_)) => true,
        }
    }

    /// Takes finished chunks in order until at most `most` are under way; helps while it waits.
    fn settle(&mut self, most: usize, scratch: &mut Scratch) -> Result<()> {
        while let Some((length, slot)) = self.under_way.front() {
            let (length, slot) = (*length, Arc::clone(slot));
            let mut state = slot.id.lock().map_err(|_| died())?;
            if state.is_none() {
                if self.under_way.len() <= most {
                    return Ok(());
                }
                if let Ok(piece) = self.workers.chunks.1.try_recv() {
                    drop(state);
                    piece.run(self.workers, scratch);
                    continue;
                }
                while state.is_none() {
                    state = slot.ready.wait(state).map_err(|_| died())?;
                }
            }
            let blob = state.take().ok_or_else(died)??;
            drop(state);
            self.under_way.pop_front();
            self.push(Extent::Chunk { blob, length }, scratch)?;
        }
        Ok(())
    }

    /// Takes the next extent; holes beside each other become one.
    fn push(&mut self, extent: Extent, scratch: &mut Scratch) -> Result<()> {
        let mut sink = Sink {
            writer: self.workers.writer,
            scratch,
        };
        match extent {
            Extent::Hole { length } => self.hole += length,
            Extent::Chunk { .. } => {
                if self.hole > 0 {
                    self.content.push(
                        Extent::Hole {
                            length: std::mem::take(&mut self.hole),
                        },
                        &mut sink,
                    )?;
                }
                self.content.push(extent, &mut sink)?;
            }
        }
        Ok(())
    }

    fn give_back(&mut self) {
        let spare = self.workers.buffers_for(self.expected);
        spare.give_back(std::mem::take(&mut self.buffer));
    }

    /// Gives up the stream. Chunks that are under way are waited for: what became of one concerns the whole backup.
    fn abandon(mut self, scratch: &mut Scratch) -> Result<()> {
        self.settle(0, scratch)?;
        self.give_back();
        Ok(())
    }

    /// The end of the stream: its length and where its bytes are.
    pub(super) fn finish(mut self, scratch: &mut Scratch) -> Result<(u64, Content)> {
        self.cut(true, scratch)?;
        self.settle(0, scratch)?;
        let mut sink = Sink {
            writer: self.workers.writer,
            scratch,
        };
        if self.hole > 0 {
            self.content.push(Extent::Hole { length: self.hole }, &mut sink)?;
        }
        self.give_back();
        let size = self.content.size();
        Ok((size, self.content.finish(&mut sink)?))
    }
}

/// Reads a file in chunks.
pub(super) fn read(workers: &Workers<'_, '_>, mut found: Found, scratch: &mut Scratch) -> Result<Made> {
    let file = match found.open() {
        Ok(file) => Arc::new(file),
        Err(error) => return Ok(failure(&found, &error)),
    };
    file.advise_sequential();
    let style = match style_of_file(&found, &file) {
        Ok(style) => style,
        Err(error) => return Ok(failure(&found, &error)),
    };
    let mut stream = ChunkStream::new(workers, found.name(), file.size(), Some(style));
    match fill(workers, &file, &mut stream, scratch)? {
        Filled::Whole => {}
        Filled::Failed(error) => {
            stream.abandon(scratch)?;
            return Ok(failure(&found, &error));
        }
        Filled::Interrupted => {
            stream.abandon(scratch)?;
            return Ok(Made::Interrupted);
        }
    }
    let (size, content) = stream.finish(scratch)?;
    // When the system does not say whether it changed, it may have.
    let changed = file.has_changed().unwrap_or(true);
    let remarks = finish(&mut found, changed, file.attributes());
    Ok(entry(found, size, content, remarks))
}

/// How a file is cut, by its kind, its name and its first bytes.
fn style_of_file(found: &Found, file: &OpenFile) -> std::io::Result<Style> {
    if matches!(found.kind, FoundKind::File { from_device: true, .. }) {
        return Ok(Style::Fixed(DEVICE_BYTES));
    }
    let mut start = [0; 512];
    let count = file.read_at(&mut start, 0)?;
    Ok(style_of(found.name(), file.size(), &start[..count]))
}

/// How reading a file ended, when the backup goes on.
enum Filled {
    Whole,
    Failed(std::io::Error),
    /// A person wants to stop. What is stored of the file is used by the next backup.
    Interrupted,
}

/// Reads all data of the file into the stream.
fn fill(
    workers: &Workers<'_, '_>,
    file: &Arc<OpenFile>,
    stream: &mut ChunkStream<'_, '_, '_>,
    scratch: &mut Scratch,
) -> Result<Filled> {
    let mut at = 0;
    for data in file.data_extents() {
        let data = match data {
            Ok(data) => data,
            Err(error) => return Ok(Filled::Failed(error)),
        };
        if data.start > at {
            workers.progress.done(0, data.start - at);
            stream.hole(data.start - at, scratch)?;
        }
        at = data.start;
        if stream.style == Some(Style::Content) && regions::is_huge(workers, data.end - data.start) {
            // What came before is cut to its end, as before a hole.
            stream.cut(true, scratch)?;
            stream.settle(0, scratch)?;
            let read = regions::read(workers, file, at..data.end, scratch, |extent, scratch| {
                stream.push(extent, scratch)
            });
            at = match read {
                // The file has become shorter; what is there now is all there is.
                Ok(end) if end < data.end => return Ok(Filled::Whole),
                Ok(end) => end,
                Err(Failure::Read(error)) => return Ok(Filled::Failed(error)),
                Err(Failure::Interrupted) => return Ok(Filled::Interrupted),
                Err(Failure::Backup(error)) => return Err(error),
            };
        }
        while at < data.end {
            if workers.progress.interrupted() {
                return Ok(Filled::Interrupted);
            }
            let room = stream.room();
            let most = room.len().min(usize::try_from(data.end - at).unwrap_or(usize::MAX));
            let read = match file.read_at(&mut room[..most], at) {
                Ok(read) => read,
                Err(error) => return Ok(Filled::Failed(error)),
            };
            stream.filled(read, scratch)?;
            workers.read(read as u64);
            at += read as u64;
            if read < most {
                // The file has become shorter; what is there now is all there is.
                return Ok(Filled::Whole);
            }
        }
    }
    if file.size() > at {
        workers.progress.done(0, file.size() - at);
        stream.hole(file.size() - at, scratch)?;
    }
    // Some file systems (procfs, many in user space) show no size for what has content: then the end is where reading ends.
    while file.size() == 0 {
        if workers.progress.interrupted() {
            return Ok(Filled::Interrupted);
        }
        let read = match file.read_at(stream.room(), at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return Ok(Filled::Failed(error)),
        };
        stream.filled(read, scratch)?;
        workers.read(read as u64);
        at += read as u64;
    }
    Ok(Filled::Whole)
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.len() as u64 >= SMALL_BYTES / 2 && bytes.iter().all(|byte| *byte == 0)
}
