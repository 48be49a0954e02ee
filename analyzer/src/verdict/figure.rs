//! From the measurements of the runs of a group to one figure for a reading.

use arcstr::ArcStr;
use serde::Serialize;

use super::catalogue::Reading;
use super::judge::Figure;
use super::{RunResult, saturation};
use crate::clock::Evidence;
use crate::math::Estimate;
use crate::measure::{Measurement, Missing, before_after};

/// What one run gives for a reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunFigure {
    pub run: ArcStr,
    pub measured: Option<f64>,
    /// `[low, high]`, null where unbounded.
    pub bounds: [Option<f64>; 2],
    pub unit: ArcStr,
    pub n: u64,
    /// Why it does not count, if it does not.
    pub left_out: Option<String>,
    /// How it was measured.
    pub method: ArcStr,
    /// Share of the node's CPU that was busy meanwhile (niced time not counted); null where nothing tells.
    pub busy: Option<f64>,
    /// The same in the window that it is compared with, where there is one.
    pub against_busy: Option<f64>,
}

/// What a group of runs gives for a reading.
#[derive(Clone, Debug, Default)]
pub struct GroupFigure {
    pub figure: Figure,
    /// Unit of the figure; empty where nothing was measured.
    pub unit: String,
    pub runs: Vec<RunFigure>,
    pub evidence: Vec<Evidence>,
    pub notes: Vec<String>,
    pub missing: Option<Missing>,
    /// Every run has fewer things measured than needed.
    pub too_few: bool,
    /// Statistic that stands in for the one asked for, if any.
    pub instead: Option<String>,
}

/// The figure of a reading over the runs of a group: median of the values, hull of the bounds. Runs with fewer than
/// `min_samples` things measured are left out where others have enough.
pub fn of_group(runs: &[&RunResult], reading: &Reading, min_samples: Option<u64>) -> GroupFigure {
    let mut all = GroupFigure::default();
    let mut counted: Vec<(Estimate, &Measurement)> = Vec::new();
    let mut few: Vec<(Estimate, &Measurement)> = Vec::new();
    for result in runs {
        let Some(measurement) = find(&result.measurements, reading) else { continue };
        if let Some(missing) = &measurement.missing {
            all.missing.get_or_insert_with(|| missing.clone());
            continue;
        }
        let Some(estimate) = statistic(measurement, &reading.statistic) else { continue };
        let estimate = scaled(estimate, reading.scale.unwrap_or(1.0));
        let (busy, against_busy) = saturation::of_figure(result, measurement);
        let too_few = min_samples.is_some_and(|least| measurement.n < least);
        all.runs.push(RunFigure {
            run: name(result, measurement),
            measured: estimate.value,
            bounds: [estimate.low, estimate.high],
            unit: unit_of(measurement, reading),
            n: measurement.n,
            left_out: too_few.then(|| format!("{} of at least {}", measurement.n, min_samples.unwrap_or(0))),
            method: measurement.method.clone(),
            busy,
            against_busy,
        });
        all.unit = unit_of(measurement, reading).to_string();
        if too_few { few.push((estimate, measurement)) } else { counted.push((estimate, measurement)) }
    }
    all.too_few = counted.is_empty() && !few.is_empty();
    if all.too_few {
        counted = few;
    }
    let mut values: Vec<f64> = counted.iter().filter_map(|(e, _)| e.value).collect();
    // A run whose figure is open (an endpoint that never arrived) makes the median of the runs unknown, not smaller.
    let complete = values.len() == counted.len();
    all.figure = Figure {
        value: if complete { median(&mut values) } else { None },
        low: hull(counted.iter().map(|(e, _)| e.low), f64::min),
        high: hull(counted.iter().map(|(e, _)| e.high), f64::max),
        upper_only: reading.upper_bound || counted.iter().any(|(_, m)| m.upper_bound_only),
        lower_only: counted.iter().any(|(_, m)| m.lower_bound_only),
        n: counted.iter().map(|(_, m)| m.n).min().unwrap_or(0),
    };
    for (_, measurement) in &counted {
        for evidence in &measurement.evidence {
            if !all.evidence.contains(evidence) {
                all.evidence.push(evidence.clone());
            }
        }
        for note in &measurement.notes {
            if !all.notes.contains(note) {
                all.notes.push(note.clone());
            }
        }
    }
    // Nearest rank: with fewer than 20 the p95 is the maximum.
    if reading.statistic == "p95" && (1..20).contains(&all.figure.n) {
        all.instead = Some("with fewer than 20 the p95 is the maximum".into());
    }
    all
}

