//! PersistentVolumes that nobody provisions, and storage classes.

use serde_json::Value;

use super::super::fields::{self, map_mut, remove_all, remove_annotations};
use super::super::mapping::Mapping;
use super::{Circumstances, Note};

/// A volume waits for the claim that it was bound to, by name: the claim is a new one.
pub fn volume(volume: &mut Value, mapping: &Mapping) {
    remove_annotations(volume, &["pv.kubernetes.io/bound-by-controller"]);
    remove_all(volume, &["/spec/claimRef/uid", "/spec/claimRef/resourceVersion"]);
    if let Some(Value::String(class)) = volume.pointer_mut("/spec/storageClassName") {
        *class = mapping.class(class).to_owned();
    }
    if let Some(Value::String(namespace)) = volume.pointer_mut("/spec/claimRef/namespace") {
        *namespace = mapping.namespace(namespace).to_owned();
    }
    // The secrets of drivers are named with their namespaces.
    if let Some(driver) = map_mut(volume, "/spec/csi") {
        for secret in driver.values_mut() {
            if let Some(Value::String(namespace)) = secret.pointer_mut("/namespace") {
                *namespace = mapping.namespace(namespace).to_owned();
            }
        }
    }
}

const DEFAULTS: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// A class names the secrets of its driver with their namespaces; and there is one default only.
pub fn class(class: &mut Value, circumstances: &Circumstances, notes: &mut Vec<Note>) {
    if let Some(parameters) = map_mut(class, "/parameters") {
        for (name, value) in parameters {
            if let Value::String(namespace) = value
                && name.ends_with("-secret-namespace")
            {
                *namespace = circumstances.mapping.namespace(namespace).to_owned();
            }
        }
    }
    let is_default = DEFAULTS
        .iter()
        .any(|word| fields::annotation(class, word) == Some("true"));
    if let Some(other) = circumstances
        .default_class
        .as_deref()
        .filter(|other| is_default && *other != fields::name(class))
    {
        notes.push(Note {
            reason: "DefaultClass",
            message: format!("It was the default storage class; here {other} is, and stays it"),
        });
        remove_annotations(class, DEFAULTS);
    }
}
