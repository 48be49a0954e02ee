//! Contradictions that are met again and again while a run is put together: one finding for each kind of them, with how
//! often, by how much at most, and where.

use std::collections::BTreeMap;

use crate::clock::{Evidence, Finding};

/// Contradictions by what contradicts.
#[derive(Clone, Debug, Default)]
pub struct Contradictions {
    found: BTreeMap<String, Worst>,
}

#[derive(Clone, Debug)]
struct Worst {
    count: u64,
    gap: i64,
    evidence: Vec<Evidence>,
}

impl Contradictions {
    /// Counts one: `gap` is what the two leave between them, ns.
    pub fn add(&mut self, title: String, gap: i64, evidence: impl IntoIterator<Item = Evidence>) {
        let known = self.found.entry(title).or_insert(Worst { count: 0, gap: i64::MIN, evidence: Vec::new() });
        known.count += 1;
        if gap > known.gap {
            known.gap = gap;
            known.evidence = evidence.into_iter().collect();
        }
    }

    /// How many were counted, of all kinds.
    pub fn count(&self) -> u64 {
        self.found.values().map(|worst| worst.count).sum()
    }

    /// One finding for each kind, with the evidence of the worst.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |(title, worst): (&String, &Worst)| Finding {
            title: title.clone(),
            detail: format!(
                "{} of them, by up to {:.3} ms: the clocks are not related as their evidence says, or a witness is wrong; such a pair bounds nothing, and the wider reading is kept",
                worst.count,
                worst.gap as f64 / 1e6
            ),
            evidence: worst.evidence.clone(),
        };
        self.found.iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finding_counts_them_and_shows_the_worst() {
        let evidence = |record| [Evidence { path: "x".into(), record, ..Evidence::default() }];
        let mut found = Contradictions::default();
        for (gap, record) in [(1_000_000, 1), (3_000_000, 2), (2_000_000, 3)] {
            found.add("a".to_owned(), gap, evidence(record));
        }
        let findings = found.findings();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].detail.starts_with("3 of them, by up to 3.000 ms"));
        assert_eq!(findings[0].evidence[0].record, 2);
    }
}
