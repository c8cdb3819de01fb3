//! Ararat's engine: a content-addressed, deduplicating, encrypting backup repository in any object store.
//!
//! The floors, lowest first; a module imports only from floors below it (`tests/tidy.rs` keeps this):
//!
//! 1. [`words`]: ids, errors, progress. No I/O.
//! 2. Bytes at rest, pure: [`chunker`], [`compress`], [`crypto`], [`mod@format`]. `FORMAT.md` beside this crate defines every stored byte.
//! 3. [`store`]: the only floor that knows object stores: location, retries, limits, cache, probe.
//! 4. [`pack`] and [`index`]: blobs into packs, and from ids back to places.
//! 5. [`repository`]: keys, sessions, generations; what is safe beside what.
//! 6. [`source`] and [`target`]: the file system as it is read and written.
//! 7. [`verbs`]: backup, restore, check, forget, prune and their siblings: one file each; repository, input, options, progress → a report.
//!
//! The engine has never heard of Kubernetes, terminals, the environment or the wall clock: `now` is given.
//! It is synchronous: verbs are called from threads, never from inside an async task; [`store`] waits for the network by itself.

pub mod chunker;
pub mod compress;
pub mod crypto;
pub mod format;
pub mod index;
pub mod pack;
pub mod repository;
pub mod store;
pub mod source;
pub mod target;
pub mod verbs;
pub mod words;
