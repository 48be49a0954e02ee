//! Why a verdict is what it is. Stages decide by the kind; the words for people stand here and nowhere else.
//!
//! In `report.json` a reason is two fields: `reason` (its words) and `reason_kind` (its token, stable).

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Status;

/// End of a documented range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Low,
    High,
    Both,
}

/// What a measurement lacks so that it could be shown to lie inside a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    NoUpperBound,
    NoLowerBound,
    NoValue,
}

/// What growth over the number of Services was found to be, where a claim says no more than that there is some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    Grows,
    DoesNotGrow,
    WithinBounds,
}

/// What load may have done to a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Raised,
    Lowered,
}

impl Moved {
    fn word(self) -> &'static str {
        match self {
            Moved::Raised => "raised",
            Moved::Lowered => "lowered",
        }
    }
}

/// Where the node was loaded: shares of its CPU time, 0 to 1, niced time not counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// While something was measured.
    While { run: String, busy: f64 },
    /// In the action, against the window that it is compared with.
    Windows { run: String, other: f64, action: f64 },
    /// In two runs that are compared.
    Sides { less: (String, f64), more: (String, f64) },
}

impl Loaded {
    /// How far the loads are apart; a single one from none.
    pub fn apart(&self) -> f64 {
        match self {
            Loaded::While { busy, .. } => *busy,
            Loaded::Windows { other, action, .. } => (action - other).abs(),
            Loaded::Sides { less, more } => more.1 - less.1,
        }
    }
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loaded::While { run, busy } => {
                write!(f, "the node's CPU was {:.0} % busy in {run} when this was measured", 100.0 * busy)
            }
            Loaded::Windows { run, other, action } => write!(
                f,
                "the node's CPU was {:.0} % busy in the baseline and {:.0} % in the action of {run}",
                100.0 * other,
                100.0 * action
            ),
            Loaded::Sides { less, more } => write!(
                f,
                "the node's CPU was {:.0} % busy in {} and {:.0} % in {} when this was measured",
                100.0 * less.1,
                less.0,
                100.0 * more.1,
                more.0
            ),
        }
    }
}

/// Why a verdict has its status. Numbers are in the unit of the row.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The document claims nothing.
    NothingClaimed,
    /// No reading of the claim applies.
    NoReading,
    /// Nothing was measured, and nothing says why.
    NoFigure,
    /// What the captures lack, in the measurement's words.
    Missing { what: String },
    /// The captures give no such statistic.
    NotGiven { measurement: String, statistic: String },
    /// No run of this scenario.
    NoRun { scenario: String, dataplane: String },
    /// Too few sizes, or sizes that lie too near to each other.
    FewSizes { least: usize, span: f64, dataplane: String, seen: Vec<f64> },
    /// The sizes are there, but not the figure.
    FewSizesMeasured { measurement: String, measured: usize, sizes: usize },
    /// No scenario has the figure of both sides.
    NoCommonScenario { measurement: String, dataplane: String, other: String },
    /// Rows that this one rests on have no verdict.
    NeedsRows,
    /// A figure or a bound is not a number.
    NotANumber,
    /// Lower bound above upper bound.
    Contradiction,
    /// The claim has no range.
    NoRange,
    /// Only a bound, no figure.
    OnlyABound,
    /// Fewer things measured than needed.
    TooFew { n: u64, least: u64 },
    /// Two honest readings of one claim differ; `not_worse`: by neither it is worse than claimed, which is what a user asks.
    Ambiguous { readings: Vec<(String, Status)>, not_worse: bool },
    /// “possible” without a number.
    CannotFail,
    /// The alert's expression never exceeded its threshold.
    NeverAbove,
    /// It did so for all of `for:`.
    Fired,
    /// It did so for less.
    BrieflyAbove,
    /// The alert's expression has no values.
    NoValues,
    /// “none” is claimed, and there is an excess.
    Excess,
    /// There is an excess, within bounds that include zero.
    ExcessWithinBounds,
    /// No event in enough attempts.
    NoEvent { attempts: u64 },
    /// No event in too few attempts.
    NoEventInFew { attempts: u64, needed: u64 },
    /// No event, but the upper bound is 0.1 % or more.
    UpperBoundTooHigh,
    /// A bound is missing.
    NoBounds,
    /// All of the interval lies above.
    Above,
    /// All of the interval lies below.
    Below,
    /// All of the interval lies inside.
    Inside,
    /// An upper bound of the claimed thing lies above.
    UpperBoundAbove,
    /// An upper bound of the claimed thing lies inside; `open`: it has no lower end.
    UpperBoundInside { open: bool },
    /// A lower bound of the claimed thing lies below.
    LowerBoundBelow,
    /// A lower bound of the claimed thing lies inside.
    LowerBoundInside,
    /// An end is open.
    OpenEnd(Open),
    /// The interval holds an end of the range.
    Straddles(End),
    /// A figure over the number of Services: a claim that there is growth.
    Growth(Grown),
    /// The growth stays within 1.25 ×.
    Flat,
    /// The slope's interval is wider than the claim itself.
    SlopeTooWide { half: f64 },
    /// Both figures of a ratio are upper bounds.
    RatioOfUpperBounds,
    /// One of the two figures of a ratio is an upper bound.
    RatioWithAnUpperBound,
    /// The machine's load could have produced what would be said otherwise.
    Load { loaded: Loaded, moved: Moved, otherwise: Option<Box<Reason>> },
    /// The node was loaded, but that could not have produced the verdict.
    InSpiteOfLoad { loaded: Loaded, moved: Moved, reason: Box<Reason> },
    /// A verdict of one run.
    InThisRun(Box<Reason>),
    /// Which figure of the growth is meant.
    OfGrowth(&'static str, Box<Reason>),
    /// Between which numbers of Services.
    Between { first: f64, last: f64, reason: Box<Reason> },
    /// What another row says.
    OfRow { id: String, reason: Box<Reason> },
}

