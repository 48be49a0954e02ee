//! Which samples of a series' witnesses are used: a witness is chosen for a stretch of time.
//!
//! The best witness is used from its first sample to its last. Where it looked less often than four of its own steps, and
//! ahead of and behind it, the next one is used, but not within two steps of it: an answer of the API repeats the last sample for
//! a while.
//!
//! ```text
//! tsdb     ··|||||||||·········|||||||········
//! scrape   ·····|||||||||||||||||||||||||||···
//! used       ttttttttt··sssss··ttttttt··sss
//! ```
//!
//! Times are as captured. Two witnesses on two clocks may hold the same moments at other times: where the counters of one
//! lie between the values that the other has, they do, and the worse witness is left aside. Whatever is left aside is counted
//! by source, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use arcstr::ArcStr;
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use syncline_promql::HistogramSample;

use super::components::Class;
use super::points::Points;

/// A hole is longer than this many steps of the witness.
const HOLE: i64 = 4;

/// One row of `series` with its samples.
#[derive(Clone, Debug, Default)]
pub struct Member {
    pub source: i32,
    pub witness: ArcStr,
    pub points: Points,
    pub histograms: Vec<HistogramSample>,
}

/// All that one component has of a series.
#[derive(Clone, Debug)]
pub struct Witness {
    pub class: Class,
    pub clock: ArcStr,
    pub members: Vec<Member>,
}

/// Samples of a source that are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Index of the source.
    pub source: i32,
    /// How it was captured.
    pub witness: String,
    pub why: Why,
    /// How the witness that is used was captured.
    pub instead: String,
    pub series: usize,
    pub samples: usize,
}

/// Why samples are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Another file of the same component has a sample at the same time.
    SameTime,
    /// A better witness has that stretch of time.
    BetterWitness,
    /// A better witness on another clock has the same moments, at other times.
    SameMoments,
    /// A recorder's reading of what an exporter tells too.
    Recorded,
}

impl Why {
    /// In words, behind "left aside".
    pub fn words(self) -> &'static str {
        match self {
            Why::SameTime => "a file of the same component has a sample at the same time",
            Why::BetterWitness => "a better witness has that stretch of time",
            Why::SameMoments => "a better witness has the same moments, at other times: their clocks are apart",
            Why::Recorded => {
                "an exporter tells the same; the recorder's own reading is used in measurements, not in queries"
            }
        }
    }
}

type Joined = (Points, Vec<HistogramSample>);
type Counts = BTreeMap<(i32, ArcStr, Why, ArcStr), (usize, usize)>;

/// Joins the witnesses of each series, best first.
pub fn join(all: Vec<Vec<Witness>>) -> (Vec<Joined>, Vec<Aside>) {
    let mut counts = Counts::new();
    let mut count = |member: &Member, why: Why, instead: &ArcStr, samples: usize| {
        if samples > 0 {
            let own = counts.entry((member.source, member.witness.clone(), why, instead.clone())).or_default();
            *own = (own.0 + 1, own.1 + samples);
        }
    };
    let shifted = shifted(&all);
    let mut used_of_all = Vec::with_capacity(all.len());
    for witnesses in all {
        let mut used: Vec<Member> = Vec::new();
        let mut covered = Vec::new();
        let mut best: Option<(ArcStr, ArcStr)> = None;
        let several = witnesses.len() > 1;
        for (at, mut witness) in witnesses.into_iter().enumerate() {
            let named = witness.members.first().map(|one| one.witness.clone()).unwrap_or_default();
            let (clock, instead) = best.get_or_insert_with(|| (witness.clock.clone(), named)).clone();
            let same_moments = at > 0 && shifted.contains(&(clock, witness.clock.clone()));
            for member in &mut witness.members {
                let held = member.points.times.len() + member.histograms.len();
                let why = if same_moments { Why::SameMoments } else { Why::BetterWitness };
                if at > 0 {
                    keep(member, |time| !same_moments && !within(&covered, time));
                }
                let left = held - member.points.times.len() - member.histograms.len();
                count(member, why, &instead, left);
            }
            if several && !same_moments {
                covered = union(covered, cover(&witness.members));
            }
            used.extend(witness.members);
        }
        used_of_all.push(used);
    }
    let united: Vec<(Joined, Vec<(Member, usize)>)> = used_of_all.into_par_iter().with_min_len(16).map(unite).collect();
    let mut joined = Vec::with_capacity(united.len());
    for (one, repeated) in united {
        repeated.iter().for_each(|(member, samples)| count(member, Why::SameTime, &member.witness, *samples));
        joined.push(one);
    }
    let aside = counts.into_iter().map(|((source, witness, why, instead), (series, samples))| Aside {
        source,
        witness: witness.to_string(),
        why,
        instead: instead.to_string(),
        series,
        samples,
    });
    (joined, aside.collect())
}

