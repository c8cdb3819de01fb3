//! The ground that everything else stands on: definitions that are served, and namespaces that take objects.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::fields::{items, text};
use super::super::plan::Fate;
use super::super::refusal::{Verdict, judge};
use super::super::requests;
use super::super::rewrite::stamp;
use super::super::work::Work;
use crate::cluster::kinds::discover;
use crate::context::say;

/// How long a definition may take until it is served.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// How long a namespace that is being deleted is waited for.
const GONE_WITHIN: Duration = Duration::from_secs(600);

/// Finds out anew which kinds there are.
///
/// # Errors
/// What the server says.
pub async fn rediscover(work: &Work) -> Result<()> {
    let found = discover(&work.context.client).await?;
    *work.found.write().unwrap_or_else(std::sync::PoisonError::into_inner) = found;
    work.known().kinds.retain(|_, kind| kind.is_some());
    Ok(())
}

/// Waits until the definitions at these places are served.
///
/// # Errors
/// What the server says.
pub async fn definitions(work: &Work, places: &[usize]) -> Result<()> {
    let until = Instant::now() + SERVED_WITHIN;
    for place in places {
        let item = work.item(*place);
        if work.known().postponed.contains_key(place) {
            continue;
        }
        let Some(kind) = work.kind(&item.facts.resource).await else {
            break;
        };
        loop {
            match work.get(&kind, "", &item.facts.name).await? {
                // It was refused, which was said.
                None => break,
                Some(definition) if is_established(&definition) => break,
                Some(definition) if Instant::now() > until => {
                    work.issues
                        .error("NotEstablished", work.about(item), trouble(&definition));
                    break;
                }
                Some(_) => {}
            }
            if work.stop.sleep(Duration::from_millis(200)).await.is_err() {
                return Ok(());
            }
        }
    }
    // What is established is served a moment later.
    let mut pause = Duration::from_millis(100);
    loop {
        rediscover(work).await?;
        let served = |place: &usize| {
            let found = work.found.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            found.by_resource(&work.item(*place).facts.name).is_some()
        };
        if places.iter().all(served) || Instant::now() > until {
            return Ok(());
        }
        if work.stop.sleep(pause).await.is_err() {
            return Ok(());
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn is_established(definition: &Value) -> bool {
    items(definition, "/status/conditions")
        .any(|condition| text(condition, "/type") == Some("Established") && text(condition, "/status") == Some("True"))
}

fn trouble(definition: &Value) -> String {
    let messages: Vec<&str> = items(definition, "/status/conditions")
        .filter(|condition| text(condition, "/status") == Some("False"))
        .filter_map(|condition| text(condition, "/message"))
        .collect();
    if messages.is_empty() {
        "It is not served, and nothing says why".to_owned()
    } else {
        messages.join("; ")
    }
}

/// Makes the namespaces that objects go into and that the backup does not have, or not under that name.
pub async fn namespaces(work: &Work) {
    let mapping = &work.circumstances.mapping;
    let made: std::collections::BTreeSet<&str> = work
        .plan
        .items
        .iter()
        .filter(|item| &*item.facts.resource == "namespaces" && item.fate == Fate::Restored)
        .map(|item| item.target_name(mapping))
        .collect();
    let Some(kind) = work.served("namespaces") else { return };
    for name in work.plan.namespaces.iter().filter(|name| !made.contains(&***name)) {
        let mut namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": &**name } });
        stamp(&mut namespace, &work.backup, &work.name, &work.uid);
        let mut since = Instant::now();
        loop {
            let Err(error) = requests::create(&work.context.client, &kind, "", &namespace).await else {
                break;
            };
            let verdict = judge(&error);
            let is_going = match verdict {
                Verdict::Exists => {
                    matches!(work.get(&kind, "", name).await, Ok(Some(found)) if text(&found, "/metadata/deletionTimestamp").is_some())
                }
                Verdict::Busy | Verdict::NotYet(_) => true,
                Verdict::FreePorts | Verdict::FreeFamilies | Verdict::Never(_) => {
                    work.issues
                        .error("NamespaceNotMade", format!("namespaces/{name}"), say(&error));
                    break;
                }
            };
            if !is_going {
                break;
            }
            if matches!(verdict, Verdict::Exists | Verdict::NotYet("StillBeingDeleted")) {
                // What goes into it waits no longer than this, all in all.
                since = work.going_since(name);
            }
            if since.elapsed() > GONE_WITHIN {
                work.issues
                    .error("NamespaceNotMade", format!("namespaces/{name}"), say(&error));
                break;
            }
            if work.stop.sleep(Duration::from_millis(500)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_served_when_they_are_established() {
        let definition = |kind: &str, status: &str| json!({ "status": { "conditions": [{ "type": kind, "status": status, "message": "names conflict" }] } });
        assert!(is_established(&definition("Established", "True")));
        assert!(!is_established(&definition("NamesAccepted", "True")));
        assert_eq!(trouble(&definition("NamesAccepted", "False")), "names conflict");
    }
}
