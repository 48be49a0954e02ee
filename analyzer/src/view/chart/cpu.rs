//! CPU of the proxies on one logarithmic axis, a panel for each scenario and size: dataplanes are compared by height, in every
//! panel alike. A curve is broken where its counter was stale.

use super::super::number::digits;
use super::{Drawing, PANEL, Panel, Scale};

/// CPU of one run.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    pub run: String,
    /// Name of its column, and the class of its colour.
    pub name: String,
    pub class: String,
    /// Seconds since the action began, and cores since the stamp before; null where the counter was stale ahead of it.
    pub points: Vec<(f64, Option<f64>)>,
    /// Cores in the baseline, `[low, value, high]`.
    pub baseline: Option<[f64; 3]>,
    /// End of the action, s.
    pub action_end: f64,
}

/// What all panels share.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    low: f64,
    high: f64,
}

const LEFT: f64 = 44.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 194.0;
const TOLD: usize = 8;

/// The axis of cores that holds all curves: whole decades.
pub fn axes(curves: &[Curve]) -> Option<Axes> {
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    let values = curves.iter().flat_map(|c| {
        let levels = c.baseline.into_iter().map(|[_, value, _]| value);
        c.points.iter().filter_map(|p| p.1).chain(levels)
    });
    for value in values.filter(|x| x.is_finite() && *x > 0.0) {
        low = low.min(value);
        high = high.max(value);
    }
    // A single scrape interval without work would stretch the axis by decades.
    let low = low.max(high / 1e5);
    low.is_finite().then(|| Axes { low: 10f64.powf(low.log10().floor()), high: 10f64.powf(high.log10().ceil()) })
}

/// The curves of one scenario and size, titled with it.
pub fn panel(title: &str, curves: &[&Curve], axes: Axes) -> Option<Panel> {
    let drawn: Vec<&&Curve> = curves.iter().filter(|c| c.points.iter().filter(|p| p.1.is_some()).count() > 1).collect();
    let times = || drawn.iter().flat_map(|c| c.points.iter().map(|p| p.0));
    let (first, last) = (times().reduce(f64::min)?, times().reduce(f64::max)?);
    if first >= last {
        return None;
    }
    let x = Scale { low: first, high: last, from: LEFT, to: PANEL.0 - 6.0, log: false };
    let y = Scale { low: axes.low, high: axes.high.max(axes.low * 10.0), from: BOTTOM, to: TOP, log: true };
    let mut d = Drawing::new();
    for tick in x.ticks(5) {
        d.line("grid", x.at(tick), TOP, x.at(tick), BOTTOM);
        d.text("tick", x.at(tick), BOTTOM + 15.0, "middle", &digits(tick));
    }
    d.text("tick", (x.from + x.to) / 2.0, PANEL.1 - 6.0, "middle", "seconds since the action began");
    for tick in y.ticks(0) {
        d.line("grid", x.from, y.at(tick), x.to, y.at(tick));
        d.text("tick", LEFT - 5.0, y.at(tick) + 4.0, "end", &digits(tick));
    }
    let end = drawn.iter().map(|c| c.action_end).filter(|e| e.is_finite()).fold(0.0, f64::max);
    if end > 0.0 {
        d.rect("window dp-other", x.within(0.0), TOP, x.within(end) - x.within(0.0), BOTTOM - TOP);
    }
    for curve in &drawn {
        let class = curve.class.as_str();
        if let Some([_, value, _]) = curve.baseline.filter(|b| b[1] > 0.0) {
            d.line(&format!("level {class}"), x.from, y.within(value), x.to, y.within(value));
        }
        let place = |t: f64, cores: f64| (x.at(t), y.within(cores.max(axes.low)));
        for piece in curve.points.split(|p| p.1.is_none()) {
            let points: Vec<(f64, f64)> = piece.iter().filter_map(|(t, v)| Some(place(*t, (*v)?))).collect();
            // A stamp alone between two gaps is still a figure.
            if let [(px, py)] = points.as_slice() {
                d.circle(&format!("mark {class}"), *px, *py, 2.0);
            }
            d.path(&format!("thin {class}"), &points, false);
        }
        let known: Vec<(f64, f64)> = curve.points.iter().filter_map(|(t, v)| Some((*t, (*v)?))).collect();
        for (t, cores) in known.iter().step_by(known.len().div_ceil(TOLD).max(1)) {
            let (px, py) = place(*t, *cores);
            let name = &curve.name;
            d.told(class, px, py, PANEL.0, &format!("{name}: {} cores at {} s", digits(*cores), digits(*t)));
        }
    }
    let runs: Vec<&str> = drawn.iter().map(|c| c.run.as_str()).collect();
    let words = format!("CPU of the proxy in cores, logarithmic, {title}: {}.", runs.join(", "));
    Some(Panel { svg: d.panel(&words), title: title.to_owned(), ..Panel::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_counter_breaks_the_curve() {
        let points = vec![(0.0, Some(0.1)), (1.0, Some(0.2)), (40.0, None), (41.0, Some(0.1)), (42.0, Some(0.1))];
        let curve = Curve { class: "dp-cilium".into(), points, ..Curve::default() };
        let axes = axes(std::slice::from_ref(&curve)).unwrap();
        let panel = panel("scale-up", &[&curve], axes).unwrap();
        assert_eq!(panel.svg.matches("<path class=\"thin").count(), 2);
        assert!(axes.low <= 0.1 && axes.high >= 0.2);
        assert!(super::axes(&[]).is_none());
    }
}
