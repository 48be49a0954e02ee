//! Parsers: one file a format, all of the same shape.
//!
//! A parser is a function from a [`Chunk`] of bytes to rows in a [`Batch`]. It keeps no state between chunks, so
//! that chunks of one file are parsed in parallel; what needs an order (identifiers, snapshot differences) is done
//! by `write` in one sequential pass. The table [`FORMATS`] declares every format: how it is recognised, where it
//! may be cut, how to capture it and what it can prove.

mod audit;
mod audit_document;
mod audit_envelope;
mod audit_event;
mod batch;
mod borrowed;
mod bpftool_dump;
mod bpftool_map;
mod bpftool_prog;
mod bpftrace_json;
mod bpftrace_text;
mod chrony;
mod chrony_text;
mod cilium_config;
mod cilium_lb_list;
mod cilium_log;
mod cilium_metrics_list;
mod cilium_monitor;
mod cilium_service_json;
mod cilium_service_list;
mod cilium_status;
mod client_summary;
mod clock;
mod cluster_loader;
mod csv;
mod exposition;
mod format;
#[cfg(test)]
mod harness;
mod hubble;
mod hubble_dict;
mod hubble_text;
mod instant;
mod ipset;
mod iptables_list;
mod iptables_save;
mod ipvsadm;
mod json_pairs;
mod k6;
mod kube_burner;
mod kube_proxy_log;
mod kubectl_table;
mod kubernetes;
mod kubernetes_facts;
mod lb4_reader;
mod list;
mod log_line;
mod markers;
mod metric_line;
mod native_histogram;
mod nearest;
mod nft_json;
mod nft_monitor;
mod nft_names;
mod nft_text;
mod prometheus_api;
mod prometheus_facts;
pub mod prometheus_tsdb;
mod promtool_dump;
#[cfg(test)]
mod recognition;
mod request_csv;
mod requests;
mod rule_comment;
pub mod snapshot;
mod stamped;
pub mod terminal;
mod trace_line;
mod transcript;
mod vegeta;
mod versions;
mod watch;
mod yaml;

pub use batch::{Batch, RawSnapshot, Sample, SeriesKey};
pub use format::{Chunk, Context, Cut, Format, Head, Line, Sniff};
pub use nearest::nearest;

/// Every format, in the order in which they are asked: the more certain first.
pub const FORMATS: &[&Format] = &[
    &clock::FORMAT,
    &chrony::FORMAT,
    &chrony_text::FORMAT,
    &markers::FORMAT,
    &versions::FORMAT,
    &lb4_reader::FORMAT,
    &cilium_lb_list::FORMAT,
    &cilium_service_json::FORMAT,
    &cilium_service_list::FORMAT,
    &bpftool_dump::FORMAT,
    &iptables_save::FORMAT,
    &iptables_list::FORMAT,
    &ipvsadm::FORMAT,
    &ipset::FORMAT,
    &nft_json::FORMAT,
    &nft_monitor::FORMAT,
    &nft_text::FORMAT,
    &audit::FORMAT,
    &audit_document::FORMAT,
    &watch::FORMAT,
    &requests::FORMAT,
    &k6::FORMAT,
    &vegeta::FORMAT,
    &request_csv::FORMAT,
    &client_summary::FORMAT,
    &list::FORMAT,
    &kube_burner::FORMAT,
    &cluster_loader::FORMAT,
    &transcript::FORMAT,
    &exposition::SCRAPE,
    &bpftrace_json::FORMAT,
    &bpftool_prog::FORMAT,
    &bpftool_map::LIST,
    &bpftool_map::DESCRIPTORS,
    &hubble::FORMAT,
    &hubble_dict::FORMAT,
    &hubble_text::FORMAT,
    &cilium_metrics_list::FORMAT,
    &cilium_config::CONFIG,
    &cilium_config::VERSION,
    &cilium_status::FORMAT,
    &cilium_monitor::FORMAT,
    &prometheus_api::FORMAT,
    &prometheus_tsdb::FORMAT,
    &promtool_dump::FORMAT,
    &kube_proxy_log::FORMAT,
    &cilium_log::FORMAT,
    &bpftrace_text::FORMAT,
    &kubectl_table::FORMAT,
    // Text that hardly anything marks: asked last.
    &exposition::EXPOSITION,
];

/// How each format of snapshots is taken apart.
pub const DISSECTORS: &[&snapshot::Dissector] = &[
    &cilium_lb_list::DISSECTOR,
    &cilium_service_json::DISSECTOR,
    &cilium_service_list::DISSECTOR,
    &iptables_list::DISSECTOR,
    &iptables_save::DISSECTOR,
    &ipset::DISSECTOR,
    &ipvsadm::DISSECTOR,
    &lb4_reader::DISSECTOR,
    &nft_json::DISSECTOR,
    &nft_text::DISSECTOR,
];
