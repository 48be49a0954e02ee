//! Rows that need more than one group: ratios between dataplanes, growth over the number of Services.

use std::collections::BTreeMap;

use super::catalogue::{ClaimKind, Reading, Row, Side};
use super::figure::{GroupFigure, of_group, ratio};
use super::judge::{Claim, Figure, Status, judge};
use super::reason::Grown;
use super::row::{blank, claim_of, judge_row};
use super::saturation::{self, Effect, Pressure};
use super::{ReadingVerdict, Reason, RunResult, Verdict, one_figure, overall, settle};
use crate::math::{Estimate, growth};
use crate::measure::Missing;
use crate::result::group::Column;

/// Smallest ratio of the largest to the smallest number of Services that a claim about size needs.
const SIZE_SPAN: f64 = 10.0;

/// A row about growth, for one dataplane over all its sizes; `None` where the row is of another kind.
pub fn across_sizes(row: &Row, dataplane: &str, runs: &[&RunResult]) -> Option<Verdict> {
    let side = row.side(dataplane)?;
    if !matches!(side.kind, ClaimKind::Growth | ClaimKind::SizeRatio | ClaimKind::Slope) {
        return None;
    }
    let scenario = if row.scenario == "compare" { "compare" } else { row.scenario.as_str() };
    let mut verdict = blank(row, side, dataplane, scenario, None);
    // A claim about the steady state is not judged by what updates do; of memory every run's baseline tells.
    let steady = row.scenario == "steady-state" && side.kind != ClaimKind::Slope;
    let own: Vec<&RunResult> =
        runs.iter().copied().filter(|one| !steady || one.run.scenario == "steady-state").collect();
    let sizes = sizes(side, &own);
    let least = usize::try_from(row.min_samples.unwrap_or(3).min(3)).unwrap_or(3);
    let span = match (sizes.first(), sizes.last()) {
        (Some(first), Some(last)) if first.0 > 0.0 => last.0 / first.0,
        _ => 0.0,
    };
    if sizes.len() < least || span < SIZE_SPAN {
        let seen = sizes.iter().map(|(n, _)| *n).collect();
        verdict.reason = Reason::FewSizes { least, span: SIZE_SPAN, dataplane: dataplane.to_owned(), seen };
        verdict.missing = Some(Missing {
            what: verdict.reason.to_string(),
            remedy: format!("capture the same scenario of {dataplane} with, say, 5, 500 and 2000 Services"),
        });
        return Some(verdict);
    }
    let mut readings: Vec<Reading> = row.readings_of(dataplane).into_iter().cloned().collect();
    if side.kind == ClaimKind::Slope {
        // Memory per Service is no figure of one run: it is the slope of the runs' memory.
        for reading in &mut readings {
            reading.measurement = "memory_bytes".into();
        }
    }
    let mut worst: Option<(Status, Reason)> = None;
    for reading in &readings {
        let (status, reason, figure, groups) = one(row, side, reading, &sizes);
        let decides = match (&worst, status) {
            (None, _) => true,
            (Some((Status::Worse, _)), _) => false,
            (Some((held, _)), now) => rank(now) > rank(*held),
        };
        verdict.readings.push(ReadingVerdict {
            label: reading.label.clone().unwrap_or_else(|| row.claim.clone()),
            measurement: reading.measurement.clone(),
            statistic: reading.statistic.clone(),
            status,
            reason: reason.clone(),
            measured: figure.value,
            measured_bounds: Some([figure.low, figure.high]),
            unit: row.unit.clone(),
            shown_only: false,
        });
        if decides {
            verdict.measured = figure.value;
            verdict.measured_bounds =
                (figure.low.is_some() || figure.high.is_some()).then_some([figure.low, figure.high]);
            verdict.measurement = format!("{} {}", reading.measurement, reading.statistic);
            verdict.n = groups.len() as u64;
            verdict.evidence = groups.iter().flat_map(|g| g.evidence.iter().take(3).cloned()).collect();
            verdict.runs = groups.into_iter().flat_map(|g| g.runs).collect();
            worst = Some((status, reason));
        }
    }
    (verdict.status, verdict.reason) = worst.unwrap_or((Status::NotMeasured, Reason::NoReading));
    if verdict.readings.iter().any(|reading| reading.status != verdict.status) {
        let each: Vec<String> =
            verdict.readings.iter().map(|one| format!("{}: {}", one.label, one.status.word())).collect();
        verdict.notes.push(format!("All of it is claimed, so that the worst decides: {}.", each.join(", ")));
    }
    if row.borrow {
        let from = sizes.iter().flat_map(|(_, runs)| runs).map(|one| one.run.scenario.as_str()).next().unwrap_or("");
        if from != row.scenario {
            verdict.notes.push(format!("Runs of several sizes are {from} runs here: taken from these."));
        }
    }
    verdict.notes.extend(settle::settle(row, &verdict, runs, None));
    Some(verdict)
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Worse => 4,
        Status::NotMeasured => 3,
        Status::Inconclusive => 2,
        Status::Holds => 1,
        Status::Better => 0,
    }
}

