//! How a Backup lies in its snapshot: which file holds what. A Backup is one snapshot of its repository, and each volume's data another that its
//! record names; the Backup's is written last, so what is listed is whole.
//!
//! ```text
//! objects/RESOURCE.GROUP/cluster/NAME                one object that belongs to no namespace, as JSON without managedFields (but for Services)
//! objects/RESOURCE.GROUP/namespaces/NAMESPACE/NAME   one object of a namespace
//! record.json                                        the Backup as it was asked for, and what became of it (Record)
//! results.json                                       warnings and errors (Results)
//! run.log                                            the log
//! volumes.json                                       a list of a VolumeRecord for each volume that was met
//! ```
//!
//! What is known only in the end comes last in the order of paths, so that everything can be written as it is found.
//!
//! What became of a Restore is a small snapshot of the same form, without objects:
//!
//! ```text
//! record.json     the Restore as it was asked for, and what became of it (RestoreRecord)
//! results.json    warnings and errors (Results)
//! run.log         the log
//! volumes.json    a list of a FilledVolume for each volume that was to be filled
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backup::{BackupSpec, BackupStatus, VolumeAction};
use crate::restore::{RestoreSpec, RestoreStatus};
use crate::selection::Kind;
use crate::volume::{PodVolumeRestore, VolumeMode, VolumePhase};

/// The file of the record.
pub const RECORD: &str = "record.json";
/// The file of the volumes' records.
pub const VOLUMES: &str = "volumes.json";
/// The file of warnings and errors.
pub const RESULTS: &str = "results.json";
/// The file of the log.
pub const LOG: &str = "run.log";
/// The file that says which cluster owns the location.
pub const OWNER: &str = "owner.json";
/// The folder of the objects.
pub const OBJECTS: &str = "objects";
/// The version of this layout. One that is newer is refused.
pub const FORMAT: u32 = 1;

/// The label of a snapshot that says what it is: one of the next four.
pub const LABEL_KIND: &str = "ararat.dev/kind";
/// The snapshot is a Backup.
pub const KIND_BACKUP: &str = "backup";
/// The snapshot is the data of a volume.
pub const KIND_VOLUME: &str = "volume";
/// The snapshot is the record of a Restore.
pub const KIND_RESTORE: &str = "restore";
/// The snapshot says which cluster owns the location; the newest of these counts.
pub const KIND_OWNER: &str = "owner";
/// The label of a snapshot that names the Backup, or Restore.
pub const LABEL_NAME: &str = "ararat.dev/name";
/// The label of a snapshot that has the UID of the Backup, or Restore.
pub const LABEL_UID: &str = "ararat.dev/uid";
/// The label of a volume's snapshot: its source.
pub const LABEL_SOURCE: &str = "ararat.dev/source";

/// The tag of a Backup's snapshot that is held: spec.hold as the repository has it, which counts in every cluster.
pub const TAG_HOLD: &str = "ararat.dev/hold";

/// A Backup as it was asked for, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of the layout.
    pub format: u32,
    /// The program that wrote it.
    pub program: String,
    /// The Backup's name.
    pub name: String,
    /// The Backup's UID.
    pub uid: String,
    /// The Backup's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The Backup's annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The cluster: the UID of its namespace kube-system.
    pub cluster: String,
    /// The version of the cluster's API server.
    pub kubernetes: String,
    /// What was asked for.
    pub spec: BackupSpec,
    /// What became of it.
    pub status: BackupStatus,
    /// How many objects there are of each kind.
    pub kinds: BTreeMap<String, u64>,
}

/// A Restore as it was asked for, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreRecord {
    /// The version of the layout.
    pub format: u32,
    /// The program that wrote it.
    pub program: String,
    /// The Restore's name.
    pub name: String,
    /// The Restore's UID.
    pub uid: String,
    /// The Restore's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The Restore's annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The cluster that it came back into: the UID of its namespace kube-system.
    pub cluster: String,
    /// The version of the cluster's API server.
    pub kubernetes: String,
    /// What was asked for.
    pub spec: RestoreSpec,
    /// What became of it.
    pub status: RestoreStatus,
}

/// A volume that a restore was to fill, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilledVolume {
    /// What its data is of: claims/NAMESPACE/NAME, or pods/NAMESPACE/NAME/VOLUME.
    pub source: String,
    /// The pod through which it was filled: NAMESPACE/NAME.
    pub pod: String,
    /// The node whose agent did it.
    pub node: String,
    /// Where it is.
    pub phase: VolumePhase,
    /// Bytes done.
    #[serde(default)]
    pub bytes_done: u64,
    /// Bytes that there were to do.
    #[serde(default)]
    pub bytes_total: u64,
    /// Why it failed, or what is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The first files that could not be restored: path and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

