//! The whole of a restore, level by level: the ground first (definitions, namespaces, settings, claims), then data into the claims, and then, namespace by namespace as
//! their data is there, everything that may start pods; what could not be made at first; gates; owners that came later; hooks.

mod awaited;
mod ground;
mod recreate;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use api::archive::VolumeRecord;
use api::restore::ExistingPolicy;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::order::Tier;
use super::plan::{Item, Level};
use super::refusal::patience;
use super::tally::count;
use super::volumes::{self, Target};
use super::work::{Refusal, Work};
use super::{apply, hooks, owners, requests};
use crate::context::say;

/// Volumes that are under way at once. How many are filled at once is the agents' to say.
const FILLED_AT_ONCE: usize = 16;
/// How long a rollout may take until it has pods and can be paused.
const PODS_WITHIN: Duration = Duration::from_secs(60);

/// Restores everything, or ends early when the restore is stopped.
///
/// # Errors
/// When the backup cannot be read, or the server does not answer.
pub async fn run(work: &Arc<Work>) -> Result<()> {
    if work.spec().existing_resource_policy == ExistingPolicy::Recreate {
        match work.stop.or(recreate::clear(work)).await {
            Ok(cleared) => cleared?,
            Err(_) => return Ok(()),
        }
    }
    for (level, places) in levels(work, |item| !item.level.tier.is_held()) {
        if work.stop.is_asked() {
            return Ok(());
        }
        work.tally.set_step(level.tier.step());
        if level.tier == Tier::Claims {
            // What claims and their pods need may be possible by now.
            apply::retry(work).await?;
        }
        apply::make(work, places.clone()).await?;
        if level.tier == Tier::Definitions {
            ground::definitions(work, &places).await?;
        }
        if level.tier == Tier::Namespaces {
            ground::namespaces(work).await;
        }
    }
    if !work
        .plan
        .restored()
        .any(|(_, item)| item.level.tier == Tier::Namespaces)
    {
        ground::namespaces(work).await;
    }
    // A claim that could be made later would be empty when its pods start.
    for (place, refusal) in postponed(work, |item| item.level.tier == Tier::Claims) {
        apply::give_up(work, place, &refusal);
    }
    match work.stop.or(awaited::look(work)).await {
        Ok(looked) => looked?,
        Err(_) => return Ok(()),
    }
    let mut pods = JoinSet::new();
    let done = rest(work, &mut pods).await;
    // Who fills volumes ends by himself when the restore is stopped, and lets go of what he holds.
    if done.is_err() {
        pods.shutdown().await;
        return done;
    }
    if !work.stop.is_asked() {
        last_tries(work).await?;
        for (_, places) in levels(work, |item| item.level.tier == Tier::Gates) {
            apply::make(work, places).await?;
        }
        last_tries(work).await?;
        owners::link_later(work).await;
        pause(work).await;
    }
    work.tally.set_step("Volumes");
    while pods.join_next().await.is_some() {}
    if !work.stop.is_asked() {
        work.tally.set_step("Hooks");
        hooks::run(work).await;
    }
    Ok(())
}

/// The restored objects that are asked for, by level.
fn levels(work: &Work, is_asked: impl Fn(&Item) -> bool) -> BTreeMap<Level, Vec<usize>> {
    let mut levels: BTreeMap<Level, Vec<usize>> = BTreeMap::new();
    for (place, item) in work.plan.restored().filter(|(_, item)| is_asked(item)) {
        levels.entry(item.level).or_default().push(place);
    }
    levels
}

fn postponed(work: &Work, is_asked: impl Fn(&Item) -> bool) -> Vec<(usize, Refusal)> {
    let known = work.known();
    let asked = known.postponed.iter().filter(|(place, _)| is_asked(work.item(**place)));
    asked.map(|(place, refusal)| (*place, refusal.clone())).collect()
}

