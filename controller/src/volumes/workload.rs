//! What a workload says of its pods, as far as volumes need it: which claims they mount, and where they may run. Pure.
//!
//! A claim that waits for its first consumer is bound where that consumer runs, and a volume of one node stays there. A holder pod is that first consumer, so it must be
//! placed as the pods are that mount the claim later: otherwise they find their data on a node that they may not run on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::facts::{map, text};
use crate::cluster::nodes::{HOSTNAME, Nodes};

/// Where the template of a workload's pods is.
pub fn template_path(resource: &str) -> Option<&'static str> {
    match resource {
        "pods" => Some(""),
        "cronjobs.batch" => Some("/spec/jobTemplate/spec/template"),
        "deployments.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "replicasets.apps"
        | "jobs.batch"
        | "replicationcontrollers" => Some("/spec/template"),
        _ => None,
    }
}

/// Whether the pods of a workload mount a claim of their namespace. Their template is at `path`.
pub fn mounts(object: &Value, path: &str, claim: &str) -> bool {
    let named = items(object, &format!("{path}/spec/volumes"))
        .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == Some(claim));
    let set = text(object, "/metadata/name").unwrap_or_default();
    let of_set = || {
        items(object, "/spec/volumeClaimTemplates").any(|template| {
            let start = format!("{}-{set}-", text(template, "/metadata/name").unwrap_or_default());
            is_numbered(claim, &start)
        })
    };
    named || of_set()
}

/// Whether a name is a beginning and a number, as those of the claims of a StatefulSet are.
pub fn is_numbered(name: &str, beginning: &str) -> bool {
    let number = name.strip_prefix(beginning).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the pods of a workload mount any claim. Their template is at `path`.
pub fn mounts_any(object: &Value, path: &str) -> bool {
    let claims = |volume: &Value| volume.pointer("/persistentVolumeClaim").is_some();
    items(object, &format!("{path}/spec/volumes")).any(claims)
        || items(object, "/spec/volumeClaimTemplates").next().is_some()
}

/// Where the pods of a workload may run. What they would merely like is left out, and so is what depends on other workloads: a holder pod must start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placing {
    node_selector: BTreeMap<String, String>,
    node_affinity: Option<Value>,
    tolerations: Vec<Value>,
    /// Which pods stand apart from each other, if they do; the same for all that mount claims of this workload.
    group: Option<String>,
    /// The labels of nodes in which they do, e.g. `kubernetes.io/hostname`.
    apart: BTreeSet<String>,
}

impl Placing {
    /// Of a workload whose template of pods is at `path`.
    pub fn of(object: &Value, path: &str) -> Self {
        let Some(template) = object.pointer(path) else {
            return Self::default();
        };
        let affinity = template.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
        // Whoever runs on every node is bound to each of them by its name, in each pod.
        let by_field = affinity.is_some_and(|affinity| {
            items(affinity, "/nodeSelectorTerms").any(|term| term.pointer("/matchFields").is_some())
        });
        let apart = apart(template);
        let part = |path: &str| text(object, path).unwrap_or_default();
        Self {
            node_selector: map(template, "/spec/nodeSelector"),
            node_affinity: affinity.filter(|_| !by_field).cloned(),
            tolerations: items(template, "/spec/tolerations").cloned().collect(),
            group: (!apart.is_empty()).then(|| format!("{}/{}", part("/kind"), part("/metadata/name"))),
            apart,
        }
    }

    /// Anywhere: of a claim whose volume says itself which nodes can have it.
    pub fn everywhere() -> Self {
        Self {
            tolerations: vec![json!({ "operator": "Exists" })],
            ..Self::default()
        }
    }

    /// The same where some node of the cluster fits; otherwise without what it asks of nodes: its pods wait for one that fits, and its data need not. Says whether
    /// that was so.
    pub fn among(mut self, nodes: &Nodes) -> (Self, bool) {
        let fits = nodes.some(&self.node_selector, self.node_affinity.as_ref());
        if !fits {
            self.node_selector.clear();
            self.node_affinity = None;
        }
        (self, fits)
    }

