//! Does this store do what the protocol needs?

use bytes::Bytes;

use super::{Created, Store};
use crate::words::Result;
use crate::words::id::random_bytes;

/// Whether a second put of one name is refused; costs three requests.
///
/// # Errors
/// What the store says.
pub fn creates_if_absent(store: &Store) -> Result<bool> {
    let name = format!("probe/{}", data_encoding::HEXLOWER.encode(&random_bytes::<16>()));
    let first = store.create(&name, Bytes::from_static(b"first"))?;
    let second = store.create(&name, Bytes::from_static(b"second"))?;
    store.delete(&[name])?;
    Ok(matches!((first, second), (Created::Done, Created::Exists(_))))
}
