//! Runs in their order: a dot and its bounds for each, the median of each stretch between two shifts, versions side by side.

use super::super::number::{Show, figure};
use super::super::rows::cut;
use super::{Chart, Drawing, Scale};

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Dot {
    pub value: Option<f64>,
    /// Null: open below.
    pub low: Option<f64>,
    /// Null: open above.
    pub high: Option<f64>,
    /// Below the axis, where there is room.
    pub tick: String,
    /// What it says where it is hovered over.
    pub told: String,
}

/// A level from one place up to another.
#[derive(Clone, Debug, Default)]
pub struct Level {
    pub from: usize,
    pub to: usize,
    pub value: f64,
}

/// Everything that is drawn.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub stem: String,
    pub title: String,
    pub description: String,
    /// Class of the dataplane's colour.
    pub class: String,
    pub unit: String,
    pub dots: Vec<Dot>,
    /// Where a group begins, and its name; none where runs are ordered by time alone.
    pub groups: Vec<(usize, String)>,
    /// Place behind each shift, and its factor in words.
    pub shifts: Vec<(usize, String)>,
    pub levels: Vec<Level>,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 282.0;
/// Runs that tell their figure where they are hovered over.
const TOLD: usize = 300;
/// Runs up to which bounds are drawn thick.
const THICK: usize = 60;
/// From this factor between the greatest and the least on, the axis is logarithmic.
const LOG_FROM: f64 = 100.0;
/// About how wide a letter is.
const LETTER: f64 = 6.6;

/// Draws it; nothing where no run has a number.
pub fn draw(course: &Course) -> Option<Chart> {
    let numbers = || {
        let ends = course.dots.iter().flat_map(|dot| [dot.value, dot.low, dot.high]);
        ends.flatten().filter(|x| x.is_finite())
    };
    let (least, greatest) = (numbers().reduce(f64::min)?, numbers().reduce(f64::max)?);
    let log = least > 0.0 && greatest / least >= LOG_FROM;
    let (low, high) = match log {
        true => (10f64.powf(least.log10().floor()), 10f64.powf(greatest.log10().ceil())),
        false => (least.min(0.0), if greatest > least.min(0.0) { greatest } else { least.min(0.0) + 1.0 }),
    };
    let y = Scale { low, high: if log { high } else { high + 0.04 * (high - low) }, from: BOTTOM, to: TOP, log };
    let count = course.dots.len().max(1) as f64;
    let x = |place: f64| LEFT + (place + 0.5) / count * (WIDTH - LEFT - RIGHT);
    let mut d = Drawing::new();
    for tick in y.ticks(5) {
        d.line("grid", LEFT, y.at(tick), WIDTH - RIGHT, y.at(tick));
        d.text("tick", LEFT - 8.0, y.at(tick) + 4.0, "end", &figure(tick, &course.unit, Show::Unit));
    }
    groups(&mut d, course, &x);
    for (place, words) in &course.shifts {
        let at = x(*place as f64 - 0.5);
        d.line("event", at, TOP - 8.0, at, BOTTOM);
        let anchor = if at > WIDTH / 2.0 { "end" } else { "start" };
        d.text("label strong", if anchor == "end" { at + 4.0 } else { at - 4.0 }, TOP - 14.0, anchor, words);
    }
    for level in &course.levels {
        let at = y.within(level.value);
        d.line(&format!("level {}", course.class), x(level.from as f64 - 0.5), at, x(level.to as f64 - 0.5), at);
    }
    let whisker = format!("{} {}", if course.dots.len() <= THICK { "measured" } else { "thin" }, course.class);
    let mark = format!("mark {}", course.class);
    let radius = if course.dots.len() <= THICK { 4.0 } else { 2.5 };
    for (place, dot) in course.dots.iter().enumerate() {
        let at = x(place as f64);
        let (under, over) = (dot.low.map_or(BOTTOM, |low| y.within(low)), dot.high.map_or(TOP, |high| y.within(high)));
        d.line(&whisker, at, under, at, over);
        // An arrow where an end is open.
        if dot.high.is_none() {
            d.path(&mark, &[(at - 4.0, over + 6.0), (at + 4.0, over + 6.0), (at, over)], true);
        }
        if dot.low.is_none() {
            d.path(&mark, &[(at - 4.0, under - 6.0), (at + 4.0, under - 6.0), (at, under)], true);
        }
        if let Some(value) = dot.value {
            d.circle(&mark, at, y.within(value), radius);
        }
    }
    for (place, dot) in course.dots.iter().enumerate().step_by(course.dots.len().div_ceil(TOLD).max(1)) {
        let height = dot.value.or(dot.low).or(dot.high).map_or(BOTTOM, |value| y.within(value));
        d.told(&course.class, x(place as f64), height, WIDTH, &dot.told);
    }
    ticks(&mut d, course, &x);
    Some(d.finish(&course.stem, &course.title, &course.description, WIDTH, HEIGHT))
}

