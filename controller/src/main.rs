//! Ararat's controller: it makes what the Kubernetes objects of `ararat.dev` ask for.
//!
//! In reading order: [`args`] (how it is started), [`run`] (the parts and their order), [`leader`] (one of two replicas works), [`context`] (what every
//! part is given), [`watched`] (objects as they are now), [`repositories`] (from a location to an open repository), [`cluster`] (how foreign objects are
//! listed and commands run in pods), [`volumes`] (which volume is read how, and by which agent); then one module a kind: [`backup`], [`restore`],
//! [`schedule`], [`location`], [`maintenance`], [`deletion`], [`download`]. [`server`] answers over HTTP; [`dry_runs`] clears away what nobody waits for;
//! [`merge`] says what changed in a status, [`documents`] stores a few documents as a snapshot.
//!
//! What must hold: every long operation is a state machine that is written down in the API before each step that cannot be repeated, so that whoever is
//! leader next goes on where the last one died.

// The same in every program, and no library's to choose.
#[path = "../../cli/src/allocator.rs"]
mod allocator;
mod args;
mod backup;
mod cluster;
mod context;
mod deletion;
mod documents;
mod download;
mod dry_runs;
mod issues;
mod leader;
mod location;
mod maintenance;
mod merge;
mod patience;
mod repositories;
mod restore;
mod run;
mod schedule;
mod server;
mod strays;
mod tasks;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod trial;
mod volumes;
mod watched;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    allocator::give_back_soon();
    let args = args::Args::parse();
    args.start_log();
    // Whoever links two TLS providers must choose; object_store and we agree on this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("Could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
