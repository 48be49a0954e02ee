//! Samples: pages, answers, databases of Prometheus and its relatives.

pub mod cilium_metrics_list;
mod created;
pub mod exposition;
pub mod prometheus_api;
pub mod prometheus_facts;
pub mod prometheus_tsdb;
pub mod promtool_dump;
pub mod victoria_export;
