//! What can be said on the command line. Doc comments are the help.

pub mod backup;
pub mod cluster;
pub mod frequencies;
pub mod from_location;
pub mod labels;
pub mod location;
pub mod output;
pub mod restore;
pub mod selection;
mod store;
pub mod words;

use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::backup::BackupArgs;
use crate::commands::backup_location::LocationFamily;
use crate::commands::install::Install;
use crate::commands::repo::RepoCommand;
use crate::commands::restore::RestoreArgs;
use crate::commands::schedule::ScheduleArgs;
use crate::commands::uninstall::Uninstall;
use crate::commands::version::Version;

pub use store::StoreArgs;

/// Ararat backs up files and Kubernetes applications into one encrypted, deduplicated repository, and back.
#[derive(Parser)]
#[command(name = "ararat", version, max_term_width = 110, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// Reads the words that the program was started with.
    pub fn read(words: Vec<std::ffi::OsString>) -> Result<Self, clap::Error> {
        let program = words::program(words.first().map(std::ffi::OsString::as_os_str));
        let command = Self::command().bin_name(program);
        let matches = command.try_get_matches_from(words::arranged(words))?;
        Self::from_arg_matches(&matches)
    }
}

/// Flags that every command takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    /// Say less: only errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print one JSON document for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

/// The families of commands.
#[derive(Subcommand)]
pub enum Command {
    /// Install Ararat in a cluster, or bring an installation up to date
    Install(Box<Install>),
    /// Remove Ararat from a cluster; no data is deleted from any location
    Uninstall(Uninstall),
    /// Back up applications of a cluster, and see what was backed up
    #[command(alias = "backups")]
    Backup(Box<BackupArgs>),
    /// Restore applications into a cluster, and see what was restored
    #[command(alias = "restores")]
    Restore(Box<RestoreArgs>),
    /// Back up at times
    #[command(alias = "schedules")]
    Schedule(Box<ScheduleArgs>),
    /// Say where backups go
    #[command(alias = "backup-locations")]
    BackupLocation(Box<LocationFamily>),
    /// Say the version of this program, and of Ararat in the cluster
    Version(Version),
    /// Work with a repository, with no cluster: back up, restore, look, care
    Repo(Box<RepoArgs>),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder, one a command
    Man {
        /// The folder
        folder: std::path::PathBuf,
    },
}

/// A length of time as the kinds write it: 72h, 1h30m, 90s.
pub fn length_of_time(text: &str) -> Result<Duration, String> {
    api::duration::parse(text)
}

/// Which repository, and how it is reached.
#[derive(clap::Args, Clone, Debug)]
pub struct RepositoryArgs {
    /// Where the repository is: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. Without it, a
    /// repository in your data folder is used
    #[arg(short, long, env = "ARARAT_REPOSITORY", global = true, value_name = "URL")]
    pub repo: Option<String>,
    /// The file with your key; without it, or a password by one of the next two, what ARARAT_KEY_FILE names
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<std::path::PathBuf>,
    /// The file with the password, on its first line (or ARARAT_PASSWORD_FILE, or the password in ARARAT_PASSWORD)
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<std::path::PathBuf>,
    /// A command that prints the password (or ARARAT_PASSWORD_COMMAND)
    #[arg(long, global = true, value_name = "COMMAND")]
    pub password_command: Option<String>,
    /// The folder for caches
    #[arg(long, env = "ARARAT_CACHE_DIR", global = true, value_name = "FOLDER")]
    pub cache_dir: Option<std::path::PathBuf>,
    /// Keep no cache
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Let copies of a repository's objects take so much in the cache, instead of 4GiB; what was used last stays
    #[arg(long, env = "ARARAT_CACHE_LIMIT", global = true, value_name = "SIZE")]
    pub cache_limit: Option<bytesize::ByteSize>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Which repository, and what to do with it.
#[derive(clap::Args)]
pub struct RepoArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
    #[command(subcommand)]
    pub command: RepoCommand,
}
