//! Runs of one scenario and size side by side on shared axes: endpoints ready and in the dataplane, syncs, failed requests. A
//! panel or a lane without data says why.

use super::super::number::{count, digits};
use super::{Drawing, PANEL, Panel, Scale};

/// What happened in one run, in seconds since the action began.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub run: String,
    /// Name of its column, and the class of its colour.
    pub name: String,
    pub class: String,
    pub to: f64,
    /// Ready endpoints of the Service under test after each change.
    pub ready: Vec<(f64, f64)>,
    /// Endpoints that the dataplane held: latest time that the captures allow.
    pub dataplane_steps: Vec<(f64, f64)>,
    /// Syncs: start and end.
    pub syncs: Vec<(f64, f64)>,
    /// Failed requests.
    pub failures: Vec<f64>,
    /// Whether the captures have client requests at all: none failed is not the same as none seen.
    pub client_seen: bool,
}

/// What all panels of a figure share.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    from: f64,
    to: f64,
    endpoints: f64,
}

const LEFT: f64 = 36.0;
/// Top and bottom of the lane of endpoints; middle of the lanes below it.
const ENDPOINTS: (f64, f64) = (8.0, 128.0);
const SYNCS: f64 = 152.0;
const FAILED: f64 = 180.0;
const BOTTOM: f64 = 194.0;
/// Points of a curve that tell their value.
const TOLD: usize = 12;
/// Shown ahead of the action, s.
const BEFORE: f64 = -5.0;

/// The axes that hold all of these runs.
pub fn axes(courses: &[&Course]) -> Axes {
    let most = courses.iter().flat_map(|c| c.ready.iter().chain(&c.dataplane_steps)).map(|p| p.1);
    Axes {
        from: BEFORE,
        to: courses.iter().map(|c| c.to).filter(|x| x.is_finite()).fold(1.0, f64::max),
        endpoints: most.filter(|x| x.is_finite()).fold(1.0, f64::max),
    }
}

/// One run.
pub fn panel(c: &Course, axes: Axes) -> Panel {
    let class = c.class.as_str();
    let x = Scale { low: axes.from, high: axes.to, from: LEFT, to: PANEL.0 - 6.0, log: false };
    let y = Scale { low: 0.0, high: axes.endpoints * 1.06, from: ENDPOINTS.1, to: ENDPOINTS.0, log: false };
    let mut d = Drawing::new();
    for tick in x.ticks(5) {
        d.line("grid", x.at(tick), ENDPOINTS.0, x.at(tick), BOTTOM);
        d.text("tick", x.at(tick), BOTTOM + 15.0, "middle", &digits(tick));
    }
    d.text("tick", (x.from + x.to) / 2.0, PANEL.1 - 6.0, "middle", "seconds since the action began");
    for tick in y.ticks(3) {
        d.line("grid", x.from, y.at(tick), x.to, y.at(tick));
        d.text("tick", LEFT - 5.0, y.at(tick) + 4.0, "end", &digits(tick));
    }
    if c.ready.is_empty() && c.dataplane_steps.is_empty() {
        d.text("tick", x.from + 8.0, 64.0, "start", "endpoints: no change of the Service was captured");
    }
    for (points, style) in [(&c.ready, "ready".to_owned()), (&c.dataplane_steps, format!("curve {class}"))] {
        d.path(&style, &stairs(points, &x, &y), false);
    }
    for (points, what) in [(&c.ready, "ready"), (&c.dataplane_steps, "in the dataplane")] {
        let step = points.len().div_ceil(TOLD).max(1);
        // From the end: the last step is the one that people ask for.
        for (time, endpoints) in points.iter().rev().step_by(step).filter(|p| p.0 >= axes.from && p.0 <= axes.to) {
            let text = format!("{} {what} after {} s", digits(*endpoints), digits(*time));
            d.told(if what == "ready" { "dp-other" } else { class }, x.at(*time), y.at(*endpoints), PANEL.0, &text);
        }
    }
    lane(&mut d, SYNCS, "syncs", c.syncs.is_empty().then_some("no sync in the captures"));
    syncs(&mut d, c, &x, class);
    let none = if c.client_seen { "no request failed" } else { "no client in the captures" };
    lane(&mut d, FAILED, "failed", c.failures.is_empty().then_some(none));
    // Of failures within half a pixel one line is seen.
    let mut last = f64::NEG_INFINITY;
    for time in c.failures.iter().filter(|f| **f >= axes.from && **f <= axes.to) {
        let at = x.at(*time);
        if (at - last).abs() >= 0.5 {
            d.line("failure", at, FAILED - 6.0, at, FAILED + 6.0);
            last = at;
        }
    }
    let words = format!(
        "{}: endpoints ready and in the dataplane, {} syncs, {} moments with failed requests, from {} to {} s around the action.",
        c.run,
        count(c.syncs.len() as u64),
        count(c.failures.len() as u64),
        digits(axes.from),
        digits(axes.to)
    );
    Panel { svg: d.panel(&words), class: class.into(), note: c.run.clone(), title: c.name.clone() }
}

