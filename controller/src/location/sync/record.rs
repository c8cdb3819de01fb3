//! A Backup made of the record in its snapshot. Pure.

use std::collections::BTreeMap;

use api::archive::Record;
use api::condition::{self, Condition, Said};
use api::{Backup, BackupPhase, BackupSpec, BackupStatus, words};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::super::hold;
use super::Saved;
use crate::backup::SYNCED;

/// Annotation on a Backup that was found in a location: the cluster that made it.
pub(super) const SYNCED_FROM: &str = "ararat.dev/synced-from";

/// The Backup that stands for a snapshot in this cluster, and its status.
pub fn backup_of(
    record: &Record,
    saved: &Saved<'_>,
    name: &str,
    namespace: &str,
    location: &str,
) -> (Backup, BackupStatus) {
    let spec = BackupSpec {
        // The location may have another name here, and what was asked of the backup while it ran is done.
        storage_location: Some(location.to_owned()),
        cancel: false,
        dry_run: false,
        // The record has what was asked for when it was written; the tag may be of yesterday.
        hold: saved.is_held(),
        ..record.spec.clone()
    };
    let mut backup = Backup::new(name, spec);
    backup.metadata.namespace = Some(namespace.to_owned());
    let mut labels = record.labels.clone();
    labels.insert(words::LOCATION.to_owned(), words::label_value(location));
    labels.insert(words::BACKUP_UID.to_owned(), saved.uid.to_owned());
    backup.metadata.labels = Some(labels);
    let mut annotations: BTreeMap<String, String> = record.annotations.clone();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations.insert(SYNCED.to_owned(), "true".to_owned());
    annotations.insert(SYNCED_FROM.to_owned(), record.cluster.clone());
    backup.metadata.annotations = Some(annotations);
    (backup, status_of(record, saved, location))
}

fn status_of(record: &Record, saved: &Saved<'_>, location: &str) -> BackupStatus {
    let known = &record.status;
    let ended = saved
        .snapshot
        .record
        .as_ref()
        .map_or(saved.snapshot.summary.time, |record| record.ended);
    let ended = Timestamp::from_nanosecond(i128::from(ended.0)).unwrap_or_default();
    BackupStatus {
        // The record goes into the snapshot before that is committed; that it is there says the rest.
        phase: match (known.phase.is_restorable(), known.errors.unwrap_or_default()) {
            (true, _) => known.phase,
            (false, 0) => BackupPhase::Completed,
            (false, _) => BackupPhase::PartiallyFailed,
        },
        snapshot_id: Some(saved.snapshot.id.to_string()),
        cluster_id: Some(record.cluster.clone()),
        storage_location: Some(location.to_owned()),
        completion_timestamp: known.completion_timestamp.clone().or(Some(Time(ended))),
        observed_generation: None,
        conditions: committed(saved, ended),
        open_hooks: Vec::new(),
        failure_reason: None,
        validation_errors: Vec::new(),
        ..known.clone()
    }
}

/// That it can be restored.
fn committed(saved: &Saved<'_>, ended: Timestamp) -> Vec<Condition> {
    let said = Said {
        kind: "Committed",
        holds: true,
        reason: "Synced",
        message: format!("Snapshot {} has it", saved.snapshot.id),
        generation: None,
    };
    let mut conditions = Vec::new();
    condition::set(&mut conditions, &said, ended);
    if saved.is_held() {
        condition::set(&mut conditions, &hold::in_repository(None), ended);
    }
    conditions
}
