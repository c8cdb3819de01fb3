//! BackupRepository: what is known of the repository at a location, and how it is cared for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// The repository at a location.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "BackupRepository",
    namespaced,
    status = "BackupRepositoryStatus",
    shortname = "brepo",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "What is known of the repository at a location, and how it is cared for. The controller makes one for each location, of the same name.",
    printcolumn(name = "Location", type_ = "string", json_path = ".spec.storageLocation"),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Healthy')].status"
    ),
    printcolumn(name = "Pruned", type_ = "date", json_path = ".status.lastPrune.completed"),
    printcolumn(name = "Checked", type_ = "date", json_path = ".status.lastCheck.completed"),
    printcolumn(
        name = "Repository",
        type_ = "string",
        json_path = ".status.repositoryID",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositorySpec {
    /// The BackupStorageLocation.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("the location cannot be changed"))]
    pub storage_location: String,
    /// Prune now: any text that was not here before does it, e.g. the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_now: Option<String>,
    /// Check now: any text that was not here before does it, e.g. the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_now: Option<String>,
}

/// What is known of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositoryStatus {
    /// What is the case: Healthy (the last check found nothing), Pruned (the last prune succeeded).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The repository's id.
    #[serde(default, rename = "repositoryID", skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The last prune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_prune: Option<Maintenance>,
    /// The last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<Maintenance>,
    /// The slice that the next check reads, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_slice: Option<u32>,
    /// The last spec.pruneNow that was obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_now: Option<String>,
    /// The last spec.checkNow that was obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_now: Option<String>,
}

/// One piece of maintenance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Time>,
    /// Whether it did what it should.
    #[serde(default)]
    pub succeeded: bool,
    /// What it did, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
