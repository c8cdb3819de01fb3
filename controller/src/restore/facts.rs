//! What the plan keeps of an object: facts, not its body. A hundred thousand objects are planned in some tens of megabytes. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use api::selection::{Rule, Selection};
use serde_json::Value;

use super::fields::{is_true, items, text, texts};
use super::rules::{self, Omission};
use crate::cluster::nodes::Nodes;
use crate::volumes::workload::{is_numbered, template_path};

/// An object of the backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// `deployments.apps`.
    pub resource: Arc<str>,
    /// Its namespace in the backup; empty for none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its UID in the backup.
    pub uid: Box<str>,
    /// Who owned it.
    pub owners: Box<[Owner]>,
    /// What it cannot be without.
    pub needs: Box<[Reference]>,
    /// It is needed with these.
    pub needed_by: Box<[Reference]>,
    /// What the selection says.
    pub rule: Rule,
    /// The rule by which it is left out by itself.
    pub omission: Option<Omission>,
    /// The PersistentVolume of a claim.
    pub volume: Option<Box<str>>,
    /// Whether it is a service that chooses pods by their labels.
    pub has_selector: bool,
}

/// Who owned an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its API group.
    pub group: Box<str>,
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its UID in the backup.
    pub uid: Box<str>,
    /// Whether it is the one that controls it.
    pub controls: bool,
}

/// Another object. A name that ends with `-*` means all that have a number there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `deployments.apps`.
    pub resource: &'static str,
    /// Its namespace; empty for none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Reference {
    /// Whether it means the object of this name.
    pub fn means(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => is_numbered(name, beginning),
            None => *self.name == *name,
        }
    }
}

impl Facts {
    /// Whether it mounts, or its pods mount, a claim of its namespace.
    pub fn needs_claim(&self, claim: &str) -> bool {
        self.needs
            .iter()
            .any(|need| need.resource == CLAIMS && need.namespace == self.namespace && need.means(claim))
    }
}

/// Names that occur again and again are kept once.
#[derive(Default)]
pub struct Names(HashSet<Arc<str>>);

impl Names {
    /// The one that is kept.
    pub fn keep(&mut self, name: &str) -> Arc<str> {
        if let Some(kept) = self.0.get(name) {
            return Arc::clone(kept);
        }
        let kept: Arc<str> = Arc::from(name);
        self.0.insert(Arc::clone(&kept));
        kept
    }
}

/// What is looked at in every object.
pub struct Looked<'a> {
    /// What the user wants.
    pub selection: &'a Selection,
    /// Its kind.
    pub kind: &'a api::selection::Kind,
    /// The namespace of the installation.
    pub installation: &'a str,
    /// Whether a namespace is named by the Restore or by the Backup.
    pub is_named: &'a dyn Fn(&str) -> bool,
    /// The nodes of this cluster.
    pub nodes: &'a Nodes,
}

impl Facts {
    /// Of an object as the backup has it.
    pub fn of(resource: &Arc<str>, namespace: &Arc<str>, name: &str, object: &Value, looked: &Looked<'_>) -> Self {
        let labels = texts(object, "/metadata/labels");
        let rule = if &**resource == "namespaces" {
            of_namespace(looked, name, &labels)
        } else {
            looked.selection.judge(looked.kind, namespace, name, Some(&labels))
        };
        let within = if &**resource == "namespaces" { name } else { namespace };
        let omission = if rules::is_system(within, looked.installation) && !(looked.is_named)(within) {
            Some(Omission::SystemNamespace)
        } else {
            rules::omits(resource, namespace, object).or_else(|| {
                let affinity = object
                    .pointer("/spec/nodeAffinity/required")
                    .filter(|_| &**resource == "persistentvolumes")?;
                (!looked.nodes.fit(affinity)).then_some(Omission::VolumeElsewhere)
            })
        };
        let (needs, needed_by) = relations(resource, namespace, name, object);
        Self {
            resource: Arc::clone(resource),
            namespace: Arc::clone(namespace),
            name: name.into(),
            uid: text(object, "/metadata/uid").unwrap_or_default().into(),
            owners: items(object, "/metadata/ownerReferences").map(Owner::of).collect(),
            needs: needs.into(),
            needed_by: needed_by.into(),
            rule,
            omission,
            volume: (&**resource == "persistentvolumeclaims")
                .then(|| {
                    text(object, "/spec/volumeName")
                        .filter(|name| !name.is_empty())
                        .map(Into::into)
                })
                .flatten(),
            has_selector: &**resource == "services"
                && object
                    .pointer("/spec/selector")
                    .and_then(Value::as_object)
                    .is_some_and(|selector| !selector.is_empty()),
        }
    }
}

/// RESOURCE/NAMESPACE/NAME, for issues.
pub fn about(resource: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        format!("{resource}/{name}")
    } else {
        format!("{resource}/{namespace}/{name}")
    }
}

/// A namespace itself is meant when its name is, unless labels or names choose among objects: then it comes with what is in it.
fn of_namespace(looked: &Looked<'_>, name: &str, labels: &std::collections::BTreeMap<String, String>) -> Rule {
    let selection = looked.selection;
    if api::words::is_excluded(Some(labels)) {
        Rule::ExcludeLabel
    } else if !selection.namespaces.matches(name) {
        Rule::Namespace
    } else if !selection.kinds.matches(looked.kind) {
        Rule::Kind
    } else if !selection.selectors.is_empty() {
        Rule::Labels
    } else if !selection.names.is_everything() {
        Rule::Name
    } else {
        Rule::Selected
    }
}

