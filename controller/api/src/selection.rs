//! Selection: which objects are meant, by namespace, kind, name and labels. Pure; what exists is given.

use std::collections::BTreeMap;

use globset::{Glob, GlobSet, GlobSetBuilder};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::backup::BackupSpec;
use crate::restore::RestoreSpec;

/// A list of what is included and one of what is excluded; the second goes before the first, and an empty first list includes everything.
#[derive(Clone, Debug)]
pub struct Globs {
    included: Option<GlobSet>,
    excluded: GlobSet,
}

impl Globs {
    /// Of two lists of globs (`*`, `?`, `[abc]`).
    ///
    /// # Errors
    /// Says which glob is wrong.
    pub fn new(included: &[String], excluded: &[String]) -> Result<Self, String> {
        let included = if included.is_empty() || included.iter().any(|glob| glob == "*") {
            None
        } else {
            Some(set(included)?)
        };
        Ok(Self {
            included,
            excluded: set(excluded)?,
        })
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        self.included.as_ref().is_none_or(|included| included.is_match(name)) && !self.excluded.is_match(name)
    }

    /// Whether every name is meant.
    pub fn is_everything(&self) -> bool {
        self.included.is_none() && self.excluded.is_empty()
    }

    /// Whether a name is meant in so many words, or by a glob that is not everything.
    pub fn names(&self, name: &str) -> bool {
        self.included.as_ref().is_some_and(|included| included.is_match(name)) && !self.excluded.is_match(name)
    }
}

fn set(globs: &[String]) -> Result<GlobSet, String> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        let parsed = Glob::new(glob).map_err(|error| format!("`{glob}` is no glob: {error}"))?;
        builder.add(parsed);
    }
    builder.build().map_err(|error| error.to_string())
}

/// A kind as the API server serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Group; empty for the core.
    pub group: String,
    /// Version, e.g. v1.
    pub version: String,
    /// Kind, e.g. Deployment.
    pub kind: String,
    /// Resource, e.g. deployments.
    pub plural: String,
    /// Short names, e.g. deploy.
    pub short: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// `deployments.apps`, or `pods` for the core.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apps/v1`, or `v1` for the core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Everything that a person may call it, in lower case.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.plural.clone(), self.kind.to_ascii_lowercase()];
        names.extend(self.short.iter().cloned());
        if !self.group.is_empty() {
            names.push(self.resource());
            names.push(format!("{}.{}", self.kind.to_ascii_lowercase(), self.group));
        }
        names
    }
}

/// Kinds by lists of what people call them.
#[derive(Clone, Debug)]
pub struct Kinds(Globs);

impl Kinds {
    /// Of two lists.
    ///
    /// # Errors
    /// Says which glob is wrong.
    pub fn new(included: &[String], excluded: &[String]) -> Result<Self, String> {
        let lower = |list: &[String]| list.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>();
        Ok(Self(Globs::new(&lower(included), &lower(excluded))?))
    }

    /// Whether a kind is meant: by any of its names, unless one of them is excluded.
    pub fn matches(&self, kind: &Kind) -> bool {
        let names = kind.names();
        let included = self.0.included.as_ref();
        included.is_none_or(|included| names.iter().any(|name| included.is_match(name)))
            && !names.iter().any(|name| self.0.excluded.is_match(name))
    }

    /// Whether it is meant in so many words.
    pub fn named(&self, kind: &Kind) -> bool {
        self.0.included.is_some() && self.matches(kind)
    }

    /// Whether it is excluded in so many words.
    pub fn excluded(&self, kind: &Kind) -> bool {
        kind.names().iter().any(|name| self.0.excluded.is_match(name))
    }

    /// Whether every kind is meant.
    pub fn is_everything(&self) -> bool {
        self.0.is_everything()
    }
}

/// Whether labels fit a selector, as the API server would say.
pub fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, wanted)| value(key) == Some(wanted));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = value(&expression.key);
            let values = expression.values.as_deref().unwrap_or_default();
            match expression.operator.as_str() {
                "In" => value.is_some_and(|value| values.contains(value)),
                "NotIn" => value.is_none_or(|value| !values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                // What cannot be understood selects nothing.
                _ => false,
            }
        })
}

