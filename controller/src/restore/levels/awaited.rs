//! Claims that are here and await their data: a restore before this one has made them, and did not fill them. They are filled by this one, or what mounts them is
//! not made, as in the first one: a workload that starts on an empty volume hides that its data is missing, and writes where it should come.
//!
//! What must hold: a claim bears the annotation from the moment it is made until its data is there, and no longer when a restore lets something mount it. A claim
//! that some pod mounts is not filled, for what that has written would be lost. [`decide`] is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use api::selection::Kind;
use api::words;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::fields::{annotation, name, text};
use super::super::requests;
use super::super::tally::count;
use super::super::work::Work;
use crate::cluster::list::list;
use crate::context::{is_conflict, is_not_found, say, steady};
use crate::volumes::facts::PodFacts;

/// How often claims are looked at again that somebody changed meanwhile.
const TRIES: usize = 5;

/// A claim that awaits its data.
struct Claim {
    name: String,
    version: String,
    /// The Restore that was to fill it.
    filler: String,
}

/// What decides about one of them.
#[derive(Clone, Copy, Debug, Default)]
struct Facts<'a> {
    /// Whether this restore brings data of volumes back at all.
    wanted: bool,
    /// Whether its backup has that of this claim.
    has_data: bool,
    /// Another Restore that is filling it.
    filled_by: Option<&'a str>,
    /// The pods that mount it.
    mounted_by: &'a [String],
}

/// What is done about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// It is filled.
    Fill,
    /// It stays as it is, and what mounts it is not made.
    Stays(String),
    /// It was said that volumes begin as they are.
    Release,
}

fn decide(facts: &Facts<'_>) -> Decision {
    if let Some(restore) = facts.filled_by {
        return Decision::Stays(format!("the Restore {restore} is filling it"));
    }
    if !facts.wanted {
        return Decision::Release;
    }
    if !facts.has_data {
        return Decision::Stays("this backup does not have it".to_owned());
    }
    if !facts.mounted_by.is_empty() {
        return Decision::Stays(format!(
            "what {} may have written there by now would be lost: delete what mounts it",
            facts.mounted_by.join(", ")
        ));
    }
    Decision::Fill
}

/// Looks for such claims wherever this restore makes something, and decides about each.
///
/// # Errors
/// What the server says.
pub async fn look(work: &Arc<Work>) -> Result<()> {
    let claims = kind(work, "persistentvolumeclaims");
    let Some(claims) = claims else { return Ok(()) };
    let namespaces: BTreeSet<Arc<str>> = work.plan.restored().map(|(_, item)| Arc::clone(&item.target)).collect();
    for namespace in namespaces.iter().filter(|namespace| !namespace.is_empty()) {
        for _ in 0..TRIES {
            if settle(work, &claims, namespace).await? {
                break;
            }
        }
    }
    Ok(())
}

fn kind(work: &Work, resource: &str) -> Option<Kind> {
    let found = work.found.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.by_resource(resource).cloned()
}

