//! The tables of an archive: what each run gave, a row a thing, for any engine that reads Parquet.
//!
//! All lie under `TABLE/dataplane=D/scenario=S/`, so that engines prune by both; these two are columns of the path. Every table begins with
//! `run_id`. Times are ns since 1970 on the clock that is named beside them; spans are seconds.

use syncline_collector::form::columns::TableBuilder;
use syncline_schema::{Column, Row, Text, table};

table! {
    /// One run: what it is, how long it took, what its captures are worth.
    pub struct RunRow<'a> in "runs" {
        /// Identity: SHA-256 over the hashes of its captures, first 32 hex digits.
        run_id: Text<'a>,
        /// Name of the run: as stated, else its folder's.
        name: Text<'a>,
        /// Where it lies below the root that it was found in.
        path: Text<'a>,
        /// Main node of the node-level captures.
        node: Text<'a>,
        /// Whether the captures were generated, not measured.
        synthetic: bool,
        /// When its first phase began, ns on `clock`.
        started: Option<i64>,
        /// Clock of `started`.
        clock: Text<'a>,
        /// Length of the baseline, s.
        baseline_seconds: Option<f64>,
        /// Length of the action, s.
        action_seconds: Option<f64>,
        /// Length of the tail, s.
        tail_seconds: Option<f64>,
        /// Services in the cluster.
        services: Option<i64>,
        /// Ready endpoints of the Service under test in the baseline.
        baseline_endpoints: Option<i64>,
        /// `namespace/name` of the Service whose endpoints change.
        service_under_test: Option<Text<'a>>,
        /// Version of Kubernetes.
        kubernetes: Option<Text<'a>>,
        /// Version of Cilium.
        cilium: Option<Text<'a>>,
        /// Version of kube-proxy.
        kube_proxy: Option<Text<'a>>,
        /// Version of Linux.
        kernel: Option<Text<'a>>,
        /// Nodes of the cluster.
        nodes: Option<i64>,
        /// CPUs of the node.
        cores: Option<i64>,
        /// `label` of capture.toml.
        label: Option<Text<'a>>,
        /// Files of the capture.
        sources: i64,
        /// Records that were read.
        records: i64,
        /// Records that were rejected.
        rejected: i64,
        /// Losses, each counted once.
        losses: i64,
        /// Things that a reader must know.
        findings: i64,
        /// Measurements with a figure.
        measured: i64,
        /// Measurements without one.
        not_measured: i64,
        /// Version of the results.
        results_version: i32,
    }
}

table! {
    /// One fact of a run: a version, a setting, a size.
    pub struct FactRow<'a> in "facts" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// Key: `version/cilium`, `config/min-sync-period`, `count/nodes`, …
        key: Text<'a>,
        /// Value as text.
        value: Text<'a>,
        /// File that tells it.
        path: Text<'a>,
        /// Line of the file; 0 where the whole of it is meant.
        record: i64,
    }
}

table! {
    /// One measurement of a run.
    pub struct MeasurementRow<'a> in "measurements" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// Name, as `report.json` has it.
        name: Text<'a>,
        /// What it is measured over where one name has several readings; empty for the main one.
        variant: Text<'a>,
        /// Unit of the figures.
        unit: Text<'a>,
        /// Number of things measured.
        n: i64,
        /// The main figure; null where it could not be measured.
        value: Option<f64>,
        /// Lower bound; null: unbounded below.
        low: Option<f64>,
        /// Upper bound; null: unbounded above.
        high: Option<f64>,
        /// Which statistic `value` is.
        statistic: Text<'a>,
        /// Level of the sampling interval.
        ci_level: Option<f64>,
        /// Its lower end.
        ci_low: Option<f64>,
        /// Its upper end.
        ci_high: Option<f64>,
        /// Median.
        p50: Option<f64>,
        /// Its lower bound.
        p50_low: Option<f64>,
        /// Its upper bound.
        p50_high: Option<f64>,
        /// 90th percentile.
        p90: Option<f64>,
        /// Its lower bound.
        p90_low: Option<f64>,
        /// Its upper bound.
        p90_high: Option<f64>,
        /// 95th percentile.
        p95: Option<f64>,
        /// Its lower bound.
        p95_low: Option<f64>,
        /// Its upper bound.
        p95_high: Option<f64>,
        /// 99th percentile.
        p99: Option<f64>,
        /// Its lower bound.
        p99_low: Option<f64>,
        /// Its upper bound.
        p99_high: Option<f64>,
        /// Largest.
        max: Option<f64>,
        /// Its lower bound.
        max_low: Option<f64>,
        /// Its upper bound.
        max_high: Option<f64>,
        /// Whether it bounds the claimed thing only from above.
        upper_bound_only: bool,
        /// Whether it bounds it only from below.
        lower_bound_only: bool,
        /// Window it was measured in, in words.
        window: Text<'a>,
        /// How it was measured.
        method: Text<'a>,
        /// What the captures lack, where there is no figure.
        missing: Option<Text<'a>>,
        /// What to capture next time, where there is no figure.
        remedy: Option<Text<'a>>,
        /// What a reader must know, a line each.
        notes: Text<'a>,
        /// File of the first piece of evidence.
        path: Option<Text<'a>>,
        /// Its line.
        record: Option<i64>,
        /// SQL that gives the figure from the run's bundle.
        query: Option<Text<'a>>,
    }
}

