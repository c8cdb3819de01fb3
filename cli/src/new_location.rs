//! A location that is yet to be made: its credentials are read, and its repository's key is kept, taken from a file, or drawn.
//!
//! What must hold: a key that was drawn is on the disk, on a recovery sheet, before the cluster hears of it; a key that the cluster has is never replaced;
//! no file is written over. Whoever is stopped in between finds the sheet again the next time, and goes on with its key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::BackupStorageLocation;
use engine::crypto::key_text::HolderKey;
use engine::repository::{Credential as RepositoryCredential, new_first_key, repository_of_first_key};
use engine::store::{Location, StoreOptions};
use engine::words::Error;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ListParams;
use zeroize::Zeroizing;

use crate::cluster::{Cluster, refusal};
use crate::failure::Failure;
use crate::installation::location::{Credential, LocationPlan, agent_credential_name, credential_name, key_name};
use crate::new_key;
use crate::session;

/// A location as a person describes it.
#[derive(Clone, Debug, Default)]
pub struct LocationWish {
    pub name: String,
    pub url: String,
    /// NAME=VALUE each.
    pub options: Vec<String>,
    pub ca_file: Option<PathBuf>,
    pub credentials_file: Option<PathBuf>,
    pub agent_credentials_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub recovery_sheet: Option<PathBuf>,
    /// Whether backups that name no location go there; when it is not said, it stays as it is, and a first location does.
    pub is_default: Option<bool>,
    pub is_read_only: bool,
    /// Fields of the location that are named by themselves, e.g. pruneFrequency.
    pub frequencies: BTreeMap<String, String>,
}

/// Where the key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The cluster has it.
    Kept,
    /// It was read from a file.
    Given,
    /// It is new; the sheet says it.
    Drawn(PathBuf),
    /// An earlier run has drawn it; the sheet says it.
    Found(PathBuf),
    /// A dry run draws none.
    LeftOut,
}

impl LocationWish {
    /// What is to be written, and where the key comes from. Without a cluster (a dry run) nothing is drawn and nothing is looked up.
    pub async fn plan(&self, cluster: Option<&Cluster>) -> Result<(LocationPlan, KeyOrigin)> {
        let location = self.location()?;
        let options = self.options()?;
        let is_default = match cluster {
            Some(cluster) => self.is_default_among(&self.others(cluster).await?),
            None => self.is_default.unwrap_or(true),
        };
        let (key, origin) = self.key(cluster, &location).await?;
        let plan = LocationPlan {
            name: self.name.clone(),
            url: self.url.clone(),
            options,
            is_default,
            is_read_only: self.is_read_only,
            credential: credential(cluster, self.credentials_file.as_deref(), &credential_name(&self.name)).await?,
            agent_credential: credential(
                cluster,
                self.agent_credentials_file.as_deref(),
                &agent_credential_name(&self.name),
            )
            .await?,
            key,
            frequencies: self.frequencies.clone(),
        };
        Ok((plan, origin))
    }

    fn location(&self) -> Result<Location> {
        if !["s3://", "gs://", "az://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
        {
            bail!(Error::Invalid(format!(
                "`{}` is no place that a cluster can reach; write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
                self.url
            )));
        }
        Ok(Location::parse(&self.url)?)
    }

    fn options(&self) -> Result<BTreeMap<String, String>> {
        let mut options = BTreeMap::new();
        let mut tried = StoreOptions::default();
        for option in &self.options {
            let (word, value) = option.split_once('=').ok_or_else(|| {
                Error::Invalid(format!(
                    "`{option}` is no option; write NAME=VALUE, for instance region=eu-central-1"
                ))
            })?;
            tried.set(word, value)?;
            options.insert(word.to_owned(), value.to_owned());
        }
        if let Some(file) = &self.ca_file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("Could not read the certificates {}", file.display()))?;
            if !text.contains("-----BEGIN CERTIFICATE-----") {
                bail!(Error::Invalid(format!(
                    "{} holds no certificate in PEM form",
                    file.display()
                )));
            }
            options.insert("caCertificate".to_owned(), text);
        }
        Ok(options)
    }

    /// The locations that are there. A location's URL does not change: there would be another repository, and the key of the first would go with it.
    async fn others(&self, cluster: &Cluster) -> Result<Vec<BackupStorageLocation>> {
        let there = match cluster
            .api::<BackupStorageLocation>()
            .list(&ListParams::default())
            .await
        {
            Err(error) if refusal::is_kind_unknown(&error) => Vec::new(),
            other => other?.items,
        };
        match there.iter().find(|location| location.name_any() == self.name) {
            Some(same) if same.spec.url != self.url => {
                let failure = Failure::new(format!(
                    "The location `{}` is there already, at {}",
                    self.name, same.spec.url
                ));
                let hint = "Give the new one another name (--location-name), or delete that one first: no data is deleted with it.";
                Err(failure.hint(hint).into())
            }
            _ => Ok(there),
        }
    }

    fn is_default_among(&self, there: &[BackupStorageLocation]) -> bool {
        let same = there.iter().find(|location| location.name_any() == self.name);
        self.is_default
            .or_else(|| same.map(|same| same.spec.default))
            .unwrap_or_else(|| !there.iter().any(|location| location.spec.default))
    }

    async fn key(
        &self,
        cluster: Option<&Cluster>,
        location: &Location,
    ) -> Result<(Option<Zeroizing<String>>, KeyOrigin)> {
        if let Some(cluster) = cluster
            && cluster
                .api::<Secret>()
                .get_metadata_opt(&key_name(&self.name))
                .await?
                .is_some()
        {
            return Ok((None, KeyOrigin::Kept));
        }
        if let Some(file) = &self.key_file {
            let RepositoryCredential::Key(key) = session::read_key(file)? else {
                bail!(Error::Invalid(format!("{} holds no key", file.display())));
            };
            return Ok((Some(line(&key)), KeyOrigin::Given));
        }
        if cluster.is_none() {
            return Ok((None, KeyOrigin::LeftOut));
        }
        let sheet = self.sheet();
        let (key, origin) = match found(&sheet, location)? {
            Some(key) => (key, KeyOrigin::Found(sheet)),
            None => (draw(&sheet, location)?, KeyOrigin::Drawn(sheet)),
        };
        Ok((Some(line(&key)), origin))
    }

    /// Where the recovery sheet is.
    fn sheet(&self) -> PathBuf {
        let default = || PathBuf::from(format!("ararat-recovery-sheet-{}.txt", self.name));
        self.recovery_sheet.clone().unwrap_or_else(default)
    }
}