/// Deals with the claims of a namespace. Gives whether nobody has changed one meanwhile.
async fn settle(work: &Work, kind: &Kind, namespace: &str) -> Result<bool> {
    let waiting = waiting(work, kind, namespace).await?;
    if waiting.is_empty() {
        return Ok(true);
    }
    let mounted = mounted(work, namespace).await?;
    let restores = work.context.watches.restores.all();
    for claim in waiting {
        let key = (namespace.to_owned(), claim.name.clone());
        let planned = work.plan.restored().find(|(_, item)| {
            &*item.facts.resource == "persistentvolumeclaims"
                && &*item.target == namespace
                && work.target_name(item) == claim.name
        });
        let filler = restores
            .iter()
            .find(|restore| restore.uid().as_ref() == Some(&claim.filler));
        let is_at_work = |restore: &&Arc<api::Restore>| {
            claim.filler != work.uid && !restore.status.as_ref().is_some_and(|status| status.phase.is_final())
        };
        let filled_by = filler.filter(is_at_work).map(|restore| restore.name_any());
        let decision = decide(&Facts {
            wanted: work.spec().restore_volumes,
            has_data: planned.is_some_and(|(_, item)| work.claim_has_data(item)),
            filled_by: filled_by.as_deref(),
            mounted_by: mounted.get(&claim.name).map_or(&[], Vec::as_slice),
        });
        let about = format!("persistentvolumeclaims/{namespace}/{}", claim.name);
        let change = match &decision {
            Decision::Stays(why) => {
                work.known().empty_claims.insert(key);
                // Where the claim itself is not asked for, what mounts it says so.
                if planned.is_some() {
                    work.issues.error(
                        "ClaimAwaitsData",
                        about,
                        format!(
                            "A restore before this one has left it without its data, and {why}. What mounts it is not made; restore a backup that has its data, \
                             or let it begin with what is in it by `--restore-volumes=false`"
                        ),
                    );
                    count(&work.tally.volumes_total);
                    count(&work.tally.volumes_failed);
                }
                continue;
            }
            Decision::Fill => adopted(work, &claim),
            Decision::Release => {
                json!({ "metadata": { "resourceVersion": claim.version, "annotations": { words::AWAITS_DATA: null } } })
            }
        };
        let client = &work.context.client;
        match steady(|| requests::merge(client, kind, namespace, &claim.name, "", &change)).await {
            Ok(_) => {}
            Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some((place, _)) = planned.filter(|_| decision == Decision::Fill) else {
            work.issues
                .log(&format!("{about}: it awaited its data, and begins with what is in it"));
            continue;
        };
        work.issues.log(&format!(
            "{about}: it awaits its data since a restore before this one, and gets it"
        ));
        work.known().claims.insert(place);
    }
    Ok(true)
}

/// The claim becomes this restore's, which goes on with it if it has to begin again.
fn adopted(work: &Work, claim: &Claim) -> Value {
    json!({ "metadata": {
        "resourceVersion": claim.version,
        "annotations": { words::AWAITS_DATA: work.uid, words::RESTORE_UID: work.uid },
        "labels": {
            words::RESTORE_NAME: words::label_value(&work.name),
            words::BACKUP_NAME: words::label_value(&work.backup),
        },
    } })
}

/// The claims of a namespace that await their data, but for those of this restore.
async fn waiting(work: &Work, kind: &Kind, namespace: &str) -> Result<Vec<Claim>> {
    let mut waiting = Vec::new();
    let listed = list(&work.context.client, kind, namespace, |page| {
        waiting.extend(page.iter().filter_map(|claim| claim_of(claim, &work.uid)));
    });
    match listed.await {
        Ok(()) => Ok(waiting),
        Err(error) if is_not_found(&error) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn claim_of(claim: &Value, restore: &str) -> Option<Claim> {
    let filler = annotation(claim, words::AWAITS_DATA)?.to_owned();
    let is_ours = annotation(claim, words::RESTORE_UID) == Some(restore);
    let is_going = text(claim, "/metadata/deletionTimestamp").is_some();
    (!is_ours && !is_going).then(|| Claim {
        name: name(claim).to_owned(),
        version: text(claim, "/metadata/resourceVersion").unwrap_or_default().to_owned(),
        filler,
    })
}

/// The claims of a namespace that pods mount, each with these; pods of ours that hold one are none of them.
async fn mounted(work: &Work, namespace: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut mounted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(pods) = kind(work, "pods") else {
        return Ok(mounted);
    };
    let listed = list(&work.context.client, &pods, namespace, |page| {
        for pod in &page {
            for claim in mounts(pod) {
                mounted.entry(claim).or_default().push(format!("the pod {}", name(pod)));
            }
        }
    });
    match listed.await {
        Ok(()) => Ok(mounted),
        Err(error) if is_not_found(&error) => Ok(mounted),
        Err(error) => Err(error.into()),
    }
}

/// The claims that a pod mounts, or will.
fn mounts(pod: &Value) -> Vec<String> {
    let facts = PodFacts::of(pod);
    let has_ended = matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    if has_ended || facts.labels.contains_key(words::HOLDER) {
        return Vec::new();
    }
    facts.volumes.into_iter().filter_map(|volume| volume.claim).collect()
}

/// Says on a claim that its data is there. Gives whether that is said: what mounts it is not made before, for a restore that came later would fill it again.
pub async fn end(work: &Work, (namespace, claim): &(String, String)) -> bool {
    let Some(kind) = kind(work, "persistentvolumeclaims") else {
        return false;
    };
    let (client, change) = (
        &work.context.client,
        json!({ "metadata": { "annotations": { words::AWAITS_DATA: null } } }),
    );
    match steady(|| requests::merge(client, &kind, namespace, claim, "", &change)).await {
        Ok(_) => true,
        Err(error) if is_not_found(&error) => true,
        Err(error) => {
            work.issues.error(
                "ClaimNotReleased",
                format!("persistentvolumeclaims/{namespace}/{claim}"),
                format!("Its data is there, and that could not be said on it: {}", say(&error)),
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_awaits_its_data_is_filled_or_nothing_starts_on_it() {
        let pods = ["the pod db-0".to_owned()];
        let good = Facts {
            wanted: true,
            has_data: true,
            ..Facts::default()
        };
        let stays = |facts: Facts<'_>, word: &str| matches!(decide(&facts), Decision::Stays(why) if why.contains(word));
        assert_eq!(decide(&good), Decision::Fill);
        assert!(stays(
            Facts {
                has_data: false,
                ..good
            },
            "does not have it"
        ));
        // Somebody has started a workload by hand: what that has written is not written over.
        assert!(stays(
            Facts {
                mounted_by: &pods,
                ..good
            },
            "db-0"
        ));
        assert!(stays(
            Facts {
                filled_by: Some("first"),
                ..good
            },
            "first"
        ));
        let unwanted = Facts { wanted: false, ..good };
        assert_eq!(decide(&unwanted), Decision::Release);
        assert!(stays(
            Facts {
                filled_by: Some("first"),
                ..unwanted
            },
            "first"
        ));
    }

    #[test]
    fn claims_of_this_restore_and_those_that_have_their_data_are_none_of_them() {
        let claim = |annotations: Value| json!({ "metadata": { "name": "data", "resourceVersion": "7", "annotations": annotations } });
        let found = |annotations: Value| claim_of(&claim(annotations), "r2").map(|claim| claim.filler);
        let awaits = |made: &str, filler: &str| json!({ words::RESTORE_UID: made, words::AWAITS_DATA: filler });
        assert_eq!(found(awaits("r1", "r1")).as_deref(), Some("r1"));
        assert_eq!(found(awaits("r2", "r2")), None);
        assert_eq!(found(json!({ words::RESTORE_UID: "r1" })), None);
        assert_eq!(found(Value::Null), None);
    }

    #[test]
    fn pods_that_have_ended_and_those_that_hold_a_claim_for_us_do_not_count() {
        let pod = |phase: &str, labels: Value| {
            json!({ "metadata": { "name": "db-0", "labels": labels }, "status": { "phase": phase },
            "spec": { "volumes": [{ "name": "a", "persistentVolumeClaim": { "claimName": "data" } }, { "name": "b", "emptyDir": {} }] } })
        };
        assert_eq!(mounts(&pod("Pending", Value::Null)), ["data"]);
        assert!(mounts(&pod("Succeeded", Value::Null)).is_empty());
        assert!(mounts(&pod("Running", json!({ words::HOLDER: "restore" }))).is_empty());
    }
}
