//! `ararat backup logs`

use anyhow::Result;
use api::Backup;
use api::archive::Record;
use api::download_request::DownloadKind;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::from_location::FromLocationArgs;
use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, download, named};
use crate::output::show::Lines;

/// Print the log of a backup.
#[derive(clap::Args)]
pub struct Logs {
    /// The backup
    name: String,
    #[command(flatten)]
    from_location: FromLocationArgs,
}

impl Logs {
    /// Prints.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let mut lines = Lines::default();
        if let Some(session) = self.from_location.session(global)? {
            let catalogue = Catalogue::open(&session)?;
            lines.push(&catalogue.log(&catalogue.named::<Record>(&self.name)?)?)?;
        } else {
            let cluster = Cluster::connect(global, cluster)?;
            cluster.run(async {
                named::named::<Backup>(&cluster, &self.name).await?;
                download::download(&cluster, DownloadKind::BackupLog, &self.name, &mut |piece| {
                    lines.push(piece)
                })
                .await
            })?;
        }
        lines.finish()?;
        Ok(0)
    }
}
