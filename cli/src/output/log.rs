//! The log on standard error: warnings by default, more with -v, or what ARARAT_LOG says.

use tracing_subscriber::EnvFilter;

/// Starts logging.
pub fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "ararat=info,engine=info,warn",
        (false, _) => "ararat=debug,engine=debug,info",
    };
    let filter = EnvFilter::try_from_env("ARARAT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second start, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .try_init();
}
