//! Functions that order an instant vector. In a range query they change nothing: its order is fixed.

use std::cmp::Ordering;

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::Row;

/// Evaluates a sort function.
pub(super) fn sort(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let mut rows = arguments.vector(0)?;
    if arguments.context.steps > 1 {
        // Prometheus 3.7, PR 16628.
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        arguments.context.warn(text, arguments.node.span);
    }
    let labels = (1..arguments.len()).map(|index| arguments.text(index)).collect::<Result<Vec<_>, _>>()?;
    match name {
        "sort" | "sort_desc" => {
            for row in &mut rows {
                row.cells.histograms = None;
            }
            rows.retain(|row| !row.cells.is_empty());
            if arguments.context.steps == 1 {
                rows.sort_by(|a, b| by_value(a, b, name == "sort_desc"));
            }
        }
        _ => {
            rows.sort_by(|a, b| {
                let order = labels
                    .iter()
                    .map(|label| natural(a.labels.get(label), b.labels.get(label)))
                    .find(|order| *order != Ordering::Equal)
                    .unwrap_or_else(|| a.labels.cmp(&b.labels));
                if name == "sort_by_label_desc" { order.reverse() } else { order }
            });
        }
    }
    Ok(rows)
}

/// By the first step's value; NaN comes last in both directions.
fn by_value(a: &Row, b: &Row, descending: bool) -> Ordering {
    let (a, b) = (a.cells.floats[0], b.cells.floats[0]);
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
    }
}

/// Natural order: runs of digits compare as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (digits_a, digits_b) = (leading_digits(a), leading_digits(b));
        if digits_a > 0 && digits_b > 0 {
            let (number_a, number_b) = (&a[..digits_a], &b[..digits_b]);
            let (short_a, short_b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
            let order = short_a.len().cmp(&short_b.len()).then(short_a.cmp(short_b)).then(digits_a.cmp(&digits_b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[digits_a..], &b[digits_b..]);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x != y => return x.cmp(&y),
            (Some(x), Some(y)) => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
        }
    }
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_as_numbers() {
        let mut names = ["node10", "node9", "node1", "a", "node01", "node", "10", "9"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["9", "10", "a", "node", "node1", "node01", "node9", "node10"]);
    }
}
