//! Backup: objects and volumes of applications at one time, as one commit in a repository.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::hook::{BackupHook, HookFailure};

/// What is backed up, and how.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "Backup",
    namespaced,
    status = "BackupStatus",
    shortname = "bak",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "Objects and volumes of applications at one time, as one commit in a repository. Deleting this object deletes no data: make a DeleteBackupRequest for that.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Errors", type_ = "integer", json_path = ".status.errors"),
    printcolumn(name = "Warnings", type_ = "integer", json_path = ".status.warnings"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.progress.itemsBackedUp"),
    printcolumn(name = "Volumes", type_ = "integer", json_path = ".status.volumes.completed"),
    printcolumn(name = "Created", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiration"),
    printcolumn(name = "Location", type_ = "string", json_path = ".spec.storageLocation", priority = 1),
    printcolumn(name = "Snapshot", type_ = "string", json_path = ".status.snapshotID", priority = 1),
    validation = crate::unchangeable(&["includedNamespaces", "excludedNamespaces", "includedResources", "excludedResources", "includedNames", "excludedNames", "includeClusterResources", "labelSelector", "orLabelSelectors", "orderedResources", "snapshotVolumes", "defaultVolumesToFsBackup", "volumePolicies", "hooks", "storageLocation", "ttl", "dryRun"], "make another Backup; only spec.cancel and spec.hold may change"),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 200").message("the name is longer than 200 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("!(has(self.labelSelector) && has(self.orLabelSelectors) && self.orLabelSelectors.size() > 0)").message("give labelSelector or orLabelSelectors, not both: put the first into the list of the second")
)]
pub struct BackupSpec {
    /// Namespaces whose objects are saved; globs (* and ?) allowed. All when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_namespaces: Vec<String>,
    /// Namespaces whose objects are not saved; globs allowed. This goes before what is included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// Kinds that are saved, e.g. deployments.apps, configmaps, Secret; globs allowed. All when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_resources: Vec<String>,
    /// Kinds that are not saved; globs allowed. This goes before what is included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_resources: Vec<String>,
    /// Names of objects that are saved; globs allowed. All when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_names: Vec<String>,
    /// Names of objects that are not saved; globs allowed. This goes before what is included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_names: Vec<String>,
    /// Whether objects that belong to no namespace are saved. When it is not said: all of them in a backup of every namespace without selectors, otherwise those that
    /// saved objects need (volumes, roles, definitions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_cluster_resources: Option<bool>,
    /// Labels of objects that are saved. What they need (claims of a pod, roles of a service account) is saved with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Labels of objects that are saved; an object that fits one of them is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or_label_selectors: Vec<LabelSelector>,
    /// Objects of a kind (e.g. pods) whose volumes are read first, in this order: NAMESPACE/NAME. One is finished before the next begins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ordered_resources: BTreeMap<String, Vec<String>>,
    /// Whether the data of volumes is saved. Without it, claims and volumes are saved as objects alone.
    #[serde(default = "yes")]
    pub snapshot_volumes: bool,
    /// Whether volumes are saved unless a pod's annotation ararat.dev/backup-volumes-excludes or a policy says otherwise. If not, only those that
    /// ararat.dev/backup-volumes or a policy names.
    #[serde(default = "yes")]
    pub default_volumes_to_fs_backup: bool,
    /// What is done with volumes; the first policy whose conditions all hold decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_policies: Vec<VolumePolicy>,
    /// Commands that run in pods before and after their volumes are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<BackupHook>,
    /// The BackupStorageLocation; the default one when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_location: Option<String>,
    /// After how long the backup is deleted, e.g. 72h; 720h when it is not said. 0s is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub ttl: Option<String>,
    /// Only find out what would be saved; `ararat backup create --dry-run` shows it, and removes this object. One that was left behind is removed an hour after its end.
    #[serde(default)]
    pub dry_run: bool,
    /// Stop this backup. What was read so far is used by the next one.
    #[serde(default)]
    pub cancel: bool,
    /// Keep this backup whatever its time to live says. Once it is completed, this is kept in its repository, where the cluster that owns the location has it
    /// written: then it counts in every cluster, and outlives this object. The condition Held says what the repository says.
    #[serde(default)]
    pub hold: bool,
}

