//! `syncline trend`: the table with its chart, one page, JSON.

use minijinja::{Value, context};
use serde_json::json;
use syncline_schema::printable::printable;

use super::grid::{Cell, Screen, Style, grid};
use super::template;
use crate::math::Estimate;
use crate::verdict::change::Sample;
use crate::verdict::trend::{Point, Question, Series, Shift};
use crate::view::chart::STYLE;
use crate::view::number::instant;
use crate::view::trend::{Document, SeriesView, method, why};

const CSS: &str = include_str!("../../../templates/style.css");
const TEMPLATE: &str = include_str!("../../../templates/trend.html.j2");

/// Tables and charts on a terminal: a series after the other.
pub fn table(document: &Document, screen: Screen) -> String {
    let mut out = format!("{}\n", screen.paint(&printable(&document.title), Style::Bold));
    let wrapped = |text: &str| grid(&[vec![Cell::from(text)]], screen);
    out.push_str(&wrapped(&document.summary));
    if !document.synthetic.is_empty() {
        out.push_str(&wrapped(&format!("Generated data, not measured: {}", document.synthetic)));
    }
    for series in &document.series {
        let heading = format!("{} ({})", series.heading, series.runs);
        out.push_str(&format!("\n{}\n", screen.paint(&printable(&heading), Style::Bold)));
        if !series.points.is_empty() {
            out.push_str(&grid(&figures(document, series), screen));
        }
        if !series.lines.is_empty() {
            out.push('\n');
            // Each line is made of printable parts.
            series.lines.iter().for_each(|line| out.push_str(&format!("{}\n", printable(line))));
            if !series.shared.is_empty() {
                out.push_str(&wrapped(&series.shared));
            }
            out.push('\n');
        }
        out.push_str(&wrapped(&series.found));
        for one in &series.shifts {
            let by = if one.by.is_empty() { String::new() } else { format!(", {}", one.by) };
            out.push_str(&wrapped(&format!(
                "Shift at {} ({}{by}): {} before, {} from there on, {}, p {}: {}.",
                one.run, one.time, one.before, one.after, one.factor, one.p, one.word
            )));
        }
        series.unproven.iter().for_each(|text| out.push_str(&wrapped(text)));
        for one in &series.absent {
            out.push_str(&wrapped(&format!("Not measured in {}: {}", one.runs, one.reason)));
        }
    }
    out.push('\n');
    document.notes.iter().for_each(|text| out.push_str(&wrapped(text)));
    out
}

/// With a fact a line a group, else a line a run.
fn figures(document: &Document, series: &SeriesView) -> Vec<Vec<Cell>> {
    let dim = |text: &str| Cell::new(text, Style::Dim);
    let shift = |text: &String| Cell::new(text.as_str(), Style::Bold);
    let plain = |text: &String| Cell::from(text.as_str());
    let number = |text: &String| Cell::number(text.as_str());
    if document.by.is_empty() {
        let header =
            vec![dim("RUN"), dim("BEGAN (UTC)"), dim("FIGURE"), Cell { right: true, ..dim("N") }, dim("SHIFT")];
        let line = |one: &crate::view::trend::PointView| {
            vec![plain(&one.run), plain(&one.time), plain(&one.figure), number(&one.n), shift(&one.shift)]
        };
        return std::iter::once(header).chain(series.points.iter().map(line)).collect();
    }
    let by = document.by.to_uppercase();
    let header =
        vec![dim(&by), Cell { right: true, ..dim("RUNS") }, dim("MEDIAN"), dim("95 % OF MEDIAN"), dim("SHIFT")];
    let line = |one: &crate::view::trend::GroupView| {
        vec![plain(&one.by), number(&one.runs), plain(&one.median), plain(&one.interval), shift(&one.shift)]
    };
    std::iter::once(header).chain(series.groups.iter().map(line)).collect()
}

/// One page, nothing loaded, no script.
///
/// # Errors
/// A template that does not render: a fault of this program.
pub fn html(document: &Document) -> anyhow::Result<String> {
    let environment = template::pages(&[("trend.html", TEMPLATE)])?;
    let safe = |text: &str| Value::from_safe_string(text.to_owned());
    let charts = document.series.iter().map(|one| safe(one.chart.as_ref().map_or("", |chart| &chart.svg)));
    Ok(environment.get_template("trend.html")?.render(context! {
        view => Value::from_serialize(document),
        charts => charts.collect::<Vec<Value>>(),
        style => safe(CSS),
        chart_style => safe(STYLE),
        version => env!("CARGO_PKG_VERSION"),
    })?)
}

/// Ends of an interval; null where both are open.
fn ends([low, high]: [Option<f64>; 2]) -> serde_json::Value {
    match (low, high) {
        (None, None) => serde_json::Value::Null,
        (low, high) => json!([low, high]),
    }
}

/// An array, one element a series; what is not given is null.
pub fn json(all: &[Series], question: &Question) -> serde_json::Value {
    let one = |series: &Series| {
        let groups = series.groups.iter().map(|group| {
            let mut found = sample(&group.sample);
            found["by"] = json!(group.by);
            found
        });
        let absent = series.absent.iter().map(
            |one| json!({ "run": one.run, "run_id": one.run_id, "time": one.time.map(instant), "reason": one.reason }),
        );
        json!({
            "dataplane": series.dataplane,
            "column": series.column,
            "scenario": series.scenario,
            "services": series.services,
            "measurement": question.measurement,
            "variant": question.variant,
            "quantile": question.quantile,
            "unit": series.unit,
            "points": series.points.iter().map(point).collect::<Vec<_>>(),
            "groups": groups.collect::<Vec<_>>(),
            "shifts": series.shifts.iter().map(|one| shift(series, one)).collect::<Vec<_>>(),
            "unproven": series.unproven.iter().map(|one| shift(series, one)).collect::<Vec<_>>(),
            "searched": series.points.len() - series.left_out,
            "method": method(),
            "not_measured": absent.collect::<Vec<_>>(),
        })
    };
    serde_json::Value::Array(all.iter().map(one).collect())
}

fn point(one: &Point) -> serde_json::Value {
    let Estimate { value, low, high } = one.figure;
    json!({
        "run": one.run,
        "run_id": one.run_id,
        "time": instant(one.time),
        "by": one.by,
        "value": value,
        "bounds": ends([low, high]),
        "statistic": one.statistic,
        "one_sided": one.one_sided,
        "n": one.n,
    })
}

/// Runs together, as `compare` has them.
fn sample(one: &Sample) -> serde_json::Value {
    json!({
        "runs": one.runs.len(),
        "median": one.median,
        "bounds": ends(one.hull),
        "median_interval": one.interval,
    })
}

fn shift(series: &Series, one: &Shift) -> serde_json::Value {
    let name = |at: Option<usize>| at.and_then(|at| series.points.get(at)).map(|point| point.run.as_str());
    json!({
        "after_run": name(one.at.checked_sub(1)),
        "first_run": name(Some(one.at)),
        "time": series.points.get(one.at).map(|point| instant(point.time)),
        "by": series.points.get(one.at).and_then(|point| point.by.as_ref()),
        "before": sample(&one.before),
        "after": sample(&one.after),
        "ratio": one.ratio,
        "ratio_interval": ends(one.ratio_interval),
        "difference": one.difference,
        "difference_interval": ends(one.difference_interval),
        "p": one.p,
        "direction": one.higher.map(|higher| if higher { "higher" } else { "lower" }),
        "reason": one.doubt.as_ref().map(why),
    })
}
