//! Before a Backup or Schedule is made: whether the installation is as new as this program, and whether its location can be used. Whoever is told now need
//! not look for the reason in a status later.

use anyhow::Result;
use api::location::{AccessMode, LocationPhase};
use api::{Backup, BackupStorageLocation};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::{CustomResourceExt, ResourceExt};

use super::{Cluster, named, refusal};
use crate::failure::Failure;
use crate::installation::{VERSION, VERSION_ANNOTATION};

/// Refuses to write objects of a newer kind into a cluster with older definitions: fields that they do not know would be dropped without a word.
pub async fn definitions_are_new_enough(cluster: &Cluster) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let name = Backup::crd_name();
    let definition = match definitions.get_opt(name).await {
        Ok(Some(definition)) => definition,
        Ok(None) => {
            let failure =
                Failure::new("Ararat is not installed in this cluster: it does not know the kinds of ararat.dev");
            return Err(failure.hint("Install it with `ararat install --image IMAGE --location URL`, or choose another cluster with --context.").into());
        }
        // Who may not read definitions may make backups all the same.
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let theirs = definition.annotations().get(VERSION_ANNOTATION).map(String::as_str);
    if is_older(theirs.unwrap_or("0.0.0"), VERSION) {
        let theirs = theirs.map_or_else(
            || "an unknown version".to_owned(),
            |version| format!("version {version}"),
        );
        let failure = Failure::new(format!(
            "The definitions in the cluster are of {theirs}, and this program is of version {VERSION}"
        ));
        return Err(failure.hint("Bring the cluster up to date with `ararat install --image IMAGE`, or use the program of that version; --no-check goes on all the same.").into());
    }
    Ok(())
}

/// Whether a version comes before another one.
fn is_older(one: &str, other: &str) -> bool {
    let numbers = |version: &str| {
        let plain = version.split(['-', '+']).next().unwrap_or_default();
        plain
            .split('.')
            .map(|part| part.parse::<u64>().unwrap_or(0))
            .collect::<Vec<_>>()
    };
    numbers(one) < numbers(other)
}

/// The location that is meant: the one that is named, or the default one.
pub async fn location(cluster: &Cluster, name: Option<&str>) -> Result<BackupStorageLocation> {
    if let Some(name) = name {
        return named::named(cluster, name).await;
    }
    let locations = cluster
        .api::<BackupStorageLocation>()
        .list(&ListParams::default())
        .await?
        .items;
    let count = locations.len();
    let defaults: Vec<&BackupStorageLocation> = locations.iter().filter(|location| location.spec.default).collect();
    if let [location] = defaults.as_slice() {
        return Ok((*location).clone());
    }
    if let [first, ..] = defaults.as_slice() {
        let names: Vec<String> = defaults
            .iter()
            .map(|location| format!("`{}`", location.name_any()))
            .collect();
        let failure = Failure::new(format!(
            "More than one location is the default one: {}",
            names.join(" and ")
        ));
        let hint = format!(
            "Name one with --storage-location, or make one of them the only default: `ararat backup-location set {} --default`.",
            first.name_any()
        );
        return Err(failure.hint(hint).into());
    }
    match locations.into_iter().next() {
        Some(location) if count == 1 => Ok(location),
        Some(location) => {
            let failure = Failure::new(format!("None of the {count} locations is the default one"));
            let hint = format!(
                "Name one with --storage-location, or make one the default: `ararat backup-location set {} --default`.",
                location.name_any()
            );
            Err(failure.hint(hint).into())
        }
        None => {
            let failure = Failure::new(format!(
                "There is no location for backups in namespace `{}`",
                cluster.namespace
            ));
            Err(failure.hint("Make one: `ararat backup-location create default --url s3://BUCKET/PREFIX --credentials-file FILE --default`.").into())
        }
    }
}

/// Refuses a location that nothing is written to: what is asked for there would be waited for without end.
pub fn is_written_to(location: &BackupStorageLocation, advice: &str) -> Result<()> {
    if location.spec.access_mode == AccessMode::ReadWrite {
        return Ok(());
    }
    let name = location.name_any();
    let failure = Failure::new(format!(
        "The location `{name}` is for reading only (accessMode ReadOnly)"
    ));
    let hint = format!("{advice}: `ararat backup-location set {name} --access-mode ReadWrite`.");
    Err(failure.hint(hint).into())
}

/// Refuses a location that cannot be used, with what is known of the reason.
pub fn can_be_used(location: &BackupStorageLocation, to_write: bool) -> Result<()> {
    let name = location.name_any();
    if to_write {
        is_written_to(
            location,
            "Name another one with --storage-location, or let backups go there",
        )?;
    }
    // One that nobody has looked at yet may well be good.
    let Some(status) = location
        .status
        .as_ref()
        .filter(|status| status.observed_generation.is_some() || status.message.is_some())
    else {
        return Ok(());
    };
    if status.phase == LocationPhase::Unavailable {
        let why = status.message.as_deref().unwrap_or("its status does not say why");
        let failure = Failure::new(format!(
            "The location `{name}` ({}) is unavailable: {why}",
            location.spec.url
        ));
        return Err(failure
            .hint("When that is mended, try again in a minute; --no-check goes on all the same.")
            .into());
    }
    Ok(())
}

/// Both, for a Backup that is to be written.
pub async fn ready_for_backup(cluster: &Cluster, storage_location: Option<&str>) -> Result<()> {
    definitions_are_new_enough(cluster).await?;
    match location(cluster, storage_location).await {
        Ok(location) => can_be_used(&location, true),
        // Who may not read locations is told by the controller.
        Err(error) if error.downcast_ref::<kube::Error>().is_some_and(refusal::is_forbidden) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::{BackupStorageLocationSpec, BackupStorageLocationStatus};

    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_older("0.1.9", "0.1.10") && is_older("0.0.0", "0.1.0") && is_older("0.9", "1.0.0"));
        assert!(!is_older("0.1.0", "0.1.0") && !is_older("1.0.0", "0.9.9") && !is_older("0.2.0-rc1", "0.2.0"));
    }

    #[test]
    fn a_location_is_refused_with_its_reason() {
        let mut location = BackupStorageLocation::new("default", BackupStorageLocationSpec::default());
        can_be_used(&location, true).unwrap();
        location.status = Some(BackupStorageLocationStatus {
            message: Some("Access denied".into()),
            ..BackupStorageLocationStatus::default()
        });
        assert!(
            can_be_used(&location, true)
                .unwrap_err()
                .to_string()
                .contains("Access denied")
        );
        location.status = None;
        location.spec.access_mode = AccessMode::ReadOnly;
        assert!(can_be_used(&location, true).is_err());
        can_be_used(&location, false).unwrap();
    }
}
