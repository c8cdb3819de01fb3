//! `ararat backup cancel`

use anyhow::Result;
use api::Backup;
use kube::api::{Patch, PatchParams};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{Cluster, named};
use crate::failure::Failure;
use crate::output::show;

/// Stop a backup that is being made. What was read so far is used by the next one.
#[derive(clap::Args)]
pub struct Cancel {
    /// The backup
    name: String,
}

impl Cancel {
    /// Asks for it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        cluster.run(async {
            let backup: Backup = named::named(&cluster, &self.name).await?;
            let phase = backup.status.map(|status| status.phase).unwrap_or_default();
            if phase.is_final() {
                let failure = Failure::new(format!(
                    "The backup \"{}\" is not being made any more: it is {phase:?}",
                    self.name
                ));
                return Err(failure
                    .hint(format!("`ararat backup delete {}` deletes it and its data.", self.name))
                    .into());
            }
            let patch = serde_json::json!({ "spec": { "cancel": true } });
            cluster
                .api::<Backup>()
                .patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            Ok(())
        })?;
        if !global.quiet {
            show::line(&format!("Backup \"{}\" is being stopped.", self.name))?;
        }
        Ok(0)
    }
}
