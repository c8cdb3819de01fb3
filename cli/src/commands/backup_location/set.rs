//! `ararat backup-location set`

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
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
use crate::installation::location::{Credential, LocationPlan, agent_credential_name, credential_name};
use crate::new_location::given;
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
    credentials_file: Option<PathBuf>,
    /// New credentials for agents, which need to list, read and write, but never to delete. Volumes that begin from then on are read and filled with them
    #[arg(long, value_name = "FILE")]
    agent_credentials_file: Option<PathBuf>,
    #[command(flatten)]
    frequencies: FrequencyArgs,
}

impl Set {
    /// Changes it.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let mut spec = self.changes()?;
        let plan = self.credentials()?;
        spec.extend(named_by(&plan));
        if spec.is_empty() {
            bail!(Error::Invalid(
                "Say what is to be changed, for instance --default or --access-mode ReadOnly".into()
            ));
        }
        let cluster = Cluster::connect(global, cluster)?;
        cluster.run(async {
            named::named::<BackupStorageLocation>(&cluster, &self.name).await?;
            // The Secrets come first, the location that names them after them; that is last in the plan and stays as it is.
            let manifests = plan.manifests(&cluster.namespace);
            for secret in manifests.iter().filter(|object| object["kind"] == "Secret") {
                apply(&cluster.client, secret, MANAGER).await?;
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

    /// The Secrets that get new credentials.
    fn credentials(&self) -> Result<LocationPlan> {
        Ok(LocationPlan {
            name: self.name.clone(),
            credential: given_or_kept(self.credentials_file.as_deref())?,
            agent_credential: given_or_kept(self.agent_credentials_file.as_deref())?,
            ..LocationPlan::default()
        })
    }
}

fn given_or_kept(file: Option<&Path>) -> Result<Credential> {
    file.map_or(Ok(Credential::Kept), given)
}

/// The fields of the location that name the Secrets with new credentials.
fn named_by(plan: &LocationPlan) -> Map<String, Value> {
    let secrets = [
        ("credential", &plan.credential, credential_name(&plan.name)),
        (
            "agentCredential",
            &plan.agent_credential,
            agent_credential_name(&plan.name),
        ),
    ];
    let given = secrets
        .into_iter()
        .filter(|(_, credential, _)| matches!(credential, Credential::Given(_)));
    given
        .map(|(field, _, name)| (field.to_owned(), json!({ "name": name })))
        .collect()
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn said(words: &[&str]) -> Set {
        Line::try_parse_from([&["ararat", "default"], words].concat())
            .unwrap()
            .set
    }

    #[test]
    fn each_credential_that_is_given_becomes_its_own_secret_and_no_other_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=hunter2\n").unwrap();
        let (file, ours, of_agents) = (
            file.to_str().unwrap(),
            ("credential", "location-default-credential"),
            ("agentCredential", "location-default-agent-credential"),
        );
        let cases = [
            (vec!["--credentials-file", file], vec![ours]),
            (vec!["--agent-credentials-file", file], vec![of_agents]),
            (
                vec!["--credentials-file", file, "--agent-credentials-file", file],
                vec![of_agents, ours],
            ),
            (vec!["--default"], vec![]),
        ];
        for (words, expected) in cases {
            let plan = said(&words).credentials().unwrap();
            let fields = named_by(&plan);
            let fields: Vec<(&str, &str)> = fields
                .iter()
                .map(|(field, secret)| (field.as_str(), secret["name"].as_str().unwrap()))
                .collect();
            assert_eq!(fields, expected, "{words:?}");
            let mut secrets: Vec<String> = plan
                .manifests("ararat")
                .iter()
                .filter(|object| object["kind"] == "Secret")
                .map(|secret| secret["metadata"]["name"].as_str().unwrap().to_owned())
                .collect();
            secrets.sort();
            let names: Vec<&str> = expected.iter().map(|(_, name)| *name).collect();
            assert_eq!(secrets, names, "{words:?}");
        }
    }

    #[test]
    fn a_file_without_credentials_is_named() {
        let set = said(&["--agent-credentials-file", "/nowhere/at/all"]);
        let error = format!("{:#}", set.credentials().err().unwrap());
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
