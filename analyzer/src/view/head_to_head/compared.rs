//! The figures of each question side by side, and what their numbers allow to be said. Numbers only; `words` says them.
//!
//! Load removes nothing here: it is stated beside the figures, with the side that it favours.

use std::cmp::Reverse;

use serde::Serialize;

use super::questions::{Answer, Load, QUESTIONS, Question, answer};
use crate::math::{Estimate, arithmetic, compare, quantile};
use crate::result::RunResult;
use crate::result::group::{self, Keys};
use crate::verdict::one_figure;

/// One group of runs that stands in a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Column {
    /// `cilium`, `kube-proxy-iptables`, …
    pub dataplane: String,
    /// By which facts its runs differ from the dataplane's other runs; empty where they are all alike.
    pub column: String,
    /// Both, for readers.
    pub name: String,
    /// Class of its colour.
    #[serde(skip)]
    pub class: String,
    /// Names of its runs.
    pub runs: Vec<String>,
}

/// A question answered in one scenario and size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub question: String,
    pub scenario: String,
    /// Services to one significant figure.
    pub services: Option<u64>,
    pub unit: String,
    /// One for each column, null where it has no figure.
    pub sides: Vec<Option<Side>>,
    /// One for each column but the first.
    pub ratios: Vec<Option<Ratio>>,
}

/// The figure of one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    pub runs: usize,
    /// Median over the runs; null where one of them is open.
    pub median: Option<f64>,
    /// Hull of their bounds, null where open.
    pub bounds: [Option<f64>; 2],
    /// Things that were measured, in the run with the fewest.
    pub n: u64,
    /// Least and greatest share of the node's CPU that was busy.
    pub busy: Option<[f64; 2]>,
    /// Low and high end of each run's figure.
    #[serde(skip)]
    pub ends: Vec<[Option<f64>; 2]>,
}

/// A column over the first one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub value: Option<f64>,
    pub bounds: [Option<f64>; 2],
    pub finding: Finding,
    /// Exact two-sided p over the runs, whatever their figures are within their bounds; null where no number of this size
    /// could be significant.
    pub p: Option<f64>,
    /// After Holm's correction over all questions.
    pub p_adjusted: Option<f64>,
}

/// What a ratio says of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    Lower,
    Higher,
    NotToldApart,
}

/// The columns: what is in use today first, what one would move to last; of one dataplane the older first.
pub fn columns(runs: &[RunResult], keys: &Keys) -> Vec<Column> {
    let known = ["kube-proxy-iptables", "kube-proxy-nftables", "kube-proxy-ipvs", "cilium"];
    let rank = |name: &str| known.iter().position(|one| *one == name).unwrap_or(known.len());
    let mut found: Vec<Column> = group::columns(runs, keys)
        .into_iter()
        .map(|(column, own)| {
            let plain = super::super::dataplane_name(&column.dataplane);
            Column {
                name: if column.words.is_empty() { plain } else { format!("{plain} {}", column.words) },
                class: super::super::chart::class_of(&column.dataplane).to_owned(),
                runs: own.iter().map(|r| r.run.name.clone()).collect(),
                dataplane: column.dataplane,
                column: column.words,
            }
        })
        .collect();
    // Stable: within a dataplane the order of the groups stays.
    found.sort_by_key(|one| rank(&one.dataplane));
    // What all others are set against: of its dataplane the one with the most runs, the first of equals.
    let alike = found.iter().take_while(|one| one.dataplane == found[0].dataplane);
    let most = alike.map(|one| one.runs.len()).enumerate().max_by_key(|(at, runs)| (*runs, Reverse(*at)));
    if let Some((at, _)) = most {
        found[..=at].rotate_right(1);
    }
    // Columns of one dataplane share its colour, in shades.
    for at in 1..found.len() {
        let before = found[..at].iter().filter(|one| one.dataplane == found[at].dataplane).count();
        if before > 0 {
            found[at].class.push_str(if before % 2 == 1 { " shade" } else { " tint" });
        }
    }
    found
}

impl Column {
    /// Whether a run stands in it.
    pub fn holds(&self, result: &RunResult) -> bool {
        self.runs.contains(&result.run.name)
    }
}

/// Scenario and size of a group of runs.
pub type Place = (String, Option<u64>);