impl Reason {
    /// The reason without what only says where it holds.
    pub fn core(&self) -> &Reason {
        match self {
            Reason::InThisRun(inner) | Reason::OfGrowth(_, inner) => inner.core(),
            Reason::Between { reason, .. } | Reason::OfRow { reason, .. } | Reason::InSpiteOfLoad { reason, .. } => {
                reason.core()
            }
            other => other,
        }
    }

    /// Whether load made the verdict inconclusive.
    pub fn is_load(&self) -> bool {
        matches!(self.core(), Reason::Load { .. })
    }

    /// Whether too few things were measured.
    pub fn is_too_few(&self) -> bool {
        matches!(self.core(), Reason::TooFew { .. })
    }

    /// Whether two readings of the claim differ.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.core(), Reason::Ambiguous { .. })
    }

    /// Its token in `report.json`.
    pub fn kind(&self) -> &'static str {
        match self.core() {
            Reason::NothingClaimed => "nothing-claimed",
            Reason::NoReading => "no-reading",
            Reason::NoFigure | Reason::Missing { .. } | Reason::NotGiven { .. } | Reason::NoValues => "missing",
            Reason::NoRun { .. } | Reason::NoCommonScenario { .. } => "no-run",
            Reason::FewSizes { .. } | Reason::FewSizesMeasured { .. } => "few-sizes",
            Reason::NeedsRows => "needs-rows",
            Reason::NotANumber => "not-a-number",
            Reason::Contradiction => "contradiction",
            Reason::NoRange => "no-range",
            Reason::OnlyABound | Reason::NoBounds | Reason::OpenEnd(_) => "open",
            Reason::TooFew { .. } | Reason::NoEventInFew { .. } => "too-few",
            Reason::Ambiguous { .. } => "ambiguous",
            Reason::CannotFail => "cannot-fail",
            Reason::NeverAbove => "never-above",
            Reason::Fired => "fired",
            Reason::BrieflyAbove => "briefly-above",
            Reason::Excess => "excess",
            Reason::NoEvent { .. } => "no-event",
            Reason::Above => "above",
            Reason::Below => "below",
            Reason::Inside => "inside",
            Reason::UpperBoundAbove | Reason::UpperBoundInside { .. } => "upper-bound",
            Reason::LowerBoundBelow | Reason::LowerBoundInside => "lower-bound",
            Reason::ExcessWithinBounds | Reason::UpperBoundTooHigh | Reason::Straddles(_) => "straddles",
            Reason::Growth(_) | Reason::Flat => "growth",
            Reason::SlopeTooWide { .. } => "too-wide",
            Reason::RatioOfUpperBounds | Reason::RatioWithAnUpperBound => "ratio-of-upper-bounds",
            Reason::Load { .. } => "load",
            // `core` took these off.
            Reason::InThisRun(_)
            | Reason::OfGrowth(..)
            | Reason::Between { .. }
            | Reason::OfRow { .. }
            | Reason::InSpiteOfLoad { .. } => "",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = match self {
            Reason::NothingClaimed => "nothing is claimed",
            Reason::NoReading => "no reading of this claim applies",
            Reason::NoFigure => "no figure was measured",
            Reason::NeedsRows => "needs T3.3 and T4.3",
            Reason::NotANumber => "the measurement is not a number",
            Reason::Contradiction => "the bounds of the measurement contradict each other",
            Reason::NoRange => "the claim has no range to judge by",
            Reason::OnlyABound => "no figure, only a bound",
            Reason::CannotFail => "“possible” without a number never fails: the figure is shown",
            Reason::NeverAbove => "the expression never exceeded its threshold",
            Reason::Fired => "the expression was above its threshold for as long as the alert asks (`for:`)",
            Reason::BrieflyAbove => {
                "the expression was above its threshold, but not for as long as the alert asks (`for:`)"
            }
            Reason::NoValues => "the expression has no values in this run",
            Reason::Excess => "“none” is claimed, and the excess over the baseline is above zero with its bounds",
            Reason::ExcessWithinBounds => {
                "there is an excess over the baseline, but its bounds include zero: more attempts would settle it"
            }
            Reason::UpperBoundTooHigh => {
                "no excess was seen, but its upper bound is 0.1 % or more: more attempts would settle it"
            }
            Reason::NoBounds => "the measurement has no bounds on both sides",
            Reason::Above => "the whole interval lies above the documented range",
            Reason::Below => "the whole interval lies below the documented range",
            Reason::Inside => "the whole interval lies inside the documented range",
            Reason::UpperBoundAbove => {
                "the figure is an upper bound of the claimed thing, and lies above the range: the thing itself may be inside"
            }
            Reason::UpperBoundInside { open: true } => "even the upper bound lies inside the documented range",
            Reason::UpperBoundInside { open: false } => {
                "an upper bound of the claimed thing lies inside the documented range"
            }
            Reason::LowerBoundBelow => {
                "the figure is a lower bound of the claimed thing, and lies below the range: the thing itself may be inside"
            }
            Reason::LowerBoundInside => {
                "the figure is a lower bound of the claimed thing: the thing itself may lie above the range"
            }
            Reason::Growth(Grown::Grows) => "it grows with the number of Services",
            Reason::Growth(Grown::DoesNotGrow) => "it does not grow with the number of Services",
            Reason::Growth(Grown::WithinBounds) => "whether it grows is within the measurement's bounds",
            Reason::Flat => "it does not grow with the number of Services: at most 1.25 ×",
            Reason::RatioOfUpperBounds => {
                "both figures are upper bounds, and a ratio of upper bounds proves nothing; the ratio is shown"
            }
            Reason::RatioWithAnUpperBound => {
                "one of the two figures is an upper bound, so that the ratio proves nothing; it is shown"
            }
            Reason::OpenEnd(open) => {
                let side = match open {
                    Open::NoUpperBound => "no upper bound",
                    Open::NoLowerBound => "no lower bound",
                    Open::NoValue => "no value",
                };
                return write!(f, "the measurement has {side}, so it cannot be shown to lie inside the range");
            }
            Reason::Straddles(end) => {
                let which = match end {
                    End::Both => "both ends",
                    End::Low => "the lower end",
                    End::High => "the upper end",
                };
                return write!(
                    f,
                    "the measurement's bounds straddle {which} of the documented range: tighter bounds or more runs would settle it"
                );
            }
            Reason::Missing { what } => what,
            Reason::NotGiven { measurement, statistic } => {
                return write!(f, "the captures do not give {measurement} ({statistic})");
            }
            Reason::NoRun { scenario, dataplane } => {
                return write!(f, "there is no {scenario} run of {dataplane} among the captures");
            }
            Reason::FewSizes { least, span, dataplane, seen } => {
                let list: Vec<String> = seen.iter().map(|n| format!("{n:.0}")).collect();
                let seen = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
                return write!(
                    f,
                    "needs runs of at least {least} sizes, the largest {span:.0} × the smallest; there are runs of {dataplane} with this many Services: {seen}"
                );
            }
            Reason::FewSizesMeasured { measurement, measured, sizes } => {
                return write!(f, "{measurement} was measured at {measured} of {sizes} sizes only");
            }
            Reason::NoCommonScenario { measurement, dataplane, other } => {
                return write!(f, "no scenario has {measurement} of both {dataplane} and {other}");
            }
            Reason::TooFew { n, least } => return write!(f, "too few samples: {n} of at least {least}"),
            Reason::Ambiguous { readings, not_worse } => {
                let each: Vec<String> =
                    readings.iter().map(|(label, status)| format!("read as “{label}”, {}", status.phrase())).collect();
                let side = if *not_worse { "; by either, it is not worse than claimed" } else { "" };
                return write!(f, "ambiguous claim: {}{side}", each.join(", "));
            }
            Reason::NoEvent { attempts } => {
                return write!(f, "no event beyond the baseline's in {attempts} attempts");
            }
            Reason::NoEventInFew { attempts, needed } => {
                return write!(f, "no event, but only {attempts} attempts: “none” needs {needed}");
            }
            Reason::SlopeTooWide { half } => {
                return write!(
                    f,
                    "the slope is known to ± {half:.0} bytes per Service only, more than the claim itself: more runs of each size would settle it"
                );
            }
            Reason::Load { loaded, moved, otherwise } => {
                write!(f, "load: {loaded}, and that alone can have {} the figure", moved.word())?;
                return match otherwise {
                    Some(otherwise) => write!(f, " (without it: {otherwise})"),
                    None => Ok(()),
                };
            }
            Reason::InSpiteOfLoad { loaded, moved, reason } => {
                return write!(
                    f,
                    "{reason}, in spite of load: {loaded}, which can only have {} the figure",
                    moved.word()
                );
            }
            Reason::InThisRun(inner) => return write!(f, "{inner}, in this run"),
            Reason::OfGrowth(what, inner) => return write!(f, "{what}: {inner}"),
            Reason::Between { first, last, reason } => {
                return write!(f, "{reason} (from {first:.0} to {last:.0} Services)");
            }
            Reason::OfRow { id, reason } => return write!(f, "{id}: {reason}"),
        };
        f.write_str(fixed)
    }
}

