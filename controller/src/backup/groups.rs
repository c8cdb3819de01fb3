//! Which volumes are read together: those of one pod, with the pod's hooks around them. Pure.

use std::collections::BTreeMap;

use api::BackupSpec;
use api::hook::{BackupHook, ExecHook, Moment, of_annotations};
use api::selection::{Globs, selects};

use crate::volumes::choose::Choice;
use crate::volumes::facts::PodFacts;

/// Volumes that are read together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The pod; none for a claim that nobody mounts.
    pub pod: Option<PodFacts>,
    /// Run before, in this order, with a name for the results.
    pub pre: Vec<(String, ExecHook)>,
    /// Run after.
    pub post: Vec<(String, ExecHook)>,
    /// What is read.
    pub choices: Vec<Choice>,
    /// Its place among those that are read one after the other; none for those that need not wait.
    pub place: Option<usize>,
    /// Why nothing of it is read: the pod's annotations are wrong.
    pub refused: Option<String>,
}

impl Group {
    /// How it is named in the status: NAMESPACE/POD/UID.
    pub fn key(&self) -> String {
        match &self.pod {
            Some(pod) => format!("{}/{}/{}", pod.namespace, pod.name, pod.uid),
            None => self
                .choices
                .first()
                .map(|choice| choice.record.source.clone())
                .unwrap_or_default(),
        }
    }

    /// Whether there are hooks.
    pub fn has_hooks(&self) -> bool {
        !self.pre.is_empty() || !self.post.is_empty()
    }
}

/// Groups what is read. Pods that are saved and have hooks make a group even when nothing of them is read. Wrong annotations are told by `complain`, and stop their
/// pod's volumes from being read: whoever asked for a hook does not want the data without it.
///
/// # Errors
/// Says which glob of a hook is wrong.
pub fn group(
    spec: &BackupSpec,
    pods: &[PodFacts],
    is_saved: impl Fn(&PodFacts) -> bool,
    choices: Vec<Choice>,
    mut complain: impl FnMut(&PodFacts, String),
) -> Result<Vec<Group>, String> {
    let hooks: Vec<Hooks<'_>> = spec.hooks.iter().map(Hooks::new).collect::<Result<_, _>>()?;
    let mut by_pod: BTreeMap<usize, Vec<Choice>> = BTreeMap::new();
    let mut groups = Vec::new();
    for choice in choices {
        match choice.pod {
            Some(place) => by_pod.entry(place).or_default().push(choice),
            None => groups.push(Group {
                place: order(
                    spec,
                    &choice.record.namespace,
                    &choice.record.claim.clone().unwrap_or_default(),
                    CLAIMS,
                ),
                choices: vec![choice],
                ..Group::default()
            }),
        }
    }
    for (place, pod) in pods.iter().enumerate() {
        let choices = by_pod.remove(&place).unwrap_or_default();
        if choices.is_empty() && !(pod.running && is_saved(pod)) {
            continue;
        }
        let mut group = Group {
            choices,
            place: order(spec, &pod.namespace, &pod.name, PODS),
            ..Group::default()
        };
        match hooks_of(&hooks, pod) {
            Ok((pre, post)) => (group.pre, group.post) = (pre, post),
            Err(why) => {
                complain(pod, why.clone());
                group.refused = Some(format!("it was not read, because a hook of its pod is wrong: {why}"));
            }
        }
        if !group.choices.is_empty() || group.has_hooks() {
            group.pod = Some(pod.clone());
            groups.push(group);
        }
    }
    groups.sort_by_key(|group| group.place.unwrap_or(usize::MAX));
    Ok(groups)
}

/// How pods, and claims that nobody mounts, are named in an order.
const PODS: &[&str] = &["pods", "pod", "po", "Pod"];
const CLAIMS: &[&str] = &[
    "persistentvolumeclaims",
    "persistentvolumeclaim",
    "pvc",
    "PersistentVolumeClaim",
];

