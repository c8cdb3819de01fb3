//! The agents' DaemonSet.

use serde_json::{Value, json};

use super::{AGENT, Installation, labels, of_pod, selector};

/// Below which folder of its container an agent sees folders of its node.
const HOST: &str = "/host";

/// The capabilities that reading and writing other people's files takes, and no more:
/// CHOWN, FOWNER and FSETID give files their owners, modes and set-id bits; DAC_OVERRIDE and DAC_READ_SEARCH read and write what belongs to others;
/// SETFCAP restores capabilities of files; MKNOD restores device nodes.
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "SETFCAP",
    "MKNOD",
];

/// How agents run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOptions {
    /// Whether they may open the devices of block volumes, which takes a privileged container.
    pub is_privileged: bool,
    /// Folders of the nodes whose hostPath volumes are backed up.
    pub host_paths: Vec<String>,
    /// Volumes that one agent reads or fills at once.
    pub slots: u32,
    /// The kubelet's folder.
    pub kubelet_folder: String,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            is_privileged: false,
            host_paths: Vec::new(),
            slots: 2,
            kubelet_folder: "/var/lib/kubelet".to_owned(),
        }
    }
}

/// The DaemonSet: an agent on every node, whatever taints it has, for every node has volumes.
pub fn daemon_set(installation: &Installation) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": installation.metadata(AGENT, "agent"),
        "spec": {
            "selector": { "matchLabels": selector("agent") },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%" } },
            "template": {
                "metadata": { "labels": labels("agent") },
                "spec": pod(installation),
            },
        },
    })
}

fn pod(installation: &Installation) -> Value {
    let agent = &installation.agent;
    let mut arguments = vec![
        "run".to_owned(),
        "--kubelet-dir".to_owned(),
        agent.kubelet_folder.clone(),
        "--slots".to_owned(),
        agent.slots.to_string(),
        "--cache-dir".to_owned(),
        "/cache".to_owned(),
    ];
    if !agent.host_paths.is_empty() {
        arguments.extend(["--host-dir".to_owned(), HOST.to_owned()]);
    }
    // At the same path as on the node: links to the devices of block volumes are absolute.
    let mut mounts = vec![
        json!({ "name": "kubelet", "mountPath": agent.kubelet_folder, "mountPropagation": "HostToContainer" }),
        json!({ "name": "cache", "mountPath": "/cache" }),
        json!({ "name": "tmp", "mountPath": "/tmp" }),
    ];
    let mut volumes = vec![
        json!({ "name": "kubelet", "hostPath": { "path": agent.kubelet_folder, "type": "Directory" } }),
        json!({ "name": "cache", "emptyDir": {} }),
        json!({ "name": "tmp", "emptyDir": {} }),
    ];
    for (number, path) in agent.host_paths.iter().enumerate() {
        let name = format!("host-{number}");
        mounts
            .push(json!({ "name": name, "mountPath": format!("{HOST}{path}"), "mountPropagation": "HostToContainer" }));
        volumes.push(json!({ "name": name, "hostPath": { "path": path, "type": "DirectoryOrCreate" } }));
    }
    json!({
        "serviceAccountName": AGENT,
        "imagePullSecrets": installation.pull_secrets(),
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [{ "operator": "Exists" }],
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "agent",
            "image": installation.image,
            "imagePullPolicy": installation.image_pull_policy,
            "command": ["/bin/ararat-agent"],
            "args": arguments,
            "env": [of_pod("NODE_NAME", "spec.nodeName"), of_pod("POD_NAMESPACE", "metadata.namespace")],
            "resources": {
                "requests": { "cpu": "50m", "memory": "128Mi" },
                "limits": { "memory": "768Mi" },
            },
            "securityContext": security(agent),
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    })
}

fn security(agent: &AgentOptions) -> Value {
    if agent.is_privileged {
        return json!({ "privileged": true, "readOnlyRootFilesystem": true });
    }
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
        // Where SELinux is enforced, volumes bear the labels of their pods; elsewhere this says nothing.
        "seLinuxOptions": { "type": "spc_t" },
    })
}