/// Every question in every scenario and size in which a column answers it: the question's own order of scenarios, small
/// clusters first.
pub fn all(runs: &[RunResult], columns: &[Column]) -> Vec<(&'static Question, Vec<Compared>)> {
    let mut found: Vec<(&'static Question, Vec<Compared>)> = QUESTIONS
        .iter()
        .map(|question| {
            let mut places: Vec<Place> = runs
                .iter()
                .filter(|r| question.scenarios.contains(&r.run.scenario.as_str()))
                .map(|r| (r.run.scenario.clone(), r.run.services.map(one_figure)))
                .collect();
            let order = |name: &str| question.scenarios.iter().position(|one| *one == name);
            places.sort_by_key(|(scenario, services)| (order(scenario), *services));
            places.dedup();
            let own = places.into_iter().filter_map(|place| compared(question, &place, runs, columns)).collect();
            (question, own)
        })
        .collect();
    correct(&mut found);
    found
}

/// The place that speaks for a question: the first of those in which most columns answer it.
pub fn leading(all: &[Compared]) -> Option<usize> {
    let answered = |one: &Compared| one.sides.iter().flatten().count();
    let most = all.iter().map(answered).max()?;
    all.iter().position(|one| answered(one) == most)
}

fn compared(question: &Question, place: &Place, runs: &[RunResult], columns: &[Column]) -> Option<Compared> {
    let sides: Vec<Option<Side>> = columns
        .iter()
        .map(|column| {
            let own = runs
                .iter()
                .filter(|r| column.holds(r))
                .filter(|r| r.run.scenario == place.0 && r.run.services.map(one_figure) == place.1);
            side(&own.filter_map(|r| answer(question, r)).collect::<Vec<_>>())
        })
        .collect();
    sides.iter().any(Option::is_some).then(|| Compared {
        question: question.stem.to_owned(),
        scenario: place.0.clone(),
        services: place.1,
        unit: question.unit.to_owned(),
        ratios: sides
            .iter()
            .skip(1)
            .map(|one| {
                let found = ratio(one.as_ref()?, sides.first()?.as_ref()?)?;
                let finding = if question.upper_only { Finding::NotToldApart } else { found.finding };
                Some(Ratio { finding, p: found.p.filter(|_| !question.upper_only), ..found })
            })
            .collect(),
        sides,
    })
}

fn side(answers: &[Answer]) -> Option<Side> {
    let values: Vec<f64> = answers.iter().filter_map(|one| one.estimate.value).filter(|x| x.is_finite()).collect();
    let hull = answers.iter().map(|one| one.estimate).reduce(arithmetic::union)?;
    let single = answers.first().filter(|_| answers.len() == 1).map(|one| one.estimate);
    let whole = single.unwrap_or(hull);
    let mut busy: Vec<f64> = answers.iter().filter_map(|one| one.busy).collect();
    busy.sort_by(f64::total_cmp);
    Some(Side {
        runs: answers.len(),
        // A run whose figure is open makes the median unknown, not smaller.
        median: if values.len() == answers.len() { quantile::median(&values) } else { None },
        bounds: [whole.low, whole.high],
        n: answers.iter().map(|one| one.n).min().unwrap_or(0),
        busy: busy.first().zip(busy.last()).map(|(low, high)| [*low, *high]),
        ends: answers.iter().map(|one| [one.estimate.low, one.estimate.high]).collect(),
    })
}

fn ratio(own: &Side, first: &Side) -> Option<Ratio> {
    let whole = |side: &Side| Estimate { value: side.median, low: side.bounds[0], high: side.bounds[1] };
    let found = arithmetic::ratio(whole(own), whole(first));
    Some(Ratio {
        value: found.value,
        bounds: [found.low, found.high],
        finding: apart(own.bounds, first.bounds),
        p: adverse(own, first),
        p_adjusted: None,
    })
}

/// The test over the runs with each figure at that end of its bounds that speaks against a difference: a p that holds whatever
/// the figures are within their bounds. `None` with too few runs, or an open end.
fn adverse(own: &Side, first: &Side) -> Option<f64> {
    let (mine, other) = (own.median?, first.median?);
    if own.runs.min(first.runs) < compare::MINIMUM_RUNS {
        return None;
    }
    let at = |side: &Side, end: usize| side.ends.iter().map(|ends| ends[end]).collect::<Option<Vec<f64>>>();
    let higher = mine > other;
    let (mine, other) = (at(own, usize::from(!higher))?, at(first, usize::from(higher))?);
    let (a, b) = (quantile::median(&mine)?, quantile::median(&other)?);
    // At these ends nothing is left of the difference, or it turns round.
    if a == b || (a > b) != higher {
        return Some(1.0);
    }
    compare::mann_whitney(&other, &mine).map(|test| test.p)
}

/// Which side an interval lies on, if the two do not touch.
pub fn apart(own: [Option<f64>; 2], first: [Option<f64>; 2]) -> Finding {
    match (own, first) {
        ([_, Some(high)], [Some(low), _]) if high < low => Finding::Lower,
        ([Some(low), _], [_, Some(high)]) if low > high => Finding::Higher,
        _ => Finding::NotToldApart,
    }
}

/// Corrects the p-values of the leading places for their number; where the intervals of the runs overlap, runs that differ by
/// the test are told apart by it.
fn correct(all: &mut [(&'static Question, Vec<Compared>)]) {
    let mut tested: Vec<&mut Ratio> = all
        .iter_mut()
        .filter_map(|(_, own)| {
            let at = leading(own)?;
            own.get_mut(at)
        })
        .flat_map(|one| one.ratios.iter_mut().flatten())
        .filter(|one| one.p.is_some())
        .collect();
    let corrected = compare::holm(&tested.iter().filter_map(|one| one.p).collect::<Vec<f64>>());
    for (one, p) in tested.iter_mut().zip(corrected) {
        one.p_adjusted = Some(p);
        if one.finding == Finding::NotToldApart && p < 0.05 {
            one.finding = match one.value {
                Some(value) if value < 1.0 => Finding::Lower,
                Some(value) if value > 1.0 => Finding::Higher,
                _ => Finding::NotToldApart,
            };
        }
    }
}

/// How far the loads of two sides lie apart before it is worth a word, as a share of the node's CPU.
const ALIKE: f64 = 0.1;

/// Whether the busier side is the one with the higher figure, so that load may be a part of the difference; `None` where the
/// loads are alike, not known, or do not touch such a figure.
pub fn load_explains(question: &Question, own: &Side, first: &Side, finding: Finding) -> Option<bool> {
    let middle = |side: &Side| side.busy.map(|[low, high]| (low + high) / 2.0);
    let (mine, other) = (middle(own)?, middle(first)?);
    if question.load == Load::Spares || (mine - other).abs() <= ALIKE || finding == Finding::NotToldApart {
        return None;
    }
    Some((mine > other) == (finding == Finding::Higher))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(values: &[f64]) -> Option<Side> {
        let answers: Vec<Answer> = values
            .iter()
            .map(|x| Answer { estimate: Estimate::between(x * 0.9, *x, x * 1.1), n: 7, busy: Some(0.5) })
            .collect();
        side(&answers)
    }

    #[test]
    fn intervals_that_touch_are_not_told_apart() {
        let (low, high) = (one(&[1.0]).unwrap(), one(&[2.0]).unwrap());
        let found = ratio(&low, &high).unwrap();
        assert_eq!((found.finding, found.p), (Finding::Lower, None));
        assert!(found.bounds[0].unwrap() < 0.5 && found.bounds[1].unwrap() > 0.5, "{found:?}");
        assert_eq!(ratio(&high, &low).unwrap().finding, Finding::Higher);
        assert_eq!(ratio(&one(&[1.1]).unwrap(), &low).unwrap().finding, Finding::NotToldApart);
        assert_eq!(apart([None, None], [Some(1.0), Some(2.0)]), Finding::NotToldApart);
        assert_eq!(apart([Some(3.0), None], [Some(1.0), Some(2.0)]), Finding::Higher);
    }

    #[test]
    fn a_run_without_a_value_leaves_the_median_open() {
        let open = Answer { estimate: Estimate { value: None, low: Some(1.0), high: None }, n: 1, busy: None };
        let known = Answer { estimate: Estimate::exact(1.0), n: 3, busy: None };
        let found = side(&[known, open]).unwrap();
        assert_eq!((found.median, found.bounds, found.runs, found.n), (None, [Some(1.0), None], 2, 1));
        assert!(side(&[]).is_none());
    }

    #[test]
    fn enough_runs_are_told_apart_by_the_test_unless_their_bounds_leave_it_open() {
        let spread = |from: f64, bound: f64| {
            let answers: Vec<Answer> = (0..6)
                .map(|at| {
                    let x = from + 0.02 * f64::from(at);
                    Answer { estimate: Estimate::between(x - bound, x, x + bound), n: 7, busy: None }
                })
                .collect();
            side(&answers)
        };
        let found = |bound: f64| {
            let sides = vec![spread(1.0, bound), spread(1.1, bound)];
            let ratios = vec![ratio(sides[1].as_ref().unwrap(), sides[0].as_ref().unwrap())];
            assert_eq!(ratios[0].as_ref().unwrap().finding, Finding::NotToldApart, "their hulls overlap");
            let (question, scenario, unit) = ("x".into(), "scale-up".into(), "s".into());
            let mut all =
                vec![(&QUESTIONS[0], vec![Compared { question, scenario, services: None, unit, sides, ratios }])];
            correct(&mut all);
            all[0].1[0].ratios[0].clone().unwrap()
        };
        let narrow = found(0.01);
        assert_eq!(narrow.finding, Finding::Higher);
        assert!(narrow.p_adjusted.unwrap() < 0.05, "{narrow:?}");
        let wide = found(0.2);
        assert_eq!((wide.finding, wide.p_adjusted), (Finding::NotToldApart, Some(1.0)));
        // Three runs a side cannot be significant.
        let few = |x: f64| one(&[x, x + 0.001, x + 0.002]);
        assert_eq!(ratio(&few(2.0).unwrap(), &few(1.0).unwrap()).unwrap().p, None);
    }

    #[test]
    fn load_explains_only_what_it_can_lengthen() {
        let with = |busy: f64| Side { busy: Some([busy, busy]), ..one(&[1.0]).unwrap() };
        let [waits, counts] = [Load::Lengthens, Load::Spares]
            .map(|load| *QUESTIONS.iter().find(|question| question.load == load).unwrap());
        assert_eq!(load_explains(&waits, &with(0.9), &with(0.3), Finding::Higher), Some(true));
        assert_eq!(load_explains(&waits, &with(0.3), &with(0.9), Finding::Higher), Some(false));
        assert_eq!(load_explains(&waits, &with(0.3), &with(0.35), Finding::Higher), None);
        assert_eq!(load_explains(&counts, &with(0.9), &with(0.3), Finding::Higher), None);
    }
}
