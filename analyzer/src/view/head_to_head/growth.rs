//! What a larger cluster changes: the figure at the most Services over the figure at the fewest, for each column.

use super::compared::{Column, Compared, Finding, Side, apart};
use super::questions::Question;
use super::{Cell, Row, figure};
use crate::math::{Estimate, arithmetic};
use crate::view::number::{self, Show};

/// Questions whose growth is asked for, in this scenario.
const GROWING: [&str; 3] = ["update-p95", "cpu-update", "memory"];
const SCENARIO: &str = "scale-up";

/// A row for each of them for which a column has two sizes.
pub fn rows(all: &[(&'static Question, Vec<Compared>)], columns: &[Column]) -> Vec<Row> {
    all.iter()
        .filter(|(question, _)| GROWING.contains(&question.stem))
        .filter_map(|(question, own)| row(question, own, columns))
        .collect()
}

struct Grown<'a> {
    from: (u64, &'a Side),
    to: (u64, &'a Side),
    ratio: Estimate,
}

fn grown(own: &[Compared], at: usize) -> Option<Grown<'_>> {
    let mut sizes: Vec<(u64, &Side)> = own
        .iter()
        .filter(|one| one.scenario == SCENARIO)
        .filter_map(|one| Some((one.services?, one.sides.get(at)?.as_ref()?)))
        .collect();
    sizes.sort_by_key(|one| one.0);
    let (from, to) = (*sizes.first()?, *sizes.last()?);
    let whole = |side: &Side| Estimate { value: side.median, low: side.bounds[0], high: side.bounds[1] };
    (from.0 < to.0).then(|| Grown { from, to, ratio: arithmetic::ratio(whole(to.1), whole(from.1)) })
}

fn row(question: &Question, own: &[Compared], columns: &[Column]) -> Option<Row> {
    let found: Vec<Option<Grown<'_>>> = (0..columns.len()).map(|at| grown(own, at)).collect();
    let sizes: Vec<(u64, u64)> = found.iter().flatten().map(|one| (one.from.0, one.to.0)).collect();
    let (from, to) = *sizes.first()?;
    let cells: Vec<Cell> = columns
        .iter()
        .zip(&found)
        .map(|(column, one)| {
            let mut cell = Cell { name: column.name.clone(), class: column.class.clone(), ..Cell::default() };
            if let Some(one) = one {
                let ratio = one.ratio;
                cell.figure = ratio.value.map_or_else(
                    || number::interval(ratio.low, ratio.high, "ratio", Show::Times),
                    |x| number::figure(number::carried(x, ratio.low, ratio.high), "ratio", Show::Times),
                );
                cell.bounds = number::interval(ratio.low, ratio.high, "ratio", Show::Times);
                cell.factor = match (ratio.low, ratio.high) {
                    (Some(low), _) if low > 1.0 => "grows".into(),
                    (_, Some(high)) if high < 1.0 => "falls".into(),
                    _ => "no growth shown".into(),
                };
                cell.rests = format!("{} → {}", figure(one.from.1, question.unit).0, figure(one.to.1, question.unit).0);
            }
            cell
        })
        .collect();
    let known: Vec<(usize, [Option<f64>; 2])> = found
        .iter()
        .enumerate()
        .filter_map(|(at, one)| one.as_ref().map(|one| (at, [one.ratio.low, one.ratio.high])))
        .collect();
    let least: Vec<&str> = known
        .iter()
        .filter(|(_, own)| known.iter().all(|(_, other)| apart(*own, *other) != Finding::Higher))
        .filter_map(|(at, _)| columns.get(*at).map(|column| column.name.as_str()))
        .collect();
    let runs = found.iter().flatten().flat_map(|one| [one.from.1.runs, one.to.1.runs]).min()?;
    let same = sizes.iter().all(|one| *one == (from, to));
    Some(Row {
        stem: format!("growth-{}", question.stem),
        question: format!("Growth: {}", question.short),
        meaning: format!(
            "The figure with {} Services over the figure with {}, scale-up.{}",
            number::count(to),
            number::count(from),
            if question.stem == "memory" {
                " Memory also grows with the age of an agent, so that the order of the runs plays a part."
            } else {
                ""
            }
        ),
        place: format!(
            "{} → {} Services{}",
            number::count(from),
            number::count(to),
            if same { "" } else { " (differs by column)" }
        ),
        cells,
        lower: match (known.len(), least.len()) {
            (0 | 1, _) => "nothing to compare with".into(),
            (all, few) if all == few => "not told apart".into(),
            _ => least.join(" or "),
        },
        sure: vec![if runs == 1 {
            "One run a size: these runs only.".to_owned()
        } else {
            format!("{runs} runs a size, at least.")
        }],
        ids: vec!["K2".into(), "K3".into()],
        ..Row::default()
    })
}
