//! `ararat repo …`: everything that can be done with a repository, with no cluster in sight.

mod backup;
mod init;
mod snapshots;

use anyhow::Result;
use clap::Subcommand;

use crate::session::Session;

/// What can be done with a repository.
#[derive(Subcommand)]
pub enum RepoCommand {
    /// Make a repository
    Init(init::Init),
    /// Back up files, folders, devices or a stream
    Backup(Box<backup::Backup>),
    /// List the snapshots
    Snapshots(snapshots::Snapshots),
}

/// Does it; gives the exit code.
pub fn run(session: &Session, command: RepoCommand) -> Result<u8> {
    match command {
        RepoCommand::Init(command) => command.run(session),
        RepoCommand::Backup(command) => command.run(session),
        RepoCommand::Snapshots(command) => command.run(session),
    }
}
