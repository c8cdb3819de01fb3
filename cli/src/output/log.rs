//! The log on standard error: warnings by default, more with -v, or what ARARAT_LOG says.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging.
pub fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        // What a connection goes through is told by whoever waits for it, in words for people.
        (false, 0) => "warn,kube_client=off,kube_runtime=off",
        (false, 1) => "ararat=info,engine=info,warn",
        (false, _) => "ararat=debug,engine=debug,info",
    };
    let filter = EnvFilter::try_from_env("ARARAT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second start, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .try_init();
}
