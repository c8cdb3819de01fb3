//! `ararat restore delete`

use anyhow::Result;
use api::Restore;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{removal, selector};

/// Delete restores: their records alone. What they have made stays.
#[derive(clap::Args)]
pub struct Delete {
    /// The restores
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
        removal::remove::<Restore>(
            global,
            cluster,
            &removal::Meant {
                names: self.names,
                selector: self.selector,
                confirmed: self.confirm,
                remark: "What was restored stays.",
            },
        )
    }
}
