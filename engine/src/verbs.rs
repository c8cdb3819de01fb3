//! What one can do with a repository: one file a verb; repository, input, options, progress → a report.

pub mod backup;
pub mod check;
pub mod dump;
pub mod forget;
mod moved;
pub mod prune;
pub mod read;
pub mod restore;
pub mod stats;
