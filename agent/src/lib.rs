//! Moves volume data between a node and the repository. Empty until the Kubernetes system is built.
