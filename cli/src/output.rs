//! What people and programs see.

pub mod log;
pub mod objects;
pub mod progress;
pub mod question;
pub mod show;
