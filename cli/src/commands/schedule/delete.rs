//! `ararat schedule delete`

use anyhow::Result;
use api::Schedule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{removal, selector};

/// Delete schedules; their backups stay.
#[derive(clap::Args)]
pub struct Delete {
    /// The schedules
    #[arg(required_unless_present_any = ["all", "selector"])]
    names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    all: bool,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = selector::parse, conflicts_with = "names")]
    selector: Option<LabelSelector>,
    /// Do not ask
    #[arg(long, alias = "force", alias = "yes")]
    confirm: bool,
}

impl Delete {
    /// Deletes them.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        removal::remove::<Schedule>(
            global,
            cluster,
            &removal::Meant {
                names: self.names,
                selector: self.selector,
                confirmed: self.confirm,
                remark: "The backups that were made stay.",
            },
        )
    }
}
