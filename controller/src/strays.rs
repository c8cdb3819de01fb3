//! Objects of ours in namespaces where nobody works on them.
//!
//! Whoever forgets the namespace (`kubectl apply` takes that of the context) makes a Backup of which nothing is ever heard. An event says where it belongs. Another
//! Ararat may work there: its controller's account tells, which is made before anything of ours is.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use api::{Backup, BackupStorageLocation, DeleteBackupRequest, Restore, Schedule, words};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::context::{Context, say};

/// Tells of each once, until the process ends.
pub async fn run(context: Arc<Context>) {
    tokio::join!(
        watch::<Backup>(&context),
        watch::<Restore>(&context),
        watch::<Schedule>(&context),
        watch::<BackupStorageLocation>(&context),
        watch::<DeleteBackupRequest>(&context),
    );
}

async fn watch<K>(context: &Context)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let elsewhere = watcher::Config::default().fields(&format!("metadata.namespace!={}", context.args.namespace));
    let changed = watcher(Api::<PartialObjectMeta<K>>::all(context.client.clone()), elsewhere);
    let mut changed = std::pin::pin!(changed.default_backoff().applied_objects());
    let mut told = HashSet::new();
    while let Some(object) = changed.next().await {
        let object = match object {
            Ok(object) => object,
            Err(error) => {
                tracing::debug!("Watching {} elsewhere was interrupted: {error}", K::kind(&()));
                continue;
            }
        };
        let (Some(uid), Some(namespace)) = (object.uid(), object.namespace()) else {
            continue;
        };
        if told.contains(&uid) || is_worked_on(context, &namespace).await {
            continue;
        }
        told.insert(uid);
        let note = format!(
            "Nobody works on this {kind}: Ararat looks at those in the namespace {here} alone. Make it there (-n {here}), and delete this one",
            kind = K::kind(&()),
            here = context.args.namespace
        );
        tracing::warn!("{namespace}/{}: {note}", object.name_any());
        context.event(&object, true, "WrongNamespace", note).await;
    }
}

/// Whether another Ararat works in a namespace. When that cannot be told, nothing is said.
async fn is_worked_on(context: &Context, namespace: &str) -> bool {
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace);
    match accounts.get_metadata_opt(words::CONTROLLER).await {
        Ok(account) => account.is_some(),
        Err(error) => {
            tracing::debug!("Who works in {namespace} is not known: {}", say(&error));
            true
        }
    }
}
