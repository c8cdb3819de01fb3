//! Objects that are there already: left, changed, made anew, or the end of the restore, as the policy says.
//!
//! What must hold: a claim is deleted only when its data comes back; namespaces, definitions and volumes are never deleted, because what is in them would be
//! lost; and what this restore has made itself, before the controller died, is its own.

mod conflicts;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use api::restore::ExistingPolicy;
use api::selection::Kind;
use api::words;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::diff::{comparable, differences, summary};
use super::fields::{self, is_true, items, text};
use super::plan::Item;
use super::requests;
use super::rewrite::rewrite;
use super::work::{Refusal, Work};
use crate::context::{is_conflict, is_passing, say};

pub use self::conflicts::{conflicts, is_merged};

/// How long an object may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// What became of an object that was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// This restore made it before; its UID.
    Ours(String),
    /// It is as the backup has it, or stays as it is; its UID.
    Left(String),
    /// It has what the backup has now; its UID.
    Updated(String),
    /// It is gone, and can be made.
    Gone,
    /// It is about to go; it can be made later.
    Going,
    /// It could not be changed.
    Refused(Refusal),
}

/// What is done with objects of a kind that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// They stay; a difference is a warning.
    Leave,
    /// They get what the backup has.
    Update,
    /// They are made anew.
    Recreate,
    /// What is missing in them is added.
    Merge,
}

/// What is done with an object of a kind. `has_data` says of a claim whether its data comes back.
pub fn handling(policy: ExistingPolicy, resource: &str, has_data: bool) -> Handling {
    let keeps_others = matches!(
        resource,
        "namespaces" | "customresourcedefinitions.apiextensions.k8s.io" | "persistentvolumes"
    );
    match policy {
        _ if resource == "serviceaccounts" => Handling::Merge,
        ExistingPolicy::Skip | ExistingPolicy::Fail => Handling::Leave,
        // Almost nothing of a claim can be changed, and what is in it is somebody's.
        ExistingPolicy::Update if resource == "persistentvolumeclaims" => Handling::Leave,
        ExistingPolicy::Update => Handling::Update,
        ExistingPolicy::Recreate if keeps_others => Handling::Update,
        ExistingPolicy::Recreate if resource == "persistentvolumeclaims" && !has_data => Handling::Leave,
        ExistingPolicy::Recreate => Handling::Recreate,
    }
}

/// Deals with an object that exists. `plain` is what the backup has, rewritten; `full` is the same as it would be made, with labels and owners.
pub async fn meet(work: &Work, item: &Item, kind: &Kind, plain: &Value, full: &Value) -> Met {
    let (resource, namespace, name) = (&*item.facts.resource, &*item.target, work.target_name(item));
    let existing = match work.get(kind, namespace, &name).await {
        Ok(Some(existing)) => existing,
        // It went in between.
        Ok(None) => return Met::Gone,
        Err(error) => return refused("Refused", &error),
    };
    let uid = text(&existing, "/metadata/uid").unwrap_or_default().to_owned();
    if text(&existing, "/metadata/deletionTimestamp").is_some() {
        return Met::Going;
    }
    if resource == "persistentvolumes" {
        meet_volume(work, item, kind, &existing).await;
    }
    if fields::annotation(&existing, words::RESTORE_UID) == Some(&work.uid) {
        return Met::Ours(uid);
    }
    let has_data = work.claim_has_data(item);
    let handling = handling(work.spec().existing_resource_policy, resource, has_data);
    if handling == Handling::Merge {
        return merge_account(work, item, kind, &existing, plain, uid).await;
    }
    let here = rewrite(resource, existing.clone(), &work.circumstances.here()).object;
    let found = differences(resource, &comparable(plain), &comparable(&here));
    if found.is_empty() && !(handling == Handling::Recreate && has_data) {
        return Met::Left(uid);
    }
    match handling {
        Handling::Leave | Handling::Merge => {
            work.issues.warning(
                "Differs",
                work.about(item),
                format!(
                    "It is here and stays as it is, but differs from the backup in {}",
                    summary(&found)
                ),
            );
            Met::Left(uid)
        }
        Handling::Update => update(work, item, kind, &existing, full, uid).await,
        Handling::Recreate => match remove(work, kind, namespace, &name, &uid, false).await {
            Ok(()) => Met::Gone,
            Err(refusal) => Met::Refused(refusal),
        },
    }
}

fn refused(reason: &'static str, error: &kube::Error) -> Met {
    Met::Refused(Refusal {
        reason,
        message: say(error),
    })
}