table! {
    /// One change of one endpoint on one node.
    pub struct EpisodeRow<'a> in "episodes" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// Node whose dataplane was observed.
        node: Text<'a>,
        /// `namespace/name` of the Service.
        service: Text<'a>,
        /// Address of the endpoint.
        address: Text<'a>,
        /// Its port.
        port: i32,
        /// Its pod.
        target: Text<'a>,
        /// `added`, `removed`.
        direction: Text<'a>,
        /// Number of this change among the endpoint's changes in this direction, from 0.
        number: i64,
        /// Phase that the commit falls into.
        phase: Option<Text<'a>>,
        /// `seen`, `never`, `superseded`, `unobserved`.
        outcome: Text<'a>,
        /// Clock of the commit.
        committed_clock: Text<'a>,
        /// Earliest time of the commit, ns.
        committed_low: Option<i64>,
        /// Latest time of the commit, ns.
        committed_high: Option<i64>,
        /// Clock of the dataplane.
        dataplane_clock: Option<Text<'a>>,
        /// Last time without the change, ns.
        dataplane_low: Option<i64>,
        /// First time with it, ns; null where it was not seen.
        dataplane_high: Option<i64>,
        /// Delay from the commit, both clocks related, s: at least.
        delay_low: Option<f64>,
        /// At most; null where it was not seen.
        delay_high: Option<f64>,
        /// File of the commit.
        committed_path: Option<Text<'a>>,
        /// Its line.
        committed_record: Option<i64>,
        /// File that shows it in the dataplane.
        dataplane_path: Option<Text<'a>>,
        /// Its line.
        dataplane_record: Option<i64>,
    }
}

table! {
    /// How many requests of a phase ended alike, by time to the answer.
    pub struct RequestRow<'a> in "requests" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// `baseline`, `action`, `tail`; null outside of them, or where the client's clock is not related.
        phase: Option<Text<'a>>,
        /// `new` (a new connection) or `keepalive`.
        kind: Text<'a>,
        /// What a failure looked like to the client (`refused`, `time-out`, `reset`, …); null for a success.
        failure: Option<Text<'a>>,
        /// Longest time to the answer in the bucket, s: a power of the square root of two times 0.1 ms; null where none was recorded.
        le: Option<f64>,
        /// Requests in this bucket alone.
        count: i64,
    }
}

table! {
    /// The answer of a query of the catalogue in one phase; one row without a phase where there is no value.
    pub struct QueryRow<'a> in "queries" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// PromQL.
        query: Text<'a>,
        /// Series in the answer.
        series: i64,
        /// `baseline`, `action`, `tail`.
        phase: Option<Text<'a>>,
        /// Steps with a value.
        n: i64,
        /// Smallest value.
        least: Option<f64>,
        /// Median of the values.
        median: Option<f64>,
        /// Largest value.
        greatest: Option<f64>,
        /// What limits it, a line each.
        limits: Text<'a>,
    }
}

table! {
    /// What a reader must know of a run.
    pub struct FindingRow<'a> in "findings" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// What it is.
        title: Text<'a>,
        /// What was found.
        detail: Text<'a>,
        /// File of the first piece of evidence.
        path: Option<Text<'a>>,
        /// Its line.
        record: Option<i64>,
    }
}

table! {
    /// What was lost of a run.
    pub struct LossRow<'a> in "losses" {
        /// Identity of the run.
        run_id: Text<'a>,
        /// Name of the loss.
        name: Text<'a>,
        /// `error`, `warning`, `info`.
        severity: Text<'a>,
        /// How often.
        count: i64,
        /// File; null where it concerns the whole run.
        source: Option<Text<'a>>,
        /// What it means.
        meaning: Text<'a>,
        /// What to do about it.
        remedy: Text<'a>,
    }
}

/// Name of the table that holds each result whole, for this program.
pub const RESULTS: &str = "results";

/// The tables that other programs read, with their columns. In the order in which they are published: a run that `runs` has is in
/// all of them.
pub const TABLES: [(&str, &[Column]); 8] = [
    (FactRow::TABLE, FactRow::COLUMNS),
    (MeasurementRow::TABLE, MeasurementRow::COLUMNS),
    (EpisodeRow::TABLE, EpisodeRow::COLUMNS),
    (RequestRow::TABLE, RequestRow::COLUMNS),
    (QueryRow::TABLE, QueryRow::COLUMNS),
    (FindingRow::TABLE, FindingRow::COLUMNS),
    (LossRow::TABLE, LossRow::COLUMNS),
    (RunRow::TABLE, RunRow::COLUMNS),
];

/// Fills tables row by row.
pub struct Filler(Vec<TableBuilder>);

impl Default for Filler {
    /// Empty tables.
    fn default() -> Self {
        Self(TABLES.iter().map(|(name, columns)| TableBuilder::new(name, columns)).collect())
    }
}

impl Filler {
    /// Adds a row to its table.
    pub fn push<'a, R: Row<'a>>(&mut self, row: &R) {
        if let Some(table) = self.0.iter_mut().find(|table| table.table == R::TABLE) {
            row.write(table);
        }
    }

    /// The tables as they are, in the order of [`TABLES`].
    ///
    /// # Errors
    /// Only where a row did not fill every column, which the row macro excludes.
    pub fn finish(mut self) -> anyhow::Result<Vec<arrow_array::RecordBatch>> {
        Ok(self.0.iter_mut().map(TableBuilder::finish).collect::<Result<_, _>>()?)
    }
}
