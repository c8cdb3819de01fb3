//! In which fields two objects differ: for dry runs, and for what is said of objects that exist. Pure.

use serde::Serialize;
use serde_json::Value;

use super::fields;

/// Fields that are listed at most.
const FIELDS_MAX: usize = 40;
/// Characters of a value that are shown at most.
const VALUE_MAX: usize = 200;
/// What is shown of a secret's value.
const HIDDEN: &str = "(hidden)";

/// A field in which two objects differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its path, e.g. `spec.template.spec.containers[0].image`.
    pub field: String,
    /// What the backup has; null when it has nothing there.
    pub backup: Value,
    /// What the cluster has.
    pub cluster: Value,
}

/// The fields in which two objects differ, in the order of their names. Of secrets it is only said that they do.
pub fn differences(resource: &str, backup: &Value, cluster: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(&mut String::new(), backup, cluster, &mut found);
    let secret = resource == "secrets";
    for difference in &mut found {
        // What was last applied has everything once more.
        let hides = secret
            && (["data", "stringData", "metadata.annotations"]
                .iter()
                .any(|field| difference.field.starts_with(field)));
        for value in [&mut difference.backup, &mut difference.cluster] {
            if hides && !value.is_null() {
                *value = Value::String(HIDDEN.to_owned());
            } else {
                shorten(value);
            }
        }
    }
    found
}

/// The fields in a line, for people.
pub fn summary(differences: &[Difference]) -> String {
    const SHOWN: usize = 5;
    let mut fields: Vec<&str> = differences
        .iter()
        .map(|difference| difference.field.as_str())
        .take(SHOWN)
        .collect();
    let more = differences.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    if fields.is_empty() {
        fields.push("nothing");
    }
    format!("{}{more}", fields.join(", "))
}

fn walk(path: &mut String, backup: &Value, cluster: &Value, found: &mut Vec<Difference>) {
    if found.len() >= FIELDS_MAX || same(backup, cluster) {
        return;
    }
    let length = path.len();
    match (backup, cluster) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut names: Vec<&String> = ours
                .keys()
                .chain(theirs.keys().filter(|name| !ours.contains_key(*name)))
                .collect();
            names.sort_unstable();
            for name in names {
                // A name with dots, as labels have, is put in brackets.
                if name.contains('.') || name.contains('/') {
                    path.push_str(&format!("[{name}]"));
                } else {
                    path.push_str(if length == 0 { "" } else { "." });
                    path.push_str(name);
                }
                let side = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                walk(path, &side(ours), &side(theirs), found);
                path.truncate(length);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            for place in 0..ours.len().max(theirs.len()) {
                path.push_str(&format!("[{place}]"));
                let side = |list: &[Value]| list.get(place).cloned().unwrap_or_default();
                walk(path, &side(ours), &side(theirs), found);
                path.truncate(length);
            }
        }
        _ => found.push(Difference {
            field: path.clone(),
            backup: backup.clone(),
            cluster: cluster.clone(),
        }),
    }
}

/// Nothing, an empty map and an empty list are the same to the API server.
fn same(one: &Value, other: &Value) -> bool {
    one == other || (is_empty(one) && is_empty(other))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(Value::is_null),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn shorten(value: &mut Value) {
    let text = match value {
        Value::String(text) => std::mem::take(text),
        Value::Object(_) | Value::Array(_) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) => return,
    };
    let short: String = text.chars().take(VALUE_MAX).collect();
    *value = Value::String(if short.len() < text.len() {
        format!("{short}…")
    } else {
        text
    });
}

/// What two objects are compared by: version, kind and what the cluster alone writes say nothing.
pub fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    fields::remove_all(
        &mut object,
        &["/apiVersion", "/kind", "/metadata/namespace", "/metadata/finalizers"],
    );
    fields::remove_annotations(
        &mut object,
        &[
            "kubectl.kubernetes.io/last-applied-configuration",
            api::words::RESTORE_UID,
        ],
    );
    if let Some(labels) = fields::map_mut(&mut object, "/metadata/labels") {
        labels.retain(|name, _| name != api::words::RESTORE_NAME && name != api::words::BACKUP_NAME);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_differ_are_named_with_both_sides() {
        let backup = json!({ "metadata": { "labels": { "app.kubernetes.io/name": "a" } }, "spec": { "replicas": 2, "containers": [{ "image": "a:1" }], "empty": {} } });
        let cluster = json!({ "metadata": { "labels": {} }, "spec": { "replicas": 3, "containers": [{ "image": "a:2" }, { "image": "b" }] } });
        let found = differences("deployments.apps", &backup, &cluster);
        let fields: Vec<&str> = found.iter().map(|difference| difference.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "metadata.labels[app.kubernetes.io/name]",
                "spec.containers[0].image",
                "spec.containers[1]",
                "spec.replicas"
            ]
        );
        assert_eq!((&found[3].backup, &found[3].cluster), (&json!(2), &json!(3)));
        assert!(summary(&found).ends_with("spec.replicas"));
    }

    #[test]
    fn of_secrets_it_is_only_said_that_they_differ() {
        let secret = |value: &str| json!({ "data": { "password": value }, "metadata": { "annotations": { "last": value } }, "type": "Opaque" });
        let found = differences("secrets", &secret("aHVudGVyMg=="), &secret("b3RoZXI="));
        assert_eq!(found.len(), 2);
        let text = serde_json::to_string(&found).unwrap_or_default();
        assert!(!text.contains("aHVudGVyMg") && !text.contains("b3RoZXI") && text.contains(HIDDEN));
    }

    #[test]
    fn long_values_and_long_lists_end_somewhere() {
        let many = |value: &str| {
            Value::Object(
                (0..100)
                    .map(|number| (format!("f{number}"), json!(value.repeat(500))))
                    .collect(),
            )
        };
        let found = differences(
            "configmaps",
            &json!({ "data": many("a") }),
            &json!({ "data": many("b") }),
        );
        assert_eq!(found.len(), FIELDS_MAX);
        assert!(
            found[0]
                .backup
                .as_str()
                .is_some_and(|text| text.chars().count() <= VALUE_MAX + 1)
        );
    }
}
