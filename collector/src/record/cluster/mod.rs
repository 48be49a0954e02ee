//! What is recorded of the cluster through its API server, and what is done to it.

pub mod action;
pub mod api;
pub mod beacon;
#[cfg(test)]
mod encrypted;
pub mod facts;
mod kubeconfig;
mod proxies;
mod resolver;
pub mod rollout;
#[cfg(test)]
mod server;
#[cfg(test)]
mod trials;
pub mod watch;
