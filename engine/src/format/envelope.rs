//! The envelope around every object: header, body, hash (FORMAT.md, 2.1).

use crate::words::{Error, Result};

/// Bytes before the body.
pub const HEADER: usize = 32;
/// Bytes after the body.
pub const HASH: usize = 32;
const MAGIC: &[u8; 4] = b"ARRT";
const MAJOR: u8 = 1;
const MINOR: u8 = 0;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Identity and parameters of the repository.
    Config = 1,
    /// A key slot.
    Slot = 2,
    /// A session began.
    Open = 3,
    /// A session advanced.
    At = 4,
    /// A session ended.
    End = 5,
    /// A generation.
    Generation = 6,
    /// A part of a generation's catalogue.
    Catalogue = 7,
    /// A pack.
    Pack = 8,
    /// An index segment.
    Segment = 9,
    /// References of a snapshot.
    References = 10,
    /// Session keys wrapped again.
    Rewrap = 11,
    /// A mark on a snapshot.
    Mark = 12,
}

/// What the caller wants to do, for feature bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Restore, list, check.
    Read,
    /// Back up.
    Write,
    /// Prune, repack.
    Maintain,
}

/// Makes the 32-byte header of an object with a body of `body` bytes; `sealed` says whether the body holds seals.
pub fn header(kind: Kind, sealed: bool, body: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4] = kind as u8;
    bytes[5] = MAJOR;
    bytes[6] = MINOR;
    bytes[7] = u8::from(sealed);
    bytes[24..].copy_from_slice(&body.to_le_bytes());
    bytes
}

/// Appends the hash to a header and body that are there in full.
pub fn finish(mut object: Vec<u8>) -> Vec<u8> {
    let hash = blake3::hash(&object);
    object.extend_from_slice(hash.as_bytes());
    object
}

/// An object whose envelope was found right.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The 32 bytes that seals are bound to.
    pub header: &'a [u8],
    /// What is inside.
    pub body: &'a [u8],
}

/// Checks the envelope of `object`, hash included.
///
/// # Errors
/// [`Error::Damaged`] for anything that is not an undamaged object of `kind`; [`Error::NewerFormat`] for one that needs a newer version.
pub fn parse<'a>(name: &str, kind: Kind, access: Access, object: &'a [u8]) -> Result<Envelope<'a>> {
    let Some((rest, hash)) = object.split_last_chunk::<HASH>() else {
        return Err(Error::damaged(
            name,
            format!("it has {} bytes, too few for any object", object.len()),
        ));
    };
    let (header, body) = checked_header(name, kind, access, rest)?;
    if blake3::hash(rest).as_bytes() != hash {
        return Err(Error::damaged(name, "its bytes do not have the hash at its end"));
    }
    Ok(Envelope { header, body })
}

fn checked_header<'a>(name: &str, kind: Kind, access: Access, rest: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let (header, body) = check_start(name, kind, access, rest)?;
    let length = u64::from_le_bytes(std::array::from_fn(|i| header[24 + i]));
    if length != body.len() as u64 {
        return Err(Error::damaged(
            name,
            format!("its header says {length} bytes, there are {}", body.len()),
        ));
    }
    Ok((header, body))
}

/// Checks the header at the start of an object of which not all need be there; gives the header and what follows.
///
/// # Errors
/// As [`parse`].
pub fn check_start<'a>(name: &str, kind: Kind, access: Access, start: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let Some((header, body)) = start.split_at_checked(HEADER) else {
        return Err(Error::damaged(name, "it is too short for a header"));
    };
    if header[..4] != *MAGIC {
        return Err(Error::damaged(name, "it does not begin with Ararat's mark"));
    }
    if header[5] != MAJOR {
        return Err(Error::NewerFormat {
            name: name.to_owned(),
            what: format!("its format is version {}", header[5]),
        });
    }
    if header[4] != kind as u8 {
        return Err(Error::damaged(
            name,
            format!("it is an object of kind {}, not {}", header[4], kind as u8),
        ));
    }
    let (at, word) = match access {
        Access::Read => (8, "read"),
        Access::Write => (12, "write to"),
        Access::Maintain => (16, "maintain"),
    };
    let required = u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    if required != 0 {
        let what = format!("to {word} it the features {required:#x} are required");
        return Err(Error::NewerFormat {
            name: name.to_owned(),
            what,
        });
    }
    Ok((header, body))
}

/// A clear object.
pub fn clear(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut object = header(kind, false, body.len() as u64).to_vec();
    object.extend_from_slice(body);
    finish(object)
}

/// Whether an object's last 32 bytes are the hash of the rest: all that can be said of it without a key.
pub fn hash_fits(object: &[u8]) -> bool {
    object
        .split_last_chunk::<HASH>()
        .is_some_and(|(rest, hash)| blake3::hash(rest).as_bytes() == hash)
}
