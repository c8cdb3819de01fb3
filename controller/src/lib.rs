//! Turns the words of `api` into work. Empty until the Kubernetes system is built.
