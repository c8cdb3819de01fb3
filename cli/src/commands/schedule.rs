//! `ararat schedule …`: backups at times.

mod create;
mod delete;
mod describe;
mod get;
mod pause;
mod run;

use anyhow::Result;
use clap::Subcommand;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;

/// Backups at times.
#[derive(clap::Args)]
pub struct ScheduleArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: ScheduleCommand,
}

/// What can be done with schedules.
#[derive(Subcommand)]
enum ScheduleCommand {
    /// Make a schedule
    Create(Box<create::Create>),
    /// List schedules
    Get(get::Get),
    /// Say what a schedule does, and what became of its backups
    Describe(describe::Describe),
    /// Delete schedules; their backups stay
    Delete(delete::Delete),
    /// Make no backups until it goes on
    Pause(pause::Pause),
    /// Go on with a schedule that was paused
    Unpause(pause::Pause),
    /// Make a backup of a schedule now
    Run(run::Run),
}

impl ScheduleArgs {
    /// Does it; gives the exit code.
    pub fn run(self, global: &Global) -> Result<u8> {
        match self.command {
            ScheduleCommand::Create(command) => command.run(global, &self.cluster),
            ScheduleCommand::Get(command) => command.run(global, &self.cluster),
            ScheduleCommand::Describe(command) => command.run(global, &self.cluster),
            ScheduleCommand::Delete(command) => command.run(global, &self.cluster),
            ScheduleCommand::Pause(command) => command.run(global, &self.cluster, true),
            ScheduleCommand::Unpause(command) => command.run(global, &self.cluster, false),
            ScheduleCommand::Run(command) => command.run(global, &self.cluster),
        }
    }
}
