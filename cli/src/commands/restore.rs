//! `ararat restore …`: objects and volumes of a backup come back into a cluster.

mod cancel;
mod create;
mod delete;
mod describe;
mod get;
mod logs;
mod plan;

use anyhow::Result;
use clap::Subcommand;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;

/// Restores of applications into a cluster.
#[derive(clap::Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: RestoreCommand,
}

/// What can be done with restores.
#[derive(Subcommand)]
enum RestoreCommand {
    /// Restore a backup, or a part of it
    Create(Box<create::Create>),
    /// List restores
    Get(Box<get::Get>),
    /// Say what a restore did
    Describe(Box<describe::Describe>),
    /// Print the log of a restore
    Logs(Box<logs::Logs>),
    /// Delete restores: their records alone, not what they have made
    Delete(delete::Delete),
    /// Stop a restore
    Cancel(cancel::Cancel),
}

impl RestoreArgs {
    /// Does it; gives the exit code.
    pub fn run(self, global: &Global) -> Result<u8> {
        match self.command {
            RestoreCommand::Create(command) => command.run(global, &self.cluster),
            RestoreCommand::Get(command) => command.run(global, &self.cluster),
            RestoreCommand::Describe(command) => command.run(global, &self.cluster),
            RestoreCommand::Logs(command) => command.run(global, &self.cluster),
            RestoreCommand::Delete(command) => command.run(global, &self.cluster),
            RestoreCommand::Cancel(command) => command.run(global, &self.cluster),
        }
    }
}
