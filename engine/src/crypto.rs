//! Keys, seals and ids, as FORMAT.md defines them. Pure.
