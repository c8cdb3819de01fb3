//! Where a claim can be held that no running pod mounts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::work::Work;
use crate::cluster::kinds::discover;
use crate::cluster::list::list;
use crate::cluster::nodes::Nodes;
use crate::context::steady;
use crate::volumes::workload::{Placing, mounts, mounts_any, template_path};

/// Where the volume of a claim can be had: where the volume itself says so, on whatever nodes these are; otherwise where the workload may run whose pods would mount
/// it. What cannot be looked at says nothing: then the scheduler chooses among all nodes.
pub(super) async fn of_claim(work: &Work, namespace: &str, claim: &str, volume: &str) -> Placing {
    let client = &work.context.client;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let found = steady(|| volumes.get_opt(volume)).await.ok().flatten();
    let is_bound_to_nodes = found.is_some_and(|volume| volume.spec.is_some_and(|spec| spec.node_affinity.is_some()));
    if is_bound_to_nodes {
        return Placing::everywhere();
    }
    let workloads = workloads(work, namespace).await;
    let mounting = workloads.iter().find(|(object, path)| mounts(object, path, claim));
    let Some((object, path)) = mounting else {
        return Placing::default();
    };
    let mut nodes = Nodes::default();
    let all: Api<Node> = Api::all(client.clone());
    let every = ListParams::default();
    let listed = steady(|| all.list_metadata(&every)).await;
    // Who may not list them does not know, and then every one may fit.
    for node in listed.into_iter().flat_map(|listed| listed.items) {
        nodes.add(&json!({ "metadata": node.metadata }));
    }
    Placing::of(object, path).among(&nodes).0
}

/// Workloads of a namespace that mount claims, each with the path of its template.
pub(super) type Workloads = Arc<Vec<(Value, &'static str)>>;

/// The workloads of a namespace, which are looked at once: templates before the pods that were made of them.
async fn workloads(work: &Work, namespace: &str) -> Workloads {
    let mut known = work.workloads.lock().await;
    if let Some(known) = known.get(namespace) {
        return Arc::clone(known);
    }
    let mut found = Vec::new();
    if let Ok(served) = discover(&work.context.client).await {
        for kind in &served.kinds {
            let Some(path) = template_path(&kind.resource()) else {
                continue;
            };
            let mut of_kind = Vec::new();
            let listed = list(&work.context.client, kind, namespace, |page| {
                of_kind.extend(
                    page.into_iter()
                        .filter(|object| mounts_any(object, path))
                        .map(|object| (object, path)),
                );
            });
            if listed.await.is_ok() {
                found.extend(of_kind);
            }
        }
    }
    found.sort_by_key(|(_, path)| path.is_empty());
    let found = Arc::new(found);
    known.insert(namespace.to_owned(), Arc::clone(&found));
    found
}
