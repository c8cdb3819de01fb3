//! Restore: objects and volumes of a Backup come back.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backup::{HookCounts, VolumeCounts};
use crate::condition::Condition;
use crate::hook::{HookFailure, RestoreHook};

/// What is restored, and how.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "Restore",
    namespaced,
    status = "RestoreStatus",
    shortname = "rst",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "Objects and volumes of a Backup come back, into this cluster.",
    printcolumn(name = "Backup", type_ = "string", json_path = ".status.backupName"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Errors", type_ = "integer", json_path = ".status.errors"),
    printcolumn(name = "Warnings", type_ = "integer", json_path = ".status.warnings"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.progress.itemsRestored"),
    printcolumn(name = "Volumes", type_ = "integer", json_path = ".status.volumes.completed"),
    printcolumn(name = "Created", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = crate::unchangeable(&["backupName", "scheduleName", "includedNamespaces", "excludedNamespaces", "includedResources", "excludedResources", "includedNames", "excludedNames", "includeClusterResources", "labelSelector", "orLabelSelectors", "namespaceMapping", "storageClassMapping", "existingResourcePolicy", "restoreVolumes", "restoreStatus", "preserveNodePorts", "hooks", "dryRun"], "make another Restore; only spec.cancel may change"),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 200").message("the name is longer than 200 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("has(self.backupName) != has(self.scheduleName)").message("give backupName, or scheduleName for its latest backup: one of the two"),
    validation = kube::core::Rule::new("!(has(self.labelSelector) && has(self.orLabelSelectors) && self.orLabelSelectors.size() > 0)").message("give labelSelector or orLabelSelectors, not both: put the first into the list of the second")
)]
pub struct RestoreSpec {
    /// The Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// The Schedule whose latest backup that completed is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_name: Option<String>,
    /// Namespaces of the backup whose objects are restored; globs allowed. All when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_namespaces: Vec<String>,
    /// Namespaces whose objects are not restored; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// Kinds that are restored, e.g. deployments.apps, configmaps, Secret; globs allowed. Naming pods or another kind that controllers make (replicasets, jobs of a cron job,
    /// endpoints) restores those as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_resources: Vec<String>,
    /// Kinds that are not restored; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_resources: Vec<String>,
    /// Names of objects that are restored; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_names: Vec<String>,
    /// Names of objects that are not restored; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_names: Vec<String>,
    /// Whether objects that belong to no namespace are restored. When it is not said: those that the restored objects need, and all of them when the whole backup is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_cluster_resources: Option<bool>,
    /// Labels of objects that are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Labels of objects that are restored; an object that fits one of them is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or_label_selectors: Vec<LabelSelector>,
    /// Other names for namespaces: from the backup's to the one that is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace_mapping: BTreeMap<String, String>,
    /// Other storage classes for claims: from the backup's to the one that is used. `*` means every one that is not named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_class_mapping: BTreeMap<String, String>,
    /// What happens to objects that exist: Skip (they stay, and a difference is a warning), Update (server-side apply of what the backup has), Fail (the restore ends before
    /// anything is changed), Recreate (deleted and made anew).
    #[serde(default)]
    pub existing_resource_policy: ExistingPolicy,
    /// Whether the data of volumes is restored. Without it, claims come back empty.
    #[serde(default = "yes")]
    pub restore_volumes: bool,
    /// Kinds whose status is restored, e.g. workflows.argoproj.io; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore_status: Vec<String>,
    /// Whether services keep the node ports that were chosen for them. Those that a person chose are kept in any case.
    #[serde(default)]
    pub preserve_node_ports: bool,
    /// Commands and containers that run in restored pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<RestoreHook>,
    /// Only find out what would be done; `ararat restore create --dry-run` shows it, and removes this object. One that was left behind is removed an hour after its end.
    #[serde(default)]
    pub dry_run: bool,
    /// Stop this restore. What was made so far stays.
    #[serde(default)]
    pub cancel: bool,
}

fn yes() -> bool {
    true
}

/// What happens to objects that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExistingPolicy {
    /// They stay as they are; a difference is a warning.
    #[default]
    Skip,
    /// They get what the backup has, by server-side apply.
    Update,
    /// The restore ends before anything is changed.
    Fail,
    /// They are deleted and made anew.
    Recreate,
}

/// Where a Restore is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestorePhase {
    /// Nobody has looked at it yet.
    #[default]
    New,
    /// It cannot be done as it is written; status.validationErrors say why.
    FailedValidation,
    /// Objects are made and volumes filled.
    InProgress,
    /// A dry run has been looked at.
    Planned,
    /// It is being stopped.
    Canceling,
    /// It was stopped; what was made so far is there.
    Canceled,
    /// Everything is restored.
    Completed,
    /// It is restored, but for what status.errors counts.
    PartiallyFailed,
    /// It could not be done.
    Failed,
}

impl RestorePhase {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        match self {
            Self::New | Self::InProgress | Self::Canceling => false,
            Self::FailedValidation
            | Self::Planned
            | Self::Canceled
            | Self::Completed
            | Self::PartiallyFailed
            | Self::Failed => true,
        }
    }
}

/// How far a Restore is, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// Where it is.
    #[serde(default)]
    pub phase: RestorePhase,
    /// What is being done: Definitions, Namespaces, Claims, Volumes, Objects, Hooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What is the case: Restored, Canceled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is wrong with the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<String>,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Time>,
    /// The Backup that is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// Its snapshot in the repository.
    #[serde(default, rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The location that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_location: Option<String>,
    /// Objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RestoreProgress>,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<VolumeCounts>,
    /// Hooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<HookCounts>,
    /// Hooks that have run: they do not run twice when the controller was restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks_done: Vec<HookDone>,
    /// The snapshot with record, volumes, log and results; there once the restore has ended.
    #[serde(default, rename = "recordID", skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    /// What was not restored. `ararat restore describe` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// What is worth knowing. `ararat restore describe` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<u64>,
}

/// A hook that has run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookDone {
    /// Its pod, its name and its number: `pods/NAMESPACE/POD HOOK NUMBER`.
    pub hook: String,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<HookFailure>,
}

/// How many objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProgress {
    /// Objects that are to be restored.
    pub total_items: u64,
    /// Objects that are dealt with so far.
    pub items_restored: u64,
    /// Of these, made.
    #[serde(default)]
    pub created: u64,
    /// Of these, changed.
    #[serde(default)]
    pub updated: u64,
    /// Of these, left as they were.
    #[serde(default)]
    pub unchanged: u64,
}
