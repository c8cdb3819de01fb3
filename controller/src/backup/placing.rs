//! Where a claim can be held that no running pod mounts.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Api, Client};
use serde_json::Value;

use super::work::Work;
use crate::cluster::kinds::{Found, discover};
use crate::cluster::list::{list, nodes};
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
    let seen = &mut *work.seen.lock().await;
    let found = match &seen.found {
        Some(found) => Arc::clone(found),
        None => match discover(client).await {
            Ok(found) => Arc::clone(seen.found.insert(Arc::new(found))),
            Err(_) => return Placing::default(),
        },
    };
    if !seen.workloads.contains_key(namespace) {
        let workloads = workloads(client, &found, namespace).await;
        seen.workloads.insert(namespace.to_owned(), workloads);
    }
    let mut workloads = seen.workloads.get(namespace).into_iter().flatten();
    let Some((object, path)) = workloads.find(|(object, path)| mounts(object, path, claim)) else {
        return Placing::default();
    };
    if seen.nodes.is_none() {
        seen.nodes = nodes(client, &found).await.ok();
    }
    let placing = Placing::of(object, path);
    match &seen.nodes {
        Some(nodes) => placing.among(nodes).0,
        None => placing,
    }
}

/// What was looked at once, for all claims of a backup that no running pod mounts.
#[derive(Default)]
pub(super) struct Seen {
    found: Option<Arc<Found>>,
    nodes: Option<Nodes>,
    /// Workloads that mount claims, by namespace, each with the path of its template.
    workloads: HashMap<String, Vec<(Value, &'static str)>>,
}

/// The workloads of a namespace that mount claims: templates before the pods that were made of them.
async fn workloads(client: &Client, served: &Found, namespace: &str) -> Vec<(Value, &'static str)> {
    let mut found = Vec::new();
    for kind in &served.kinds {
        let Some(path) = template_path(&kind.resource()) else {
            continue;
        };
        let mut of_kind = Vec::new();
        let listed = list(client, kind, namespace, |page| {
            let mounting = page.into_iter().filter(|object| mounts_any(object, path));
            of_kind.extend(mounting.map(|object| (object, path)));
        });
        if listed.await.is_ok() {
            found.extend(of_kind);
        }
    }
    found.sort_by_key(|(_, path)| path.is_empty());
    found
}