    /// Which pods stand apart from each other, and in which labels of nodes; none if they need not.
    pub fn apart(&self) -> Option<(&str, &BTreeSet<String>)> {
        Some((self.group.as_deref()?, &self.apart))
    }

    /// Puts it into the spec of a pod. Those that stand apart have the label `group.0` with the value `group.1`; `taken` are nodes' labels, with the values of nodes on which
    /// others of them have been. Both are wishes: with fewer nodes than pods the data comes back all the same.
    pub fn apply(&self, spec: &mut Value, group: (&str, &str), taken: &BTreeMap<String, BTreeSet<String>>) {
        let Some(spec) = spec.as_object_mut() else { return };
        if !self.node_selector.is_empty() {
            spec.insert("nodeSelector".to_owned(), json!(self.node_selector));
        }
        if !self.tolerations.is_empty() {
            spec.insert("tolerations".to_owned(), json!(self.tolerations));
        }
        let mut nodes = serde_json::Map::new();
        if let Some(required) = &self.node_affinity {
            nodes.insert(
                "requiredDuringSchedulingIgnoredDuringExecution".to_owned(),
                required.clone(),
            );
        }
        let avoided: Vec<Value> = taken
            .iter()
            .filter(|(label, values)| self.apart.contains(*label) && !values.is_empty())
            .map(|(label, values)| {
                let free = json!({ "key": label, "operator": "NotIn", "values": values });
                json!({ "weight": 100, "preference": { "matchExpressions": [free] } })
            })
            .collect();
        if !avoided.is_empty() {
            nodes.insert(
                "preferredDuringSchedulingIgnoredDuringExecution".to_owned(),
                json!(avoided),
            );
        }
        let others: Vec<Value> = self
            .apart
            .iter()
            .map(|label| {
                let selector = json!({ "matchLabels": { group.0: group.1 } });
                json!({ "weight": 100, "podAffinityTerm": { "topologyKey": label, "labelSelector": selector } })
            })
            .collect();
        let mut affinity = serde_json::Map::new();
        if !nodes.is_empty() {
            affinity.insert("nodeAffinity".to_owned(), Value::Object(nodes));
        }
        if !others.is_empty() {
            let others = json!({ "preferredDuringSchedulingIgnoredDuringExecution": others });
            affinity.insert("podAntiAffinity".to_owned(), others);
        }
        if !affinity.is_empty() {
            spec.insert("affinity".to_owned(), Value::Object(affinity));
        }
    }
}

/// The labels of nodes in which pods of a template must not meet others of it, or must be spread evenly.
fn apart(template: &Value) -> BTreeSet<String> {
    let labels = map(template, "/metadata/labels");
    let is_self = |selector: Option<&Value>| {
        let selector = selector
            .cloned()
            .and_then(|selector| serde_json::from_value(selector).ok());
        selector.is_some_and(|selector| api::selection::selects(&selector, Some(&labels)))
    };
    let alone = items(
        template,
        "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution",
    )
    .filter(|term| is_self(term.pointer("/labelSelector")));
    let spread = items(template, "/spec/topologySpreadConstraints")
        .filter(|constraint| text(constraint, "/whenUnsatisfiable") != Some("ScheduleAnyway"))
        .filter(|constraint| is_self(constraint.pointer("/labelSelector")));
    alone
        .chain(spread)
        .map(|term| text(term, "/topologyKey").unwrap_or(HOSTNAME).to_owned())
        .collect()
}

