//! Which kinds the API server serves, each in its preferred version. A group whose server is down is reported, and the rest goes on.

use std::collections::BTreeMap;

use api::selection::Kind;
use kube::Client;
use serde::Deserialize;

use crate::context::say;

/// What discovery has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every kind that can be listed, in the order of its name: `configmaps`, `deployments.apps`, ….
    pub kinds: Vec<Kind>,
    /// Groups that did not answer, and why.
    pub broken: Vec<(String, String)>,
}

impl Found {
    /// The kind with this name (`deployments.apps`).
    pub fn by_resource(&self, resource: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.resource() == resource)
    }

    /// The kind of an object, by its apiVersion and kind; of whatever version.
    pub fn by_type(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds
            .iter()
            .find(|found| found.group == group && found.kind == kind)
    }
}

#[derive(Deserialize)]
struct GroupList {
    items: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    metadata: Option<GroupName>,
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupName {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    kind: String,
}

/// Kinds whose objects are not a user's to keep: they tell what happens, or the cluster makes them by itself and nobody else can.
const NEVER: &[&str] = &["events", "events.events.k8s.io", "componentstatuses", "bindings"];

/// Kinds that are served by two groups: the first is taken.
const SAME: &[(&str, &str)] = &[
    ("ingresses.networking.k8s.io", "ingresses.extensions"),
    ("networkpolicies.networking.k8s.io", "networkpolicies.extensions"),
    ("deployments.apps", "deployments.extensions"),
    ("daemonsets.apps", "daemonsets.extensions"),
    ("replicasets.apps", "replicasets.extensions"),
];

/// Asks the API server.
///
/// # Errors
/// When it says nothing at all.
pub async fn discover(client: &Client) -> kube::Result<Found> {
    let mut found = Found::default();
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for path in ["/api", "/apis"] {
        let request = http::Request::get(path)
            .header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList, application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let groups: GroupList = client.request(request).await?;
        for group in groups.items.unwrap_or_default() {
            let name = group.metadata.map(|metadata| metadata.name).unwrap_or_default();
            take(&name, &group.versions, &mut kinds, &mut found.broken);
        }
    }
    for (first, second) in SAME {
        if kinds.contains_key(*first) {
            kinds.remove(*second);
        }
    }
    found.kinds = kinds.into_values().collect();
    Ok(found)
}

/// The kinds of a group: each in the first version that has it, which is the preferred one.
fn take(
    group: &str,
    versions: &[GroupVersion],
    kinds: &mut BTreeMap<String, Kind>,
    broken: &mut Vec<(String, String)>,
) {
    for version in versions {
        if version.freshness == "Stale" {
            broken.push((
                format!("{group}/{}", version.version),
                "its server does not answer".to_owned(),
            ));
        }
        for resource in &version.resources {
            let listable = ["list", "get"]
                .iter()
                .all(|verb| resource.verbs.iter().any(|known| known == verb));
            let Some(kind) = resource
                .response_kind
                .as_ref()
                .filter(|_| listable && !resource.resource.contains('/'))
            else {
                continue;
            };
            let kind = Kind {
                group: group.to_owned(),
                version: version.version.clone(),
                kind: kind.kind.clone(),
                plural: resource.resource.clone(),
                short: resource.short_names.clone(),
                namespaced: resource.scope == "Namespaced",
            };
            let name = kind.resource();
            if !NEVER.contains(&name.as_str()) && group != "metrics.k8s.io" {
                kinds.entry(name).or_insert(kind);
            }
        }
    }
}

/// Says of a kind that is not served any more, or not yet, what an error of the API server means.
pub fn explain(kind: &Kind, error: &kube::Error) -> String {
    format!("{} could not be listed: {}", kind.resource(), say(error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_version_counts_and_a_group_that_is_down_is_said() {
        let groups: GroupList = serde_json::from_value(serde_json::json!({ "items": [
            { "metadata": { "name": "apps" }, "versions": [
                { "version": "v1", "freshness": "Current", "resources": [
                    { "resource": "deployments", "responseKind": { "kind": "Deployment" }, "scope": "Namespaced", "verbs": ["get", "list"], "shortNames": ["deploy"] },
                    { "resource": "reviews", "responseKind": { "kind": "Review" }, "scope": "Cluster", "verbs": ["create"] } ] },
                { "version": "v1beta1", "freshness": "Current", "resources": [
                    { "resource": "deployments", "responseKind": { "kind": "Deployment" }, "scope": "Namespaced", "verbs": ["get", "list"] } ] } ] },
            { "metadata": { "name": "custom.example.org" }, "versions": [ { "version": "v1", "freshness": "Stale" } ] }
        ]})).unwrap();
        let (mut kinds, mut broken) = (BTreeMap::new(), Vec::new());
        for group in groups.items.unwrap() {
            take(&group.metadata.unwrap().name, &group.versions, &mut kinds, &mut broken);
        }
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["deployments.apps"]);
        assert_eq!(kinds["deployments.apps"].version, "v1");
        assert_eq!(broken[0].0, "custom.example.org/v1");
    }
}
