//! `report.json`, as `templates/report.schema.json` describes it. What is not given is null, never a made-up number.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use syncline_schema::manifest::{Manifest, Source};
use syncline_schema::printable::printable_json;

use crate::clock::{Edge, Evidence, Finding};
use crate::events::Windows;
use crate::math::{Estimate, Named};
use crate::measure::{Interval, Measurement, Missing};
use crate::result::RunResult;
use crate::verdict::{Verdict, overall};
use crate::view::Judged;

/// Runs, or other elements, whose lines are made at a time, in parallel, while the ones before are written.
const AT_ONCE: usize = 64;

/// Version of the shape; a change that readers would notice raises it.
pub const REPORT_VERSION: u32 = 1;

/// Writes the document: one line for each element of the top-level arrays, which is half the size of indented JSON, and `grep` and `diff`
/// still work. The lines of some runs are held at a time, never all.
///
/// # Errors
/// What the writer says.
pub fn write(out: &mut (dyn Write + Send), judged: &Judged, runs: &[RunResult]) -> io::Result<()> {
    let mut fields = Fields { out, first: true };
    let f = &mut fields;
    f.one("answer", &answer(judged))?;
    f.each("before_after", runs, |r, lines| lines.all(&r.before_after().changes))?;
    f.each("beside", &judged.beside, |one, lines| lines.one(one))?;
    f.each("clocks", runs, |r, lines| {
        let clocks = &r.run.clocks;
        lines.one(&Clocks {
            run: &r.run.name,
            domains: &clocks.domains,
            edges: &clocks.edges,
            findings: &clocks.findings,
        });
    })?;
    f.one("environment", &judged.view.environment)?;
    f.one("generator", &format!("syncline {}", env!("CARGO_PKG_VERSION")))?;
    f.one("head_to_head", &head_to_head(judged))?;
    f.each("losses", runs, |r, lines| {
        for loss in &r.run.manifest.open().losses {
            lines.one(&OfRun { run: &r.run.name, of: loss });
        }
    })?;
    f.each("measurements", runs, |r, lines| {
        r.measurements.iter().for_each(|one| lines.one(&measurement(one, &r.run.name)));
    })?;
    f.each("next", &judged.view.next, |one, lines| lines.one(one))?;
    f.one("notes", &judged.view.notes)?;
    f.each("problems", &judged.view.problems, |one, lines| lines.one(one))?;
    f.each("queries", runs, |r, lines| lines.all(&r.answers()))?;
    f.one("report_version", &REPORT_VERSION)?;
    f.each("runs", runs, |r, lines| lines.one(&run(r, &r.run.manifest.open())))?;
    f.each("summary", &summary(&judged.verdicts), |one, lines| lines.one(one))?;
    f.one("synthetic", &runs.iter().any(|r| r.run.synthetic))?;
    f.one("title", &judged.view.title)?;
    f.each("verdicts", &judged.verdicts, |one, lines| lines.one(one))?;
    f.out.write_all(b"\n}\n")
}

/// The fields of the document as they are written.
struct Fields<'w> {
    out: &'w mut (dyn Write + Send),
    first: bool,
}

impl Fields<'_> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        let before = if std::mem::take(&mut self.first) { "{\n" } else { ",\n" };
        write!(self.out, "{before}{}: ", json!(name))
    }

    fn one(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.begin(name)?;
        self.out.write_all(printable_json(&serde_json::to_string(value)?).as_bytes())
    }

    /// An array: of each of `all` the lines that `of` makes.
    fn each<T: Sync>(&mut self, name: &str, all: &[T], of: impl Fn(&T, &mut Lines) + Sync) -> io::Result<()> {
        self.begin(name)?;
        let mut before: &[u8] = b"[\n";
        let made = |one: &T| {
            let mut lines = Lines::default();
            of(one, &mut lines);
            lines.shown()
        };
        let made = |some: &[T]| -> io::Result<Vec<String>> { some.par_iter().map(made).collect() };
        let mut parts = all.chunks(AT_ONCE);
        let mut ready = parts.next().map(made);
        while let Some(part) = ready.take() {
            let part = part?;
            let out = &mut *self.out;
            let write = || {
                for lines in part.iter().filter(|lines| !lines.is_empty()) {
                    out.write_all(std::mem::replace(&mut before, b",\n"))?;
                    out.write_all(lines.as_bytes())?;
                }
                Ok(())
            };
            let (written, next): (io::Result<()>, _) = rayon::join(write, || parts.next().map(made));
            written?;
            ready = next;
        }
        self.out.write_all(if before == b"[\n" { b"[]" } else { b"\n]" })
    }
}

