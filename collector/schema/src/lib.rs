//! What a row of a bundle is: tables, columns, units and the version. No I/O.
//!
//! Each table is one file of this crate, named like the format or fact that it holds. [`table!`] declares the
//! row once; the collector writes it through [`ColumnSink`], the analyzer reads it through [`ColumnSource`], so
//! that the two programs cannot disagree about a column.
//!
//! All times are `i64` nanoseconds since the Unix epoch, or since boot for `…/boottime` and `…/monotonic`
//! clocks, exactly as captured: alignment belongs to the analyzer. `source` is an index into the manifest's
//! `sources`, `record` the 1-based line (or record) of that source that the row was read from.

#[macro_use]
mod table;

pub mod audit;
pub mod beacons;
pub mod clock;
pub mod clock_anchors;
pub mod dataplane;
pub mod endpoints;
pub mod facts;
pub mod flows;
pub mod histograms;
pub mod logs;
pub mod loss;
pub mod manifest;
pub mod markers;
pub mod pods;
pub mod rejects;
pub mod requests;
pub mod samples;
pub mod services;
pub mod syncs;
pub mod trace;

pub use table::{Column, ColumnSink, ColumnSource, ColumnType, Row, Text};

/// Version of the bundle. Change it with any column of any table; old versions stay readable.
pub const FORMAT_VERSION: u32 = 3;

/// All tables of a bundle, in the order of the manifest: name and columns.
pub const TABLES: &[(&str, &[Column])] = &[
    (audit::AuditRow::TABLE, audit::AuditRow::COLUMNS),
    (endpoints::EndpointRow::TABLE, endpoints::EndpointRow::COLUMNS),
    (beacons::BeaconRow::TABLE, beacons::BeaconRow::COLUMNS),
    (pods::PodRow::TABLE, pods::PodRow::COLUMNS),
    (services::ServiceRow::TABLE, services::ServiceRow::COLUMNS),
    (dataplane::RuleRow::TABLE, dataplane::RuleRow::COLUMNS),
    (dataplane::ChangeRow::TABLE, dataplane::ChangeRow::COLUMNS),
    (dataplane::SnapshotRow::TABLE, dataplane::SnapshotRow::COLUMNS),
    (trace::EventRow::TABLE, trace::EventRow::COLUMNS),
    (trace::MapRow::TABLE, trace::MapRow::COLUMNS),
    (trace::HistogramRow::TABLE, trace::HistogramRow::COLUMNS),
    (samples::SeriesRow::TABLE, samples::SeriesRow::COLUMNS),
    (samples::SampleRow::TABLE, samples::SampleRow::COLUMNS),
    (histograms::NativeHistogramRow::TABLE, histograms::NativeHistogramRow::COLUMNS),
    (flows::FlowRow::TABLE, flows::FlowRow::COLUMNS),
    (logs::LogRow::TABLE, logs::LogRow::COLUMNS),
    (syncs::SyncRow::TABLE, syncs::SyncRow::COLUMNS),
    (requests::RequestRow::TABLE, requests::RequestRow::COLUMNS),
    (markers::MarkerRow::TABLE, markers::MarkerRow::COLUMNS),
    (clock_anchors::ClockAnchorRow::TABLE, clock_anchors::ClockAnchorRow::COLUMNS),
    (facts::FactRow::TABLE, facts::FactRow::COLUMNS),
    (rejects::RejectRow::TABLE, rejects::RejectRow::COLUMNS),
    (loss::LossRow::TABLE, loss::LossRow::COLUMNS),
];