/// Data into the claims, and what waits for it.
async fn rest(work: &Arc<Work>, pods: &mut JoinSet<bool>) -> Result<()> {
    let slots = Arc::new(Semaphore::new(FILLED_AT_ONCE));
    let mut filling = JoinSet::new();
    let mut waiting: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut targets = targets(work);
    volumes::place_by_workloads(work, &mut targets).await?;
    for target in targets {
        let (work, slots) = (Arc::clone(work), Arc::clone(&slots));
        *waiting.entry(Arc::from(target.namespace.as_str())).or_default() += 1;
        filling.spawn(async move {
            // The slots are never closed.
            let _slot = slots.acquire_owned().await;
            let claim = (target.namespace.clone(), target.name.clone());
            let volume = volumes::fill(Arc::clone(&work), target.clone()).await;
            let filled = match volume {
                Some(volume) => awaited::end(&work, &target, &volume).await,
                None => false,
            };
            if !filled {
                work.known().empty_claims.insert(claim.clone());
            }
            claim.0
        });
    }
    let mut ahead: BTreeSet<Arc<str>> = work.plan.restored().map(|(_, item)| Arc::clone(&item.target)).collect();
    while !ahead.is_empty() {
        let ready: BTreeSet<Arc<str>> = ahead
            .iter()
            .filter(|namespace| !waiting.contains_key(*namespace))
            .cloned()
            .collect();
        if ready.is_empty() || work.stop.is_asked() {
            work.tally.set_step("Volumes");
            match filling.join_next().await {
                Some(done) => settle(&mut waiting, &done?),
                // Every volume is done with; the restore was stopped.
                None => return Ok(()),
            }
            continue;
        }
        ahead.retain(|namespace| !ready.contains(namespace));
        let held =
            |item: &Item| item.level.tier.is_held() && item.level.tier != Tier::Gates && ready.contains(&item.target);
        for (level, places) in levels(work, held) {
            work.tally.set_step(level.tier.step());
            apply::make(work, places).await?;
            if level.tier == Tier::Objects {
                apply::retry(work).await?;
            }
            fill_pods(work, pods, &slots);
        }
        while let Some(done) = filling.try_join_next() {
            settle(&mut waiting, &done?);
        }
    }
    while let Some(done) = filling.join_next().await {
        done?;
    }
    Ok(())
}

/// One volume less that a namespace waits for.
fn settle(waiting: &mut BTreeMap<Arc<str>, usize>, namespace: &str) {
    if let Some(count) = waiting.get_mut(namespace) {
        *count -= 1;
        if *count == 0 {
            waiting.remove(namespace);
        }
    }
}

/// Which claims are filled; and what is said of those that are not.
fn targets(work: &Work) -> Vec<Target> {
    let mut targets = Vec::new();
    let claims: Vec<(usize, &Item)> = work
        .plan
        .restored()
        .filter(|(_, item)| item.level.tier == Tier::Claims)
        .collect();
    for (place, item) in claims {
        let Some(record) = work.claim_record(&item.facts.namespace, &item.facts.name) else {
            continue;
        };
        let claim = (item.target.to_string(), item.facts.name.to_string());
        if work.known().empty_claims.contains(&claim) {
            // That it stays without its data was said.
            continue;
        }
        let made = work.known().claims.contains(&place);
        match decide(record, made, work.spec().restore_volumes) {
            Decision::Fill => targets.push(Target::new(&item.target, &item.facts.name, record)),
            Decision::Empty(why) => {
                work.issues
                    .log(&format!("{}: it comes back empty: {why}", work.about(item)));
                count(&work.tally.volumes_skipped);
            }
            Decision::NotInBackup(why) => {
                work.issues.error(
                    "NotInBackup",
                    work.about(item),
                    format!(
                        "Its data is not in the backup: {why}. It comes back without, so what mounts it is not made; restore another backup, or make it with an \
                         empty volume by `--restore-volumes=false`"
                    ),
                );
                work.known().empty_claims.insert(claim);
                count(&work.tally.volumes_total);
                count(&work.tally.volumes_failed);
            }
            Decision::NeverSaved(why) => {
                work.issues.warning(
                    "NotInBackup",
                    work.about(item),
                    format!("The claim is here and its data stays as it is; that of the backup was not saved: {why}"),
                );
                count(&work.tally.volumes_skipped);
            }
            Decision::NotOurs => {
                work.issues.warning(
                    "DataKept",
                    work.about(item),
                    "The claim is here, so its data stays as it is; to have it restored, delete the claim first, restore into another namespace, or use existingResourcePolicy Recreate",
                );
                count(&work.tally.volumes_skipped);
            }
        }
    }
    work.tally
        .volumes_total
        .fetch_add(targets.len() as u64, Ordering::Relaxed);
    targets
}

/// What is done about the data of a claim.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It comes back.
    Fill,
    /// Nobody wanted it saved, or back.
    Empty(String),
    /// It should have been saved: the claim that was made would be empty for those who mount it.
    NotInBackup(String),
    /// It should have been saved, but the claim was there before.
    NeverSaved(String),
    /// The claim was there before.
    NotOurs,
}

