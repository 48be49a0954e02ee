//! Parsers: one file a format, all of the same shape.
//!
//! A parser is a function from a [`Chunk`] of bytes to rows in a [`Batch`]. It keeps no state between chunks, so
//! that chunks of one file are parsed in parallel; what needs an order (identifiers, snapshot differences) is done
//! by `write` in one sequential pass. The table [`FORMATS`] declares every format: how it is recognised, where it
//! may be cut, how to capture it and what it can prove.

mod audit;
mod batch;
mod cilium_lb_list;
mod clock;
mod format;
mod iptables_list;
mod iptables_save;
mod kubernetes;
mod lb4_reader;
mod list;
mod markers;
mod requests;
pub mod snapshot;
mod stamped;
mod watch;

mod cilium_lb_list;
mod exposition;
#[cfg(test)]
mod harness;
mod hubble;
mod hubble_text;
mod instant;
mod iptables_list;
mod iptables_save;
mod lb4_reader;
mod metric_line;
mod rule_comment;
mod stamped;

pub use batch::{Batch, RawSnapshot, Sample, SeriesKey};
pub use format::{Chunk, Context, Cut, Format, Head, Line, Sniff};

/// Every format, in the order in which they are asked: the more certain first.
pub const FORMATS: &[&Format] = &[
    &clock::CLOCK,
    &markers::MARKERS,
    &iptables_save::IPTABLES_SAVE,
    &iptables_list::IPTABLES_LIST,
    &cilium_lb_list::CILIUM_LB_LIST,
    &lb4_reader::LB4_READER,
    &audit::AUDIT,
    &watch::WATCH,
    &requests::REQUESTS,
    &list::LIST,
    &exposition::SCRAPE,
    &lb4_reader::FORMAT,
    &cilium_lb_list::FORMAT,
    &iptables_save::FORMAT,
    &iptables_list::FORMAT,
    // Text that hardly anything marks: asked last.
    &exposition::EXPOSITION,
];

/// How each format of snapshots is taken apart.
pub const DISSECTORS: &[&snapshot::Dissector] =
    &[&cilium_lb_list::DISSECTOR, &iptables_list::DISSECTOR, &iptables_save::DISSECTOR, &lb4_reader::DISSECTOR];
