//! The kinds that users write, and pure functions over them. Empty until the Kubernetes system is built.
