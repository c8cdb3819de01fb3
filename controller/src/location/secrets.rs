//! Which versions of the Secrets of our namespace there are, so that a changed credential is tried at once. Only their metadata is watched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::location::BackupStorageLocationSpec;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

/// Versions of Secrets by name, and a sign at every change.
#[derive(Clone)]
pub struct Secrets {
    versions: Arc<Mutex<HashMap<String, String>>>,
    changes: watch::Receiver<u64>,
}

impl Secrets {
    /// Watches until the process ends.
    pub fn start(client: Client, namespace: &str) -> Self {
        let versions = Arc::new(Mutex::new(HashMap::new()));
        let (changed, changes) = watch::channel(0_u64);
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, namespace);
        let known = Arc::clone(&versions);
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => {
                        note(&mut known.lock().unwrap_or_else(PoisonError::into_inner), event);
                        changed.send_modify(|count| *count = count.wrapping_add(1));
                    }
                    Err(error) => tracing::warn!("Watching Secrets was interrupted: {error}"),
                }
            }
        });
        Self { versions, changes }
    }

    /// The versions of the Secrets that a location names: another text when one of them has changed.
    pub fn of(&self, spec: &BackupStorageLocationSpec) -> String {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let named = [
            Some(&spec.repository_key),
            spec.credential.as_ref(),
            spec.agent_credential.as_ref(),
        ];
        let version = |name: &String| versions.get(name).map_or("", String::as_str).to_owned();
        named
            .into_iter()
            .flatten()
            .map(|secret| version(&secret.name))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A sign at every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }
}

fn note(versions: &mut HashMap<String, String>, event: Event<PartialObjectMeta<Secret>>) {
    match event {
        Event::Apply(secret) | Event::InitApply(secret) => {
            if let (Some(name), Some(version)) = (secret.metadata.name, secret.metadata.resource_version) {
                versions.insert(name, version);
            }
        }
        Event::Delete(secret) => {
            secret.metadata.name.map(|name| versions.remove(&name));
        }
        // What is deleted while the watch is down is noticed when it is next used.
        Event::Init | Event::InitDone => {}
    }
}