/// What is wrong with a selector.
pub fn selector_error(selector: &LabelSelector) -> Option<String> {
    selector.match_expressions.iter().flatten().find_map(|expression| {
        let values = expression.values.as_deref().unwrap_or_default();
        match (expression.operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => None,
            ("In" | "NotIn", true) => Some(format!(
                "The operator {} of label {} needs values",
                expression.operator, expression.key
            )),
            ("Exists" | "DoesNotExist", false) => Some(format!(
                "The operator {} of label {} takes no values",
                expression.operator, expression.key
            )),
            _ => Some(format!(
                "`{}` is no operator; write In, NotIn, Exists or DoesNotExist",
                expression.operator
            )),
        }
    })
}

/// Which objects are meant.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Namespaces.
    pub namespaces: Globs,
    /// Kinds.
    pub kinds: Kinds,
    /// Names.
    pub names: Globs,
    /// One of these fits, unless there is none.
    pub selectors: Vec<LabelSelector>,
    /// What is said of objects that belong to no namespace.
    pub cluster: Option<bool>,
}

/// Why an object is meant or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It fits everything that was said.
    Selected,
    /// It carries the label that excludes it.
    ExcludeLabel,
    /// Its namespace is not meant.
    Namespace,
    /// Its kind is not meant.
    Kind,
    /// Its name is not meant.
    Name,
    /// Its labels do not fit.
    Labels,
    /// It belongs to no namespace, and those are not meant.
    ClusterScoped,
}

impl Rule {
    /// The rule, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::ExcludeLabel => "excluded by its label",
            Self::Namespace => "its namespace is not included",
            Self::Kind => "its kind is not included",
            Self::Name => "its name is not included",
            Self::Labels => "its labels do not fit",
            Self::ClusterScoped => "cluster-scoped objects are not included",
        }
    }
}

