//! Services: addresses and ports that the cluster has chosen are chosen anew; what a person has chosen stays.

use serde_json::Value;

use super::super::fields::{annotation, items_mut, remove, text};
use super::super::mapping::Mapping;

/// See above.
pub fn service(service: &mut Value, preserve_node_ports: bool, mapping: &Mapping) {
    // Headless services say so themselves.
    if text(service, "/spec/clusterIP") != Some("None") {
        remove(service, "/spec/clusterIP");
        remove(service, "/spec/clusterIPs");
    }
    if let Some(Value::String(host)) = service.pointer_mut("/spec/externalName") {
        *host = mapping.host(host);
    }
    let managed = remove(service, "/metadata/managedFields").unwrap_or_default();
    if preserve_node_ports {
        return;
    }
    let applied: Value = annotation(service, "kubectl.kubernetes.io/last-applied-configuration")
        .and_then(|applied| serde_json::from_str(applied).ok())
        .unwrap_or_default();
    for port in items_mut(service, "/spec/ports") {
        if !is_chosen(&applied, port) && !is_owned(&managed, port) {
            remove(port, "/nodePort");
        }
    }
    // A null there is no choice.
    let applied = applied.pointer("/spec/healthCheckNodePort").and_then(Value::as_i64);
    let owned = owners(&managed).any(|fields| fields.pointer("/f:spec/f:healthCheckNodePort").is_some());
    if applied.unwrap_or_default() == 0 && !owned {
        remove(service, "/spec/healthCheckNodePort");
    }
}

/// What each of those who have written the spec owns of it. What the API server has chosen nobody owns.
fn owners(managed: &Value) -> impl Iterator<Item = &Value> {
    let entries = managed.as_array().into_iter().flatten();
    entries
        .filter(|entry| text(entry, "/subresource").unwrap_or_default().is_empty())
        .filter_map(|entry| entry.pointer("/fieldsV1"))
}

/// Whether somebody owns the node port: he has sent it, by whatever tool (Helm and server-side apply leave no annotation). A port is known by its number and protocol there.
fn is_owned(managed: &Value, port: &Value) -> bool {
    let protocol = text(port, "/protocol").unwrap_or("TCP");
    let is_same = |key: &str| {
        let key: Option<Value> = key.strip_prefix("k:").and_then(|key| serde_json::from_str(key).ok());
        key.is_some_and(|key| {
            key.get("port") == port.get("port") && text(&key, "/protocol").unwrap_or("TCP") == protocol
        })
    };
    owners(managed).any(|fields| {
        let ports = fields.pointer("/f:spec/f:ports").and_then(Value::as_object);
        ports
            .into_iter()
            .flatten()
            .any(|(key, owned)| is_same(key) && owned.get("f:nodePort").is_some())
    })
}

/// Whether a person has chosen the node port: what was last applied says so of the port of this name, or number.
fn is_chosen(applied: &Value, port: &Value) -> bool {
    let same = |other: &&Value| {
        let protocol = |port: &Value| text(port, "/protocol").unwrap_or("TCP").to_owned();
        match (text(other, "/name"), text(port, "/name")) {
            (Some(one), Some(two)) => one == two,
            _ => other.get("port") == port.get("port") && protocol(other) == protocol(port),
        }
    };
    let ports = super::super::fields::items(applied, "/spec/ports");
    ports.filter(same).any(|other| {
        other
            .get("nodePort")
            .and_then(Value::as_i64)
            .is_some_and(|number| number > 0)
    })
}

/// Lets the cluster choose every node port, because one of them is taken.
pub fn free_ports(service: &mut Value) {
    for port in items_mut(service, "/spec/ports") {
        remove(port, "/nodePort");
    }
    remove(service, "/spec/healthCheckNodePort");
}

/// Lets the cluster choose the families of addresses, because it has not those that are asked for.
pub fn free_families(service: &mut Value) {
    for path in ["/spec/ipFamilies", "/spec/ipFamilyPolicy", "/spec/clusterIPs"] {
        remove(service, path);
    }
}
