//! Who may do what: the service accounts of controller and agents, and their roles.

use serde_json::{Value, json};

use super::{AGENT, CONTROLLER, Installation, labels};

/// Service accounts, roles and bindings.
pub fn rights(installation: &Installation) -> Vec<Value> {
    let namespace = &installation.namespace;
    let cluster_name = Installation::cluster_name(namespace);
    vec![
        service_account(installation, CONTROLLER, "controller"),
        service_account(installation, AGENT, "agent"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": cluster_name, "labels": labels("controller") },
            "rules": controller_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": cluster_name, "labels": labels("controller") },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_name },
            "subjects": [{ "kind": "ServiceAccount", "name": CONTROLLER, "namespace": namespace }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": installation.metadata(AGENT, "agent"),
            "rules": agent_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": installation.metadata(AGENT, "agent"),
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": AGENT },
            "subjects": [{ "kind": "ServiceAccount", "name": AGENT, "namespace": namespace }],
        }),
    ]
}

fn service_account(installation: &Installation, name: &str, component: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": installation.metadata(name, component) })
}

/// What the controller may do.
///
/// It saves objects of every kind, also of kinds that nobody has thought of yet, and makes them again: so every kind is named. It is still not
/// cluster-admin: it cannot impersonate anybody, reach nodes' and services' proxies by verbs of their own, or ask for other paths of the API server.
/// Roles that it restores may hold rights that it lacks itself (verbs such as `use` or `impersonate`), hence `escalate`; and bindings to such roles need
/// `bind`. Without them a restore of roles would fail for the very roles that matter. Hooks run commands in pods: that is `create` on pods/exec, which `*` has.
fn controller_rules() -> Value {
    json!([
        {
            "apiGroups": ["*"],
            "resources": ["*"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "clusterroles"],
            "verbs": ["escalate", "bind"],
        },
    ])
}

/// What an agent may do, and only in the installation's namespace: see the volumes it is given, say how far it is, and write events. What it must know of a
/// store and a repository comes sealed to it in those objects; it reads no Secret.
fn agent_rules() -> Value {
    json!([
        {
            "apiGroups": ["ararat.dev"],
            "resources": ["podvolumebackups", "podvolumerestores"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["ararat.dev"],
            "resources": ["podvolumebackups/status", "podvolumerestores/status"],
            "verbs": ["patch"],
        },
        {
            "apiGroups": ["", "events.k8s.io"],
            "resources": ["events"],
            "verbs": ["create", "patch"],
        },
    ])
}
