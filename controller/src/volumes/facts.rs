//! What the API says of pods, claims and volumes, as far as backups of their data need it. Pure.

use std::collections::BTreeMap;

use api::volume::VolumeMode;
use serde_json::Value;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The node it is on.
    pub node: Option<String>,
    /// It runs, and is not about to end.
    pub running: bool,
    /// Another object makes it anew when it is gone.
    pub controlled: bool,
    /// Its volumes.
    pub volumes: Vec<PodVolume>,
}

/// A volume of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodVolume {
    /// Its name in the pod.
    pub name: String,
    /// What it is: the name of its source, e.g. persistentVolumeClaim or emptyDir.
    pub kind: String,
    /// The claim, if it is one.
    pub claim: Option<String>,
    /// The path on the node, if it is one.
    pub host_path: Option<String>,
}

/// A claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It has a volume.
    pub bound: bool,
    /// That volume.
    pub volume: String,
    /// Its storage class.
    pub storage_class: Option<String>,
    /// How it is used.
    pub mode: VolumeMode,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Its name.
    pub name: String,
    /// What it is: the name of its source, e.g. csi, nfs, local.
    pub kind: String,
    /// The driver of a CSI volume.
    pub driver: Option<String>,
    /// The path on the node of a hostPath volume.
    pub host_path: Option<String>,
}

/// A text somewhere in an object.
pub fn text<'v>(object: &'v Value, path: &str) -> Option<&'v str> {
    object.pointer(path)?.as_str()
}

/// A map of texts somewhere in an object, e.g. its labels.
pub fn map(object: &Value, path: &str) -> BTreeMap<String, String> {
    let pairs = object.pointer(path).and_then(Value::as_object);
    let pairs = pairs.into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn owned(object: &Value, path: &str) -> String {
    text(object, path).unwrap_or_default().to_owned()
}

impl PodFacts {
    /// Of a pod as the API gives it.
    pub fn of(pod: &Value) -> Self {
        let name = owned(pod, "/metadata/name");
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        Self {
            namespace: owned(pod, "/metadata/namespace"),
            uid: owned(pod, "/metadata/uid"),
            labels: map(pod, "/metadata/labels"),
            annotations: map(pod, "/metadata/annotations"),
            node: text(pod, "/spec/nodeName").map(str::to_owned),
            running: text(pod, "/status/phase") == Some("Running")
                && pod.pointer("/metadata/deletionTimestamp").is_none(),
            controlled: owners
                .into_iter()
                .flatten()
                .any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true)),
            volumes: volumes
                .into_iter()
                .flatten()
                .map(|volume| PodVolume::of(&name, volume))
                .collect(),
            name,
        }
    }
}

impl PodVolume {
    fn of(pod: &str, volume: &Value) -> Self {
        let name = owned(volume, "/name");
        let kind = volume
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .find(|key| *key != "name");
        let claim = match kind {
            Some("persistentVolumeClaim") => text(volume, "/persistentVolumeClaim/claimName").map(str::to_owned),
            // The claim of an ephemeral volume is named after its pod and itself.
            Some("ephemeral") => Some(format!("{pod}-{name}")),
            _ => None,
        };
        Self {
            claim,
            host_path: text(volume, "/hostPath/path").map(str::to_owned),
            // A volume without a source is an emptyDir.
            kind: kind.unwrap_or("emptyDir").to_owned(),
            name,
        }
    }
}

impl ClaimFacts {
    /// Of a claim as the API gives it.
    pub fn of(claim: &Value) -> Self {
        Self {
            namespace: owned(claim, "/metadata/namespace"),
            name: owned(claim, "/metadata/name"),
            labels: map(claim, "/metadata/labels"),
            bound: text(claim, "/status/phase") == Some("Bound"),
            volume: owned(claim, "/spec/volumeName"),
            storage_class: text(claim, "/spec/storageClassName").map(str::to_owned),
            mode: match text(claim, "/spec/volumeMode") {
                Some("Block") => VolumeMode::Block,
                _ => VolumeMode::Filesystem,
            },
        }
    }
}

impl VolumeFacts {
    /// Of a PersistentVolume as the API gives it.
    pub fn of(volume: &Value) -> Self {
        const OTHERS: &[&str] = &[
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeAttributesClassName",
            "volumeMode",
        ];
        let spec = volume.pointer("/spec").and_then(Value::as_object);
        let kind = spec
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .find(|key| !OTHERS.contains(key));
        Self {
            name: owned(volume, "/metadata/name"),
            kind: kind.unwrap_or_default().to_owned(),
            driver: text(volume, "/spec/csi/driver").map(str::to_owned),
            host_path: text(volume, "/spec/hostPath/path").map(str::to_owned),
        }
    }
}
