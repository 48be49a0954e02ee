//! From a run and its result to the rows of an archive.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use serde::Serialize;
use syncline_schema::Text;
use syncline_schema::manifest::Manifest;
use syncline_schema::requests::RequestRow as Request;

use super::select::begun;
use super::tables::{EpisodeRow, FactRow, Filler, FindingRow, LossRow, MeasurementRow, QueryRow, RequestRow, RunRow};
use super::{RESULTS_VERSION, Stored};
use crate::clock::Evidence;
use crate::events::facts::Facts;
use crate::events::{Episode, Phase, Run, Window};
use crate::math::Estimate;
use crate::measure::Measurement;
use crate::measure::requests::kind_of;
use crate::result::RunResult;
use crate::result::propagation::delay;

/// The smallest bucket of times to the answer, s, and how much longer each is than the one before.
const SHORTEST: f64 = 1e-4;
const WIDER: f64 = std::f64::consts::SQRT_2;

/// What only the open run can give: its episodes and its requests.
#[derive(Debug, Default)]
pub struct OfRun {
    episodes: Vec<EpisodeRow<'static>>,
    requests: Vec<RequestRow<'static>>,
}

impl OfRun {
    /// Of a run whose identity is `id`.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn new(run: &Run, id: &str) -> anyhow::Result<Self> {
        let episodes = run.episodes.iter().map(|one| episode(run, one, id)).collect();
        Ok(Self { episodes, requests: requests(run, id)? })
    }
}

/// All rows of a run, a batch a table in the order of [`super::tables::TABLES`].
///
/// # Errors
/// None that data can cause.
pub fn rows(stored: &Stored, of_run: &OfRun) -> anyhow::Result<Vec<RecordBatch>> {
    let (id, result) = (stored.id.as_str(), &stored.result);
    let manifest = result.run.manifest.open();
    let mut filler = Filler::default();
    for (key, (value, evidence)) in &result.run.facts {
        let (path, record) = (evidence.path.as_str().into(), evidence.record);
        filler.push(&FactRow {
            run_id: id.into(),
            key: key.as_str().into(),
            value: value.as_str().into(),
            path,
            record,
            ..FactRow::default()
        });
    }
    result.measurements.iter().for_each(|one| filler.push(&measurement(one, id)));
    of_run.episodes.iter().for_each(|one| filler.push(one));
    of_run.requests.iter().for_each(|one| filler.push(one));
    queries(result, id, &mut filler);
    for one in &result.run.findings {
        let (path, record) = first(&one.evidence);
        filler.push(&FindingRow {
            run_id: id.into(),
            title: one.title.as_str().into(),
            detail: one.detail.as_str().into(),
            path,
            record,
            ..FindingRow::default()
        });
    }
    for one in &manifest.losses {
        filler.push(&LossRow {
            run_id: id.into(),
            name: one.name.as_str().into(),
            severity: one.severity.as_str().into(),
            count: signed(one.count),
            source: one.source.as_deref().map(Cow::from),
            meaning: one.meaning.as_str().into(),
            remedy: one.remedy.as_str().into(),
            ..LossRow::default()
        });
    }
    filler.push(&run(stored, &manifest));
    filler.finish()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The word that a value is written as.
fn word(value: impl Serialize) -> Text<'static> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.into(),
        _ => Text::default(),
    }
}

fn first(evidence: &[Evidence]) -> (Option<Text<'_>>, Option<i64>) {
    let one = evidence.first();
    (one.map(|one| one.path.as_str().into()), one.map(|one| one.record))
}

