//! Offsets that changed while they were watched: pieces of time, each with its own interval.
//!
//! ```text
//! readings   I₀          I₁                 I₂        two clocks read at one instant, now and again
//!            ├──hull────┤├──────hull───────┤          between two readings the offset went from one to the other
//! ───widens──┘                             └──widens  beyond the first and the last it may drift
//!
//! one-sided  ≤ ≤ ≥ ≤   │  step  │   ≥ ≤ ≤ ≥           evidence of each side of a step bounds that side alone
//! ```
//!
//! Pieces are made only where no one offset fits all of the evidence. Where one-sided evidence contradicts itself, the fewest
//! steps that explain it are looked for: going forward each is placed as late as the evidence lets it be, going
//! backward as early, and between the two the step lies.

use serde::{Deserialize, Serialize};

use super::{Constraint, Evidence, Offset};

/// Most that two clocks are taken to run apart: quartz is within 50 parts in a million.
pub const DRIFT: f64 = 50e-6;
/// More steps than this are no steps: the evidence is wrong.
const MOST_STEPS: usize = 4;

/// The offset over one stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// First and last moment on the clock `from` of the edge, ns; null where it is open.
    pub start: Option<i64>,
    /// As above.
    pub end: Option<i64>,
    /// Lower end of the offset; null where nothing bounds it.
    pub low: Option<i64>,
    /// Upper end.
    pub high: Option<i64>,
}

/// An offset that did not stay, and the lines that show it.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    /// In order of time; they meet, or overlap in one moment.
    pub all: Vec<Piece>,
    /// Lines on both sides of each change.
    pub evidence: Vec<Evidence>,
    /// Steps (or slews faster than [`DRIFT`]), each as the time within which it lies and its size, ns.
    pub steps: Vec<(i64, i64, i64)>,
}

fn drift(span: i64) -> i64 {
    (span.max(0) as f64 * DRIFT) as i64
}

/// Pieces between readings that bound both sides. `None` where one of them has no moment or is one-sided.
pub fn of_readings(readings: &[&Constraint]) -> Option<Pieces> {
    let mut all: Vec<(i64, i64, i64, &Evidence)> =
        readings.iter().map(|one| Some((one.at?, one.low?, one.high?, &one.evidence))).collect::<Option<_>>()?;
    all.sort_by_key(|(at, low, high, _)| (*at, *low, *high));
    let (first, last) = (*all.first()?, *all.last()?);
    let piece = |start, end, low, high| Piece { start, end, low: Some(low), high: Some(high) };
    let mut found = Pieces::default();
    found.all.push(piece(None, Some(first.0), first.1, first.2));
    for pair in all.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let gap = (b.1 - a.2).max(a.1 - b.2);
        let stepped = gap > drift(b.0 - a.0);
        // Ahead of a step and behind it the clocks may have drifted the other way.
        let wander = if stepped { drift(b.0 - a.0) } else { 0 };
        found.all.push(piece(Some(a.0), Some(b.0), a.1.min(b.1) - wander, a.2.max(b.2) + wander));
        if stepped {
            found.steps.push((a.0, b.0, if b.1 > a.2 { gap } else { -gap }));
            found.evidence.extend([a.3.clone(), b.3.clone()]);
        }
    }
    found.all.push(piece(Some(last.0), None, last.1, last.2));
    if found.evidence.is_empty() {
        found.evidence.extend([first.3.clone(), last.3.clone()]);
    }
    Some(found)
}

