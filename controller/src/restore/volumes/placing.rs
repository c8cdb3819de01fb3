//! Where claims are filled: on nodes on which the pods may run that mount them afterwards, as their workloads in the backup say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
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
    let workloads = workloads(&work.plan);
    let found: Vec<Option<usize>> = targets
        .iter()
        .map(|target| {
            let (namespace, claim) = (&*target.record.namespace, target.record.claim.as_deref()?);
            let mut mounting = workloads.iter().filter(|(_, item)| &*item.facts.namespace == namespace);
            mounting
                .find(|(_, item)| item.facts.needs_claim(claim))
                .map(|(place, _)| *place)
        })
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

/// The workloads whose pods mount claims: those that come back before those that do not, and templates before the pods that were made of them.
fn workloads(plan: &Plan) -> Vec<(usize, &Item)> {
    let items = plan.items.iter().enumerate();
    let mut workloads: Vec<(usize, &Item)> = items
        .filter(|(_, item)| template_path(&item.facts.resource).is_some())
        .filter(|(_, item)| item.facts.needs.iter().any(|need| need.resource == CLAIMS))
        .collect();
    workloads.sort_by_key(|(_, item)| (item.fate != Fate::Restored, &*item.facts.resource == "pods"));
    workloads
}

/// Labels of nodes, with the values of those where other claims of the same workload are by now, that had better not meet.
pub async fn taken(work: &Work, target: &Target) -> BTreeMap<String, BTreeSet<String>> {
    let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let Some((_, labels)) = target.placing.apart() else {
        return taken;
    };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(work.context.client.clone(), &target.namespace);
    let every = ListParams::default();
    // It is a wish: who cannot be asked is not avoided.
    let Ok(listed) = steady(|| claims.list_metadata(&every)).await else {
        return taken;
    };
    let siblings = listed
        .items
        .iter()
        .filter(|claim| target.siblings.contains(&claim.name_any()));
    for node in siblings.filter_map(|claim| claim.annotations().get(SELECTED_NODE)) {
        for label in labels {
            if let Some(value) = work.circumstances.nodes.label(node, label) {
                taken.entry(label.clone()).or_default().insert(value.to_owned());
            }
        }
    }
    taken
}
