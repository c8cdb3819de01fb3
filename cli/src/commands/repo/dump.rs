//! `ararat repo dump`

use std::ffi::OsString;
use std::io::Write;

use anyhow::Result;
use engine::format::envelope::Access;
use engine::verbs::dump::{DumpOptions, dump};

use super::filter::{FilterArgs, find};
use crate::failure;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::Session;

/// Print a file of a snapshot, or a folder as a tar archive.
#[derive(clap::Args)]
pub struct Dump {
    /// The snapshot, and the file or folder in it
    #[arg(value_name = "SNAPSHOT:PATH")]
    what: OsString,
    /// As a tar archive: needed for folders
    #[arg(long)]
    tar: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Dump {
    /// Prints.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let (snapshot, path) = find(&repository, &self.what, &self.filter)?;
        let shown = Shown::new(session.global.quiet, session.global.json);
        let mut output = std::io::stdout().lock();
        let options = DumpOptions { path, tar: self.tar };
        let report = dump(&repository, &snapshot, &options, &mut output, &shown);
        shown.finish();
        let report = report?;
        output.flush()?;
        for (path, why) in &report.left_out {
            anstream::eprintln!("Left out {}: {why}", show::path(path));
        }
        Ok(if report.left_out.is_empty() {
            0
        } else {
            failure::PARTIAL
        })
    }
}
