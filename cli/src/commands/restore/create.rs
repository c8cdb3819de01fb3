//! `ararat restore create`

use anyhow::{Result, bail};
use api::archive::Results;
use api::download_request::DownloadKind;
use api::{Backup, Restore, RestorePhase, RestoreStatus, Schedule};
use k8s_openapi::jiff::Timestamp;

use super::plan;
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::labels::{DryRun, LabelArgs};
use crate::args::output::{Format, OutputArgs};
use crate::args::restore::RestoreSpecArgs;
use crate::cluster::wait::{Waited, until};
use crate::cluster::{Cluster, checks, download, named, request};
use crate::failure::{self, Failure, PARTIAL};
use crate::output::description::lasted;
use crate::output::progress::Shown;
use crate::output::work::{Far, Line, count, results};
use crate::output::{objects, show};

/// Restore a backup, or a part of it.
#[derive(clap::Args)]
pub struct Create {
    /// The restore's name [default: the backup's or schedule's with the time]
    name: Option<String>,
    /// The backup
    #[arg(long, value_name = "BACKUP", required_unless_present = "from_schedule")]
    from_backup: Option<String>,
    /// The latest backup of this schedule that completed
    #[arg(long, value_name = "SCHEDULE", conflicts_with = "from_backup")]
    from_schedule: Option<String>,
    #[command(flatten)]
    labels: LabelArgs,
    /// Wait until it is done; exit code 0 when everything is restored, 3 when something could not be, 1 when nothing is
    #[arg(short, long)]
    wait: bool,
    /// Show what would be done, with the fields that differ; with =client, print the object that would be made
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    dry_run: Option<DryRun>,
    /// Do not look first whether the backup is there and the installation is new enough
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    spec: RestoreSpecArgs,
}

impl Create {
    /// Makes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let format = self.output.output.or_json(global.json);
        let restore = self.restore(&cluster.namespace);
        if self.dry_run == Some(DryRun::Client) {
            let format = if format.is_table() { Format::Yaml } else { format };
            objects::print(&[serde_json::to_value(&restore)?], format, false)?;
            return Ok(0);
        }
        let cluster = Cluster::connect(global, cluster)?;
        if !self.no_check {
            cluster.run(self.check(&cluster))?;
        }
        match self.dry_run {
            Some(_) => plan::run(&cluster, restore, format),
            None => self.make(&cluster, &restore, format),
        }
    }

    /// What its name is made of, with the present second; none if somebody has named it.
    fn named_after(&self) -> Option<&str> {
        let source = self.from_backup.as_deref().or(self.from_schedule.as_deref());
        source.filter(|_| self.name.is_none())
    }

    fn restore(&self, namespace: &str) -> Restore {
        let named = self.name.clone();
        let name =
            named.unwrap_or_else(|| api::cron::name_at(self.named_after().unwrap_or_default(), Timestamp::now()));
        let mut spec = self.spec.spec();
        spec.backup_name.clone_from(&self.from_backup);
        spec.schedule_name.clone_from(&self.from_schedule);
        let mut restore = Restore::new(&name, spec);
        restore.metadata.namespace = Some(namespace.to_owned());
        restore.metadata.labels = Some(self.labels.labels()).filter(|labels| !labels.is_empty());
        restore.metadata.annotations = self.labels.annotations();
        restore
    }

    /// Whether there is something to restore, told before anything is made.
    async fn check(&self, cluster: &Cluster) -> Result<()> {
        checks::definitions_are_new_enough(cluster).await?;
        if let Some(schedule) = &self.from_schedule {
            named::named::<Schedule>(cluster, schedule).await?;
        }
        let Some(name) = &self.from_backup else { return Ok(()) };
        let backup: Backup = named::named(cluster, name).await?;
        let status = backup.status.unwrap_or_default();
        if !status.phase.is_restorable() {
            let failure = Failure::new(format!(
                "The backup \"{name}\" cannot be restored: it is {:?}",
                status.phase
            ));
            let hint = if status.phase.is_final() {
                "`ararat backup get` lists the backups; those that are Completed or PartiallyFailed can be restored."
                    .to_owned()
            } else {
                format!("Wait until it is done: `ararat backup describe {name}` shows how far it is.")
            };
            bail!(failure.hint(hint));
        }
        if let Some(location) = &status.storage_location {
            let location = checks::location(cluster, Some(location)).await?;
            checks::can_be_used(&location, false)?;
        }
        Ok(())
    }

    fn make(&self, cluster: &Cluster, restore: &Restore, format: Format) -> Result<u8> {
        let made = cluster.run(request::post(cluster, restore, self.named_after()))?;
        let name = request::name_of(&made);
        let is_told = format.is_table() && !cluster.global.quiet;
        if is_told {
            show::line(&format!("Restore request \"{name}\" submitted successfully."))?;
        }
        if !self.wait {
            if is_told {
                show::line(&format!(
                    "Run `ararat restore describe {name}` or `ararat restore logs {name}` for more details."
                ))?;
            }
            objects::print(&[made], format, false)?;
            return Ok(0);
        }
        let status = match cluster.run(ended(cluster, &name)) {
            Err(error) if failure::is_interrupted(&error) => {
                let hint = format!(
                    "`ararat restore describe {name}` shows how far it is; `ararat restore cancel {name}` stops it."
                );
                bail!(
                    Failure::new(format!(
                        "Not waiting any more: the restore \"{name}\" goes on in the cluster"
                    ))
                    .hint(hint)
                    .code(failure::INTERRUPTED)
                );
            }
            other => other?,
        };
        if !format.is_table() {
            let made = cluster.run(named::named_raw::<Restore>(cluster, &name))?;
            objects::print(&[serde_json::to_value(made)?], format, false)?;
        }
        tell(cluster, &name, &status, is_told)
    }
}

