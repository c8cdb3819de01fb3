//! Owners: objects are theirs again under the UIDs that they have here. Who has none is nobody's.
//!
//! A reference to a UID that is not here would have the garbage collector delete the object, so none is ever written.

use api::selection::Kind;
use serde_json::{Value, json};

use super::fields::text;
use super::plan::Fate;
use super::requests;
use super::work::Work;
use crate::context::say;

/// What became of an object's owners.
#[derive(Debug, Default)]
pub struct Linked {
    /// References that can be written now.
    pub references: Vec<Value>,
    /// All of the owners come later: the object is theirs when they are there.
    pub later: bool,
    /// Names of owners that are not here and do not come.
    pub missing: Vec<String>,
}

/// Links an object to its owners, as far as they are there.
pub async fn link(work: &Work, place: usize, owners: &[Value]) -> Linked {
    let mut linked = Linked::default();
    for owner in owners {
        let uid = text(owner, "/uid").unwrap_or_default();
        let known = work.known().uids.get(uid).cloned();
        let comes = || {
            work.plan
                .by_uid(uid)
                .is_some_and(|(owner, item)| owner != place && item.fate == Fate::Restored)
        };
        match known {
            Some(Some(here)) => linked.references.push(reference(owner, &here, None)),
            Some(None) => linked.missing.push(called(owner)),
            // Claims are made before those who own them: a controller that finds none makes empty ones.
            None if comes() => linked.later = true,
            None => match find(work, place, owner).await {
                Some((here, kind)) => {
                    work.known().uids.insert(uid.into(), Some(here.as_str().into()));
                    linked.references.push(reference(owner, &here, Some(&kind)));
                }
                None => {
                    work.known().uids.insert(uid.into(), None);
                    linked.missing.push(called(owner));
                }
            },
        }
    }
    linked
}

/// `Deployment web`, for people.
fn called(owner: &Value) -> String {
    format!(
        "{} {}",
        text(owner, "/kind").unwrap_or_default(),
        text(owner, "/name").unwrap_or_default()
    )
}

/// The reference to an owner under its UID here.
fn reference(owner: &Value, uid: &str, kind: Option<&Kind>) -> Value {
    let mut reference = json!({
        "apiVersion": owner.get("apiVersion"),
        "kind": owner.get("kind"),
        "name": owner.get("name"),
        "uid": uid,
    });
    if let Some(kind) = kind {
        super::fields::set(&mut reference, &["apiVersion"], Value::String(kind.api_version()));
    }
    for field in ["controller", "blockOwnerDeletion"] {
        if let Some(value) = owner.get(field) {
            super::fields::set(&mut reference, &[field], value.clone());
        }
    }
    reference
}

/// An owner that is not restored, but here under the same name, or the name that it gets here.
async fn find(work: &Work, place: usize, owner: &Value) -> Option<(String, Kind)> {
    let item = work.item(place);
    let (version, kind) = (text(owner, "/apiVersion")?, text(owner, "/kind")?);
    let kind = work
        .found
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .by_type(version, kind)?
        .clone();
    let name = text(owner, "/name")?;
    let namespace = if kind.namespaced { &*item.target } else { "" };
    let object = work.get(&kind, namespace, name).await.ok()??;
    let uid = text(&object, "/metadata/uid")?.to_owned();
    // What is about to go would take the object with it.
    text(&object, "/metadata/deletionTimestamp")
        .is_none()
        .then_some((uid, kind))
}

/// Gives objects to owners that came after them.
pub async fn link_later(work: &Work) {
    let orphans = std::mem::take(&mut work.known().orphans);
    for (place, owners) in orphans {
        if work.stop.is_asked() {
            return;
        }
        let item = work.item(place);
        let about = work.about(item);
        let mut references = Vec::new();
        for owner in &owners {
            let uid = text(owner, "/uid").unwrap_or_default();
            match work.known().uids.get(uid).cloned().flatten() {
                Some(here) => references.push(reference(owner, &here, None)),
                None => work.issues.warning(
                    "OwnerMissing",
                    about.clone(),
                    format!("Its owner {} was not restored", called(owner)),
                ),
            }
        }
        let Some(kind) = work.kind(&item.facts.resource).await else {
            continue;
        };
        let name = work.target_name(item);
        let Ok(Some(object)) = work.get(&kind, &item.target, &name).await else {
            continue;
        };
        let mut all: Vec<Value> = super::fields::items(&object, "/metadata/ownerReferences")
            .cloned()
            .collect();
        let before = all.len();
        for reference in references {
            // Its controller may have taken it already.
            if !all.iter().any(|known| known.get("uid") == reference.get("uid")) {
                all.push(reference);
            }
        }
        if all.len() == before {
            continue;
        }
        let patch = json!({ "metadata": { "ownerReferences": all, "resourceVersion": object.pointer("/metadata/resourceVersion") } });
        if let Err(error) = requests::merge(&work.context.client, &kind, &item.target, &name, "", &patch).await {
            work.issues.warning(
                "OwnerNotLinked",
                about,
                format!("It could not be given to its owner: {}", say(&error)),
            );
        }
    }
}
