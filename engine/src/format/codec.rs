//! Documents to bytes and back (FORMAT.md, 1). The only module that names `bincode`.
//!
//! `bincode` is unmaintained upstream and complete; it is pinned, golden repositories hold its bytes, and FORMAT.md defines them without it.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::words::{Error, Result};

/// No document is longer.
pub const DOCUMENT_MAX: u64 = 64 << 20;

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(DOCUMENT_MAX)
        .reject_trailing_bytes()
}

/// The bytes of a document.
///
/// # Errors
/// [`Error::Invalid`] when it is longer than [`DOCUMENT_MAX`].
pub fn encode<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    options()
        .serialize(document)
        .map_err(|error| Error::Invalid(format!("A document cannot be stored: {error}")))
}

/// The document that `bytes` hold, all of them.
///
/// # Errors
/// [`Error::Damaged`] that names `name`.
pub fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    // bincode bounds what it allocates for a list by the bytes it could still read, so a hostile length costs nothing.
    options()
        .deserialize(bytes)
        .map_err(|error| Error::damaged(name, format!("its document does not parse: {error}")))
}

/// A reader over bytes that never runs past their end: for the formats that are not documents.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    /// A little-endian number.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A little-endian number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