/// The fewest steps that let one-sided evidence agree with itself; `None` where it agrees as it is, has no moments,
/// or where no few steps explain it.
pub fn fewest_steps(evidence: &[&Constraint]) -> Option<Pieces> {
    let mut all: Vec<(i64, &Constraint)> = evidence.iter().map(|one| Some((one.at?, *one))).collect::<Option<_>>()?;
    all.sort_by_key(|(at, one)| (*at, one.low, one.high));
    let forward = cuts(all.iter().copied());
    let backward: Vec<usize> = cuts(all.iter().rev().copied()).into_iter().rev().map(|at| all.len() - 1 - at).collect();
    if forward.is_empty() || forward.len() > MOST_STEPS || forward.len() != backward.len() {
        return None;
    }
    // What lies between the earliest and the latest place of a step may belong to either side: it bounds neither.
    let mut found = Pieces::default();
    let mut begin = 0;
    let ends = backward.iter().map(|before| before + 1).chain([all.len()]);
    for (number, end) in ends.enumerate() {
        let own = all.get(begin..end.max(begin)).unwrap_or_default();
        let piece = bounds(own);
        let start = number.checked_sub(1).map(|step| all[forward[step]].0);
        let until = backward.get(number).map(|before| all[*before].0);
        if let (Some(last), Some(start)) = (found.all.last().cloned(), start) {
            let hull = |a: Option<i64>, b: Option<i64>, pick: fn(i64, i64) -> i64| Some(pick(a?, b?));
            let low = hull(last.low, piece.0, i64::min);
            let high = hull(last.high, piece.1, i64::max);
            let gap = |low: Option<i64>, high: Option<i64>| low.zip(high).map(|(low, high)| low - high);
            let size = gap(piece.0, last.high).filter(|gap| *gap > 0);
            let size = size.or_else(|| gap(last.low, piece.1).filter(|gap| *gap > 0).map(|gap| -gap));
            let from = last.end.unwrap_or(start);
            found.steps.push((from.min(start), from.max(start), size.unwrap_or(0)));
            found.all.push(Piece { start: last.end, end: Some(start), low, high });
        }
        found.all.push(Piece { start, end: until, low: piece.0, high: piece.1 });
        begin = forward.get(number).copied().unwrap_or(all.len());
    }
    for (before, after) in backward.iter().zip(&forward) {
        found.evidence.extend([all[*before].1.evidence.clone(), all[*after].1.evidence.clone()]);
    }
    Some(found)
}

/// Places at which evidence, taken in turn, leaves no offset that the evidence since the last such place allows.
fn cuts<'a>(all: impl Iterator<Item = (i64, &'a Constraint)>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut own: Option<(i64, Option<i64>, Option<i64>)> = None;
    for (number, (at, one)) in all.enumerate() {
        let (low, high) = (one.low.map(|low| low + one.slack), one.high.map(|high| high - one.slack));
        own = Some(match own {
            None => (at, low, high),
            Some((since, known_low, known_high)) => {
                let slack = drift((at - since).abs());
                let apart =
                    |low: Option<i64>, high: Option<i64>| low.zip(high).is_some_and(|(low, high)| low > high + slack);
                if apart(low, known_high) || apart(known_low, high) {
                    found.push(number);
                    (at, low, high)
                } else {
                    let least = [known_high, high].into_iter().flatten().min();
                    (since, known_low.max(low), least)
                }
            }
        });
    }
    found
}

/// What evidence between two steps says, at any moment between them.
fn bounds(all: &[(i64, &Constraint)]) -> (Option<i64>, Option<i64>) {
    let span = all.last().zip(all.first()).map_or(0, |(last, first)| last.0 - first.0);
    let slack = drift(span);
    let low = all.iter().filter_map(|(_, one)| Some(one.low? + one.slack - slack)).max();
    let high = all.iter().filter_map(|(_, one)| Some(one.high? - one.slack + slack)).min();
    (low, high)
}

impl Pieces {
    /// The offset over all of the time: null where a piece is open.
    pub fn hull(&self) -> (Option<i64>, Option<i64>) {
        hull(&self.all, i64::MIN, i64::MAX)
    }
}

/// The offset at any moment between two, on the edge's clock `from`: the hull of the pieces that touch them.
pub fn within(pieces: &[Piece], earliest: i64, latest: i64) -> (Option<i64>, Option<i64>) {
    let (low, high) = hull(pieces, earliest, latest);
    // Beyond the first and the last reading the clocks may drift.
    let first = pieces.first().and_then(|one| one.end).map_or(0, |end| end.saturating_sub(earliest));
    let last = pieces.last().and_then(|one| one.start).map_or(0, |start| latest.saturating_sub(start));
    let slack = drift(first.max(last));
    (low.map(|low| low.saturating_sub(slack)), high.map(|high| high.saturating_add(slack)))
}

