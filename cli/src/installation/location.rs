//! A location as objects: the Secrets with credentials and the repository's key, and the BackupStorageLocation that names them.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::labels;

/// The component that Secrets with a store's credentials are.
pub const CREDENTIAL: &str = "credential";
/// The component that Secrets with a repository's key are.
pub const KEY: &str = "repository-key";

/// A location that is to be made or changed. There is no debug print of it: it holds secrets.
#[derive(Clone, Default)]
pub struct LocationPlan {
    pub name: String,
    /// s3://, gs:// or az://.
    pub url: String,
    /// endpoint, region, pathStyle, proxy, caCertificate.
    pub options: BTreeMap<String, String>,
    /// Backups that name no location go there.
    pub is_default: bool,
    /// Nothing is written there.
    pub is_read_only: bool,
    pub credential: Credential,
    /// The credentials of agents, when they have their own.
    pub agent_credential: Credential,
    /// The text of the repository's key; none when its Secret is there already.
    pub key: Option<Zeroizing<String>>,
    /// Fields of the location that are named by themselves, e.g. pruneFrequency.
    pub frequencies: BTreeMap<String, String>,
}

/// Where a store's credentials come from.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credential {
    /// From nowhere: the pod's own identity is used, or the controller's credentials by the agents.
    #[default]
    None,
    /// From a Secret that is there.
    Kept,
    /// From these variables, which become a Secret.
    Given(BTreeMap<String, String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Kept => "Kept",
            Self::Given(_) => "Given",
        })
    }
}

/// The name of the Secret with a location's credentials.
pub fn credential_name(location: &str) -> String {
    format!("location-{location}-credential")
}

/// The name of the Secret with a location's credentials for agents.
pub fn agent_credential_name(location: &str) -> String {
    format!("location-{location}-agent-credential")
}

/// The name of the Secret with the key of a location's repository.
pub fn key_name(location: &str) -> String {
    format!("location-{location}-key")
}

impl LocationPlan {
    /// The Secrets that are to be written, then the location.
    pub fn manifests(&self, namespace: &str) -> Vec<Value> {
        let mut manifests = Vec::new();
        if let Credential::Given(variables) = &self.credential {
            manifests.push(secret(namespace, &credential_name(&self.name), CREDENTIAL, variables));
        }
        if let Credential::Given(variables) = &self.agent_credential {
            manifests.push(secret(
                namespace,
                &agent_credential_name(&self.name),
                CREDENTIAL,
                variables,
            ));
        }
        if let Some(key) = &self.key {
            let data = BTreeMap::from([("owner.key".to_owned(), key.as_str().to_owned())]);
            manifests.push(secret(namespace, &key_name(&self.name), KEY, &data));
        }
        manifests.push(self.location(namespace));
        manifests
    }

    fn location(&self, namespace: &str) -> Value {
        let mut spec = json!({
            "url": self.url,
            "options": self.options,
            "repositoryKey": { "name": key_name(&self.name) },
            "default": self.is_default,
            "accessMode": if self.is_read_only { "ReadOnly" } else { "ReadWrite" },
        });
        if self.credential != Credential::None {
            spec["credential"] = json!({ "name": credential_name(&self.name) });
        }
        if self.agent_credential != Credential::None {
            spec["agentCredential"] = json!({ "name": agent_credential_name(&self.name) });
        }
        for (field, value) in &self.frequencies {
            spec[field] = value.as_str().into();
        }
        json!({
            "apiVersion": "ararat.dev/v1alpha1",
            "kind": "BackupStorageLocation",
            "metadata": { "name": self.name, "namespace": namespace, "labels": labels("location") },
            "spec": spec,
        })
    }
}

fn secret(namespace: &str, name: &str, component: &str, values: &BTreeMap<String, String>) -> Value {
    let data: BTreeMap<&String, String> = values
        .iter()
        .map(|(name, value)| (name, BASE64.encode(value.as_bytes())))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": { "name": name, "namespace": namespace, "labels": labels(component) },
        "data": data,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn plan() -> LocationPlan {
        LocationPlan {
            name: "default".into(),
            url: "s3://bucket/prefix".into(),
            credential: Credential::Given(BTreeMap::from([("AWS_SECRET_ACCESS_KEY".into(), "hunter2".into())])),
            key: Some(Zeroizing::new("hunter3".into())),
            is_read_only: true,
            frequencies: BTreeMap::from([("pruneFrequency".into(), "12h".into())]),
            ..LocationPlan::default()
        }
    }

    #[test]
    fn a_location_names_the_secrets_that_come_before_it() {
        let manifests = plan().manifests("ararat");
        let names: Vec<&str> = manifests
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            ["location-default-credential", "location-default-key", "default"]
        );
        let spec = &manifests[2]["spec"];
        assert_eq!(spec["credential"]["name"], names[0]);
        assert_eq!(spec["repositoryKey"]["name"], names[1]);
        assert!(spec["agentCredential"].is_null());
        assert_eq!(
            (&spec["accessMode"], &spec["pruneFrequency"]),
            (&json!("ReadOnly"), &json!("12h"))
        );
        serde_json::from_value::<api::BackupStorageLocation>(manifests[2].clone()).unwrap();
    }

    #[test]
    fn a_secret_that_is_there_is_named_and_not_written() {
        let kept = LocationPlan {
            credential: Credential::Kept,
            key: None,
            ..plan()
        };
        let manifests = kept.manifests("ararat");
        assert_eq!(manifests.len(), 1);
        assert_eq!(
            manifests[0]["spec"]["credential"]["name"],
            "location-default-credential"
        );
    }

    #[test]
    fn no_credential_is_in_a_debug_print() {
        assert!(!format!("{:?}", plan().credential).contains("hunter"));
    }
}
