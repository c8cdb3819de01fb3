//! Which volume is read, through which pod, and which rule says so. Pure: what there is is given.

use std::collections::{BTreeMap, BTreeSet};

use api::archive::{VolumeRecord, claim_source, pod_source};
use api::backup::{BackupSpec, VolumeAction, VolumePolicy};
use api::selection::{Globs, selects};
use api::words;

use super::facts::{ClaimFacts, PodFacts, PodVolume, VolumeFacts};

/// Volumes that hold no data of their own: the API has it.
const FROM_THE_API: &[&str] = &["secret", "configMap", "projected", "downwardAPI", "image"];

/// A volume, what is done with it, and through whom it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What is recorded: source, action, reason.
    pub record: VolumeRecord,
    /// The pod through which it is read, by its place in the list; none when it is not read, or nobody mounts it.
    pub pod: Option<usize>,
    /// The folder that the kubelet has for it.
    pub folder: String,
    /// The path on the node of a hostPath volume.
    pub host_path: Option<String>,
}

/// What there is.
pub struct Cluster<'a> {
    /// All pods of the namespaces that are looked at.
    pub pods: &'a [PodFacts],
    /// All claims of these namespaces.
    pub claims: &'a [ClaimFacts],
    /// PersistentVolumes by name.
    pub volumes: &'a BTreeMap<String, VolumeFacts>,
    /// Pods that the backup saves: namespace and name.
    pub pods_saved: &'a BTreeSet<(String, String)>,
    /// Claims that the backup saves.
    pub claims_saved: &'a BTreeSet<(String, String)>,
}

/// Chooses for every volume of the objects that the backup saves, in the order of their sources.
///
/// # Errors
/// Says what is wrong with a policy.
pub fn choose(spec: &BackupSpec, cluster: &Cluster<'_>) -> Result<Vec<Choice>, String> {
    let mut policies = Vec::with_capacity(spec.volume_policies.len());
    for policy in &spec.volume_policies {
        policies.push(Policy::new(policy)?);
    }
    let mut choices = Vec::new();
    let saved = |namespace: &str, name: &str| cluster.claims_saved.contains(&(namespace.to_owned(), name.to_owned()));
    for claim in cluster
        .claims
        .iter()
        .filter(|claim| saved(&claim.namespace, &claim.name))
    {
        choices.push(of_claim(spec, &policies, cluster, claim));
    }
    for (place, pod) in cluster.pods.iter().enumerate() {
        if !cluster.pods_saved.contains(&(pod.namespace.clone(), pod.name.clone())) {
            continue;
        }
        for volume in &pod.volumes {
            if volume.claim.is_none() && !FROM_THE_API.contains(&volume.kind.as_str()) {
                choices.push(of_pod(spec, &policies, place, pod, volume));
            }
        }
    }
    choices.sort_by(|left, right| left.record.source.cmp(&right.record.source));
    Ok(choices)
}

struct Policy<'p> {
    policy: &'p VolumePolicy,
    namespaces: Globs,
    classes: Globs,
    drivers: Globs,
}

/// What a policy looks at.
struct Looked<'a> {
    namespace: &'a str,
    class: Option<&'a str>,
    kinds: [&'a str; 2],
    driver: Option<&'a str>,
    labels: Option<&'a BTreeMap<String, String>>,
}

impl<'p> Policy<'p> {
    fn new(policy: &'p VolumePolicy) -> Result<Self, String> {
        Ok(Self {
            policy,
            namespaces: Globs::new(&policy.namespaces, &[])?,
            classes: Globs::new(&policy.storage_classes, &[])?,
            drivers: Globs::new(&policy.csi_drivers, &[])?,
        })
    }

