//! What an installation consists of, as manifests: from options to objects, in the order in which they are applied. Pure.
//!
//! In reading order: this file (options, order, what all objects bear), [`rights`] (who may do what), [`location`] (Secrets and where backups go),
//! [`controller`] and [`agent`] (what runs).

pub mod agent;
pub mod controller;
pub mod location;
pub mod rights;

pub use api::words::CONTROLLER;
use serde_json::{Value, json};

use location::LocationPlan;

/// Who is said to own the fields of applied objects.
pub const MANAGER: &str = "ararat-install";
/// The annotation that says which version of Ararat wrote a definition.
pub const VERSION_ANNOTATION: &str = "ararat.dev/version";
/// This version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The label that says which part of an installation an object is.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// The DaemonSet of the agents, and their ServiceAccount.
pub const AGENT: &str = "ararat-agent";

/// What is to be installed.
#[derive(Clone)]
pub struct Installation {
    pub namespace: String,
    /// The image of all programs.
    pub image: String,
    /// Always, IfNotPresent or Never.
    pub image_pull_policy: String,
    /// Secrets of the namespace with which the image is pulled.
    pub image_pull_secrets: Vec<String>,
    /// How many controllers there are; one of them leads.
    pub replicas: u32,
    pub agent: agent::AgentOptions,
    pub location: Option<LocationPlan>,
}

impl Installation {
    /// All objects, in the order in which they are applied: each finds there what it needs.
    pub fn manifests(&self) -> Vec<Value> {
        let mut manifests = vec![self.namespace()];
        manifests.extend(definitions());
        manifests.extend(rights::rights(self));
        manifests.extend(self.location.iter().flat_map(|plan| plan.manifests(&self.namespace)));
        manifests.push(controller::deployment(self));
        manifests.push(agent::daemon_set(self));
        manifests
    }

    fn namespace(&self) -> Value {
        // The agent mounts the kubelet's folder, which only `privileged` lets through. The controller keeps to `restricted` all the same.
        let mut labels = labels("namespace");
        for mode in ["enforce", "audit", "warn"] {
            labels[format!("pod-security.kubernetes.io/{mode}")] = "privileged".into();
        }
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace, "labels": labels } })
    }

    /// Name, namespace and labels of an object.
    fn metadata(&self, name: &str, component: &str) -> Value {
        json!({ "name": name, "namespace": self.namespace, "labels": labels(component) })
    }

    /// The name of an object that belongs to no namespace: two installations in one cluster have two.
    pub fn cluster_name(namespace: &str) -> String {
        format!("{namespace}-controller")
    }

    fn pull_secrets(&self) -> Vec<Value> {
        self.image_pull_secrets
            .iter()
            .map(|name| json!({ "name": name }))
            .collect()
    }
}

/// The definitions of all kinds, with the version that wrote them.
pub fn definitions() -> Vec<Value> {
    let annotated = |mut definition: Value| {
        definition["metadata"]["annotations"] = json!({ VERSION_ANNOTATION: VERSION });
        definition["metadata"]["labels"] = labels("definition");
        definition
    };
    let definitions = api::definitions();
    let values = definitions
        .iter()
        .filter_map(|definition| serde_json::to_value(definition).ok());
    values.map(annotated).collect()
}

/// What all our objects bear.
pub fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "ararat",
        "app.kubernetes.io/part-of": "ararat",
        "app.kubernetes.io/version": VERSION,
        "app.kubernetes.io/managed-by": MANAGER,
        COMPONENT: component,
    })
}

/// What a pod is found by. It never changes, so the version is not in it.
fn selector(component: &str) -> Value {
    json!({ "app.kubernetes.io/name": "ararat", COMPONENT: component })
}

