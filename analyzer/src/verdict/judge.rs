//! One interval against one claim. Pure, and strict: what is missing, unbounded or not a number never holds.

use serde::{Deserialize, Serialize};

use super::catalogue::{Beyond, ClaimKind, Direction};
use super::reason::{End, Open, Reason};

/// A verdict's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    #[serde(rename = "holds")]
    Holds,
    #[serde(rename = "better")]
    Better,
    #[serde(rename = "worse")]
    Worse,
    #[serde(rename = "inconclusive")]
    Inconclusive,
    #[serde(rename = "not measured")]
    NotMeasured,
}

impl Status {
    /// All of them, in the order of reports.
    pub const ALL: [Status; 5] =
        [Status::Holds, Status::Better, Status::Worse, Status::Inconclusive, Status::NotMeasured];

    /// The status as the end of a sentence about a claim.
    pub fn phrase(self) -> &'static str {
        match self {
            Status::Holds => "the claim holds",
            Status::Better => "it is off the claim, good for you",
            Status::Worse => "it is off the claim, bad for you",
            Status::Inconclusive => "it is inconclusive",
            Status::NotMeasured => "it is not measured",
        }
    }

    /// The word in reports and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Status::Holds => "holds",
            Status::Better => "better",
            Status::Worse => "worse",
            Status::Inconclusive => "inconclusive",
            Status::NotMeasured => "not measured",
        }
    }
}

/// What was measured, in the unit of the claim: the hull over runs of the measurement's bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    pub value: Option<f64>,
    /// Null: unbounded below.
    pub low: Option<f64>,
    /// Null: unbounded above.
    pub high: Option<f64>,
    /// It bounds the claimed thing only from above.
    pub upper_only: bool,
    /// It bounds the claimed thing only from below.
    pub lower_only: bool,
    /// Number of things measured.
    pub n: u64,
}

/// The claim, ready to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    pub kind: ClaimKind,
    /// Null: open.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Status beyond each end.
    pub beyond_low: Beyond,
    pub beyond_high: Beyond,
}

impl Claim {
    /// A claim as the catalogue has it: "about" is widened by a quarter here.
    pub fn new(kind: ClaimKind, low: Option<f64>, high: Option<f64>, direction: Direction) -> Self {
        let (low, high) = match kind {
            ClaimKind::About | ClaimKind::Slope => (low.map(|x| x * 0.75), high.map(|x| x * 1.25)),
            ClaimKind::Possible => (None, high),
            _ => (low, high),
        };
        let (beyond_low, beyond_high) = match direction {
            Direction::Higher => (Beyond::Worse, Beyond::Better),
            Direction::Lower | Direction::None => (Beyond::Better, Beyond::Worse),
        };
        Claim { kind, low, high, beyond_low, beyond_high }
    }
}

/// Attempts without an event from which "none" holds: the 95 % upper bound is then below 0.1 %.
pub const ATTEMPTS_FOR_NONE: u64 = 3001;

/// Judges a figure, and says why.
pub fn judge(figure: &Figure, claim: &Claim) -> (Status, Reason) {
    let not_a_number = |x: Option<f64>| x.is_some_and(|x| !x.is_finite());
    if not_a_number(figure.value) || not_a_number(figure.low) || not_a_number(figure.high) {
        return (Status::Inconclusive, Reason::NotANumber);
    }
    if figure.value.is_none() && figure.low.is_none() && figure.high.is_none() {
        return (Status::NotMeasured, Reason::NoFigure);
    }
    if let (Some(low), Some(high)) = (figure.low, figure.high)
        && low > high
    {
        return (Status::Inconclusive, Reason::Contradiction);
    }
    match claim.kind {
        ClaimKind::Zero => none(figure),
        ClaimKind::Possible if claim.high.is_none() => match figure.value {
            Some(_) => (Status::Holds, Reason::CannotFail),
            None => (Status::Inconclusive, Reason::OnlyABound),
        },
        ClaimKind::Alert => alert(figure.value),
        ClaimKind::None => (Status::NotMeasured, Reason::NothingClaimed),
        _ => range(figure, claim),
    }
}

/// An alert's state: 0 never above the threshold, 1 above for all of `for:`, anything between above for less.
fn alert(state: Option<f64>) -> (Status, Reason) {
    match state {
        Some(0.0) => (Status::Holds, Reason::NeverAbove),
        Some(1.0) => (Status::Worse, Reason::Fired),
        Some(_) => (Status::Inconclusive, Reason::BrieflyAbove),
        None => (Status::NotMeasured, Reason::NoValues),
    }
}

