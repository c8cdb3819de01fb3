//! Definitions of kinds, and API services.

use serde_json::{Value, json};

use super::super::fields::{is_true, items_mut, remove, set};
use super::super::mapping::Mapping;
use super::admission::map_namespace;

/// A definition that keeps unknown fields the old way does so the new way: version 1 refuses the old.
pub fn definition(definition: &mut Value, mapping: &Mapping) {
    map_namespace(
        definition,
        "/spec/conversion/webhook/clientConfig/service/namespace",
        mapping,
    );
    if is_true(definition, "/spec/preserveUnknownFields") {
        remove(definition, "/spec/preserveUnknownFields");
        for version in items_mut(definition, "/spec/versions") {
            if version.pointer("/schema/openAPIV3Schema/type").is_none() {
                set(version, &["schema", "openAPIV3Schema", "type"], json!("object"));
            }
            set(
                version,
                &["schema", "openAPIV3Schema", "x-kubernetes-preserve-unknown-fields"],
                json!(true),
            );
        }
    }
}

/// An API service is found in a namespace.
pub fn api_service(service: &mut Value, mapping: &Mapping) {
    map_namespace(service, "/spec/service/namespace", mapping);
}
