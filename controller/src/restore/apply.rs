//! Objects are made: one request each, many at once, level by level.
//!
//! What the cluster cannot take yet (a webhook whose pods are restored too, a quota that is reached) is put aside and tried again between the levels and at the end; what
//! others cannot be made without waits where it stands. Nothing waits for ever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::selection::Kind;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::existing::{self, Met};
use super::fields;
use super::owners;
use super::plan::Item;
use super::refusal::{Freed, Verdict, advice, judge};
use super::requests;
use super::rewrite::{self, Rewritten, rewrite, stamp};
use super::tally::count;
use super::work::{Refusal, Work};
use crate::context::say;
use crate::volumes::workload::{mounts, template_path};

/// How long the server may be busy or away, for one object.
const BUSY: Duration = Duration::from_secs(600);
/// How long what others need is waited for where it stands; a namespace that is being deleted, by all that go into it together.
const FOUNDATION: Duration = Duration::from_secs(600);

/// Makes the objects at these places, which rise. Ends early when the restore is stopped.
///
/// # Errors
/// When the backup cannot be read.
pub async fn make(work: &Arc<Work>, places: Vec<usize>) -> Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let receiver = work.source.feed(&work.plan, places);
    let objects = futures::stream::unfold(receiver, |mut receiver| async {
        let object = receiver.recv().await?;
        Some((object, receiver))
    });
    let at_once = work.context.args.parallel_requests.max(1);
    let failed = std::sync::Mutex::new(None);
    let all = objects.for_each_concurrent(at_once, |object| async {
        match object {
            Ok((place, content)) if !work.stop.is_asked() => one(work, place, &content).await,
            Ok(_) => {}
            Err(error) => *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error),
        }
    });
    if work.stop.or(all).await.is_err() {
        return Ok(());
    }
    let failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    failed.map_or(Ok(()), |error| Err(error).context("The backup could not be read"))
}

/// Tries again what could not be made yet.
///
/// # Errors
/// As [`make`].
pub async fn retry(work: &Arc<Work>) -> Result<()> {
    let places: Vec<usize> = work.known().postponed.keys().copied().collect();
    make(work, places).await
}

/// Makes one object, whatever it takes, and counts it.
async fn one(work: &Arc<Work>, place: usize, content: &[u8]) {
    let item = work.item(place);
    let resource = &item.facts.resource;
    let object: Value = match serde_json::from_slice(content) {
        Ok(object) => object,
        Err(error) => {
            return give_up(
                work,
                place,
                &Refusal {
                    reason: "Damaged",
                    message: format!("It is no JSON: {error}"),
                },
            );
        }
    };
    let Some(kind) = work.kind(resource).await else {
        let message = format!("{resource} is not served here");
        return postpone(
            work,
            place,
            Refusal {
                reason: "KindNotServed",
                message,
            },
        );
    };
    let rewritten = rewrite(resource, object, &work.circumstances);
    if let Some(claim) = missing_data(work, place, &rewritten.object) {
        let message = format!("It was not made, because the data of its claim {claim} did not come back");
        return give_up(
            work,
            place,
            &Refusal {
                reason: "DataMissing",
                message,
            },
        );
    }
    let first_time = !work.known().postponed.contains_key(&place);
    for note in rewritten.notes.iter().filter(|_| first_time) {
        work.issues.warning(note.reason, work.about(item), note.message.clone());
    }
    let linked = owners::link(work, place, &rewritten.owners).await;
    for owner in linked.missing.iter().filter(|_| first_time) {
        work.issues.warning(
            "OwnerMissing",
            work.about(item),
            format!("Its owner {owner} is not here and was not restored: nobody owns it now"),
        );
    }
    let full = full(work, place, &kind, &rewritten, linked.references);
    match settle(work, place, &kind, &rewritten.object, full).await {
        Outcome::Is(uid) => {
            work.known().postponed.remove(&place);
            if linked.later {
                work.known().orphans.push((place, rewritten.owners.clone()));
            }
            made(work, place, &kind, &rewritten, uid).await;
        }
        Outcome::Left(uid) => {
            work.known().postponed.remove(&place);
            learn(work, place, uid);
            count(&work.tally.unchanged);
            count(&work.tally.done);
        }
        Outcome::NotYet(refusal) => postpone(work, place, refusal),
        Outcome::Never(refusal) => give_up(work, place, &refusal),
        Outcome::Stopped => {}
    }
}

