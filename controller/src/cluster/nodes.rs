//! The nodes of this cluster, as far as pods and volumes name them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// Every node. Without any (the controller may not list nodes) nothing is said to be elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes(Arc<Vec<Node>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    name: String,
    labels: BTreeMap<String, String>,
}

/// The label by which workloads name a node: its host's name, which in most clusters is its own.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

impl Nodes {
    /// Adds a node as the API gives it.
    pub fn add(&mut self, node: &Value) {
        let name = text(node, "/metadata/name").unwrap_or_default().to_owned();
        let pairs = node.pointer("/metadata/labels").and_then(Value::as_object);
        let pairs = pairs.into_iter().flatten();
        let mut labels: BTreeMap<String, String> = pairs
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        labels.entry(HOSTNAME.to_owned()).or_insert_with(|| name.clone());
        Arc::make_mut(&mut self.0).push(Node { name, labels });
    }

    /// Whether a node with that host's name is here, or nothing is known.
    pub fn has(&self, hostname: &str) -> bool {
        let labels = BTreeMap::from([(HOSTNAME.to_owned(), hostname.to_owned())]);
        self.some(&labels, None)
    }

    /// Whether a node fits a selector of nodes, or nothing is known.
    pub fn fit(&self, selector: &Value) -> bool {
        self.some(&BTreeMap::new(), Some(selector))
    }

    /// Whether a node has these labels and fits a selector of nodes (a list of terms, of which one must hold), or nothing is known.
    pub fn some(&self, labels: &BTreeMap<String, String>, selector: Option<&Value>) -> bool {
        let has = |node: &Node| {
            labels
                .iter()
                .all(|(label, value)| node.labels.get(label) == Some(value))
        };
        let selector = selector.filter(|selector| selector.pointer("/nodeSelectorTerms").is_some());
        let fits = |node: &Node| {
            selector.is_none_or(|selector| items(selector, "/nodeSelectorTerms").any(|term| holds(term, node)))
        };
        self.0.is_empty() || self.0.iter().any(|node| has(node) && fits(node))
    }

    /// A label of the node of that name.
    pub fn label(&self, name: &str, label: &str) -> Option<&str> {
        let node = self.0.iter().find(|node| node.name == name)?;
        node.labels.get(label).map(String::as_str)
    }
}

fn text<'v>(object: &'v Value, path: &str) -> Option<&'v str> {
    object.pointer(path)?.as_str()
}

fn items<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn holds(term: &Value, node: &Node) -> bool {
    let expressions = items(term, "/matchExpressions").all(|expression| {
        let value = node
            .labels
            .get(text(expression, "/key").unwrap_or_default())
            .map(String::as_str);
        fits(expression, value)
    });
    expressions && items(term, "/matchFields").all(|expression| fits(expression, Some(&node.name)))
}

fn fits(expression: &Value, value: Option<&str>) -> bool {
    let values: Vec<&str> = items(expression, "/values").filter_map(Value::as_str).collect();
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    match text(expression, "/operator") {
        Some("In") => value.is_some_and(|value| values.contains(&value)),
        Some("NotIn") => value.is_none_or(|value| !values.contains(&value)),
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        Some("Gt") => number(value) > number(values.first().copied()) && value.is_some(),
        Some("Lt") => number(value) < number(values.first().copied()) && value.is_some(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_fits_when_one_of_its_terms_holds_for_a_node() {
        let mut nodes = Nodes::default();
        let selector = |operator: &str, key: &str, value: &str| json!({ "nodeSelectorTerms": [{ "matchExpressions": [{ "key": key, "operator": operator, "values": [value] }] }] });
        assert!(nodes.fit(&selector("In", HOSTNAME, "gone")) && nodes.has("gone"));
        nodes.add(&json!({ "metadata": { "name": "one", "labels": { "topology.kubernetes.io/zone": "a", "generation": "7" } } }));
        let table = [
            ("In", HOSTNAME, "one", true),
            ("In", HOSTNAME, "gone", false),
            ("NotIn", HOSTNAME, "gone", true),
            ("In", "topology.kubernetes.io/zone", "b", false),
            ("Exists", "topology.kubernetes.io/zone", "", true),
            ("DoesNotExist", "gpu", "", true),
            ("Gt", "generation", "6", true),
            ("Lt", "generation", "6", false),
            ("Gt", "gpu", "6", false),
        ];
        for (operator, key, value, fits) in table {
            assert_eq!(
                nodes.fit(&selector(operator, key, value)),
                fits,
                "{operator} {key} {value}"
            );
        }
        assert_eq!(nodes.label("one", "generation"), Some("7"));
        let labels = |zone: &str| BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), zone.to_owned())]);
        let here = selector("In", HOSTNAME, "one");
        assert!(nodes.some(&labels("a"), Some(&here)) && nodes.some(&labels("a"), None));
        assert!(
            !nodes.some(&labels("b"), Some(&here))
                && !nodes.some(&labels("a"), Some(&selector("In", HOSTNAME, "gone")))
        );
        assert!(!nodes.has("gone") && nodes.has("one") && nodes.fit(&json!({})));
    }
}
