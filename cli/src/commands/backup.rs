//! `ararat backup …`: backups of applications in a cluster.

mod cancel;
mod create;
mod delete;
mod describe;
mod download;
mod get;
mod logs;
mod plan;
mod story;

use anyhow::Result;
use clap::Subcommand;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;

pub use create::{Created, make};

/// Backups of applications in a cluster.
#[derive(clap::Args)]
pub struct BackupArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: BackupCommand,
}

/// What can be done with backups.
#[derive(Subcommand)]
enum BackupCommand {
    /// Make a backup
    Create(Box<create::Create>),
    /// List backups
    Get(Box<get::Get>),
    /// Say what is in a backup, and how it came about
    Describe(Box<describe::Describe>),
    /// Print the log of a backup
    Logs(Box<logs::Logs>),
    /// Delete backups and their data
    Delete(delete::Delete),
    /// Write everything of a backup but volume data into a tar archive
    Download(Box<download::Download>),
    /// Stop a backup that is being made
    Cancel(cancel::Cancel),
}

impl BackupArgs {
    /// Does it; gives the exit code.
    pub fn run(self, global: &Global) -> Result<u8> {
        match self.command {
            BackupCommand::Create(command) => command.run(global, &self.cluster),
            BackupCommand::Get(command) => command.run(global, &self.cluster),
            BackupCommand::Describe(command) => command.run(global, &self.cluster),
            BackupCommand::Logs(command) => command.run(global, &self.cluster),
            BackupCommand::Delete(command) => command.run(global, &self.cluster),
            BackupCommand::Download(command) => command.run(global, &self.cluster),
            BackupCommand::Cancel(command) => command.run(global, &self.cluster),
        }
    }
}
