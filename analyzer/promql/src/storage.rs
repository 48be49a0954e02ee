//! Where series come from: matchers, the storage trait, and a storage in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use regex::Regex;

use crate::labels::{Labels, METRIC_NAME, is_plain_label_name, quoted};
use crate::pattern::anchored;
use crate::series::Series;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOperator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

impl fmt::Display for MatchOperator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            MatchOperator::Equal => "=",
            MatchOperator::NotEqual => "!=",
            MatchOperator::Matches => "=~",
            MatchOperator::MatchesNot => "!~",
        })
    }
}

/// A condition on one label. A label that is not set has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How to compare.
    pub operator: MatchOperator,
    /// The value or the regular expression.
    pub value: String,
    pattern: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.operator == other.operator && self.value == other.value
    }
}

impl Matcher {
    /// Builds a matcher; a regular expression is anchored at both ends and `.` matches line ends too.
    pub fn new(name: &str, operator: MatchOperator, value: &str) -> Result<Matcher, regex::Error> {
        let pattern = match operator {
            MatchOperator::Equal | MatchOperator::NotEqual => None,
            MatchOperator::Matches | MatchOperator::MatchesNot => Some(anchored(value)?),
        };
        Ok(Matcher { name: name.to_owned(), operator, value: value.to_owned(), pattern })
    }

    /// Whether a label value satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        match self.operator {
            MatchOperator::Equal => self.value == value,
            MatchOperator::NotEqual => self.value != value,
            MatchOperator::Matches => self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value)),
            MatchOperator::MatchesNot => !self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value)),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_label_name(&self.name) {
            write!(out, "{}", self.name)?;
        } else {
            write!(out, "{}", quoted(&self.name))?;
        }
        write!(out, "{}{}", self.operator, quoted(&self.value))
    }
}

/// What the engine reads from.
pub trait Storage: Sync {
    /// All series whose labels satisfy all matchers, in any order, each label set once.
    ///
    /// Only samples from `start` to `end` (milliseconds, both included) are needed; more do no harm. A series
    /// without a sample there may be left out.
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<Arc<Series>>;
}

/// Series in memory, found by metric name.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    series: Vec<Arc<Series>>,
    by_name: HashMap<String, Vec<usize>>,
}

impl MemoryStorage {
    /// Takes series as they are. Label sets must be unique, samples sorted by time (see [`Series`]).
    pub fn new(mut series: Vec<Series>) -> MemoryStorage {
        series.par_iter_mut().with_min_len(64).for_each(|one| one.unmarked = !one.has_markers());
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, one) in series.iter().enumerate() {
            let name = one.labels.metric_name();
            match by_name.get_mut(name) {
                Some(own) => own.push(index),
                None => drop(by_name.insert(name.to_owned(), vec![index])),
            }
        }
        MemoryStorage { series: series.into_iter().map(Arc::new).collect(), by_name }
    }

    /// All series, in the order given.
    pub fn series(&self) -> &[Arc<Series>] {
        &self.series
    }
}

fn satisfies(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
}

impl Storage for MemoryStorage {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<Arc<Series>> {
        let keep = |series: &&Arc<Series>| satisfies(&series.labels, matchers) && series.has_samples_in(start, end);
        let name = matchers.iter().find(|one| one.name == METRIC_NAME && one.operator == MatchOperator::Equal);
        match name {
            Some(name) => {
                let found = self.by_name.get(&name.value).map_or(&[][..], |found| found);
                found.iter().map(|&index| &self.series[index]).filter(keep).cloned().collect()
            }
            None => self.series.iter().filter(keep).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Sample;

    #[test]
    fn regular_expressions_are_anchored_and_absent_labels_are_empty() {
        let matcher = |operator, value| Matcher::new("a", operator, value).expect("valid");
        assert!(!matcher(MatchOperator::Matches, "b").matches("abc"));
        assert!(matcher(MatchOperator::Matches, "a|abc").matches("abc"));
        assert!(matcher(MatchOperator::Matches, ".*").matches("a\nb"));
        assert!(matcher(MatchOperator::MatchesNot, ".+").matches(""));
        assert!(Matcher::new("a", MatchOperator::Matches, "(").is_err());
    }

    #[test]
    fn the_name_index_finds_only_matching_series() {
        let series = |name, job| {
            Series::of_floats(Labels::new([("__name__", name), ("job", job)]), &[Sample { time: 1000, value: 1.0 }])
        };
        let storage = MemoryStorage::new(vec![series("up", "a"), series("up", "b"), series("down", "a")]);
        let name = Matcher::new("__name__", MatchOperator::Equal, "up").expect("valid");
        let job = Matcher::new("job", MatchOperator::NotEqual, "a").expect("valid");
        assert_eq!(storage.select(&[name.clone(), job], 0, 2000).len(), 1);
        assert_eq!(storage.select(&[name], 1001, 2000).len(), 0);
    }
}
