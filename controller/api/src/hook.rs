//! Hooks: commands that run in pods before and after their volumes are read, or after they were restored.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens when a hook fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnError {
    /// The pod's volumes are not read, and the Backup ends as PartiallyFailed. For hooks after the volumes: the Backup ends as PartiallyFailed.
    #[default]
    Fail,
    /// A warning is recorded, and the work goes on.
    Continue,
}

/// A hook that failed, as a status has it for the controller that takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookFailure {
    /// Which it was, and of which pod.
    pub about: String,
    /// What is done about it.
    #[serde(default)]
    pub on_error: OnError,
    /// What is said of it.
    pub message: String,
}

/// A command that runs in a container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecHook {
    /// The container; the pod's first when it is not said. Sidecars (init containers that restart always) may be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The program and its arguments. No shell is involved; write ["sh", "-c", "…"] for one.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// What happens when it fails: Fail or Continue.
    #[serde(default)]
    pub on_error: OnError,
    /// How long it may run, e.g. 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub timeout: Option<String>,
}

/// Hooks of a Backup, and the pods that they are for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHook {
    /// A name, for the results.
    pub name: String,
    /// Namespaces whose pods are meant, globs allowed; all when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_namespaces: Vec<String>,
    /// Namespaces whose pods are not meant, globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// Labels of the pods that are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Run before the pod's volumes are read, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<ExecHook>,
    /// Run after the pod's volumes were read, in this order; also when reading them failed, and when a pre hook failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<ExecHook>,
}

/// Hooks of a Restore, and the pods that they are for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHook {
    /// A name, for the results.
    pub name: String,
    /// Namespaces (after mapping) whose pods are meant, globs allowed; all when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_namespaces: Vec<String>,
    /// Namespaces whose pods are not meant, globs allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// Labels of the pods that are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Containers that are put before the pod's init containers, also into the pod templates of workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "containers")]
    pub init_containers: Vec<serde_json::Value>,
    /// Commands that run in the pods once they have started, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<RestoreExecHook>,
}

fn containers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "description": "Containers that are put before the pod's init containers, also into the pod templates of workloads.",
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true }
    })
}

/// A command that runs in a container of a restored pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreExecHook {
    /// The container; the pod's first when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// What happens when it fails: Fail (the Restore ends as PartiallyFailed) or Continue (a warning).
    #[serde(default)]
    pub on_error: OnError,
    /// How long it may run, e.g. 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub exec_timeout: Option<String>,
    /// How long the container may take to start, e.g. 5m, which is the default: no hook waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::duration::PATTERN))]
    pub wait_timeout: Option<String>,
    /// Wait until the container is ready, not only until it runs.
    #[serde(default)]
    pub wait_for_ready: bool,
}

/// When a hook of annotations runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the volumes are read.
    Pre,
    /// After the volumes were read.
    Post,
    /// After the pod was restored.
    Restored,
}

impl Moment {
    /// The prefixes of the annotations: ours, then Velero's.
    fn prefixes(self) -> [&'static str; 2] {
        match self {
            Self::Pre => ["pre.hook.backup.ararat.dev/", "pre.hook.backup.velero.io/"],
            Self::Post => ["post.hook.backup.ararat.dev/", "post.hook.backup.velero.io/"],
            Self::Restored => ["post.hook.restore.ararat.dev/", "post.hook.restore.velero.io/"],
        }
    }
}

