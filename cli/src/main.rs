//! The command line `ararat`: reads arguments and the environment, calls the engine, prints.
fn main() {}
