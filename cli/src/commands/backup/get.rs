//! `ararat backup get`

use std::fmt::Write;

use anyhow::Result;
use api::archive::Record;
use api::condition::{self, Condition};
use api::{Backup, BackupPhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::create::volumes_text;
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::from_location::FromLocationArgs;
use crate::args::output::{Format, OutputArgs};
use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, named, selector};
use crate::failure::PARTIAL;
use crate::output::description::{left, moment_or};
use crate::output::show;

/// List backups.
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
                let found = catalogue.meant::<Record>(&self.names, self.selector.as_ref(), global)?;
                let values = found.stored.iter().map(|stored| serde_json::to_value(stored.backup()));
                (values.collect::<Result<_, _>>()?, found.left_out)
            }
            None => {
                let cluster = Cluster::connect(global, cluster)?;
                let found = named::meant::<Backup>(&cluster, &self.names, self.selector.as_ref());
                (cluster.run(found)?, 0)
            }
        };
        named::print(found, format, is_list, print)?;
        Ok(if left_out == 0 { 0 } else { PARTIAL })
    }
}

fn print(backups: &[Backup], format: Format) -> Result<()> {
    if backups.is_empty() {
        return show::line("No backups");
    }
    let mut headings = vec![
        "name",
        "status",
        "errors",
        "warnings",
        "created",
        "expires",
        "storage location",
        "selector",
    ];
    if format == Format::Wide {
        headings.extend(["objects", "volumes", "namespaces", "snapshot"]);
    }
    let mut table = show::table(&headings);
    show::to_the_right(&mut table, &[2, 3]);
    for backup in backups {
        table.add_row(row(backup, format, Timestamp::now()));
    }
    show::line(&table.trim_fmt())
}

/// Whether a backup stays whatever its time to live says: the repository's word counts where it is known.
pub fn is_held(backup: &Backup) -> bool {
    let said = condition(backup, "Held").filter(|said| said.observed_generation == backup.metadata.generation);
    said.map_or(backup.spec.hold, |said| said.status == "True")
}

/// What is said of a backup.
pub fn condition<'a>(backup: &'a Backup, kind: &str) -> Option<&'a Condition> {
    condition::find(backup.status.iter().flat_map(|status| &status.conditions), kind)
}

fn row(backup: &Backup, format: Format, now: Timestamp) -> Vec<String> {
    let (spec, status) = (&backup.spec, backup.status.clone().unwrap_or_default());
    let number = |number: Option<u64>| number.unwrap_or(0).to_string();
    let created = status
        .start_timestamp
        .as_ref()
        .or(backup.metadata.creation_timestamp.as_ref());
    let mut row = vec![
        backup.name_any(),
        phase(status.phase).to_owned(),
        number(status.errors),
        number(status.warnings),
        moment_or(created, "<unknown>"),
        match (&status.expiration, is_held(backup)) {
            (_, true) => "held".to_owned(),
            (Some(expiration), false) => left(expiration, now),
            (None, false) => "<never>".to_owned(),
        },
        status
            .storage_location
            .clone()
            .or_else(|| spec.storage_location.clone())
            .unwrap_or_else(|| "<default>".to_owned()),
        selector::text_of(spec.label_selector.as_ref(), &spec.or_label_selectors),
    ];
    if format == Format::Wide {
        row.push(number(status.progress.map(|progress| progress.items_backed_up)));
        row.push(
            status
                .volumes
                .filter(|volumes| volumes.total > 0)
                .map_or_else(|| "0".to_owned(), |volumes| volumes_text(&volumes)),
        );
        row.push(namespaces(&spec.included_namespaces, &spec.excluded_namespaces));
        row.push(
            status
                .snapshot_id
                .as_deref()
                .and_then(|id| id.get(..8))
                .unwrap_or_default()
                .to_owned(),
        );
    }
    row.into_iter().map(|cell| show::safe(&cell)).collect()
}

/// Namespaces as a list, with what is not meant.
pub fn namespaces(included: &[String], excluded: &[String]) -> String {
    let mut text = if included.is_empty() {
        "*".to_owned()
    } else {
        included.join(",")
    };
    for name in excluded {
        // Writing into a text does not fail.
        let _ = write!(text, ",-{name}");
    }
    text
}

/// A phase as a word. What nobody has looked at is New.
pub fn phase(phase: BackupPhase) -> &'static str {
    match phase {
        BackupPhase::New => "New",
        BackupPhase::FailedValidation => "FailedValidation",
        BackupPhase::InProgress => "InProgress",
        BackupPhase::Finalizing => "Finalizing",
        BackupPhase::Planned => "Planned",
        BackupPhase::Canceling => "Canceling",
        BackupPhase::Canceled => "Canceled",
        BackupPhase::Completed => "Completed",
        BackupPhase::PartiallyFailed => "PartiallyFailed",
        BackupPhase::Failed => "Failed",
        BackupPhase::Deleting => "Deleting",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_the_field_says() {
        let backup: Backup = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "nginx-backup" },
            "spec": { "labelSelector": { "matchLabels": { "app": "nginx" } }, "excludedNamespaces": ["kube-system"] },
            "status": { "phase": "Completed", "warnings": 1, "startTimestamp": "2026-11-23T04:05:06Z", "expiration": "2026-12-23T04:05:06Z",
                "storageLocation": "default", "snapshotID": "0123456789abcdef" },
        }))
        .unwrap();
        let row = row(&backup, Format::Wide, "2026-11-23T04:05:06Z".parse().unwrap());
        assert_eq!(row[..4], ["nginx-backup", "Completed", "0", "1"]);
        assert_eq!(row[5..8], ["30d00h", "default", "app=nginx"]);
        assert_eq!(row[10..], ["*,-kube-system", "01234567"]);
    }
}
