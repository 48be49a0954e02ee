//! CPU of the proxy around the action, with the level of its baseline.

use super::super::number::digits;
use super::{Chart, Drawing, Scale, class_of};

/// CPU of one run.
#[derive(Clone, Debug)]
pub struct Curve {
    pub run: String,
    pub dataplane: String,
    pub label: String,
    /// Seconds since the action began, cores between this stamp and the one before.
    pub points: Vec<(f64, f64)>,
    /// Cores in the baseline, `[low, value, high]`.
    pub baseline: Option<[f64; 3]>,
    /// End of the action, s.
    pub action_end: f64,
}

const WIDTH: f64 = 960.0;
const ROW: f64 = 120.0;

/// One strip a dataplane, all with their own scale: the claim is about each proxy's own increase.
pub fn draw(curves: &[Curve]) -> Option<Chart> {
    let curves: Vec<&Curve> = curves.iter().filter(|c| c.points.len() > 1).collect();
    let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
    for (t, _) in curves.iter().flat_map(|c| &c.points) {
        first = first.min(*t);
        last = last.max(*t);
    }
    if first >= last {
        return None;
    }
    let mut strips: Vec<(&str, Vec<&Curve>)> = Vec::new();
    for curve in &curves {
        match strips.iter_mut().find(|(label, _)| *label == curve.label) {
            Some((_, own)) => own.push(curve),
            None => strips.push((&curve.label, vec![curve])),
        }
    }
    let height = strips.len() as f64 * ROW + 40.0;
    let x = Scale { low: first, high: last, from: 56.0, to: WIDTH - 16.0, log: false };
    let mut d = Drawing::new();
    for tick in x.ticks(10) {
        d.line("grid", x.at(tick), 4.0, x.at(tick), height - 36.0);
        d.text("tick", x.at(tick), height - 20.0, "middle", &format!("{} s", digits(tick)));
    }
    d.text("label", (x.from + x.to) / 2.0, height - 4.0, "middle", "since the action began");
    for (at, (label, own)) in strips.iter().enumerate() {
        let top = at as f64 * ROW + 22.0;
        let most =
            own.iter().flat_map(|c| c.points.iter().map(|p| p.1)).filter(|v| v.is_finite()).fold(0.0f64, f64::max);
        let y = Scale {
            low: 0.0,
            high: if most > 0.0 { most * 1.1 } else { 1.0 },
            from: top + ROW - 34.0,
            to: top,
            log: false,
        };
        let class = own.first().map_or("dp-other", |c| class_of(&c.dataplane));
        d.text("label strong", x.from, top - 6.0, "start", &format!("{label}, cores"));
        for tick in y.ticks(3) {
            d.line("grid", x.from, y.at(tick), x.to, y.at(tick));
            d.text("tick", x.from - 8.0, y.at(tick) + 4.0, "end", &digits(tick));
        }
        for curve in own {
            let end = x.within(curve.action_end);
            d.rect(&format!("window {class}"), x.within(0.0), y.to, end - x.within(0.0), y.from - y.to);
            if let Some([low, value, high]) = curve.baseline {
                d.rect(&format!("band {class}"), x.from, y.within(high), x.to - x.from, y.within(low) - y.within(high));
                d.line(&format!("level {class}"), x.from, y.within(value), x.to, y.within(value));
            }
            let points: Vec<(f64, f64)> = curve.points.iter().map(|(t, v)| (x.at(*t), y.within(*v))).collect();
            d.path(&format!("thin {class}"), &points, false);
        }
    }
    let names: Vec<&str> = curves.iter().map(|c| c.run.as_str()).collect();
    let description = format!(
        "CPU of the proxy's container in cores over the run, each dataplane with its own scale; dashed: the mean of the baseline; shaded: the action. Runs: {}.",
        names.join(", ")
    );
    Some(d.finish("cpu", "CPU of the proxy, with its baseline", &description, WIDTH, height))
}
