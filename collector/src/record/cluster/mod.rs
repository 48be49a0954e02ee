//! What is recorded of the cluster through its API server.

pub mod api;
mod kubeconfig;
mod proxies;
