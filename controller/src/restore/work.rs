//! One restore that is under way: what everybody who works on it is given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use api::Restore;
use api::archive::VolumeRecord;
use api::restore::{HookDone, RestoreSpec};
use api::selection::Kind;
use serde_json::Value;
use tokio::time::Instant;

use super::hooks::{Expected, Hooks};
use super::plan::{Item, Plan};
use super::refusal::awaited_namespace;
use super::requests;
use super::rewrite::Circumstances;
use super::source::Source;
use super::stop::Stop;
use super::tally::Tally;
use crate::cluster::kinds::Found;
use crate::cluster::list;
use crate::context::{Context, is_passing};
use crate::issues::Issues;

/// One restore that is under way.
pub struct Work {
    /// What every part of the controller is given.
    pub context: Arc<Context>,
    /// The Restore.
    pub restore: Arc<Restore>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The Backup's name.
    pub backup: String,
    /// The backup.
    pub source: Arc<Source>,
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// What objects are rewritten for.
    pub circumstances: Circumstances,
    /// Hooks of the Restore.
    pub hooks: Hooks,
    /// What went wrong or is worth knowing.
    pub issues: Arc<Issues>,
    /// How far it is.
    pub tally: Arc<Tally>,
    /// Whether it is to stop.
    pub stop: Stop,
    /// The kinds that this cluster serves.
    pub found: RwLock<Found>,
    /// What happened so far.
    pub known: Mutex<Known>,
}

/// What happened so far, as far as others must know it.
#[derive(Default)]
pub struct Known {
    /// Kinds in the version that is used here, by resource; none for one that is not served.
    pub kinds: HashMap<Arc<str>, Option<Kind>>,
    /// The UIDs of owners here, by those of the backup; none for one that is not here.
    pub uids: HashMap<Box<str>, Option<Box<str>>>,
    /// Objects whose owners come after them.
    pub orphans: Vec<(usize, Vec<Value>)>,
    /// Rollouts that are to be paused once they have pods.
    pub to_pause: Vec<usize>,
    /// Claims that this restore has made, by their places.
    pub claims: BTreeSet<usize>,
    /// Claims without their data: namespace here, and name.
    pub empty_claims: BTreeSet<(String, String)>,
    /// Pods whose own volumes are to be filled.
    pub pods: Vec<usize>,
    /// Workloads whose pods have hooks.
    pub expected: Vec<Expected>,
    /// Hooks that have run, each with its pod.
    pub hooks_done: Vec<HookDone>,
    /// Objects that cannot be made yet.
    pub postponed: BTreeMap<usize, Refusal>,
    /// Namespaces here that were met while they were being deleted, and when first.
    pub going: BTreeMap<String, Instant>,
}

/// Why an object was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In one word.
    pub reason: &'static str,
    /// What the server said.
    pub message: String,
}

impl Work {
    /// What was asked for.
    pub fn spec(&self) -> &RestoreSpec {
        &self.restore.spec
    }

    /// What happened so far.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object of the plan.
    pub fn item(&self, place: usize) -> &Item {
        &self.plan.items[place]
    }

    /// The name that an object gets.
    pub fn target_name(&self, item: &Item) -> String {
        item.target_name(&self.circumstances.mapping).to_owned()
    }

    /// RESOURCE/NAMESPACE/NAME of an object as it is here.
    pub fn about(&self, item: &Item) -> String {
        item.about(&self.circumstances.mapping)
    }

    /// When a namespace was first met while it was being deleted: now, unless it was before.
    pub fn going_since(&self, namespace: &str) -> Instant {
        *self
            .known()
            .going
            .entry(namespace.to_owned())
            .or_insert_with(Instant::now)
    }

    /// How long an object has waited that was refused for this reason and is tried since `began`. A namespace that is being deleted is waited for once, not once for
    /// every object that goes into it.
    pub fn waited(&self, item: &Item, reason: &str, began: Instant) -> Duration {
        let name = self.target_name(item);
        awaited_namespace(reason, &item.facts.resource, &item.target, &name)
            .map_or(began, |namespace| self.going_since(namespace))
            .elapsed()
    }

