//! The alerts of one rule: pending, firing, kept, resolved, evaluation by evaluation, as Prometheus does it.
//!
//! ```text
//! value        ──────▇▇▇▇▇▇▇▇▇▇▇▇▇──▇▇──────────────
//! for               ├────┤
//! keep_firing_for                ├──┤   ├──────┤
//!              inactive │pend│    firing         │ resolved
//! ```

use std::collections::BTreeMap;

use syncline_promql::{Labels, SampleValue};

use super::read::ReadRule;
use super::template::expand;

/// The label that has an alert's name.
pub const ALERT_NAME: &str = "alertname";

/// One alert from its first evaluation with a value until it is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    pub labels: Labels,
    /// As they read when it began to fire; until then as they read last.
    pub annotations: BTreeMap<String, String>,
    /// First evaluation with a value, ms since 1970.
    pub pending: i64,
    /// First evaluation at which `for` was over.
    pub firing: Option<i64>,
    /// The evaluation at which it was gone; `None`: it still was at the last one.
    pub resolved: Option<i64>,
    /// Evaluations with a value.
    pub evaluations: usize,
    pub minimum: f64,
    pub maximum: f64,
    /// At the last evaluation with a value.
    pub last: f64,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug)]
struct Active {
    stretch: Stretch,
    kept_since: Option<i64>,
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    active: BTreeMap<Labels, Active>,
    /// Those that are gone.
    pub past: Vec<Stretch>,
    /// Actions of templates that stand as they were written.
    pub beyond: std::collections::BTreeSet<String>,
}

/// `for`, `keep_firing_for` (ms) and `limit` of a rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub hold: i64,
    pub keep: i64,
    pub limit: usize,
}

impl Alerts {
    /// One evaluation: what the expression gave at `time`. Answers the alerts that are active: labels, since when (ms), whether firing.
    ///
    /// # Errors
    /// Two elements that make the same alert, or more alerts than the group's limit.
    pub fn evaluate(
        &mut self,
        rule: &ReadRule,
        elements: Vec<(Labels, SampleValue)>,
        time: i64,
        terms: Terms,
    ) -> Result<Vec<(Labels, i64, bool)>, String> {
        let mut now: BTreeMap<Labels, (f64, BTreeMap<String, String>)> = BTreeMap::new();
        for (labels, value) in elements {
            // A native histogram has no value of its own here: Prometheus takes 0.
            let value = match value {
                SampleValue::Float(value) => value,
                SampleValue::Histogram(_) => 0.0,
            };
            let mut own = labels.without_name();
            for (name, template) in &rule.labels {
                own = own.with(name, &self.expanded(template, &labels, value));
            }
            own = own.with(ALERT_NAME, &rule.name);
            let annotations =
                rule.annotations.iter().map(|(name, template)| (name.clone(), self.expanded(template, &labels, value)));
            let annotations = annotations.collect();
            if now.insert(own, (value, annotations)).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".to_owned());
            }
        }
        for (labels, (value, annotations)) in &now {
            let begun = || Active {
                stretch: Stretch {
                    labels: labels.clone(),
                    annotations: BTreeMap::new(),
                    pending: time,
                    firing: None,
                    resolved: None,
                    evaluations: 0,
                    minimum: f64::INFINITY,
                    maximum: f64::NEG_INFINITY,
                    last: f64::NAN,
                },
                kept_since: None,
            };
            let active = self.active.entry(labels.clone()).or_insert_with(begun);
            let stretch = &mut active.stretch;
            active.kept_since = None;
            stretch.evaluations += 1;
            stretch.minimum = stretch.minimum.min(*value);
            stretch.maximum = stretch.maximum.max(*value);
            stretch.last = *value;
            let fired = stretch.firing.is_some();
            if !fired && time.saturating_sub(stretch.pending) >= terms.hold {
                stretch.firing = Some(time);
            }
            if !fired {
                stretch.annotations.clone_from(annotations);
            }
        }
        let mut gone = Vec::new();
        for (labels, active) in self.active.iter_mut().filter(|(labels, _)| !now.contains_key(*labels)) {
            let fired = active.stretch.firing.is_some();
            let since = *active.kept_since.get_or_insert(time);
            if !(fired && terms.keep > 0 && time.saturating_sub(since) < terms.keep) {
                gone.push(labels.clone());
            }
        }
        for labels in gone {
            if let Some(active) = self.active.remove(&labels) {
                self.past.push(Stretch { resolved: Some(time), ..active.stretch });
            }
        }
        if terms.limit > 0 && self.active.len() > terms.limit {
            let number = self.active.len();
            let all = std::mem::take(&mut self.active);
            // Prometheus forgets them all; one that had begun ended here.
            let ended = all.into_values().filter(|one| one.stretch.pending < time);
            self.past.extend(ended.map(|one| Stretch { resolved: Some(time), ..one.stretch }));
            return Err(format!("exceeded limit of {} with {number} alerts", terms.limit));
        }
        let told = self.active.values().map(|one| {
            let stretch = &one.stretch;
            (stretch.labels.clone(), stretch.pending, stretch.firing.is_some())
        });
        Ok(told.collect())
    }

    /// All stretches, those that are not over among them, by labels and time.
    pub fn stretches(self) -> Vec<Stretch> {
        let mut all = self.past;
        all.extend(self.active.into_values().map(|one| one.stretch));
        all.sort_by(|a, b| (&a.labels, a.pending).cmp(&(&b.labels, b.pending)));
        all
    }

    fn expanded(&mut self, template: &str, labels: &Labels, value: f64) -> String {
        if !template.contains("{{") {
            return template.to_owned();
        }
        let done = expand(template, labels, value);
        self.beyond.extend(done.beyond);
        done.text
    }
}