/// Lines of an array as they are made, one for each element, with what stands between them.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    failed: Option<serde_json::Error>,
}

impl Lines {
    fn one(&mut self, value: &impl Serialize) {
        if !self.text.is_empty() {
            self.text.extend_from_slice(b",\n");
        }
        if let Err(error) = serde_json::to_writer(&mut self.text, value) {
            self.failed.get_or_insert(error);
        }
    }

    fn all(&mut self, values: &[impl Serialize]) {
        values.iter().for_each(|one| self.one(one));
    }

    fn shown(self) -> io::Result<String> {
        self.failed.map_or(Ok(()), Err)?;
        let text = String::from_utf8(self.text).map_err(io::Error::other)?;
        let escaped = match printable_json(&text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(escaped) => Some(escaped),
        };
        Ok(escaped.unwrap_or(text))
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

/// What a run has, with the run's name ahead of it.
#[derive(Serialize)]
struct OfRun<'r, T> {
    run: &'r str,
    #[serde(flatten)]
    of: &'r T,
}

#[derive(Serialize)]
struct Clocks<'r> {
    run: &'r str,
    domains: &'r [String],
    edges: &'r [Edge],
    findings: &'r [Finding],
}

#[derive(Serialize)]
struct RunLine<'r> {
    name: &'r str,
    run_id: &'r str,
    dataplane: &'r str,
    scenario: &'r str,
    synthetic: bool,
    node: &'r str,
    services: Option<u64>,
    baseline_endpoints: Option<u64>,
    service_under_test: &'r Option<String>,
    windows: &'r Windows,
    versions: &'r BTreeMap<String, String>,
    facts: BTreeMap<&'r str, Fact<'r>>,
    findings: &'r [Finding],
    sources: &'r [Source],
    format_version: u32,
}

#[derive(Serialize)]
struct Fact<'r> {
    value: &'r str,
    evidence: &'r Evidence,
}

fn run<'r>(result: &'r RunResult, manifest: &'r Manifest) -> RunLine<'r> {
    let run = &result.run;
    RunLine {
        name: &run.name,
        run_id: &manifest.run_id,
        dataplane: &run.dataplane,
        scenario: &run.scenario,
        synthetic: run.synthetic,
        node: &run.node,
        services: run.services,
        baseline_endpoints: run.baseline_endpoints,
        service_under_test: &run.service_under_test,
        windows: &run.windows,
        versions: &manifest.versions,
        facts: run.facts.iter().map(|(key, (value, evidence))| (key.as_str(), Fact { value, evidence })).collect(),
        findings: &run.findings,
        sources: &manifest.sources,
        format_version: manifest.format_version,
    }
}

/// Both ends of an interval; null where both are open.
struct Bounds(Estimate);

impl Serialize for Bounds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let ends = (self.0.low, self.0.high);
        (ends != (None, None)).then_some(ends).serialize(to)
    }
}

#[derive(Serialize)]
struct MeasurementLine<'m> {
    run: &'m str,
    name: &'m str,
    variant: &'m str,
    unit: &'m str,
    n: u64,
    value: Option<f64>,
    bounds: Bounds,
    statistic: &'m str,
    ci: Option<Interval>,
    quantiles: Option<BTreeMap<&'m str, Quantile>>,
    upper_bound_only: bool,
    lower_bound_only: bool,
    method: &'m str,
    window: &'m str,
    evidence: &'m [Evidence],
    notes: &'m [String],
    missing: &'m Option<Missing>,
    details: &'m Named<f64>,
}

#[derive(Serialize)]
struct Quantile {
    value: Option<f64>,
    bounds: Bounds,
}

fn measurement<'m>(m: &'m Measurement, run: &'m str) -> MeasurementLine<'m> {
    let quantile = |e: Estimate| Quantile { value: e.value, bounds: Bounds(e) };
    let quantiles: BTreeMap<&str, Quantile> = m.quantiles.iter().map(|(name, e)| (&**name, quantile(*e))).collect();
    MeasurementLine {
        run,
        name: &m.name,
        variant: &m.variant,
        unit: &m.unit,
        n: m.n,
        value: m.estimate.value,
        bounds: Bounds(m.estimate),
        statistic: &m.statistic,
        ci: m.ci,
        quantiles: (!quantiles.is_empty()).then_some(quantiles),
        upper_bound_only: m.upper_bound_only,
        lower_bound_only: m.lower_bound_only,
        method: &m.method,
        window: &m.window,
        evidence: &m.evidence,
        notes: &m.notes,
        missing: &m.missing,
        details: &m.details,
    }
}