/// Two fields of whatever holds it.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Reason", 2)?;
        fields.serialize_field("reason", &self.to_string())?;
        fields.serialize_field("reason_kind", self.kind())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_a_reason_holds_does_not_change_its_kind() {
        let few = Reason::TooFew { n: 3, least: 20 };
        let here = Reason::InThisRun(Box::new(few.clone()));
        let there = Reason::OfRow { id: "T4.3".to_owned(), reason: Box::new(here) };
        assert!(there.is_too_few() && !there.is_load() && !there.is_ambiguous());
        assert_eq!((there.kind(), few.kind()), ("too-few", "too-few"));
        assert_eq!(there.to_string(), "T4.3: too few samples: 3 of at least 20, in this run");
    }

    #[test]
    fn what_load_hides_is_not_its_kind() {
        let few = Some(Box::new(Reason::TooFew { n: 3, least: 20 }));
        let loaded = Loaded::While { run: "x".to_owned(), busy: 0.97 };
        let load = Reason::Load { loaded, moved: Moved::Raised, otherwise: few };
        assert!(load.is_load() && !load.is_too_few());
        let text = serde_json::to_value(&load).unwrap();
        assert_eq!(text["reason_kind"], "load");
        assert_eq!(
            text["reason"],
            "load: the node's CPU was 97 % busy in x when this was measured, and that alone can have raised the figure (without it: too few samples: 3 of at least 20)"
        );
    }
}
