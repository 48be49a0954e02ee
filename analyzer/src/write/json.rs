//! `report.json`, as `templates/report.schema.json` describes it. What is not given is null, never a made-up number.

use std::io::{self, Write};

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::Serialize;
use serde_json::{Map, Value, json};
use syncline_schema::printable::printable_json;

use crate::math::Estimate;
use crate::measure::Measurement;
use crate::result::RunResult;
use crate::verdict::{Verdict, overall};
use crate::view::Judged;

/// Elements that are made at a time, in parallel.
const AT_ONCE: usize = 128;

/// Version of the shape; a change that readers would notice raises it.
pub const REPORT_VERSION: u32 = 1;

/// Writes the document: one line for each element of the top-level arrays, which is half the size of indented JSON, and `grep` and `diff`
/// still work. No more of it than [`AT_ONCE`] elements is held at a time.
///
/// # Errors
/// What the writer says.
pub fn write(out: &mut dyn Write, judged: &Judged, runs: &[RunResult]) -> io::Result<()> {
    let mut fields = Fields { out, first: true };
    let f = &mut fields;
    f.one("answer", &answer(judged))?;
    f.each("before_after", runs.iter().flat_map(|one| one.before_after().changes), |one| json!(one))?;
    f.each("beside", &judged.beside, |one| json!(one))?;
    f.each("clocks", runs, |r| {
        let clocks = &r.run.clocks;
        json!({ "run": r.run.name, "domains": clocks.domains, "edges": clocks.edges, "findings": clocks.findings })
    })?;
    f.one("environment", &judged.view.environment)?;
    f.one("generator", &format!("syncline {}", env!("CARGO_PKG_VERSION")))?;
    f.one("head_to_head", &head_to_head(judged))?;
    let losses = runs.iter().flat_map(|r| r.run.manifest.open().losses.into_iter().map(move |loss| (r, loss)));
    f.each("losses", losses, |(r, l)| {
        json!({ "run": r.run.name, "name": l.name, "severity": l.severity, "count": l.count, "source": l.source,
                "meaning": l.meaning, "remedy": l.remedy })
    })?;
    let measurements = runs.iter().flat_map(|r| r.measurements.iter().map(move |one| (r, one)));
    f.each("measurements", measurements, |(r, one)| measurement(one, &r.run.name))?;
    f.each("next", &judged.view.next, |one| json!(one))?;
    f.one("notes", &judged.view.notes)?;
    f.each("problems", &judged.view.problems, |one| json!(one))?;
    f.each("queries", runs.iter().flat_map(RunResult::answers), |one| json!(one))?;
    f.one("report_version", &REPORT_VERSION)?;
    f.each("runs", runs, run)?;
    f.each("summary", summary(&judged.verdicts), |one| one)?;
    f.one("synthetic", &runs.iter().any(|r| r.run.synthetic))?;
    f.one("title", &judged.view.title)?;
    f.each("verdicts", &judged.verdicts, |one| json!(one))?;
    f.out.write_all(b"\n}\n")
}

/// The fields of the document as they are written.
struct Fields<'w> {
    out: &'w mut dyn Write,
    first: bool,
}

impl Fields<'_> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        let before = if std::mem::take(&mut self.first) { "{\n" } else { ",\n" };
        write!(self.out, "{before}{}: ", json!(name))
    }

    fn one(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.begin(name)?;
        self.out.write_all(printable_json(&json!(value).to_string()).as_bytes())
    }

    fn each<T: Send>(
        &mut self,
        name: &str,
        all: impl IntoIterator<Item = T>,
        of: impl Fn(T) -> Value + Sync,
    ) -> io::Result<()> {
        self.begin(name)?;
        let mut before = "[\n";
        let mut all = all.into_iter();
        loop {
            let some: Vec<T> = all.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let texts: Vec<String> =
                some.into_par_iter().map(|one| printable_json(&of(one).to_string()).into_owned()).collect();
            for text in texts {
                self.out.write_all(before.as_bytes())?;
                self.out.write_all(text.as_bytes())?;
                before = ",\n";
            }
        }
        self.out.write_all(if before == "[\n" { b"[]" } else { b"\n]" })
    }
}

/// What the head to head and the claims come to, in sentences.
fn answer(judged: &Judged) -> String {
    let view = &judged.view;
    let said = view.head_to_head.choices.iter().map(|one| one.sentence.as_str());
    let all: Vec<&str> = said
        .chain([view.head_to_head.reach.as_str()])
        .chain(view.claims.iter().map(|side| side.sentence.as_str()))
        .collect();
    all.join(" ")
}

/// Columns, what is set against what, and every question in every scenario and size.
fn head_to_head(judged: &Judged) -> Value {
    let table = &judged.view.head_to_head;
    json!({ "columns": table.of, "choices": table.choices, "reach": table.reach, "questions": table.all })
}

/// The verdicts alone: what `check --format json` prints.
pub fn verdicts(verdicts: &[Verdict]) -> Value {
    Value::Array(verdicts.iter().map(|v| serde_json::to_value(v).unwrap_or(Value::Null)).collect())
}

/// The one verdict for each row and dataplane.
fn summary(verdicts: &[Verdict]) -> Vec<Value> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for v in verdicts {
        if !seen.contains(&(&v.id, &v.dataplane)) {
            seen.push((&v.id, &v.dataplane));
        }
    }
    seen.into_iter()
        .filter_map(|(id, dataplane)| {
            let v = overall(verdicts, id, dataplane)?;
            Some(json!({ "id": id, "dataplane": dataplane, "status": v.status, "scenario": v.scenario, "services": v.services, "counted": v.counts() }))
        })
        .collect()
}

fn run(result: &RunResult) -> Value {
    let run = &result.run;
    let manifest = run.manifest.open();
    let facts: Map<String, Value> = run
        .facts
        .iter()
        .map(|(key, (value, evidence))| (key.clone(), json!({ "value": value, "evidence": evidence })))
        .collect();
    json!({
        "name": run.name,
        "run_id": manifest.run_id,
        "dataplane": run.dataplane,
        "scenario": run.scenario,
        "synthetic": run.synthetic,
        "node": run.node,
        "services": run.services,
        "baseline_endpoints": run.baseline_endpoints,
        "service_under_test": run.service_under_test,
        "windows": run.windows,
        "versions": manifest.versions,
        "facts": facts,
        "findings": run.findings,
        "sources": manifest.sources,
        "format_version": manifest.format_version,
    })
}

fn bounds(estimate: Estimate) -> Value {
    match (estimate.low, estimate.high) {
        (None, None) => Value::Null,
        (low, high) => json!([low, high]),
    }
}

fn measurement(m: &Measurement, run: &str) -> Value {
    let quantiles: Map<String, Value> =
        m.quantiles.iter().map(|(name, e)| (name.clone(), json!({ "value": e.value, "bounds": bounds(*e) }))).collect();
    json!({
        "run": run,
        "name": m.name,
        "variant": m.variant,
        "unit": m.unit,
        "n": m.n,
        "value": m.estimate.value,
        "bounds": bounds(m.estimate),
        "statistic": m.statistic,
        "ci": m.ci,
        "quantiles": if quantiles.is_empty() { Value::Null } else { Value::Object(quantiles) },
        "upper_bound_only": m.upper_bound_only,
        "lower_bound_only": m.lower_bound_only,
        "method": m.method,
        "window": m.window,
        "evidence": m.evidence,
        "notes": m.notes,
        "missing": m.missing,
        "details": m.details,
    })
}
