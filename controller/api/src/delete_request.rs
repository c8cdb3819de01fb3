//! DeleteBackupRequest: a Backup and its data are to be deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be deleted.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "DeleteBackupRequest",
    namespaced,
    status = "DeleteBackupRequestStatus",
    shortname = "dbr",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Backup, its data, its volumes' data and its Restores are to be deleted. Space comes back with the next prune.",
    printcolumn(name = "Backup", type_ = "string", json_path = ".spec.backupName"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    validation = crate::unchangeable(&["backupName", "backupUID"], "make another DeleteBackupRequest")
)]
#[serde(rename_all = "camelCase")]
pub struct DeleteBackupRequestSpec {
    /// The Backup.
    #[schemars(length(min = 1))]
    pub backup_name: String,
    /// The UID of the Backup, so that another one of the same name is not meant.
    #[serde(default, rename = "backupUID", skip_serializing_if = "Option::is_none")]
    pub backup_uid: Option<String>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletePhase {
    /// Nobody has looked at it yet.
    #[default]
    New,
    /// It is being done, or tried again.
    InProgress,
    /// It is done.
    Processed,
    /// It cannot be done; status.message says why.
    Failed,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteBackupRequestStatus {
    /// Where it is.
    #[serde(default)]
    pub phase: DeletePhase,
    /// Why it is not done, and what is being waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was done. The request is removed an hour later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Time>,
}
