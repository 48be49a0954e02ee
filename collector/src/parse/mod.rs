//! Parsers: one file a format, all of the same shape.
//!
//! A parser is a function from a [`Chunk`] of bytes to rows in a [`Batch`]. It keeps no state between chunks, so
//! that chunks of one file are parsed in parallel; what needs an order (identifiers, snapshot differences) is done
//! by `write` in one sequential pass. The table [`FORMATS`] declares every format: how it is recognised, where it
//! may be cut, how to capture it and what it can prove.

pub mod clients;
pub mod dataplane;
#[cfg(test)]
mod extremes;
pub mod flows;
#[cfg(test)]
pub(crate) mod harness;
pub mod kernel;
pub mod logs;
pub mod metrics;
pub mod objects;
#[cfg(test)]
mod recognition;
pub mod setting;
pub mod syntax;

use crate::form::{Batch, Chunk, Context, Format, Reads};

/// Every format, in the order in which they are asked: the more certain first.
pub const FORMATS: &[&Format] = &[
    &setting::clock::FORMAT,
    &setting::chrony::FORMAT,
    &setting::chrony_text::FORMAT,
    &setting::markers::FORMAT,
    &setting::versions::FORMAT,
    &setting::recording::FORMAT,
    &objects::beacon::FORMAT,
    &dataplane::lb4_reader::FORMAT,
    &dataplane::listing_diff::FORMAT,
    &dataplane::cilium_lb_list::FORMAT,
    &dataplane::cilium_service_json::FORMAT,
    &dataplane::cilium_service_list::FORMAT,
    &dataplane::bpftool_dump::FORMAT,
    &dataplane::iptables_save::FORMAT,
    &dataplane::iptables_list::FORMAT,
    &dataplane::ipvsadm::FORMAT,
    &dataplane::ipset::FORMAT,
    &dataplane::nft_json::FORMAT,
    &kernel::nft_monitor::FORMAT,
    &dataplane::nft_text::FORMAT,
    &objects::audit::FORMAT,
    &objects::audit_document::FORMAT,
    &objects::watch::FORMAT,
    &clients::requests::FORMAT,
    &clients::k6::FORMAT,
    &clients::vegeta::FORMAT,
    &clients::request_csv::FORMAT,
    &clients::client_summary::FORMAT,
    &objects::list::FORMAT,
    &clients::kube_burner::FORMAT,
    &clients::cluster_loader::FORMAT,
    &setting::transcript::FORMAT,
    &metrics::exposition::SCRAPE,
    &kernel::bpftrace_json::FORMAT,
    &kernel::bpftool_prog::FORMAT,
    &kernel::bpftool_map::LIST,
    &kernel::bpftool_map::DESCRIPTORS,
    &flows::hubble::FORMAT,
    &flows::hubble_dict::FORMAT,
    &flows::hubble_text::FORMAT,
    &metrics::cilium_metrics_list::FORMAT,
    &setting::cilium_config::CONFIG,
    &setting::cilium_config::VERSION,
    &setting::cilium_status::FORMAT,
    &flows::cilium_monitor::FORMAT,
    &metrics::prometheus_api::FORMAT,
    &metrics::prometheus_tsdb::FORMAT,
    &metrics::promtool_dump::FORMAT,
    &metrics::victoria_export::FORMAT,
    &logs::kube_proxy_log::FORMAT,
    &logs::cilium_log::FORMAT,
    &kernel::bpftrace_text::FORMAT,
    &objects::kubectl_table::FORMAT,
    // Text that hardly anything marks: asked last.
    &metrics::exposition::EXPOSITION,
];

/// Makes rows of a chunk.
pub fn read(format: &Format, context: &Context, chunk: &Chunk, batch: &mut Batch) {
    match format.reads {
        Reads::Rows(parse) => parse(context, chunk, batch),
        Reads::State(dissector) => dataplane::series::take(context, chunk, batch, dissector),
    }
}
