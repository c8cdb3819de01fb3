//! An object by its name; and when there is none of that name, those that a person may have meant.

use std::fmt::Debug;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DynamicObject, ListParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{Cluster, selector};
use crate::args::output::Format;
use crate::failure::Failure;
use crate::output::objects;

/// The object of that name, or an error that names those that are near.
pub async fn named<K>(cluster: &Cluster, name: &str) -> Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match cluster.api::<K>().get_opt(name).await? {
        Some(object) => Ok(object),
        None => Err(missing::<K>(cluster, name).await),
    }
}

/// The same, as the cluster has it.
pub async fn named_raw<K>(cluster: &Cluster, name: &str) -> Result<DynamicObject>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match cluster.raw::<K>().get_opt(name).await? {
        Some(object) => Ok(object),
        None => Err(missing::<K>(cluster, name).await),
    }
}

/// All objects of a kind that fit, by name, as the cluster has them. The list is read in pages.
async fn listed_raw<K>(cluster: &Cluster, params: &ListParams) -> Result<Vec<serde_json::Value>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let resource = kube::api::ApiResource::erase::<K>(&());
    let mut found = Vec::new();
    let mut params = params.clone().limit(500);
    loop {
        let page = cluster.raw::<K>().list(&params).await?;
        for mut object in page.items {
            // Objects in a list do not say what they are.
            object.types = Some(kube::core::TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            found.push(serde_json::to_value(object)?);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

/// The objects of these names, or all with these labels when there are no names, as the cluster has them.
pub async fn meant<K>(
    cluster: &Cluster,
    names: &[String],
    labels: Option<&LabelSelector>,
) -> Result<Vec<serde_json::Value>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if names.is_empty() {
        let params = labels.map_or_else(ListParams::default, |labels| {
            ListParams::default().labels(&selector::text(labels))
        });
        return listed_raw::<K>(cluster, &params).await;
    }
    let mut found = Vec::new();
    for name in names {
        found.push(serde_json::to_value(named_raw::<K>(cluster, name).await?)?);
    }
    Ok(found)
}

/// Objects as programs want them, or a table of them as `table` prints it: what every `get` does.
pub fn print<K: DeserializeOwned>(
    found: Vec<serde_json::Value>,
    format: Format,
    is_list: bool,
    table: impl FnOnce(&[K], Format) -> Result<()>,
) -> Result<()> {
    if objects::print(&found, format, is_list)? {
        return Ok(());
    }
    let objects = found.into_iter().map(serde_json::from_value);
    table(&objects.collect::<Result<Vec<K>, _>>()?, format)
}

/// The error for a name that no object has.
pub async fn missing<K>(cluster: &Cluster, name: &str) -> anyhow::Error
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let kind = K::kind(&());
    let names = match cluster.api::<K>().list_metadata(&ListParams::default()).await {
        Ok(list) => list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
        Err(error) => return error.into(),
    };
    let message = format!("There is no {kind} `{name}` in namespace `{}`", cluster.namespace);
    Failure::new(message).hint(advice(&kind, name, &names)).into()
}

/// What to do when there is none of that name.
fn advice(kind: &str, name: &str, names: &[String]) -> String {
    let command = command_of(kind);
    match api::nearest::nearest(name, names.iter().map(String::as_str)).as_slice() {
        [] if names.is_empty() => format!("There is none at all; `ararat {command} create` makes one."),
        [] => format!("`ararat {command} get` lists those that are there."),
        near => format!(
            "Did you mean {}?",
            near.iter()
                .map(|near| format!("`{near}`"))
                .collect::<Vec<_>>()
                .join(" or ")
        ),
    }
}

/// The family of commands for a kind: BackupStorageLocation → backup-location.
pub fn command_of(kind: &str) -> String {
    match kind {
        "BackupStorageLocation" => "backup-location".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn advice_says_what_can_be_done() {
        assert!(advice("Backup", "x", &[]).contains("`ararat backup create`"));
        assert!(advice("BackupStorageLocation", "zzz", &names(&["default"])).contains("`ararat backup-location get`"));
        assert_eq!(advice("Backup", "nginy", &names(&["nginx"])), "Did you mean `nginx`?");
    }
}
