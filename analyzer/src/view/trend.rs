//! A trend as finished strings, a chart and the lines of a terminal's chart: what `syncline trend` prints in every format.

use serde::Serialize;
use syncline_schema::printable::printable;

use super::changes::median;
use super::chart::{Chart, class_of, dots, trend};
use super::number::{self, Show};
use super::{plural, rows};
use crate::math::Estimate;
use crate::math::quantile;
use crate::math::shifts::{LEAST, MOST, Nothing, PERMUTATIONS};
use crate::verdict::change::{Doubt, Sample};
use crate::verdict::trend::{By, Group, Point, Question, Series, Shift};

/// Lines of a terminal's chart; of more runs neighbours share one.
const LINES: usize = 40;
/// Runs that a page lists of a series: the newest.
const LISTED: usize = 500;

/// Everything that is said.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    pub title: String,
    /// How many series, runs and shifts, in one line.
    pub summary: String,
    /// Names of runs whose captures were generated; empty where there is none.
    pub synthetic: String,
    /// The fact by which runs are ordered; empty: time.
    pub by: String,
    pub series: Vec<SeriesView>,
    /// How to read it.
    pub notes: Vec<String>,
}

/// One series.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesView {
    /// `Cilium, scale-up, 5 Services`.
    pub heading: String,
    /// Class of the dataplane's colour.
    pub class: String,
    /// `12 runs, 2026-02-02 to 2026-03-01`.
    pub runs: String,
    /// What was found, in a sentence.
    pub found: String,
    pub shifts: Vec<ShiftView>,
    /// Where the figures part, and that proves nothing: a sentence each.
    pub unproven: Vec<String>,
    pub groups: Vec<GroupView>,
    pub points: Vec<PointView>,
    /// How many older runs a page does not list.
    pub cut: usize,
    pub absent: Vec<AbsentView>,
    #[serde(skip)]
    pub chart: Option<Chart>,
    /// The chart of a terminal, a string a line.
    #[serde(skip)]
    pub lines: Vec<String>,
    /// What the lines are, where several runs share one.
    #[serde(skip)]
    pub shared: String,
}

/// One shift.
#[derive(Clone, Debug, Serialize)]
pub struct ShiftView {
    /// The first run behind it, and its time.
    pub run: String,
    pub time: String,
    /// `1.17.6 → 1.19.4`; empty where runs are ordered by time alone, or it lies within one value.
    pub by: String,
    pub before: String,
    pub after: String,
    /// `1.9 × (1.7 to 2.1)`; of what has no ratio the difference.
    pub factor: String,
    pub p: String,
    /// `higher` or `lower`.
    pub word: String,
}

/// The runs that tell one thing of the fact.
#[derive(Clone, Debug, Serialize)]
pub struct GroupView {
    pub by: String,
    pub runs: String,
    pub median: String,
    /// Exact interval of the median, from six runs on.
    pub interval: String,
    /// The shifts that begin in it.
    pub shift: String,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct PointView {
    pub run: String,
    pub id: String,
    pub time: String,
    pub by: String,
    pub figure: String,
    pub n: String,
    /// The shift that begins with it; empty where none does.
    pub shift: String,
}

/// Runs without the figure for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct AbsentView {
    pub runs: String,
    pub reason: String,
}

/// Builds it. `synthetic`: the names of runs whose captures were generated.
pub fn build(series: &[Series], question: &Question, by: Option<&By>, synthetic: &[&str]) -> Document {
    let by = by.map_or("", |by| by.name.as_str());
    let runs: usize = series.iter().map(|one| one.points.len() + one.absent.len()).sum();
    let shifts: usize = series.iter().map(|one| one.shifts.len()).sum();
    let absent: usize = series.iter().map(|one| one.absent.len()).sum();
    let without = if absent > 0 { format!(" ({absent} without the figure)") } else { String::new() };
    // One and many read alike.
    let of = if series.len() == 1 { "1 series".to_owned() } else { format!("{} series", series.len()) };
    Document {
        title: format!("{} over {}", name(question), if by.is_empty() { "time" } else { by }),
        summary: format!("{of}, {}{without}: {}", plural(runs, "run"), plural(shifts, "shift")),
        // Of many runs the names say no more than that it is all of them.
        synthetic: if synthetic.len() > 1 && synthetic.len() == runs {
            "all of them".to_owned()
        } else {
            synthetic.join(", ")
        },
        by: by.to_owned(),
        series: series.iter().enumerate().map(|(at, one)| view(one, at, question, by)).collect(),
        notes: notes(series, question),
    }
}

