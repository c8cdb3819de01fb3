//! `ararat backup delete`

use anyhow::{Result, bail};
use api::delete_request::DeletePhase;
use api::{Backup, BackupStorageLocation, DeleteBackupRequest, DeleteBackupRequestSpec};
use engine::words::{Error, Progress};
use futures::StreamExt;
use futures::stream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::wait::{Waited, until};
use crate::cluster::{Cluster, checks, named, selector};
use crate::failure::{self, Failure};
use crate::output::progress::Shown;
use crate::output::{question, show};

/// Deletions that are waited for at once.
const AT_ONCE: usize = 16;

/// Delete backups and their data: what no other backup needs goes from the store with the next prune.
#[derive(clap::Args)]
pub struct Delete {
    /// The backups
    #[arg(required_unless_present_any = ["all", "selector"])]
    names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    all: bool,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = selector::parse, conflicts_with = "names")]
    selector: Option<LabelSelector>,
    /// Do not ask
    #[arg(long, alias = "force", alias = "yes")]
    confirm: bool,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
}

impl Delete {
    /// Deletes them.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        let backups = cluster.run(self.meant(&cluster))?;
        if backups.is_empty() {
            if !global.quiet {
                show::line("No backups")?;
            }
            return Ok(0);
        }
        let names: Vec<String> = backups.iter().map(ResourceExt::name_any).collect();
        let what = if let [name] = names.as_slice() {
            format!("the backup \"{name}\" and its data")
        } else {
            format!("{} backups and their data ({})", names.len(), names.join(", "))
        };
        if !self.confirm && !question::ask(&format!("Delete {what}?"), "--confirm")? {
            return Ok(0);
        }
        let shown = Shown::new(global.quiet, global.json);
        let deleted = cluster.run(self.delete(&cluster, &backups, &shown));
        shown.finish();
        let failures = match deleted {
            Err(error) if failure::is_interrupted(&error) => {
                bail!(
                    Failure::new("Not waiting any more: the deletion goes on in the cluster")
                        .hint("`kubectl get deletebackuprequests` shows how far it is.")
                        .code(failure::INTERRUPTED)
                )
            }
            other => other?,
        };
        match failures.as_slice() {
            [] => Ok(0),
            [one] => bail!(Failure::new(one.clone())),
            several => bail!(Failure::new(format!(
                "{} backups could not be deleted:\n  {}",
                several.len(),
                several.join("\n  ")
            ))),
        }
    }

    async fn meant(&self, cluster: &Cluster) -> Result<Vec<Backup>> {
        let mut backups = Vec::new();
        for name in &self.names {
            backups.push(named::named(cluster, name).await?);
        }
        if !self.names.is_empty() {
            return Ok(backups);
        }
        if !self.all && self.selector.is_none() {
            bail!(Error::Invalid("Name the backups, or say --all or --selector".into()));
        }
        let labels = self.selector.as_ref().map(selector::text);
        let params = labels.map_or_else(ListParams::default, |labels| ListParams::default().labels(&labels));
        Ok(cluster.api::<Backup>().list(&params).await?.items)
    }

    /// Asks for each, then waits for all. Gives what could not be done.
    async fn delete(&self, cluster: &Cluster, backups: &[Backup], shown: &Shown) -> Result<Vec<String>> {
        let is_told = !cluster.global.json && !cluster.global.quiet;
        let mut requests = Vec::new();
        let locations = cluster.api::<BackupStorageLocation>();
        for backup in backups {
            let place = backup
                .status
                .as_ref()
                .and_then(|status| status.storage_location.as_deref());
            if let Some(place) = place
                && let Some(location) = locations.get_opt(place).await?
            {
                checks::is_written_to(
                    &location,
                    "Delete it in the cluster that it belongs to, or let this one write there",
                )?;
            }
        }
        for backup in backups {
            let name = backup.name_any();
            let spec = DeleteBackupRequestSpec {
                backup_name: name.clone(),
                backup_uid: backup.metadata.uid.clone(),
            };
            let mut request = DeleteBackupRequest::new("", spec);
            request.metadata.name = None;
            request.metadata.generate_name = Some(format!(
                "{}-",
                name.chars().take(180).collect::<String>().trim_end_matches(['-', '.'])
            ));
            let made = cluster
                .api::<DeleteBackupRequest>()
                .create(&PostParams::default(), &request)
                .await?;
            requests.push((name, made.name_any()));
        }
        if self.no_wait {
            for (name, _) in &requests {
                if is_told {
                    shown.say(&format!("Request to delete backup \"{name}\" submitted successfully."))?;
                }
            }
            return Ok(Vec::new());
        }
        shown.stage("Deleting", "backups");
        shown.expect(requests.len() as u64, 0);
        let mut ends = stream::iter(requests)
            .map(|(name, request)| async move { (deleted(cluster, &name, &request, shown).await, name) })
            .buffer_unordered(AT_ONCE);
        let mut failures = Vec::new();
        while let Some((end, name)) = ends.next().await {
            shown.done(1, 0);
            match end? {
                None if is_told => shown.say(&format!("Backup \"{name}\" deleted."))?,
                None => {}
                Some(why) => failures.push(format!("The backup \"{name}\" could not be deleted: {why}")),
            }
        }
        Ok(failures)
    }
}

/// Waits for one; gives why it could not be done.
async fn deleted(cluster: &Cluster, backup: &str, request: &str, shown: &Shown) -> Result<Option<String>> {
    let mut said = String::new();
    let waited = until(
        cluster.api::<DeleteBackupRequest>(),
        request,
        |request: &DeleteBackupRequest| {
            let status = request.status.clone().unwrap_or_default();
            let message = status.message.unwrap_or_default();
            match status.phase {
                DeletePhase::Processed => Some(None),
                DeletePhase::Failed => Some(Some(if message.is_empty() {
                    "the request does not say why".to_owned()
                } else {
                    message
                })),
                DeletePhase::New | DeletePhase::InProgress => {
                    if !message.is_empty() && message != said {
                        shown.note(&format!("Backup \"{backup}\": {message}"));
                        said = message;
                    }
                    None
                }
            }
        },
    )
    .await?;
    match waited {
        Waited::Answer(end) => Ok(end),
        // A request goes with its Backup, or an hour after it.
        Waited::Gone => {
            let is_there = cluster.api::<Backup>().get_opt(backup).await?.is_some();
            Ok(is_there.then(|| "the request to delete it was deleted itself".to_owned()))
        }
    }
}
