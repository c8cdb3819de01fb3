//! `ararat backup create`

use anyhow::{Result, bail};
use api::archive::Results;
use api::backup::VolumeCounts;
use api::download_request::DownloadKind;
use api::{Backup, BackupPhase, BackupStatus, Schedule};
use engine::words::Error;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::plan;
use crate::args::Global;
use crate::args::backup::BackupSpecArgs;
use crate::args::cluster::ClusterArgs;
use crate::args::labels::{DryRun, LabelArgs};
use crate::args::output::{Format, OutputArgs};
use crate::cluster::wait::{Waited, until};
use crate::cluster::{Cluster, checks, download, named, request};
use crate::failure::{self, Failure, PARTIAL};
use crate::output::description::lasted;
use crate::output::progress::Shown;
use crate::output::work::{Far, Line, count, results};
use crate::output::{objects, show};

/// Make a backup.
#[derive(clap::Args)]
pub struct Create {
    /// The backup's name; with --from-schedule it can be left out, and is the schedule's with the time
    #[arg(required_unless_present = "from_schedule")]
    name: Option<String>,
    /// Back up what a schedule backs up; other flags go before what it says
    #[arg(long, value_name = "SCHEDULE")]
    from_schedule: Option<String>,
    #[command(flatten)]
    labels: LabelArgs,
    /// Wait until it is done; exit code 0 when everything is saved, 3 when something could not be, 1 when nothing is
    #[arg(short, long)]
    wait: bool,
    /// Show what would be saved, and by which rule; with =client, print the object that would be made
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "server")]
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
        if self.dry_run == Some(DryRun::Client) && self.from_schedule.is_none() {
            let backup = self.backup(None, &cluster.namespace)?;
            return print_made(&backup, format);
        }
        let cluster = Cluster::connect(global, cluster)?;
        let backup = cluster.run(self.wanted(&cluster))?;
        match self.dry_run {
            Some(DryRun::Client) => print_made(&backup, format),
            Some(DryRun::Server) => {
                if !self.no_check {
                    cluster.run(checks::definitions_are_new_enough(&cluster))?;
                }
                plan::run(&cluster, backup, format)
            }
            None => {
                if !self.no_check {
                    cluster.run(checks::ready_for_backup(
                        &cluster,
                        backup.spec.storage_location.as_deref(),
                    ))?;
                }
                make(
                    &cluster,
                    &backup,
                    &Created {
                        wait: self.wait,
                        format,
                        named_after: self.from_schedule.clone().filter(|_| self.name.is_none()),
                    },
                )
            }
        }
    }

    /// The object, of what was said and what a schedule and the cluster's locations say.
    async fn wanted(&self, cluster: &Cluster) -> Result<Backup> {
        let schedule: Option<Schedule> = match &self.from_schedule {
            Some(name) => Some(named::named(cluster, name).await?),
            None => None,
        };
        let mut backup = self.backup(schedule.as_ref(), &cluster.namespace)?;
        if backup.spec.storage_location.is_none() && !self.no_check {
            let location = checks::location(cluster, None).await?;
            if !location.spec.default {
                backup.spec.storage_location = Some(location.name_any());
            }
        }
        Ok(backup)
    }

    fn backup(&self, schedule: Option<&Schedule>, namespace: &str) -> Result<Backup> {
        let name = match (&self.name, schedule) {
            (Some(name), _) => name.clone(),
            (None, Some(schedule)) => api::cron::name_at(&schedule.name_any(), Timestamp::now()),
            (None, None) => bail!(Error::Invalid("Name the backup".into())),
        };
        let mut backup = Backup::new(
            &name,
            self.spec.spec(schedule.map(|schedule| schedule.spec.template.clone())),
        );
        backup.metadata.namespace = Some(namespace.to_owned());
        let mut labels = schedule
            .and_then(|schedule| schedule.metadata.labels.clone())
            .unwrap_or_default();
        if let Some(schedule) = schedule {
            labels.insert(
                api::words::SCHEDULE_NAME.to_owned(),
                api::words::label_value(&schedule.name_any()),
            );
        }
        labels.extend(self.labels.labels());
        backup.metadata.labels = Some(labels).filter(|labels| !labels.is_empty());
        backup.metadata.annotations = self.labels.annotations();
        Ok(backup)
    }
}

