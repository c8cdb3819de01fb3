//! Reading ahead: a thread reads the next pieces of one large file or stream while the last ones are worked on.
//!
//! Memory is the number of buffers times their size, whatever the size of the file; buffers that are given back are
//! used again.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::open::OpenFile;

/// A piece of a file, in order; together they are the whole file.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes; never none.
    Data(Vec<u8>),
    /// Bytes that are zero and were not read; never none.
    Hole(u64),
}

/// Pieces of one file or stream, read ahead by a thread. After an error there is nothing more.
#[derive(Debug)]
pub struct ReadAhead {
    pieces: Option<Receiver<io::Result<Piece>>>,
    back: Sender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

/// How much is read ahead.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// Bytes of a piece; all pieces of data but the last before a hole or the end have this length. At least 1.
    pub piece_bytes: usize,
    /// Pieces that wait at most, besides the one that is being read and the one that is worked on.
    pub pieces: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            piece_bytes: 4 * 1024 * 1024,
            pieces: 2,
        }
    }
}

impl ReadAhead {
    /// Reads a file up to the size that it had when it was opened, or up to its end if it is shorter by now. Holes
    /// are not read.
    pub fn of_file(file: Arc<OpenFile>, ahead: Ahead) -> io::Result<Self> {
        Self::start(ahead, move |reader| reader.file(&file))
    }

    /// Reads a stream to its end.
    pub fn of_stream(mut stream: impl Read + Send + 'static, ahead: Ahead) -> io::Result<Self> {
        Self::start(ahead, move |reader| reader.stream(&mut stream))
    }

    fn start(ahead: Ahead, read: impl FnOnce(&Reader) -> Flow + Send + 'static) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(ahead.pieces);
        let (back, buffers) = channel();
        let reader = Reader {
            piece_bytes: ahead.piece_bytes.max(1),
            pieces: sender,
            buffers,
        };
        let thread = std::thread::Builder::new()
            .name("read-ahead".to_string())
            .spawn(move || {
                if let ControlFlow::Break(Some(error)) = read(&reader) {
                    // Nobody listens any more if this fails.
                    drop(reader.pieces.send(Err(error)));
                }
            })?;
        Ok(Self {
            pieces: Some(pieces),
            back,
            thread: Some(thread),
        })
    }

    /// Gives a buffer back, to be filled again.
    pub fn give_back(&self, buffer: Vec<u8>) {
        // The thread may have ended: then the buffer is freed.
        drop(self.back.send(buffer));
    }
}

impl Iterator for ReadAhead {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(piece) = self.pieces.as_ref()?.recv() {
            if piece.is_err() {
                self.pieces = None;
            }
            return Some(piece);
        }
        self.pieces = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Some(Err(io::Error::other("the thread that reads ahead has died"))),
            Some(Ok(())) | None => None,
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // Without anybody who listens the thread ends at its next piece. It is not waited for: a stream may never end.
        self.pieces = None;
    }
}

/// Goes on, or ends: with an error, or because nobody listens.
type Flow = ControlFlow<Option<io::Error>>;

/// The thread's side.
struct Reader {
    piece_bytes: usize,
    pieces: SyncSender<io::Result<Piece>>,
    buffers: Receiver<Vec<u8>>,
}

impl Reader {
    fn file(&self, file: &OpenFile) -> Flow {
        file.advise_sequential();
        let mut at = 0;
        for extent in file.data_extents() {
            let extent = failing(extent)?;
            self.hole(extent.start - at)?;
            at = extent.start;
            while at < extent.end {
                let wanted = usize::try_from(extent.end - at)
                    .unwrap_or(usize::MAX)
                    .min(self.piece_bytes);
                // A buffer that was full before is not zeroed again: only its length is set.
                let mut buffer = self.buffers.try_recv().unwrap_or_default();
                buffer.resize(wanted, 0);
                let got = failing(file.read_at(&mut buffer, at))?;
                buffer.truncate(got);
                at += got as u64;
                self.data(buffer)?;
                if got < wanted {
                    // Cut short since it was opened; who asks whether it has changed will be told so.
                    return ControlFlow::Continue(());
                }
            }
        }
        self.hole(file.size() - at)
    }

    fn stream(&self, stream: &mut impl Read) -> Flow {
        loop {
            let mut buffer = self.buffers.try_recv().unwrap_or_default();
            buffer.clear();
            buffer.reserve_exact(self.piece_bytes);
            let got = failing(stream.by_ref().take(self.piece_bytes as u64).read_to_end(&mut buffer))?;
            self.data(buffer)?;
            if got < self.piece_bytes {
                return ControlFlow::Continue(());
            }
        }
    }

    fn data(&self, buffer: Vec<u8>) -> Flow {
        if buffer.is_empty() {
            ControlFlow::Continue(())
        } else {
            self.send(Piece::Data(buffer))
        }
    }

    fn hole(&self, length: u64) -> Flow {
        if length == 0 {
            ControlFlow::Continue(())
        } else {
            self.send(Piece::Hole(length))
        }
    }

    fn send(&self, piece: Piece) -> Flow {
        match self.pieces.send(Ok(piece)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(None),
        }
    }
}

fn failing<T>(result: io::Result<T>) -> ControlFlow<Option<io::Error>, T> {
    match result {
        Ok(value) => ControlFlow::Continue(value),
        Err(error) => ControlFlow::Break(Some(error)),
    }
}
