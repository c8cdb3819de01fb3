//! `ararat schedule create`

use anyhow::{Result, bail};
use api::cron::Times;
use api::{Schedule, ScheduleSpec};
use engine::words::Error;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use kube::ResourceExt;
use kube::api::PostParams;

use crate::args::Global;
use crate::args::backup::BackupSpecArgs;
use crate::args::cluster::ClusterArgs;
use crate::args::labels::{DryRun, LabelArgs};
use crate::args::output::{Format, OutputArgs};
use crate::cluster::{Cluster, checks};
use crate::output::{objects, show};

/// Make a schedule.
#[derive(clap::Args)]
pub struct Create {
    /// The schedule's name; its backups are named after it, with the time
    name: String,
    /// When: five fields of cron (minute, hour, day, month, weekday), @daily and its kin, or '@every 6h'
    #[arg(long, value_name = "CRON")]
    schedule: String,
    /// The time zone of the schedule, e.g. Europe/Berlin; UTC when it is not said
    #[arg(long, alias = "time-zone", value_name = "ZONE")]
    timezone: Option<String>,
    /// Make no backups until it is told to go on
    #[arg(long)]
    paused: bool,
    /// When a time was missed, wait for the next one instead of making a backup at once
    #[arg(long)]
    no_catch_up: bool,
    #[command(flatten)]
    labels: LabelArgs,
    /// With =client, print the object that would be made
    #[arg(long, value_enum, value_name = "WHERE", require_equals = true)]
    dry_run: Option<DryRun>,
    /// Do not look first whether the location can be used and the installation is new enough
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    spec: BackupSpecArgs,
}

impl Create {
    /// Makes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let format = self.output.output.or_json(global.json);
        let times = Times::parse(&self.schedule, self.timezone.as_deref()).map_err(Error::Invalid)?;
        let mut schedule = self.schedule(&cluster.namespace);
        if self.dry_run == Some(DryRun::Client) {
            let format = if format.is_table() { Format::Yaml } else { format };
            objects::print(&[serde_json::to_value(&schedule)?], format, false)?;
            return Ok(0);
        }
        let cluster = Cluster::connect(global, cluster)?;
        let params = PostParams {
            dry_run: self.dry_run.is_some(),
            ..PostParams::default()
        };
        let made = cluster.run(async {
            if !self.no_check {
                checks::ready_for_backup(&cluster, schedule.spec.template.storage_location.as_deref()).await?;
                if schedule.spec.template.storage_location.is_none() {
                    let location = checks::location(&cluster, None).await?;
                    if !location.spec.default {
                        schedule.spec.template.storage_location = Some(location.name_any());
                    }
                }
            }
            let typed = serde_json::from_value(serde_json::to_value(&schedule)?)?;
            Ok(serde_json::to_value(
                cluster.raw::<Schedule>().create(&params, &typed).await?,
            )?)
        })?;
        if objects::print(&[made], format, false)? || global.quiet {
            return Ok(0);
        }
        let Some(next) = times.next(Timestamp::now()) else {
            bail!(Error::Invalid(format!("`{}` never comes", self.schedule)));
        };
        let next = next
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string();
        let when = if self.paused {
            "It is paused.".to_owned()
        } else {
            format!("The next backup is made at {next}.")
        };
        show::line(&format!("Schedule \"{}\" created successfully. {when}", self.name))?;
        Ok(0)
    }

    fn schedule(&self, namespace: &str) -> Schedule {
        let spec = ScheduleSpec {
            schedule: self.schedule.clone(),
            time_zone: self.timezone.clone(),
            paused: self.paused,
            catch_up: !self.no_catch_up,
            run_now: None,
            template: self.spec.spec(None),
        };
        let mut schedule = Schedule::new(&self.name, spec);
        schedule.metadata.namespace = Some(namespace.to_owned());
        schedule.metadata.labels = Some(self.labels.labels()).filter(|labels| !labels.is_empty());
        schedule.metadata.annotations = self.labels.annotations();
        schedule
    }
}
