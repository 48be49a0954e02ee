//! Logs of the proxies and agents.

pub mod cilium_log;
pub mod kube_proxy_log;
