//! BackupStorageLocation: where a repository is, and how it is reached.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// Where a repository is, and how it is reached.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "BackupStorageLocation",
    namespaced,
    status = "BackupStorageLocationStatus",
    shortname = "bsl",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "Where a repository is, and how it is reached. Deleting this object deletes no data.",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Validated", type_ = "date", json_path = ".status.lastValidationTime"),
    printcolumn(name = "Access", type_ = "string", json_path = ".spec.accessMode"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".status.owner", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageLocationSpec {
    /// The prefix that is the repository: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[x_kube(
        validation = kube::core::Rule::new("self.startsWith('s3://') || self.startsWith('gs://') || self.startsWith('az://')").message("write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"),
        validation = kube::core::Rule::new("self == oldSelf").message("the url cannot be changed: make another location, for its repository is another")
    )]
    #[schemars(length(max = 2048))]
    pub url: String,
    /// How the store is reached: endpoint, region, pathStyle (true or false), proxy, caCertificate (PEM).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = kube::core::Rule::new("self.all(k, k in ['endpoint', 'region', 'pathStyle', 'proxy', 'caCertificate'])").message("there is endpoint, region, pathStyle, proxy and caCertificate; credentials belong into a Secret"))]
    pub options: BTreeMap<String, String>,
    /// The Secret with the store's credentials: variables such as AWS_ACCESS_KEY_ID as keys, or one key `cloud` with a credentials file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SecretName>,
    /// The Secret with the store's credentials for agents, which need to list, read and write, but never to delete. The controller's when it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_credential: Option<SecretName>,
    /// The Secret with the repository's key under `owner.key`.
    pub repository_key: SecretName,
    /// Backups that name no location go here.
    #[serde(default)]
    pub default: bool,
    /// ReadOnly: nothing is written there; backups can be restored. For a cluster that takes over or looks on.
    #[serde(default)]
    pub access_mode: AccessMode,
    /// Take the location over from the cluster that owns it, and write there.
    #[serde(default)]
    pub take_over: bool,
    /// How often it is looked whether there are backups that this cluster does not know, e.g. 1m; 0s is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub sync_period: Option<String>,
    /// How often it is looked whether the store answers, e.g. 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub validation_frequency: Option<String>,
    /// How often what no backup needs is deleted from the store, e.g. 24h; 0s is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub prune_frequency: Option<String>,
    /// How often a slice of the repository is read and checked, e.g. 24h; 0s is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub check_frequency: Option<String>,
    /// In how many checks the whole repository is read; 30 when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub check_slices: Option<u32>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Whether a location is written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// Backups go there.
    #[default]
    ReadWrite,
    /// Nothing is written there.
    ReadOnly,
}

/// Whether a location can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocationPhase {
    /// The store answers and the repository can be opened.
    Available,
    /// status.message says why not.
    #[default]
    Unavailable,
}

/// What is known of a location.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageLocationStatus {
    /// Whether it can be used.
    #[serde(default)]
    pub phase: LocationPhase,
    /// Why it cannot be used, or what is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is the case: Available, Owned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The repository's id.
    #[serde(default, rename = "repositoryID", skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The cluster that writes there: the UID of its namespace kube-system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When the store last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_validation_time: Option<Time>,
    /// When the Backups here were last compared with those there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_synced_time: Option<Time>,
}