/// Prints an object that would be made.
fn print_made(backup: &Backup, format: Format) -> Result<u8> {
    let format = if format.is_table() { Format::Yaml } else { format };
    objects::print(&[serde_json::to_value(backup)?], format, false)?;
    Ok(0)
}

/// What follows once it is made.
pub struct Created {
    pub wait: bool,
    pub format: Format,
    /// What its name was made of, with the present second; none if somebody has named it.
    pub named_after: Option<String>,
}

/// Makes a Backup and waits for it, if that was asked for. Gives the exit code.
pub fn make(cluster: &Cluster, backup: &Backup, created: &Created) -> Result<u8> {
    let made = cluster.run(request::post(cluster, backup, created.named_after.as_deref()))?;
    let name = request::name_of(&made);
    let is_told = created.format.is_table() && !cluster.global.quiet;
    if is_told {
        show::line(&format!("Backup request \"{name}\" submitted successfully."))?;
    }
    if !created.wait {
        if is_told {
            show::line(&format!(
                "Run `ararat backup describe {name}` or `ararat backup logs {name}` for more details."
            ))?;
        }
        objects::print(&[made], created.format, false)?;
        return Ok(0);
    }
    let status = match cluster.run(ended(cluster, &name)) {
        Err(error) if failure::is_interrupted(&error) => {
            let hint =
                format!("`ararat backup describe {name}` shows how far it is; `ararat backup cancel {name}` stops it.");
            return Err(Failure::new(format!(
                "Not waiting any more: the backup \"{name}\" goes on in the cluster"
            ))
            .hint(hint)
            .code(failure::INTERRUPTED)
            .into());
        }
        other => other?,
    };
    if !created.format.is_table() {
        let made = cluster.run(named::named_raw::<Backup>(cluster, &name))?;
        objects::print(&[serde_json::to_value(made)?], created.format, false)?;
    }
    tell(cluster, &name, &status, is_told)
}

/// Waits until nothing more happens to a Backup, and shows how far it is meanwhile.
pub async fn ended(cluster: &Cluster, name: &str) -> Result<BackupStatus> {
    let shown = Shown::new(cluster.global.quiet, cluster.global.json);
    let mut line = Line::default();
    let waited = until(cluster.api::<Backup>(), name, |backup: &Backup| {
        let status = backup.status.clone().unwrap_or_default();
        line.show(&shown, far(&status));
        status.phase.is_final().then_some(status)
    })
    .await;
    shown.finish();
    match waited? {
        Waited::Answer(status) => Ok(status),
        Waited::Gone => bail!(Failure::new(format!(
            "The backup \"{name}\" was deleted while it was being made"
        ))),
    }
}

/// How far a Backup is.
fn far(status: &BackupStatus) -> Far {
    let objects = status.progress.unwrap_or_default();
    let volumes = status.volumes.unwrap_or_default();
    let stage = match status.phase {
        BackupPhase::New => "Waiting for the controller",
        BackupPhase::Canceling => "Stopping",
        BackupPhase::Finalizing => "Committing",
        BackupPhase::InProgress if volumes.total > volumes.completed + volumes.failed => "Reading volumes",
        BackupPhase::InProgress => "Saving objects",
        BackupPhase::FailedValidation
        | BackupPhase::Planned
        | BackupPhase::Canceled
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting => "Done",
    };
    let of_volumes = stage == "Reading volumes";
    Far {
        stage: stage.to_owned(),
        items: if of_volumes { "volumes" } else { "objects" },
        items_done: if of_volumes {
            volumes.completed + volumes.failed
        } else {
            objects.items_backed_up
        },
        items_total: if of_volumes { volumes.total } else { objects.total_items },
        bytes_done: if of_volumes { volumes.bytes_done } else { 0 },
        bytes_total: if of_volumes { volumes.bytes_total } else { 0 },
    }
}

