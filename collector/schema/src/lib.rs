//! What a row of a bundle is: tables, columns, units and the version; and how text out of it is shown. No I/O but [`printable::tell`].
//!
//! Each table is one file of this crate, named like the format or fact that it holds. [`table!`] declares the
//! row once; the collector writes it through [`ColumnSink`], the analyzer reads it through [`ColumnSource`], so
//! that the two programs cannot disagree about a column.
//!
//! All times are `i64` nanoseconds since the Unix epoch, or since boot for `…/boottime` and `…/monotonic`
//! clocks, exactly as captured: alignment belongs to the analyzer. `source` is an index into the manifest's
//! `sources`, `record` the 1-based line (or record) of that source that the row was read from.

#[macro_use]
pub mod table;

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
pub mod printable;
pub mod rejects;
pub mod requests;
pub mod samples;
pub mod services;
pub mod syncs;
pub mod trace;

pub use table::{Column, ColumnSink, ColumnSource, ColumnType, Row, Text, is_possible};

/// Version of the bundle. Change it with any column of any table; old versions stay readable.
pub const FORMAT_VERSION: u32 = 4;

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
    (samples::StartRow::TABLE, samples::StartRow::COLUMNS),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_in_nanoseconds_is_a_time() {
        let of = |column: &&Column| column.kind == ColumnType::I64;
        let mut times = 0;
        for column in TABLES.iter().flat_map(|(_, columns)| *columns).filter(of) {
            let told = [" ns", "nsecs", "As above", "As in `trace_maps`"].iter().any(|word| column.doc.contains(word));
            assert_eq!(column.is_time(), told, "{}:{}", column.name, column.doc);
            times += usize::from(told);
        }
        assert!(times > 30, "{times}");
    }
}
