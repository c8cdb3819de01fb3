//! Claims that are made anew: what mounts them goes first, or they would never go. Only claims whose data comes back are deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;

use super::super::existing::{self, Handling, handling};
use super::super::order::Tier;
use super::super::plan::Item;
use super::super::work::Work;
use super::users;
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
                    who_mounts(work, item).await
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
async fn who_mounts(work: &Work, item: &Item) -> String {
    match users::mounted(work, &item.target).await {
        Ok(mounted) => match mounted.get(&*item.facts.name) {
            Some(pods) => format!("; it is mounted by {}", pods.join(", ")),
            None => String::new(),
        },
        Err(error) => format!("; who mounts it could not be found out: {}", say(&error)),
    }
}
