//! Backup: a source becomes a snapshot.
//!
//! The walk delivers what there is in path order; what the parent snapshot already has is carried over unread, and what is new goes as jobs to
//! a few workers. A queue keeps the entries in order until they are written into the tree; its length and weight and the number of jobs bound the memory.
//! In reading order: [`options`], [`run`] (the session around it), [`change`] (what is unchanged), [`queue`] (the order), [`jobs`] (slabs and files),
//! [`large`] and [`regions`] (files in chunks), [`style`](crate::chunker::style) (how a file is cut), [`streams`] (standard input and commands),
//! [`memory`] (documents that a program has gathered).

mod change;
mod jobs;
mod large;
mod memory;
mod options;
mod queue;
mod regions;
mod run;
mod streams;

pub use memory::MemoryFile;
pub use options::{BackupOptions, BackupReport, Continued, Input, OwnerNames, ParentChoice};
pub use run::{backup, source_of, source_path};
