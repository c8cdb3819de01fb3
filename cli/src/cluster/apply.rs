//! Objects are written by server-side apply: again and again, and only what differs is changed.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::refusal;
use crate::failure::Failure;

/// How long a definition may take until its kind is served.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Created,
    Changed,
    Unchanged,
}

impl Applied {
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The objects of the kind that a manifest is of, in its namespace.
pub fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &text(&object["kind"])));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Writes an object as its manager wants it, and leaves what others have added.
pub async fn apply(client: &Client, object: &Value, manager: &str) -> Result<Applied> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let api = api_of(client, object);
    let what = || format!("Could not apply {}", crate::output::objects::name(object));
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let done = async {
            let before = api.get_metadata_opt(name).await?;
            let after = api
                .patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(object))
                .await?;
            Ok::<_, kube::Error>(match before.map(|before| before.resource_version()) {
                None => Applied::Created,
                Some(version) if version == after.resource_version() => Applied::Unchanged,
                Some(_) => Applied::Changed,
            })
        };
        match done.await {
            // A kind that has just been defined is not served in the same moment.
            Err(error) if refusal::is_kind_unknown(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            done => return done.with_context(what),
        }
    }
}

/// Makes an object that must not be there yet.
pub async fn create(client: &Client, object: &Value) -> Result<()> {
    let what = || format!("Could not make {}", crate::output::objects::name(object));
    let typed: DynamicObject = serde_json::from_value(object.clone()).with_context(what)?;
    api_of(client, object)
        .create(&PostParams::default(), &typed)
        .await
        .with_context(what)?;
    Ok(())
}

/// Waits until the kind of a definition is served.
pub async fn established(client: &Client, definition: &str) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    match tokio::time::timeout(
        PATIENCE,
        await_condition(definitions, definition, conditions::is_crd_established()),
    )
    .await
    {
        Ok(established) => established
            .map(|_| ())
            .with_context(|| format!("Could not wait for the definition {definition}")),
        Err(_) => {
            let failure = Failure::new(format!(
                "The API server does not serve the definition {definition} after {} s",
                PATIENCE.as_secs()
            ));
            Err(failure
                .hint(format!("`kubectl describe crd {definition}` says why."))
                .into())
        }
    }
}
