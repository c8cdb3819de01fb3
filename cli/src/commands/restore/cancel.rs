//! `ararat restore cancel`

use anyhow::Result;
use api::Restore;
use kube::api::{Patch, PatchParams};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{Cluster, named};
use crate::failure::Failure;
use crate::output::show;

/// Stop a restore. What was made so far stays.
#[derive(clap::Args)]
pub struct Cancel {
    /// The restore
    name: String,
}

impl Cancel {
    /// Asks for it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        cluster.run(async {
            let restore: Restore = named::named(&cluster, &self.name).await?;
            let phase = restore.status.map(|status| status.phase).unwrap_or_default();
            if phase.is_final() {
                return Err(Failure::new(format!(
                    "The restore \"{}\" is not being done any more: it is {phase:?}",
                    self.name
                ))
                .into());
            }
            let patch = serde_json::json!({ "spec": { "cancel": true } });
            cluster
                .api::<Restore>()
                .patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            Ok(())
        })?;
        if !global.quiet {
            show::line(&format!("Restore \"{}\" is being stopped.", self.name))?;
        }
        Ok(0)
    }
}