fn items<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pods: &Value) -> Value {
        json!({ "kind": "StatefulSet", "metadata": { "name": "web" }, "spec": {
            "volumeClaimTemplates": [{ "metadata": { "name": "data" } }],
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": pods } } })
    }

    #[test]
    fn claims_are_mounted_by_name_and_by_number() {
        let object = set(&json!({ "volumes": [{ "persistentVolumeClaim": { "claimName": "shared" } }] }));
        let claims = [
            "shared",
            "data-web-0",
            "data-web-12",
            "data-web-",
            "data-web-x",
            "data-other-0",
            "other",
        ];
        let mounted = claims.map(|claim| mounts(&object, "/spec/template", claim));
        assert_eq!(mounted, [true, true, true, false, false, false, false]);
    }

    #[test]
    fn what_must_be_is_taken_over_and_what_is_wished_is_not() {
        let required = json!({ "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "disk", "operator": "In", "values": ["fast"] }] }] });
        let object = set(&json!({
            "nodeSelector": { "pool": "data" },
            "tolerations": [{ "key": "only", "operator": "Exists" }],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required, "preferredDuringSchedulingIgnoredDuringExecution": [{}] } },
        }));
        let mut spec = json!({ "containers": [] });
        let placing = Placing::of(&object, "/spec/template");
        placing.apply(&mut spec, ("group", "g"), &BTreeMap::new());
        let expected = json!({
            "containers": [],
            "nodeSelector": { "pool": "data" },
            "tolerations": [{ "key": "only", "operator": "Exists" }],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } },
        });
        assert_eq!((spec, placing.apart()), (expected, None));
        let mut plain = json!({});
        Placing::default().apply(&mut plain, ("group", "g"), &BTreeMap::new());
        assert_eq!(plain, json!({}));
    }

    #[test]
    fn data_does_not_wait_for_a_node_that_is_not_here() {
        let mut nodes = Nodes::default();
        nodes.add(&json!({ "metadata": { "name": "one", "labels": { "pool": "data" } } }));
        let placing = |pool: &str| {
            let object = set(
                &json!({ "nodeSelector": { "pool": pool }, "tolerations": [{ "key": "only", "operator": "Exists" }] }),
            );
            Placing::of(&object, "/spec/template").among(&nodes)
        };
        let (here, fits) = placing("data");
        assert!(fits && !here.node_selector.is_empty());
        let (elsewhere, fits) = placing("of-another-cloud");
        assert!(!fits && elsewhere.node_selector.is_empty() && elsewhere.tolerations.len() == 1);
    }

    #[test]
    fn a_bond_of_one_pod_to_its_node_is_not_that_of_all() {
        let bond = json!({ "nodeSelectorTerms": [{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["one"] }] }] });
        let object =
            set(&json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": bond } } }));
        assert_eq!(Placing::of(&object, "/spec/template"), Placing::default());
    }

    #[test]
    fn pods_that_stand_apart_have_their_claims_apart_as_far_as_there_are_nodes() {
        let term = |app: &str, label: &str| json!({ "topologyKey": label, "labelSelector": { "matchLabels": { "app": app } } });
        let object = set(&json!({
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term("web", HOSTNAME), term("other", "rack")] } },
            "topologySpreadConstraints": [term("web", "zone")],
        }));
        let placing = Placing::of(&object, "/spec/template");
        let labels: BTreeSet<String> = [HOSTNAME.to_owned(), "zone".to_owned()].into();
        assert_eq!(placing.apart(), Some(("StatefulSet/web", &labels)));
        let mut spec = json!({});
        let taken = BTreeMap::from([
            (HOSTNAME.to_owned(), BTreeSet::from(["one".to_owned()])),
            ("rack".to_owned(), BTreeSet::from(["left".to_owned()])),
        ]);
        placing.apply(&mut spec, ("group", "g"), &taken);
        let pods = |label: &str| json!({ "weight": 100, "podAffinityTerm": { "topologyKey": label, "labelSelector": { "matchLabels": { "group": "g" } } } });
        let free = json!({ "key": HOSTNAME, "operator": "NotIn", "values": ["one"] });
        let expected = json!({ "affinity": {
            "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "preference": { "matchExpressions": [free] } }] },
            "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [pods(HOSTNAME), pods("zone")] },
        } });
        assert_eq!(spec, expected);
    }
}