/// Says what became of it; gives the exit code.
fn tell(cluster: &Cluster, name: &str, status: &BackupStatus, is_told: bool) -> Result<u8> {
    if !status.phase.is_restorable() {
        let failure = Failure::new(format!("Backup \"{name}\" {}", why(status)));
        let hint = format!("`ararat backup describe {name}` and `ararat backup logs {name}` show more.");
        return Err(failure.hint(hint).into());
    }
    let is_whole = status.phase == BackupPhase::Completed;
    if is_told {
        let word = if is_whole { "completed" } else { "partially failed" };
        show::line(&format!("Backup \"{name}\" {word}: {}.", summary(status)))?;
    }
    if is_told && (!is_whole || status.warnings.unwrap_or(0) > 0) {
        // What cannot be read now is still told by `describe`.
        if !is_whole
            && let Ok(bytes) = cluster.run(download::read(cluster, DownloadKind::BackupResults, name))
            && let Ok(found) = serde_json::from_slice::<Results>(&bytes)
        {
            show::line(results(&found, false).trim_end())?;
        }
        show::line(&format!("Run `ararat backup describe {name}` for more details."))?;
    }
    Ok(if is_whole { 0 } else { PARTIAL })
}

/// Why there is nothing to restore.
pub fn why(status: &BackupStatus) -> String {
    match status.phase {
        BackupPhase::FailedValidation => {
            let errors = status.validation_errors.join("; ");
            format!("cannot be made as it is written: {errors}")
        }
        BackupPhase::Canceled => "was canceled; nothing of it can be restored".to_owned(),
        BackupPhase::Deleting => "is being deleted".to_owned(),
        BackupPhase::New
        | BackupPhase::InProgress
        | BackupPhase::Finalizing
        | BackupPhase::Planned
        | BackupPhase::Canceling
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed => {
            let reason = status.failure_reason.as_deref();
            format!("failed: {}", reason.unwrap_or("its status does not say why"))
        }
    }
}

/// What was saved, in one line.
pub fn summary(status: &BackupStatus) -> String {
    let mut parts = vec![count(status.progress.unwrap_or_default().items_backed_up, "object")];
    let volumes = status.volumes.unwrap_or_default();
    if volumes.total > 0 {
        parts.push(volumes_text(&volumes));
    }
    for (number, word) in [(status.errors, "error"), (status.warnings, "warning")] {
        parts.extend(number.filter(|number| *number > 0).map(|number| count(number, word)));
    }
    if let Some(lasted) = lasted(
        status.start_timestamp.as_ref(),
        status.completion_timestamp.as_ref(),
        Timestamp::now(),
    ) {
        parts.push(format!("in {lasted}"));
    }
    parts.join(", ")
}

/// Volumes and their bytes.
pub fn volumes_text(volumes: &VolumeCounts) -> String {
    let done = if volumes.completed == volumes.total {
        count(volumes.total, "volume")
    } else {
        format!("{} of {}", volumes.completed, count(volumes.total, "volume"))
    };
    format!("{done} ({})", show::bytes(volumes.bytes_done))
}

#[cfg(test)]
mod tests {
    use api::backup::BackupProgress;

    use super::*;

    #[test]
    fn what_is_shown_follows_the_phase() {
        let mut status = BackupStatus::default();
        assert_eq!(far(&status).stage, "Waiting for the controller");
        status.phase = BackupPhase::InProgress;
        status.volumes = Some(VolumeCounts {
            total: 2,
            completed: 1,
            bytes_done: 5,
            bytes_total: 10,
            ..VolumeCounts::default()
        });
        assert_eq!(
            (
                far(&status).stage.as_str(),
                far(&status).items_done,
                far(&status).bytes_total
            ),
            ("Reading volumes", 1, 10)
        );
        status.phase = BackupPhase::Finalizing;
        assert_eq!(
            (far(&status).stage.as_str(), far(&status).items),
            ("Committing", "objects")
        );
    }

    #[test]
    fn a_summary_says_what_was_saved_and_what_was_not() {
        let status = BackupStatus {
            progress: Some(BackupProgress {
                total_items: 12,
                items_backed_up: 12,
            }),
            volumes: Some(VolumeCounts {
                total: 2,
                completed: 1,
                failed: 1,
                bytes_done: 2048,
                ..VolumeCounts::default()
            }),
            errors: Some(1),
            warnings: Some(0),
            ..BackupStatus::default()
        };
        assert_eq!(summary(&status), "12 objects, 1 of 2 volumes (2.0 KiB), 1 error");
    }
}
