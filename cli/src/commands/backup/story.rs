//! All that is known of a Backup, told for people.

use std::collections::BTreeMap;

use api::archive::{Results, VolumeRecord};
use api::backup::{VolumeAction, VolumePolicy};
use api::volume::VolumeMode;
use api::{Backup, BackupSpec, BackupStatus, PodVolumeBackup};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::create::{summary, why};
use super::get::{condition, is_held, phase};
use crate::cluster::selector;
use crate::output::description::{Description, lasted, left, moment, moment_or};
use crate::output::{show, work};

/// All that is known of a Backup.
#[derive(Default)]
pub struct Story {
    pub backup: Backup,
    pub results: Option<Results>,
    pub volumes: Vec<VolumeRecord>,
    /// Volumes that are being read now.
    pub running: Vec<PodVolumeBackup>,
    /// How many objects there are of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Kind, namespace and name of each.
    pub objects: Vec<[String; 3]>,
    /// What could not be found out.
    pub unknown: Vec<String>,
}

impl Story {
    /// Tells it.
    pub fn told(&self, details: bool, now: Timestamp) -> Description {
        let mut told = Description::default();
        let (metadata, status) = (&self.backup.metadata, self.backup.status.clone().unwrap_or_default());
        told.field("Name", self.backup.name_any());
        told.field_if("Namespace", metadata.namespace.as_deref());
        told.map("Labels", metadata.labels.as_ref());
        told.map("Annotations", metadata.annotations.as_ref());
        self.outcome(&mut told, &status, now);
        asked_for(&mut told, &self.backup.spec);
        self.told_volumes(&mut told);
        self.told_running(&mut told);
        if !self.kinds.is_empty() {
            told.section("Objects");
            for (kind, number) in &self.kinds {
                told.line(2, &format!("{number:>6}  {kind}"));
                for [_, namespace, name] in self
                    .objects
                    .iter()
                    .filter(|[resource, _, _]| details && resource == kind)
                {
                    told.line(
                        10,
                        &if namespace.is_empty() {
                            name.clone()
                        } else {
                            format!("{namespace}/{name}")
                        },
                    );
                }
            }
        }
        if let Some(results) = &self.results
            && *results != Results::default()
        {
            told.block(0, &format!("\n{}", work::results(results, details)));
        }
        if details {
            told.conditions(&status.conditions);
        }
        if !self.unknown.is_empty() {
            told.section("Could not be read");
            self.unknown.iter().for_each(|line| told.line(2, line));
        }
        told
    }

