//! Network policies, ingresses, routes, gateways and endpoints.

use serde_json::Value;

use super::super::fields::{annotation, items, items_mut, remove, remove_annotations, text};
use super::super::mapping::Mapping;
use super::Note;

/// The label by which a namespace is chosen by its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// Gives namespaces that a selector names their new names.
pub fn map_selector(selector: &mut Value, mapping: &Mapping) {
    if let Some(Value::String(name)) = selector
        .pointer_mut("/matchLabels")
        .and_then(|labels| labels.get_mut(NAME))
    {
        *name = mapping.namespace(name).to_owned();
    }
    for expression in items_mut(selector, "/matchExpressions") {
        if text(expression, "/key") != Some(NAME) {
            continue;
        }
        for value in items_mut(expression, "/values") {
            if let Value::String(name) = value {
                *name = mapping.namespace(name).to_owned();
            }
        }
    }
}

/// A policy chooses namespaces by their names.
pub fn policy(policy: &mut Value, mapping: &Mapping) {
    for (rules, peers) in [("/spec/ingress", "/from"), ("/spec/egress", "/to")] {
        for rule in items_mut(policy, rules) {
            for peer in items_mut(rule, peers) {
                if let Some(selector) = peer.pointer_mut("/namespaceSelector") {
                    map_selector(selector, mapping);
                }
            }
        }
    }
}

/// An ingress keeps its hosts. Under another namespace it may be the second that wants them, which a person must know.
pub fn ingress(ingress: &mut Value, mapping: &Mapping, notes: &mut Vec<Note>) {
    if !mapping.renames() {
        return;
    }
    let hosts: Vec<&str> = items(ingress, "/spec/rules")
        .filter_map(|rule| text(rule, "/host"))
        .collect();
    if !hosts.is_empty() {
        notes.push(Note {
            reason: "HostKept",
            message: format!(
                "It keeps its hosts ({}): if the original is still there, both want them",
                hosts.join(", ")
            ),
        });
    }
}

/// A route whose host was made up gets another one.
pub fn route(route: &mut Value) {
    const MADE: &str = "openshift.io/host.generated";
    if annotation(route, MADE) == Some("true") {
        remove(route, "/spec/host");
        remove_annotations(route, &[MADE]);
    }
}

/// Gateways, routes and grants name namespaces in many places, always as `namespace`.
pub fn gateway(object: &mut Value, mapping: &Mapping) {
    fn walk(value: &mut Value, mapping: &Mapping) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if let Value::String(namespace) = value {
                        if name == "namespace" {
                            *namespace = mapping.namespace(namespace).to_owned();
                        }
                    } else {
                        walk(value, mapping);
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| walk(value, mapping)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    if let Some(spec) = object.pointer_mut("/spec") {
        walk(spec, mapping);
    }
}

/// Addresses that a person has written down may name what they belong to: under the namespace's new name, and without the UID it had.
pub fn endpoints(endpoints: &mut Value, mapping: &Mapping) {
    remove_annotations(endpoints, &["endpoints.kubernetes.io/last-change-trigger-time"]);
    let target = |target: &mut Value| {
        super::admission::map_namespace(target, "/targetRef/namespace", mapping);
        remove(target, "/targetRef/uid");
        remove(target, "/targetRef/resourceVersion");
    };
    for subset in items_mut(endpoints, "/subsets") {
        items_mut(subset, "/addresses").for_each(target);
        items_mut(subset, "/notReadyAddresses").for_each(target);
    }
    items_mut(endpoints, "/endpoints").for_each(target);
}