/// Waits until nothing more happens to a Restore, and shows how far it is meanwhile.
pub async fn ended(cluster: &Cluster, name: &str) -> Result<RestoreStatus> {
    let shown = Shown::new(cluster.global.quiet, cluster.global.json);
    let mut line = Line::default();
    let waited = until(cluster.api::<Restore>(), name, |restore: &Restore| {
        let status = restore.status.clone().unwrap_or_default();
        line.show(&shown, far(&status));
        status.phase.is_final().then_some(status)
    })
    .await;
    shown.finish();
    match waited? {
        Waited::Answer(status) => Ok(status),
        Waited::Gone => bail!(Failure::new(format!(
            "The restore \"{name}\" was deleted while it was being done"
        ))),
    }
}

/// How far a Restore is.
fn far(status: &RestoreStatus) -> Far {
    let objects = status.progress.unwrap_or_default();
    let volumes = status.volumes.unwrap_or_default();
    let fills_volumes = volumes.total > 0 && volumes.completed + volumes.failed < volumes.total;
    let stage = match (status.phase, status.step.as_deref()) {
        (RestorePhase::New, _) => "Waiting for the controller".to_owned(),
        (RestorePhase::Canceling, _) => "Stopping".to_owned(),
        (_, Some("Volumes")) => "Filling volumes".to_owned(),
        (_, Some("Hooks")) => "Running hooks".to_owned(),
        (_, _) => "Restoring objects".to_owned(),
    };
    let of_volumes = stage == "Filling volumes" && fills_volumes;
    Far {
        stage,
        items: if of_volumes { "volumes" } else { "objects" },
        items_done: if of_volumes {
            volumes.completed + volumes.failed
        } else {
            objects.items_restored
        },
        items_total: if of_volumes { volumes.total } else { objects.total_items },
        bytes_done: if fills_volumes { volumes.bytes_done } else { 0 },
        bytes_total: if fills_volumes { volumes.bytes_total } else { 0 },
    }
}