/// "none": any attributable excess is worse; no event holds from [`ATTEMPTS_FOR_NONE`] attempts.
fn none(figure: &Figure) -> (Status, Reason) {
    match (figure.value, figure.low, figure.high) {
        (_, Some(low), _) if low > 0.0 => (Status::Worse, Reason::Excess),
        (Some(value), _, _) if value > 0.0 => (Status::Inconclusive, Reason::ExcessWithinBounds),
        (Some(_), Some(_), Some(high)) if figure.n >= ATTEMPTS_FOR_NONE && high < 0.001 => {
            (Status::Holds, Reason::NoEvent { attempts: figure.n })
        }
        (Some(_), Some(_), Some(_)) if figure.n < ATTEMPTS_FOR_NONE => {
            (Status::Inconclusive, Reason::NoEventInFew { attempts: figure.n, needed: ATTEMPTS_FOR_NONE })
        }
        (Some(_), Some(_), Some(_)) => (Status::Inconclusive, Reason::UpperBoundTooHigh),
        _ => (Status::Inconclusive, Reason::NoBounds),
    }
}

fn range(figure: &Figure, claim: &Claim) -> (Status, Reason) {
    let word = |beyond: Beyond| match beyond {
        Beyond::Better => Status::Better,
        Beyond::Worse => Status::Worse,
    };
    if claim.low.is_none() && claim.high.is_none() {
        return (Status::Inconclusive, Reason::NoRange);
    }
    // All beyond an end: the other side may be open, an endpoint that never arrived is later than any bound.
    if let (Some(low), Some(end)) = (figure.low, claim.high)
        && low > end
    {
        return if figure.upper_only {
            (Status::Inconclusive, Reason::UpperBoundAbove)
        } else {
            (word(claim.beyond_high), Reason::Above)
        };
    }
    if let (Some(high), Some(end)) = (figure.high, claim.low)
        && high < end
    {
        return if figure.lower_only {
            (Status::Inconclusive, Reason::LowerBoundBelow)
        } else {
            (word(claim.beyond_low), Reason::Below)
        };
    }
    let (Some(low), Some(high), Some(_)) = (figure.low, figure.high, figure.value) else {
        return if figure.upper_only
            && figure.value.is_some()
            && figure.high.is_some_and(|h| claim.high.is_some_and(|end| h <= end) && claim.low.is_none())
        {
            (Status::Holds, Reason::UpperBoundInside { open: true })
        } else {
            let open = match (figure.low, figure.high) {
                (_, None) => Open::NoUpperBound,
                (None, _) => Open::NoLowerBound,
                _ => Open::NoValue,
            };
            (Status::Inconclusive, Reason::OpenEnd(open))
        };
    };
    let inside = claim.low.is_none_or(|end| low >= end) && claim.high.is_none_or(|end| high <= end);
    if !inside {
        let end = match (claim.low.is_some_and(|e| low < e), claim.high.is_some_and(|e| high > e)) {
            (true, true) => End::Both,
            (true, false) => End::Low,
            _ => End::High,
        };
        return (Status::Inconclusive, Reason::Straddles(end));
    }
    if figure.lower_only {
        return (Status::Inconclusive, Reason::LowerBoundInside);
    }
    if figure.upper_only {
        return (Status::Holds, Reason::UpperBoundInside { open: false });
    }
    (Status::Holds, Reason::Inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figure(value: f64, low: f64, high: f64) -> Figure {
        Figure { value: Some(value), low: Some(low), high: Some(high), n: 100, ..Figure::default() }
    }

    fn status(figure: Figure, kind: ClaimKind, low: Option<f64>, high: Option<f64>) -> Status {
        judge(&figure, &Claim::new(kind, low, high, Direction::Lower)).0
    }

    #[test]
    fn ranges() {
        let r = |f| status(f, ClaimKind::Range, Some(1.0), Some(5.0));
        assert_eq!(r(figure(2.0, 1.0, 5.0)), Status::Holds);
        assert_eq!(r(figure(2.0, 0.9, 5.0)), Status::Inconclusive);
        assert_eq!(r(figure(0.5, 0.4, 0.9)), Status::Better);
        assert_eq!(r(figure(6.0, 5.1, 9.0)), Status::Worse);
        assert_eq!(r(Figure { value: Some(6.0), low: Some(5.1), n: 100, ..Figure::default() }), Status::Worse);
        assert_eq!(r(Figure { value: Some(2.0), low: Some(1.5), n: 100, ..Figure::default() }), Status::Inconclusive);
        assert_eq!(r(Figure { value: Some(2.0), n: 100, ..Figure::default() }), Status::Inconclusive);
        assert_eq!(r(Figure { upper_only: true, ..figure(6.0, 5.5, 9.0) }), Status::Inconclusive);
        assert_eq!(r(Figure { upper_only: true, ..figure(0.6, 0.5, 0.9) }), Status::Better);
        assert_eq!(r(Figure { lower_only: true, ..figure(0.6, 0.5, 0.9) }), Status::Inconclusive);
        assert_eq!(r(Figure { lower_only: true, ..figure(2.0, 1.5, 2.5) }), Status::Inconclusive);
        assert_eq!(r(Figure { lower_only: true, ..figure(6.0, 5.5, 9.0) }), Status::Worse);
        assert_eq!(status(figure(10.0, 8.0, 12.0), ClaimKind::About, Some(10.0), Some(10.0)), Status::Holds);
        assert_eq!(status(figure(13.0, 12.6, 13.4), ClaimKind::About, Some(10.0), Some(10.0)), Status::Worse);
    }

    #[test]
    fn none_needs_attempts() {
        let z = |f| status(f, ClaimKind::Zero, None, None);
        assert_eq!(z(Figure { n: 3001, ..figure(0.0, 0.0, 0.00099) }), Status::Holds);
        assert_eq!(z(Figure { n: 3000, ..figure(0.0, 0.0, 0.00099) }), Status::Inconclusive);
        assert_eq!(z(Figure { n: 9000, ..figure(0.001, 0.0005, 0.002) }), Status::Worse);
        assert_eq!(z(Figure { n: 9000, ..figure(0.001, 0.0, 0.002) }), Status::Inconclusive);
        assert_eq!(z(Figure { n: 9000, value: Some(0.0), ..Figure::default() }), Status::Inconclusive);
    }

    #[test]
    fn possible() {
        let p = |f, high| status(f, ClaimKind::Possible, None, high);
        assert_eq!(p(figure(0.2, 0.1, 0.3), None), Status::Holds);
        assert_eq!(p(figure(0.01, 0.0, 0.02), Some(0.05)), Status::Holds);
        assert_eq!(p(figure(0.08, 0.06, 0.1), Some(0.05)), Status::Worse);
        assert_eq!(p(Figure::default(), None), Status::NotMeasured);
    }

    fn number() -> impl Strategy<Value = Option<f64>> {
        prop_oneof![
            3 => (-10.0..10.0f64).prop_map(Some),
            1 => Just(None),
            1 => Just(Some(f64::NAN)),
            1 => Just(Some(f64::INFINITY)),
            1 => Just(Some(f64::NEG_INFINITY)),
        ]
    }

    proptest! {
        /// Whatever comes in: a claim holds only with a finite value and finite bounds that lie inside.
        #[test]
        fn nothing_unbounded_holds(value in number(), low in number(), high in number(), n in 0u64..5000, flags in 0u8..4,
                                   kind in 0usize..5, a in -5.0..5.0f64, width in 0.0..5.0f64, open in 0u8..3) {
            let kind = [ClaimKind::Range, ClaimKind::About, ClaimKind::Possible, ClaimKind::Zero, ClaimKind::SizeRatio][kind];
            let figure = Figure { value, low, high, n, upper_only: flags & 1 > 0, lower_only: flags & 2 > 0 };
            let claim = Claim::new(kind, (open != 1).then_some(a), (open != 2).then_some(a + width), Direction::Lower);
            let (status, reason) = judge(&figure, &claim);
            prop_assert!(!reason.to_string().is_empty() && !reason.kind().is_empty());
            if status == Status::Holds {
                prop_assert!(value.is_some_and(f64::is_finite));
                prop_assert!(low.is_none_or(f64::is_finite) && high.is_none_or(f64::is_finite));
                if !(kind == ClaimKind::Possible && claim.high.is_none()) {
                    prop_assert!(high.is_some());
                    prop_assert!(low.is_some() || figure.upper_only);
                    prop_assert!(claim.high.is_none_or(|end| high.is_some_and(|h| h <= end)) || kind == ClaimKind::Zero);
                    prop_assert!(claim.low.is_none_or(|end| low.is_some_and(|l| l >= end)) || kind == ClaimKind::Zero);
                }
            }
        }
    }
}