/// Where something stands among what is read in order.
fn order(spec: &BackupSpec, namespace: &str, name: &str, kinds: &[&str]) -> Option<usize> {
    let lists = spec.ordered_resources.iter();
    let lists = lists.filter(|(kind, _)| kinds.contains(&kind.as_str()));
    let mut names = lists.flat_map(|(_, names)| names);
    names.position(|listed| *listed == format!("{namespace}/{name}"))
}

/// What an order says in vain: kinds that have no volumes, and names that nothing has.
pub fn vain_orders(spec: &BackupSpec, groups: &[Group]) -> Vec<String> {
    let mut vain = Vec::new();
    for (kind, names) in &spec.ordered_resources {
        let of_pods = PODS.contains(&kind.as_str());
        if !of_pods && !CLAIMS.contains(&kind.as_str()) {
            vain.push(format!(
                "{kind}: all objects are saved at once, and only the volumes of pods and persistentvolumeclaims are read in an order"
            ));
            continue;
        }
        let is_known = |name: &String| {
            groups.iter().any(|group| match &group.pod {
                Some(pod) => of_pods && *name == format!("{}/{}", pod.namespace, pod.name),
                None => {
                    !of_pods
                        && group.choices.iter().any(|choice| {
                            let claim = choice.record.claim.as_deref().unwrap_or_default();
                            *name == format!("{}/{claim}", choice.record.namespace)
                        })
                }
            })
        };
        let unknown = names.iter().filter(|name| !is_known(name));
        vain.extend(unknown.map(|name| format!("{kind}: nothing is read of {name}")));
    }
    vain
}

/// The post hooks of a pod.
///
/// # Errors
/// Says what is wrong with a hook.
pub fn post_hooks(spec: &BackupSpec, pod: &PodFacts) -> Result<Vec<(String, ExecHook)>, String> {
    let hooks: Vec<Hooks<'_>> = spec.hooks.iter().map(Hooks::new).collect::<Result<_, _>>()?;
    Ok(hooks_of(&hooks, pod)?.1)
}

struct Hooks<'h> {
    hook: &'h BackupHook,
    namespaces: Globs,
}

impl<'h> Hooks<'h> {
    fn new(hook: &'h BackupHook) -> Result<Self, String> {
        Ok(Self {
            namespaces: Globs::new(&hook.included_namespaces, &hook.excluded_namespaces)?,
            hook,
        })
    }
}

type Named = Vec<(String, ExecHook)>;

