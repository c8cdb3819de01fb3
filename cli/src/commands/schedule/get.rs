//! `ararat schedule get`

use anyhow::Result;
use api::Schedule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::output::{Format, OutputArgs};
use crate::cluster::{Cluster, named, selector};
use crate::output::description::moment_or;
use crate::output::show;

/// List schedules.
#[derive(clap::Args)]
pub struct Get {
    /// Only these
    names: Vec<String>,
    /// Only those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = selector::parse, conflicts_with = "names")]
    selector: Option<LabelSelector>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Get {
    /// Lists them.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let format = self.output.output.or_json(global.json);
        let cluster = Cluster::connect(global, cluster)?;
        let found = cluster.run(named::meant::<Schedule>(&cluster, &self.names, self.selector.as_ref()))?;
        named::print(found, format, self.names.len() != 1, print)?;
        Ok(0)
    }
}

fn print(schedules: &[Schedule], format: Format) -> Result<()> {
    if schedules.is_empty() {
        return show::line("No schedules");
    }
    let mut headings = vec![
        "name",
        "status",
        "created",
        "schedule",
        "backup ttl",
        "last backup",
        "next backup",
        "selector",
        "paused",
    ];
    if format == Format::Wide {
        headings.extend(["time zone", "location", "last name"]);
    }
    let mut table = show::table(&headings);
    for schedule in schedules {
        table.add_row(row(schedule, format));
    }
    show::line(&table.trim_fmt())
}

fn row(schedule: &Schedule, format: Format) -> Vec<String> {
    let (spec, status) = (&schedule.spec, schedule.status.clone().unwrap_or_default());
    let template = &spec.template;
    let mut row = vec![
        schedule.name_any(),
        state(schedule).to_owned(),
        moment_or(schedule.metadata.creation_timestamp.as_ref(), "<unknown>"),
        spec.schedule.clone(),
        template.ttl.clone().unwrap_or_else(|| "720h".to_owned()),
        moment_or(status.last_backup.as_ref(), "<none>"),
        if spec.paused {
            "<paused>".to_owned()
        } else {
            moment_or(status.next_backup.as_ref(), "<unknown>")
        },
        selector::text_of(template.label_selector.as_ref(), &template.or_label_selectors),
        spec.paused.to_string(),
    ];
    if format == Format::Wide {
        row.push(spec.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()));
        row.push(
            template
                .storage_location
                .clone()
                .unwrap_or_else(|| "<default>".to_owned()),
        );
        row.push(status.last_backup_name.unwrap_or_default());
    }
    row.into_iter().map(|cell| show::safe(&cell)).collect()
}

/// Whether it can be obeyed, as its status says.
pub fn state(schedule: &Schedule) -> &'static str {
    let status = schedule.status.as_ref();
    let valid = status.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == "Valid"));
    match valid.map(|condition| condition.status.as_str()) {
        Some("True") => "Enabled",
        Some("False") => "FailedValidation",
        Some(_) | None => "New",
    }
}
