//! Waiting until something is so of an object: it is looked at whenever it changes, also across restarts of the API server.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use serde::de::DeserializeOwned;

use super::refusal;
use crate::failure::Failure;

/// What became of an object that was waited for.
pub enum Waited<T> {
    /// It is so.
    Answer(T),
    /// It is gone.
    Gone,
}

/// Looks at an object until `look` has an answer, or the object is gone. Says once that the cluster does not answer, and waits for it.
pub async fn until<K, T>(api: Api<K>, name: &str, mut look: impl FnMut(&K) -> Option<T>) -> Result<Waited<T>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut seen = std::pin::pin!(watch_object(api, name).default_backoff());
    let mut is_away = false;
    while let Some(event) = seen.next().await {
        match event {
            Ok(Some(object)) => {
                is_away = false;
                if let Some(answer) = look(&object) {
                    return Ok(Waited::Answer(answer));
                }
            }
            Ok(None) => return Ok(Waited::Gone),
            Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error))
                if refusal::is_final(&error) =>
            {
                return Err(error.into());
            }
            Err(error) => {
                tracing::debug!("watch: {error}");
                // A watch that ends now and then is nothing to speak of; a list that fails is.
                let failed = matches!(
                    error,
                    watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_)
                );
                if failed && !std::mem::replace(&mut is_away, true) {
                    anstream::eprintln!("The API server does not answer; waiting for it");
                }
            }
        }
    }
    Err(Failure::new("The API server has ended the watch").into())
}

/// The same, for so long at most.
pub async fn until_within<K, T>(
    limit: Duration,
    api: Api<K>,
    name: &str,
    look: impl FnMut(&K) -> Option<T>,
) -> Result<Option<Waited<T>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    match tokio::time::timeout(limit, until(api, name, look)).await {
        Ok(waited) => waited.map(Some),
        Err(_) => Ok(None),
    }
}
