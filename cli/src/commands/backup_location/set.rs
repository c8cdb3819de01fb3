//! `ararat backup-location set`

use anyhow::{Context, Result, bail};
use api::BackupStorageLocation;
use engine::words::Error;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::AccessMode;
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::frequencies::FrequencyArgs;
use crate::cluster::apply::apply;
use crate::cluster::{Cluster, named};
use crate::installation::MANAGER;
use crate::installation::location::{Credential, LocationPlan, credential_name};
use crate::output::show;

/// Change a location.
#[derive(clap::Args)]
pub struct Set {
    /// The location
    name: String,
    /// Backups that name no location go there, and to no other one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    default: Option<bool>,
    /// Whether backups go there, or nothing is written there
    #[arg(long, value_enum, value_name = "MODE")]
    access_mode: Option<AccessMode>,
    /// Take it over from the cluster that owns it, and write there
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    take_over: Option<bool>,
    /// How the store is reached: endpoint, region, pathStyle, proxy (may be repeated); an empty value takes an option away
    #[arg(long, alias = "location-option", value_name = "NAME=VALUE")]
    option: Vec<String>,
    /// New credentials for the store
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<std::path::PathBuf>,
    #[command(flatten)]
    frequencies: FrequencyArgs,
}

impl Set {
    /// Changes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let mut spec = self.changes()?;
        let credential = self.credential()?;
        if spec.is_empty() && credential.is_none() {
            bail!(Error::Invalid(
                "Say what is to be changed, for instance --default or --access-mode ReadOnly".into()
            ));
        }
        let cluster = Cluster::connect(global, cluster)?;
        cluster.run(async {
            named::named::<BackupStorageLocation>(&cluster, &self.name).await?;
            if let Some(plan) = credential {
                // The Secret comes first, the location that names it after it; that is last in the plan and stays as it is.
                let manifests = plan.manifests(&cluster.namespace);
                for secret in manifests.iter().filter(|object| object["kind"] == "Secret") {
                    apply(&cluster.client, secret, MANAGER).await?;
                }
                spec.insert("credential".to_owned(), json!({ "name": credential_name(&self.name) }));
            }
            let patch = json!({ "spec": spec });
            cluster
                .api::<BackupStorageLocation>()
                .patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            if self.default == Some(true) {
                only_default(&cluster, &self.name).await?;
            }
            Ok(())
        })?;
        if !global.quiet {
            show::line(&format!(
                "Location \"{}\" is changed; `ararat backup-location get` shows whether it can be used.",
                self.name
            ))?;
        }
        Ok(0)
    }

    fn changes(&self) -> Result<Map<String, Value>> {
        let mut spec = Map::new();
        if let Some(default) = self.default {
            spec.insert("default".to_owned(), default.into());
        }
        if let Some(mode) = self.access_mode {
            let mode = if mode == AccessMode::ReadOnly {
                "ReadOnly"
            } else {
                "ReadWrite"
            };
            spec.insert("accessMode".to_owned(), mode.into());
        }
        if let Some(take_over) = self.take_over {
            spec.insert("takeOver".to_owned(), take_over.into());
        }
        let mut options = Map::new();
        for option in &self.option {
            let (word, value) = option
                .split_once('=')
                .ok_or_else(|| Error::Invalid(format!("`{option}` is no option; write NAME=VALUE")))?;
            if value.is_empty() {
                options.insert(word.to_owned(), Value::Null);
                continue;
            }
            engine::store::StoreOptions::default().set(word, value)?;
            options.insert(word.to_owned(), value.into());
        }
        if !options.is_empty() {
            spec.insert("options".to_owned(), options.into());
        }
        spec.extend(
            self.frequencies
                .fields()
                .into_iter()
                .map(|(field, value)| (field, value.into())),
        );
        Ok(spec)
    }

    fn credential(&self) -> Result<Option<LocationPlan>> {
        let Some(file) = &self.credentials_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("Could not read the credentials {}", file.display()))?;
        let text = zeroize::Zeroizing::new(text);
        let variables =
            api::credential::of_file(&text).map_err(|why| Error::Invalid(format!("{}: {why}", file.display())))?;
        Ok(Some(LocationPlan {
            name: self.name.clone(),
            credential: Credential::Given(variables),
            ..LocationPlan::default()
        }))
    }
}

/// No other location is the default one any more.
pub async fn only_default(cluster: &Cluster, name: &str) -> Result<()> {
    let locations = cluster.api::<BackupStorageLocation>();
    let patch = json!({ "spec": { "default": false } });
    for other in locations.list(&ListParams::default()).await?.items {
        if other.spec.default && other.name_any() != name {
            locations
                .patch(&other.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
        }
    }
    Ok(())
}
