//! `ararat schedule run`

use anyhow::Result;
use api::{Backup, Schedule};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::output::OutputArgs;
use crate::cluster::{Cluster, checks, named};
use crate::commands::backup::{Created, make};

/// Make a backup of a schedule now. Its next time stays as it is.
#[derive(clap::Args)]
pub struct Run {
    /// The schedule
    name: String,
    /// Wait until it is done; exit codes as for `backup create`
    #[arg(short, long)]
    wait: bool,
    /// Do not look first whether the location can be used
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run {
    /// Makes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        let schedule: Schedule = cluster.run(named::named(&cluster, &self.name))?;
        if !self.no_check {
            let location = schedule.spec.template.storage_location.as_deref();
            cluster.run(checks::ready_for_backup(&cluster, location))?;
        }
        let mut backup = Backup::new(
            &api::cron::name_at(&self.name, Timestamp::now()),
            schedule.spec.template.clone(),
        );
        backup.metadata.namespace = Some(cluster.namespace.clone());
        let mut labels = schedule.metadata.labels.clone().unwrap_or_default();
        labels.insert(
            api::words::SCHEDULE_NAME.to_owned(),
            api::words::label_value(&schedule.name_any()),
        );
        backup.metadata.labels = Some(labels);
        let created = Created {
            wait: self.wait,
            format: self.output.output.or_json(global.json),
            named_after: Some(self.name.clone()),
        };
        make(&cluster, &backup, &created)
    }
}
