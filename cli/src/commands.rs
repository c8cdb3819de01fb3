//! One file a command: its arguments, whose doc comments are the help, then one function.

pub mod backup;
pub mod backup_location;
pub mod install;
pub mod repo;
pub mod restore;
pub mod schedule;
pub mod uninstall;
pub mod version;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::session::Session;

/// Does what was asked for; gives the exit code.
pub fn run(args: Args) -> Result<u8> {
    match args.command {
        Command::Install(install) => install.run(&args.global),
        Command::Uninstall(uninstall) => uninstall.run(&args.global),
        Command::Backup(backup) => backup.run(&args.global),
        Command::Restore(restore) => restore.run(&args.global),
        Command::Schedule(schedule) => schedule.run(&args.global),
        Command::BackupLocation(location) => location.run(&args.global),
        Command::Version(version) => version.run(&args.global),
        Command::Repo(repo) => repo::run(&Session::new(args.global, repo.repository)?, repo.command),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "ararat", &mut std::io::stdout());
            Ok(0)
        }
        Command::Man { folder } => {
            std::fs::create_dir_all(&folder)?;
            clap_mangen::generate_to(Args::command(), &folder)?;
            Ok(0)
        }
    }
}
