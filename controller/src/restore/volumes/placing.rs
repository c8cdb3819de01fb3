//! Where claims are filled: on nodes on which the pods may run that mount them afterwards, as their workloads in the backup say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::super::plan::{Fate, Item, Plan};
use super::super::rewrite::rewrite;
use super::super::work::Work;
use super::Target;
use crate::context::steady;
use crate::volumes::workload::{Placing, template_path};

const CLAIMS: &str = "persistentvolumeclaims";
/// Annotation on a claim that waited for its first consumer: the node that was chosen for it.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Finds where the claims of these targets may be.
///
/// # Errors
/// When the backup cannot be read.
pub async fn place(work: &Arc<Work>, targets: &mut [Target]) -> Result<()> {
    let found: Vec<Option<usize>> = targets
        .iter()
        .map(|target| workload(&work.plan, &target.record.namespace, target.record.claim.as_deref()?))
        .collect();
    let places: BTreeSet<usize> = found.iter().flatten().copied().collect();
    let mut placings = HashMap::new();
    let mut objects = work.source.feed(&work.plan, places.into_iter().collect());
    while let Some(object) = objects.recv().await {
        let (place, content) = object.context("The backup could not be read")?;
        let resource = &work.item(place).facts.resource;
        // What is damaged is said when it is made.
        let Ok(object) = serde_json::from_slice::<Value>(&content) else {
            continue;
        };
        let rewritten = rewrite(resource, object, &work.circumstances);
        placings.insert(
            place,
            Placing::of(&rewritten.object, template_path(resource).unwrap_or_default()),
        );
    }
    let mut together: HashMap<usize, BTreeSet<String>> = HashMap::new();
    for (target, place) in targets.iter().zip(&found) {
        if let Some(place) = place {
            together.entry(*place).or_default().insert(target.name.clone());
        }
    }
    for (target, place) in targets.iter_mut().zip(&found) {
        let Some(place) = place else { continue };
        let placing = placings.get(place).cloned().unwrap_or_default();
        let (placing, fits) = placing.among(&work.circumstances.nodes);
        target.placing = placing;
        if !fits {
            let workload = work.about(work.item(*place));
            let message = format!(
                "No node here fits what {workload} asks for (node selector, node affinity): the claim is filled on any node, and its pods wait until they can run"
            );
            work.issues.warning("NoNodeFits", target.about(), message);
        }
        if target.placing.apart().is_some() {
            target.siblings = together.get(place).cloned().unwrap_or_default();
            target.siblings.remove(&target.name);
        }
    }
    Ok(())
}

/// The workload whose pods mount a claim: one that comes back before one that does not, and a template before the pods that were made of it.
fn workload(plan: &Plan, namespace: &str, claim: &str) -> Option<usize> {
    let rank = |item: &Item| (item.fate != Fate::Restored, &*item.facts.resource == "pods");
    let items = plan.items.iter().enumerate();
    let mounting =
        items.filter(|(_, item)| template_path(&item.facts.resource).is_some() && needs(item, namespace, claim));
    mounting.min_by_key(|(_, item)| rank(item)).map(|(place, _)| place)
}

fn needs(item: &Item, namespace: &str, claim: &str) -> bool {
    item.facts.needs.iter().any(|need| {
        let is_meant = match need.name.strip_suffix('*') {
            Some(start) => claim
                .strip_prefix(start)
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())),
            None => *need.name == *claim,
        };
        is_meant && need.resource == CLAIMS && *need.namespace == *namespace
    })
}

/// Labels of nodes, with the values of those where other claims of the same workload are by now, that had better not meet.
pub async fn taken(work: &Work, target: &Target) -> BTreeMap<String, BTreeSet<String>> {
    let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let Some((_, labels)) = target.placing.apart() else {
        return taken;
    };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(work.context.client.clone(), &target.namespace);
    for sibling in &target.siblings {
        // It is a wish: who cannot be asked is not avoided.
        let Ok(claim) = steady(|| claims.get(sibling)).await else {
            continue;
        };
        let Some(node) = claim.annotations().get(SELECTED_NODE) else {
            continue;
        };
        for label in labels {
            if let Some(value) = work.circumstances.nodes.label(node, label) {
                taken.entry(label.clone()).or_default().insert(value.to_owned());
            }
        }
    }
    taken
}
