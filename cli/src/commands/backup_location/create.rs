//! `ararat backup-location create`

use std::time::Duration;

use anyhow::Result;
use api::BackupStorageLocation;

use super::AccessMode;
use crate::args::cluster::ClusterArgs;
use crate::args::frequencies::FrequencyArgs;
use crate::args::location::LocationArgs;
use crate::args::{Global, length_of_time};
use crate::cluster::{Cluster, checks, readiness};
use crate::commands::install::{tell_origin, write};
use crate::failure::Failure;
use crate::new_location::LocationWish;
use crate::output::progress::Shown;
use crate::output::show;

/// Make a location. Without --key-file a key is drawn for a new repository there, and its recovery sheet written.
#[derive(clap::Args)]
pub struct Create {
    /// The location's name
    name: String,
    /// Where it is: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL")]
    url: String,
    /// Backups that name no location go there, and to no other one; a first location is the default anyway
    #[arg(long)]
    default: bool,
    /// Whether backups go there, or nothing is written there
    #[arg(long, value_enum, value_name = "MODE", default_value_t = AccessMode::ReadWrite)]
    access_mode: AccessMode,
    /// How long to wait until it can be used; 0s does not wait
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = length_of_time)]
    wait_timeout: Duration,
    #[command(flatten)]
    location: LocationArgs,
    #[command(flatten)]
    frequencies: FrequencyArgs,
}

impl Create {
    /// Makes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        let shown = Shown::new(global.quiet, global.json);
        let done = cluster.run(self.create(&cluster, &shown));
        shown.finish();
        done?;
        if !global.quiet {
            let state = if self.wait_timeout.is_zero() {
                "made"
            } else {
                "made, and available"
            };
            show::line(&format!("Location \"{}\" is {state}.", self.name))?;
        }
        Ok(0)
    }

    async fn create(&self, cluster: &Cluster, shown: &Shown) -> Result<()> {
        checks::definitions_are_new_enough(cluster).await?;
        if cluster
            .api::<BackupStorageLocation>()
            .get_opt(&self.name)
            .await?
            .is_some()
        {
            let failure = Failure::new(format!("There is already a location `{}`", self.name));
            return Err(failure
                .hint(format!(
                    "Change it with `ararat backup-location set {}`, or choose another name.",
                    self.name
                ))
                .into());
        }
        let wish = LocationWish {
            is_default: self.default.then_some(true),
            is_read_only: self.access_mode == AccessMode::ReadOnly,
            frequencies: self.frequencies.fields(),
            ..self.location.wish(&self.name, &self.url)
        };
        let (plan, origin) = wish.plan(Some(cluster)).await?;
        tell_origin(&self.name, &origin, shown);
        write(cluster, &plan.manifests(&cluster.namespace), shown).await?;
        if self.default {
            super::set::only_default(cluster, &self.name).await?;
        }
        if self.wait_timeout.is_zero() {
            return Ok(());
        }
        readiness::wait(cluster, Some(&self.name), self.wait_timeout, shown).await
    }
}