impl Selection {
    /// Of a Backup.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn of_backup(spec: &BackupSpec) -> Result<Self, Vec<String>> {
        Self::new(
            [&spec.included_namespaces, &spec.excluded_namespaces],
            [&spec.included_resources, &spec.excluded_resources],
            [&spec.included_names, &spec.excluded_names],
            (spec.label_selector.as_ref(), &spec.or_label_selectors),
            spec.include_cluster_resources,
        )
    }

    /// Of a Restore.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn of_restore(spec: &RestoreSpec) -> Result<Self, Vec<String>> {
        Self::new(
            [&spec.included_namespaces, &spec.excluded_namespaces],
            [&spec.included_resources, &spec.excluded_resources],
            [&spec.included_names, &spec.excluded_names],
            (spec.label_selector.as_ref(), &spec.or_label_selectors),
            spec.include_cluster_resources,
        )
    }

    fn new(
        namespaces: [&Vec<String>; 2],
        kinds: [&Vec<String>; 2],
        names: [&Vec<String>; 2],
        (selector, or): (Option<&LabelSelector>, &[LabelSelector]),
        cluster: Option<bool>,
    ) -> Result<Self, Vec<String>> {
        let selectors: Vec<LabelSelector> = selector.into_iter().chain(or).cloned().collect();
        let mut errors: Vec<String> = selectors.iter().filter_map(selector_error).collect();
        let mut keep = |result: Result<Globs, String>| result.map_err(|error| errors.push(error)).ok();
        let namespaces = keep(Globs::new(namespaces[0], namespaces[1]));
        let names = keep(Globs::new(names[0], names[1]));
        let kinds = Kinds::new(kinds[0], kinds[1]).map_err(|error| errors.push(error)).ok();
        match (namespaces, names, kinds) {
            (Some(namespaces), Some(names), Some(kinds)) if errors.is_empty() => Ok(Self {
                namespaces,
                kinds,
                names,
                selectors,
                cluster,
            }),
            _ => Err(errors),
        }
    }

    /// Whether objects of no namespace are meant by themselves, and not only for the sake of others: when that is said, or when everything is meant.
    pub fn whole_cluster(&self) -> bool {
        self.cluster.unwrap_or_else(|| {
            self.namespaces.is_everything() && self.selectors.is_empty() && self.names.is_everything()
        })
    }

    /// Whether an object is meant. `namespace` is empty for those of none.
    pub fn judge(&self, kind: &Kind, namespace: &str, name: &str, labels: Option<&BTreeMap<String, String>>) -> Rule {
        if crate::words::is_excluded(labels) {
            return Rule::ExcludeLabel;
        }
        if !self.kinds.matches(kind) {
            return Rule::Kind;
        }
        if kind.namespaced {
            if !self.namespaces.matches(namespace) {
                return Rule::Namespace;
            }
        } else if !(self.whole_cluster() || self.cluster.is_none() && self.kinds.named(kind)) {
            // Whoever names a kind that belongs to no namespace wants its objects.
            return Rule::ClusterScoped;
        }
        if !self.names.matches(name) {
            return Rule::Name;
        }
        if !self.selectors.is_empty() && !self.selectors.iter().any(|selector| selects(selector, labels)) {
            return Rule::Labels;
        }
        Rule::Selected
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn kind(group: &str, kind: &str, plural: &str, namespaced: bool) -> Kind {
        Kind {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            short: if plural == "deployments" {
                vec!["deploy".into()]
            } else {
                Vec::new()
            },
            namespaced,
        }
    }

    fn spec() -> BackupSpec {
        BackupSpec::default()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn kinds_are_known_by_every_name_and_exclusion_wins_whatever_the_case() {
        let deployments = kind("apps", "Deployment", "deployments", true);
        for name in [
            "deployments",
            "Deployment",
            "deploy",
            "deployments.apps",
            "*.apps",
            "deploy*",
        ] {
            assert!(
                Kinds::new(&strings(&[name]), &[]).unwrap().matches(&deployments),
                "{name}"
            );
            assert!(
                !Kinds::new(&[], &strings(&[name])).unwrap().matches(&deployments),
                "{name}"
            );
            let both = Kinds::new(&strings(&["*"]), &strings(&[name])).unwrap();
            assert!(!both.matches(&deployments), "{name}");
        }
        assert!(
            !Kinds::new(&strings(&["deployments.extensions"]), &[])
                .unwrap()
                .matches(&deployments)
        );
    }

    #[test]
    fn the_rules_go_from_the_label_that_excludes_to_the_labels_that_select() {
        let selector = |key: &str, value: &str| LabelSelector {
            match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..LabelSelector::default()
        };
        let selection = Selection::of_backup(&BackupSpec {
            included_namespaces: strings(&["web-*"]),
            excluded_namespaces: strings(&["web-test"]),
            excluded_resources: strings(&["Secret"]),
            or_label_selectors: vec![selector("app", "a"), selector("app", "b")],
            ..spec()
        })
        .unwrap();
        let (maps, secrets) = (
            kind("", "ConfigMap", "configmaps", true),
            kind("", "Secret", "secrets", true),
        );
        let labels = |value: &str| BTreeMap::from([("app".to_owned(), value.to_owned())]);
        let (a, c) = (labels("a"), labels("c"));
        assert_eq!(selection.judge(&maps, "web-1", "x", Some(&a)), Rule::Selected);
        assert_eq!(selection.judge(&maps, "web-test", "x", Some(&a)), Rule::Namespace);
        assert_eq!(selection.judge(&maps, "db", "x", Some(&a)), Rule::Namespace);
        assert_eq!(selection.judge(&secrets, "web-1", "x", Some(&a)), Rule::Kind);
        assert_eq!(selection.judge(&maps, "web-1", "x", Some(&c)), Rule::Labels);
        assert_eq!(
            selection.judge(&kind("", "Node", "nodes", false), "", "x", Some(&a)),
            Rule::ClusterScoped
        );
        let mut excluded = a;
        excluded.insert("velero.io/exclude-from-backup".into(), "true".into());
        assert_eq!(
            selection.judge(&maps, "web-1", "x", Some(&excluded)),
            Rule::ExcludeLabel
        );
    }

    #[test]
    fn cluster_scoped_objects_come_when_everything_or_they_themselves_are_meant() {
        let nodes = kind("", "ClusterRole", "clusterroles", false);
        let judge = |spec: BackupSpec| Selection::of_backup(&spec).unwrap().judge(&nodes, "", "x", None);
        assert_eq!(judge(spec()), Rule::Selected);
        let one = || BackupSpec {
            included_namespaces: strings(&["web"]),
            ..spec()
        };
        assert_eq!(judge(one()), Rule::ClusterScoped);
        let said = |include| BackupSpec {
            include_cluster_resources: Some(include),
            ..one()
        };
        assert_eq!(judge(said(true)), Rule::Selected);
        assert_eq!(
            judge(BackupSpec {
                include_cluster_resources: Some(false),
                ..spec()
            }),
            Rule::ClusterScoped
        );
        let named = BackupSpec {
            included_resources: strings(&["clusterroles"]),
            ..one()
        };
        assert_eq!(judge(named), Rule::Selected);
    }

    #[test]
    fn empty_includes_with_excluded_globs_leave_the_rest() {
        let globs = Globs::new(&[], &strings(&["kube-*"])).unwrap();
        assert!(globs.matches("web") && !globs.matches("kube-system") && !globs.is_everything());
        assert!(Globs::new(&strings(&["[a"]), &[]).unwrap_err().contains("[a"));
    }
}
