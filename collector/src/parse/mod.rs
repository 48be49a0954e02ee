//! Parsers: one file a format, all of the same shape.
//!
//! A parser is a function from a [`Chunk`] of bytes to rows in a [`Batch`]. It keeps no state between chunks, so
//! that chunks of one file are parsed in parallel; what needs an order (identifiers, snapshot differences) is done
//! by `write` in one sequential pass. The table [`FORMATS`] declares every format: how it is recognised, where it
//! may be cut, how to capture it and what it can prove.

mod audit;
mod batch;
mod borrowed;
mod bpftool_map;
mod bpftool_prog;
mod bpftrace_json;
mod bpftrace_text;
mod cilium_config;
mod cilium_lb_list;
mod cilium_log;
mod cilium_metrics_list;
mod clock;
mod exposition;
mod format;
#[cfg(test)]
mod harness;
mod hubble;
mod hubble_text;
mod instant;
mod iptables_list;
mod iptables_save;
mod json_pairs;
mod kube_proxy_log;
mod kubernetes;
mod lb4_reader;
mod list;
mod log_line;
mod markers;
mod metric_line;
mod native_histogram;
mod prometheus_api;
pub mod prometheus_tsdb;
#[cfg(test)]
mod recognition;
mod requests;
mod rule_comment;
pub mod snapshot;
mod stamped;
mod trace_line;
mod transcript;
mod versions;
mod watch;

pub use batch::{Batch, RawSnapshot, Sample, SeriesKey};
pub use format::{Chunk, Context, Cut, Format, Head, Line, Sniff};

/// Every format, in the order in which they are asked: the more certain first.
pub const FORMATS: &[&Format] = &[
    &clock::FORMAT,
    &markers::FORMAT,
    &versions::FORMAT,
    &lb4_reader::FORMAT,
    &cilium_lb_list::FORMAT,
    &iptables_save::FORMAT,
    &iptables_list::FORMAT,
    &audit::FORMAT,
    &watch::FORMAT,
    &requests::FORMAT,
    &list::FORMAT,
    &transcript::FORMAT,
    &exposition::SCRAPE,
    &bpftrace_json::FORMAT,
    &bpftool_prog::FORMAT,
    &bpftool_map::LIST,
    &bpftool_map::DESCRIPTORS,
    &hubble::FORMAT,
    &hubble_text::FORMAT,
    &cilium_metrics_list::FORMAT,
    &cilium_config::CONFIG,
    &cilium_config::VERSION,
    &prometheus_api::FORMAT,
    &prometheus_tsdb::FORMAT,
    &kube_proxy_log::FORMAT,
    &cilium_log::FORMAT,
    &bpftrace_text::FORMAT,
    // Text that hardly anything marks: asked last.
    &exposition::EXPOSITION,
];

/// How each format of snapshots is taken apart.
pub const DISSECTORS: &[&snapshot::Dissector] =
    &[&cilium_lb_list::DISSECTOR, &iptables_list::DISSECTOR, &iptables_save::DISSECTOR, &lb4_reader::DISSECTOR];
