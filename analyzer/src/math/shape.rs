//! The shape of a series in an action, by a fixed rule.
//!
//! A value is *high* where it exceeds the greatest of: twice the quiet level, the quiet level and three times its spread,
//! and the quiet level and a tenth of the way to the highest value. The quiet level is the median of the baseline, its
//! spread 1.4826 × the median absolute deviation from it (of a normal distribution: the standard deviation). Values that are
//! high one after the other are a stretch. The first of these that fits is the shape:
//!
//! | shape | rule |
//! |---|---|
//! | sustained high | high for more than half of the time |
//! | steady | never high, p95 − p5 at most a quarter of the median |
//! | low and consistent | never high, p95 at most three times the median |
//! | several small spikes | three or more stretches, each of at most one second or two samples |
//! | brief spike | stretches that begin and end within five seconds |
//! | irregular | anything else |
//!
//! The numbers are those by which the catalogue's rows are judged: above 0.5 is sustained (E3), p95 ≤ 3 × p50 is
//! consistent (B3), under a second is small and three are several (E5), five seconds are brief (E1).

use super::quantile;

/// What a series looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    SustainedHigh,
    Steady,
    LowAndConsistent,
    SeveralSmallSpikes,
    BriefSpike,
    Irregular,
}

impl Shape {
    /// The catalogue's words.
    pub fn words(self) -> &'static str {
        match self {
            Shape::SustainedHigh => "sustained high",
            Shape::Steady => "steady",
            Shape::LowAndConsistent => "low and consistent",
            Shape::SeveralSmallSpikes => "several small spikes",
            Shape::BriefSpike => "brief spike",
            Shape::Irregular => "irregular",
        }
    }
}

/// A shape and what it was told from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    pub shape: Shape,
    /// Stretches of high values.
    pub stretches: usize,
    /// Share of the time that was high.
    pub share: f64,
    /// Values above this are high.
    pub threshold: f64,
    pub highest: f64,
}

/// Least number of samples that have a shape.
pub const LEAST: usize = 10;

/// The shape of values, each over an interval of seconds `(start, end, value)` in order; `quiet` is the baseline's values.
/// `None` for fewer than [`LEAST`] values on either side.
pub fn shape(values: &[(f64, f64, f64)], quiet: &[f64]) -> Option<Seen> {
    if values.len() < LEAST || quiet.len() < LEAST {
        return None;
    }
    let level = quantile::median(quiet)?;
    let apart: Vec<f64> = quiet.iter().map(|value| (value - level).abs()).collect();
    let spread = 1.4826 * quantile::median(&apart)?;
    let all: Vec<f64> = values.iter().map(|(.., value)| *value).collect();
    let highest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let threshold = (2.0 * level).max(level + 3.0 * spread).max(level + (highest - level) / 10.0);
    let (mut found, mut open): (Vec<(f64, f64, usize)>, bool) = (Vec::new(), false);
    for (start, end, value) in values {
        let high = *value > threshold;
        match found.last_mut().filter(|_| high && open) {
            Some(last) => (last.1, last.2) = (*end, last.2 + 1),
            None if high => found.push((*start, *end, 1)),
            None => {}
        }
        open = high;
    }
    let time = |all: &mut dyn Iterator<Item = (f64, f64)>| all.map(|(start, end)| end - start).sum::<f64>();
    let whole = time(&mut values.iter().map(|(start, end, _)| (*start, *end)));
    let share = time(&mut found.iter().map(|(start, end, _)| (*start, *end))) / whole.max(f64::MIN_POSITIVE);
    let (p5, p50, p95) = (quantile::of(&all, 0.05)?, quantile::median(&all)?, quantile::of(&all, 0.95)?);
    let small = |(start, end, samples): &(f64, f64, usize)| end - start <= 1.0 || *samples <= 2;
    let shape = match (found.first(), found.last()) {
        _ if share > 0.5 => Shape::SustainedHigh,
        (Some(_), _) if found.len() >= 3 && found.iter().all(small) => Shape::SeveralSmallSpikes,
        (Some(first), Some(last)) if last.1 - first.0 <= 5.0 => Shape::BriefSpike,
        (Some(_), _) => Shape::Irregular,
        _ if p95 - p5 <= p50.abs() / 4.0 => Shape::Steady,
        _ if p95 <= 3.0 * p50 => Shape::LowAndConsistent,
        _ => Shape::Irregular,
    };
    Some(Seen { shape, stretches: found.len(), share, threshold, highest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expected: Shape) {
        let quiet: Vec<f64> = (0..20).map(|at| 0.9 + 0.2 * f64::from(at % 2)).collect();
        let timed: Vec<(f64, f64, f64)> =
            values.iter().enumerate().map(|(at, value)| (at as f64, at as f64 + 1.0, *value)).collect();
        assert_eq!(shape(&timed, &quiet).map(|seen| seen.shape), Some(expected), "{values:?}");
    }

    fn with(places: &[usize], high: f64) -> Vec<f64> {
        (0..30).map(|at| if places.contains(&at) { high } else { 1.0 }).collect()
    }

    #[test]
    fn each_shape_of_the_catalogue() {
        check(&with(&[4, 5, 6], 9.0), Shape::BriefSpike);
        check(&with(&(5..25).collect::<Vec<_>>(), 9.0), Shape::SustainedHigh);
        check(&with(&[3, 9, 10, 20], 5.0), Shape::SeveralSmallSpikes);
        check(&with(&[], 0.0), Shape::Steady);
        let wavy: Vec<f64> = (0..30).map(|at| 0.6 + 0.3 * f64::from(at % 4)).collect();
        check(&wavy, Shape::LowAndConsistent);
        check(&with(&[3, 4, 5, 6, 20], 9.0), Shape::Irregular);
        check(&with(&[3, 20], 9.0), Shape::Irregular);
    }

    #[test]
    fn few_samples_have_no_shape() {
        assert_eq!(shape(&[(0.0, 1.0, 1.0); 9], &[1.0; 20]), None);
        assert_eq!(shape(&[(0.0, 1.0, 1.0); 20], &[1.0; 9]), None);
    }
}