type Sizes<'r> = Vec<(f64, Vec<&'r RunResult>)>;

/// Runs by number of Services (the group's mean), ascending; of one scenario, the one with the most sizes, except for
/// what is taken from baselines anyway.
fn sizes<'r>(side: &Side, runs: &[&'r RunResult]) -> Sizes<'r> {
    let mut scenarios: BTreeMap<&str, BTreeMap<u64, Vec<&RunResult>>> = BTreeMap::new();
    let baseline = side.kind == ClaimKind::Slope;
    for result in runs {
        let Some(services) = result.run.services else { continue };
        let scenario = if baseline { "" } else { result.run.scenario.as_str() };
        scenarios.entry(scenario).or_default().entry(one_figure(services)).or_default().push(result);
    }
    let most = scenarios.into_values().max_by_key(BTreeMap::len).unwrap_or_default();
    most.into_values()
        .map(|group| {
            let sum: f64 = group.iter().filter_map(|r| r.run.services).map(|n| n as f64).sum();
            (sum / group.len() as f64, group)
        })
        .collect()
}

fn one(row: &Row, side: &Side, reading: &Reading, sizes: &Sizes<'_>) -> (Status, Reason, Figure, Vec<GroupFigure>) {
    let mut points: Vec<(f64, Estimate)> = Vec::new();
    let mut groups = Vec::new();
    for (n, runs) in sizes {
        let group = of_group(runs, reading, None);
        if group.runs.is_empty() {
            continue;
        }
        let f = group.figure;
        points.push((*n, Estimate { value: f.value, low: f.low, high: f.high }));
        groups.push(group);
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return (
            Status::NotMeasured,
            Reason::NotGiven { measurement: reading.measurement.clone(), statistic: reading.statistic.clone() },
            Figure::default(),
            groups,
        );
    };
    if points.len() < 3.min(sizes.len()) || first.0 * SIZE_SPAN > last.0 {
        let (measured, sizes) = (points.len(), sizes.len());
        let reason = Reason::FewSizesMeasured { measurement: reading.measurement.clone(), measured, sizes };
        return (Status::NotMeasured, reason, Figure::default(), groups);
    }
    let grown = ratio(last.1, first.1);
    let grown =
        Figure { value: grown.value, low: grown.low, high: grown.high, n: points.len() as u64, ..Figure::default() };
    let (first, last) = (first.0, last.0);
    let between = move |reason: Reason| Reason::Between { first, last, reason: Box::new(reason) };
    let (status, reason, figure) = match side.kind {
        ClaimKind::SizeRatio => {
            let (status, reason) = judge(&grown, &claim_of(row, side, None));
            (status, between(reason), grown)
        }
        ClaimKind::Slope => {
            let slope = slope(reading, sizes);
            let claim = Claim::new(ClaimKind::Slope, side.low, side.high, row.direction);
            let half = match (slope.low, slope.high) {
                (Some(low), Some(high)) => Some((high - low) / 2.0),
                _ => None,
            };
            let (status, reason) = judge(&slope, &claim);
            // An interval that lies beyond the claim as a whole says so, however wide it is.
            let beyond = matches!(reason, Reason::Above | Reason::Below);
            match (half, side.high) {
                (Some(half), Some(high)) if half > high && !beyond => {
                    (Status::Inconclusive, Reason::SlopeTooWide { half }, slope)
                }
                _ => (status, between(reason), slope),
            }
        }
        _ => growth_verdict(row, side, &points, grown, &between),
    };
    let effect = saturation::effect(&format!("{} {}", reading.measurement, reading.statistic));
    let claim = claim_of(row, side, None);
    let (status, reason) = saturation::weigh(status, reason, &claim, &over_sizes(effect, &groups));
    (status, reason, figure, groups)
}

