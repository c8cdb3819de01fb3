//! What people and programs see.

pub mod description;
pub mod log;
pub mod objects;
pub mod progress;
pub mod question;
pub mod show;
pub mod work;
