//! Histograms of which both ends were read: how many observations, how much work, and what the mean and the buckets leave of the percentiles.
//!
//! Δsum ÷ Δcount is a mean, and says little of a percentile: of seven observations that add up to 0.42 s the longest took 60 ms at
//! least and 0.42 s at most. Buckets narrow that.

use std::collections::BTreeMap;

use super::series::{self, Index, Key, Known, Point, Read};
use super::{BeforeAfter, Change, Kind};
use crate::events::Run;
use crate::math::Estimate;

/// Histograms whose sum and count were both read twice.
pub(super) fn changes(run: &Run, read: &BTreeMap<Key, Read>, index: &Index, known: &Known, found: &mut BeforeAfter) {
    for count in read.values().filter(|one| !one.points.is_empty()) {
        let Some(base) = count.name.strip_suffix("_count") else { continue };
        let sums = index.of(&format!("{base}_sum"), count);
        let Some(sum) = sums.iter().find(|other| other.labels == count.labels) else { continue };
        let (Some(counted), Some(summed)) =
            (series::difference(run, index, count, known), series::difference(run, index, sum, known))
        else {
            continue;
        };
        let mut change = Change { kind: Kind::Histogram, what: series::shown(base, &count.labels), ..counted };
        change.name = base.to_owned();
        let (Some(n), Some(total)) = (change.difference.value, summed.difference.value) else {
            if change.difference.value.is_some() || !change.notes.is_empty() {
                found.changes.push(change);
            }
            continue;
        };
        if n == 0.0 {
            found.unchanged += 1;
            continue;
        }
        change.evidence.extend(summed.evidence);
        change.total = Some(total);
        let together = times(count) == times(sum);
        change.mean = mean(total, n, together);
        if !together {
            change.notes.push(
                "Sum and count were not read at the same moment: one observation more or less is allowed for."
                    .to_owned(),
            );
        }
        let edges = edges(index, base, count);
        for (slot, q) in [(&mut change.p95, 0.95), (&mut change.longest, 1.0)] {
            *slot = quantile(q, n, total, change.mean.low, &edges);
        }
        found.changes.push(change);
    }
}

/// BPF programs in two dumps of bpftool, by name: how often they ran, and how long in all. Those of an endpoint that came or went in
/// between are in one dump only: what came began at zero, what went took its counters along.
pub(super) fn programs(run: &Run, read: &BTreeMap<Key, Read>, index: &Index, known: &Known, found: &mut BeforeAfter) {
    let mut named: BTreeMap<(String, String), (Change, u64, u64)> = BTreeMap::new();
    for count in read.values().filter(|one| one.name == "bpftool_prog_run_cnt") {
        let times = index.of("bpftool_prog_run_time_ns", count);
        let Some(time) = times.iter().find(|other| other.labels == count.labels) else { continue };
        let (Some(counted), Some(timed)) =
            (series::difference(run, index, count, known), series::difference(run, index, time, known))
        else {
            continue;
        };
        let label = |name: &str| count.labels.get(name).map_or("", String::as_str).to_owned();
        let (Some(runs), Some(nanoseconds)) = (counted.difference.value, timed.difference.value) else {
            if let Some((_, _, gone)) = named.get_mut(&(label("name"), count.target.clone())) {
                *gone += 1;
            }
            continue;
        };
        if runs == 0.0 {
            found.unchanged += 1;
            continue;
        }
        let (whole, programs, _) = named.entry((label("name"), count.target.clone())).or_insert_with(|| {
            let zero = Estimate::exact(0.0);
            let what = format!("runs of the BPF program {} ({})", label("name"), label("type"));
            let own = Change {
                kind: Kind::Histogram,
                what,
                before: Some(0.0),
                after: Some(0.0),
                difference: zero,
                ..counted.clone()
            };
            (
                Change {
                    name: "bpftool_prog_seconds".to_owned(),
                    total: Some(0.0),
                    notes: Vec::new(),
                    evidence: Vec::new(),
                    ..own
                },
                0,
                0,
            )
        });
        *programs += 1;
        let add = |sum: &mut Option<f64>, more: Option<f64>| *sum = sum.map(|sum| sum + more.unwrap_or(0.0));
        add(&mut whole.before, counted.before);
        add(&mut whole.after, counted.after);
        add(&mut whole.total, Some(nanoseconds / 1e9));
        whole.difference = Estimate::exact(whole.difference.value.unwrap_or(0.0) + runs);
        if whole.evidence.len() < 4 {
            whole.evidence.extend(counted.evidence);
        }
        for note in counted.notes.into_iter().filter(|note| note.starts_with("The times")) {
            if !whole.notes.contains(&note) {
                whole.notes.push(note);
            }
        }
    }
    for (mut change, programs, gone) in named.into_values() {
        let (Some(runs), Some(total)) = (change.difference.value, change.total) else { continue };
        change.mean = Estimate::exact(total / runs);
        change.longest = Estimate { value: None, low: change.mean.value, high: Some(total) };
        change.rate = series::per_second(&change);
        if programs > 1 {
            change.notes.insert(0, format!("{programs} programs of this name."));
        }
        if gone > 0 {
            change.notes.push(format!("{gone} more were reset or removed in between: what they did is not in it."));
        }
        change.notes.push("bpftool counts the measuring itself.".to_owned());
        found.changes.push(change);
    }
}

