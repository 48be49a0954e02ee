//! What others put around a capture, taken off ahead of recognition: one layer, one file, one list.
//!
//! A line goes from the file through the layers that the file wears, outermost first, to the format that reads what stood inside.
//! [`Layer`] says what a layer declares; `strip` is how a stack of them works.

pub mod azure;
pub mod cloudwatch;
pub mod cluster_dump;
pub mod compose;
pub mod cri;
pub mod dates;
pub mod docker;
pub mod fluent_bit;
pub mod google;
#[cfg(test)]
pub(crate) mod harness;
pub mod journald;
pub mod journald_json;
mod json_fields;
mod json_message;
mod json_scan;
mod json_store;
pub mod kubectl_prefix;
pub mod layer;
pub mod loki;
pub mod margin;
pub mod numbered;
pub mod opensearch;
pub mod preface;
mod prefix;
pub mod prompt;
mod screen;
pub mod splunk;
pub mod stern;
pub mod strip;
pub mod syslog;
pub mod terminal;
pub mod times;
pub mod vector;
pub mod watch;

pub use layer::{Dressed, Layer, Out, Peel, Setting};

/// Every layer, in the order in which they are looked for: those that lie outermost first.
pub const LAYERS: &[&Layer] = &[
    &terminal::LAYER,
    &cluster_dump::LAYER,
    &opensearch::LAYER,
    &loki::LAYER,
    &loki::TEXT,
    &cloudwatch::LAYER,
    &google::LAYER,
    &google::YAML,
    &azure::LAYER,
    &splunk::LAYER,
    &stern::JSON,
    &vector::LAYER,
    &docker::LAYER,
    &fluent_bit::LAYER,
    &journald_json::LAYER,
    &kubectl_prefix::LAYER,
    &syslog::LAYER,
    &journald::LAYER,
    &cri::LAYER,
    &watch::LAYER,
    &prompt::LAYER,
    &preface::LAYER,
    &dates::LAYER,
    &cloudwatch::TEXT,
    &times::LAYER,
    &margin::LAYER,
    &numbered::LAYER,
    &stern::LAYER,
    &compose::LAYER,
    &fluent_bit::BARE,
];
