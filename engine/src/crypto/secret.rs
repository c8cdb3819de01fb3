//! A 32-byte secret that is wiped when dropped and never printed.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::words::id::random_bytes;

/// 32 secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes of a secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws a fresh secret.
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// The bytes, for the moment they are needed.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `keyed(self, message)` of FORMAT.md as a secret of its own.
    pub fn subkey(&self, message: &[u8]) -> Self {
        Self(*blake3::keyed_hash(&self.0, message).as_bytes())
    }

    /// `derive(context, self)` of FORMAT.md as a secret of its own.
    pub fn derive(&self, context: &str) -> Self {
        Self(blake3::derive_key(context, &self.0))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
