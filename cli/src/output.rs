//! What people and programs see.

pub mod log;
pub mod progress;
pub mod show;