impl From<&PodVolumeRestore> for FilledVolume {
    fn from(volume: &PodVolumeRestore) -> Self {
        let (spec, status) = (&volume.spec, volume.status.clone().unwrap_or_default());
        let progress = status.progress.unwrap_or_default();
        Self {
            source: spec.source.clone(),
            pod: format!("{}/{}", spec.place.pod_namespace, spec.place.pod_name),
            node: spec.node.clone(),
            phase: status.phase,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            message: status.message,
            failures: status.failures,
        }
    }
}

/// What was done with a volume, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// claims/NAMESPACE/NAME, or pods/NAMESPACE/NAME/VOLUME.
    pub source: String,
    /// The namespace.
    pub namespace: String,
    /// The claim, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The pod through which it was read; none for one that was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its name in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Its PersistentVolume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume: Option<String>,
    /// Its storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// How it is used.
    pub mode: VolumeMode,
    /// What was done.
    pub action: VolumeAction,
    /// Which rule said so.
    pub reason: String,
    /// The snapshot of its data; none when nothing was saved.
    #[serde(default, rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The snapshot that unchanged files were taken from.
    #[serde(default, rename = "parentSnapshotID", skip_serializing_if = "Option::is_none")]
    pub parent_snapshot_id: Option<String>,
    /// When reading began: the moment it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When reading ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Bytes of its files.
    #[serde(default)]
    pub bytes: u64,
    /// Files, folders and others.
    #[serde(default)]
    pub files: u64,
    /// Bytes that were read.
    #[serde(default)]
    pub bytes_read: u64,
    /// Bytes that were written to the store.
    #[serde(default)]
    pub bytes_stored: u64,
    /// Files that could not be read, or changed while they were.
    #[serde(default)]
    pub errors: u64,
    /// The first of them: path and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// Why it was not saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Warnings and errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// What is worth knowing.
    pub warnings: Vec<Issue>,
    /// What was not done.
    pub errors: Vec<Issue>,
}

/// One warning or error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Why, in one CamelCase word that stays the same.
    pub reason: String,
    /// What it is about: RESOURCE/NAMESPACE/NAME, a volume, a hook; empty for everything.
    #[serde(default)]
    pub about: String,
    /// What happened, for people.
    pub message: String,
}

/// The path of an object.
pub fn object_path(kind: &Kind, namespace: &str, name: &str) -> String {
    if kind.namespaced {
        format!("{OBJECTS}/{}/namespaces/{namespace}/{name}", kind.resource())
    } else {
        format!("{OBJECTS}/{}/cluster/{name}", kind.resource())
    }
}

/// What the path of an object says: resource with group, namespace (empty for none), name.
pub fn parse_object_path(path: &str) -> Option<(&str, &str, &str)> {
    let mut parts = path.strip_prefix(OBJECTS)?.strip_prefix('/')?.split('/');
    let found = match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (resource, "namespaces", namespace, Some(name)) => (resource, namespace, name),
        (resource, "cluster", name, None) => (resource, "", name),
        _ => return None,
    };
    parts.next().is_none().then_some(found)
}

/// The source of a claim's data.
pub fn claim_source(namespace: &str, claim: &str) -> String {
    format!("claims/{namespace}/{claim}")
}

/// The source of the data of a volume that belongs to its pod.
pub fn pod_source(namespace: &str, pod: &str, volume: &str) -> String {
    format!("pods/{namespace}/{pod}/{volume}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_which_object_they_are_and_nothing_else_does() {
        let roles = Kind {
            group: "rbac.authorization.k8s.io".into(),
            plural: "clusterroles".into(),
            ..Kind::default()
        };
        let path = object_path(&roles, "", "system:node");
        assert_eq!(
            parse_object_path(&path),
            Some(("clusterroles.rbac.authorization.k8s.io", "", "system:node"))
        );
        let maps = Kind {
            plural: "configmaps".into(),
            namespaced: true,
            ..Kind::default()
        };
        assert_eq!(
            parse_object_path(&object_path(&maps, "a", "b")),
            Some(("configmaps", "a", "b"))
        );
        for wrong in [
            "objects",
            "objects/x",
            "objects/x/namespaces/a",
            "objects/x/namespaces/a/b/c",
            "objects/x/other/a",
            "run.log",
        ] {
            assert_eq!(parse_object_path(wrong), None, "{wrong}");
        }
    }
}