/// An object as it is sent: in the version that is used here, with owners, labels, and what hooks and volumes add to its pods.
fn full(work: &Work, place: usize, kind: &Kind, rewritten: &Rewritten, references: Vec<Value>) -> Value {
    let item = work.item(place);
    let mut full = rewritten.object.clone();
    fields::set(&mut full, &["apiVersion"], Value::String(kind.api_version()));
    if !references.is_empty() {
        fields::set(&mut full, &["metadata", "ownerReferences"], Value::Array(references));
    }
    if let Some(path) = template_path(&item.facts.resource) {
        let containers = work
            .hooks
            .init_containers(&item.target, full.pointer(path), &work.issues, &work.about(item));
        if !containers.is_empty() {
            rewrite::add_first(&mut full, path, &containers);
        }
    }
    if &*item.facts.resource == "pods" {
        let records = work.pod_records(&item.facts.namespace, &item.facts.name);
        let volumes: Vec<&str> = records.iter().filter_map(|record| record.volume.as_deref()).collect();
        if !volumes.is_empty() {
            rewrite::wait_for_volumes(
                &mut full,
                &volumes,
                &work.context.args.image,
                &work.context.args.image_pull_policy,
            );
        }
    }
    stamp(&mut full, &work.backup, &work.name, &work.uid);
    if work.claim_awaits(item) {
        fields::set(
            &mut full,
            &["metadata", "annotations", api::words::AWAITS_DATA],
            Value::String(work.uid.clone()),
        );
    }
    full
}

/// What became of an object.
enum Outcome {
    /// It was made or changed by this restore; its UID.
    Is(String),
    /// It was there, and is as it was; its UID.
    Left(String),
    /// Others first.
    NotYet(Refusal),
    /// It cannot be made.
    Never(Refusal),
    /// The restore was stopped.
    Stopped,
}

