//! A run over a bundle made of rows, for tests: no captures, no windows unless a test sets them.

use std::path::Path;

use syncline_collector::write::tables::Tables;
use syncline_schema::FORMAT_VERSION;
use syncline_schema::manifest::{Manifest, Source};
use syncline_schema::samples::{SampleRow, SeriesRow};

use crate::bundle::Bundle;
use crate::events::{Run, Windows};

/// One second, ns.
pub const SECOND: i64 = 1_000_000_000;

/// A run whose bundle holds what `fill` writes.
pub fn run(folder: &Path, dataplane: &str, fill: impl FnOnce(&mut Tables)) -> Run {
    let mut tables = Tables::new(folder);
    fill(&mut tables);
    tables.close().expect("tables are written");
    let source = |path: &str| Source { path: path.into(), first: Some(0), ..Source::default() };
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        sources: vec![source("a.stream"), source("b.json")],
        ..Manifest::default()
    };
    Run {
        bundle: Bundle { path: folder.to_owned(), manifest, ..Bundle::default() },
        name: "run".into(),
        id: "0".into(),
        dataplane: dataplane.into(),
        scenario: "scale-up".into(),
        synthetic: false,
        node: "node-a".into(),
        clocks: crate::clock::Graph::default(),
        windows: Windows::default(),
        services: Some(5),
        baseline_endpoints: Some(1),
        service_under_test: Some("default/test".into()),
        episodes: Vec::new(),
        pods: Default::default(),
        moves: Default::default(),
        totals: Vec::new(),
        facts: std::collections::BTreeMap::new(),
        findings: Vec::new(),
    }
}

/// Writes a series and its samples (seconds, value).
pub fn series(tables: &mut Tables, id: i64, witness: &str, name: &str, labels: &str, samples: &[(i64, f64)]) {
    let row = SeriesRow {
        source: i32::from(witness == "api"),
        record: 1,
        series: id,
        clock: "node-a".into(),
        witness: witness.to_owned().into(),
        name: name.to_owned().into(),
        labels: labels.to_owned().into(),
        ..SeriesRow::default()
    };
    tables.push(&row).expect("a series is written");
    for (at, value) in samples {
        let row = SampleRow { series: id, record: *at, time: at * SECOND, value: *value, ..SampleRow::default() };
        tables.push(&row).expect("a sample is written");
    }
}