fn hull(pieces: &[Piece], earliest: i64, latest: i64) -> (Option<i64>, Option<i64>) {
    let from = pieces.partition_point(|one| one.end.is_some_and(|end| end < earliest));
    let touched = pieces.iter().skip(from).take_while(|one| one.start.is_none_or(|start| start <= latest));
    let (mut low, mut high, mut any) = (Some(i64::MAX), Some(i64::MIN), false);
    for one in touched {
        any = true;
        low = low.zip(one.low).map(|(a, b)| a.min(b));
        high = high.zip(one.high).map(|(a, b)| a.max(b));
    }
    if any { (low, high) } else { (None, None) }
}

/// An interval that is closed on both sides.
pub fn closed((low, high): (Option<i64>, Option<i64>)) -> Option<Offset> {
    let (low, high) = low.zip(high)?;
    (low <= high).then_some(Offset { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn one(at: i64, low: Option<i64>, high: Option<i64>) -> Constraint {
        let evidence =
            Evidence { path: "audit.jsonl".into(), record: at / SECOND, what: "x".into(), ..Evidence::default() };
        Constraint { at: Some(at), low, high, evidence, ..Constraint::default() }
    }

    #[test]
    fn a_reading_on_each_side_of_a_step_bounds_its_own_side() {
        let all = [
            one(0, Some(10), Some(20)),
            one(SECOND, Some(12), Some(22)),
            one(2 * SECOND, Some(5_000_000), Some(5_000_010)),
        ];
        let pieces = of_readings(&all.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(within(&pieces.all, 100, 200), (Some(10), Some(22)), "before the step");
        // Within it both clocks ran on: a second of 50 parts in a million is 50 µs.
        let stepping = (Some(12 - 50_000), Some(5_000_010 + 50_000));
        assert_eq!(within(&pieces.all, SECOND + 1, SECOND + 2), stepping, "the step lies there");
        assert_eq!(
            within(&pieces.all, 2 * SECOND + 10, 2 * SECOND + 10),
            (Some(12).max(Some(5_000_000)), Some(5_000_010))
        );
        assert_eq!(pieces.steps, [(SECOND, 2 * SECOND, 4_999_978)]);
        assert_eq!(pieces.evidence.iter().map(|one| one.record).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(pieces.hull(), stepping);
        // A hundred seconds behind the last reading 50 parts in a million are 5 ms.
        let late = 102 * SECOND;
        assert_eq!(within(&pieces.all, late, late), (Some(0), Some(10_000_010)));
    }

    #[test]
    fn what_drifts_within_quartz_is_no_step() {
        let all = [one(0, Some(0), Some(10)), one(100 * SECOND, Some(1_000_000), Some(1_000_010))];
        let pieces = of_readings(&all.iter().collect::<Vec<_>>()).unwrap();
        assert!(pieces.steps.is_empty());
        assert_eq!(within(&pieces.all, SECOND, 2 * SECOND), (Some(0), Some(1_000_010)));
    }

    #[test]
    fn one_sided_evidence_is_split_where_it_must_be() {
        // The offset is 0 up to 5 s, then −3 s.
        let at = |second: i64| second * SECOND;
        let all = [
            one(at(1), None, Some(SECOND)),
            one(at(2), Some(-SECOND), None),
            one(at(4), None, Some(SECOND / 2)),
            one(at(6), None, Some(-2 * SECOND)),
            one(at(7), Some(-4 * SECOND), None),
            one(at(9), None, Some(-2 * SECOND)),
        ];
        let pieces = fewest_steps(&all.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(pieces.steps.len(), 1, "{pieces:?}");
        let (from, until, size) = pieces.steps[0];
        assert!(from <= at(5) && at(5) <= until, "{pieces:?}");
        assert!(size < 0, "{pieces:?}");
        let slack = SECOND / 1_000;
        let near = |got: Option<i64>, expected: i64| got.is_some_and(|got| (got - expected).abs() <= slack);
        let late = within(&pieces.all, at(8), at(8));
        assert!(near(late.0, -4 * SECOND) && near(late.1, -2 * SECOND), "{late:?}");
        let all_along = pieces.hull();
        assert!(all_along.0.is_some_and(|low| low <= -3 * SECOND) && all_along.1.is_none_or(|high| high >= 0));
    }

    #[test]
    fn evidence_that_agrees_is_left_whole() {
        let all = [one(0, Some(0), None), one(SECOND, None, Some(5)), one(2 * SECOND, Some(1), None)];
        assert!(fewest_steps(&all.iter().collect::<Vec<_>>()).is_none());
    }
}
