//! One comparison in words.

use super::super::number::{self, Show};
use crate::verdict::change::{Change, Doubt, Figure, LEVEL, Word};

/// `endpoint_propagation p50`, `memory_bytes (action)`.
pub fn figure(figure: &Figure) -> String {
    let statistic = if figure.statistic == "value" { String::new() } else { format!(" {}", figure.statistic) };
    let variant = if figure.variant.is_empty() { String::new() } else { format!(" ({})", figure.variant) };
    format!("{}{statistic}{variant}", figure.measurement)
}

/// `0.13 × (0.1 to 0.19, 90 %)`; of what has no ratio the difference.
pub fn ratio(one: &Change) -> String {
    let (value, [low, high], unit, show) = match one.ratio {
        Some(ratio) => (Some(ratio), one.ratio_interval, "ratio", Show::Times),
        None => (one.shift, one.shift_interval, one.unit.as_str(), Show::Unit),
    };
    let Some(value) = value else { return "–".to_owned() };
    let sign = if one.ratio.is_none() && value > 0.0 { "+" } else { "" };
    let shown = format!("{sign}{}", number::figure(value, unit, show));
    let covers = covers(one);
    match (low, high) {
        (None, None) => format!("{shown} (open)"),
        (Some(low), Some(high)) if low == high => shown,
        (Some(low), Some(high)) if show == Show::Times => {
            format!("{shown} ({} to {}{covers})", number::digits(low), number::digits(high))
        }
        (low, high) => format!("{shown} ({}{covers})", number::interval(low, high, unit, show)),
    }
}

/// What an interval covers, where it is less than it should: behind a comma.
pub fn covers(one: &Change) -> String {
    match one.coverage {
        Some(coverage) if coverage >= LEVEL => String::new(),
        Some(coverage) => format!(", {:.0} %", 100.0 * coverage),
        None => ", these runs".to_owned(),
    }
}

/// Corrected p.
pub fn p(one: &Change) -> String {
    match one.p_adjusted {
        None => "–".to_owned(),
        Some(p) if p < 0.001 => "< 0.001".to_owned(),
        Some(p) => format!("{p:.3}"),
    }
}

/// The word, with what belongs to it.
pub fn meaning(one: &Change) -> String {
    match (one.word, &one.reason) {
        (Word::NoDifference, _) => match (one.ratio, one.smallest_difference, one.shift_interval) {
            (Some(_), Some(share), _) => {
                format!("no difference larger than {} shown", number::figure(share, "ratio", Show::Unit))
            }
            (_, _, [Some(low), Some(high)]) => {
                let largest = number::figure(high.max(-low), &one.unit, Show::Unit);
                format!("no difference larger than {largest} shown")
            }
            _ => "no difference".to_owned(),
        },
        (Word::CannotTell, Some(doubt)) => format!("cannot tell ({})", why(one, doubt)),
        (word, _) => word.word().to_owned(),
    }
}

/// Of few runs, whether all of one side lie apart from all of the other, with their bounds.
fn apart(one: &Change) -> &'static str {
    match (one.a.hull, one.b.hull) {
        ([Some(low), _], [_, Some(high)]) if high < low => "; these are all lower",
        ([_, Some(high)], [Some(low), _]) if low > high => "; these are all higher",
        _ => "",
    }
}

/// Why it cannot be told.
pub fn why(one: &Change, doubt: &Doubt) -> String {
    match doubt {
        Doubt::Runs => format!("{} runs a side would do{}", one.runs_needed, apart(one)),
        Doubt::Open => "the figure of a run is open".to_owned(),
        Doubt::Bounds => "the bounds of single figures leave it open".to_owned(),
        Doubt::OneSided => "a bound from one side only, on one of the two".to_owned(),
        Doubt::Load(loaded) => format!("load: {loaded}, and that alone can have parted the two"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Estimate;
    use crate::verdict::change::Sample;

    fn change() -> Change {
        let sample = |value: f64| Sample {
            runs: vec![("r".to_owned(), Estimate::exact(value))],
            median: Some(value),
            ..Sample::default()
        };
        Change {
            figure: Figure { measurement: "x".to_owned(), statistic: "p50".to_owned(), ..Figure::default() },
            unit: "s".to_owned(),
            scenario: "scale-up".to_owned(),
            services: Some(5),
            a: sample(0.26),
            b: sample(0.035),
            ratio: Some(0.1346),
            ratio_interval: [Some(0.1), Some(0.19)],
            shift: Some(-0.225),
            shift_interval: [Some(-0.3), Some(-0.2)],
            coverage: Some(0.9),
            delta: Some(1.0),
            p: Some(0.1),
            p_adjusted: None,
            word: Word::CannotTell,
            reason: Some(Doubt::Runs),
            smallest_difference: Some(0.9),
            runs_needed: 8,
        }
    }

    #[test]
    fn a_comparison_reads_as_a_line() {
        let one = change();
        assert_eq!(figure(&one.figure), "x p50");
        assert_eq!(ratio(&one), "0.135 × (0.1 to 0.19, 90 %)");
        assert_eq!((p(&one).as_str(), meaning(&one).as_str()), ("–", "cannot tell (8 runs a side would do)"));
        let sure =
            Change { coverage: Some(0.97), p_adjusted: Some(0.0004), word: Word::Lower, reason: None, ..change() };
        assert_eq!(ratio(&sure), "0.135 × (0.1 to 0.19)");
        assert_eq!((p(&sure).as_str(), meaning(&sure).as_str()), ("< 0.001", "lower"));
        let alike = Change { word: Word::NoDifference, reason: None, smallest_difference: Some(0.12), ..change() };
        assert_eq!(meaning(&alike), "no difference larger than 12 % shown");
        let none = Change { ratio: None, ratio_interval: [None; 2], coverage: None, ..alike };
        assert_eq!(meaning(&none), "no difference larger than 300 ms shown");
        assert_eq!(ratio(&none), "−225 ms (−300 to −200 ms, these runs)");
    }
}
