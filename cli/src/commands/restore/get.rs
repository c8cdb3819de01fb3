//! `ararat restore get`

use anyhow::Result;
use api::archive::RestoreRecord;
use api::{Restore, RestorePhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::from_location::FromLocationArgs;
use crate::args::output::{Format, OutputArgs};
use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, named, selector};
use crate::failure::PARTIAL;
use crate::output::description::moment_or;
use crate::output::show;

/// List restores.
#[derive(clap::Args)]
pub struct Get {
    /// Only these
    names: Vec<String>,
    /// Only those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = selector::parse, conflicts_with = "names")]
    selector: Option<LabelSelector>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    from_location: FromLocationArgs,
}

impl Get {
    /// Lists them.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let format = self.output.output.or_json(global.json);
        let is_list = self.names.len() != 1;
        let (found, left_out) = match self.from_location.session(global)? {
            Some(session) => {
                let catalogue = Catalogue::open(&session)?;
                let found = catalogue.meant::<RestoreRecord>(&self.names, self.selector.as_ref(), global)?;
                let values = found.stored.iter().map(|stored| serde_json::to_value(stored.restore()));
                (values.collect::<Result<_, _>>()?, found.left_out)
            }
            None => {
                let cluster = Cluster::connect(global, cluster)?;
                let found = named::meant::<Restore>(&cluster, &self.names, self.selector.as_ref());
                (cluster.run(found)?, 0)
            }
        };
        named::print(found, format, is_list, print)?;
        Ok(if left_out == 0 { 0 } else { PARTIAL })
    }
}

fn print(restores: &[Restore], format: Format) -> Result<()> {
    if restores.is_empty() {
        return show::line("No restores");
    }
    let mut headings = vec![
        "name",
        "backup",
        "status",
        "started",
        "completed",
        "errors",
        "warnings",
        "created",
        "selector",
    ];
    if format == Format::Wide {
        headings.extend(["objects", "volumes"]);
    }
    let mut table = show::table(&headings);
    show::to_the_right(&mut table, &[5, 6]);
    for restore in restores {
        table.add_row(row(restore, format));
    }
    show::line(&table.trim_fmt())
}

fn row(restore: &Restore, format: Format) -> Vec<String> {
    let (spec, status) = (&restore.spec, restore.status.clone().unwrap_or_default());
    let number = |number: Option<u64>| number.unwrap_or(0).to_string();
    let mut row = vec![
        restore.name_any(),
        source(restore),
        phase(status.phase).to_owned(),
        moment_or(status.start_timestamp.as_ref(), "<not yet>"),
        moment_or(status.completion_timestamp.as_ref(), "<not yet>"),
        number(status.errors),
        number(status.warnings),
        moment_or(restore.metadata.creation_timestamp.as_ref(), "<unknown>"),
        selector::text_of(spec.label_selector.as_ref(), &spec.or_label_selectors),
    ];
    if format == Format::Wide {
        row.push(number(status.progress.map(|progress| progress.items_restored)));
        row.push(number(status.volumes.map(|volumes| volumes.completed)));
    }
    row.into_iter().map(|cell| show::safe(&cell)).collect()
}

/// The backup, or the schedule whose latest one is meant.
pub fn source(restore: &Restore) -> String {
    let found = restore.status.as_ref().and_then(|status| status.backup_name.clone());
    found.or_else(|| restore.spec.backup_name.clone()).unwrap_or_else(|| {
        let schedule = restore.spec.schedule_name.as_deref().unwrap_or_default();
        format!("<latest of {schedule}>")
    })
}

/// A phase as a word. What nobody has looked at is New.
pub fn phase(phase: RestorePhase) -> &'static str {
    match phase {
        RestorePhase::New => "New",
        RestorePhase::FailedValidation => "FailedValidation",
        RestorePhase::InProgress => "InProgress",
        RestorePhase::Planned => "Planned",
        RestorePhase::Canceling => "Canceling",
        RestorePhase::Canceled => "Canceled",
        RestorePhase::Completed => "Completed",
        RestorePhase::PartiallyFailed => "PartiallyFailed",
        RestorePhase::Failed => "Failed",
    }
}
