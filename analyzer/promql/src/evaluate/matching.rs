//! Operators between two vectors: who meets whom.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::binary::{Operation, Outcome};
use super::{Cells, Row, SAME_LABELS};
use crate::answer::{EvalError, SampleValue};
use crate::labels::{Labels, METRIC_NAME};
use crate::syntax::tree::{Cardinality, Matching};

/// The part of a label set that two elements must share.
pub(crate) fn signature(matching: &Matching, labels: &Labels) -> Labels {
    if matching.on {
        return labels.only(&matching.labels);
    }
    let ignored = |name: &str| name == METRIC_NAME || matching.labels.iter().any(|label| label == name);
    if labels.pairs().iter().any(|(name, _)| ignored(name)) {
        Labels::from_pairs(labels.pairs().iter().filter(|(name, _)| !ignored(name)).cloned().collect())
    } else {
        labels.clone()
    }
}

/// Numbers for signatures.
#[derive(Default)]
pub(crate) struct Signatures {
    numbers: HashMap<Labels, usize>,
}

impl Signatures {
    pub(crate) fn new(_: &Matching) -> Signatures {
        Signatures::default()
    }

    /// The number of a signature, a new one if it was not seen.
    pub(crate) fn id(&mut self, signature: Labels) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(signature).or_insert(next)
    }

    /// The number of a signature that was seen.
    pub(crate) fn known(&self, signature: &Labels) -> Option<usize> {
        self.numbers.get(signature).copied()
    }
}

/// Both sides of an operation, named by their cardinality: of `one`, an element may meet many of `many`.
struct Sides<'a> {
    operation: &'a Operation<'a>,
    matching: &'a Matching,
    many: Vec<Row>,
    one: Vec<Row>,
    many_ids: Vec<usize>,
    one_ids: Vec<usize>,
    signatures: usize,
    /// Whether `many` is the right operand.
    swapped: bool,
}

/// Evaluates an arithmetic or comparison operator between two vectors.
pub(crate) fn match_vectors(
    operation: &Operation<'_>,
    matching: &Matching,
    left: Vec<Row>,
    right: Vec<Row>,
) -> Result<Vec<Row>, EvalError> {
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut signatures = Signatures::new(matching);
    let many_ids: Vec<usize> = many.iter().map(|row| signatures.id(signature(matching, &row.labels))).collect();
    let one_ids: Vec<usize> = one.iter().map(|row| signatures.id(signature(matching, &row.labels))).collect();
    let signatures = signatures.numbers.len();
    let sides = Sides { operation, matching, many, one, many_ids, one_ids, signatures, swapped };
    match sides.pairs() {
        Some(pairs) => {
            operation.context.reserve_rows(pairs.len())?;
            Ok(sides.column_wise(&pairs))
        }
        None => sides.step_wise(),
    }
}

/// Two rows that meet, and the labels of the result.
struct Pair {
    many: usize,
    one: usize,
    labels: Labels,
}