    fn fits(&self, looked: &Looked<'_>) -> bool {
        let policy = self.policy;
        let kinds = &policy.volume_types;
        self.namespaces.matches(looked.namespace)
            && (policy.storage_classes.is_empty() || looked.class.is_some_and(|class| self.classes.matches(class)))
            && (policy.csi_drivers.is_empty() || looked.driver.is_some_and(|driver| self.drivers.matches(driver)))
            && (kinds.is_empty()
                || looked
                    .kinds
                    .iter()
                    .any(|kind| kinds.iter().any(|wanted| wanted == kind)))
            && policy
                .claim_labels
                .as_ref()
                .is_none_or(|selector| looked.labels.is_some() && selects(selector, looked.labels))
    }
}

fn by_policy(policies: &[Policy<'_>], looked: &Looked<'_>) -> Option<(VolumeAction, String)> {
    let (place, policy) = policies.iter().enumerate().find(|(_, policy)| policy.fits(looked))?;
    Some((policy.policy.action, format!("volume policy {}", place + 1)))
}

/// Whether a pod's annotation names a volume.
fn names(pod: &PodFacts, word: &str, volume: &str) -> bool {
    let list = words::value(Some(&pod.annotations), word).unwrap_or_default();
    list.split(',').any(|name| name.trim() == volume)
}

fn of_claim(spec: &BackupSpec, policies: &[Policy<'_>], cluster: &Cluster<'_>, claim: &ClaimFacts) -> Choice {
    let volume = cluster.volumes.get(&claim.volume);
    let kind = volume.map_or("", |volume| volume.kind.as_str());
    let mounting: Vec<(usize, &PodFacts, &PodVolume)> = cluster
        .pods
        .iter()
        .enumerate()
        .filter(|(_, pod)| pod.namespace == claim.namespace)
        .filter_map(|(place, pod)| {
            let volume = pod
                .volumes
                .iter()
                .find(|volume| volume.claim.as_deref() == Some(&claim.name))?;
            Some((place, pod, volume))
        })
        .collect();
    let annotated = |word: &str| mounting.iter().find(|(_, pod, volume)| names(pod, word, &volume.name));
    let looked = Looked {
        namespace: &claim.namespace,
        class: claim.storage_class.as_deref(),
        kinds: ["persistentVolumeClaim", kind],
        driver: volume.and_then(|volume| volume.driver.as_deref()),
        labels: Some(&claim.labels),
    };
    let host_path = volume.and_then(|volume| volume.host_path.clone());
    let (action, reason) = if !spec.snapshot_volumes {
        (VolumeAction::Skip, "the backup saves no data of volumes".to_owned())
    } else if !claim.bound {
        (
            VolumeAction::Skip,
            "the claim is not bound to a volume: there is no data yet".to_owned(),
        )
    } else if let Some(decided) = by_policy(policies, &looked) {
        decided
    } else if let Some((_, pod, _)) = annotated(words::VOLUMES_EXCLUDED) {
        (
            VolumeAction::Skip,
            format!("annotation of pod {} excludes it", pod.name),
        )
    } else if let Some((_, pod, _)) = annotated(words::VOLUMES) {
        (
            VolumeAction::FsBackup,
            format!("annotation of pod {} includes it", pod.name),
        )
    } else if host_path.is_some() {
        (
            VolumeAction::Skip,
            "it is a folder of its node (hostPath), which is saved only when asked for".to_owned(),
        )
    } else if spec.default_volumes_to_fs_backup {
        (VolumeAction::FsBackup, "default".to_owned())
    } else {
        (
            VolumeAction::Skip,
            "only volumes that are asked for are saved".to_owned(),
        )
    };
    // Of the pods that run, one that is saved itself is taken first: its hooks run.
    let is_saved = |pod: &PodFacts| cluster.pods_saved.contains(&(pod.namespace.clone(), pod.name.clone()));
    let reader = mounting
        .iter()
        .filter(|(_, pod, _)| pod.running && pod.node.is_some())
        .min_by_key(|(_, pod, _)| (!is_saved(pod), &pod.name))
        .filter(|_| action == VolumeAction::FsBackup);
    let is_ephemeral = mounting.iter().any(|(_, _, volume)| volume.kind == "ephemeral");
    Choice {
        record: VolumeRecord {
            source: claim_source(&claim.namespace, &claim.name),
            namespace: claim.namespace.clone(),
            claim: Some(claim.name.clone()),
            pod: reader.map(|(_, pod, _)| pod.name.clone()),
            volume: reader.map(|(_, _, volume)| volume.name.clone()),
            persistent_volume: Some(claim.volume.clone()).filter(|name| !name.is_empty()),
            storage_class: claim.storage_class.clone(),
            mode: claim.mode,
            action,
            reason: if is_ephemeral {
                format!("{reason} (ephemeral)")
            } else {
                reason
            },
            ..VolumeRecord::default()
        },
        pod: reader.map(|(place, _, _)| *place),
        folder: claim.volume.clone(),
        host_path,
    }
}

fn of_pod(spec: &BackupSpec, policies: &[Policy<'_>], place: usize, pod: &PodFacts, volume: &PodVolume) -> Choice {
    let looked = Looked {
        namespace: &pod.namespace,
        class: None,
        kinds: [volume.kind.as_str(), ""],
        driver: None,
        labels: None,
    };
    let (action, reason) = if !spec.snapshot_volumes {
        (VolumeAction::Skip, "the backup saves no data of volumes".to_owned())
    } else if !pod.running {
        (VolumeAction::Skip, "its pod does not run".to_owned())
    } else if let Some(decided) = by_policy(policies, &looked) {
        decided
    } else if names(pod, words::VOLUMES_EXCLUDED, &volume.name) {
        (VolumeAction::Skip, "annotation of its pod excludes it".to_owned())
    } else if names(pod, words::VOLUMES, &volume.name) {
        (VolumeAction::FsBackup, "annotation of its pod includes it".to_owned())
    } else if volume.kind != "emptyDir" {
        let why = format!(
            "it is no claim ({}) and lives outside the cluster: it is saved only when asked for",
            volume.kind
        );
        (VolumeAction::Skip, why)
    } else if pod.controlled {
        (
            VolumeAction::Skip,
            "it belongs to a pod that its controller makes anew, with an empty one".to_owned(),
        )
    } else if spec.default_volumes_to_fs_backup {
        (VolumeAction::FsBackup, "default".to_owned())
    } else {
        (
            VolumeAction::Skip,
            "only volumes that are asked for are saved".to_owned(),
        )
    };
    Choice {
        record: VolumeRecord {
            source: pod_source(&pod.namespace, &pod.name, &volume.name),
            namespace: pod.namespace.clone(),
            pod: Some(pod.name.clone()),
            volume: Some(volume.name.clone()),
            action,
            reason,
            ..VolumeRecord::default()
        },
        pod: Some(place).filter(|_| action == VolumeAction::FsBackup),
        folder: volume.name.clone(),
        host_path: volume.host_path.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, running: bool, annotations: serde_json::Value) -> PodFacts {
        PodFacts::of(&json!({
            "metadata": { "namespace": "web", "name": name, "uid": name, "annotations": annotations,
                "ownerReferences": if name.contains("controlled") { json!([{ "controller": true }]) } else { json!([]) } },
            "spec": { "nodeName": "node1", "volumes": [
                { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "scratch", "emptyDir": {} },
                { "name": "logs", "hostPath": { "path": "/var/log" } },
                { "name": "token", "projected": {} },
                { "name": "config", "configMap": { "name": "x" } } ] },
            "status": { "phase": if running { "Running" } else { "Pending" } }
        }))
    }

    fn claim(bound: bool) -> ClaimFacts {
        ClaimFacts::of(&json!({
            "metadata": { "namespace": "web", "name": "data" },
            "spec": { "volumeName": "pv-1", "storageClassName": "fast" },
            "status": { "phase": if bound { "Bound" } else { "Pending" } }
        }))
    }

    fn chosen(
        spec: &BackupSpec,
        pods: &[PodFacts],
        claim: &ClaimFacts,
    ) -> BTreeMap<String, (bool, String, Option<usize>)> {
        let volumes = BTreeMap::from([(
            "pv-1".to_owned(),
            VolumeFacts::of(
                &json!({ "metadata": { "name": "pv-1" }, "spec": { "capacity": {}, "csi": { "driver": "x" } } }),
            ),
        )]);
        let cluster = Cluster {
            pods,
            claims: std::slice::from_ref(claim),
            volumes: &volumes,
            pods_saved: &pods
                .iter()
                .map(|pod| (pod.namespace.clone(), pod.name.clone()))
                .collect(),
            claims_saved: &BTreeSet::from([("web".to_owned(), "data".to_owned())]),
        };
        let choices = choose(spec, &cluster).unwrap();
        let facts = |choice: Choice| {
            (
                choice.record.source,
                (
                    choice.record.action == VolumeAction::FsBackup,
                    choice.record.reason,
                    choice.pod,
                ),
            )
        };
        choices.into_iter().map(facts).collect()
    }

    fn spec() -> BackupSpec {
        serde_json::from_value(json!({})).unwrap()
    }

    #[test]
    fn claims_are_read_by_default_through_a_running_pod_and_host_paths_only_when_asked_for() {
        let found = chosen(
            &spec(),
            &[pod("b", false, json!({})), pod("a", true, json!({}))],
            &claim(true),
        );
        assert_eq!(found["claims/web/data"], (true, "default".into(), Some(1)));
        assert!(found["pods/web/a/scratch"].0);
        assert!(!found["pods/web/a/logs"].0 && !found["pods/web/b/scratch"].0);
        assert_eq!(found.len(), 5);
        let asked = pod("a", true, json!({ "backup.velero.io/backup-volumes": "data, logs" }));
        assert!(chosen(&spec(), &[asked], &claim(true))["pods/web/a/logs"].0);
    }

    #[test]
    fn nobody_mounts_it_then_it_is_held_and_unbound_claims_have_no_data() {
        assert_eq!(
            chosen(&spec(), &[], &claim(true))["claims/web/data"],
            (true, "default".into(), None)
        );
        let unbound = chosen(&spec(), &[], &claim(false));
        assert!(!unbound["claims/web/data"].0 && unbound["claims/web/data"].1.contains("not bound"));
    }

    #[test]
    fn policies_go_before_annotations_and_these_before_the_default() {
        let excluded = pod("a", true, json!({ "ararat.dev/backup-volumes-excludes": "data" }));
        assert!(!chosen(&spec(), std::slice::from_ref(&excluded), &claim(true))["claims/web/data"].0);
        let policy = VolumePolicy {
            storage_classes: vec!["fa*".into()],
            ..VolumePolicy::default()
        };
        let with = BackupSpec {
            volume_policies: vec![policy],
            ..spec()
        };
        let found = chosen(&with, &[excluded], &claim(true));
        assert_eq!(found["claims/web/data"], (true, "volume policy 1".into(), Some(0)));
        let opt_in = BackupSpec {
            default_volumes_to_fs_backup: false,
            ..spec()
        };
        assert!(!chosen(&opt_in, &[pod("a", true, json!({}))], &claim(true))["claims/web/data"].0);
        let none = BackupSpec {
            snapshot_volumes: false,
            ..spec()
        };
        assert!(
            chosen(&none, &[pod("a", true, json!({}))], &claim(true))
                .values()
                .all(|(saved, _, _)| !saved)
        );
    }

    #[test]
    fn empty_folders_of_pods_that_are_made_anew_are_left() {
        let found = chosen(&spec(), &[pod("controlled", true, json!({}))], &claim(true));
        assert!(!found["pods/web/controlled/scratch"].0);
        assert!(found["claims/web/data"].0);
    }
}
