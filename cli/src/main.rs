//! Ararat.
fn main() {}