/// The hooks of a pod: those of its annotations, or where it has none of that moment, those of the spec.
fn hooks_of(hooks: &[Hooks<'_>], pod: &PodFacts) -> Result<(Named, Named), String> {
    let annotated = |moment: Moment| -> Result<Option<Named>, String> {
        let hook = of_annotations(Some(&pod.annotations), moment)?;
        Ok(hook.map(|hook| vec![("annotations".to_owned(), hook.into())]))
    };
    let fitting = || {
        hooks.iter().filter(|hooks| {
            hooks.namespaces.matches(&pod.namespace)
                && hooks
                    .hook
                    .label_selector
                    .as_ref()
                    .is_none_or(|selector| selects(selector, Some(&pod.labels)))
        })
    };
    let of_spec = |commands: fn(&BackupHook) -> &Vec<ExecHook>| -> Named {
        fitting()
            .flat_map(|hooks| {
                commands(hooks.hook)
                    .iter()
                    .map(|command| (hooks.hook.name.clone(), command.clone()))
            })
            .collect()
    };
    let pre = annotated(Moment::Pre)?.unwrap_or_else(|| of_spec(|hook| &hook.pre));
    let post = annotated(Moment::Post)?.unwrap_or_else(|| of_spec(|hook| &hook.post));
    Ok((pre, post))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, annotations: serde_json::Value) -> PodFacts {
        PodFacts::of(&json!({
            "metadata": { "namespace": "db", "name": name, "uid": name, "labels": { "app": "db" }, "annotations": annotations },
            "spec": { "nodeName": "n" }, "status": { "phase": "Running" }
        }))
    }

    fn spec() -> BackupSpec {
        serde_json::from_value(json!({
            "orderedResources": { "pods": ["db/second", "db/first"] },
            "hooks": [
                { "name": "freeze", "includedNamespaces": ["db*"], "labelSelector": { "matchLabels": { "app": "db" } },
                  "pre": [{ "command": ["freeze"] }], "post": [{ "command": ["thaw"] }] },
                { "name": "other", "includedNamespaces": ["web"], "pre": [{ "command": ["never"] }] } ]
        }))
        .unwrap()
    }

    #[test]
    fn annotations_go_before_the_spec_and_order_is_kept() {
        let pods = [
            pod("first", json!({ "pre.hook.backup.velero.io/command": "own" })),
            pod("second", json!({})),
            pod("free", json!({})),
        ];
        let groups = group(&spec(), &pods, |_| true, Vec::new(), |_, _| {}).unwrap();
        let names: Vec<&str> = groups
            .iter()
            .map(|group| group.pod.as_ref().unwrap().name.as_str())
            .collect();
        assert_eq!(names, ["second", "first", "free"]);
        assert_eq!(groups[1].pre[0].1.command, ["own"]);
        assert_eq!(groups[1].post[0].1.command, ["thaw"]);
        assert_eq!((groups[0].pre.len(), groups[0].pre[0].0.as_str()), (1, "freeze"));
    }

    #[test]
    fn a_pod_with_a_wrong_annotation_is_told_and_not_read() {
        let pods = [pod("first", json!({ "pre.hook.backup.ararat.dev/command": "[" }))];
        let mut told = Vec::new();
        let groups = group(
            &spec(),
            &pods,
            |_| true,
            Vec::new(),
            |pod, why| told.push((pod.name.clone(), why)),
        )
        .unwrap();
        assert!(groups.is_empty());
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn volumes_of_a_pod_with_a_wrong_hook_stay_recorded_as_not_read() {
        let pods = [pod("first", json!({ "pre.hook.backup.ararat.dev/command": "[" }))];
        let choices = vec![choice("db", "data", Some(0))];
        let groups = group(&spec(), &pods, |_| true, choices, |_, _| {}).unwrap();
        assert_eq!(groups.len(), 1);
        assert!(groups[0].refused.as_ref().unwrap().contains("hook"));
        assert_eq!(groups[0].choices.len(), 1);
    }

    #[test]
    fn claims_that_nobody_mounts_are_ordered_too_and_vain_orders_are_told() {
        let spec: BackupSpec = serde_json::from_value(json!({
            "orderedResources": { "pvc": ["db/second", "db/first"], "pods": ["db/none"], "secrets": ["db/word"] },
        }))
        .unwrap();
        let choices = vec![
            choice("db", "first", None),
            choice("db", "free", None),
            choice("db", "second", None),
        ];
        let groups = group(&spec, &[], |_| true, choices, |_, _| {}).unwrap();
        let names: Vec<&str> = groups
            .iter()
            .map(|group| group.choices[0].record.claim.as_deref().unwrap())
            .collect();
        assert_eq!(names, ["second", "first", "free"]);
        let vain = vain_orders(&spec, &groups);
        assert_eq!(vain.len(), 2, "{vain:?}");
        assert!(
            vain[0].contains("db/none") && vain[1].starts_with("secrets"),
            "{vain:?}"
        );
    }

    fn choice(namespace: &str, claim: &str, pod: Option<usize>) -> Choice {
        Choice {
            record: api::archive::VolumeRecord {
                namespace: namespace.to_owned(),
                claim: Some(claim.to_owned()),
                ..Default::default()
            },
            pod,
            folder: String::new(),
            host_path: None,
        }
    }
}