/// Pairs of clocks, better witness first, between which counters say that the same moments stand at other times: more
/// often than not the worse witness' values ahead of the better one's stretch, or behind it, are values that the better one has.
fn shifted(all: &[Vec<Witness>]) -> BTreeSet<(ArcStr, ArcStr)> {
    let mut votes: BTreeMap<(ArcStr, ArcStr), i64> = BTreeMap::new();
    for witnesses in all {
        let Some((best, others)) = witnesses.split_first() else { continue };
        for other in others.iter().filter(|other| other.clock != best.clock) {
            let Some(vote) = vote(&values(best), &values(other)) else { continue };
            *votes.entry((best.clock.clone(), other.clock.clone())).or_default() += if vote { 1 } else { -1 };
        }
    }
    votes.into_iter().filter(|(_, sum)| *sum > 0).map(|(clocks, _)| clocks).collect()
}

fn values(witness: &Witness) -> Vec<(i64, f64)> {
    let points = witness.members.iter().map(|member| &member.points);
    let mut all: Vec<(i64, f64)> =
        points.flat_map(|one| one.times.iter().copied().zip(one.values.iter().copied())).collect();
    all.retain(|(_, value)| !value.is_nan());
    all.sort_by_key(|(time, _)| *time);
    all
}

/// Whether a rising counter's values outside the stretch of the better witness are values that it has within; null where
/// neither can be said.
fn vote(best: &[(i64, f64)], other: &[(i64, f64)]) -> Option<bool> {
    let rises = |all: &[(i64, f64)]| all.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    let ((first, low), (last, high)) = (*best.first()?, *best.last()?);
    if !rises(best) || !rises(other) || low >= high {
        return None;
    }
    let ahead = other.iter().rfind(|(time, _)| *time < first);
    let behind = other.iter().find(|(time, _)| *time > last);
    let inside = |value: f64| low < value && value < high;
    if ahead.is_some_and(|(_, value)| inside(*value)) || behind.is_some_and(|(_, value)| inside(*value)) {
        return Some(true);
    }
    let follows = ahead.is_some_and(|(_, value)| *value <= low) || behind.is_some_and(|(_, value)| *value >= high);
    follows.then_some(false)
}

/// Drops the samples at times that `wanted` refuses.
fn keep(member: &mut Member, wanted: impl Fn(i64) -> bool) {
    let points = &member.points;
    if !points.times.iter().all(|time| wanted(*time)) {
        let kept = points.times.iter().copied().zip(points.values.iter().copied()).filter(|(time, _)| wanted(*time));
        let (times, values) = kept.unzip();
        member.points = Points::of(times, values);
    }
    member.histograms.retain(|sample| wanted(sample.time));
}

/// The stretches that some members cover: ascending, with two steps on both sides.
fn cover(members: &[Member]) -> Vec<(i64, i64)> {
    let mut times: Vec<i64> = members
        .iter()
        .flat_map(|one| one.points.times.iter().copied().chain(one.histograms.iter().map(|sample| sample.time)))
        .collect();
    times.sort_unstable();
    times.dedup();
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = gaps.len() / 2;
    let step = if gaps.is_empty() { 0 } else { *gaps.select_nth_unstable(middle).1 };
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    for time in times {
        match stretches.last_mut().filter(|(_, end)| time - *end <= HOLE * step) {
            Some((_, end)) => *end = time,
            None => stretches.push((time, time)),
        }
    }
    stretches.into_iter().map(|(start, end)| (start - HOLE * step / 2, end + HOLE * step / 2)).collect()
}

fn union(a: Vec<(i64, i64)>, b: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    let mut all = [a, b].concat();
    all.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (start, end) in all {
        match merged.last_mut().filter(|last| start <= last.1) {
            Some(last) => last.1 = last.1.max(end),
            None => merged.push((start, end)),
        }
    }
    merged
}

fn within(stretches: &[(i64, i64)], time: i64) -> bool {
    let at = stretches.partition_point(|(_, end)| *end < time);
    stretches.get(at).is_some_and(|(start, _)| *start <= time)
}

/// The samples of members, in the order of time, each time once: the first member's; and of how many samples of which members another one
/// is used. Where two disagree about what a sample is, the histogram is kept, as Prometheus does.
fn unite(mut members: Vec<Member>) -> (Joined, Vec<(Member, usize)>) {
    if let Some(joined) = one_after_the_other(&mut members) {
        return (joined, Vec::new());
    }
    let mut floats: Vec<(i64, usize, f64)> = Vec::new();
    let mut native: Vec<(usize, HistogramSample)> = Vec::new();
    for (at, member) in members.iter_mut().enumerate() {
        let points = std::mem::take(&mut member.points);
        floats.extend(points.times.iter().zip(points.values.iter()).map(|(time, value)| (*time, at, *value)));
        native.extend(std::mem::take(&mut member.histograms).into_iter().map(|sample| (at, sample)));
    }
    let mut dropped = vec![0; members.len()];
    floats.sort_by_key(|(time, at, _)| (*time, *at));
    floats.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        dropped[later.1] += usize::from(same);
        same
    });
    native.sort_by_key(|(at, sample)| (sample.time, *at));
    native.dedup_by(|later, earlier| {
        let same = later.1.time == earlier.1.time;
        dropped[later.0] += usize::from(same);
        same
    });
    let (times, values) = floats.into_iter().map(|(time, _, value)| (time, value)).unzip();
    let points = Points::of(times, values);
    let joined = one_kind(points, native.into_iter().map(|(_, sample)| sample).collect());
    (joined, members.into_iter().zip(dropped).filter(|(_, count)| *count > 0).collect())
}