/// A panel for a column that has no run to draw, with the reason.
pub fn empty(name: &str, class: &str, why: &str) -> Panel {
    let mut d = Drawing::new();
    d.rect("vacant", 0.5, 0.5, PANEL.0 - 1.0, PANEL.1 - 1.0);
    for (at, line) in wrapped(why, 44).iter().enumerate() {
        d.text("label", PANEL.0 / 2.0, PANEL.1 / 2.0 - 8.0 + 18.0 * at as f64, "middle", line);
    }
    Panel { svg: d.panel(why), class: class.into(), note: String::new(), title: name.into() }
}

/// Lines of at most so many characters, broken at spaces.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn lane(d: &mut Drawing, y: f64, name: &str, empty: Option<&str>) {
    d.text("tick", 0.0, y + 4.0, "start", name);
    if let Some(why) = empty {
        d.text("tick", LEFT + 8.0, y + 4.0, "start", why);
    }
}

fn syncs(d: &mut Drawing, c: &Course, x: &Scale, class: &str) {
    // Fifty nodes sync at once: a bar within the one before is not seen.
    let mut covered = f64::NEG_INFINITY;
    let mut own: Vec<&(f64, f64)> = c.syncs.iter().filter(|s| s.1 >= x.low && s.0 <= x.high).collect();
    own.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (start, end) in own {
        let (a, b) = (x.within(*start), x.within(*end));
        let end = a + (b - a).max(1.5);
        if end > covered + 0.25 {
            d.rect(&format!("bar {class}"), a, SYNCS - 7.0, end - a, 14.0);
            covered = end;
        }
    }
}

/// Steps: each value holds until the next one.
fn stairs(points: &[(f64, f64)], x: &Scale, y: &Scale) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::with_capacity(points.len() * 2 + 1);
    for (time, value) in points {
        let at = x.within(*time);
        if let Some((_, before)) = out.last().copied() {
            out.push((at, before));
        }
        out.push((at, y.within(*value)));
    }
    if let Some((_, last)) = out.last().copied() {
        out.push((x.to, last));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_share_their_axes_and_say_why_they_are_empty() {
        let short = Course { run: "<a>".into(), to: 3.0, ready: vec![(0.0, 1.0), (1.0, 4.0)], ..Course::default() };
        let long = Course { run: "b".into(), to: 9.0, ready: vec![(0.0, 1.0), (8.0, 44.0)], ..Course::default() };
        let shared = axes(&[&short, &long]);
        assert_eq!((shared.to, shared.endpoints), (9.0, 44.0));
        let [a, b] = [&short, &long].map(|course| panel(course, shared).svg);
        let ticks = |svg: &str| svg.matches("class=\"tick\"").count();
        assert_eq!(ticks(&a), ticks(&b));
        assert!(!a.contains("<a>") && a.contains("no sync in the captures") && a.contains("no client in the captures"));
        assert!(empty("Cilium", "dp-cilium", "No run of Cilium in this scenario.").svg.contains("No run of Cilium"));
    }
}
