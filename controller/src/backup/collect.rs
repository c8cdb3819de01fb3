//! Objects, kind by kind in the order of their paths, so that they can be stored while they are listed: no more than one kind is held in memory.

use std::collections::BTreeMap;

use api::archive::object_path;
use api::selection::{Kind, Rule};
use serde_json::Value;

use super::survey::Survey;
use crate::cluster::kinds::explain;
use crate::cluster::list::list;
use crate::context::{Context, is_forbidden, say};
use crate::issues::Issues;
use crate::volumes::facts::{map, text};

/// One object that is saved.
pub struct Item {
    /// Its namespace; empty for none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why it is saved.
    pub why: String,
    /// Its JSON; empty for a dry run.
    pub json: Vec<u8>,
}

/// Lists what a kind has and keeps what is saved, in the order of namespaces and names. What cannot be listed is an error among the issues, and the rest goes on.
/// `bodies` is whether their content is wanted.
pub async fn of_kind(context: &Context, survey: &Survey, kind: &Kind, bodies: bool, issues: &Issues) -> Vec<Item> {
    let resource = kind.resource();
    let is_needed = survey
        .needed
        .range((resource.clone(), String::new(), String::new())..)
        .next()
        .is_some_and(|((next, _, _), _)| *next == resource);
    if !survey.selection.kinds.matches(kind) && !is_needed {
        return Vec::new();
    }
    if !kind.namespaced && !is_needed && !survey.selection.whole_cluster() && !survey.selection.kinds.named(kind) {
        return Vec::new();
    }
    // By namespace and name: a list that had to be begun again has no object twice.
    let mut items: BTreeMap<(String, String), Item> = BTreeMap::new();
    for place in survey.places(kind) {
        let result = list(&context.client, kind, &place, |page| {
            for object in page {
                keep(survey, kind, object, bodies, &mut items);
            }
        })
        .await;
        match result {
            Ok(()) => {}
            Err(error) if is_forbidden(&error) && kind.namespaced && place.is_empty() => {
                by_namespace(context, survey, kind, bodies, &mut items, issues).await;
            }
            // The kind was removed since its discovery.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                issues.warning(
                    "KindGone",
                    resource.clone(),
                    format!("{resource} is not served any more"),
                );
            }
            Err(kube::Error::Api(status)) if status.code == 405 => {}
            Err(error) => issues.error("ListFailed", resource.clone(), explain(kind, &error)),
        }
    }
    items.into_values().collect()
}

/// Whoever may not list everywhere may in some namespaces.
async fn by_namespace(
    context: &Context,
    survey: &Survey,
    kind: &Kind,
    bodies: bool,
    items: &mut BTreeMap<(String, String), Item>,
    issues: &Issues,
) {
    for namespace in &survey.namespaces {
        let result = list(&context.client, kind, namespace, |page| {
            for object in page {
                keep(survey, kind, object, bodies, items);
            }
        });
        if let Err(error) = result.await {
            issues.error(
                "ListFailed",
                format!("{}/{namespace}", kind.resource()),
                format!("could not be listed: {}", say(&error)),
            );
        }
    }
}

fn keep(survey: &Survey, kind: &Kind, mut object: Value, bodies: bool, items: &mut BTreeMap<(String, String), Item>) {
    let namespace = text(&object, "/metadata/namespace").unwrap_or_default().to_owned();
    let Some(name) = text(&object, "/metadata/name").map(str::to_owned) else {
        return;
    };
    if kind.namespaced && !survey.namespaces.contains(&namespace)
        || object.pointer("/metadata/deletionTimestamp").is_some()
    {
        return;
    }
    let labels = map(&object, "/metadata/labels");
    let why = match survey.selection.judge(kind, &namespace, &name, Some(&labels)) {
        Rule::Selected => "selected".to_owned(),
        Rule::ExcludeLabel => return,
        Rule::Namespace | Rule::Kind | Rule::Name | Rule::Labels | Rule::ClusterScoped => {
            match survey.needed.get(&(kind.resource(), namespace.clone(), name.clone())) {
                Some(whose) => format!("needed by {whose}"),
                None => return,
            }
        }
    };
    let json = if bodies {
        // Those of services say which node ports a person has chosen.
        let is_service = kind.group.is_empty() && kind.plural == "services";
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata.filter(|_| !is_service) {
            metadata.remove("managedFields");
        }
        serde_json::to_vec(&object).unwrap_or_default()
    } else {
        Vec::new()
    };
    items.insert(
        (namespace.clone(), name.clone()),
        Item {
            namespace,
            name,
            why,
            json,
        },
    );
}

/// The path of an item in the snapshot.
pub fn path(kind: &Kind, item: &Item) -> Vec<u8> {
    object_path(kind, &item.namespace, &item.name).into_bytes()
}
