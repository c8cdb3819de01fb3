//! From a passphrase to key material: Argon2id. The only module that names `argon2`.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::words::{Error, Result};

/// What it costs to try one passphrase; stored in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB, 8 to 4 Mi.
    pub memory_kib: u32,
    /// Passes over it, 1 to 64.
    pub passes: u32,
    /// Lanes, 1 to 64.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// RFC 9106's second recommended setting (64 MiB, three passes, four lanes): memory stays well below what a backup may use.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

/// Stretches a passphrase with a salt. Takes about a tenth of a second and `memory_kib` of memory with the default cost.
///
/// # Errors
/// [`Error::Invalid`] when the cost is out of range: a hostile store must not make us allocate without bound.
pub fn stretch(passphrase: &[u8], salt: &[u8; 16], cost: PassphraseCost) -> Result<Secret> {
    let sane =
        (8..=4 << 20).contains(&cost.memory_kib) && (1..=64).contains(&cost.passes) && (1..=64).contains(&cost.lanes);
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .ok()
        .filter(|_| sane);
    let params =
        params.ok_or_else(|| Error::Invalid("The passphrase slot asks for more work than is allowed".into()))?;
    let mut material = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut material)
        .map_err(|error| Error::Invalid(format!("The passphrase cannot be used: {error}")))?;
    Ok(Secret::new(material))
}
