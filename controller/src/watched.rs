//! Objects of our kinds as they are now: watched once, read by everybody.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use api::{
    Backup, BackupRepository, BackupStorageLocation, DeleteBackupRequest, DownloadRequest, PodVolumeBackup,
    PodVolumeRestore, Restore, Schedule,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Objects of one kind as they are now, and a sign at every change.
pub struct Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store: Store<K>,
    changes: watch::Receiver<u64>,
}

impl<K> Clone for Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Watches until the process ends; a server that goes away is waited for.
    pub fn start(api: Api<K>, config: watcher::Config) -> Self {
        let (store, writer) = reflector::store();
        let (changed, changes) = watch::channel(0u64);
        let stream = watcher(api, config).default_backoff().reflect(writer);
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(_) => changed.send_modify(|count| *count = count.wrapping_add(1)),
                    Err(error) => tracing::warn!("Watching {} was interrupted: {error}", K::kind(&())),
                }
            }
        });
        Self { store, changes }
    }

    /// Waits until everything that is there has been seen.
    pub async fn ready(&self) {
        // The writer lives as long as the process.
        let _ = self.store.wait_until_ready().await;
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The object of this name among all.
    pub fn named(&self, name: &str) -> Option<Arc<K>> {
        let all = self.store.state();
        all.into_iter()
            .find(|object| object.meta().name.as_deref() == Some(name))
    }

    /// A sign at every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }
}

/// Waits for a change, but not longer than so.
pub async fn change(changes: &mut watch::Receiver<u64>, at_most: Duration) {
    if let Ok(Err(_)) = tokio::time::timeout(at_most, changes.changed()).await {
        // Whoever watches is gone, which only happens at the end.
        tokio::time::sleep(at_most).await;
    }
}

/// Every kind of ours.
#[derive(Clone)]
#[allow(missing_docs, reason = "each field is named as the kind it holds")]
pub struct Watches {
    pub backups: Watched<Backup>,
    pub restores: Watched<Restore>,
    pub schedules: Watched<Schedule>,
    pub locations: Watched<BackupStorageLocation>,
    pub repositories: Watched<BackupRepository>,
    pub volume_backups: Watched<PodVolumeBackup>,
    pub volume_restores: Watched<PodVolumeRestore>,
    pub deletions: Watched<DeleteBackupRequest>,
    pub downloads: Watched<DownloadRequest>,
    /// Pods that hold claims, in all namespaces.
    pub holders: Watched<Pod>,
}

impl Watches {
    /// Watches all of them.
    pub fn start(client: &Client, namespace: &str) -> Self {
        fn watched<K>(client: &Client, namespace: &str) -> Watched<K>
        where
            K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
                + Clone
                + Debug
                + DeserializeOwned
                + Send
                + Sync
                + 'static,
        {
            Watched::start(Api::namespaced(client.clone(), namespace), watcher::Config::default())
        }
        let holders = watcher::Config::default().labels(api::words::HOLDER);
        Self {
            backups: watched(client, namespace),
            restores: watched(client, namespace),
            schedules: watched(client, namespace),
            locations: watched(client, namespace),
            repositories: watched(client, namespace),
            volume_backups: watched(client, namespace),
            volume_restores: watched(client, namespace),
            deletions: watched(client, namespace),
            downloads: watched(client, namespace),
            holders: Watched::start(Api::all(client.clone()), holders),
        }
    }

    /// Waits until everything that is there has been seen.
    pub async fn ready(&self) {
        tokio::join!(
            self.backups.ready(),
            self.restores.ready(),
            self.schedules.ready(),
            self.locations.ready(),
            self.repositories.ready(),
            self.volume_backups.ready(),
            self.volume_restores.ready(),
            self.deletions.ready(),
            self.downloads.ready(),
            self.holders.ready(),
        );
    }
}
