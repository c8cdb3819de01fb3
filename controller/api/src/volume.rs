//! PodVolumeBackup and PodVolumeRestore: one volume is read or filled by the agent of one node. They carry all that an agent needs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// Which volume, and where the kubelet has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumePlace {
    /// The pod's namespace.
    pub pod_namespace: String,
    /// The pod that mounts it.
    pub pod_name: String,
    /// The pod's UID, by which the kubelet names its folder.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// The volume's name in the pod.
    pub volume: String,
    /// The name of the folder that the kubelet has for it: the PersistentVolume's for claims, the volume's for others.
    pub folder: String,
    /// Filesystem or Block.
    pub mode: VolumeMode,
    /// The path on the node, for hostPath volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
}

/// What an agent says of a folder of its node that it was to fill for a pod, and that is not empty.
pub const FOLDER_KEPT: &str = "The folder of the node is not empty: it stays as it is, and the pod has what is in it";

/// How a volume is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VolumeMode {
    /// As a folder of files.
    #[default]
    Filesystem,
    /// As a block device.
    Block,
}

/// One volume that is read.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "PodVolumeBackup",
    namespaced,
    status = "PodVolumeStatus",
    shortname = "pvb",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "One volume that the agent of a node reads for a Backup. Made by the controller.",
    selectable = ".spec.node",
    printcolumn(name = "Backup", type_ = "string", json_path = ".spec.backupName"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.place.podNamespace"),
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.progress.bytesDone"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.progress.bytesTotal"),
    printcolumn(name = "Stored", type_ = "integer", json_path = ".status.bytesStored", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = crate::unchangeable(&["node", "place", "backupName", "backupUID", "source", "clusterID", "storageLocation"], "the controller makes another one")
)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeBackupSpec {
    /// The node whose agent reads it.
    pub node: String,
    /// Which volume.
    pub place: VolumePlace,
    /// The Backup.
    pub backup_name: String,
    /// The Backup's UID.
    #[serde(rename = "backupUID")]
    pub backup_uid: String,
    /// What the snapshot is of, whatever pod mounts it: claims/NAMESPACE/NAME, or pods/NAMESPACE/NAME/VOLUME.
    pub source: String,
    /// The cluster: the UID of its namespace kube-system.
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    /// The location.
    pub storage_location: String,
    /// Stop reading it.
    #[serde(default)]
    pub cancel: bool,
}

/// One volume that is filled.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "PodVolumeRestore",
    namespaced,
    status = "PodVolumeStatus",
    shortname = "pvr",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "One volume that the agent of a node fills for a Restore. Made by the controller.",
    selectable = ".spec.node",
    printcolumn(name = "Restore", type_ = "string", json_path = ".spec.restoreName"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.place.podNamespace"),
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.progress.bytesDone"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.progress.bytesTotal"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = crate::unchangeable(&["node", "place", "restoreName", "restoreUID", "source", "snapshotID", "storageLocation"], "the controller makes another one")
)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeRestoreSpec {
    /// The node whose agent fills it.
    pub node: String,
    /// Which volume.
    pub place: VolumePlace,
    /// The Restore.
    pub restore_name: String,
    /// The Restore's UID.
    #[serde(rename = "restoreUID")]
    pub restore_uid: String,
    /// What the snapshot is of: claims/NAMESPACE/NAME, or pods/NAMESPACE/NAME/VOLUME.
    pub source: String,
    /// The snapshot.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// The location.
    pub storage_location: String,
    /// Stop filling it.
    #[serde(default)]
    pub cancel: bool,
}

/// Where a volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VolumePhase {
    /// The agent has not seen it yet.
    #[default]
    New,
    /// The agent has a place for it and waits for the credentials, which are sealed to `status.recipient`.
    Accepted,
    /// It is being read or filled.
    InProgress,
    /// It is done.
    Completed,
    /// It is done, but for what status.errors counts.
    PartiallyFailed,
    /// It could not be done; status.message says why.
    Failed,
    /// It was stopped.
    Canceled,
}

impl VolumePhase {
    /// Whether nothing more happens.
    pub fn is_final(self) -> bool {
        match self {
            Self::New | Self::Accepted | Self::InProgress => false,
            Self::Completed | Self::PartiallyFailed | Self::Failed | Self::Canceled => true,
        }
    }
}

/// How far a volume is, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeStatus {
    /// Where it is.
    #[serde(default)]
    pub phase: VolumePhase,
    /// What is the case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The public key of the agent that accepted it: what it must know of the store and the repository is sealed to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// What the agent must know, sealed to the recipient; there while it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<String>,
    /// Why it failed, or what is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the agent accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_timestamp: Option<Time>,
    /// When reading or writing began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Time>,
    /// When the agent last said something: a volume without a word for five minutes is taken for lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Time>,
    /// The snapshot that was written or read.
    #[serde(default, rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The snapshot that unchanged files were taken from.
    #[serde(default, rename = "parentSnapshotID", skip_serializing_if = "Option::is_none")]
    pub parent_snapshot_id: Option<String>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<VolumeProgress>,
    /// Bytes read from the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_read: Option<u64>,
    /// Bytes written to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_stored: Option<u64>,
    /// Files that changed while they were read, could not be read or could not be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// The first of them: path and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// How far a volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeProgress {
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes that are known of.
    pub bytes_total: u64,
    /// Files, folders and others done.
    pub files_done: u64,
    /// Files, folders and others that are known of.
    pub files_total: u64,
    /// Bytes a second, of the last while.
    pub bytes_per_second: u64,
}
