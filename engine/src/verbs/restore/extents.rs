//! The content of one file in order, in batches whose blobs lie together: for devices, streams and comparisons.

use bytes::Bytes;

use super::plan::{RangeLimits, WantedBlob, ranges};
use crate::format::tree::{Content, Extent, ListReader};
use crate::repository::Repository;
use crate::words::{BlobId, BlobKind, Error, Result};

/// A batch covers about so many bytes of the file.
const BATCH_BYTES: u64 = 8 << 20;

/// Extents of a file in order, each with the offset where it begins.
pub(in crate::verbs) struct Batches<'r> {
    extents: Box<dyn Iterator<Item = Result<(u64, Source)>> + Send + 'r>,
    size: u64,
    covered: u64,
    ended: bool,
}

/// Where a stretch of a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Hole {
        length: u64,
    },
    /// All of a blob.
    Blob {
        id: BlobId,
        length: u32,
    },
    /// A part of a blob that it shares with other files.
    Part {
        id: BlobId,
        start: u32,
        length: u32,
    },
}

impl Source {
    fn length(&self) -> u64 {
        match self {
            Self::Hole { length } => *length,
            Self::Blob { length, .. } | Self::Part { length, .. } => u64::from(*length),
        }
    }
}

/// A stretch of a file, and what to fetch for it.
pub(in crate::verbs) struct Batch {
    parts: Vec<(u64, Source)>,
}

/// Bytes of a file, in order.
pub(in crate::verbs) enum Piece<'a> {
    /// These.
    Bytes(&'a [u8]),
    /// So many zeros.
    Hole(u64),
}

impl<'r> Batches<'r> {
    /// The content of a file of that size.
    pub(in crate::verbs) fn of(repository: &'r Repository, size: u64, content: Content) -> Self {
        let extents: Box<dyn Iterator<Item = Result<(u64, Source)>> + Send + 'r> = match content {
            Content::Empty if size == 0 => Box::new(std::iter::empty()),
            Content::Empty => Box::new(std::iter::once(Ok((0, Source::Hole { length: size })))),
            Content::Slab { blob, offset, .. } => {
                // Small files are small: what does not fit is refused below, since it does not add up.
                let length = u32::try_from(size).unwrap_or(u32::MAX);
                Box::new(std::iter::once(Ok((
                    0,
                    Source::Part {
                        id: blob,
                        start: offset,
                        length,
                    },
                ))))
            }
            Content::Chunks(extents) => {
                let mut offset = 0u64;
                Box::new(extents.into_iter().map(move |extent| {
                    let at = offset;
                    offset = offset.saturating_add(extent.length());
                    Ok((at, source_of(extent)))
                }))
            }
            Content::List { blob } => {
                let reader = ListReader::new(repository, blob, size);
                Box::new(reader.map(|extent| extent.map(|(offset, extent)| (offset, source_of(extent)))))
            }
        };
        Self {
            extents,
            size,
            covered: 0,
            ended: false,
        }
    }
}

fn source_of(extent: Extent) -> Source {
    match extent {
        Extent::Hole { length } => Source::Hole { length },
        Extent::Chunk { blob, length } => Source::Blob { id: blob, length },
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        while !self.ended && bytes < BATCH_BYTES {
            match self.extents.next() {
                Some(Ok((offset, source))) => {
                    self.covered = self.covered.saturating_add(source.length());
                    if let Source::Blob { length, .. } = source {
                        bytes += u64::from(length);
                    }
                    parts.push((offset, source));
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => {
                    self.ended = true;
                    if self.covered != self.size {
                        return Some(Err(Error::damaged(
                            "A file's list of pieces",
                            "they do not add up to its size",
                        )));
                    }
                }
            }
        }
        if parts.is_empty() {
            None
        } else {
            Some(Ok(Batch { parts }))
        }
    }
}

impl Batch {
    /// Fetches and opens what it needs, and gives the pieces in order with their offsets. Returns how many bytes were fetched.
    ///
    /// # Errors
    /// What the store says; damage; what `give` says.
    pub(in crate::verbs) fn read(
        self,
        repository: &Repository,
        mut give: impl FnMut(u64, Piece<'_>) -> Result<()>,
    ) -> Result<u64> {
        let mut wanted: Vec<WantedBlob<()>> = Vec::new();
        for (_, source) in &self.parts {
            if let Source::Blob { id, .. } | Source::Part { id, .. } = source
                && !wanted.iter().any(|blob| blob.id == *id)
            {
                let place = repository.find(BlobKind::Data, id)?;
                wanted.push(WantedBlob {
                    id: *id,
                    place,
                    uses: Vec::new(),
                });
            }
        }
        // Sealed bytes are kept for the whole batch, opened ones only while they are given.
        let mut fetched = 0;
        let mut sealed: Vec<(WantedBlob<()>, Option<Bytes>)> = Vec::new();
        for range in ranges(wanted, RangeLimits::FAR) {
            let bytes = repository.fetch(&range.pack, range.start..range.end).ok();
            fetched += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            for blob in range.blobs {
                let start = usize::try_from(u64::from(blob.place.offset) - range.start).unwrap_or(usize::MAX);
                let end = start.saturating_add(blob.place.length as usize);
                let part = bytes
                    .as_ref()
                    .filter(|bytes| end <= bytes.len())
                    .map(|bytes| bytes.slice(start..end));
                sealed.push((blob, part));
            }
        }
        for (offset, source) in &self.parts {
            match source {
                Source::Hole { length } => give(*offset, Piece::Hole(*length))?,
                Source::Blob { id, length } => {
                    let content = open(repository, id, &sealed)?;
                    if content.len() != *length as usize {
                        return Err(other_length(id));
                    }
                    give(*offset, Piece::Bytes(&content))?;
                }
                Source::Part { id, start, length } => {
                    let content = open(repository, id, &sealed)?;
                    let start = *start as usize;
                    let bytes = content.get(start..start.saturating_add(*length as usize));
                    give(*offset, Piece::Bytes(bytes.ok_or_else(|| other_length(id))?))?;
                }
            }
        }
        Ok(fetched)
    }
}

fn other_length(id: &BlobId) -> Error {
    Error::damaged(format!("Blob {id}"), "it has another length than the file says")
}

fn open(repository: &Repository, id: &BlobId, sealed: &[(WantedBlob<()>, Option<Bytes>)]) -> Result<Bytes> {
    let known = sealed.iter().find(|(blob, _)| blob.id == *id);
    if let Some((blob, Some(bytes))) = known
        && let Ok(content) = repository.unseal(&blob.place, BlobKind::Data, id, bytes)
    {
        return Ok(content.into());
    }
    // It was moved, or hurt on its way: by itself, from where it is now.
    repository.blob(BlobKind::Data, id)
}
