//! What every part of the controller is given.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::repository::writer::Machine;
use engine::words::Timestamp;
use k8s_openapi::jiff;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::RunArgs;
use crate::location::Looks;
use crate::repositories::Repositories;
use crate::watched::Watches;

/// The name under which the controller writes.
pub const MANAGER: &str = "ararat";

/// What every part of the controller is given. Cheap to clone by its `Arc`.
pub struct Context {
    /// How the controller was started.
    pub args: RunArgs,
    /// The way to the API server.
    pub client: Client,
    /// The cluster: the UID of its namespace kube-system.
    pub cluster: String,
    /// The version of its API server.
    pub kubernetes: String,
    /// Open repositories.
    pub repositories: Repositories,
    /// What this process has seen of each location.
    pub looks: Looks,
    /// Objects of our kinds as they are now.
    pub watches: Watches,
    /// Tells of events.
    pub recorder: Recorder,
}

impl Context {
    /// Puts it together.
    pub fn new(args: RunArgs, client: Client, cluster: String, kubernetes: String, watches: Watches) -> Arc<Self> {
        let reporter = Reporter {
            controller: "ararat-controller".to_owned(),
            instance: Some(args.pod.clone()),
        };
        Arc::new(Self {
            repositories: Repositories::new(client.clone(), &args, cluster.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            looks: Looks::default(),
            args,
            client,
            cluster,
            kubernetes,
            watches,
        })
    }

    /// Objects of one of our kinds, in the installation's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.args.namespace)
    }

    /// Changes the status of one of our objects: a JSON merge patch of `.status`. Tried for a minute when the server does not answer; an object that is
    /// gone is no error.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch_status<K>(&self, name: &str, status: &impl Serialize) -> kube::Result<()>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = self.api();
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        let parameters = PatchParams::default();
        match steady(|| api.patch_status(name, &parameters, &patch)).await {
            Err(error) if !is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Likewise, if the object is still as it was seen, and gives whether it was: nothing that others have said meanwhile is written over. What has changed, or
    /// is gone, is left to whoever looks next.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch_status_as_seen<K>(&self, seen: &K, status: &impl Serialize) -> kube::Result<bool>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let (api, name) = (self.api::<K>(), seen.name_any());
        let version = serde_json::json!({ "resourceVersion": seen.resource_version() });
        let patch = Patch::Merge(serde_json::json!({ "metadata": version, "status": status }));
        let parameters = PatchParams::default();
        match steady(|| api.patch_status(&name, &parameters, &patch)).await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells of an event of one of our objects; that it cannot be told is no failure.
    pub async fn event<K>(&self, of: &K, is_warning: bool, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_: if is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &of.object_ref(&())).await {
            tracing::debug!("Could not tell of {reason} of {}: {error}", of.name_any());
        }
    }
}

/// The present, for the API.
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The present, for the engine.
pub fn engine_now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

/// This pod, as the engine's sessions name it.
pub fn machine(pod: &str) -> Machine {
    Machine {
        host: pod.to_owned(),
        // A pod that starts again is another machine: nobody judges by the numbers of processes.
        boot: format!(
            "pod {}",
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap_or_default()
                .trim()
        ),
        process: std::process::id(),
        is_running: |_| false,
        program: concat!("ararat-controller ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Whether the API server says that something is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the API server says that something is there already.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether the API server refuses for want of a right.
pub fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.reason == "Forbidden")
}

/// Whether trying again may help: the server does not answer, is busy, or is starting.
pub fn is_passing(error: &kube::Error) -> bool {
    if let kube::Error::Api(status) = error {
        return matches!(status.code, 429 | 500 | 502 | 503 | 504)
            || status.reason == "InternalError"
            || status.reason == "Timeout";
    }
    matches!(
        error,
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_)
    )
}

/// Asks the server again for a minute while it is busy or away.
///
/// # Errors
/// What the server says.
pub async fn steady<T, F>(ask: impl Fn() -> F) -> kube::Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    for _ in 0..60 {
        match ask().await {
            Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
            other => return other,
        }
    }
    ask().await
}

/// Whether the API server, and nothing else, was the trouble, and it may pass.
pub fn is_servers_trouble(error: &anyhow::Error) -> bool {
    let said = error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>());
    said.is_some_and(is_passing)
}

/// What an error says, for people: what the API server said where it said something.
pub fn say(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error
        && !status.message.is_empty()
    {
        return status.message.clone();
    }
    error.to_string()
}
