//! Webhooks and policies of admission.

use serde_json::Value;

use super::super::fields::{items_mut, text};
use super::super::mapping::Mapping;
use super::network::map_selector;

/// Webhooks call services by their namespaces, and choose namespaces by their names. Side effects that version 1 does not know any more are none.
pub fn webhooks(configuration: &mut Value, mapping: &Mapping) {
    for webhook in items_mut(configuration, "/webhooks") {
        map_namespace(webhook, "/clientConfig/service/namespace", mapping);
        if let Some(selector) = webhook.pointer_mut("/namespaceSelector") {
            map_selector(selector, mapping);
        }
        let known = matches!(text(webhook, "/sideEffects"), Some("None" | "NoneOnDryRun"));
        if !known {
            super::super::fields::set(webhook, &["sideEffects"], Value::String("None".to_owned()));
        }
    }
}

/// Policies choose namespaces by their names, and find their parameters in one.
pub fn policy(policy: &mut Value, mapping: &Mapping) {
    for path in [
        "/spec/matchConstraints/namespaceSelector",
        "/spec/matchResources/namespaceSelector",
    ] {
        if let Some(selector) = policy.pointer_mut(path) {
            map_selector(selector, mapping);
        }
    }
    map_namespace(policy, "/spec/paramRef/namespace", mapping);
}

/// Gives a namespace at a JSON pointer its new name.
pub fn map_namespace(object: &mut Value, path: &str, mapping: &Mapping) {
    if let Some(Value::String(namespace)) = object.pointer_mut(path) {
        *namespace = mapping.namespace(namespace).to_owned();
    }
}
