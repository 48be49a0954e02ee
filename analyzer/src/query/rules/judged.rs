//! What a rule's course over a run means. That it did not fire says something only where it could have: with data for every selector
//! that its value needs, over the run, without failures, and for longer than its `for`.

use syncline_promql::syntax::tree::{BinaryOperator, Node, NodeKind, Selector};
use syncline_promql::{Series, Storage, is_stale};

use super::read::{ReadRule, What};
use super::replay::RuleHistory;

/// Share of the run that may lie ahead of the first sample or behind the last before that is said.
const UNCOVERED: f64 = 0.1;

/// What became of a rule, the graver first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It fired.
    Firing,
    /// It could not be evaluated.
    Failed,
    /// Nothing that it asks for was captured.
    NoData,
    /// It was pending when the run ended: whether it would have fired is not known.
    Undecided,
    /// It did not fire while there was data, which there was in a part of the run only.
    InPart,
    /// It was pending, and went away by itself.
    Pending,
    /// There was data over the run, and never an alert.
    Inactive,
    /// A recording rule that gave series.
    Recorded,
}

impl Status {
    /// The word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Failed => "failed",
            Status::NoData => "no data",
            Status::Undecided => "undecided",
            Status::InPart => "in part",
            Status::Pending => "pending only",
            Status::Inactive => "not firing",
            Status::Recorded => "recorded",
        }
    }

    /// Whether the rule is known not to have fired.
    pub fn is_pass(self) -> bool {
        matches!(self, Status::Pending | Status::Inactive | Status::Recorded)
    }
}

/// The status and why. `times` are the first and the last of `evaluations`, ms.
pub(super) fn status(
    one: &RuleHistory,
    rule: &ReadRule,
    storage: &dyn Storage,
    times: Option<(i64, i64)>,
    evaluations: usize,
) -> (Status, String) {
    let Some((start, end)) = times.filter(|_| evaluations > 0) else {
        return (Status::NoData, "the run has no samples".to_owned());
    };
    let failed: usize = one.failures.values().sum();
    let told = || {
        let messages =
            one.failures.iter().map(|(message, number)| format!("{message} ({number} of {evaluations} evaluations)"));
        messages.collect::<Vec<_>>().join("; ")
    };
    let hold = match rule.what {
        What::Alert { hold, .. } => hold,
        What::Record => 0,
    };
    if one.stretches.iter().any(|stretch| stretch.firing.is_some()) {
        return (Status::Firing, told());
    }
    if failed > 0 {
        return (Status::Failed, told());
    }
    let reach = Reach::of(rule, storage);
    if one.valued == 0 && !reach.can_have(&rule.expr.root) {
        let missing: Vec<&str> = reach.without().collect();
        return (Status::NoData, format!("no series of {}", missing.join(", ")));
    }
    let open = one.stretches.iter().find(|stretch| stretch.resolved.is_none());
    if let Some(open) = open {
        let long = seconds(end - open.pending);
        return (Status::Undecided, format!("pending for {long} when the run ended, `for` asks {}", seconds(hold)));
    }
    if let Some(why) = reach.uncovered(start, end) {
        return (Status::InPart, why);
    }
    if rule.what == What::Record {
        return if one.valued > 0 {
            (Status::Recorded, String::new())
        } else {
            (Status::NoData, "its expression never had a value".to_owned())
        };
    }
    if !one.stretches.is_empty() {
        return (Status::Pending, format!("never for {}", seconds(hold)));
    }
    (Status::Inactive, String::new())
}

/// ms as people read them.
fn seconds(ms: i64) -> String {
    let seconds = ms as f64 / 1e3;
    if seconds < 120.0 { format!("{seconds} s") } else { format!("{:.1} min", seconds / 60.0) }
}

/// The selectors of a rule with the first and last sample that each finds, ms.
struct Reach<'r> {
    rule: &'r ReadRule,
    found: Vec<(&'r Selector, Option<(i64, i64)>)>,
}

impl<'r> Reach<'r> {
    fn of(rule: &'r ReadRule, storage: &dyn Storage) -> Self {
        let span = |selector: &Selector| {
            let series = storage.select(&selector.matchers, i64::MIN, i64::MAX);
            let spans = series.iter().filter_map(|one| samples(one));
            spans.reduce(|(first, last), (other, later)| (first.min(other), last.max(later)))
        };
        let found = rule.expr.selectors().into_iter().map(|selector| (selector, span(selector))).collect();
        Self { rule, found }
    }

    fn has(&self, selector: &Selector) -> bool {
        self.found.iter().any(|(one, span)| one.span == selector.span && span.is_some())
    }

    /// Selectors that find nothing, as they are written.
    fn without(&self) -> impl Iterator<Item = &str> {
        let text = &self.rule.expr.text;
        let none = self.found.iter().filter(|(_, span)| span.is_none());
        none.map(|(one, _)| text.get(one.span.start..one.span.end).unwrap_or_default())
    }

    /// Whether a part of the expression can have had a value at all, as far as its selectors tell.
    fn can_have(&self, node: &Node) -> bool {
        match &node.kind {
            NodeKind::Number(_) | NodeKind::Text { .. } => true,
            NodeKind::Paren(inner) | NodeKind::Unary { operand: inner, .. } => self.can_have(inner),
            NodeKind::Binary(binary) => match binary.operator {
                BinaryOperator::Or => self.can_have(&binary.left) || self.can_have(&binary.right),
                BinaryOperator::Unless => self.can_have(&binary.left),
                _ => self.can_have(&binary.left) && self.can_have(&binary.right),
            },
            NodeKind::Aggregate(aggregate) => self.can_have(&aggregate.operand),
            // What is absent is what they ask for.
            NodeKind::Call(call) if call.function.name.starts_with("absent") => true,
            NodeKind::Call(call) => call.arguments.iter().all(|one| self.can_have(one)),
            NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => self.has(selector),
            NodeKind::Subquery(subquery) => self.can_have(&subquery.inner),
        }
    }

    /// How much of the evaluations the samples leave out, where it is more than a little.
    fn uncovered(&self, start: i64, end: i64) -> Option<String> {
        let spans = || self.found.iter().filter_map(|(_, span)| *span);
        // Each selector's samples; what they all reach over.
        let (first, last) = (spans().map(|(first, _)| first).max()?, spans().map(|(_, last)| last).min()?);
        let length = end - start;
        let missing = (first - start).max(0) + (end - last).max(0);
        let within = format!("samples reach over {} of {}", seconds((length - missing).max(0)), seconds(length));
        (missing as f64 > UNCOVERED * length as f64).then_some(within)
    }
}

/// First and last sample of a series.
fn samples(series: &Series) -> Option<(i64, i64)> {
    let floats =
        || series.times.iter().zip(series.values.iter()).filter(|(_, value)| !is_stale(**value)).map(|(time, _)| *time);
    let histograms = || series.histograms.iter().map(|sample| sample.time);
    Some((floats().chain(histograms()).min()?, floats().chain(histograms()).max()?))
}
