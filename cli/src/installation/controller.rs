//! The controller's Deployment.

use serde_json::{Value, json};

use super::{CONTROLLER, Installation, labels, of_pod, selector};

/// The port for health and downloads.
const PORT: u16 = 8080;
/// The user in the image that is nobody in particular.
const NOBODY: u32 = 65532;

/// The Deployment: as many controllers as were asked for, on different nodes where there are some; one of them leads.
pub fn deployment(installation: &Installation) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": installation.metadata(CONTROLLER, "controller"),
        "spec": {
            "replicas": installation.replicas,
            "selector": { "matchLabels": selector("controller") },
            "template": {
                "metadata": { "labels": labels("controller") },
                "spec": pod(installation),
            },
        },
    })
}

fn pod(installation: &Installation) -> Value {
    json!({
        "serviceAccountName": CONTROLLER,
        "imagePullSecrets": installation.pull_secrets(),
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": selector("controller") } },
        }] } },
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "controller",
            "image": installation.image,
            "imagePullPolicy": installation.image_pull_policy,
            "command": ["/bin/ararat-controller"],
            "args": ["run"],
            "env": [
                of_pod("POD_NAME", "metadata.name"),
                of_pod("POD_NAMESPACE", "metadata.namespace"),
                { "name": "ARARAT_IMAGE", "value": installation.image },
                { "name": "ARARAT_IMAGE_PULL_POLICY", "value": installation.image_pull_policy },
                { "name": "ARARAT_CACHE_DIR", "value": "/cache" },
            ],
            "ports": [{ "name": "http", "containerPort": PORT, "protocol": "TCP" }],
            "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http" }, "periodSeconds": 2, "timeoutSeconds": 5 },
            // A controller that is merely busy is left alone: a restart costs more than a minute of silence.
            "livenessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6 },
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                "limits": { "memory": "512Mi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [
                { "name": "cache", "mountPath": "/cache" },
                { "name": "tmp", "mountPath": "/tmp" },
            ],
        }],
        "volumes": [
            { "name": "cache", "emptyDir": {} },
            { "name": "tmp", "emptyDir": {} },
        ],
    })
}
