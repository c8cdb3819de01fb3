//! Who mounts a claim: the pods of its namespace as they are now.

use std::collections::BTreeMap;

use api::words;
use serde_json::Value;

use super::super::fields::{name, text};
use super::super::work::Work;
use crate::cluster::list::list;
use crate::context::is_not_found;
use crate::volumes::facts::PodFacts;

/// The claims of a namespace that pods mount, each with the names of these; pods of ours that hold one are none of them.
///
/// # Errors
/// What the server says.
pub async fn mounted(work: &Work, namespace: &str) -> kube::Result<BTreeMap<String, Vec<String>>> {
    let mut mounted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(pods) = work.served("pods") else {
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
        Err(error) if !is_not_found(&error) => Err(error),
        Ok(()) | Err(_) => Ok(mounted),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