/// The hook that a pod's annotations ask for: `<prefix>command` (a word, or a JSON list of words), `container`, `on-error`, `timeout`.
///
/// # Errors
/// Says which annotation is wrong, and how to write it.
pub fn of_annotations(
    annotations: Option<&BTreeMap<String, String>>,
    moment: Moment,
) -> Result<Option<RestoreExecHook>, String> {
    let Some(annotations) = annotations else {
        return Ok(None);
    };
    let prefix = moment
        .prefixes()
        .into_iter()
        .find(|prefix| annotations.contains_key(&format!("{prefix}command")));
    let Some(prefix) = prefix else {
        return Ok(None);
    };
    let value = |name: &str| annotations.get(&format!("{prefix}{name}")).map(String::as_str);
    let text = value("command").unwrap_or_default();
    let command = if text.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<String>>(text)
            .map_err(|error| format!("The annotation {prefix}command is no JSON list of words: {error}"))?
    } else {
        vec![text.to_owned()]
    };
    if command.first().is_none_or(String::is_empty) {
        return Err(format!("The annotation {prefix}command names no program"));
    }
    let otherwise = if moment == Moment::Restored {
        OnError::Continue
    } else {
        OnError::Fail
    };
    let on_error = match value("on-error") {
        None | Some("") => otherwise,
        Some("Fail") => OnError::Fail,
        Some("Continue") => OnError::Continue,
        Some(other) => {
            return Err(format!(
                "The annotation {prefix}on-error is `{other}`; write Fail or Continue"
            ));
        }
    };
    let duration = |name: &str| match value(name) {
        None | Some("") => Ok(None),
        Some(text) => match crate::duration::parse(text) {
            Ok(_) => Ok(Some(text.to_owned())),
            Err(why) => Err(format!("The annotation {prefix}{name} is wrong: {why}")),
        },
    };
    Ok(Some(RestoreExecHook {
        container: value("container").filter(|name| !name.is_empty()).map(str::to_owned),
        command,
        on_error,
        exec_timeout: match duration("timeout")? {
            Some(timeout) => Some(timeout),
            None => duration("exec-timeout")?,
        },
        wait_timeout: duration("wait-timeout")?,
        wait_for_ready: value("wait-for-ready") == Some("true"),
    }))
}

/// The init container that a pod's annotations ask for on a restore: `init.hook.restore.ararat.dev/{container-image,container-name,command}`.
///
/// # Errors
/// Says which annotation is wrong.
pub fn init_of_annotations(
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<Option<serde_json::Value>, String> {
    let Some(annotations) = annotations else {
        return Ok(None);
    };
    let prefixes = ["init.hook.restore.ararat.dev/", "init.hook.restore.velero.io/"];
    let Some(prefix) = prefixes
        .into_iter()
        .find(|prefix| annotations.contains_key(&format!("{prefix}container-image")))
    else {
        return Ok(None);
    };
    let value = |name: &str| annotations.get(&format!("{prefix}{name}")).map(String::as_str);
    let text = value("command").unwrap_or_default();
    let command: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|error| format!("The annotation {prefix}command is no JSON list of words: {error}"))?
    } else {
        text.split_whitespace().map(str::to_owned).collect()
    };
    Ok(Some(serde_json::json!({
        "name": value("container-name").unwrap_or("ararat-restore-init"),
        "image": value("container-image"),
        "command": command,
    })))
}

impl From<RestoreExecHook> for ExecHook {
    fn from(hook: RestoreExecHook) -> Self {
        Self {
            container: hook.container,
            command: hook.command,
            on_error: hook.on_error,
            timeout: hook.exec_timeout,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    #[test]
    fn annotations_of_both_kinds_make_hooks() {
        let ours = annotations(&[
            ("pre.hook.backup.ararat.dev/command", r#"["sh", "-c", "sync"]"#),
            ("pre.hook.backup.ararat.dev/container", "db"),
            ("pre.hook.backup.ararat.dev/timeout", "2m"),
            ("post.hook.backup.velero.io/command", "/bin/thaw"),
            ("post.hook.backup.velero.io/on-error", "Continue"),
        ]);
        let pre = of_annotations(Some(&ours), Moment::Pre).unwrap().unwrap();
        assert_eq!((pre.command.len(), pre.container.as_deref()), (3, Some("db")));
        assert_eq!((pre.exec_timeout.as_deref(), pre.on_error), (Some("2m"), OnError::Fail));
        let post = of_annotations(Some(&ours), Moment::Post).unwrap().unwrap();
        assert_eq!(
            (post.command, post.on_error),
            (vec!["/bin/thaw".to_owned()], OnError::Continue)
        );
        assert_eq!(of_annotations(Some(&ours), Moment::Restored).unwrap(), None);
    }

    #[test]
    fn wrong_annotations_are_named() {
        for (name, value) in [
            ("command", "[1]"),
            ("on-error", "ignore"),
            ("timeout", "soon"),
            ("command", ""),
        ] {
            let given = annotations(&[
                ("pre.hook.backup.ararat.dev/command", "true"),
                (&format!("pre.hook.backup.ararat.dev/{name}"), value),
            ]);
            let error = of_annotations(Some(&given), Moment::Pre).unwrap_err();
            assert!(error.contains(&format!("pre.hook.backup.ararat.dev/{name}")), "{error}");
        }
    }
}