/// What load may have done to a growth: the larger size's figure over the smaller one's, of any two.
fn over_sizes(effect: Effect, groups: &[GroupFigure]) -> Pressure {
    let mut all = Pressure::default();
    for (at, larger) in groups.iter().enumerate() {
        for smaller in groups.iter().take(at) {
            let found = saturation::of_ratio(effect, &larger.runs, &smaller.runs);
            all.raised = all.raised.or(found.raised);
            all.lowered = all.lowered.or(found.lowered);
        }
    }
    all
}

/// O(1) is a last figure within 1.25 × the first; otherwise the exponent of the growth above the smallest size decides:
/// log((y₃−y₁)/(y₂−y₁)) / log((n₃−n₁)/(n₂−n₁)). A plain log-log fit would hide linear growth under the fixed cost.
fn growth_verdict(
    row: &Row,
    side: &Side,
    points: &[(f64, Estimate)],
    grown: Figure,
    between: &dyn Fn(Reason) -> Reason,
) -> (Status, Reason, Figure) {
    let flat = Claim::new(ClaimKind::Range, None, Some(1.25), row.direction);
    let constant = judge(&grown, &flat).0;
    match (side.low, side.high) {
        // Claimed constant.
        (None, Some(_)) => {
            let (status, reason) = judge(&grown, &claim_of(row, side, None));
            (
                status,
                between(Reason::OfGrowth(
                    "the work per change at the largest size over that at the smallest",
                    Box::new(reason),
                )),
                grown,
            )
        }
        // Claimed to vary, by whatever law.
        (None, None) => {
            let (status, grows) = match constant {
                Status::Holds => (Status::Better, Grown::DoesNotGrow),
                Status::Worse => (Status::Holds, Grown::Grows),
                other => (other, Grown::WithinBounds),
            };
            (status, between(Reason::Growth(grows)), grown)
        }
        _ if constant == Status::Holds => (Status::Better, between(Reason::Flat), grown),
        _ => {
            let exponent = exponent(points);
            let (status, reason) = judge(&exponent, &claim_of(row, side, None));
            let what = "exponent of the growth above the smallest size";
            (status, between(Reason::OfGrowth(what, Box::new(reason))), exponent)
        }
    }
}

/// The exponent from the smallest, the largest, and the size nearest to their geometric mean.
fn exponent(points: &[(f64, Estimate)]) -> Figure {
    let [first, between @ .., last] = points else { return Figure::default() };
    let centre = (first.0.max(1.0) * last.0).sqrt();
    let far = |p: &(f64, Estimate)| (p.0 / centre).ln().abs();
    let Some(middle) = between.iter().min_by(|a, b| far(a).total_cmp(&far(b))) else { return Figure::default() };
    let found = growth::exponent_bounds([first.0, middle.0, last.0], [first.1, middle.1, last.1]);
    Figure { value: found.value, low: found.low, high: found.high, n: points.len() as u64, ..Figure::default() }
}

/// Slope of a figure over the number of Services, one point a run, with its 95 % interval.
fn slope(reading: &Reading, sizes: &Sizes<'_>) -> Figure {
    let points: Vec<(f64, f64)> = sizes
        .iter()
        .flat_map(|(_, runs)| runs)
        .filter_map(|r| Some((r.run.services? as f64, of_group(&[r], reading, None).figure.value?)))
        .filter(|(_, y)| y.is_finite())
        .collect();
    let Some(line) = growth::line(&points) else { return Figure::default() };
    Figure {
        value: Some(line.slope),
        low: line.half_width.map(|half| line.slope - half),
        high: line.half_width.map(|half| line.slope + half),
        n: points.len() as u64,
        ..Figure::default()
    }
}