fn run<'r>(stored: &'r Stored, manifest: &Manifest) -> RunRow<'r> {
    let (result, header) = (&stored.result, &stored.result.run);
    let fact = |key: &str| text(&header.facts, key);
    let windows = &header.windows;
    let length = |window: &Option<Window>| window.as_ref().map(Window::seconds);
    let sources = &manifest.sources;
    let sum = |of: fn(&syncline_schema::manifest::Source) -> u64| {
        signed(sources.iter().fold(0, |sum: u64, one| sum.saturating_add(of(one))))
    };
    let measured = result.measurements.iter().filter(|one| one.missing.is_none()).count();
    RunRow {
        run_id: stored.id.as_str().into(),
        name: header.name.as_str().into(),
        path: stored.path.as_str().into(),
        node: header.node.as_str().into(),
        synthetic: header.synthetic,
        started: begun(header),
        clock: windows.clock.as_str().into(),
        baseline_seconds: length(&windows.baseline),
        action_seconds: length(&windows.action),
        tail_seconds: length(&windows.tail),
        services: header.services.map(signed),
        baseline_endpoints: header.baseline_endpoints.map(signed),
        service_under_test: header.service_under_test.as_deref().map(Cow::from),
        kubernetes: fact("version/kubernetes"),
        cilium: fact("version/cilium"),
        kube_proxy: fact("version/kube-proxy"),
        kernel: fact("version/linux"),
        nodes: fact("count/nodes").and_then(|text| text.parse().ok()),
        cores: fact("count/cores").and_then(|text| text.parse().ok()),
        label: fact("label"),
        sources: sources.len() as i64,
        records: sum(|one| one.records),
        rejected: sum(|one| one.rejected),
        losses: manifest.losses.len() as i64,
        findings: header.findings.len() as i64,
        measured: measured as i64,
        not_measured: (result.measurements.len() - measured) as i64,
        results_version: RESULTS_VERSION.cast_signed(),
        ..RunRow::default()
    }
}

fn text<'f>(facts: &'f Facts, key: &str) -> Option<Text<'f>> {
    facts.get(key).map(|(value, _)| value.trim()).filter(|value| !value.is_empty()).map(Cow::from)
}

fn measurement<'m>(one: &'m Measurement, id: &'m str) -> MeasurementRow<'m> {
    let quantile = |name: &str| one.quantiles.get(name).copied().unwrap_or_default();
    let [p50, p90, p95, p99, max] = ["p50", "p90", "p95", "p99", "max"].map(quantile);
    let Estimate { value, low, high } = one.estimate;
    let (path, record) = first(&one.evidence);
    let query = one.evidence.iter().map(|one| one.query.as_str()).find(|query| !query.is_empty());
    MeasurementRow {
        run_id: id.into(),
        name: one.name.as_str().into(),
        variant: one.variant.as_str().into(),
        unit: one.unit.as_str().into(),
        n: signed(one.n),
        value,
        low,
        high,
        statistic: one.statistic.as_str().into(),
        ci_level: one.ci.map(|ci| ci.level),
        ci_low: one.ci.map(|ci| ci.low),
        ci_high: one.ci.map(|ci| ci.high),
        p50: p50.value,
        p50_low: p50.low,
        p50_high: p50.high,
        p90: p90.value,
        p90_low: p90.low,
        p90_high: p90.high,
        p95: p95.value,
        p95_low: p95.low,
        p95_high: p95.high,
        p99: p99.value,
        p99_low: p99.low,
        p99_high: p99.high,
        max: max.value,
        max_low: max.low,
        max_high: max.high,
        upper_bound_only: one.upper_bound_only,
        lower_bound_only: one.lower_bound_only,
        window: one.window.as_str().into(),
        method: one.method.as_str().into(),
        missing: one.missing.as_ref().map(|missing| missing.what.as_str().into()),
        remedy: one.missing.as_ref().map(|missing| missing.remedy.as_str().into()),
        notes: one.notes.join("\n").into(),
        path,
        record,
        query: query.map(Cow::from),
        ..MeasurementRow::default()
    }
}

