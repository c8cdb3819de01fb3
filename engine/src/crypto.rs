//! Keys, seals and ids, as FORMAT.md defines them. Pure.
//!
//! What must hold: no secret has a `Debug` or `Serialize` of its own that shows it, and every secret is wiped when it is dropped.

pub mod aead;
pub mod blob;
pub mod hpke;
pub mod key_text;
pub mod passphrase;
pub mod secret;

pub use blob::{BlobIds, BlobSealer};
pub use hpke::{PublicKey, SecretPair};
pub use secret::Secret;
