//! `ararat backup download`

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use api::Backup;
use api::archive::Record;
use api::download_request::DownloadKind;
use engine::words::{Error, Progress};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::from_location::FromLocationArgs;
use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, download, named};
use crate::new_key;
use crate::output::progress::Shown;
use crate::output::show;

/// Write everything of a backup but volume data into a tar archive: objects, records, results, log.
#[derive(clap::Args)]
pub struct Download {
    /// The backup
    name: String,
    /// The archive; - for standard output [default: NAME.tar]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    from_location: FromLocationArgs,
}

impl Download {
    /// Writes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let path = self
            .output
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{}.tar", self.name)));
        let shown = Shown::new(global.quiet, global.json);
        let result = if path == Path::new("-") {
            self.write(global, cluster, &mut std::io::stdout().lock(), &shown)
        } else {
            self.write_file(global, cluster, &path, &shown)
        };
        shown.finish();
        result?;
        if path != Path::new("-") && !global.quiet {
            show::line(&format!("Backup \"{}\" is in {}", self.name, path.display()))?;
        }
        Ok(0)
    }

    /// The file has its name once it is whole.
    fn write_file(&self, global: &Global, cluster: &ClusterArgs, path: &Path, shown: &Shown) -> Result<()> {
        if !self.force && path.symlink_metadata().is_ok() {
            return Err(Error::Invalid(format!("{} exists; give --force to write over it", path.display())).into());
        }
        let what = || format!("Could not write {}", path.display());
        let unfinished = new_key::pending(path);
        let mut file = File::create(&unfinished).with_context(what)?;
        let written = self.write(global, cluster, &mut file, shown);
        let written = written.and_then(|()| file.sync_all().with_context(what));
        let named = written.and_then(|()| std::fs::rename(&unfinished, path).with_context(what));
        if named.is_err() {
            // What is left of it is of no use to anybody.
            let _ = std::fs::remove_file(&unfinished);
        }
        named
    }

    fn write(&self, global: &Global, cluster: &ClusterArgs, output: &mut dyn Write, shown: &Shown) -> Result<()> {
        if let Some(session) = self.from_location.session(global)? {
            let catalogue = Catalogue::open(&session)?;
            return catalogue.contents(&catalogue.named::<Record>(&self.name)?, output, shown);
        }
        let cluster = Cluster::connect(global, cluster)?;
        cluster.run(async {
            named::named::<Backup>(&cluster, &self.name).await?;
            shown.stage("Downloading", "");
            let mut write = |piece: &[u8]| {
                output.write_all(piece)?;
                shown.done(0, piece.len() as u64);
                Ok(())
            };
            download::download(&cluster, DownloadKind::BackupContents, &self.name, &mut write).await
        })?;
        output.flush()?;
        Ok(())
    }
}