/// The same of members that do not overlap, as the blocks of a database: they are put one behind the other. Nothing, and the members as they
/// were, where some overlap.
fn one_after_the_other(members: &mut Vec<Member>) -> Option<Joined> {
    if let [only] = members.as_mut_slice() {
        let only = std::mem::take(only);
        return Some(one_kind(only.points, only.histograms));
    }
    let ends = |member: &Member| member.points.times.first().copied().zip(member.points.times.last().copied());
    let mut spans: Vec<(i64, i64, usize)> =
        members.iter().enumerate().filter_map(|(at, one)| ends(one).map(|(first, last)| (first, last, at))).collect();
    spans.sort_unstable();
    if members.iter().any(|one| !one.histograms.is_empty()) || spans.windows(2).any(|two| two[0].1 >= two[1].0) {
        return None;
    }
    let parts = || spans.iter().map(|(.., at)| &members[*at].points);
    let times = parts().flat_map(|one| one.times.iter().copied()).collect();
    let values = parts().flat_map(|one| one.values.iter().copied()).collect();
    Some((Points::of(times, values), Vec::new()))
}

fn one_kind(mut points: Points, mut histograms: Vec<HistogramSample>) -> Joined {
    histograms.sort_by_key(|sample| sample.time);
    histograms.dedup_by_key(|sample| sample.time);
    if !histograms.is_empty() && !points.times.is_empty() {
        let is_histogram = |time: i64| histograms.binary_search_by_key(&time, |sample| sample.time).is_ok();
        let mut member = Member { points, ..Member::default() };
        keep(&mut member, |time| !is_histogram(time));
        points = member.points;
    }
    (points, histograms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(class: Class, clock: &str, source: i32, samples: &[(i64, f64)]) -> Witness {
        let (times, values) = samples.iter().copied().unzip();
        let points = Points::of(times, values);
        let member = Member { source, witness: format!("{class:?}").into(), points, histograms: Vec::new() };
        Witness { class, clock: clock.into(), members: vec![member] }
    }

    fn steps(from: i64, to: i64, step: i64) -> Vec<(i64, f64)> {
        (from..to).step_by(usize::try_from(step).unwrap()).map(|time| (time, time as f64)).collect()
    }

    #[test]
    fn each_stretch_has_its_best_witness_and_the_rest_is_counted() {
        let database = [steps(100, 200, 10), steps(400, 500, 10)].concat();
        let (joined, aside) = join(vec![vec![
            witness(Class::Database, "p", 0, &database),
            witness(Class::Pages, "p", 1, &steps(5, 605, 10)),
        ]]);
        let times = &joined[0].0.times;
        assert!(times.is_sorted_by(|a, b| a < b));
        let from_pages: Vec<i64> = times.iter().copied().filter(|time| time % 10 == 5).collect();
        assert_eq!((from_pages.first(), from_pages.last()), (Some(&5), Some(&595)));
        assert!(from_pages.contains(&215) && from_pages.contains(&375), "the hole is filled: {from_pages:?}");
        assert!(!from_pages.iter().any(|time| (80..=210).contains(time)), "not within two steps: {from_pages:?}");
        assert_eq!(aside.len(), 1);
        assert_eq!((aside[0].source, aside[0].why), (1, Why::BetterWitness));
        assert_eq!(aside[0].samples + from_pages.len(), 60);
    }

    #[test]
    fn equal_times_of_one_component_are_used_once() {
        let mut both = witness(Class::Pages, "n", 0, &[(10, 1.0), (30, 3.0)]);
        both.members.extend(witness(Class::Pages, "n", 1, &[(10, 9.0), (20, 2.0)]).members);
        let (joined, aside) = join(vec![vec![both]]);
        assert_eq!(joined[0].0, Points::of(vec![10, 20, 30], vec![1.0, 2.0, 3.0]));
        assert_eq!((aside[0].source, aside[0].samples, aside[0].why), (1, 1, Why::SameTime));
    }

    #[test]
    fn the_same_moments_on_a_clock_that_is_apart_are_not_used_twice() {
        let hours = 10_000_000;
        let late: Vec<(i64, f64)> = steps(100, 200, 10).into_iter().map(|(time, v)| (time + hours, v + 1.0)).collect();
        let pair = |late: &[(i64, f64)]| {
            vec![
                witness(Class::Database, "prometheus", 0, &steps(100, 200, 10)),
                witness(Class::Pages, "node", 1, late),
            ]
        };
        let (joined, aside) = join(vec![pair(&late)]);
        assert_eq!(joined[0].0.times.len(), 10);
        assert_eq!((aside[0].samples, aside[0].why), (10, Why::SameMoments));
        let (joined, aside) = join(vec![pair(&steps(700, 730, 15))]);
        assert_eq!(joined[0].0.times.len(), 12, "a later stretch goes on counting");
        assert!(aside.is_empty());
    }
}
