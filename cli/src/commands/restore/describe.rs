//! `ararat restore describe`

use anyhow::Result;
use api::archive::{FilledVolume, RestoreRecord, Results};
use api::download_request::DownloadKind;
use api::restore::ExistingPolicy;
use api::{PodVolumeRestore, Restore, RestoreSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;

use super::create::{summary, why};
use super::get::{phase, source};
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::from_location::FromLocationArgs;
use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, download, named, selector};
use crate::failure::{PARTIAL, message_of};
use crate::output::description::{Description, lasted, moment, moment_or};
use crate::output::{show, work};

/// Say what a restore did.
#[derive(clap::Args)]
pub struct Describe {
    /// The restores; all when none is named
    names: Vec<String>,
    /// Say every warning and error, and what is the case
    #[arg(long)]
    details: bool,
    #[command(flatten)]
    from_location: FromLocationArgs,
}

/// All that is known of a Restore.
#[derive(Default)]
struct Story {
    restore: Restore,
    results: Option<Results>,
    volumes: Vec<FilledVolume>,
    unknown: Option<String>,
}

impl Describe {
    /// Describes.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let (mut stories, mut unreadable) = (Vec::new(), 0);
        if let Some(session) = self.from_location.session(global)? {
            let catalogue = Catalogue::open(&session)?;
            let found = catalogue.meant::<RestoreRecord>(&self.names, None, global)?;
            unreadable = found.left_out;
            for stored in found.stored {
                stories.push(Story {
                    restore: stored.restore(),
                    results: Some(catalogue.results(&stored)?),
                    volumes: catalogue.filled(&stored)?,
                    unknown: None,
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
        let mut restores = Vec::new();
        for name in &self.names {
            restores.push(named::named::<Restore>(cluster, name).await?);
        }
        if self.names.is_empty() {
            restores = cluster.api::<Restore>().list(&ListParams::default()).await?.items;
        }
        let all = cluster
            .api::<PodVolumeRestore>()
            .list(&ListParams::default())
            .await?
            .items;
        let mut stories = Vec::new();
        for restore in restores {
            let uid = restore.metadata.uid.clone().unwrap_or_default();
            let mut story = Story {
                volumes: all
                    .iter()
                    .filter(|volume| volume.spec.restore_uid == uid)
                    .map(FilledVolume::from)
                    .collect(),
                restore,
                ..Story::default()
            };
            if story
                .restore
                .status
                .as_ref()
                .is_some_and(|status| status.record_id.is_some())
            {
                let read = download::read(cluster, DownloadKind::RestoreResults, &story.restore.name_any()).await;
                match read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
                    Ok(results) => story.results = Some(results),
                    Err(error) => story.unknown = Some(format!("Warnings and errors: {}", message_of(&error))),
                }
            }
            stories.push(story);
        }
        Ok(stories)
    }
}

impl Story {
    fn told(&self, details: bool, now: Timestamp) -> Description {
        let mut told = Description::default();
        let (metadata, status) = (&self.restore.metadata, self.restore.status.clone().unwrap_or_default());
        told.field("Name", self.restore.name_any());
        told.field_if("Namespace", metadata.namespace.as_deref());
        told.map("Labels", metadata.labels.as_ref());
        told.map("Annotations", metadata.annotations.as_ref());
        told.field("Backup", source(&self.restore));
        told.field("Phase", phase(status.phase));
        match status.phase {
            api::RestorePhase::Completed | api::RestorePhase::PartiallyFailed => {
                told.field("Restored", summary(&status))
            }
            api::RestorePhase::FailedValidation | api::RestorePhase::Failed | api::RestorePhase::Canceled => {
                told.field("Outcome", format!("It {}", why(&status)))
            }
            api::RestorePhase::New
            | api::RestorePhase::InProgress
            | api::RestorePhase::Canceling
            | api::RestorePhase::Planned => {
                told.field_if("Step", status.step.as_deref());
                told.field_if(
                    "Restored so far",
                    status
                        .progress
                        .map(|progress| format!("{} of {} objects", progress.items_restored, progress.total_items)),
                );
            }
        }
        told.field("Started", moment_or(status.start_timestamp.as_ref(), "<not yet>"));
        told.field_if("Completed", status.completion_timestamp.as_ref().map(moment));
        told.field_if(
            "Duration",
            lasted(
                status.start_timestamp.as_ref(),
                status.completion_timestamp.as_ref(),
                now,
            ),
        );
        told.field_if("Storage Location", status.storage_location.as_deref());
        told.field_if("Snapshot", status.snapshot_id.as_deref());
        if let Some(hooks) = status.hooks.filter(|hooks| hooks.attempted > 0) {
            told.field("Hooks", format!("{} run, {} failed", hooks.attempted, hooks.failed));
        }
        asked_for(&mut told, &self.restore.spec);
        if !self.volumes.is_empty() {
            told.section("Volumes");
        }
        for volume in &self.volumes {
            told.line(
                2,
                &format!(
                    "{} through pod {} on {}: {:?}, {} of {}",
                    volume.source,
                    volume.pod,
                    volume.node,
                    volume.phase,
                    show::bytes(volume.bytes_done),
                    show::bytes(volume.bytes_total)
                ),
            );
            if let Some(message) = &volume.message {
                told.line(6, message);
            }
            volume.failures.iter().for_each(|failure| told.line(6, failure));
        }
        if let Some(results) = &self.results
            && *results != Results::default()
        {
            told.block(0, &format!("\n{}", work::results(results, details)));
        }
        if details {
            told.conditions(&status.conditions);
        }
        if let Some(unknown) = &self.unknown {
            told.section("Could not be read");
            told.line(2, unknown);
        }
        told
    }
}

/// What was asked for.
fn asked_for(told: &mut Description, spec: &RestoreSpec) {
    told.section("Asked for");
    let all = |names: &[String]| {
        if names.is_empty() {
            "*".to_owned()
        } else {
            names.join(", ")
        }
    };
    told.field("Namespaces", all(&spec.included_namespaces));
    told.list("Not namespaces", &spec.excluded_namespaces);
    told.field("Kinds", all(&spec.included_resources));
    told.list("Not kinds", &spec.excluded_resources);
    told.list("Names", &spec.included_names);
    told.list("Not names", &spec.excluded_names);
    told.field(
        "Cluster-scoped",
        spec.include_cluster_resources
            .map_or_else(|| "auto".to_owned(), |included| included.to_string()),
    );
    told.field(
        "Labels",
        selector::text_of(spec.label_selector.as_ref(), &spec.or_label_selectors),
    );
    let mapping = |(old, new): (&String, &String)| format!("{old} → {new}");
    told.list(
        "Namespace mapping",
        &spec.namespace_mapping.iter().map(mapping).collect::<Vec<_>>(),
    );
    told.list(
        "Class mapping",
        &spec.storage_class_mapping.iter().map(mapping).collect::<Vec<_>>(),
    );
    told.field(
        "Existing objects",
        match spec.existing_resource_policy {
            ExistingPolicy::Skip => "stay as they are",
            ExistingPolicy::Update => "get what the backup has",
            ExistingPolicy::Fail => "end the restore",
            ExistingPolicy::Recreate => "are deleted and made anew",
        },
    );
    told.field(
        "Data of volumes",
        if spec.restore_volumes { "restored" } else { "left out" },
    );
    told.list("Status of kinds", &spec.restore_status);
    told.field(
        "Node ports",
        if spec.preserve_node_ports {
            "kept"
        } else {
            "chosen anew, but for those that a person chose"
        },
    );
    let hooks: Vec<String> = spec.hooks.iter().map(|hook| hook.name.clone()).collect();
    told.list("Hooks", &hooks);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_story_says_what_was_asked_for_and_what_was_done() {
        let restore = serde_json::json!({
            "metadata": { "name": "nginx-20261123040506", "uid": "u" },
            "spec": { "backupName": "nginx", "namespaceMapping": { "a": "b" }, "existingResourcePolicy": "Update" },
            "status": { "phase": "Completed", "backupName": "nginx", "progress": { "totalItems": 2, "itemsRestored": 2, "created": 2 } },
        });
        let story = Story {
            restore: serde_json::from_value(restore).unwrap(),
            ..Story::default()
        };
        let told = story.told(false, Timestamp::now());
        for part in [
            "Backup:                nginx\n",
            "Restored:              2 objects (2 created)\n",
            "Namespace mapping:     a → b\n",
            "get what the backup has",
        ] {
            assert!(told.text().contains(part), "{part}\n---\n{}", told.text());
        }
    }
}
