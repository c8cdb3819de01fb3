//! Standard input, or the output of a command, as one file.

use std::io::Read;

use super::jobs::Workers;
use super::large::ChunkStream;
use crate::format::tree::{Entry, EntryKind, Metadata};
use crate::repository::Scratch;
use crate::words::{Error, Result, Timestamp};

/// Reads a stream to its end and makes an entry of it.
pub(super) fn read(
    workers: &Workers<'_, '_>,
    name: &[u8],
    reader: &mut dyn Read,
    (user, group, now): (u32, u32, Timestamp),
) -> Result<Entry> {
    let mut scratch = Scratch::new();
    let mut stream = ChunkStream::new(workers, name, 0, None);
    loop {
        let room = stream.room();
        let mut filled = 0;
        // Pipes give little at a time; the stream is cut after whole buffers.
        while filled < room.len() {
            match reader.read(&mut room[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", "the stream", error)),
            }
        }
        let ended = filled < room.len();
        stream.filled(filled, &mut scratch)?;
        workers.read(filled as u64);
        if ended {
            break;
        }
        if workers.progress.interrupted() {
            return Err(Error::Interrupted);
        }
    }
    let (size, content) = stream.finish(&mut scratch)?;
    let kind = EntryKind::File {
        size,
        content,
        link: None,
        from_device: false,
    };
    let metadata = Metadata {
        mode: 0o600,
        user,
        group,
        modified: now,
        changed: now,
        ..Metadata::default()
    };
    Ok(Entry {
        path: name.to_vec(),
        kind,
        metadata,
    })
}