fn line(key: &HolderKey) -> Zeroizing<String> {
    let mut text = key.to_text();
    text.push('\n');
    text
}

/// The key on a sheet that an earlier run has written for this location.
fn found(sheet: &Path, location: &Location) -> Result<Option<HolderKey>> {
    let text = match std::fs::read_to_string(sheet) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("Could not read {}", sheet.display())),
    };
    let is_ours = text.lines().any(|line| {
        line.strip_prefix("# Location")
            .is_some_and(|place| place.trim() == location.to_string())
    });
    match HolderKey::from_text(&text) {
        Ok(key) if is_ours => Ok(Some(key)),
        _ => {
            let failure = Failure::new(format!(
                "{} is there and is no recovery sheet of {location}; it is not written over",
                sheet.display()
            ));
            Err(failure
                .hint("Put it somewhere safe, or name another file with --recovery-sheet.")
                .into())
        }
    }
}

fn draw(sheet: &Path, location: &Location) -> Result<HolderKey> {
    let key = new_first_key();
    let text = new_key::recovery_sheet(repository_of_first_key(&key), location, session::now(), &key);
    new_key::write_secret(sheet, &text)?;
    Ok(key)
}

/// The credentials in a file.
pub fn given(file: &Path) -> Result<Credential> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("Could not read the credentials {}", file.display()))?;
    let text = Zeroizing::new(text);
    let variables =
        api::credential::of_file(&text).map_err(|why| Error::Invalid(format!("{}: {why}", file.display())))?;
    Ok(Credential::Given(variables))
}

async fn credential(cluster: Option<&Cluster>, file: Option<&Path>, secret: &str) -> Result<Credential> {
    if let Some(file) = file {
        return given(file);
    }
    let Some(cluster) = cluster else {
        return Ok(Credential::None);
    };
    let there = cluster.api::<Secret>().get_metadata_opt(secret).await?;
    Ok(if there.is_some() {
        Credential::Kept
    } else {
        Credential::None
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn planned(wish: &LocationWish) -> Result<(LocationPlan, KeyOrigin)> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(wish.plan(None))
    }

    fn wish() -> LocationWish {
        LocationWish {
            name: "default".into(),
            url: "s3://bucket/prefix".into(),
            options: vec!["endpoint=https://s3.example.org".into(), "pathStyle=true".into()],
            ..LocationWish::default()
        }
    }

    #[test]
    fn a_dry_run_draws_no_key() {
        let (plan, origin) = planned(&wish()).unwrap();
        assert_eq!((origin, plan.key.is_none()), (KeyOrigin::LeftOut, true));
        assert_eq!(plan.options["pathStyle"], "true");
    }

    #[test]
    fn the_first_location_is_the_default_one_and_a_later_one_only_when_that_is_said() {
        let there = |name: &str, default| {
            let mut location = BackupStorageLocation::new(name, api::BackupStorageLocationSpec::default());
            location.spec.default = default;
            location
        };
        assert!(wish().is_default_among(&[]));
        assert!(!wish().is_default_among(&[there("other", true)]));
        assert!(!wish().is_default_among(&[there("default", false), there("other", true)]));
        assert!(wish().is_default_among(&[there("default", true)]));
        let said = LocationWish {
            is_default: Some(true),
            ..wish()
        };
        assert!(said.is_default_among(&[there("other", true)]));
    }

    #[test]
    fn a_sheet_is_written_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (sheet, location) = (
            folder.path().join("sheet.txt"),
            Location::parse("s3://bucket/prefix").unwrap(),
        );
        assert!(found(&sheet, &location).unwrap().is_none());
        let key = draw(&sheet, &location).unwrap();
        let again = found(&sheet, &location).unwrap().unwrap();
        assert_eq!(again.to_text().as_str(), key.to_text().as_str());
        assert_eq!(repository_of_first_key(&again), repository_of_first_key(&key));
        let elsewhere = Location::parse("s3://bucket/other").unwrap();
        assert!(found(&sheet, &elsewhere).is_err());
        assert!(draw(&sheet, &location).is_err(), "no file is written over");
    }

    #[test]
    fn wrong_wishes_are_refused_with_what_to_write() {
        for (change, word) in [("/srv/backups", "s3://BUCKET"), ("memory:x", "s3://BUCKET")] {
            let error = planned(&LocationWish {
                url: change.into(),
                ..wish()
            })
            .err()
            .unwrap()
            .to_string();
            assert!(error.contains(word), "{error}");
        }
        for (option, word) in [
            ("endpoint", "NAME=VALUE"),
            ("colour=red", "endpoint, region"),
            ("pathStyle=maybe", "true nor false"),
        ] {
            let error = planned(&LocationWish {
                options: vec![option.into()],
                ..wish()
            })
            .err()
            .unwrap()
            .to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
