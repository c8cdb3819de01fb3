//! Records of a fixed width in blocks of 4 KiB, each with a checksum: what runs are made of.
//!
//! Blocks are read by position, never mapped: what a process has read of a file of gigabytes then is no part of its memory, a file that is cut
//! short under it is an error rather than a signal, and a flipped bit is found before it leads anybody to a wrong place.
//!
//! ```text
//! 0     records, one after another
//! 4064  [24] zero
//! 4088  u64 checksum of the records and the block's number in its file
//! ```

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::checksum::checksum;
use crate::words::{Error, Result};

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;
const RECORDS: usize = 4064;
const CHECKSUM: usize = 4088;

/// A block's worth of memory to read into.
pub(super) type Buffer = [u8; BLOCK];

/// Where the bytes of a run are.
#[derive(Debug)]
pub(super) enum Bytes {
    /// In memory, made by this process: not verified.
    Memory(Vec<u8>),
    /// In the cache folder.
    File(File, PathBuf),
}

impl Bytes {
    /// How many there are.
    pub(super) fn length(&self) -> Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(file, path) => match file.metadata() {
                Ok(metadata) => Ok(metadata.len()),
                Err(error) => Err(Error::io("read", path, error)),
            },
        }
    }

    /// Fills the buffer with what is at `offset`.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
                let from = from.and_then(|bytes| bytes.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or_else(|| self.damaged("it ends too early"))?);
                Ok(())
            }
            Self::File(file, path) => file.read_exact_at(buffer, offset).map_err(|error| {
                if error.kind() == std::io::ErrorKind::UnexpectedEof {
                    self.damaged("it ends too early")
                } else {
                    Error::io("read", path, error)
                }
            }),
        }
    }

    /// One block, verified.
    pub(super) fn block<'a>(&'a self, number: u64, buffer: &'a mut Buffer) -> Result<&'a [u8]> {
        if let Self::Memory(bytes) = self {
            let start = usize::try_from(number)
                .ok()
                .and_then(|number| number.checked_mul(BLOCK));
            let block = start.and_then(|start| bytes.get(start..)?.get(..BLOCK));
            return block.ok_or_else(|| self.damaged("it ends too early"));
        }
        self.read(buffer, number * BLOCK as u64)?;
        self.verify(number, buffer)?;
        Ok(buffer)
    }

    fn verify(&self, number: u64, block: &[u8]) -> Result<()> {
        if block[CHECKSUM..] != checksum(number, &block[..RECORDS]).to_le_bytes() {
            return Err(self.damaged(&format!("block {number} does not have its checksum")));
        }
        Ok(())
    }

    /// Damage to a file of the cache: it is removed, so that the next one who looks makes it anew.
    pub(super) fn damaged(&self, why: &str) -> Error {
        match self {
            Self::Memory(_) => Error::Internal(format!("a run of the index in memory: {why}")),
            Self::File(_, path) => {
                let _ = std::fs::remove_file(path);
                let why = format!("{why}; it was removed and is made anew next time");
                Error::io("read", path, std::io::Error::new(std::io::ErrorKind::InvalidData, why))
            }
        }
    }
}

/// A stretch of blocks with records of one width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// The number of its first block.
    pub(super) first: u64,
    /// How many records it has.
    pub(super) count: u64,
    /// Bytes of a record, at most 4064.
    pub(super) width: usize,
}

impl Table {
    pub(super) fn per_block(&self) -> u64 {
        (RECORDS / self.width) as u64
    }

    pub(super) fn blocks(&self) -> u64 {
        self.count.div_ceil(self.per_block())
    }

    /// The number of the first block after it.
    pub(super) fn end(&self) -> u64 {
        self.first + self.blocks()
    }

    /// How many records the table's block `number` has, counted from its first.
    pub(super) fn records_in(&self, number: u64) -> usize {
        self.count
            .saturating_sub(number * self.per_block())
            .min(self.per_block()) as usize
    }

    /// Record `number`, by one block.
    pub(super) fn record<'a>(&self, bytes: &'a Bytes, number: u64, buffer: &'a mut Buffer) -> Result<&'a [u8]> {
        let block = bytes.block(self.first + number / self.per_block(), buffer)?;
        let start = (number % self.per_block()) as usize * self.width;
        Ok(&block[start..start + self.width])
    }
}

/// How many blocks are read at once when all are read in order.
const AHEAD: u64 = 16;

/// The records of a table in order, with bounded memory.
pub(super) struct Records<'a> {
    bytes: &'a Bytes,
    table: Table,
    next: u64,
    /// The blocks that are in the buffer, counted from the table's first.
    loaded: Range<u64>,
    buffer: Vec<u8>,
}

impl<'a> Records<'a> {
    /// The records from number `start` on.
    pub(super) fn new(bytes: &'a Bytes, table: Table, start: u64) -> Self {
        Self {
            bytes,
            table,
            next: start,
            loaded: 0..0,
            buffer: Vec::new(),
        }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.next >= self.table.count {
            return Ok(None);
        }
        let per_block = self.table.per_block();
        let (block, place) = (self.next / per_block, (self.next % per_block) as usize);
        if !self.loaded.contains(&block) {
            let count = AHEAD.min(self.table.blocks() - block);
            self.buffer.resize(count as usize * BLOCK, 0);
            let first = self.table.first + block;
            self.bytes.read(&mut self.buffer, first * BLOCK as u64)?;
            if matches!(self.bytes, Bytes::File(..)) {
                for (number, block) in self.buffer.chunks_exact(BLOCK).enumerate() {
                    self.bytes.verify(first + number as u64, block)?;
                }
            }
            self.loaded = block..block + count;
        }
        self.next += 1;
        let start = (block - self.loaded.start) as usize * BLOCK + place * self.table.width;
        Ok(Some(&self.buffer[start..start + self.table.width]))
    }
}

/// Writes tables one after another.
pub(super) struct BlockWriter<W> {
    out: W,
    block: Vec<u8>,
    number: u64,
    /// Whether blocks get checksums: not in memory.
    checked: bool,
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn new(out: W, checked: bool) -> Self {
        Self {
            out,
            block: Vec::with_capacity(BLOCK),
            number: 0,
            checked,
        }
    }

    /// Appends a record of the present table; true if it begins a block.
    pub(super) fn record(&mut self, record: &[u8]) -> std::io::Result<bool> {
        if self.block.len() + record.len() > RECORDS {
            self.flush()?;
        }
        self.block.extend_from_slice(record);
        Ok(self.block.len() == record.len())
    }

    /// Ends the present table; gives the number of the next block.
    pub(super) fn end_table(&mut self) -> std::io::Result<u64> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        Ok(self.number)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.block.resize(RECORDS, 0);
        let checksum = if self.checked {
            checksum(self.number, &self.block)
        } else {
            0
        };
        self.block.resize(CHECKSUM, 0);
        self.block.extend_from_slice(&checksum.to_le_bytes());
        self.out.write_all(&self.block)?;
        self.block.clear();
        self.number += 1;
        Ok(())
    }

    /// What was written to, for what is not in blocks.
    pub(super) fn into_inner(self) -> W {
        self.out
    }
}
