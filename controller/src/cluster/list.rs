//! Lists of foreign objects as JSON, page by page: nothing that a newer server knows is lost, as it would be through typed structures.

use std::time::Duration;

use api::selection::Kind;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use super::kinds::Found;
use super::nodes::Nodes;
use crate::context::{is_forbidden, is_passing};

/// Objects a page has.
const PAGE: u32 = 500;
/// How often a page is asked for again when the server does not answer.
const TRIES: u32 = 30;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(rename = "continue", default)]
    more: Option<String>,
}

/// The path of a kind's objects; `namespace` is empty for those of all namespaces, or of none.
pub fn path(kind: &Kind, namespace: &str) -> String {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    if kind.namespaced && !namespace.is_empty() {
        format!("{root}/namespaces/{namespace}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    }
}

/// The path of one object.
pub fn object_path(kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}/{name}", path(kind, namespace))
}

/// Gives every object of a kind to `visit`, page by page; of one namespace, or of all when `namespace` is empty. Lists do not repeat type and version in
/// their items: they are put in.
///
/// # Errors
/// What the server says, when it does not help to ask again. A list whose continuation expired is begun again, so `visit` may see objects twice.
pub async fn list(
    client: &Client,
    kind: &Kind,
    namespace: &str,
    mut visit: impl FnMut(Vec<Value>),
) -> kube::Result<()> {
    let mut more: Option<String> = None;
    let mut tries = 0;
    loop {
        let mut uri = format!("{}?limit={PAGE}", path(kind, namespace));
        if let Some(more) = &more {
            let token: String = url::form_urlencoded::byte_serialize(more.as_bytes()).collect();
            uri.push_str("&continue=");
            uri.push_str(&token);
        }
        let request = http::Request::get(uri)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        match client.request::<List>(request).await {
            Ok(mut page) => {
                tries = 0;
                for item in &mut page.items {
                    if let Value::Object(item) = item {
                        item.entry("kind").or_insert_with(|| Value::String(kind.kind.clone()));
                        item.entry("apiVersion")
                            .or_insert_with(|| Value::String(kind.api_version()));
                    }
                }
                visit(page.items);
                match page.metadata.more.filter(|more| !more.is_empty()) {
                    Some(next) => more = Some(next),
                    None => return Ok(()),
                }
            }
            // The place in the list is too old: from the beginning.
            Err(kube::Error::Api(status)) if status.code == 410 && more.is_some() && tries < TRIES => {
                tries += 1;
                more = None;
            }
            Err(error) if is_passing(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(200 * u64::from(tries)).min(Duration::from_secs(3))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One object; none when it is not there.
///
/// # Errors
/// What the server says.
pub async fn get(client: &Client, kind: &Kind, namespace: &str, name: &str) -> kube::Result<Option<Value>> {
    let request = http::Request::get(object_path(kind, namespace, name))
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    match client.request::<Value>(request).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if crate::context::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The nodes; none are known to who may not list them.
///
/// # Errors
/// What the server says otherwise.
pub async fn nodes(client: &Client, found: &Found) -> kube::Result<Nodes> {
    let mut nodes = Nodes::default();
    let Some(kind) = found.by_resource("nodes") else {
        return Ok(nodes);
    };
    match list(client, kind, "", |page| page.iter().for_each(|node| nodes.add(node))).await {
        Err(error) if !is_forbidden(&error) => Err(error),
        Ok(()) | Err(_) => Ok(nodes),
    }
}
