//! The program of a holder pod: it does nothing, so that the pod runs and its claim is mounted.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Sleeps until SIGTERM or SIGINT. In a container this is process 1, for which a signal that nobody catches does nothing: the pod would take its whole
/// grace to end.
pub fn hold() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.context("Could not wait for signals")?.block_on(told_to_end())
}

/// Waits for SIGTERM or SIGINT.
pub async fn told_to_end() -> Result<()> {
    let listen = |kind| signal(kind).context("Could not wait for signals");
    let (mut terminated, mut interrupted) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}
