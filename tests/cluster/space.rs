//! A namespace of a story's own, gone when dropped.

use crate::kubernetes::Kubernetes;

/// A namespace.
pub struct Space<'a> {
    cluster: &'a Kubernetes,
    pub name: String,
}

impl<'a> Space<'a> {
    /// Makes it. A name left over from an earlier run is removed first.
    #[track_caller]
    pub fn new(cluster: &'a Kubernetes, name: &str) -> Self {
        Self::labelled(cluster, name, &[])
    }

    /// Makes it with labels (`name=value`).
    #[track_caller]
    pub fn labelled(cluster: &'a Kubernetes, name: &str, labels: &[&str]) -> Self {
        let space = Self::awaited(cluster, name);
        cluster.kubectl(&format!("create namespace {name}")).ok();
        for label in labels {
            cluster.kubectl(&format!("label namespace {name} {label}")).ok();
        }
        space
    }

    /// One that a restore will make: it is not there, and goes when dropped.
    #[track_caller]
    pub fn awaited(cluster: &'a Kubernetes, name: &str) -> Self {
        let space = Self {
            cluster,
            name: name.to_owned(),
        };
        space.destroy();
        space
    }

    /// Removes it with all that is in it, and waits until it is gone.
    #[track_caller]
    pub fn destroy(&self) {
        let line = format!("delete namespace {} --ignore-not-found --timeout=180s", self.name);
        self.cluster.kubectl(&line).ok();
    }

    /// Waits until one of its pods is ready.
    #[track_caller]
    pub fn ready(&self, pod: &str) {
        let line = format!("wait -n {} --for=condition=Ready pod/{pod} --timeout=120s", self.name);
        self.cluster.kubectl(&line).ok();
    }
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        self.cluster.kubectl(&format!(
            "delete namespace {} --ignore-not-found --wait=false",
            self.name
        ));
    }
}
