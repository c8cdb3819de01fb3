//! Other names for namespaces and storage classes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::restore::RestoreSpec;

/// The names that the Restore gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    namespaces: BTreeMap<String, String>,
    classes: BTreeMap<String, String>,
}

impl Mapping {
    /// Of a Restore.
    pub fn new(spec: &RestoreSpec) -> Self {
        Self {
            namespaces: spec.namespace_mapping.clone(),
            classes: spec.storage_class_mapping.clone(),
        }
    }

    /// The namespace that one of the backup becomes.
    pub fn namespace<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.namespaces.get(namespace).map_or(namespace, String::as_str)
    }

    /// The storage class that one of the backup becomes. No class (an empty name) is no class.
    pub fn class<'a>(&'a self, class: &'a str) -> &'a str {
        if class.is_empty() {
            return class;
        }
        let mapped = self.classes.get(class).or_else(|| self.classes.get("*"));
        mapped.map_or(class, String::as_str)
    }

    /// Whether any namespace gets another name.
    pub fn renames(&self) -> bool {
        self.namespaces.iter().any(|(from, to)| from != to)
    }

    /// The service account that a user's name means (`system:serviceaccount:NAMESPACE:NAME`), or the group of a namespace's accounts, under its new name.
    pub fn account_user(&self, user: &str) -> String {
        if let Some((namespace, name)) = user
            .strip_prefix("system:serviceaccount:")
            .and_then(|rest| rest.split_once(':'))
        {
            return format!("system:serviceaccount:{}:{name}", self.namespace(namespace));
        }
        match user.strip_prefix("system:serviceaccounts:") {
            Some(namespace) => format!("system:serviceaccounts:{}", self.namespace(namespace)),
            None => user.to_owned(),
        }
    }

    /// A host name in a cluster (`NAME.NAMESPACE.svc`, with whatever comes after it) under the namespace's new name.
    pub fn host(&self, host: &str) -> String {
        let mut parts: Vec<&str> = host.split('.').collect();
        if let Some(place) = parts.iter().position(|part| *part == "svc")
            && place >= 2
            && let Some(namespace) = parts.get(place - 1).copied()
            && let Some(slot) = parts.get_mut(place - 1)
        {
            *slot = self.namespace(namespace);
        }
        parts.join(".")
    }

    /// What is wrong with it; `namespaces` are those of the backup.
    pub fn errors(&self, namespaces: &BTreeSet<String>) -> Vec<String> {
        let mut errors = Vec::new();
        for (from, to) in &self.namespaces {
            if !is_namespace(to) {
                errors.push(format!(
                    "namespaceMapping: `{to}` is no name for a namespace; use lower case letters, digits and dashes, at most 63"
                ));
            }
            if !namespaces.contains(from) {
                let known: Vec<&str> = namespaces.iter().map(String::as_str).take(10).collect();
                errors.push(format!(
                    "namespaceMapping: the backup has no namespace `{from}`; it has {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ));
            }
        }
        let mut targets: BTreeMap<&str, &str> = BTreeMap::new();
        for namespace in namespaces {
            if let Some(other) = targets.insert(self.namespace(namespace), namespace) {
                errors.push(format!(
                    "namespaceMapping: {other} and {namespace} would both become {}; restore them one after the other",
                    self.namespace(namespace)
                ));
            }
        }
        errors
    }
}

fn is_namespace(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(namespaces: &[(&str, &str)], classes: &[(&str, &str)]) -> Mapping {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
                .collect()
        };
        Mapping {
            namespaces: map(namespaces),
            classes: map(classes),
        }
    }

    #[test]
    fn a_star_means_every_class_that_is_not_named() {
        let mapping = mapping(&[], &[("fast", "ssd"), ("*", "standard")]);
        assert_eq!(
            [mapping.class("fast"), mapping.class("slow"), mapping.class("")],
            ["ssd", "standard", ""]
        );
    }

    #[test]
    fn accounts_and_hosts_follow_their_namespace() {
        let mapping = mapping(&[("web", "web2")], &[]);
        assert_eq!(
            mapping.account_user("system:serviceaccount:web:app"),
            "system:serviceaccount:web2:app"
        );
        assert_eq!(
            mapping.account_user("system:serviceaccounts:web"),
            "system:serviceaccounts:web2"
        );
        assert_eq!(mapping.account_user("jane"), "jane");
        assert_eq!(mapping.host("db.web.svc.cluster.local"), "db.web2.svc.cluster.local");
        assert_eq!(mapping.host("web.example.org"), "web.example.org");
        assert_eq!(mapping.host("svc"), "svc");
    }

    #[test]
    fn wrong_names_unknown_ones_and_two_that_meet_are_refused() {
        let namespaces: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
        assert!(mapping(&[("a", "c")], &[]).errors(&namespaces).is_empty());
        assert!(mapping(&[("a", "C_")], &[]).errors(&namespaces)[0].contains("no name"));
        assert!(mapping(&[("x", "c")], &[]).errors(&namespaces)[0].contains("a, b"));
        assert!(mapping(&[("a", "b")], &[]).errors(&namespaces)[0].contains("both become b"));
        assert!(mapping(&[("a", "b"), ("b", "a")], &[]).errors(&namespaces).is_empty());
    }
}
