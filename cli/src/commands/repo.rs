//! `ararat repo …`: everything that can be done with a repository, with no cluster in sight.

mod backup;
mod cache;
mod cat;
mod check;
mod diff;
mod dump;
mod filter;
mod forget;
mod init;
mod key;
mod ls;
mod probe;
mod prune;
mod restore;
mod snapshots;
mod stats;
mod tag;

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
    /// Restore a snapshot, or a part of it
    Restore(Box<restore::Restore>),
    /// List the snapshots
    Snapshots(snapshots::Snapshots),
    /// List what is in a snapshot
    Ls(ls::Ls),
    /// Print a snapshot's record, or the repository's config
    Cat(cat::Cat),
    /// Print a file of a snapshot, or a folder as a tar archive
    Dump(dump::Dump),
    /// Show what differs between two snapshots
    Diff(diff::Diff),
    /// Say how much there is, and what each snapshot alone holds
    Stats(stats::Stats),
    /// Change the tags of snapshots
    Tag(tag::Tag),
    /// Check that everything is there and is what was written
    Check(check::Check),
    /// Forget snapshots, by name or by policy
    Forget(Box<forget::Forget>),
    /// Delete what no snapshot needs
    Prune(prune::Prune),
    /// Find out whether the store does what the protocol needs
    Probe(probe::Probe),
    /// Say what this machine keeps of repositories, or remove it
    Cache(cache::CacheArgs),
    /// Say who can do what: passwords, keys and roles
    Key(key::Key),
}

/// Does it; gives the exit code.
pub fn run(session: &Session, command: RepoCommand) -> Result<u8> {
    match command {
        RepoCommand::Init(command) => command.run(session),
        RepoCommand::Backup(command) => command.run(session),
        RepoCommand::Restore(command) => command.run(session),
        RepoCommand::Probe(command) => command.run(session),
        RepoCommand::Snapshots(command) => command.run(session),
        RepoCommand::Ls(command) => command.run(session),
        RepoCommand::Cat(command) => command.run(session),
        RepoCommand::Dump(command) => command.run(session),
        RepoCommand::Diff(command) => command.run(session),
        RepoCommand::Stats(command) => command.run(session),
        RepoCommand::Tag(command) => command.run(session),
        RepoCommand::Check(command) => command.run(session),
        RepoCommand::Forget(command) => command.run(session),
        RepoCommand::Prune(command) => command.run(session),
        RepoCommand::Cache(command) => command.run(session),
        RepoCommand::Key(command) => command.run(session),
    }
}