    /// What became of it, when, and how long it took.
    fn outcome(&self, told: &mut Description, status: &BackupStatus, now: Timestamp) {
        told.field("Phase", phase(status.phase));
        if status.phase.is_restorable() {
            told.field("Saved", summary(status));
        } else if status.phase.is_final() && status.phase != api::BackupPhase::Planned {
            told.field("Outcome", format!("It {}", why(status)));
        } else if let Some(progress) = status.progress {
            told.field(
                "Saved so far",
                format!("{} of {} objects", progress.items_backed_up, progress.total_items),
            );
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
        told.field(
            "Expires",
            match (&status.expiration, is_held(&self.backup)) {
                (_, true) => "<held: never>".to_owned(),
                (Some(expiration), false) => format!("{} (in {})", moment(expiration), left(expiration, now)),
                (None, false) => "<never>".to_owned(),
            },
        );
        told.field_if("Hold", only_on_one_side(&self.backup));
        told.field_if("Waits", waits(&self.backup));
        told.field_if(
            "Storage Location",
            status
                .storage_location
                .as_deref()
                .or(self.backup.spec.storage_location.as_deref()),
        );
        told.field_if("Snapshot", status.snapshot_id.as_deref());
        told.field_if("Cluster", status.cluster_id.as_deref());
        if let Some(hooks) = status.hooks.filter(|hooks| hooks.attempted > 0) {
            told.field("Hooks", format!("{} run, {} failed", hooks.attempted, hooks.failed));
        }
        told.list("Hooks to be ended", &status.open_hooks);
    }

    /// Volumes by what was done, each with its reason.
    fn told_volumes(&self, told: &mut Description) {
        let total = self
            .backup
            .status
            .as_ref()
            .and_then(|status| status.volumes)
            .unwrap_or_default();
        if self.volumes.is_empty() {
            if total.total > 0 {
                told.field(
                    "Volumes",
                    format!(
                        "{} of {} done, {} of {}",
                        total.completed,
                        total.total,
                        show::bytes(total.bytes_done),
                        show::bytes(total.bytes_total)
                    ),
                );
            }
            return;
        }
        let by = |action| self.volumes.iter().filter(move |volume| volume.action == action);
        if by(VolumeAction::FsBackup).count() > 0 {
            told.section("Volumes that were read by agents");
        }
        for volume in by(VolumeAction::FsBackup) {
            told.line(2, &volume_title(volume));
            match &volume.error {
                Some(error) => told.line(6, &format!("NOT SAVED: {error}")),
                None => told.line(
                    6,
                    &format!(
                        "{} in {}, {} read, {} stored{}",
                        show::bytes(volume.bytes),
                        work::count(volume.files, "file"),
                        show::bytes(volume.bytes_read),
                        show::bytes(volume.bytes_stored),
                        if volume.parent_snapshot_id.is_some() {
                            ", incremental"
                        } else {
                            ""
                        }
                    ),
                ),
            }
            told.line(6, &format!("chosen by: {}", volume.reason));
            if volume.errors > 0 {
                told.line(
                    6,
                    &format!("{} could not be read whole:", work::count(volume.errors, "file")),
                );
                volume.failures.iter().for_each(|failure| told.line(8, failure));
            }
        }
        if by(VolumeAction::Skip).count() > 0 {
            told.section("Volumes that were left out");
        }
        for volume in by(VolumeAction::Skip) {
            told.line(2, &format!("{}: {}", volume_title(volume), volume.reason));
        }
    }

    fn told_running(&self, told: &mut Description) {
        if self.running.is_empty() {
            return;
        }
        told.section("Volumes");
        for volume in &self.running {
            let status = volume.status.clone().unwrap_or_default();
            let progress = status.progress.unwrap_or_default();
            let far = format!(
                "{} of {}",
                show::bytes(progress.bytes_done),
                show::bytes(progress.bytes_total)
            );
            told.line(
                2,
                &format!(
                    "{} on {}: {:?}, {far}",
                    volume.spec.source, volume.spec.node, status.phase
                ),
            );
            if let Some(message) = &status.message {
                told.line(6, message);
            }
        }
    }
}

/// What spec.hold means where the repository says another thing.
fn only_on_one_side(backup: &Backup) -> Option<&str> {
    let said = condition(backup, "Held")?;
    let holds = said.status == "True";
    (holds != backup.spec.hold && said.observed_generation == backup.metadata.generation)
        .then_some(said.message.as_str())
}

/// What a backup waits for.
fn waits(backup: &Backup) -> Option<&str> {
    let said = condition(backup, "Waiting")?;
    (said.status == "True").then_some(said.message.as_str())
}

fn volume_title(volume: &VolumeRecord) -> String {
    let mut title = volume.source.clone();
    if volume.mode == VolumeMode::Block {
        title.push_str(" (block device)");
    }
    if let Some(class) = &volume.storage_class {
        title = format!("{title}, class {class}");
    }
    if let Some(pod) = &volume.pod {
        title = format!("{title}, through pod {pod}");
    }
    title
}

/// What was asked for.
fn asked_for(told: &mut Description, spec: &BackupSpec) {
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
    for (kind, names) in &spec.ordered_resources {
        told.field("First", format!("{kind}: {}", names.join(", ")));
    }
    let volumes = match (spec.snapshot_volumes, spec.default_volumes_to_fs_backup) {
        (false, _) => "none",
        (true, true) => "all, unless an annotation or policy says otherwise",
        (true, false) => "those that an annotation or policy names",
    };
    told.field("Volumes", volumes);
    for (number, policy) in spec.volume_policies.iter().enumerate() {
        told.field(&format!("Volume policy {}", number + 1), policy_text(policy));
    }
    let hooks: Vec<String> = spec.hooks.iter().map(|hook| hook.name.clone()).collect();
    told.list("Hooks", &hooks);
    told.field("Time to live", spec.ttl.as_deref().unwrap_or("720h (default)"));
}

fn policy_text(policy: &VolumePolicy) -> String {
    let mut parts: Vec<String> = [
        ("namespaces", &policy.namespaces),
        ("storage classes", &policy.storage_classes),
        ("types", &policy.volume_types),
        ("drivers", &policy.csi_drivers),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .map(|(what, values)| format!("{what} {}", values.join("|")))
    .collect();
    parts.extend(
        policy
            .claim_labels
            .as_ref()
            .map(|labels| format!("claims with {}", selector::text(labels))),
    );
    let action = match policy.action {
        VolumeAction::Skip => "Skip",
        VolumeAction::FsBackup => "FsBackup",
    };
    format!(
        "{action} for {}",
        if parts.is_empty() {
            "everything".to_owned()
        } else {
            parts.join(" and ")
        }
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::archive::Issue;

    use super::*;

    fn story() -> Story {
        let backup = serde_json::json!({
            "metadata": { "name": "nginx-backup", "namespace": "ararat", "uid": "u", "labels": { "a": "b" } },
            "spec": { "labelSelector": { "matchLabels": { "app": "nginx" } }, "ttl": "72h" },
            "status": { "phase": "PartiallyFailed", "startTimestamp": "2026-11-23T04:05:06Z", "completionTimestamp": "2026-11-23T04:06:21Z",
                "storageLocation": "default", "errors": 1, "progress": { "totalItems": 9, "itemsBackedUp": 9 },
                "volumes": { "total": 2, "completed": 1, "failed": 1, "bytesDone": 2048 }, "hooks": { "attempted": 2, "failed": 0 } },
        });
        let volume = |source: &str, action, error: Option<&str>| VolumeRecord {
            source: source.into(),
            action,
            reason: "it is the default".into(),
            bytes: 2048,
            files: 1,
            error: error.map(str::to_owned),
            ..VolumeRecord::default()
        };
        Story {
            backup: serde_json::from_value(backup).unwrap(),
            results: Some(Results {
                errors: vec![Issue {
                    reason: "VolumeFailed".into(),
                    about: "claims/a/c".into(),
                    message: "the pod is gone".into(),
                }],
                warnings: Vec::new(),
            }),
            volumes: vec![
                volume("claims/a/b", VolumeAction::FsBackup, None),
                volume("claims/a/c", VolumeAction::FsBackup, Some("the pod is gone")),
                volume("pods/a/p/tmp", VolumeAction::Skip, None),
            ],
            kinds: BTreeMap::from([("pods".into(), 1)]),
            objects: vec![["pods".into(), "a".into(), "p".into()]],
            ..Story::default()
        }
    }

    /// A hold in a cluster that does not own the location keeps nothing: what is read must not say that it does.
    #[test]
    fn a_hold_that_the_repository_does_not_have_is_told_as_such() {
        let mut story = story();
        story.backup.spec.hold = true;
        let told = |story: &Story| {
            let told = story.told(false, "2026-11-23T05:00:00Z".parse().unwrap());
            told.text().to_owned()
        };
        assert!(told(&story).contains("<held: never>"));
        let said = serde_json::json!([{ "type": "Held", "status": "False", "reason": "OnlyHere", "message": "It keeps nothing",
            "lastTransitionTime": "2026-11-23T04:05:06Z" }]);
        story.backup.status.as_mut().unwrap().conditions = serde_json::from_value(said).unwrap();
        assert!(!told(&story).contains("<held: never>") && told(&story).contains("It keeps nothing"));
    }

    #[test]
    fn a_story_says_what_when_how_and_why() {
        let told = story().told(false, "2026-11-23T05:00:00Z".parse().unwrap());
        let text = told.text();
        for part in [
            "Name:                  nginx-backup\n",
            "Phase:                 PartiallyFailed\n",
            "9 objects, 1 of 2 volumes (2.0 KiB), 1 error, in 1m15s",
            "Duration:              1m15s\n",
            "Labels:                app=nginx\n",
            "Hooks:                 2 run, 0 failed\n",
            "  claims/a/b\n      2.0 KiB in 1 file, 0 B read, 0 B stored\n      chosen by: it is the default\n",
            "      NOT SAVED: the pod is gone\n",
            "Volumes that were left out:\n  pods/a/p/tmp: it is the default\n",
            "Errors: 1\n  VolumeFailed (1)\n    claims/a/c: the pod is gone\n",
        ] {
            assert!(text.contains(part), "{part}\n---\n{text}");
        }
        assert!(!text.contains("a/p\n"));
        assert!(story().told(true, Timestamp::now()).text().contains("          a/p\n"));
    }
}