/// A row that compares dataplanes, for the runs of one column: K1 once for each column of the other dataplane (beside
/// Cilium), K4 from the rows that it rests on. `earlier` are the column's own verdicts.
pub fn between<'r>(
    row: &Row,
    dataplane: &str,
    own: &[&'r RunResult],
    others: impl Iterator<Item = &'r (Column, Vec<&'r RunResult>)>,
    earlier: &[Verdict],
) -> Vec<Verdict> {
    let Some(side) = row.side(dataplane) else { return Vec::new() };
    match side.kind {
        ClaimKind::None => Vec::new(),
        ClaimKind::Ratio => {
            let others: Vec<_> = others.filter(|(column, _)| column.dataplane == OTHER).collect();
            if others.is_empty() {
                return vec![between_dataplanes(row, side, dataplane, own)];
            }
            let with = |(column, runs): &(Column, Vec<&RunResult>)| {
                let both: Vec<&RunResult> = own.iter().chain(runs).copied().collect();
                let mut verdict = between_dataplanes(row, side, dataplane, &both);
                if !column.words.is_empty() {
                    verdict.notes.push(format!("Against {OTHER} {}.", column.words));
                }
                verdict
            };
            others.into_iter().map(with).collect()
        }
        _ => vec![from_rows(row, side, dataplane, own, earlier)],
    }
}

/// What Cilium is compared with.
const OTHER: &str = "kube-proxy-iptables";

fn between_dataplanes(row: &Row, side: &Side, dataplane: &str, runs: &[&RunResult]) -> Verdict {
    let mut verdict = blank(row, side, dataplane, "compare", None);
    let other = OTHER;
    let Some(reading) = row.readings.first() else { return verdict };
    // Only groups that both have; steady runs ahead of others, then the one with the fewest Services.
    let key =
        |r: &RunResult| (r.run.scenario != "steady-state", r.run.services.map(one_figure), r.run.scenario.clone());
    let mut keys: Vec<_> = runs.iter().copied().filter(|r| r.run.dataplane == dataplane).map(key).collect();
    keys.sort();
    keys.dedup();
    let of = |name: &str, wanted: &(bool, Option<u64>, String), reading: &Reading| {
        let group: Vec<&RunResult> =
            runs.iter().copied().filter(|r| r.run.dataplane == name && key(r) == *wanted).collect();
        of_group(&group, reading, None)
    };
    // What one side has from above only is compared with the other's from above: the same quantity.
    let above = Reading { variant: Some("upper bound".into()), ..reading.clone() };
    let both = keys.iter().map(|k| (k, of(dataplane, k, reading), of(other, k, reading)));
    let mut found: Vec<_> = both.filter(|(_, a, b)| !a.runs.is_empty() && !b.runs.is_empty()).collect();
    for (key, own, others) in &mut found {
        if own.figure.upper_only != others.figure.upper_only {
            let (side, name) = if own.figure.upper_only { (others, other) } else { (own, dataplane) };
            let same = of(name, key, &above);
            if !same.runs.is_empty() {
                *side = same;
            }
        }
    }
    let effect = saturation::effect(&format!("{} {}", reading.measurement, reading.statistic));
    let pressure = |own: &GroupFigure, others: &GroupFigure| saturation::of_ratio(effect, &others.runs, &own.runs);
    let alike = |(_, a, b): &(_, GroupFigure, GroupFigure)| pressure(a, b) == Pressure::default();
    let at = found.iter().position(alike).unwrap_or(0);
    let Some((key, own, others)) = found.into_iter().nth(at) else {
        verdict.reason = Reason::NoCommonScenario {
            measurement: reading.measurement.clone(),
            dataplane: dataplane.to_owned(),
            other: other.to_owned(),
        };
        verdict.missing = Some(Missing {
            what: verdict.reason.to_string(),
            remedy: "capture the same scenario of both with run_time_ns of the datapath programs (bpftool prog show), or softirq CPU and packet counters".into(),
        });
        return verdict;
    };
    let estimate = |g: &GroupFigure| Estimate { value: g.figure.value, low: g.figure.low, high: g.figure.high };
    let over = ratio(estimate(&others), estimate(&own));
    let figure = Figure { value: over.value, low: over.low, high: over.high, n: 2, ..Figure::default() };
    let (status, reason) = judge(&figure, &claim_of(row, side, None));
    let indirect = own.figure.upper_only || others.figure.upper_only;
    (verdict.status, verdict.reason) = if status != Status::NotMeasured && indirect {
        let both = own.figure.upper_only && others.figure.upper_only;
        (Status::Inconclusive, if both { Reason::RatioOfUpperBounds } else { Reason::RatioWithAnUpperBound })
    } else {
        saturation::weigh(status, reason, &claim_of(row, side, None), &pressure(&own, &others))
    };
    verdict.services = key.1;
    verdict.notes.push(format!("From the {} runs.", key.2));
    verdict.measured = over.value;
    verdict.measured_bounds = Some([over.low, over.high]);
    verdict.measurement = format!("{} of {other} / of {dataplane}", reading.measurement);
    verdict.n = (own.runs.len() + others.runs.len()) as u64;
    verdict.evidence = own.evidence.into_iter().chain(others.evidence).collect();
    verdict.runs = own.runs.into_iter().chain(others.runs).collect();
    verdict
}