/// Where versions change: a line, and their names where there is room.
fn groups(d: &mut Drawing, course: &Course, x: &dyn Fn(f64) -> f64) {
    for (at, (place, name)) in course.groups.iter().enumerate() {
        let (from, end) = (x(*place as f64 - 0.5), course.groups.get(at + 1).map_or(course.dots.len(), |next| next.0));
        let room = x(end as f64 - 0.5) - from;
        if at > 0 {
            d.line("grid", from, TOP, from, BOTTOM + 6.0);
        }
        let letters = (room / LETTER) as usize;
        if letters >= 3 {
            d.text("label", from + room / 2.0, BOTTOM + 38.0, "middle", &cut(name, letters));
        }
    }
}

/// Labels below runs, as many as fit beside each other.
fn ticks(d: &mut Drawing, course: &Course, x: &dyn Fn(f64) -> f64) {
    let widest = course.dots.iter().map(|dot| dot.tick.chars().count()).max().unwrap_or(0);
    let step = if course.dots.len() > 1 { x(1.0) - x(0.0) } else { WIDTH };
    let every = ((widest as f64 * LETTER + 14.0) / step).ceil().max(1.0) as usize;
    for (place, dot) in course.dots.iter().enumerate().step_by(every) {
        let at = x(place as f64);
        let half = widest as f64 * LETTER / 2.0;
        d.text("tick", at.min(WIDTH - half), BOTTOM + 18.0, "middle", &dot.tick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(value: f64) -> Dot {
        Dot {
            value: Some(value),
            low: Some(value * 0.9),
            high: Some(value * 1.1),
            tick: "02-02".into(),
            told: "x".into(),
        }
    }

    #[test]
    fn every_run_is_drawn_with_its_bounds_and_open_ends_have_arrows() {
        let mut dots: Vec<Dot> = [0.1, 0.2, 0.3].map(dot).into();
        dots.push(Dot { value: None, high: None, ..dot(0.5) });
        let course = Course {
            stem: "trend-1".into(),
            title: "<b>".into(),
            class: "dp-cilium".into(),
            unit: "s".into(),
            dots,
            groups: vec![(0, "1.17</text>".into()), (2, "1.19".into())],
            shifts: vec![(2, "2 ×".into())],
            levels: vec![Level { from: 0, to: 2, value: 0.15 }],
            ..Course::default()
        };
        let svg = draw(&course).expect("a chart").svg;
        assert_eq!(svg.matches("class=\"measured dp-cilium\"").count(), 4);
        assert_eq!(svg.matches("<circle class=\"mark").count(), 3);
        assert_eq!(svg.matches("<path class=\"mark").count(), 1, "the open end");
        assert!(svg.contains("2 ×") && svg.contains("class=\"level dp-cilium\"") && !svg.contains("<b>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn odd_ranges_are_drawn() {
        for values in [vec![0.0], vec![-1.0, -2.0], vec![1e-9, 1e9], vec![f64::MAX, f64::MIN], vec![5.0; 2_000]] {
            let course = Course { dots: values.into_iter().map(dot).collect(), ..Course::default() };
            let svg = draw(&course).expect("a chart").svg;
            assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.len() < 700_000, "{}", svg.len());
        }
        assert!(draw(&Course::default()).is_none());
    }
}
