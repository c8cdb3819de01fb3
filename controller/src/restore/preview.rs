//! What a restore would do to which object, as a line of JSON each: for dry runs.

use std::sync::Arc;

use api::Restore;
use api::words;
use axum::body::Bytes;
use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;

use super::diff::{Difference, comparable, differences};
use super::existing::{Handling, handling, is_merged};
use super::fields::{annotation, text};
use super::plan::{Fate, Item};
use super::prepare::preview;
use super::rewrite::{Circumstances, rewrite};
use super::work::Work;
use crate::context::{Context, say};
use crate::server::Output;

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    action: &'static str,
    resource: String,
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
}

/// Gives the lines, in the order of the backup's paths; an error ends them.
pub async fn plan_lines(context: Arc<Context>, restore: Arc<Restore>, output: Output) {
    if let Err(why) = lines(&context, &restore, &output).await {
        let _ = output.send(Err(std::io::Error::other(why))).await;
    }
}

async fn lines(context: &Arc<Context>, restore: &Arc<Restore>, output: &Output) -> Result<(), String> {
    let work = preview(context, restore).await?;
    let gone = || "nobody reads any more".to_owned();
    for item in work.plan.items.iter().filter(|item| item.fate != Fate::Restored) {
        let reason = match item.fate {
            Fate::Unwanted(rule) => rule.text(),
            Fate::Omitted(omission) => omission.text(),
            Fate::Restored => continue,
        };
        output
            .send(Ok(encode(&line(&work, item, "skip", reason.to_owned(), Vec::new()))))
            .await
            .map_err(|_| gone())?;
    }
    let here = work.circumstances.here();
    let places = work.plan.restored().map(|(place, _)| place).collect();
    let receiver = work.source.feed(&work.plan, places);
    let objects = futures::stream::unfold(receiver, |mut receiver| async {
        let object = receiver.recv().await?;
        Some((object, receiver))
    });
    let at_once = context.args.parallel_requests.max(1);
    let made = objects.map(|object| async {
        let (place, content) = object.map_err(|error| format!("{error:#}"))?;
        compare(&work, place, &content, &here).await
    });
    let mut made = std::pin::pin!(made.buffered(at_once));
    while let Some(line) = made.next().await {
        output.send(Ok(encode(&line?))).await.map_err(|_| gone())?;
    }
    Ok(())
}

fn encode(line: &Line) -> Bytes {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    Bytes::from(bytes)
}

fn line(work: &Work, item: &Item, action: &'static str, reason: String, differences: Vec<Difference>) -> Line {
    Line {
        action,
        resource: item.facts.resource.to_string(),
        namespace: item.target.to_string(),
        name: work.target_name(item),
        reason,
        differences,
    }
}

/// What would become of one object.
async fn compare(work: &Work, place: usize, content: &[u8], here: &Circumstances) -> Result<Line, String> {
    let item = work.item(place);
    let resource = &item.facts.resource;
    let object: Value =
        serde_json::from_slice(content).map_err(|error| format!("{} is no JSON: {error}", work.about(item)))?;
    let rewritten = rewrite(resource, object, &work.circumstances);
    let notes: Vec<String> = rewritten.notes.iter().map(|note| note.message.clone()).collect();
    let notes = notes.join("; ");
    let Some(kind) = work.kind(resource).await else {
        // Its definition may be in the backup, too.
        return Ok(line(work, item, "create", notes, Vec::new()));
    };
    let existing = work.get(&kind, &item.target, &work.target_name(item)).await;
    let Some(existing) = existing.map_err(|error| format!("{}: {}", work.about(item), say(&error)))? else {
        return Ok(line(work, item, "create", notes, Vec::new()));
    };
    if text(&existing, "/metadata/deletionTimestamp").is_some() {
        return Ok(line(
            work,
            item,
            "create",
            "the one that is here is being deleted".to_owned(),
            Vec::new(),
        ));
    }
    if annotation(&existing, words::RESTORE_UID) == Some(&work.uid) {
        return Ok(line(
            work,
            item,
            "unchanged",
            "this restore has made it".to_owned(),
            Vec::new(),
        ));
    }
    let has_data = work.claim_has_data(item);
    let awaits = has_data && annotation(&existing, words::AWAITS_DATA).is_some();
    let found = differences(
        resource,
        &comparable(&rewritten.object),
        &comparable(&rewrite(resource, existing, here).object),
    );
    let policy = work.spec().existing_resource_policy;
    let conflicts = !is_merged(resource) && (work.has_data(item) || !found.is_empty());
    let (action, reason) = match handling(policy, resource, has_data) {
        _ if policy == api::restore::ExistingPolicy::Fail && conflicts => {
            ("conflict", "it is here, and existingResourcePolicy is Fail")
        }
        Handling::Recreate if has_data || !found.is_empty() => ("recreate", ""),
        _ if awaits => (
            "update",
            "it awaits its data since an earlier restore, and gets it unless a pod mounts it",
        ),
        _ if found.is_empty() => ("unchanged", if has_data { "its data stays as it is" } else { "" }),
        Handling::Leave => ("skip", "it is here and stays as it is"),
        Handling::Update => ("update", ""),
        Handling::Merge => ("update", "what it lacks is added, what it has stays"),
        Handling::Recreate => ("unchanged", ""),
    };
    Ok(line(work, item, action, reason.to_owned(), found))
}
