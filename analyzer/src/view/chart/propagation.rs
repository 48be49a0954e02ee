//! Share of endpoints in the dataplane over the time since their commit: one band a run, from the sorted lower ends to
//! the sorted upper ends.

use super::{Chart, Drawing, Scale};

/// The delays of one run.
#[derive(Clone, Debug)]
pub struct Curve {
    pub run: String,
    /// Class of its colour.
    pub class: String,
    /// Name of its column for the legend.
    pub label: String,
    /// `[low, high]` of each endpoint's delay, s; `high` null where it never arrived.
    pub delays: Vec<[Option<f64>; 2]>,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 340.0;

/// Draws all runs on one axis. `None` without a delay.
pub fn draw(curves: &[Curve], scenario: &str) -> Option<Chart> {
    let latest = curves
        .iter()
        .flat_map(|c| &c.delays)
        .filter_map(|[low, high]| high.or(*low))
        .filter(|x| x.is_finite())
        .fold(0.0f64, f64::max);
    if latest <= 0.0 {
        return None;
    }
    let x = Scale { low: 0.0, high: latest * 1.04, from: 56.0, to: WIDTH - 16.0, log: false };
    let y = Scale { low: 0.0, high: 1.0, from: HEIGHT - 44.0, to: 34.0, log: false };
    let mut d = Drawing::new();
    for tick in y.ticks(5) {
        d.line("grid", x.from, y.at(tick), x.to, y.at(tick));
        d.text("tick", x.from - 8.0, y.at(tick) + 4.0, "end", &format!("{:.0} %", tick * 100.0));
    }
    for tick in x.ticks(8) {
        d.line("grid", x.at(tick), y.from, x.at(tick), y.to);
        d.text("tick", x.at(tick), y.from + 18.0, "middle", &format!("{} s", super::super::number::digits(tick)));
    }
    d.text(
        "label",
        (x.from + x.to) / 2.0,
        HEIGHT - 8.0,
        "middle",
        "from the commit of the EndpointSlice to the dataplane",
    );
    for curve in curves {
        let class = curve.class.as_str();
        let total = curve.delays.len() as f64;
        let early = steps(curve.delays.iter().map(|d| d[0].or(Some(0.0))), total, &x, &y);
        let late = steps(curve.delays.iter().map(|d| d[1]), total, &x, &y);
        let mut band = early.clone();
        band.extend(late.iter().rev());
        d.path(&format!("band {class}"), &band, true);
        d.path(&format!("thin {class}"), &early, false);
        d.path(&format!("curve {class}"), &late, false);
    }
    let mut at = x.from;
    let mut seen: Vec<&str> = Vec::new();
    for curve in curves {
        if seen.contains(&curve.label.as_str()) {
            continue;
        }
        seen.push(&curve.label);
        d.line(&format!("curve {}", curve.class), at, 16.0, at + 24.0, 16.0);
        d.text("label", at + 30.0, 20.0, "start", &curve.label);
        at += 60.0 + 7.2 * curve.label.chars().count() as f64;
    }
    let description = format!(
        "Share of the endpoints that had reached the dataplane, by time since their commit, {scenario}. Each band runs from the earliest to the latest time that the captures allow; the quantiles stand in the table below. Runs: {}.",
        curves.iter().map(|c| c.run.as_str()).collect::<Vec<_>>().join(", ")
    );
    Some(d.finish("propagation", "How long endpoints took to reach the dataplane", &description, WIDTH, HEIGHT))
}

fn steps(ends: impl Iterator<Item = Option<f64>>, total: f64, x: &Scale, y: &Scale) -> Vec<(f64, f64)> {
    let mut known: Vec<f64> = ends.flatten().filter(|e| e.is_finite()).collect();
    known.sort_by(f64::total_cmp);
    let mut points = vec![(x.from, y.at(0.0))];
    for (at, end) in known.iter().enumerate() {
        let px = x.within(*end);
        points.push((px, y.at(at as f64 / total)));
        points.push((px, y.at((at + 1) as f64 / total)));
    }
    points.push((x.to, y.at(known.len() as f64 / total)));
    points
}