/// `endpoint_propagation p95`, `memory_bytes (action)`.
pub fn name(question: &Question) -> String {
    let quantile = question.quantile.as_ref().map_or_else(String::new, |quantile| format!(" {quantile}"));
    let variant = question.variant.as_ref().map_or_else(String::new, |variant| format!(" ({variant})"));
    format!("{}{quantile}{variant}", question.measurement)
}

fn view(series: &Series, at: usize, question: &Question, by: &str) -> SeriesView {
    let label = rows::group_label(&series.scenario, series.services);
    let column = if series.column.is_empty() { String::new() } else { format!(", {}", series.column) };
    let heading = format!("{}{column}, {label}", super::dataplane_name(&series.dataplane));
    let all: Vec<PointView> = series.points.iter().enumerate().map(|(at, one)| point(series, at, one, by)).collect();
    let (lines, shared) = lines(series, by);
    SeriesView {
        class: class_of(&series.dataplane).to_owned(),
        runs: span(series),
        found: found(series),
        shifts: series.shifts.iter().map(|one| shift(series, one, by)).collect(),
        unproven: series.unproven.iter().map(|one| unproven(series, one, by)).collect(),
        groups: series.groups.iter().map(|one| group(series, one, by)).collect(),
        cut: all.len().saturating_sub(LISTED),
        points: all,
        absent: absent(series),
        chart: trend::draw(&course(series, at, question, &heading, by)),
        lines,
        shared,
        heading,
    }
}

fn span(series: &Series) -> String {
    let times = || series.points.iter().map(|one| one.time);
    let days = times().min().zip(times().max()).map(|(first, last)| (day(first), day(last)));
    let days = match days {
        None => String::new(),
        Some((first, last)) if first == last => format!(", {first}"),
        Some((first, last)) => format!(", {first} to {last}"),
    };
    format!("{}{days}", plural(series.points.len() + series.absent.len(), "run"))
}

fn day(ns: i64) -> String {
    number::instant(ns).chars().take(10).collect()
}

fn minute(ns: i64) -> String {
    number::instant(ns).chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn told(by: &str, value: Option<&String>) -> String {
    match value {
        Some(value) => value.clone(),
        None if by.is_empty() => String::new(),
        None => "not stated".to_owned(),
    }
}

fn found(series: &Series) -> String {
    let runs = series.points.len();
    let searched = plural(runs - series.left_out, "run");
    let newest = if series.left_out > 0 {
        format!(" Only the last {} were searched: a longer series takes too long.", number::count(MOST as u64))
    } else {
        String::new()
    };
    let said = match (series.nothing, series.shifts.as_slice()) {
        (_, _) if runs == 0 => "No run has the figure.".to_owned(),
        (Some(Nothing::TooFew), _) => {
            format!("No shift can be told: {searched}, and it takes {} on each side.", number::count(LEAST as u64))
        }
        (Some(Nothing::Constant), _) => format!("No shift: the figure is the same in {searched}."),
        (None, []) => format!("No shift found among {searched}."),
        (None, shifts) => format!("{} among {searched}.", plural(shifts.len(), "shift")),
    };
    format!("{said}{newest}")
}

/// Factor or difference, with the interval.
fn factor(series: &Series, one: &Shift) -> String {
    let (value, [low, high], unit, show) = match one.ratio_interval {
        [None, None] => (one.difference, one.difference_interval, series.unit.as_str(), Show::Unit),
        ends => (one.ratio, ends, "ratio", Show::Times),
    };
    let ends = match (low, high) {
        (Some(low), Some(high)) if low != high && show == Show::Times => {
            format!("{} to {}", number::digits(low), number::digits(high))
        }
        (low, high) => number::interval(low, high, unit, show),
    };
    let Some(value) = value else { return ends };
    let sign = if show == Show::Unit && value > 0.0 { "+" } else { "" };
    format!("{sign}{} ({ends})", number::figure(value, unit, show))
}

fn p(one: &Shift) -> String {
    format!("{:.3}", one.p)
}

/// Higher with an arrow up, lower with one down.
fn arrow(one: &Shift) -> &'static str {
    match one.higher {
        Some(true) => "▲",
        Some(false) => "▼",
        None => "",
    }
}