/// An object's environment variable that says something of its pod.
fn of_pod(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::location::Credential;
    use super::*;

    fn example() -> Installation {
        Installation {
            namespace: "ararat".into(),
            image: format!("localhost/ararat:{VERSION}"),
            image_pull_policy: "IfNotPresent".into(),
            image_pull_secrets: Vec::new(),
            replicas: 2,
            agent: agent::AgentOptions::default(),
            location: None,
        }
    }

    fn with_location() -> Installation {
        let plan = LocationPlan {
            name: "default".into(),
            url: "s3://bucket/prefix".into(),
            options: BTreeMap::from([("endpoint".to_owned(), "https://s3.example.org".to_owned())]),
            is_default: true,
            credential: Credential::Given(BTreeMap::from([("AWS_ACCESS_KEY_ID".to_owned(), "AK".to_owned())])),
            agent_credential: Credential::None,
            key: Some("ararat-key-1…".to_owned().into()),
            ..LocationPlan::default()
        };
        Installation {
            location: Some(plan),
            ..example()
        }
    }

    /// Files that are written by `UPDATE=1` and otherwise compared.
    fn is_written(name: &str, objects: &[Value]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
        let head = "# Written by `UPDATE=1 cargo test --workspace --bin ararat`; a test compares it. Do not edit.\n";
        let text = format!("{head}{}", crate::output::objects::yaml_documents(objects).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            panic!(
                "{} is not what the code says; run the test with UPDATE=1",
                path.display()
            );
        }
    }

    #[test]
    fn deploy_holds_what_the_code_says() {
        is_written("crds.yaml", &definitions());
        let rest: Vec<Value> = example()
            .manifests()
            .into_iter()
            .filter(|object| object["kind"] != "CustomResourceDefinition")
            .collect();
        is_written("install.yaml", &rest);
    }

    #[test]
    fn each_object_comes_after_what_it_needs() {
        let kinds: Vec<String> = with_location()
            .manifests()
            .iter()
            .map(|object| object["kind"].as_str().unwrap().to_owned())
            .collect();
        let place = |kind: &str| kinds.iter().position(|other| other == kind).unwrap();
        let order = [
            "Namespace",
            "CustomResourceDefinition",
            "ServiceAccount",
            "ClusterRole",
            "Role",
            "RoleBinding",
            "Secret",
            "BackupStorageLocation",
            "Deployment",
            "DaemonSet",
        ];
        assert!(
            order.windows(2).all(|pair| place(pair[0]) < place(pair[1])),
            "{kinds:?}"
        );
    }

    #[test]
    fn objects_are_labelled_and_selectors_do_not_change_with_the_version() {
        for object in with_location().manifests() {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/version"], VERSION, "{object}");
            assert_eq!(labels["app.kubernetes.io/part-of"], "ararat");
            let selector = &object["spec"]["selector"]["matchLabels"];
            assert!(selector["app.kubernetes.io/version"].is_null());
        }
    }

    #[test]
    fn the_controller_keeps_to_restricted_pod_security() {
        let deployment = controller::deployment(&example());
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
    }

    #[test]
    fn the_agent_has_no_secrets_and_only_named_capabilities() {
        let objects = example().manifests();
        let role = objects
            .iter()
            .find(|object| object["kind"] == "Role" && object["metadata"]["name"] == AGENT)
            .unwrap();
        assert!(!role.to_string().contains("secrets") && !role.to_string().contains("\"*\""));
        let container = |installation: &Installation| {
            agent::daemon_set(installation)["spec"]["template"]["spec"]["containers"][0]["securityContext"].clone()
        };
        assert_eq!(
            container(&example())["capabilities"]["add"].as_array().unwrap().len(),
            7
        );
        assert!(container(&example())["privileged"].is_null());
        let mut privileged = example();
        privileged.agent.is_privileged = true;
        assert_eq!(container(&privileged)["privileged"], true);
    }

    #[test]
    fn host_paths_are_mounted_below_one_folder_that_the_agent_is_told() {
        let mut installation = example();
        installation.agent.host_paths = vec!["/srv/data".into()];
        let pod = agent::daemon_set(&installation)["spec"]["template"]["spec"].clone();
        assert!(
            pod["containers"][0]["args"]
                .to_string()
                .contains(r#""--host-dir","/host""#)
        );
        assert!(
            pod["containers"][0]["volumeMounts"]
                .to_string()
                .contains("/host/srv/data")
        );
        assert!(pod["volumes"].to_string().contains(r#""path":"/srv/data""#));
    }
}
