//! Ids: of repositories, sessions, blobs and packs. All are plain bytes that print as lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The name of an object in the store, relative to the repository's prefix.
pub type ObjectName = String;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// The number of bytes.
            pub const LENGTH: usize = $length;

            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), HEXLOWER.encode(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAnId(text.to_owned()))?;
                Ok(Self(bytes.try_into().map_err(|_| NotAnId(text.to_owned()))?))
            }
        }
    };
}

id! {
    /// A repository's identity: random, in `config` from its first moment on.
    RepositoryId, 16
}
id! {
    /// A session's id: random and never used again. A snapshot has the id of the session that committed it.
    SessionId, 16
}
id! {
    /// A blob's id: a keyed BLAKE3 over its kind and plaintext (FORMAT.md, 4).
    BlobId, 32
}

impl BlobId {
    /// The first half, which is what the index keeps.
    pub fn prefix(&self) -> [u8; 16] {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&self.0[..16]);
        prefix
    }
}

impl SessionId {
    /// Draws a fresh id from the system's randomness.
    pub fn random() -> Self {
        Self(random_bytes())
    }
}

/// Draws `N` bytes from the system's randomness.
///
/// # Panics
/// When the system has none to give, which Linux never does after boot.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "going on without randomness would be worse than stopping"
    )]
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

/// The text is not an id of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an id")]
pub struct NotAnId(pub String);

/// What a blob holds; packs keep the two kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum BlobKind {
    /// Contents of files.
    Data = 0,
    /// Leaves, parents and lists of chunks.
    Tree = 1,
}

impl BlobKind {
    /// The kind with this stored number, if there is one.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Tree),
            _ => None,
        }
    }
}

/// A pack: the session that wrote it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackName {
    /// The session that wrote it.
    pub session: SessionId,
    /// Its number in that session, from 0.
    pub number: u32,
}

impl PackName {
    /// The object's name in the store: `p/<sid>/<n>`.
    pub fn object(&self) -> ObjectName {
        format!("p/{}/{:08x}", self.session, self.number)
    }

    /// The pack that an object's name stands for.
    pub fn of_object(name: &str) -> Option<Self> {
        let (session, number) = name.strip_prefix("p/")?.split_once('/')?;
        Some(Self {
            session: session.parse().ok()?,
            number: u32::from_str_radix(number, 16).ok()?,
        })
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:08x}", self.session, self.number)
    }
}
