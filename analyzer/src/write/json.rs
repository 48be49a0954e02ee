//! `report.json`, as `templates/report.schema.json` describes it. What is not given is null, never a made-up number.

use serde_json::{Map, Value, json};
use syncline_schema::printable::printable_json;

use crate::math::Estimate;
use crate::measure::Measurement;
use crate::result::RunResult;
use crate::verdict::{Verdict, overall};
use crate::view::Judged;

/// Version of the shape; a change that readers would notice raises it.
pub const REPORT_VERSION: u32 = 1;

/// Renders the document.
///
/// # Errors
/// None that data can cause.
pub fn render(judged: &Judged, runs: &[RunResult]) -> anyhow::Result<String> {
    let measurements: Vec<Value> =
        runs.iter().flat_map(|r| r.measurements.iter().map(|m| measurement(m, &r.run.name))).collect();
    let losses: Vec<Value> = runs
        .iter()
        .flat_map(|r| {
            r.run.manifest.losses.iter().map(|l| {
                json!({ "run": r.run.name, "name": l.name, "severity": l.severity, "count": l.count, "source": l.source,
                        "meaning": l.meaning, "remedy": l.remedy })
            })
        })
        .collect();
    let clocks: Vec<Value> = runs
        .iter()
        .map(|r| json!({ "run": r.run.name, "domains": r.run.clocks.domains, "edges": r.run.clocks.edges, "findings": r.run.clocks.findings }))
        .collect();
    let document = json!({
        "report_version": REPORT_VERSION,
        "generator": format!("syncline {}", env!("CARGO_PKG_VERSION")),
        "title": judged.view.title,
        "notes": judged.view.notes,
        "answer": answer(judged),
        "environment": judged.view.environment,
        "head_to_head": head_to_head(judged),
        "next": judged.view.next,
        "synthetic": runs.iter().any(|r| r.run.synthetic),
        "runs": runs.iter().map(run).collect::<Vec<_>>(),
        "measurements": measurements,
        "verdicts": verdicts(&judged.verdicts),
        "summary": summary(&judged.verdicts),
        "beside": judged.beside,
        "before_after": judged.view.before_after.all,
        "queries": judged.queries,
        "losses": losses,
        "clocks": clocks,
        "problems": judged.view.problems,
    });
    Ok(printable_json(&lines(&document)).into_owned())
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

/// One line for each element of the top-level arrays: half the size of indented JSON, and `grep` and `diff` still work.
fn lines(document: &Value) -> String {
    let Value::Object(fields) = document else { return format!("{document}\n") };
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::Array(items) if !items.is_empty() => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                format!("{}: [\n{}\n]", json!(name), items.join(",\n"))
            }
            other => format!("{}: {other}", json!(name)),
        })
        .collect();
    format!("{{\n{}\n}}\n", fields.join(",\n"))
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
    let manifest = &run.manifest;
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