fn episode(run: &Run, one: &Episode, id: &str) -> EpisodeRow<'static> {
    let owned = |text: &str| Text::Owned(text.to_owned());
    let of = |evidence: &[Evidence]| {
        let (path, record) = first(evidence);
        (path.map(|path| owned(&path)), record)
    };
    let (committed_path, committed_record) = of(&one.committed.evidence);
    let seen = one.dataplane.as_deref();
    let (dataplane_path, dataplane_record) = seen.map_or((None, None), |seen| of(&seen.evidence));
    let [delay_low, delay_high] = delay(run, one).unwrap_or_default();
    EpisodeRow {
        run_id: owned(id),
        node: owned(&one.node),
        service: owned(&one.endpoint.service),
        address: owned(&one.endpoint.address),
        port: one.endpoint.port,
        target: owned(&one.endpoint.target),
        direction: word(one.direction),
        number: one.number as i64,
        phase: one.phase.map(word),
        outcome: word(one.outcome),
        committed_clock: owned(&one.committed.clock),
        committed_low: one.committed.low,
        committed_high: one.committed.high,
        dataplane_clock: seen.map(|seen| owned(&seen.clock)),
        dataplane_low: seen.and_then(|seen| seen.low),
        dataplane_high: seen.and_then(|seen| seen.high),
        delay_low,
        delay_high,
        committed_path,
        committed_record,
        dataplane_path,
        dataplane_record,
        ..EpisodeRow::default()
    }
}

/// Bucket of a time to the answer: the power of the square root of two that it does not exceed.
fn bucket(latency: i64) -> i32 {
    let seconds = latency as f64 / 1e9;
    let mut power = ((seconds / SHORTEST).ln() / WIDER.ln()).ceil().max(0.0) as i32;
    while SHORTEST * WIDER.powi(power) < seconds {
        power += 1;
    }
    power
}

/// Phase, kind, what a failure looked like, bucket.
type Key = (Option<Phase>, String, Option<&'static str>, Option<i32>);

fn requests(run: &Run, id: &str) -> anyhow::Result<Vec<RequestRow<'static>>> {
    let mut counts: BTreeMap<Key, i64> = BTreeMap::new();
    let mut windows: BTreeMap<String, Vec<(Phase, Window)>> = BTreeMap::new();
    for one in run.bundle.rows::<Request<'static>>(None)? {
        let windows = windows.entry(one.clock.to_string()).or_insert_with(|| {
            let of = |phase| Some((phase, run.window(phase, &one.clock)?));
            [Phase::Baseline, Phase::Action, Phase::Tail].into_iter().filter_map(of).collect()
        });
        let phase = windows.iter().find(|(_, window)| window.contains(one.time)).map(|(phase, _)| *phase);
        // As measurements count them: an error text, an answer of 5xx, or no answer.
        let failed = one.error.is_some() || one.status.is_none_or(|status| status >= 500 || status == 0);
        let failure = failed.then(|| kind_of(one.error.as_deref(), one.status));
        let bucket = one.latency.filter(|latency| *latency >= 0).map(bucket);
        *counts.entry((phase, one.kind.into_owned(), failure, bucket)).or_default() += 1;
    }
    let row = |((phase, kind, failure, bucket), count): (Key, i64)| RequestRow {
        run_id: Text::Owned(id.to_owned()),
        phase: phase.map(word),
        kind: kind.into(),
        failure: failure.map(Cow::from),
        le: bucket.map(|power| SHORTEST * WIDER.powi(power)),
        count,
        ..RequestRow::default()
    };
    Ok(counts.into_iter().map(row).collect())
}

fn queries(result: &RunResult, id: &str, filler: &mut Filler) {
    for answer in &result.answers() {
        let blank = || QueryRow {
            run_id: id.into(),
            query: answer.query.as_str().into(),
            series: answer.series as i64,
            limits: answer.limits.join("\n").into(),
            ..QueryRow::default()
        };
        if answer.phases.is_empty() {
            filler.push(&blank());
        }
        for one in &answer.phases {
            filler.push(&QueryRow {
                phase: Some(word(one.phase)),
                n: one.n as i64,
                least: Some(one.least),
                median: Some(one.median),
                greatest: Some(one.greatest),
                ..blank()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_does_not_exceed_its_end_and_no_shorter_one_does() {
        for latency in [0, 1, 99_999, 100_000, 100_001, 141_421, 200_000, 1_000_000_000, i64::MAX] {
            let power = bucket(latency);
            let end = |power: i32| SHORTEST * WIDER.powi(power);
            let seconds = latency as f64 / 1e9;
            assert!(seconds <= end(power), "{latency}");
            assert!(power == 0 || seconds > end(power - 1) * (1.0 - 1e-12), "{latency}: {power}");
        }
    }
}
