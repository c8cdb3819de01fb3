//! Documents that many stories apply: claims, and pods that mount them.

/// A claim of a class, in a mode (`Filesystem` or `Block`).
pub fn claim(name: &str, class: &str, mode: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  storageClassName: {class}
  volumeMode: {mode}
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
"
    )
}

/// A Deployment of one pod labelled `app: NAME` that mounts a claim at /data and does nothing.
pub fn deployment(name: &str, claim: &str) -> String {
    format!(
        "
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: 1
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: main, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, '999999'], volumeMounts: [{{name: data, mountPath: /data}}]}}
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]
"
    )
}

/// A pod that mounts a claim at /data and does nothing; `annotations` as JSON (`{}` for none).
pub fn pod(name: &str, claim: &str, annotations: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}, annotations: {annotations}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: main, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, '999999'], volumeMounts: [{{name: data, mountPath: /data}}]}}
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]
"
    )
}