/// The measurement that a reading names: the direct one ahead of an upper bound, one that exists ahead of a missing one. For the
/// main one two readings, before and after, stand in.
pub fn find<'a>(measurements: &'a [Measurement], reading: &Reading) -> Option<&'a Measurement> {
    named(measurements, &reading.measurement, reading.variant.as_deref())
}

/// The measurement of a name, as [`find`] chooses; the main one where no variant is named.
pub fn named<'a>(measurements: &'a [Measurement], name: &str, variant: Option<&str>) -> Option<&'a Measurement> {
    let mut candidates: Vec<&Measurement> = measurements
        .iter()
        .filter(|m| m.name == name)
        .filter(|m| match variant {
            Some(variant) => m.variant == *variant,
            None => m.variant.is_empty() || m.variant == before_after::VARIANT,
        })
        .collect();
    candidates.sort_by_key(|m| (m.missing.is_some(), !m.variant.is_empty() && variant.is_none(), m.upper_bound_only));
    candidates.first().copied()
}

/// Name of a run, shared with its measurement: of a thousand runs there are sixty figures each.
fn name(result: &RunResult, measurement: &Measurement) -> ArcStr {
    if measurement.run == result.run.name { measurement.run.clone() } else { result.run.name.as_str().into() }
}

/// Unit of a reading's figure; empty where its scale brings it to the row's.
fn unit_of(measurement: &Measurement, reading: &Reading) -> ArcStr {
    match reading.statistic.as_str() {
        _ if reading.scale.is_some() => ArcStr::new(),
        "n" => arcstr::literal!("1"),
        s if s.contains('/') => arcstr::literal!("ratio"),
        _ => measurement.unit.clone(),
    }
}

/// A statistic of a measurement; `None` where it has no such one.
pub fn statistic(measurement: &Measurement, name: &str) -> Option<Estimate> {
    if name == "value" {
        return Some(with_sampling_interval(measurement));
    }
    // Ahead of the bare quantiles: only the main figure has a sampling interval.
    if measurement.statistic == name || (name == "p50" && measurement.statistic == "median") {
        return Some(with_sampling_interval(measurement));
    }
    if let Some(quantile) = measurement.quantiles.get(name) {
        return Some(*quantile);
    }
    if name == "n" {
        let n = Some(measurement.n as f64);
        return Some(Estimate { value: n, low: n, high: n });
    }
    if let Some((above, below)) = name.split_once('/') {
        let (above, below) = (statistic(measurement, above)?, statistic(measurement, below)?);
        return Some(ratio(above, below));
    }
    // A detail is a bare number: exact only where it is a count.
    let value = *measurement.details.get(name)?;
    let bound = |end: &str| measurement.details.get(&format!("{name}_{end}")).copied();
    Some(Estimate { value: Some(value), low: bound("low").or(Some(value)), high: bound("high").or(Some(value)) })
}

/// Bounds and, for a proportion or a median, its sampling interval: the wider of both on each side.
fn with_sampling_interval(measurement: &Measurement) -> Estimate {
    let mut estimate = measurement.estimate;
    if let Some(ci) = measurement.ci {
        estimate.low = Some(estimate.low.map_or(ci.low, |low| low.min(ci.low)));
        estimate.high = Some(estimate.high.map_or(ci.high, |high| high.max(ci.high)));
    }
    estimate
}

/// One figure over another, both positive; open where the divisor may be zero.
pub fn ratio(above: Estimate, below: Estimate) -> Estimate {
    let over = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    };
    Estimate {
        value: over(above.value, below.value),
        low: over(above.low, below.high),
        high: over(above.high, below.low),
    }
}

fn scaled(estimate: Estimate, factor: f64) -> Estimate {
    let by = |x: Option<f64>| x.map(|x| x * factor);
    Estimate { value: by(estimate.value), low: by(estimate.low), high: by(estimate.high) }
}

fn hull(ends: impl Iterator<Item = Option<f64>>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    let mut hull: Option<f64> = None;
    for end in ends {
        let end = end?;
        // min and max drop a NaN; here it must stay one, so that nothing is judged by it.
        hull = Some(hull.map_or(end, |h| if h.is_nan() || end.is_nan() { f64::NAN } else { pick(h, end) }));
    }
    hull
}

/// The median; of an even number the mean of the middle two. Sorts.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => values.get(n / 2).copied(),
        _ => Some((values.get(n / 2 - 1)? + values.get(n / 2)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_end_or_a_nan_in_one_run_stays() {
        assert_eq!(hull([Some(1.0), None].into_iter(), f64::max), None);
        assert!(hull([Some(1.0), Some(f64::NAN), Some(2.0)].into_iter(), f64::max).is_some_and(f64::is_nan));
        assert_eq!(hull([Some(1.0), Some(3.0)].into_iter(), f64::max), Some(3.0));
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0]), Some(2.0));
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), Some(2.0));
    }
}
