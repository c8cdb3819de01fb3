//! Read: the files of a snapshot, one after the other, into memory. For documents: many small files that a program wants to look at.

use crate::format::tree::{Content, EntryKind, TreeReader};
use crate::repository::{Repository, StoredSnapshot};
use crate::verbs::restore::extents::{Batches, Piece};
use crate::words::{BlobId, BlobKind, Error, Result};

/// Files longer than this are not read into memory.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Gives every file below `path` (no bytes for all of them; a file's own path for that one) to `visit`, in path order: its path in the snapshot and its
/// content. Gives how many there were.
///
/// # Errors
/// [`Error::RoleTooSmall`]; [`Error::Damaged`]; [`Error::Invalid`] for a file of more than 64 MiB; what the store and `visit` say.
pub fn read(
    repository: &Repository,
    snapshot: &StoredSnapshot,
    path: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<u64> {
    let record = snapshot.record.as_ref().ok_or(Error::RoleTooSmall {
        needed: "a reader or an owner",
        role: "a maintainer",
    })?;
    let mut reader = TreeReader::new(repository, record.root.0).subtree(path)?;
    let mut count = 0;
    // Files beside each other share a slab: it is fetched once.
    let mut slab: Option<(BlobId, bytes::Bytes)> = None;
    while let Some(entry) = reader.next_entry()? {
        let EntryKind::File { size, content, .. } = &entry.kind else {
            continue;
        };
        if *size > FILE_BYTES_MAX {
            let shown = String::from_utf8_lossy(&entry.path);
            return Err(Error::Invalid(format!("{shown} is too long to be read into memory")));
        }
        count += 1;
        match content {
            Content::Empty => visit(&entry.path, &vec![0; *size as usize])?,
            Content::Slab { blob, offset, .. } => {
                let bytes = match slab.take() {
                    Some((known, bytes)) if known == *blob => bytes,
                    _ => repository.blob(BlobKind::Data, blob)?,
                };
                let start = *offset as usize;
                let part = start
                    .checked_add(*size as usize)
                    .and_then(|end| bytes.get(start..end))
                    .ok_or_else(|| Error::damaged(format!("Blob {blob}"), "a file in it ends behind it"))?;
                visit(&entry.path, part)?;
                slab = Some((*blob, bytes));
            }
            Content::Chunks(_) | Content::List { .. } => {
                let mut whole = Vec::with_capacity(*size as usize);
                for batch in Batches::of(repository, *size, content.clone()) {
                    batch?.read(repository, |_, piece| {
                        match piece {
                            Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
                            Piece::Hole(length) => whole.resize(whole.len() + length as usize, 0),
                        }
                        Ok(())
                    })?;
                }
                visit(&entry.path, &whole)?;
            }
        }
    }
    Ok(count)
}
