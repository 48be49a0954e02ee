//! Logs of the proxies and agents.

pub mod cilium_log;
mod foreign;
mod klog;
pub mod kube_proxy_log;
mod logfmt;
mod proxy_entry;
