//! Whether a Restore can be done: its backup is there and whole, its location can be read, and what it says makes sense.

use std::sync::Arc;
use std::time::Duration;

use api::location::{BackupStorageLocation, LocationPhase};
use api::selection::{Selection, selector_error};
use api::{Backup, Restore, nearest, words};
use kube::{Api, ResourceExt};

use super::hooks::Hooks;
use crate::context::{Context, is_passing};

/// How long a location that was just made may take until it was looked at.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// What is restored, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The Backup.
    pub backup: String,
    /// Its snapshot.
    pub snapshot: String,
    /// Its location.
    pub location: String,
}

/// What is wrong with what a Restore says, whatever there is.
pub fn errors(restore: &Restore) -> Vec<String> {
    let spec = &restore.spec;
    let mut errors = Selection::of_restore(spec).err().unwrap_or_default();
    errors.extend(Hooks::new(&spec.hooks).err().unwrap_or_default());
    errors.extend(
        spec.label_selector
            .iter()
            .filter_map(selector_error)
            .filter(|why| !errors.contains(why))
            .collect::<Vec<_>>(),
    );
    if let Err(why) = api::selection::Kinds::new(&spec.restore_status, &[]) {
        errors.push(format!("restoreStatus: {why}"));
    }
    for (from, to) in &spec.storage_class_mapping {
        if to.is_empty() {
            errors.push(format!("storageClassMapping: {from} is mapped to no name"));
        }
    }
    errors
}

/// Finds the backup that a Restore means.
///
/// # Errors
/// What is wrong, with the nearest that there is.
pub async fn choose(context: &Context, restore: &Restore) -> Result<Chosen, Vec<String>> {
    let api: Api<Backup> = context.api();
    let backups = loop {
        match api.list(&kube::api::ListParams::default()).await {
            Ok(backups) => break backups.items,
            Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(vec![crate::context::say(&error)]),
        }
    };
    let backup = pick(restore, &backups).map_err(|why| vec![why])?;
    let status = backup.status.clone().unwrap_or_default();
    let location = status
        .storage_location
        .or_else(|| backup.spec.storage_location.clone())
        .unwrap_or_default();
    Ok(Chosen {
        backup: backup.name_any(),
        snapshot: status.snapshot_id.unwrap_or_default(),
        location,
    })
}

/// Picks the backup: the one that is named, or the newest of a schedule that can be restored.
fn pick<'a>(restore: &Restore, backups: &'a [Backup]) -> Result<&'a Backup, String> {
    let spec = &restore.spec;
    let can_be = |backup: &Backup| {
        let status = backup.status.as_ref();
        status.is_some_and(|status| status.phase.is_restorable() && status.snapshot_id.is_some())
    };
    if let Some(schedule) = &spec.schedule_name {
        let label = words::label_value(schedule);
        let of_schedule = backups
            .iter()
            .filter(|backup| backup.labels().get(words::SCHEDULE_NAME) == Some(&label));
        let newest = of_schedule.filter(|backup| can_be(backup)).max_by_key(|backup| {
            let started = backup
                .status
                .as_ref()
                .and_then(|status| status.start_timestamp.as_ref().map(|time| time.0));
            (started, backup.name_any())
        });
        let names: Vec<&String> = backups
            .iter()
            .filter_map(|backup| backup.labels().get(words::SCHEDULE_NAME))
            .collect();
        return newest.ok_or_else(|| {
            let hint = nearest::hint(schedule, names.iter().map(|name| name.as_str()));
            format!("The schedule {schedule} has no backup that completed{hint}")
        });
    }
    let Some(wanted) = &spec.backup_name else {
        return Err("Neither backupName nor scheduleName is given".to_owned());
    };
    let Some(backup) = backups.iter().find(|backup| backup.name_any() == *wanted) else {
        let restorable: Vec<String> = backups
            .iter()
            .filter(|backup| can_be(backup))
            .map(|backup| backup.name_any())
            .collect();
        let hint = nearest::hint(wanted, restorable.iter().map(String::as_str));
        return Err(format!(
            "There is no Backup {wanted}{hint}; `ararat backup get` lists them"
        ));
    };
    if !can_be(backup) {
        let phase = backup.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let next = if phase.is_final() {
            "choose another one"
        } else {
            "wait until it is done"
        };
        return Err(format!(
            "The Backup {wanted} cannot be restored: it is {phase:?}; {next}"
        ));
    }
    Ok(backup)
}

