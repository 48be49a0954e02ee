//! Captures in the shapes that people make them, one format each (`fixtures/faults`): what the rows must say.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::Manifest;
use tempfile::TempDir;

/// A bundle of a fixture.
struct Bundle {
    folder: TempDir,
    manifest: Manifest,
}

impl Bundle {
    /// Of a folder (or a file) of `fixtures/faults`.
    fn of(fixture: &str) -> Self {
        let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults");
        Self::from(&faults.join(fixture))
    }

    /// Of one file with a text.
    fn with(name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("written");
        Self::from(folder.path())
    }

    fn from(input: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("bundle");
        let inputs = vec![input.to_owned()];
        let options =
            BundleOptions { inputs, out: out.clone(), node: Some("node-a".to_owned()), ..BundleOptions::default() };
        bundle(&options).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
        let text = std::fs::read_to_string(out.join("manifest.json")).expect("a manifest");
        Self { folder, manifest: serde_json::from_str(&text).expect("JSON") }
    }

    /// Rows of a table: the columns named, joined by blanks; `-` for null.
    fn rows(&self, table: &str, columns: &[&str]) -> Vec<String> {
        let path = self.folder.path().join("bundle").join(format!("{table}.parquet"));
        let Ok(file) = File::open(path) else { return Vec::new() };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
        let mut rows = Vec::new();
        for batch in reader {
            let batch = batch.expect("rows");
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = columns.iter().map(|name| cell(&batch, name, row)).collect();
                rows.push(cells.join(" "));
            }
        }
        rows
    }

    /// How often a loss was counted.
    fn loss(&self, name: &str) -> u64 {
        self.manifest.losses.iter().filter(|loss| loss.name == name).map(|loss| loss.count).sum()
    }

    /// Kind, records and rejects of each source but `capture.toml`.
    fn sources(&self) -> Vec<(&str, u64, u64)> {
        let sources = self.manifest.sources.iter().filter(|source| source.kind != "capture-toml");
        sources.map(|source| (source.kind.as_str(), source.records, source.rejected)).collect()
    }

    /// What the source whose path ends so resembles.
    fn nearest(&self, ending: &str) -> String {
        let found = self.manifest.sources.iter().find(|source| source.path.ends_with(ending));
        found.and_then(|source| source.nearest.clone()).unwrap_or_default()
    }
}

fn cell(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    if column.is_null(row) {
        return "-".to_owned();
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        texts.value(row).to_owned()
    } else if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
        numbers.value(row).to_string()
    } else if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
        numbers.value(row).to_string()
    } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        numbers.value(row).to_string()
    } else {
        column.as_boolean().value(row).to_string()
    }
}

#[test]
fn a_sync_that_failed_gives_no_latency() {
    let bundle = Bundle::of("c16-failed-sync");
    let syncs = bundle.rows("syncs", &["record", "moment", "duration", "family", "detail"]);
    assert_eq!(syncs, ["1 start - IPv4 -", "6 failed 50000000 IPv4 Failed to execute iptables-restore"]);
    let lines = bundle.rows("logs", &["record", "level", "time"]);
    assert_eq!(
        lines[1..4],
        ["2 error 1770091506149000000", "3 error 1770091506149000000", "4 error 1770091506149000000"]
    );
}

#[test]
fn one_family_may_fail_while_the_other_completes() {
    let text = concat!(
        "I0203 04:05:06.100000       1 proxier.go:1] \"Syncing iptables rules\" ipFamily=\"IPv4\"\n",
        "I0203 04:05:06.100000       1 proxier.go:1] \"Syncing iptables rules\" ipFamily=\"IPv6\"\n",
        "I0203 04:05:06.149500       1 proxier.go:1] \"Sync failed\" ipFamily=\"IPv4\" retryingTime=\"30s\"\n",
        "I0203 04:05:06.150000       1 proxier.go:1] \"SyncProxyRules complete\" ipFamily=\"IPv6\" elapsed=\"50ms\"\n",
        "I0203 04:05:06.150000       1 proxier.go:1] \"Syncing iptables rules\" ipFamily=\"IPv4\"\n",
        "I0203 04:05:06.250000       1 proxier.go:1] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"100ms\"\n",
    );
    let syncs = Bundle::with("kube-proxy.log", text).rows("syncs", &["record", "moment", "family", "duration"]);
    assert_eq!(
        syncs[2..],
        ["3 failed IPv4 -", "4 complete IPv6 50000000", "5 start IPv4 -", "6 complete IPv4 100000000"]
    );
}

#[test]
fn an_entry_without_its_header_has_the_time_of_who_carried_it() {
    let text = "2026-02-03T04:05:06.2Z \"Syncing iptables rules\" ipFamily=\"IPv4\"\n2026-02-03T04:05:06.3Z \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"50ms\"\n";
    let bundle = Bundle::with("proxy.txt", text);
    let syncs = bundle.rows("syncs", &["moment", "time", "duration"]);
    assert_eq!(syncs, ["start 1770091506200000000 -", "complete 1770091506300000000 50000000"]);
}

#[test]
fn flows_in_an_agents_log_are_flows() {
    let bundle = Bundle::of("c07-flows-in-agent-log");
    assert_eq!(bundle.rows("flows", &["record", "verdict", "flags"]), ["5 DROPPED SYN", "6 DROPPED SYN"]);
    assert_eq!(bundle.rows("logs", &["record"]).len(), 4);
    // Also where the flows come first, or nothing else is there for long.
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults/c07-flows-in-agent-log/cilium-agent.log"),
    );
    let turned: Vec<String> = text.expect("a fixture").lines().rev().map(str::to_owned).collect();
    let bundle = Bundle::with("agent.txt", &(turned.join("\n") + "\n"));
    assert_eq!((bundle.rows("flows", &["record"]).len(), bundle.rows("logs", &["record"]).len()), (2, 4));
}

#[test]
fn an_audit_event_in_a_proxys_log_is_an_event() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","verb":"get","requestReceivedTimestamp":"2026-02-03T04:05:06.100000Z","stageTimestamp":"2026-02-03T04:05:06.200000Z","objectRef":{"resource":"pods","namespace":"d","name":"x"}}"#;
    let text = format!(
        "I0203 04:05:06.100000       1 proxier.go:1] \"Syncing iptables rules\"\n{event}\n{{\"other\": 1}}\nI0203 04:05:06.200000       1 proxier.go:1] \"SyncProxyRules complete\" elapsed=\"50ms\"\n"
    );
    let bundle = Bundle::with("kube-proxy.log", &text);
    assert_eq!(bundle.rows("audit", &["record"]), ["2"]);
    assert_eq!((bundle.rows("syncs", &["record"]).len(), bundle.loss("foreign-lines")), (2, 1));
}
