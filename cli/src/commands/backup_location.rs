//! `ararat backup-location …`: where backups go.

mod create;
mod delete;
mod get;
mod set;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;

/// Where backups go.
#[derive(clap::Args)]
pub struct LocationFamily {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: LocationCommand,
}

/// What can be done with locations.
#[derive(Subcommand)]
enum LocationCommand {
    /// Make a location
    Create(Box<create::Create>),
    /// List locations, and whether they can be used
    Get(get::Get),
    /// Change a location
    Set(set::Set),
    /// Delete locations from the cluster; no data is deleted
    Delete(delete::Delete),
}

/// Whether a location is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccessMode {
    /// Backups go there
    #[value(name = "ReadWrite")]
    ReadWrite,
    /// Nothing is written there
    #[value(name = "ReadOnly")]
    ReadOnly,
}

impl LocationFamily {
    /// Does it; gives the exit code.
    pub fn run(self, global: &Global) -> Result<u8> {
        match self.command {
            LocationCommand::Create(command) => command.run(global, &self.cluster),
            LocationCommand::Get(command) => command.run(global, &self.cluster),
            LocationCommand::Set(command) => command.run(global, &self.cluster),
            LocationCommand::Delete(command) => command.run(global, &self.cluster),
        }
    }
}