/// Asks until there is an answer that lasts.
async fn settle(work: &Work, place: usize, kind: &Kind, plain: &Value, mut full: Value) -> Outcome {
    let item = work.item(place);
    let began = Instant::now();
    let mut pause = Duration::from_millis(100);
    let mut recreated = 0;
    let mut freed = Freed::default();
    loop {
        if work.stop.is_asked() {
            return Outcome::Stopped;
        }
        let error = match requests::create(&work.context.client, kind, &item.target, &full).await {
            Ok(made) => {
                count(&work.tally.created);
                return Outcome::Is(made.metadata.uid);
            }
            Err(error) => error,
        };
        let refusal = |reason: &'static str| Refusal {
            reason,
            message: say(&error),
        };
        let mut verdict = judge(&error);
        // The port, or address, may be taken by this very object: its name is looked at after its ports.
        if matches!(verdict, Verdict::FreePorts | Verdict::FreeFamilies) && is_here(work, item, kind).await {
            verdict = Verdict::Exists;
        }
        verdict = freed.weigh(&item.facts.resource, verdict);
        let waited = match verdict {
            Verdict::Exists => match existing::meet(work, item, kind, plain, &full).await {
                Met::Ours(uid) => {
                    count(&work.tally.created);
                    return Outcome::Is(uid);
                }
                Met::Updated(uid) => {
                    count(&work.tally.updated);
                    return Outcome::Is(uid);
                }
                Met::Left(uid) => return Outcome::Left(uid),
                // Whoever makes it again each time it is gone is stronger.
                Met::Gone if recreated > 5 => return Outcome::NotYet(refusal("MadeByOthers")),
                Met::Gone => {
                    recreated += 1;
                    continue;
                }
                Met::Going => ("StillBeingDeleted", FOUNDATION, item.level.tier.is_foundation()),
                Met::Refused(refusal) => return Outcome::Never(refusal),
            },
            Verdict::Busy => ("ServerBusy", BUSY, true),
            Verdict::NotYet(reason) => (reason, FOUNDATION, item.level.tier.is_foundation()),
            Verdict::FreePorts => {
                let warning = format!("A node port that it had is taken; it gets others ({})", say(&error));
                work.issues.warning("NodePortTaken", work.about(item), warning);
                rewrite::free_ports(&mut full);
                continue;
            }
            Verdict::FreeFamilies => {
                work.issues.warning(
                    "FamiliesChanged",
                    work.about(item),
                    format!("The cluster chooses its families of addresses ({})", say(&error)),
                );
                rewrite::free_families(&mut full);
                continue;
            }
            Verdict::Never(reason) => return Outcome::Never(refusal(reason)),
        };
        let (reason, patience, here) = waited;
        if !here || work.waited(item, reason, began) > patience {
            return Outcome::NotYet(refusal(reason));
        }
        if work.stop.sleep(pause).await.is_err() {
            return Outcome::Stopped;
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn is_here(work: &Work, item: &Item, kind: &Kind) -> bool {
    matches!(work.get(kind, &item.target, &work.target_name(item)).await, Ok(Some(_)))
}

/// Everything that others must know of an object that is there through this restore.
async fn made(work: &Arc<Work>, place: usize, kind: &Kind, rewritten: &Rewritten, uid: String) {
    let item = work.item(place);
    let resource = &*item.facts.resource;
    learn(work, place, uid);
    if let Some(status) = &rewritten.status
        && wants_status(work, kind, &rewritten.object)
    {
        let name = work.target_name(item);
        let patch = json!({ "status": status });
        if let Err(error) = requests::merge(&work.context.client, kind, &item.target, &name, "/status", &patch).await {
            work.issues.warning(
                "StatusNotRestored",
                work.about(item),
                format!("Its status could not be restored: {}", say(&error)),
            );
        }
    }
    if resource == "persistentvolumeclaims" {
        work.known().claims.insert(place);
    }
    if resource == "pods" && !work.pod_records(&item.facts.namespace, &item.facts.name).is_empty() {
        work.known().pods.push(place);
    }
    if rewritten.pause_later {
        work.known().to_pause.push(place);
    }
    if let Some(expected) = work.hooks.expect(work, place, &rewritten.object) {
        work.known().expected.push(expected);
    }
    count(&work.tally.done);
}

/// Remembers the UID of an object that owned others in the backup.
fn learn(work: &Work, place: usize, uid: String) {
    let facts = &work.item(place).facts;
    if !uid.is_empty() && work.plan.by_uid(&facts.uid).is_some() {
        work.known().uids.insert(facts.uid.clone(), Some(uid.into()));
    }
}

/// Whether an object's status comes back: its annotation says so, or its kind is among those that were named.
fn wants_status(work: &Work, kind: &Kind, object: &Value) -> bool {
    let annotations = fields::texts(object, "/metadata/annotations");
    match api::words::value(Some(&annotations), api::words::RESTORE_STATUS) {
        Some("true") => true,
        Some("false") => false,
        _ => {
            let wanted = &work.spec().restore_status;
            !wanted.is_empty() && api::selection::Kinds::new(wanted, &[]).is_ok_and(|kinds| kinds.matches(kind))
        }
    }
}

/// The claim that an object's pods mount and whose data did not come back.
fn missing_data(work: &Work, place: usize, object: &Value) -> Option<String> {
    let item = work.item(place);
    let path = template_path(&item.facts.resource)?;
    let known = work.known();
    let mut empty = known
        .empty_claims
        .iter()
        .filter(|(namespace, _)| *namespace == *item.target)
        .map(|(_, name)| name);
    empty.find(|claim| mounts(object, path, claim)).cloned()
}

fn postpone(work: &Work, place: usize, refusal: Refusal) {
    tracing::debug!(
        "{} cannot be made yet: {}",
        work.about(work.item(place)),
        refusal.message
    );
    work.known().postponed.insert(place, refusal);
}

/// Says of an object that it was not restored.
pub fn give_up(work: &Work, place: usize, refusal: &Refusal) {
    work.known().postponed.remove(&place);
    let advice = advice(refusal.reason);
    let advice = if advice.is_empty() {
        String::new()
    } else {
        format!(" ({advice})")
    };
    work.issues.error(
        refusal.reason,
        work.about(work.item(place)),
        format!("{}{advice}", refusal.message),
    );
    count(&work.tally.done);
}
