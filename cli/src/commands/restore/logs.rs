//! `ararat restore logs`

use anyhow::Result;
use api::Restore;
use api::download_request::DownloadKind;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{Cluster, download, named};
use crate::output::show::Lines;

/// Print the log of a restore.
#[derive(clap::Args)]
pub struct Logs {
    /// The restore
    name: String,
}

impl Logs {
    /// Prints.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        let mut lines = Lines::default();
        cluster.run(async {
            named::named::<Restore>(&cluster, &self.name).await?;
            download::download(&cluster, DownloadKind::RestoreLog, &self.name, &mut |piece| {
                lines.push(piece)
            })
            .await
        })?;
        lines.finish()?;
        Ok(0)
    }
}