/// The values of the fact on both sides, where they differ.
fn across(series: &Series, one: &Shift, by: &str) -> String {
    let of = |at: Option<usize>| at.and_then(|at| series.points.get(at)).map(|point| told(by, point.by.as_ref()));
    match (of(one.at.checked_sub(1)), of(Some(one.at))) {
        (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
        _ => String::new(),
    }
}

fn side(sample: &Sample, unit: &str) -> String {
    format!("{} ({})", median(sample, unit), plural(sample.runs.len(), "run"))
}

fn shift(series: &Series, one: &Shift, by: &str) -> ShiftView {
    let first = series.points.get(one.at);
    ShiftView {
        run: first.map_or_else(String::new, |point| point.run.clone()),
        time: first.map_or_else(String::new, |point| minute(point.time)),
        by: across(series, one, by),
        before: side(&one.before, &series.unit),
        after: side(&one.after, &series.unit),
        factor: factor(series, one),
        p: p(one),
        word: if one.higher == Some(true) { "higher" } else { "lower" }.to_owned(),
    }
}

/// Why a parting proves nothing.
pub fn why(doubt: &Doubt) -> String {
    match doubt {
        Doubt::Load(loaded) => format!("load: {loaded}, and that alone can have parted them"),
        _ => "the bounds of single figures leave it open".to_owned(),
    }
}

fn unproven(series: &Series, one: &Shift, by: &str) -> String {
    let shown = shift(series, one, by);
    let by = if shown.by.is_empty() { String::new() } else { format!(", {}", shown.by) };
    let why = one.doubt.as_ref().map_or_else(String::new, why);
    format!(
        "No shift, though the figures part at {} ({}{by}): {} before, {} from there on, p {}. {}.",
        shown.run,
        shown.time,
        shown.before,
        shown.after,
        shown.p,
        rows::sentence(&why).trim_end_matches('.')
    )
}

/// What a table says where a shift begins.
fn mark(series: &Series, one: &Shift) -> String {
    format!("{} {}, p {}", arrow(one), factor(series, one), p(one))
}

fn group(series: &Series, one: &Group, by: &str) -> GroupView {
    let own = series.shifts.iter().filter(|shift| one.points.contains(&shift.at));
    let unit = series.unit.as_str();
    GroupView {
        by: told(by, one.by.as_ref()),
        runs: number::count(one.sample.runs.len() as u64),
        median: median(&one.sample, unit),
        interval: one
            .sample
            .interval
            .map_or_else(|| "–".to_owned(), |[low, high]| number::interval(Some(low), Some(high), unit, Show::Unit)),
        shift: own.map(|shift| mark(series, shift)).collect::<Vec<_>>().join("; "),
    }
}

fn figure(point: &Point) -> String {
    let Estimate { value, low, high } = point.figure;
    let shown = rows::with_bounds(value, [low, high], &point.unit, Show::Unit);
    match point.one_sided {
        Some(side) => format!("{shown}, {side} bound only"),
        None => shown,
    }
}

fn point(series: &Series, at: usize, one: &Point, by: &str) -> PointView {
    let own = series.shifts.iter().find(|shift| shift.at == at);
    PointView {
        run: one.run.clone(),
        id: one.run_id.clone(),
        time: minute(one.time),
        by: told(by, one.by.as_ref()),
        figure: figure(one),
        n: number::count(one.n),
        shift: own.map_or_else(String::new, |shift| mark(series, shift)),
    }
}

/// Runs without the figure, together where they lack it for one reason.
fn absent(series: &Series) -> Vec<AbsentView> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in &series.absent {
        match found.iter_mut().find(|(reason, _)| *reason == one.reason) {
            Some((_, runs)) => runs.push(&one.run),
            None => found.push((&one.reason, vec![&one.run])),
        }
    }
    let one = |(reason, runs): (&str, Vec<&str>)| AbsentView { runs: runs.join(", "), reason: rows::sentence(reason) };
    found.into_iter().map(one).collect()
}

/// The chart of a terminal: a line a run, or for a few neighbours of one stretch.
fn lines(series: &Series, by: &str) -> (Vec<String>, String) {
    let each = series.points.len().div_ceil(LINES).max(1);
    let when = |one: &Point| if by.is_empty() { day(one.time) } else { fitted(by, one) };
    let widest = series.points.iter().map(|one| when(one).chars().count()).max().unwrap_or(0);
    let mut drawn = Vec::new();
    let mut at = 0;
    while at < series.points.len() {
        let next = series.shifts.iter().map(|shift| shift.at).find(|place| *place > at);
        let end = (at + each).min(next.unwrap_or(usize::MAX)).min(series.points.len());
        let own = &series.points[at..end];
        let begins = series.shifts.iter().find(|shift| shift.at == at);
        let mut name = own.first().map(&when).unwrap_or_default();
        name.extend(std::iter::repeat_n(' ', widest - name.chars().count()));
        drawn.extend(line(own, &name, begins.map(|shift| mark(series, shift).trim().to_owned())));
        at = end;
    }
    let shared = match each {
        1 => String::new(),
        each => format!("A line is the median of up to {each} neighbouring runs, with the hull of their bounds."),
    };
    (dots::draw(&drawn, &series.unit), shared)
}

