//! The Kubernetes kinds of Ararat (group `ararat.dev`, version `v1alpha1`) and pure functions over them: no I/O, no clock.
//!
//! In reading order: the kinds, one file each ([`backup`], [`restore`], [`schedule`], [`location`], [`repository`], [`volume`], [`delete_request`],
//! [`download_request`]); what they share ([`selection`], [`hook`], [`duration`], [`condition`]); the words on foreign objects ([`words`]);
//! [`archive`], how a Backup lies in its snapshot; [`credential`], how a Secret names a store's credentials; [`handover`], what an agent is told; [`cron`], when a Schedule runs; and [`nearest`], which names were perhaps meant.
//!
//! Doc comments of fields are what `kubectl explain` prints: written for users.

#![allow(
    clippy::duplicated_attributes,
    reason = "the lint takes the columns of one table for one attribute said twice"
)]

pub mod archive;
pub mod backup;
pub mod condition;
pub mod credential;
pub mod cron;
pub mod delete_request;
pub mod download_request;
pub mod duration;
pub mod handover;
pub mod hook;
pub mod location;
pub mod nearest;
pub mod repository;
pub mod restore;
pub mod schedule;
pub mod selection;
pub mod volume;
pub mod words;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::Rule;

pub use backup::{Backup, BackupPhase, BackupSpec, BackupStatus};
pub use delete_request::{DeleteBackupRequest, DeleteBackupRequestSpec, DeleteBackupRequestStatus};
pub use download_request::{DownloadRequest, DownloadRequestSpec, DownloadRequestStatus};
pub use location::{BackupStorageLocation, BackupStorageLocationSpec, BackupStorageLocationStatus};
pub use repository::{BackupRepository, BackupRepositorySpec, BackupRepositoryStatus};
pub use restore::{Restore, RestorePhase, RestoreSpec, RestoreStatus};
pub use schedule::{Schedule, ScheduleSpec, ScheduleStatus};
pub use volume::{PodVolumeBackup, PodVolumeRestore};

/// The API group.
pub const GROUP: &str = "ararat.dev";
/// The version of the kinds.
pub const VERSION: &str = "v1alpha1";
/// The namespace that an installation goes into unless another is named.
pub const NAMESPACE: &str = "ararat";

/// The definitions of all kinds, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        Backup::crd(),
        BackupRepository::crd(),
        BackupStorageLocation::crd(),
        DeleteBackupRequest::crd(),
        DownloadRequest::crd(),
        PodVolumeBackup::crd(),
        PodVolumeRestore::crd(),
        Restore::crd(),
        Schedule::crd(),
    ];
    definitions.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
    definitions
}

/// A rule for the API server: of `spec`, these fields stay as they were made. `advice` says what to do instead.
pub(crate) fn unchangeable(fields: &[&str], advice: &str) -> Rule {
    let same = |field: &&str| {
        format!(
            "has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
        )
    };
    let rule = fields.iter().map(same).collect::<Vec<_>>().join(" && ");
    Rule::new(rule).message(format!("spec cannot be changed: {advice}").as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Which fields of a spec may change, by kind; every other one must stand in the rule that refuses a change.
    const CHANGEABLE: &[(&str, &[&str])] = &[
        ("Backup", &["cancel", "hold"]),
        ("Restore", &["cancel"]),
        ("PodVolumeBackup", &["cancel"]),
        ("PodVolumeRestore", &["cancel"]),
        ("DeleteBackupRequest", &[]),
        ("DownloadRequest", &[]),
    ];

    #[test]
    fn specs_of_one_time_work_cannot_be_changed_but_for_what_is_named() {
        for definition in definitions() {
            let kind = definition.spec.names.kind.clone();
            let Some((_, changeable)) = CHANGEABLE.iter().find(|(name, _)| *name == kind) else {
                continue;
            };
            let schema = definition.spec.versions[0]
                .schema
                .clone()
                .unwrap()
                .open_api_v3_schema
                .unwrap();
            let rules = schema.x_kubernetes_validations.clone().unwrap_or_default();
            let rule = rules.iter().map(|rule| rule.rule.clone()).collect::<String>();
            let spec = schema.properties.unwrap()["spec"].clone();
            for field in spec.properties.unwrap_or_default().keys() {
                let guarded = rule.contains(&format!("has(self.spec.{field})"));
                assert_eq!(guarded, !changeable.contains(&field.as_str()), "{kind}.spec.{field}");
            }
        }
    }

    #[test]
    fn every_kind_has_a_short_name_columns_a_status_and_described_fields() {
        for definition in definitions() {
            let kind = &definition.spec.names.kind;
            assert!(
                definition
                    .spec
                    .names
                    .short_names
                    .as_ref()
                    .is_some_and(|names| !names.is_empty()),
                "{kind}"
            );
            let version = &definition.spec.versions[0];
            assert!(
                version
                    .additional_printer_columns
                    .as_ref()
                    .is_some_and(|columns| columns.len() > 1),
                "{kind}"
            );
            assert!(
                version.subresources.as_ref().is_some_and(|sub| sub.status.is_some()),
                "{kind}"
            );
            let schema = version.schema.clone().unwrap().open_api_v3_schema.unwrap();
            for part in ["spec", "status"] {
                let properties = schema.properties.as_ref().unwrap()[part]
                    .properties
                    .clone()
                    .unwrap_or_default();
                for (field, property) in properties {
                    assert!(
                        property.description.is_some(),
                        "{kind}.{part}.{field} has no description"
                    );
                }
            }
        }
    }
}
