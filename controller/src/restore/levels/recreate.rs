//! Claims that are made anew: what mounts them goes first, or they would never go. Only claims whose data comes back are deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;

use super::super::existing::{self, Handling, handling};
use super::super::order::Tier;
use super::super::plan::Item;
use super::super::work::Work;
use crate::context::say;

/// Deletes existing claims whose data comes back, and before them the workloads of their namespaces that are restored as well. Everything else is made anew when its turn
/// comes.
///
/// # Errors
/// What the server says.
pub async fn clear(work: &Arc<Work>) -> Result<()> {
    let is_anew = |item: &Item| {
        item.level.tier == Tier::Claims
            && handling(
                work.spec().existing_resource_policy,
                &item.facts.resource,
                work.claim_has_data(item),
            ) == Handling::Recreate
    };
    let claims = existing::find(work, is_anew).await?;
    if claims.is_empty() {
        return Ok(());
    }
    let namespaces: BTreeSet<Arc<str>> = claims
        .keys()
        .map(|place| Arc::clone(&work.item(*place).target))
        .collect();
    let workloads = existing::find(work, |item| {
        item.level.tier == Tier::Workloads && namespaces.contains(&item.target)
    })
    .await?;
    work.tally.set_step("Claims");
    for (places, with_dependents) in [(&workloads, true), (&claims, false)] {
        for (place, uid) in places {
            if work.stop.is_asked() {
                return Ok(());
            }
            let item = work.item(*place);
            let Some(kind) = work.kind(&item.facts.resource).await else {
                continue;
            };
            work.issues
                .log(&format!("{}: deleted, to be made anew", work.about(item)));
            let removed = existing::remove(work, &kind, &item.target, &item.facts.name, uid, with_dependents).await;
            if let Err(refusal) = removed {
                let who = if item.level.tier == Tier::Claims {
                    users(work, item).await
                } else {
                    String::new()
                };
                work.issues
                    .error(refusal.reason, work.about(item), format!("{}{who}", refusal.message));
            }
        }
    }
    Ok(())
}

/// The pods that mount a claim, for people.
async fn users(work: &Work, item: &Item) -> String {
    let pods = work
        .found
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .by_resource("pods")
        .cloned();
    let Some(pods) = pods else { return String::new() };
    let mut users = Vec::new();
    let listed = crate::cluster::list::list(&work.context.client, &pods, &item.target, |page| {
        let mounts = |pod: &&serde_json::Value| {
            let facts = crate::volumes::facts::PodFacts::of(pod);
            facts
                .volumes
                .iter()
                .any(|volume| volume.claim.as_deref() == Some(&*item.facts.name))
        };
        users.extend(
            page.iter()
                .filter(mounts)
                .map(|pod| super::super::fields::name(pod).to_owned()),
        );
    });
    match listed.await {
        Ok(()) if users.is_empty() => String::new(),
        Ok(()) => format!("; it is mounted by {}", users.join(", ")),
        Err(error) => format!("; who mounts it could not be found out: {}", say(&error)),
    }
}
