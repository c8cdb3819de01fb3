//! Which backup a request means: the Backup of that name, or data of that name that has no Backup.

use std::sync::Arc;

use anyhow::Result;
use api::{Backup, BackupStorageLocation, DeleteBackupRequest, words};
use engine::repository::SnapshotFilter;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::context::Context;
use crate::location::{self, sync};
use crate::repositories::{Opened, blocking};

/// What is to be deleted.
pub enum Target {
    /// This Backup, and its data.
    Backup(Box<Backup>),
    /// The data of a backup with this UID, at these locations.
    Data(Vec<(Arc<Opened>, String)>),
    /// It cannot be said yet; why.
    Waits(String),
    /// There is none.
    Nothing {
        /// Says so, with the nearest names.
        why: String,
        /// It was looked for everywhere.
        is_certain: bool,
    },
}

/// Finds what a request means.
///
/// # Errors
/// What the API server or a store says.
pub async fn find(context: &Arc<Context>, request: &DeleteBackupRequest) -> Result<Target> {
    let name = &request.spec.backup_name;
    let backup = context.api::<Backup>().get_opt(name).await?;
    if let Some(backup) = backup
        && is_meant(request, &backup)
    {
        return Ok(Target::Backup(Box::new(backup)));
    }
    // A Backup that was taken over from elsewhere may have another name here.
    let backups = context.watches.backups.all();
    if request.spec.backup_uid.is_some()
        && let Some(backup) = backups.iter().find(|backup| is_meant(request, backup))
    {
        return Ok(Target::Backup(Box::new(Backup::clone(backup))));
    }
    let uid = request
        .spec
        .backup_uid
        .as_ref()
        .or_else(|| request.annotations().get(words::BACKUP_UID))
        .cloned();
    let (mut places, mut closed, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for location in context.watches.locations.all() {
        if let Err(why) = location::can_write(context, &location) {
            // It is looked at in a moment, and then it can be said what is there.
            if location::may_write(&location).is_ok() && !context.looks.has(&location) {
                return Ok(Target::Waits(why));
            }
            closed.push(why);
            continue;
        }
        let opened = context.repositories.open(&location).await?;
        let held = Arc::clone(&opened);
        let listing = blocking(move || held.repository.listing(&SnapshotFilter::default())).await??;
        let mut found: Vec<String> = Vec::new();
        for saved in sync::saved(&listing.snapshots) {
            names.push(saved.name.to_owned());
            let meant = uid.as_ref().map_or(saved.name == name, |uid| saved.uid == uid);
            if meant && !found.iter().any(|known| known == saved.uid) {
                found.push(saved.uid.to_owned());
            }
        }
        // A request that was begun has marked its snapshot already, and perhaps not all of its volumes'.
        if let Some(begun) = request.annotations().get(words::BACKUP_UID)
            && listing
                .snapshots
                .iter()
                .any(|snapshot| sync::label(snapshot, api::archive::LABEL_UID) == Some(begun))
            && !found.contains(begun)
        {
            found.push(begun.clone());
        }
        places.extend(found.into_iter().map(|uid| (Arc::clone(&opened), uid)));
    }
    let mut uids: Vec<&String> = places.iter().map(|(_, uid)| uid).collect();
    uids.sort();
    uids.dedup();
    match uids.as_slice() {
        [] => {
            names.extend(backups.iter().map(|backup| backup.name_any()));
            let hint = api::nearest::hint(name, names.iter().map(String::as_str));
            let why = format!("There is no backup {name}{hint}");
            Ok(match closed.as_slice() {
                [] => Target::Nothing { why, is_certain: true },
                closed => Target::Nothing {
                    why: format!("{why}. Not everywhere could it be looked for: {}", closed.join(". ")),
                    is_certain: false,
                },
            })
        }
        [_] => Ok(Target::Data(places)),
        several => Ok(Target::Waits(format!(
            "{} backups are called {name} and none of them has a Backup here; wait until they are synced and delete the one that is meant, or name its UID in spec.backupUID: {}",
            several.len(),
            several.iter().map(|uid| uid.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Whether a Backup is the one that a request means.
fn is_meant(request: &DeleteBackupRequest, backup: &Backup) -> bool {
    match &request.spec.backup_uid {
        Some(uid) => backup.metadata.uid.as_ref() == Some(uid) || sync::origin_uid(backup) == Some(uid),
        // One that was begun means the Backup that it began with, and not a namesake that came after it.
        None => {
            let begun = request.annotations().get(words::BACKUP_UID).map(String::as_str);
            backup.name_any() == request.spec.backup_name
                && begun.is_none_or(|begun| sync::origin_uid(backup) == Some(begun))
        }
    }
}

/// Writes down which backup a request is about, before anything of it is deleted: whoever goes on finds what is left by that.
///
/// # Errors
/// What the API server says.
pub async fn remember(context: &Context, request: &DeleteBackupRequest, uid: &str) -> Result<()> {
    if request
        .annotations()
        .get(words::BACKUP_UID)
        .is_some_and(|known| known == uid)
    {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { words::BACKUP_UID: uid } } }));
    context
        .api::<DeleteBackupRequest>()
        .patch(&request.name_any(), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// The open repository that a Backup is in, if it may be written to.
///
/// # Errors
/// Says why not, and what is to be done.
pub async fn place_of(context: &Context, backup: &Backup) -> Result<Arc<Opened>, String> {
    let name = backup
        .status
        .as_ref()
        .and_then(|status| status.storage_location.as_ref());
    let locations: Vec<Arc<BackupStorageLocation>> = context.watches.locations.all();
    let location = location::chosen(
        &locations,
        name.or(backup.spec.storage_location.as_ref()).map(String::as_str),
    )?;
    location::can_write(context, &location)?;
    context
        .repositories
        .open(&location)
        .await
        .map_err(|error| location::explain(&error, &location.spec))
}

#[cfg(test)]
mod tests {
    use api::DeleteBackupRequestSpec;
    use api::backup::BackupSpec;

    use super::*;
    use crate::backup::SYNCED;

    #[test]
    fn a_uid_tells_a_backup_from_its_namesake() {
        let mut backup = Backup::new("a", BackupSpec::default());
        backup.metadata.uid = Some("here".to_owned());
        backup.annotations_mut().insert(SYNCED.to_owned(), "true".to_owned());
        backup
            .labels_mut()
            .insert(words::BACKUP_UID.to_owned(), "there".to_owned());
        let request = |name: &str, uid: Option<&str>| {
            let spec = DeleteBackupRequestSpec {
                backup_name: name.to_owned(),
                backup_uid: uid.map(ToOwned::to_owned),
            };
            DeleteBackupRequest::new("request", spec)
        };
        for (name, uid, expected) in [
            ("a", None, true),
            ("b", None, false),
            ("a", Some("here"), true),
            ("a", Some("there"), true),
            ("original-name", Some("there"), true),
            ("a", Some("another"), false),
        ] {
            assert_eq!(is_meant(&request(name, uid), &backup), expected, "{name} {uid:?}");
        }
        // A label that anybody wrote on a Backup of this cluster makes it no other one.
        backup.annotations_mut().clear();
        assert!(!is_meant(&request("a", Some("there")), &backup));
        assert!(is_meant(&request("a", Some("here")), &backup));
    }

    #[test]
    fn a_request_that_was_begun_does_not_mean_a_namesake_that_came_later() {
        let mut backup = Backup::new("a", BackupSpec::default());
        backup.metadata.uid = Some("second".to_owned());
        let spec = DeleteBackupRequestSpec {
            backup_name: "a".to_owned(),
            backup_uid: None,
        };
        let mut request = DeleteBackupRequest::new("request", spec);
        assert!(is_meant(&request, &backup));
        for (begun, expected) in [("first", false), ("second", true)] {
            request
                .annotations_mut()
                .insert(words::BACKUP_UID.to_owned(), begun.to_owned());
            assert_eq!(is_meant(&request, &backup), expected, "{begun}");
        }
    }
}
