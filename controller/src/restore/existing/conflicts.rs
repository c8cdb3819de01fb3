//! What keeps a restore with the policy Fail from beginning: objects that exist and are not as the backup has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::super::diff::{comparable, differences};
use super::super::fields::text;
use super::super::plan::Item;
use super::super::rewrite::{Circumstances, rewrite};
use super::super::work::Work;
use super::find;

/// The objects, RESOURCE/NAMESPACE/NAME each, in the order of the backup's paths. What is as in the backup is none of them, unless its data would have to come back;
/// nor is what is merged in any case.
///
/// # Errors
/// When the server does not answer, or the backup cannot be read.
pub async fn conflicts(work: &Arc<Work>) -> Result<Vec<String>> {
    let may_conflict = |item: &Item| !is_merged(&item.facts.resource);
    let found: BTreeMap<usize, String> = find(work, may_conflict).await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let here = work.circumstances.here();
    let receiver = work.source.feed(&work.plan, found.into_keys().collect());
    let objects = futures::stream::unfold(receiver, |mut receiver| async {
        let object = receiver.recv().await?;
        Some((object, receiver))
    });
    let at_once = work.context.args.parallel_requests.max(1);
    let judged = objects.map(|object| async {
        let (place, content) = object.context("The backup could not be read")?;
        let item = work.item(place);
        anyhow::Ok(differs(work, item, &content, &here).await?.then(|| work.about(item)))
    });
    let conflicts: Vec<Option<String>> = judged.buffered(at_once).try_collect().await?;
    Ok(conflicts.into_iter().flatten().collect())
}

/// Accounts are merged, and a namespace is where things go.
pub fn is_merged(resource: &str) -> bool {
    matches!(resource, "namespaces" | "serviceaccounts")
}

async fn differs(work: &Work, item: &Item, content: &[u8], here: &Circumstances) -> kube::Result<bool> {
    if work.has_data(item) {
        return Ok(true);
    }
    let resource = &item.facts.resource;
    // One that cannot be read is told when its turn comes.
    let (Ok(object), Some(kind)) = (serde_json::from_slice::<Value>(content), work.kind(resource).await) else {
        return Ok(false);
    };
    let Some(existing) = work.get(&kind, &item.target, &work.target_name(item)).await? else {
        return Ok(false);
    };
    let plain = rewrite(resource, object, &work.circumstances).object;
    let is_going = text(&existing, "/metadata/deletionTimestamp").is_some();
    let existing = rewrite(resource, existing, here).object;
    Ok(is_going || !differences(resource, &comparable(&plain), &comparable(&existing)).is_empty())
}