#[cfg(test)]
mod tests {
    use syncline_promql::parse;

    use super::super::read::What;
    use super::*;

    fn rule() -> ReadRule {
        ReadRule {
            name: "A".into(),
            expr: parse("x > 1").expect("parses"),
            what: What::Alert { hold: 0, keep: 0 },
            labels: [("severity".to_owned(), "page".to_owned())].into(),
            annotations: [("text".to_owned(), "{{ $value }} at {{ $labels.i }} {{ if 1 }}".to_owned())].into(),
        }
    }

    /// Evaluations a second, `x` a value, `.` none; the state after each: pending, firing, or none.
    fn course(values: &str, terms: Terms) -> String {
        let (mut alerts, rule) = (Alerts::default(), rule());
        let mut state = |at: usize, letter: char| {
            let element = (Labels::new([("i", "a")]), SampleValue::Float(2.0));
            let elements = if letter == 'x' { vec![element] } else { Vec::new() };
            let told = alerts.evaluate(&rule, elements, at as i64 * 1_000, terms).expect("evaluated");
            told.first().map_or('.', |(_, _, firing)| if *firing { 'F' } else { 'p' })
        };
        values.chars().enumerate().map(|(at, letter)| state(at, letter)).collect()
    }

    #[test]
    fn for_counts_from_the_first_value_and_begins_again_behind_a_gap() {
        let terms = |hold, keep| Terms { hold, keep, limit: 0 };
        for (values, hold, keep, expected) in [
            ("..xxx..", 0, 0, "..FFF.."),
            (".xxxxx.", 3_000, 0, ".pppFF."),
            (".xxx.xxxx.", 3_000, 0, ".ppp.pppF."),
            (".xxxx", 2_500, 0, ".pppF"),
            ("xx....", 0, 3_000, "FFFFF."),
            ("xx..xx....", 0, 3_000, "FFFFFFFFF."),
            // What is pending is not kept.
            ("xx...", 5_000, 3_000, "pp..."),
            // A gap ends the pending alert, even where it is kept once it fires.
            ("x.xxx..", 2_000, 2_000, "p.ppFFF"),
        ] {
            assert_eq!(course(values, terms(hold, keep)), expected, "{values} for {hold} keep {keep}");
        }
    }

    #[test]
    fn a_stretch_has_its_values_and_the_words_of_its_first_firing() {
        let (mut alerts, rule) = (Alerts::default(), rule());
        let terms = Terms { hold: 1_000, ..Terms::default() };
        for (at, value) in [3.0, 5.0, 4.0].into_iter().enumerate() {
            let element =
                (Labels::new([("__name__", "x"), ("i", "a"), ("severity", "none")]), SampleValue::Float(value));
            alerts.evaluate(&rule, vec![element], at as i64 * 1_000, terms).expect("evaluated");
        }
        alerts.evaluate(&rule, Vec::new(), 3_000, terms).expect("evaluated");
        assert_eq!(alerts.beyond.iter().collect::<Vec<_>>(), ["{{ if 1 }}"]);
        let stretches = alerts.stretches();
        let one = &stretches[0];
        assert_eq!((one.pending, one.firing, one.resolved, one.evaluations), (0, Some(1_000), Some(3_000), 3));
        assert_eq!((one.minimum, one.maximum), (3.0, 5.0));
        assert_eq!(one.annotations["text"], "5 at a {{ if 1 }}");
        assert_eq!(one.labels.to_string(), "{alertname=\"A\", i=\"a\", severity=\"page\"}");
    }

    #[test]
    fn limits_and_equal_label_sets_are_failures() {
        let (mut alerts, mut rule) = (Alerts::default(), rule());
        let element = |i: &str, value: f64| (Labels::new([("i", i)]), SampleValue::Float(value));
        let terms = Terms { limit: 1, ..Terms::default() };
        assert!(alerts.evaluate(&rule, vec![element("a", 1.0)], 0, terms).is_ok());
        let both = vec![element("a", 1.0), element("b", 1.0)];
        let error = alerts.evaluate(&rule, both.clone(), 1_000, terms).expect_err("too many");
        assert_eq!(error, "exceeded limit of 1 with 2 alerts");
        assert_eq!(alerts.past.len(), 1);
        rule.labels.insert("i".into(), "same".into());
        let error = alerts.evaluate(&rule, both, 2_000, Terms::default()).expect_err("the same");
        assert!(error.contains("same labelset after applying alert labels"), "{error}");
        // A label whose text follows the value makes another alert of it.
        rule.labels.insert("i".into(), "{{ $value }}".into());
        for (at, value) in [1.0, 2.0].into_iter().enumerate() {
            alerts.evaluate(&rule, vec![element("a", value)], 3_000 + at as i64, Terms::default()).expect("evaluated");
        }
        assert_eq!(alerts.stretches().iter().filter(|one| one.pending >= 3_000).count(), 2);
    }
}
