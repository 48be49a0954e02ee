//! Bundles of every format version stay readable: one small bundle per version is kept in `tests/fixtures`.

use std::path::{Path, PathBuf};
use std::process::Command;

use syncline::bundle::{Bundle, MEMORY};
use syncline_schema::{FORMAT_VERSION, Row, TABLES};

fn kept() -> Vec<(u32, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .expect("fixtures")
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let version = path.file_name()?.to_str()?.strip_prefix("bundle-v")?.parse().ok()?;
            Some((version, path))
        })
        .collect();
    found.sort();
    found
}

fn rows<R: Row<'static> + Send>(bundle: &Bundle) -> usize {
    bundle.rows::<R>(None).unwrap_or_else(|error| panic!("{}: {error:#}", R::TABLE)).len()
}

/// Rows of a table by its name; a table without an arm here fails the test.
fn count(bundle: &Bundle, table: &str) -> usize {
    use syncline_schema::{
        audit, beacons, clock_anchors, dataplane, endpoints, facts, flows, histograms, logs, loss, markers, pods,
        rejects, requests, samples, services, syncs, trace,
    };
    match table {
        "audit" => rows::<audit::AuditRow<'static>>(bundle),
        "endpoints" => rows::<endpoints::EndpointRow<'static>>(bundle),
        "beacons" => rows::<beacons::BeaconRow<'static>>(bundle),
        "pods" => rows::<pods::PodRow<'static>>(bundle),
        "services" => rows::<services::ServiceRow<'static>>(bundle),
        "dataplane_rules" => rows::<dataplane::RuleRow<'static>>(bundle),
        "dataplane_changes" => rows::<dataplane::ChangeRow<'static>>(bundle),
        "dataplane_snapshots" => rows::<dataplane::SnapshotRow<'static>>(bundle),
        "trace_events" => rows::<trace::EventRow<'static>>(bundle),
        "trace_maps" => rows::<trace::MapRow<'static>>(bundle),
        "trace_histograms" => rows::<trace::HistogramRow<'static>>(bundle),
        "series" => rows::<samples::SeriesRow<'static>>(bundle),
        "samples" => rows::<samples::SampleRow<'static>>(bundle),
        "starts" => rows::<samples::StartRow<'static>>(bundle),
        "histograms" => rows::<histograms::NativeHistogramRow<'static>>(bundle),
        "flows" => rows::<flows::FlowRow<'static>>(bundle),
        "logs" => rows::<logs::LogRow<'static>>(bundle),
        "syncs" => rows::<syncs::SyncRow<'static>>(bundle),
        "requests" => rows::<requests::RequestRow<'static>>(bundle),
        "markers" => rows::<markers::MarkerRow<'static>>(bundle),
        "clock_anchors" => rows::<clock_anchors::ClockAnchorRow<'static>>(bundle),
        "facts" => rows::<facts::FactRow<'static>>(bundle),
        "rejects" => rows::<rejects::RejectRow<'static>>(bundle),
        "losses" => rows::<loss::LossRow<'static>>(bundle),
        other => panic!("{other}: read it here too"),
    }
}

#[test]
fn every_version_has_a_bundle_and_every_table_of_it_is_read() {
    let kept = kept();
    let versions: Vec<u32> = kept.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, (1..=FORMAT_VERSION).collect::<Vec<_>>(), "one small bundle per version");
    for (version, path) in kept {
        let bundle = Bundle::open(&path, MEMORY).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(bundle.manifest.format_version, version);
        let mut filled = 0;
        for (table, _) in TABLES {
            let stated = bundle.manifest.tables.iter().find(|one| one.name == *table).map_or(0, |one| one.rows);
            assert_eq!(count(&bundle, table) as u64, stated, "version {version}, table {table}");
            filled += usize::from(stated > 0);
        }
        assert!(filled >= 15, "version {version}: only {filled} tables have rows, the others are not tried");
        let judged = Command::new(env!("CARGO_BIN_EXE_syncline")).arg("check").arg(&path).output().expect("it starts");
        assert!(matches!(judged.status.code(), Some(0 | 1)), "version {version}: {judged:?}");
    }
}
