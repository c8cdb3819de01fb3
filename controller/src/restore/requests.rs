//! Requests that make, change and remove foreign objects: one each, as JSON, under Ararat's name.

use api::selection::Kind;
use http::Request;
use kube::{Client, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::list;
use crate::context::{MANAGER, is_not_found};

/// What is read of an object that was made.
#[derive(Debug, Default, Deserialize)]
pub struct Made {
    /// Its metadata.
    #[serde(default)]
    pub metadata: MadeMetadata,
}

/// What is read of its metadata.
#[derive(Debug, Default, Deserialize)]
pub struct MadeMetadata {
    /// Its UID.
    #[serde(default)]
    pub uid: String,
}

/// Sends a request. What the server answers is not shown by anybody on the way: it may be a secret.
async fn send(client: &Client, request: http::request::Builder, body: &Value) -> kube::Result<Made> {
    let body = serde_json::to_vec(body).map_err(Error::SerdeError)?;
    let text = client
        .request_text(request.body(body).map_err(Error::HttpError)?)
        .await?;
    // What was made was made, whatever else the answer says.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// Makes an object.
///
/// # Errors
/// What the server says.
pub async fn create(client: &Client, kind: &Kind, namespace: &str, object: &Value) -> kube::Result<Made> {
    let uri = format!("{}?fieldManager={MANAGER}", list::path(kind, namespace));
    send(
        client,
        Request::post(uri).header("Content-Type", "application/json"),
        object,
    )
    .await
}

/// Gives an object what this one has, by server-side apply: fields that others manage are taken over.
///
/// # Errors
/// What the server says.
pub async fn apply(client: &Client, kind: &Kind, namespace: &str, name: &str, object: &Value) -> kube::Result<Made> {
    let uri = format!(
        "{}?fieldManager={MANAGER}&force=true",
        list::object_path(kind, namespace, name)
    );
    send(
        client,
        Request::patch(uri).header("Content-Type", "application/apply-patch+yaml"),
        object,
    )
    .await
}

/// Changes an object by a JSON merge patch; `part` is empty, or `/status`.
///
/// # Errors
/// What the server says.
pub async fn merge(
    client: &Client,
    kind: &Kind,
    namespace: &str,
    name: &str,
    part: &str,
    patch: &Value,
) -> kube::Result<Made> {
    let uri = format!(
        "{}{part}?fieldManager={MANAGER}",
        list::object_path(kind, namespace, name)
    );
    send(
        client,
        Request::patch(uri).header("Content-Type", "application/merge-patch+json"),
        patch,
    )
    .await
}

/// Deletes an object, if it is still the one with this UID. One that is not there is no error.
///
/// # Errors
/// What the server says.
pub async fn delete(
    client: &Client,
    kind: &Kind,
    namespace: &str,
    name: &str,
    uid: &str,
    and_wait_for_dependents: bool,
) -> kube::Result<()> {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": uid },
        "propagationPolicy": if and_wait_for_dependents { "Foreground" } else { "Background" },
    });
    let request = Request::delete(list::object_path(kind, namespace, name)).header("Content-Type", "application/json");
    match send(client, request, &options).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the server serves a kind in a version.
pub async fn serves(client: &Client, kind: &Kind) -> bool {
    let path = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let Ok(request) = Request::get(path).body(Vec::new()) else {
        return false;
    };
    let Ok(list) = client.request::<Value>(request).await else {
        return false;
    };
    super::fields::items(&list, "/resources")
        .any(|resource| super::fields::text(resource, "/name") == Some(&kind.plural))
}