impl Sides<'_> {
    /// All pairs, if rows meet in a way that cannot fail at any step: no signature twice where it must be unique, no
    /// two results with the same labels, nothing to fill.
    fn pairs(&self) -> Option<Vec<Pair>> {
        if self.matching.fill_left.is_some() || self.matching.fill_right.is_some() {
            return None;
        }
        let mut one_of = vec![usize::MAX; self.signatures];
        for (row, &id) in self.one_ids.iter().enumerate() {
            if one_of[id] != usize::MAX {
                return None;
            }
            one_of[id] = row;
        }
        let mut seen = vec![false; self.signatures];
        let mut pairs: Vec<Pair> = Vec::new();
        let mut labels_seen = HashSet::new();
        for (many, &id) in self.many_ids.iter().enumerate() {
            let one = one_of[id];
            if one == usize::MAX {
                continue;
            }
            if self.matching.cardinality == Cardinality::OneToOne && std::mem::replace(&mut seen[id], true) {
                return None;
            }
            let labels = self.result_labels(&self.many[many].labels, &self.one[one].labels);
            if !labels_seen.insert(labels.clone()) {
                return None;
            }
            pairs.push(Pair { many, one, labels });
        }
        Some(pairs)
    }

    fn column_wise(&self, pairs: &[Pair]) -> Vec<Row> {
        let steps = self.operation.context.steps;
        pairs
            .par_iter()
            .with_min_len(16)
            .filter_map(|pair| {
                let (many, one) = (&self.many[pair.many], &self.one[pair.one]);
                let mut cells = Cells::empty(steps);
                let mut any = false;
                for step in 0..steps {
                    if let (Some(a), Some(b)) = (many.cells.float(step), one.cells.float(step)) {
                        let (left, right) = if self.swapped { (b, a) } else { (a, b) };
                        if let Some(value) = self.operation.floats(left, right, left) {
                            cells.floats[step] = value;
                            any = true;
                        }
                    } else if let (Some(a), Some(b)) = (many.cells.get(step), one.cells.get(step))
                        && let Outcome::Value(value) = self.sample(&a, &b)
                    {
                        cells.set(step, value);
                        any = true;
                    }
                }
                let drop_name = many.drop_name || self.operation.drops_name();
                any.then(|| Row { labels: pair.labels.clone(), drop_name, cells })
            })
            .collect()
    }

    fn sample(&self, many: &SampleValue, one: &SampleValue) -> Outcome {
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        self.operation.samples(left, right)
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let renamed = self.operation.binary.operator.changes_metric();
        let mut labels = if renamed { many.without_name() } else { many.clone() };
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = if self.matching.on {
                labels.only(&self.matching.labels)
            } else {
                labels.without(&self.matching.labels)
            };
        }
        for name in &self.matching.include {
            labels = labels.with(name, one.get(name));
        }
        labels
    }

    /// The general case: what meets may differ from step to step.
    fn step_wise(&self) -> Result<Vec<Row>, EvalError> {
        let (fill_many, fill_one) = if self.swapped {
            (self.matching.fill_right, self.matching.fill_left)
        } else {
            (self.matching.fill_left, self.matching.fill_right)
        };
        let fills = fill_many.is_some() || fill_one.is_some();
        let mut results = Results::new(self);
        for step in 0..self.operation.context.steps {
            self.operation.context.budget.check()?;
            let any = |rows: &[Row]| rows.iter().any(|row| row.cells.has(step));
            if !(fills || any(&self.many) && any(&self.one)) {
                continue;
            }
            let mut one_of = vec![usize::MAX; self.signatures];
            for (row, &id) in self.one_ids.iter().enumerate().filter(|(row, _)| self.one[*row].cells.has(step)) {
                if one_of[id] != usize::MAX {
                    return Err(self.duplicate_on_one_side(one_of[id], row));
                }
                one_of[id] = row;
            }
            results.begin_step();
            for (row, &id) in self.many.iter().zip(&self.many_ids) {
                let Some(a) = row.cells.get(step) else { continue };
                let (b, labels) = match (one_of[id], fill_one) {
                    (usize::MAX, None) => continue,
                    (usize::MAX, Some(value)) => {
                        let stand_in = signature(self.matching, &row.labels);
                        (SampleValue::Float(value), self.result_labels(&row.labels, &stand_in))
                    }
                    (one, _) => {
                        let Some(b) = self.one[one].cells.get(step) else { continue };
                        (b, self.result_labels(&row.labels, &self.one[one].labels))
                    }
                };
                results.take(step, id, labels, row.drop_name, self.sample(&a, &b))?;
            }
            // Whoever met nobody on the side of the many.
            let Some(fill_many) = fill_many else { continue };
            for (row, &id) in self.one.iter().zip(&self.one_ids) {
                if results.has_met(id) {
                    continue;
                }
                let Some(b) = row.cells.get(step) else { continue };
                let stand_in = signature(self.matching, &row.labels);
                let labels = self.result_labels(&stand_in, &row.labels);
                results.take(step, id, labels, row.drop_name, self.sample(&SampleValue::Float(fill_many), &b))?;
            }
        }
        results.rows.retain(|row| !row.cells.is_empty());
        Ok(results.rows)
    }

    fn duplicate_on_one_side(&self, first: usize, second: usize) -> EvalError {
        let side = if self.swapped { "left" } else { "right" };
        let labels = &self.one[second].labels;
        let group = if self.matching.on {
            labels.only(&self.matching.labels)
        } else {
            labels.without(&self.matching.labels).without(&[METRIC_NAME])
        };
        EvalError::Execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{labels}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            self.one[first].labels
        ))
    }
}

/// The results of [`Sides::step_wise`], and what met at the current step.
struct Results<'a> {
    sides: &'a Sides<'a>,
    rows: Vec<Row>,
    places: HashMap<Labels, usize>,
    /// For each signature, whether anything met (one to one), or the labels that came of it (many to one).
    met: Vec<bool>,
    met_labels: HashSet<(usize, Labels)>,
}

impl Results<'_> {
    fn new<'a>(sides: &'a Sides<'a>) -> Results<'a> {
        let met = vec![false; sides.signatures];
        Results { sides, rows: Vec::new(), places: HashMap::new(), met, met_labels: HashSet::new() }
    }

    fn begin_step(&mut self) {
        self.met.fill(false);
        self.met_labels.clear();
    }

    fn has_met(&self, id: usize) -> bool {
        self.met[id]
    }

    /// Takes what came of two samples with the signature `id`. What a comparison filters out has met all the same.
    fn take(
        &mut self,
        step: usize,
        id: usize,
        labels: Labels,
        drop_name: bool,
        outcome: Outcome,
    ) -> Result<(), EvalError> {
        let fail = |message: &str| Err(EvalError::Execution(message.to_owned()));
        if matches!(outcome, Outcome::Invalid) {
            return Ok(());
        }
        let met_before = std::mem::replace(&mut self.met[id], true);
        if self.sides.matching.cardinality == Cardinality::OneToOne {
            if met_before {
                return fail(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                );
            }
        } else if !self.met_labels.insert((id, labels.clone())) {
            return fail("multiple matches for labels: grouping labels must ensure unique matches");
        }
        let Outcome::Value(value) = outcome else { return Ok(()) };
        let steps = self.sides.operation.context.steps;
        let place = match self.places.get(&labels) {
            Some(place) => *place,
            None => {
                self.sides.operation.context.reserve_rows(1)?;
                self.places.insert(labels.clone(), self.rows.len());
                let drop_name = drop_name || self.sides.operation.drops_name();
                self.rows.push(Row { labels, drop_name, cells: Cells::empty(steps) });
                self.rows.len() - 1
            }
        };
        if self.rows[place].cells.has(step) {
            return fail(SAME_LABELS);
        }
        self.rows[place].cells.set(step, value);
        Ok(())
    }
}