impl Owner {
    fn of(owner: &Value) -> Self {
        let group = text(owner, "/apiVersion")
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group);
        let part = |path: &str| text(owner, path).unwrap_or_default().into();
        Self {
            group: group.into(),
            kind: part("/kind"),
            name: part("/name"),
            uid: part("/uid"),
            controls: is_true(owner, "/controller"),
        }
    }
}

const CLAIMS: &str = "persistentvolumeclaims";

/// What an object needs, and what it is needed by.
fn relations(resource: &str, namespace: &Arc<str>, name: &str, object: &Value) -> (Vec<Reference>, Vec<Reference>) {
    let none: Arc<str> = Arc::from("");
    let one = |resource: &'static str, namespace: &Arc<str>, name: &str| Reference {
        resource,
        namespace: Arc::clone(namespace),
        name: name.into(),
    };
    let mut needs = Vec::new();
    let mut need = |resource: &'static str, name: Option<&str>| {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let within = if resource == CLAIMS || resource == "roles.rbac.authorization.k8s.io" {
                namespace
            } else {
                &none
            };
            needs.push(one(resource, within, name));
        }
    };
    if let Some(path) = template_path(resource)
        && let Some(template) = object.pointer(path)
    {
        need(
            "priorityclasses.scheduling.k8s.io",
            text(template, "/spec/priorityClassName"),
        );
        need("runtimeclasses.node.k8s.io", text(template, "/spec/runtimeClassName"));
        for volume in items(template, "/spec/volumes") {
            need(CLAIMS, text(volume, "/persistentVolumeClaim/claimName"));
        }
        for claim in items(object, "/spec/volumeClaimTemplates") {
            need("storageclasses.storage.k8s.io", text(claim, "/spec/storageClassName"));
            let called = format!("{}-{name}-*", super::fields::name(claim));
            need(CLAIMS, Some(&called));
        }
    }
    let mut needed_by = Vec::new();
    match resource {
        CLAIMS => {
            need("storageclasses.storage.k8s.io", text(object, "/spec/storageClassName"));
            need("persistentvolumes", text(object, "/spec/volumeName"));
        }
        "persistentvolumes" => need("storageclasses.storage.k8s.io", text(object, "/spec/storageClassName")),
        "ingresses.networking.k8s.io" => need(
            "ingressclasses.networking.k8s.io",
            text(object, "/spec/ingressClassName"),
        ),
        "gateways.gateway.networking.k8s.io" => {
            need(
                "gatewayclasses.gateway.networking.k8s.io",
                text(object, "/spec/gatewayClassName"),
            );
        }
        "clusterrolebindings.rbac.authorization.k8s.io" | "rolebindings.rbac.authorization.k8s.io" => {
            let role = match text(object, "/roleRef/kind") {
                Some("Role") => "roles.rbac.authorization.k8s.io",
                _ => "clusterroles.rbac.authorization.k8s.io",
            };
            need(role, text(object, "/roleRef/name"));
            for subject in items(object, "/subjects").filter(|subject| text(subject, "/kind") == Some("ServiceAccount"))
            {
                let within = text(subject, "/namespace").map_or_else(|| Arc::clone(namespace), Arc::from);
                needed_by.push(one(
                    "serviceaccounts",
                    &within,
                    super::fields::text(subject, "/name").unwrap_or_default(),
                ));
            }
        }
        _ => {}
    }
    (needs, needed_by)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(resource: &str, namespace: &str, object: &Value) -> Facts {
        let selection = Selection::of_restore(&api::RestoreSpec::default()).unwrap();
        let kind = api::selection::Kind {
            plural: resource.split('.').next().unwrap().into(),
            namespaced: !namespace.is_empty(),
            ..api::selection::Kind::default()
        };
        let looked = Looked {
            selection: &selection,
            kind: &kind,
            installation: "ararat",
            is_named: &|name| name == "kube-public",
            nodes: &Nodes::default(),
        };
        Facts::of(&Arc::from(resource), &Arc::from(namespace), "x", object, &looked)
    }

    #[test]
    fn workloads_need_their_claims_and_classes() {
        let set = json!({ "spec": {
            "template": { "spec": { "priorityClassName": "high", "volumes": [{ "name": "a", "persistentVolumeClaim": { "claimName": "shared" } }] } },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "storageClassName": "fast" } }] } });
        let names: Vec<String> = facts("statefulsets.apps", "db", &set)
            .needs
            .iter()
            .map(|need| format!("{} {}", need.resource, need.name))
            .collect();
        assert_eq!(
            names,
            [
                "priorityclasses.scheduling.k8s.io high",
                "persistentvolumeclaims shared",
                "storageclasses.storage.k8s.io fast",
                "persistentvolumeclaims data-x-*"
            ]
        );
    }

    #[test]
    fn bindings_go_with_the_accounts_that_they_bind() {
        let binding = json!({ "roleRef": { "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "ServiceAccount", "name": "app", "namespace": "web" }, { "kind": "User", "name": "jane" }] });
        let facts = facts("clusterrolebindings.rbac.authorization.k8s.io", "", &binding);
        assert_eq!(
            (&*facts.needs[0].name, &*facts.needed_by[0].name, facts.needed_by.len()),
            ("view", "app", 1)
        );
    }

    #[test]
    fn system_namespaces_come_back_only_when_they_are_named() {
        let omission = |namespace: &str| facts("configmaps", namespace, &json!({})).omission;
        assert_eq!(omission("kube-system"), Some(Omission::SystemNamespace));
        assert_eq!(omission("ararat"), Some(Omission::SystemNamespace));
        assert_eq!([omission("kube-public"), omission("web")], [None, None]);
    }
}