/// K4: what T3.3 said of this dataplane, and what the failures of a rolling restart (T4.3) say beyond the baseline's; the
/// worse of both.
fn from_rows(row: &Row, side: &Side, dataplane: &str, own: &[&RunResult], earlier: &[Verdict]) -> Verdict {
    let mut verdict = blank(row, side, dataplane, "compare", None);
    let restart = Row { id: "T4.3".into(), scenario: "rolling-restart".into(), ..row.clone() };
    let restarts = judge_row(&restart, dataplane, own);
    let parts: Vec<&Verdict> =
        [overall(earlier, "T3.3", dataplane), overall(&restarts, "T4.3", dataplane)].into_iter().flatten().collect();
    let mut judged = Vec::new();
    for part in &parts {
        let of = |measured, bounds: Option<[Option<f64>; 2]>| {
            let [low, high] = bounds.unwrap_or_default();
            let claim = claim_of(row, side, None);
            let figure = Figure { value: measured, low, high, n: part.n, ..Figure::default() };
            let (status, reason) = judge(&figure, &claim);
            let pressure = saturation::pressure(saturation::effect(&part.measurement), &part.runs);
            saturation::weigh(status, reason, &claim, &pressure)
        };
        let (mut status, mut reason) = of(part.measured, part.measured_bounds);
        let judged_so = part.id == "T4.3" || part.status == Status::NotMeasured;
        if judged_so || part.reason.is_load() {
            (status, reason) = (part.status, part.reason.clone());
        }
        verdict.readings.push(ReadingVerdict {
            label: match part.id.as_str() {
                "T4.3" => "T4.3: failed new connections in a rolling restart, beyond the baseline's".into(),
                _ => format!("{}: {}", part.id, part.claim),
            },
            measurement: part.measurement.clone(),
            statistic: String::new(),
            status,
            reason: reason.clone(),
            measured: part.measured,
            measured_bounds: part.measured_bounds,
            unit: part.unit.clone(),
            shown_only: false,
        });
        judged.push((status, reason, *part));
    }
    let complete = judged.len() == 2;
    judged.sort_by_key(|(status, _, _)| std::cmp::Reverse(rank(*status)));
    if let Some((status, reason, part)) = judged.first() {
        verdict.status = if complete || *status == Status::Worse { *status } else { Status::NotMeasured };
        verdict.reason = Reason::OfRow { id: part.id.clone(), reason: Box::new(reason.clone()) };
        verdict.measured = part.measured;
        verdict.measured_bounds = part.measured_bounds;
        verdict.measurement = part.measurement.clone();
        verdict.n = part.n;
        verdict.evidence = parts.iter().flat_map(|p| p.evidence.iter().cloned()).collect();
        verdict.missing = part.missing.clone();
    } else {
        verdict.reason = Reason::NeedsRows;
    }
    verdict
}