/// Gives an object what the backup has. One that says of itself that it never changes is made anew: that is what was asked for, and nothing in it is lost.
async fn update(work: &Work, item: &Item, kind: &Kind, existing: &Value, full: &Value, uid: String) -> Met {
    let (resource, namespace, name) = (&*item.facts.resource, &*item.target, work.target_name(item));
    if matches!(resource, "secrets" | "configmaps") && is_true(existing, "/immutable") {
        return match remove(work, kind, namespace, &name, &uid, false).await {
            Ok(()) => Met::Gone,
            Err(refusal) => Met::Refused(refusal),
        };
    }
    for attempt in 0.. {
        match requests::apply(&work.context.client, kind, namespace, &name, full).await {
            Ok(_) => return Met::Updated(uid),
            Err(error) if (is_passing(&error) || is_conflict(&error)) && attempt < 30 && !work.stop.is_asked() => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(kube::Error::Api(status)) if status.code == 422 => {
                return Met::Refused(Refusal {
                    reason: "NotUpdated",
                    message: format!(
                        "{}; to have it made anew, use existingResourcePolicy Recreate",
                        status.message
                    ),
                });
            }
            Err(error) => return refused("NotUpdated", &error),
        }
    }
    Met::Left(uid)
}

/// Deletes an object and waits until it is gone.
pub async fn remove(
    work: &Work,
    kind: &Kind,
    namespace: &str,
    name: &str,
    uid: &str,
    with_dependents: bool,
) -> Result<(), Refusal> {
    let until = Instant::now() + GONE_WITHIN;
    let refusal = |message: String| Refusal {
        reason: "NotDeleted",
        message,
    };
    loop {
        match requests::delete(&work.context.client, kind, namespace, name, uid, with_dependents).await {
            Ok(()) => break,
            // Another one has taken its name.
            Err(error) if is_conflict(&error) => return Ok(()),
            Err(error) if is_passing(&error) && Instant::now() < until && !work.stop.is_asked() => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(refusal(say(&error))),
        }
    }
    loop {
        match work.get(kind, namespace, name).await {
            Ok(Some(object)) if text(&object, "/metadata/uid") == Some(uid) => {
                if work.stop.is_asked() {
                    return Err(refusal("The restore was stopped".to_owned()));
                }
                if Instant::now() > until {
                    let held: Vec<&str> = items(&object, "/metadata/finalizers")
                        .filter_map(Value::as_str)
                        .collect();
                    return Err(refusal(format!("It does not go: {} hold it", held.join(", "))));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(_) => return Ok(()),
            Err(error) => return Err(refusal(say(&error))),
        }
    }
}

/// An account gets the secrets, labels and annotations that it lacks; what it has stays.
async fn merge_account(work: &Work, item: &Item, kind: &Kind, existing: &Value, plain: &Value, uid: String) -> Met {
    let Some(patch) = merged(existing, plain) else {
        return Met::Left(uid);
    };
    let name = work.target_name(item);
    match requests::merge(&work.context.client, kind, &item.target, &name, "", &patch).await {
        Ok(_) => Met::Updated(uid),
        Err(error) => refused("NotUpdated", &error),
    }
}

/// The merge patch that gives one account what it lacks of another; none when it lacks nothing.
fn merged(existing: &Value, plain: &Value) -> Option<Value> {
    let mut patch = json!({});
    for path in ["labels", "annotations"] {
        let has = fields::texts(existing, &format!("/metadata/{path}"));
        for (name, value) in fields::texts(plain, &format!("/metadata/{path}")) {
            if !has.contains_key(&name) {
                fields::set(&mut patch, &["metadata", path, &name], Value::String(value));
            }
        }
    }
    for path in ["secrets", "imagePullSecrets"] {
        let mut all: Vec<Value> = items(existing, &format!("/{path}")).cloned().collect();
        let before = all.len();
        for reference in items(plain, &format!("/{path}")) {
            if !all.iter().any(|known| known.get("name") == reference.get("name")) {
                all.push(reference.clone());
            }
        }
        if all.len() > before {
            fields::set(&mut patch, &[path], Value::Array(all));
        }
    }
    patch
        .as_object()
        .is_some_and(|patch| !patch.is_empty())
        .then_some(patch)
}

/// A volume that is here may wait for the claim of before, which is gone: it waits for the new one then. Or it may belong to another claim: then the restored claim
/// gets another volume.
async fn meet_volume(work: &Work, item: &Item, kind: &Kind, existing: &Value) {
    let claim = (
        text(existing, "/spec/claimRef/namespace"),
        text(existing, "/spec/claimRef/name"),
    );
    let wanted = work.plan.restored().any(|(_, other)| {
        &*other.facts.resource == "persistentvolumeclaims"
            && other.facts.volume.as_deref() == Some(&*item.facts.name)
            && claim == (Some(&*other.target), Some(&*other.facts.name))
    });
    let free = claim.1.is_none();
    if !wanted && !free {
        work.issues.warning(
            "VolumeTaken",
            work.about(item),
            format!(
                "It belongs to the claim {}/{} here: the restored claim gets another volume",
                claim.0.unwrap_or_default(),
                claim.1.unwrap_or_default()
            ),
        );
        work.circumstances
            .volumes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&item.facts.name);
    } else if wanted && text(existing, "/status/phase") == Some("Released") {
        let patch = json!({ "spec": { "claimRef": { "uid": null, "resourceVersion": null } } });
        match requests::merge(&work.context.client, kind, "", &item.facts.name, "", &patch).await {
            Ok(_) => work
                .issues
                .log(&format!("{}: it waits for the restored claim", work.about(item))),
            Err(error) => work.issues.warning("VolumeNotReleased", work.about(item), say(&error)),
        }
    }
}

/// Every object of the plan that exists and was not made by this restore, by place; for policies that must know before anything is done. Kinds of which everything
/// is merged or kept are left out.
///
/// # Errors
/// What the server says.
pub async fn find(work: &Work, is_asked: impl Fn(&Item) -> bool) -> kube::Result<BTreeMap<usize, String>> {
    let mut groups: BTreeMap<(&str, &str), BTreeMap<String, usize>> = BTreeMap::new();
    for (place, item) in work.plan.restored().filter(|(_, item)| is_asked(item)) {
        groups
            .entry((&item.facts.resource, &item.target))
            .or_default()
            .insert(work.target_name(item), place);
    }
    let mut found = BTreeMap::new();
    for ((resource, namespace), names) in groups {
        let Some(kind) = work.kind(&resource.into()).await else {
            continue;
        };
        let listed = crate::cluster::list::list(&work.context.client, &kind, namespace, |objects| {
            for object in objects {
                let ours = fields::annotation(&object, words::RESTORE_UID) == Some(&work.uid);
                if let Some(place) = names.get(fields::name(&object)).filter(|_| !ours) {
                    found.insert(*place, text(&object, "/metadata/uid").unwrap_or_default().to_owned());
                }
            }
        });
        match listed.await {
            Ok(()) => {}
            // A namespace that is not there yet has nothing in it.
            Err(error) if crate::context::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_deleted_that_holds_what_does_not_come_back() {
        let claims = "persistentvolumeclaims";
        let table = [
            (ExistingPolicy::Skip, "secrets", Handling::Leave),
            (ExistingPolicy::Update, "secrets", Handling::Update),
            (ExistingPolicy::Recreate, "secrets", Handling::Recreate),
            (ExistingPolicy::Fail, "serviceaccounts", Handling::Merge),
            (ExistingPolicy::Recreate, "serviceaccounts", Handling::Merge),
            (ExistingPolicy::Recreate, "namespaces", Handling::Update),
            (
                ExistingPolicy::Recreate,
                "customresourcedefinitions.apiextensions.k8s.io",
                Handling::Update,
            ),
            (ExistingPolicy::Recreate, "persistentvolumes", Handling::Update),
            (ExistingPolicy::Recreate, claims, Handling::Leave),
            (ExistingPolicy::Update, claims, Handling::Leave),
        ];
        for (policy, resource, expected) in table {
            assert_eq!(handling(policy, resource, false), expected, "{policy:?} {resource}");
        }
        assert_eq!(handling(ExistingPolicy::Recreate, claims, true), Handling::Recreate);
        assert_eq!(handling(ExistingPolicy::Skip, claims, true), Handling::Leave);
    }

    #[test]
    fn accounts_get_what_they_lack_and_keep_what_they_have() {
        let existing = json!({ "metadata": { "labels": { "a": "mine" } }, "imagePullSecrets": [{ "name": "one" }] });
        let backup = json!({ "metadata": { "labels": { "a": "other", "b": "new" } }, "imagePullSecrets": [{ "name": "one" }, { "name": "two" }] });
        assert_eq!(
            merged(&existing, &backup).unwrap(),
            json!({ "metadata": { "labels": { "b": "new" } }, "imagePullSecrets": [{ "name": "one" }, { "name": "two" }] })
        );
        assert_eq!(merged(&backup, &existing), None);
    }
}
