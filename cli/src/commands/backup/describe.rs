//! `ararat backup describe`

use anyhow::Result;
use api::archive::Record;
use api::download_request::DownloadKind;
use api::{Backup, PodVolumeBackup};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::story::Story;
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::from_location::FromLocationArgs;
use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, download, named};
use crate::failure::{PARTIAL, message_of};
use crate::output::show;

/// Say what is in a backup, and how it came about.
#[derive(clap::Args)]
pub struct Describe {
    /// The backups; all when none is named
    names: Vec<String>,
    /// Say every object, warning and error as well
    #[arg(long)]
    details: bool,
    #[command(flatten)]
    from_location: FromLocationArgs,
}

impl Describe {
    /// Describes.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let (mut stories, mut unreadable) = (Vec::new(), 0);
        if let Some(session) = self.from_location.session(global)? {
            let catalogue = Catalogue::open(&session)?;
            let found = catalogue.meant::<Record>(&self.names, None, global)?;
            unreadable = found.left_out;
            for stored in found.stored {
                let objects = if self.details {
                    catalogue.objects(&stored)?
                } else {
                    Vec::new()
                };
                stories.push(Story {
                    backup: stored.backup(),
                    results: Some(catalogue.results(&stored)?),
                    volumes: catalogue.volumes(&stored)?,
                    kinds: stored.record.kinds.clone(),
                    objects,
                    ..Story::default()
                });
            }
        } else {
            let cluster = Cluster::connect(global, cluster)?;
            stories = cluster.run(self.read(&cluster))?;
        }
        for (number, story) in stories.iter().enumerate() {
            if number > 0 {
                show::line("\n")?;
            }
            story.told(self.details, Timestamp::now()).print()?;
        }
        Ok(if unreadable == 0 { 0 } else { PARTIAL })
    }

    async fn read(&self, cluster: &Cluster) -> Result<Vec<Story>> {
        let mut backups = Vec::new();
        for name in &self.names {
            backups.push(named::named::<Backup>(cluster, name).await?);
        }
        if self.names.is_empty() {
            backups = cluster.api::<Backup>().list(&ListParams::default()).await?.items;
        }
        let mut stories = Vec::new();
        for backup in backups {
            stories.push(Story::read(cluster, backup, self.details).await?);
        }
        Ok(stories)
    }
}

/// One object of a Backup, as the controller tells it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectLine {
    resource: String,
    namespace: String,
    name: String,
}

impl Story {
    async fn read(cluster: &Cluster, backup: Backup, details: bool) -> Result<Self> {
        let name = backup.name_any();
        let status = backup.status.clone().unwrap_or_default();
        let mut story = Self {
            backup,
            ..Self::default()
        };
        if status.snapshot_id.is_none() {
            if !status.phase.is_final() {
                let all = cluster
                    .api::<PodVolumeBackup>()
                    .list(&ListParams::default())
                    .await?
                    .items;
                story.running = all
                    .into_iter()
                    .filter(|volume| Some(&volume.spec.backup_uid) == story.backup.metadata.uid.as_ref())
                    .collect();
            }
            return Ok(story);
        }
        story.results = story.document(cluster, DownloadKind::BackupResults, &name).await;
        story.volumes = story
            .document(cluster, DownloadKind::BackupVolumes, &name)
            .await
            .unwrap_or_default();
        if details {
            match download::read(cluster, DownloadKind::BackupResources, &name).await {
                Ok(bytes) => {
                    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        let object: ObjectLine = serde_json::from_slice(line)?;
                        *story.kinds.entry(object.resource.clone()).or_default() += 1;
                        story.objects.push([object.resource, object.namespace, object.name]);
                    }
                }
                Err(error) => story.unknown.push(format!("Objects: {}", message_of(&error))),
            }
        }
        Ok(story)
    }

    /// One document; what cannot be read is told of and hides nothing else.
    async fn document<T: DeserializeOwned>(&mut self, cluster: &Cluster, kind: DownloadKind, name: &str) -> Option<T> {
        let read = download::read(cluster, kind, name).await;
        match read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(document) => Some(document),
            Err(error) => {
                self.unknown.push(format!("{kind:?}: {}", message_of(&error)));
                None
            }
        }
    }
}