fn yes() -> bool {
    true
}

/// What is done with volumes that fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumePolicy {
    /// Namespaces of the pods or claims; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Names of storage classes; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage_classes: Vec<String>,
    /// What the volumes are: the name of their source in the pod or volume, e.g. persistentVolumeClaim, csi, nfs, hostPath, local, emptyDir.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_types: Vec<String>,
    /// Drivers of CSI volumes; globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub csi_drivers: Vec<String>,
    /// Labels of the claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_labels: Option<LabelSelector>,
    /// What is done with them.
    pub action: VolumeAction,
}

/// What is done with a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VolumeAction {
    /// Its data is not saved.
    Skip,
    /// The agent reads its files, or its device.
    #[default]
    FsBackup,
}

/// Where a Backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackupPhase {
    /// Nobody has looked at it yet.
    #[default]
    New,
    /// It cannot be done as it is written; status.validationErrors say why.
    FailedValidation,
    /// Volumes are being read.
    InProgress,
    /// Volumes are read; objects and records are being committed.
    Finalizing,
    /// A dry run has been looked at.
    Planned,
    /// It is being stopped.
    Canceling,
    /// It was stopped; nothing of it can be restored.
    Canceled,
    /// Everything is saved.
    Completed,
    /// It is saved, but for what status.errors counts.
    PartiallyFailed,
    /// Nothing was saved.
    Failed,
    /// Its data is being deleted.
    Deleting,
}

impl BackupPhase {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        match self {
            Self::New | Self::InProgress | Self::Finalizing | Self::Canceling => false,
            Self::FailedValidation
            | Self::Planned
            | Self::Canceled
            | Self::Completed
            | Self::PartiallyFailed
            | Self::Failed
            | Self::Deleting => true,
        }
    }

    /// Whether there is something to restore.
    pub fn is_restorable(self) -> bool {
        matches!(self, Self::Completed | Self::PartiallyFailed)
    }
}

/// How far a Backup is, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// Where it is.
    #[serde(default)]
    pub phase: BackupPhase,
    /// What is the case: Committed (it can be restored), Waiting (for its location, and why), Held (the repository says that it does not expire), Kept (it would have
    /// expired, and is the last good one of its schedule).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is wrong with the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<String>,
    /// Why nothing was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Time>,
    /// When it will be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Time>,
    /// Its snapshot in the repository; there once everything is committed.
    #[serde(default, rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The cluster that it was made in: the UID of its namespace kube-system.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The location that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_location: Option<String>,
    /// Objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<BackupProgress>,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<VolumeCounts>,
    /// Hooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<HookCounts>,
    /// Pods whose pre hooks have run and whose post hooks have not: they run even when the controller was restarted in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_hooks: Vec<String>,
    /// Pods all of whose hooks have run: they do not run twice when the controller was restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks_done: Vec<PodHooks>,
    /// Hooks that failed so far, the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hook_failures: Vec<HookFailure>,
    /// What was not saved. `ararat backup describe` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// What is worth knowing. `ararat backup describe` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<u64>,
}

/// A pod whose hooks have run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodHooks {
    /// NAMESPACE/POD/UID.
    pub pod: String,
    /// Its volumes were not read, since a hook had failed.
    #[serde(default)]
    pub not_read: bool,
}

/// How many objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProgress {
    /// Objects that were found so far.
    pub total_items: u64,
    /// Objects that were saved so far.
    pub items_backed_up: u64,
}

/// How many volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeCounts {
    /// Volumes whose data is to be saved, or restored.
    pub total: u64,
    /// Volumes that are done.
    pub completed: u64,
    /// Volumes that failed, wholly or in part.
    pub failed: u64,
    /// Volumes that are not touched, with a reason.
    #[serde(default)]
    pub skipped: u64,
    /// Bytes done so far.
    #[serde(default)]
    pub bytes_done: u64,
    /// Bytes that are known of so far.
    #[serde(default)]
    pub bytes_total: u64,
}

/// How many hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookCounts {
    /// Hooks that were begun.
    pub attempted: u64,
    /// Hooks that failed.
    pub failed: u64,
}