fn decide(record: &VolumeRecord, made: bool, wanted: bool) -> Decision {
    match (&record.snapshot_id, &record.error) {
        (Some(_), _) if !wanted => Decision::Empty("restoreVolumes is false".to_owned()),
        (Some(_), _) if made => Decision::Fill,
        (Some(_), _) => Decision::NotOurs,
        (None, Some(_)) if !wanted => Decision::Empty("restoreVolumes is false".to_owned()),
        (None, Some(error)) if made => Decision::NotInBackup(error.clone()),
        (None, Some(error)) => Decision::NeverSaved(error.clone()),
        (None, None) => Decision::Empty(record.reason.clone()),
    }
}

/// Begins to fill the volumes of pods that were made.
fn fill_pods(work: &Arc<Work>, filling: &mut JoinSet<bool>, slots: &Arc<Semaphore>) {
    let places = std::mem::take(&mut work.known().pods);
    for place in places {
        let item = work.item(place);
        for record in work.pod_records(&item.facts.namespace, &item.facts.name) {
            let target = Target::new(&item.target, &item.facts.name, record);
            let (work, slots) = (Arc::clone(work), Arc::clone(slots));
            count(&work.tally.volumes_total);
            filling.spawn(async move {
                let _slot = slots.acquire_owned().await;
                volumes::fill(work, target).await.is_some()
            });
        }
    }
}

/// Tries what could not be made until it can, or its time is over.
async fn last_tries(work: &Arc<Work>) -> Result<()> {
    let began = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        let waiting = postponed(work, |_| true);
        if waiting.is_empty() || work.stop.is_asked() {
            return Ok(());
        }
        if waiting.iter().any(|(_, refusal)| refusal.reason == "KindNotServed") {
            ground::rediscover(work).await?;
        }
        apply::retry(work).await?;
        for (place, refusal) in postponed(work, |_| true) {
            if work.waited(work.item(place), refusal.reason, began) > patience(refusal.reason) {
                apply::give_up(work, place, &refusal);
            }
        }
        if work.stop.sleep(pause).await.is_err() {
            return Ok(());
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Pauses rollouts that were paused, once they have the pods that a paused one would not get.
async fn pause(work: &Work) {
    let places = std::mem::take(&mut work.known().to_pause);
    let until = Instant::now() + PODS_WITHIN;
    for place in places {
        let item = work.item(place);
        let Some(kind) = work.kind(&item.facts.resource).await else {
            continue;
        };
        let name = work.target_name(item);
        loop {
            let Ok(Some(deployment)) = work.get(&kind, &item.target, &name).await else {
                break;
            };
            let number = |path: &str| deployment.pointer(path).and_then(serde_json::Value::as_u64);
            let has_pods = number("/status/replicas").unwrap_or_default() > 0 || number("/spec/replicas") == Some(0);
            if has_pods || Instant::now() > until {
                break;
            }
            if work.stop.sleep(Duration::from_millis(500)).await.is_err() {
                return;
            }
        }
        let patch = json!({ "spec": { "paused": true } });
        match requests::merge(&work.context.client, &kind, &item.target, &name, "", &patch).await {
            Ok(_) => work
                .issues
                .log(&format!("{}: paused again, as it was", work.about(item))),
            Err(error) => work.issues.warning(
                "NotPaused",
                work.about(item),
                format!("It was paused and is not: {}", say(&error)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_were_there_keep_their_data() {
        let saved = VolumeRecord {
            snapshot_id: Some("a".into()),
            ..VolumeRecord::default()
        };
        let failed = VolumeRecord {
            error: Some("the agent was gone".into()),
            ..VolumeRecord::default()
        };
        let skipped = VolumeRecord {
            reason: "volume policy 1".into(),
            ..VolumeRecord::default()
        };
        assert_eq!(decide(&saved, true, true), Decision::Fill);
        assert_eq!(decide(&saved, false, true), Decision::NotOurs);
        assert!(matches!(decide(&saved, true, false), Decision::Empty(_)));
        assert_eq!(
            decide(&failed, true, true),
            Decision::NotInBackup("the agent was gone".into())
        );
        assert_eq!(
            decide(&failed, false, true),
            Decision::NeverSaved("the agent was gone".into())
        );
        assert!(matches!(decide(&failed, true, false), Decision::Empty(_)));
        assert_eq!(decide(&skipped, true, true), Decision::Empty("volume policy 1".into()));
    }

    #[test]
    fn namespaces_wait_for_their_last_volume() {
        let mut waiting = BTreeMap::from([(Arc::from("a"), 2), (Arc::from("b"), 1)]);
        settle(&mut waiting, "a");
        settle(&mut waiting, "b");
        assert_eq!(waiting.keys().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
        settle(&mut waiting, "a");
        settle(&mut waiting, "a");
        assert!(waiting.is_empty());
    }
}
