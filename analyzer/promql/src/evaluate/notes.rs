//! Annotations and statistics, gathered from all threads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::answer::{Answer, PlanStep, Selected, Value};
use crate::calendar::format_rfc3339;
use crate::number::format_float_short;
use crate::syntax::tree::Span;

/// What a note about repaired buckets covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    lowest: f64,
    highest: f64,
    difference: f64,
    samples: usize,
    first: i64,
    last: i64,
}

impl Extent {
    /// One sample: boundaries of the buckets raised, by how much at most, and when.
    pub(crate) fn of(lowest: f64, highest: f64, difference: f64, time: i64) -> Extent {
        Extent { lowest, highest, difference, samples: 1, first: time, last: time }
    }

    fn merge(&mut self, other: Extent) {
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
        self.difference = self.difference.max(other.difference);
        self.samples += other.samples;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Seconds and series of each part, by first byte and (descending) last byte: an outer part comes before its inner ones.
type Timed = BTreeMap<(usize, Reverse<usize>), (f64, usize)>;

/// All notes of an evaluation: texts, and where each was said first. The same text said elsewhere is not said again.
#[derive(Default)]
pub(crate) struct Notes {
    warnings: Mutex<BTreeMap<String, String>>,
    infos: Mutex<BTreeMap<String, String>>,
    extents: Mutex<BTreeMap<String, (Extent, String)>>,
    selected: Mutex<Vec<Selected>>,
    timed: Mutex<Timed>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notes {
    pub(crate) fn warn(&self, text: String, place: impl FnOnce() -> String) {
        held(&self.warnings).entry(text).or_insert_with(place);
    }

    pub(crate) fn inform(&self, text: String, place: impl FnOnce() -> String) {
        held(&self.infos).entry(text).or_insert_with(place);
    }

    pub(crate) fn inform_with_extent(&self, text: String, place: String, extent: Extent) {
        held(&self.extents).entry(text).and_modify(|(all, _)| all.merge(extent)).or_insert((extent, place));
    }

    pub(crate) fn selected(&self, selected: Selected) {
        held(&self.selected).push(selected);
    }

    /// Remembers how long a part took. One that was evaluated within itself (for a single step) counts once.
    pub(crate) fn timed(&self, span: Span, seconds: f64, series: usize) {
        let mut timed = held(&self.timed);
        let entry = timed.entry((span.start, Reverse(span.end))).or_default();
        *entry = (entry.0.max(seconds), series);
    }

    /// The answer with all notes, sorted.
    pub(crate) fn into_answer(self, value: Value, query: &str) -> Answer {
        let plan = self.plan(query);
        let placed = |notes: Mutex<BTreeMap<String, String>>| -> Vec<String> {
            let notes = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
            notes.into_iter().map(|(text, place)| format!("{text} {place}")).collect()
        };
        let mut infos = placed(self.infos);
        for (text, (extent, place)) in self.extents.into_inner().unwrap_or_else(PoisonError::into_inner) {
            infos.push(format!(
                "{text}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} {place}",
                format_float_short(extent.lowest),
                format_float_short(extent.highest),
                two_digits(extent.difference),
                extent.samples,
                format_rfc3339(extent.first / 1000 * 1000),
                format_rfc3339(extent.last / 1000 * 1000),
            ));
        }
        infos.sort();
        let warnings = placed(self.warnings);
        let selected = self.selected.into_inner().unwrap_or_else(PoisonError::into_inner);
        Answer { value, warnings, infos, selected, plan }
    }

    fn plan(&self, query: &str) -> Vec<PlanStep> {
        let mut around: Vec<usize> = Vec::new();
        let mut plan = Vec::new();
        for (&(start, Reverse(end)), &(seconds, series)) in held(&self.timed).iter() {
            around.retain(|outer| *outer > start);
            let text = query.get(start..end).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            plan.push(PlanStep { text, depth: around.len(), seconds, series });
            around.push(end);
        }
        plan
    }
}

/// A number with two significant digits, as Go's `%.2g` has it.
fn two_digits(value: f64) -> String {
    let scientific = format!("{value:.1e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        let rounded: f64 = scientific.parse().unwrap_or(value);
        return format_float_short(rounded);
    }
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::two_digits;

    #[test]
    fn two_significant_digits() {
        for (value, text) in [(10.0, "10"), (5.5, "5.5"), (123.0, "1.2e+02"), (0.01234, "0.012"), (1e-7, "1e-07")] {
            assert_eq!(two_digits(value), text);
        }
    }
}
