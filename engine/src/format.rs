//! Every stored byte: envelope, documents, packs, trees, segments. Pure; described in FORMAT.md.

pub mod tree;
