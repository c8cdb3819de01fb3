//! Ararat's command line.
//!
//! In reading order: [`args`] (what can be said), [`commands`] (what is done, one file a command), [`session`] (which repository, which secret, which
//! machine), [`cluster`] (what a cluster is asked and how it answers), [`installation`] (what an installation consists of), [`new_key`] and [`new_location`]
//! (keys that must not be lost), [`catalogue`] (backups read with no cluster), [`output`] (progress, tables, JSON), [`failure`] (errors for people, and exit codes).

mod allocator;
mod args;
mod catalogue;
mod cluster;
mod commands;
mod failure;
mod installation;
mod new_key;
mod new_location;
mod output;
mod session;
mod volume_key;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::give_back_soon();
    let args = match args::Args::read(std::env::args_os().collect()) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no failures; a wrong word is, and clap says which.
            let code = if error.use_stderr() { failure::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    output::log::start(args.global.verbose, args.global.quiet);
    let json = args.global.json;
    match commands::run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::report(&error, json),
    }
}
