//! `ararat schedule pause` and `unpause`

use anyhow::Result;
use api::Schedule;
use kube::api::{Patch, PatchParams};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{Cluster, named};
use crate::output::show;

/// Which schedules.
#[derive(clap::Args)]
pub struct Pause {
    /// The schedules
    #[arg(required = true)]
    names: Vec<String>,
}

impl Pause {
    /// Pauses them, or lets them go on.
    pub fn run(self, global: &Global, cluster: &ClusterArgs, paused: bool) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        cluster.run(async {
            for name in &self.names {
                named::named::<Schedule>(&cluster, name).await?;
            }
            let patch = serde_json::json!({ "spec": { "paused": paused } });
            for name in &self.names {
                cluster
                    .api::<Schedule>()
                    .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await?;
                if !global.quiet {
                    show::line(&format!(
                        "Schedule \"{name}\" {}.",
                        if paused { "is paused" } else { "goes on" }
                    ))?;
                }
            }
            Ok(())
        })?;
        Ok(0)
    }
}