/// Says what became of it; gives the exit code.
fn tell(cluster: &Cluster, name: &str, status: &RestoreStatus, is_told: bool) -> Result<u8> {
    let is_whole = status.phase == RestorePhase::Completed;
    if !is_whole && status.phase != RestorePhase::PartiallyFailed {
        let failure = Failure::new(format!("Restore \"{name}\" {}", why(status)));
        let hint = format!("`ararat restore describe {name}` and `ararat restore logs {name}` show more.");
        return Err(failure.hint(hint).into());
    }
    if is_told {
        let word = if is_whole { "completed" } else { "partially failed" };
        show::line(&format!("Restore \"{name}\" {word}: {}.", summary(status)))?;
    }
    if is_told && (!is_whole || status.warnings.unwrap_or(0) > 0) {
        // What cannot be read now is still told by `describe`.
        if !is_whole
            && let Ok(bytes) = cluster.run(download::read(cluster, DownloadKind::RestoreResults, name))
            && let Ok(found) = serde_json::from_slice::<Results>(&bytes)
        {
            show::line(results(&found, false).trim_end())?;
        }
        show::line(&format!("Run `ararat restore describe {name}` for more details."))?;
    }
    Ok(if is_whole { 0 } else { PARTIAL })
}

/// Why it was not done.
pub fn why(status: &RestoreStatus) -> String {
    match status.phase {
        RestorePhase::FailedValidation => {
            let errors = status.validation_errors.join("; ");
            format!("cannot be done as it is written: {errors}")
        }
        RestorePhase::Canceled => "was canceled; what was made so far stays".to_owned(),
        RestorePhase::New
        | RestorePhase::InProgress
        | RestorePhase::Planned
        | RestorePhase::Canceling
        | RestorePhase::Completed
        | RestorePhase::PartiallyFailed
        | RestorePhase::Failed => {
            let reason = status.failure_reason.as_deref();
            format!("failed: {}", reason.unwrap_or("its status does not say why"))
        }
    }
}

/// What was restored, in one line.
pub fn summary(status: &RestoreStatus) -> String {
    let progress = status.progress.unwrap_or_default();
    let mut parts = vec![count(progress.total_items, "object")];
    let kinds = [
        (progress.created, "created"),
        (progress.updated, "updated"),
        (progress.unchanged, "left as they were"),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    if !kinds.is_empty() {
        parts = vec![format!("{} ({})", parts.join(""), kinds.join(", "))];
    }
    let volumes = status.volumes.unwrap_or_default();
    if volumes.total > 0 {
        parts.push(format!(
            "{} of {} ({})",
            volumes.completed,
            count(volumes.total, "volume"),
            show::bytes(volumes.bytes_done)
        ));
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

#[cfg(test)]
mod tests {
    use api::restore::RestoreProgress;

    use super::*;

    #[test]
    fn a_summary_says_what_became_of_the_objects() {
        let status = RestoreStatus {
            progress: Some(RestoreProgress {
                total_items: 12,
                items_restored: 12,
                created: 10,
                updated: 0,
                unchanged: 2,
            }),
            warnings: Some(2),
            ..RestoreStatus::default()
        };
        assert_eq!(
            summary(&status),
            "12 objects (10 created, 2 left as they were), 2 warnings"
        );
    }

    #[test]
    fn the_step_says_what_is_shown() {
        let mut status = RestoreStatus {
            phase: RestorePhase::InProgress,
            step: Some("Volumes".into()),
            ..RestoreStatus::default()
        };
        status.volumes = Some(api::backup::VolumeCounts {
            total: 2,
            completed: 1,
            ..Default::default()
        });
        assert_eq!(
            (far(&status).stage.as_str(), far(&status).items, far(&status).items_done),
            ("Filling volumes", "volumes", 1)
        );
        status.step = Some("Objects".into());
        assert_eq!(
            (far(&status).stage.as_str(), far(&status).items),
            ("Restoring objects", "objects")
        );
    }
}