    /// The kind of a resource, in the version that this cluster prefers; none when it is not served.
    pub fn served(&self, resource: &str) -> Option<Kind> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.by_resource(resource).cloned()
    }

    /// The kind of a resource of the backup in the version that is used here: the one that the backup has, if it is served, otherwise the one that this cluster
    /// prefers. None when the kind is not served at all.
    pub async fn kind(&self, resource: &Arc<str>) -> Option<Kind> {
        if let Some(Some(kind)) = self.known().kinds.get(resource) {
            return Some(kind.clone());
        }
        let of_backup = self.plan.kinds.get(resource)?.clone();
        let of_version = of_backup.version.clone();
        let kind = match self.served(resource) {
            Some(here) if here.version == of_backup.version => Some(here),
            Some(here) if requests::serves(&self.context.client, &of_backup).await => Some(Kind {
                version: of_backup.version,
                ..here
            }),
            Some(here) => Some(here),
            None => None,
        };
        let before = self.known().kinds.insert(Arc::clone(resource), kind.clone());
        // Many ask at once; one says it.
        if let Some(here) = kind
            .as_ref()
            .filter(|here| here.version != of_version && !matches!(before, Some(Some(_))))
        {
            self.issues.warning(
                "VersionChanged",
                resource.to_string(),
                format!(
                    "{of_version} is not served here; {} is used, which may have other fields",
                    here.api_version()
                ),
            );
        }
        kind
    }

    /// An object as it is here; the server is asked again while it is busy.
    ///
    /// # Errors
    /// What the server says.
    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> kube::Result<Option<Value>> {
        let mut pause = Duration::from_millis(200);
        for _ in 0..60 {
            match list::get(&self.context.client, kind, namespace, name).await {
                Err(error) if is_passing(&error) && !self.stop.is_asked() => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                other => return other,
            }
        }
        list::get(&self.context.client, kind, namespace, name).await
    }

    /// The records of the volumes whose data comes back into a claim, or into a pod's own volumes.
    pub fn claim_record(&self, namespace: &str, claim: &str) -> Option<&VolumeRecord> {
        let source = api::archive::claim_source(namespace, claim);
        self.source.volumes.iter().find(|record| record.source == source)
    }

    /// The record of a claim, if data of volumes is wanted.
    fn wanted_record(&self, item: &Item) -> Option<&VolumeRecord> {
        let is_wanted = &*item.facts.resource == "persistentvolumeclaims" && self.spec().restore_volumes;
        self.claim_record(&item.facts.namespace, &item.facts.name)
            .filter(|_| is_wanted)
    }

    /// Whether an object is a claim whose data comes back.
    pub fn claim_has_data(&self, item: &Item) -> bool {
        self.wanted_record(item)
            .is_some_and(|record| record.snapshot_id.is_some())
    }

    /// Whether an object is a claim that is not to be used before its data is there, or that of another backup.
    pub fn claim_awaits(&self, item: &Item) -> bool {
        self.wanted_record(item)
            .is_some_and(|record| record.snapshot_id.is_some() || record.error.is_some())
    }

    /// Whether an object is a claim, or a pod, whose data comes back.
    pub fn has_data(&self, item: &Item) -> bool {
        let is_pod = &*item.facts.resource == "pods";
        self.claim_has_data(item) || (is_pod && !self.pod_records(&item.facts.namespace, &item.facts.name).is_empty())
    }

    /// The records of a pod's own volumes that have data.
    pub fn pod_records(&self, namespace: &str, pod: &str) -> Vec<&VolumeRecord> {
        let start = format!("pods/{namespace}/{pod}/");
        let records = self
            .source
            .volumes
            .iter()
            .filter(|record| record.source.starts_with(&start));
        let wanted = self.spec().restore_volumes;
        records
            .filter(|record| wanted && record.snapshot_id.is_some())
            .collect()
    }
}
