//! What is recorded of the cluster through its API server, and what is done to it.

pub mod action;
pub mod api;
pub mod beacon;
pub mod facts;
mod kubeconfig;
mod proxies;
pub mod rollout;
#[cfg(test)]
mod server;
#[cfg(test)]
mod trials;
pub mod watch;
