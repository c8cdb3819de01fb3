//! Foreign objects: which kinds there are, how they are listed, which nodes fit ([`nodes`], pure), and how commands run in pods.

pub mod exec;
pub mod kinds;
pub mod list;
pub mod nodes;
