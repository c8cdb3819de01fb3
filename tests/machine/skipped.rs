//! A test that this machine cannot run says so, wherever it stands.

use std::io::Write;

/// Says on the terminal that the running test is skipped, and why.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln!, which the test harness keeps to itself as long as a test passes.
    writeln!(std::io::stderr(), "SKIPPED {test}: {why}").ok();
}
