//! `ararat backup-location delete`

use anyhow::Result;
use api::BackupStorageLocation;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::removal;

/// Delete locations from the cluster. No data is deleted, and the Secrets with keys and credentials stay.
#[derive(clap::Args)]
pub struct Delete {
    /// The locations
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Do not ask
    #[arg(long, alias = "force", alias = "yes")]
    confirm: bool,
}

impl Delete {
    /// Deletes them.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        removal::remove::<BackupStorageLocation>(
            global,
            cluster,
            &removal::Meant {
                names: self.names,
                selector: None,
                confirmed: self.confirm,
                remark: "No data is deleted: the backups are still where they were, and so are the Secrets with keys and credentials (location-…).",
            },
        )
    }
}
