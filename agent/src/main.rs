//! Ararat's agent: moves the data of one node's volumes between the kubelet's folders and the repository.
//!
//! In reading order: [`args`] (how it is started); [`node`] (what is watched, and who works) over [`board`] (who is next: pure); [`job`] (the life of one
//! volume) over [`decide`] (what its object asks for: pure), [`status`] (what is said of it: pure), [`report`] (how it is said) and [`handover`] (what it
//! is told); [`work`] (the engine's verbs on a volume) over [`place`] (where the kubelet has it), [`marker`] (volumes that a pod waits for), [`progress`],
//! [`repositories`] and [`machine`]; [`hold`] and [`wait`], the two small programs that run in pods of others.
//!
//! What must hold:
//! - The agent knows nothing but what a PodVolumeBackup or PodVolumeRestore of its node says, and what the controller seals to a key that it has drawn for
//!   that one volume. It reads no Secret, and its rights in the API are: get, list and watch PodVolumeBackups and PodVolumeRestores, patch their status,
//!   create events; in its own namespace alone.
//! - It may be killed at any moment: whatever is not final in the API is begun again, and the engine goes on with what was stored.
//! - A volume that is not surely the one that was asked for is not read, and never written.
//!
//! # What it may do on the node
//!
//! It runs as root with every capability dropped but these:
//!
//! - `DAC_READ_SEARCH`: read files and list folders of any owner.
//! - `DAC_OVERRIDE`: make and replace files in folders of any owner.
//! - `CHOWN`: give restored files to their owners.
//! - `FOWNER`: set modes, times and attributes of files that are others' by then; read without changing access times.
//! - `FSETID`: keep set-user-id and set-group-id bits of restored files.
//! - `SETFCAP`: restore the attribute that gives a program capabilities.
//! - `MKNOD`: restore device nodes.
//!
//! Block volumes need more: the container runtime lets no container open a device that it was not given, unless it is privileged. So the agent is
//! privileged only where block volumes are asked for (`ararat install --privileged-agent`); everywhere else it refuses them and says so.
//! Extended attributes in `trusted.` would need `SYS_ADMIN`; they are not saved, and a restore counts what it could not give back.

// The same in every program, and no library's to choose.
#[path = "../../cli/src/allocator.rs"]
mod allocator;
mod args;
#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs, reason = "tests")]
mod bench;
mod board;
mod decide;
mod handover;
mod hold;
mod job;
mod machine;
mod marker;
mod node;
mod place;
mod progress;
mod report;
mod repositories;
mod shares;
mod status;
mod volume;
mod wait;
mod work;

use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser;

fn main() -> ExitCode {
    allocator::give_back_soon();
    let args = Args::parse();
    args.start_log();
    let ended = match args.command {
        Command::Run(args) => node::run_until_told_to_end(&args),
        Command::Hold => hold::hold(),
        Command::Wait(args) => wait::wait(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
