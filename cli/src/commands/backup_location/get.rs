//! `ararat backup-location get`

use anyhow::Result;
use api::BackupStorageLocation;
use api::location::{AccessMode, LocationPhase};
use kube::ResourceExt;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::output::{Format, OutputArgs};
use crate::cluster::{Cluster, named};
use crate::output::description::moment_or;
use crate::output::show;

/// List locations, and whether they can be used.
#[derive(clap::Args)]
pub struct Get {
    /// Only these
    names: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Get {
    /// Lists them.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let format = self.output.output.or_json(global.json);
        let cluster = Cluster::connect(global, cluster)?;
        let found = cluster.run(named::meant::<BackupStorageLocation>(&cluster, &self.names, None))?;
        named::print(found, format, self.names.len() != 1, print)?;
        Ok(0)
    }
}

fn print(locations: &[BackupStorageLocation], format: Format) -> Result<()> {
    if locations.is_empty() {
        return show::line("No locations");
    }
    let mut headings = vec!["name", "url", "phase", "last validated", "access mode", "default"];
    if format == Format::Wide {
        headings.extend(["last synced", "repository", "owner"]);
    }
    let mut table = show::table(&headings);
    for location in locations {
        table.add_row(row(location, format));
    }
    show::line(&table.trim_fmt())?;
    // Why one cannot be used is what whoever looks here wants to know.
    for location in locations {
        if let Some(status) = location
            .status
            .as_ref()
            .filter(|status| status.phase == LocationPhase::Unavailable)
            && let Some(message) = &status.message
        {
            show::line(&format!(
                "\n{} is unavailable: {}",
                location.name_any(),
                show::safe(message)
            ))?;
        }
    }
    Ok(())
}

fn row(location: &BackupStorageLocation, format: Format) -> Vec<String> {
    let (spec, status) = (&location.spec, location.status.clone().unwrap_or_default());
    let phase = match (&location.status, status.phase) {
        (None, _) => "New",
        (_, LocationPhase::Available) => "Available",
        (_, LocationPhase::Unavailable) => "Unavailable",
    };
    let mode = match spec.access_mode {
        AccessMode::ReadWrite => "ReadWrite",
        AccessMode::ReadOnly => "ReadOnly",
    };
    let mut row = vec![
        location.name_any(),
        spec.url.clone(),
        phase.to_owned(),
        moment_or(status.last_validation_time.as_ref(), "<never>"),
        mode.to_owned(),
        spec.default.to_string(),
    ];
    if format == Format::Wide {
        row.push(moment_or(status.last_synced_time.as_ref(), "<never>"));
        row.push(status.repository_id.unwrap_or_default());
        row.push(status.owner.unwrap_or_default());
    }
    row.into_iter().map(|cell| show::safe(&cell)).collect()
}