fn times(one: &Read) -> Vec<(Option<i64>, i32)> {
    // Two files that were read at one stated moment are as good as one.
    let same = |point: &Point| (point.time, if point.time.is_some() { 0 } else { point.source });
    [one.points.first(), one.points.last()].into_iter().flatten().map(same).collect()
}

fn mean(total: f64, n: f64, together: bool) -> Estimate {
    if together {
        return Estimate::exact(total / n);
    }
    Estimate { value: Some(total / n), low: Some(total / (n + 1.0)), high: (n > 1.0).then(|| total / (n - 1.0)) }
}

/// Upper edges of the buckets with how many observations fell at or below them between the readings; empty where a bucket is not whole.
fn edges(index: &Index, base: &str, count: &Read) -> Vec<(f64, f64)> {
    let name = format!("{base}_bucket");
    let mut found = Vec::new();
    for one in index.of(&name, count) {
        let mut labels = one.labels.clone();
        let Some(edge) = labels.remove("le").and_then(|le| le.parse::<f64>().ok()) else { continue };
        if labels != count.labels {
            continue;
        }
        let (Some(first), Some(last)) = (one.points.first(), one.points.last()) else { continue };
        let began = if one.points.len() < 2 { 0.0 } else { first.value };
        found.push((edge, last.value - began));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Counts that fall from edge to edge are of different moments, or of a reset.
    let sound = found.iter().all(|(_, n)| *n >= 0.0) && found.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    if sound { found } else { Vec::new() }
}

/// A nearest-rank quantile of `n` observations that add up to `total`. The buckets bound it; so does the sum, for all from its rank
/// on are at least as large; and the largest is at least the mean.
fn quantile(q: f64, n: f64, total: f64, mean: Option<f64>, edges: &[(f64, f64)]) -> Estimate {
    let rank = (q * n).ceil().max(1.0);
    let by_sum = total / (n - rank + 1.0);
    let at = edges.iter().position(|(_, upto)| *upto >= rank);
    let low = at.and_then(|at| at.checked_sub(1)).and_then(|below| edges.get(below)).map_or(0.0, |(edge, _)| *edge);
    let low = if rank >= n { low.max(mean.unwrap_or(0.0)) } else { low };
    let high = at.and_then(|at| edges.get(at)).map(|(edge, _)| *edge).filter(|edge| edge.is_finite());
    let high = high.map_or(by_sum, |edge| edge.min(by_sum));
    // A bucket's edge and a rounded sum may miss each other by a hair.
    Estimate { value: None, low: Some(low.min(high)), high: Some(high) }
}

#[cfg(test)]
mod tests {
    use super::{mean, quantile};

    #[test]
    fn a_mean_bounds_the_longest_and_no_more() {
        let few = quantile(1.0, 7.0, 0.42, Some(0.06), &[]);
        assert_eq!((few.value, few.low, few.high), (None, Some(0.06), Some(0.42)));
        // Of 43, the 41st and two more are at least as long: together no more than all.
        let many = quantile(0.95, 43.0, 8.6, Some(0.2), &[]);
        assert!(many.low == Some(0.0) && (many.high.unwrap() - 8.6 / 3.0).abs() < 1e-9, "{many:?}");
        let edges = [(0.01, 24.0), (0.1, 25.0), (1.0, 43.0), (f64::INFINITY, 43.0)];
        let placed = quantile(0.95, 43.0, 30.0, Some(0.2), &edges);
        assert_eq!((placed.low, placed.high), (Some(0.1), Some(1.0)));
    }

    #[test]
    fn readings_at_different_moments_may_differ_by_one() {
        let apart = mean(0.42, 7.0, false);
        let near = |end: Option<f64>, expected: f64| end.is_some_and(|end| (end - expected).abs() < 1e-12);
        assert!(near(apart.low, 0.0525) && near(apart.high, 0.07), "{apart:?}");
        assert_eq!(mean(0.42, 7.0, true).low, mean(0.42, 7.0, true).value);
        assert_eq!(mean(0.42, 1.0, false).high, None);
    }
}
