//! DownloadRequest: something of a Backup or Restore is to be read through the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be read.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "DownloadRequest",
    namespaced,
    status = "DownloadRequestStatus",
    shortname = "dreq",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "Something of a Backup or Restore is to be read. The controller answers with a path, a port and a token; it is read by forwarding a port to the pod that is named. A request is removed after ten minutes.",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.target.kind"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.target.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    validation = crate::unchangeable(&["target"], "make another DownloadRequest")
)]
#[serde(rename_all = "camelCase")]
pub struct DownloadRequestSpec {
    /// What is to be read.
    pub target: DownloadTarget,
}

/// What is to be read, and of which object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadTarget {
    /// What.
    pub kind: DownloadKind,
    /// The Backup or Restore.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// What can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DownloadKind {
    /// The log of a Backup.
    #[default]
    BackupLog,
    /// Warnings and errors of a Backup, as JSON.
    BackupResults,
    /// The records of a Backup's volumes, as JSON.
    BackupVolumes,
    /// Everything of a Backup but volume data, as a tar archive.
    BackupContents,
    /// Every object that a Backup has: a line of JSON each.
    BackupResources,
    /// What a dry run would save, and by which rule: a line of JSON each.
    BackupPlan,
    /// The log of a Restore.
    RestoreLog,
    /// Warnings and errors of a Restore, as JSON.
    RestoreResults,
    /// What a dry run would do to which object, with the fields that differ: a line of JSON each.
    RestorePlan,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DownloadPhase {
    /// Nobody has looked at it yet.
    #[default]
    New,
    /// It can be read.
    Ready,
    /// It cannot be read; status.message says why.
    Failed,
}

/// How it is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadRequestStatus {
    /// Where it is.
    #[serde(default)]
    pub phase: DownloadPhase,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The controller's pod to forward a port to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path of the HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What goes into its header `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Until when it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Time>,
}