/// A value of the fact, cut for a label. Printable before it is cut: an escape is longer than what it stands for.
fn fitted(by: &str, one: &Point) -> String {
    rows::cut(&printable(&told(by, one.by.as_ref())), 12)
}

fn line(own: &[Point], when: &str, ahead: Option<String>) -> Option<dots::Row> {
    let first = own.first()?;
    let sample = quantile::median(&own.iter().filter_map(|one| one.figure.value).collect::<Vec<_>>());
    let open = own.iter().any(|one| one.figure.value.is_none());
    let hull = own.iter().map(|one| one.figure).reduce(crate::math::arithmetic::union)?;
    let more = if own.len() > 1 { format!(" +{}", own.len() - 1) } else { String::new() };
    let room = 30usize.saturating_sub(when.chars().count() + 1 + more.chars().count());
    // Before it is cut: an escape is longer than what it stands for.
    let label = format!("{when} {}{more}", rows::cut(&printable(&first.run), room));
    Some(dots::Row { label, value: sample.filter(|_| !open), low: hull.low, high: hull.high, ahead })
}

fn course(series: &Series, at: usize, question: &Question, heading: &str, by: &str) -> trend::Course {
    let dot = |one: &Point| {
        let of = if by.is_empty() { String::new() } else { format!(", {}", told(by, one.by.as_ref())) };
        trend::Dot {
            value: one.figure.value,
            low: one.figure.low,
            high: one.figure.high,
            tick: day(one.time),
            told: format!("{}{of}, {}: {}", rows::cut(&one.run, 40), day(one.time), figure(one)),
        }
    };
    let level = |sample: &Sample, from: usize, to: usize| {
        Some(trend::Level { from, to, value: sample.median.filter(|value| value.is_finite())? })
    };
    let mut levels = Vec::new();
    let mut from = 0;
    for (place, one) in series.shifts.iter().enumerate() {
        levels.extend(level(&one.before, from, one.at));
        from = one.at;
        if place + 1 == series.shifts.len() {
            levels.extend(level(&one.after, from, series.points.len()));
        }
    }
    trend::Course {
        stem: format!("trend-{}", at + 1),
        title: format!("{}: {heading}", name(question)),
        description: format!(
            "Each run in order, as a dot with a line from its lower to its upper bound. {} The tables below hold the same figures.",
            found(series)
        ),
        class: class_of(&series.dataplane).to_owned(),
        unit: series.unit.clone(),
        dots: series.points.iter().map(dot).collect(),
        groups: series.groups.iter().map(|one| (one.points.start, told(by, one.by.as_ref()))).collect(),
        shifts: series.shifts.iter().map(|one| (one.at, format!("{} {}", arrow(one), factor(series, one)))).collect(),
        levels,
    }
}

/// How shifts are found, in one paragraph.
pub fn method() -> String {
    format!(
        "E-divisive (Matteson and James, 2014) on the ranks of the runs' figures: a division counts where at most 5 of 100 random orders of the runs divide as well ({PERMUTATIONS} orders, always the same ones), so of 100 series without a shift 5 at most show one. It takes {LEAST} runs on each side. A division is a shift only where the interval (95 %) of the ratio over it lies on one side of one whatever the figures are within their bounds, and where the load of the nodes cannot have made it."
    )
}

fn notes(series: &[Series], question: &Question) -> Vec<String> {
    let mut statistics: Vec<&str> =
        series.iter().flat_map(|one| &one.points).map(|one| one.statistic.as_str()).collect();
    statistics.sort_unstable();
    statistics.dedup();
    let mut notes = vec![
        "Runs form one series where dataplane, scenario and number of Services (to one significant figure) agree, and nodes, cores, settings in force and label as far as they are told. Versions do not part them here: what these do is the question."
            .to_owned(),
        format!("How shifts are found: {}", method()),
        "± reaches from the median to the farthest bound of any run. A run whose figure is open makes the median of its runs unknown, and counts as later than all others. “Higher” and “lower” say where the figure lies, not whether that is good."
            .to_owned(),
    ];
    if let [first, second, ..] = statistics.as_slice() {
        notes.push(format!(
            "The main figure of {} is not the same statistic in all runs ({first}, {second}): --quantile makes it one.",
            question.measurement
        ));
    }
    notes
}