/// The location, once it was looked at.
///
/// # Errors
/// Says why it cannot be read.
pub async fn location(context: &Context, name: &str) -> Result<Arc<BackupStorageLocation>, String> {
    let until = tokio::time::Instant::now() + FIRST_LOOK;
    loop {
        let locations = context.watches.locations.all();
        let Some(location) = locations.iter().find(|location| location.name_any() == name) else {
            let names: Vec<String> = locations.iter().map(|location| location.name_any()).collect();
            let hint = nearest::hint(name, names.iter().map(String::as_str));
            return Err(format!(
                "There is no BackupStorageLocation {name}{hint}; `ararat backup-location get` lists them"
            ));
        };
        match &location.status {
            Some(status) if status.phase == LocationPhase::Available => return Ok(Arc::clone(location)),
            status if tokio::time::Instant::now() > until => {
                let why = status.as_ref().and_then(|status| status.message.clone());
                let why = why.unwrap_or_else(|| "nobody has looked at it yet".to_owned());
                return Err(format!("The BackupStorageLocation {name} is not available: {why}"));
            }
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use api::RestoreSpec;
    use serde_json::json;

    fn backup(name: &str, phase: &str, schedule: Option<&str>, started: &str) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "ararat.dev/v1alpha1", "kind": "Backup",
            "metadata": { "name": name, "labels": schedule.map(|schedule| json!({ "ararat.dev/schedule-name": schedule })).unwrap_or(json!({})) },
            "spec": {}, "status": { "phase": phase, "snapshotID": "a1", "startTimestamp": started }
        }))
        .unwrap()
    }

    fn restore(spec: RestoreSpec) -> Restore {
        Restore::new("r", spec)
    }

    #[test]
    fn the_backup_is_the_one_that_is_named_or_the_newest_whole_one_of_a_schedule() {
        let backups = [
            backup("nginx", "Completed", None, "2026-01-01T00:00:00Z"),
            backup("half", "InProgress", None, "2026-01-01T00:00:00Z"),
            backup("failed", "Failed", None, "2026-01-01T00:00:00Z"),
            backup("daily-1", "Completed", Some("daily"), "2026-01-01T00:00:00Z"),
            backup("daily-2", "PartiallyFailed", Some("daily"), "2026-01-02T00:00:00Z"),
            backup("daily-3", "Failed", Some("daily"), "2026-01-03T00:00:00Z"),
        ];
        let named = |name: &str| {
            let spec = RestoreSpec {
                backup_name: Some(name.into()),
                ..RestoreSpec::default()
            };
            pick(&restore(spec), &backups).map(|backup| backup.name_any())
        };
        let scheduled = |name: &str| {
            let spec = RestoreSpec {
                schedule_name: Some(name.into()),
                ..RestoreSpec::default()
            };
            pick(&restore(spec), &backups).map(|backup| backup.name_any())
        };
        assert_eq!(named("nginx").unwrap(), "nginx");
        assert!(named("ngnix").unwrap_err().contains("perhaps nginx was meant"));
        assert!(named("half").unwrap_err().contains("wait until it is done"));
        assert!(named("failed").unwrap_err().contains("choose another"));
        assert_eq!(scheduled("daily").unwrap(), "daily-2");
        assert!(scheduled("dayly").unwrap_err().contains("perhaps daily"));
    }

    #[test]
    fn what_makes_no_sense_is_said_before_anything_is_done() {
        let spec = RestoreSpec {
            included_namespaces: vec!["[".into()],
            storage_class_mapping: [("a".to_owned(), String::new())].into(),
            restore_status: vec!["[".into()],
            ..RestoreSpec::default()
        };
        assert_eq!(errors(&restore(spec)).len(), 3);
    }
}
