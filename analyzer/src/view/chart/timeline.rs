//! One run on one axis: commands, endpoints ready and in the dataplane, syncs, CPU, failed requests.

use super::super::number::digits;
use super::{Chart, Drawing, Scale, class_of};

/// What happened, in seconds since the action began.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    pub stem: String,
    pub run: String,
    pub dataplane: String,
    /// Shown span.
    pub from: f64,
    pub to: f64,
    /// Commands and markers.
    pub events: Vec<(f64, String)>,
    /// Ready endpoints of the Service under test after each change.
    pub ready: Vec<(f64, f64)>,
    /// Endpoints that the dataplane held: latest time that the captures allow.
    pub dataplane_steps: Vec<(f64, f64)>,
    /// Syncs: start and end.
    pub syncs: Vec<(f64, f64)>,
    /// Cores.
    pub cpu: Vec<(f64, f64)>,
    pub cpu_baseline: Option<f64>,
    /// Failed requests.
    pub failures: Vec<f64>,
    /// Whether the captures have client requests at all: none failed is not the same as none seen.
    pub client_seen: bool,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 118.0;

/// Draws the lanes that the captures fill; a lane without data says so.
pub fn draw(t: &Timeline) -> Option<Chart> {
    if t.to.partial_cmp(&t.from) != Some(std::cmp::Ordering::Greater)
        || (t.ready.is_empty() && t.dataplane_steps.is_empty() && t.cpu.is_empty() && t.syncs.is_empty())
    {
        return None;
    }
    let class = class_of(&t.dataplane);
    let x = Scale { low: t.from, high: t.to, from: LEFT, to: WIDTH - 16.0, log: false };
    let height = 330.0;
    let bottom = height - 34.0;
    let mut d = Drawing::new();
    for tick in x.ticks(10) {
        d.line("grid", x.at(tick), 30.0, x.at(tick), bottom);
        d.text("tick", x.at(tick), bottom + 16.0, "middle", &format!("{} s", digits(tick)));
    }
    d.text("label", (x.from + x.to) / 2.0, height - 4.0, "middle", "since the action began");
    let mut free = f64::NEG_INFINITY;
    for (time, label) in t.events.iter().filter(|e| e.0 >= t.from && e.0 <= t.to) {
        let at = x.at(*time);
        d.line("event", at, 24.0, at, bottom);
        // A label that would run into its neighbour is left out: the line stays, the table names it.
        if at >= free {
            let words = super::super::rows::cut(label, 40);
            let width = words.chars().count() as f64 * 6.4;
            let anchor = if at + width > WIDTH { "end" } else { "start" };
            d.text("tick", if anchor == "end" { at - 4.0 } else { at + 4.0 }, 18.0, anchor, &words);
            free = at + width + 10.0;
        }
    }
    endpoints(&mut d, t, &x, class);
    lane(&mut d, "syncs", 184.0, t.syncs.is_empty(), "none in the captures");
    // Fifty nodes sync at once: a bar within the one before is not seen.
    let mut covered = f64::NEG_INFINITY;
    let mut syncs: Vec<&(f64, f64)> = t.syncs.iter().filter(|s| s.1 >= t.from && s.0 <= t.to).collect();
    syncs.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (start, end) in syncs {
        let (a, b) = (x.within(*start), x.within(*end));
        let end = a + (b - a).max(1.5);
        if end > covered + 0.25 {
            d.rect(&format!("bar {class}"), a, 172.0, end - a, 16.0);
            covered = end;
        }
    }
    let most = t.cpu.iter().filter(|p| p.0 >= t.from && p.0 <= t.to).map(|p| p.1).fold(0.0f64, f64::max);
    let y = Scale { low: 0.0, high: if most > 0.0 { most * 1.1 } else { 1.0 }, from: 256.0, to: 206.0, log: false };
    lane(&mut d, "CPU, cores", 230.0, t.cpu.len() < 2, "none in the captures");
    if t.cpu.len() > 1 {
        d.text("tick", LEFT - 8.0, 216.0, "end", &digits(most));
        d.text("tick", LEFT - 8.0, 259.0, "end", "0");
        if let Some(level) = t.cpu_baseline {
            d.line(&format!("level {class}"), x.from, y.within(level), x.to, y.within(level));
        }
        let points: Vec<_> =
            t.cpu.iter().filter(|p| p.0 >= t.from && p.0 <= t.to).map(|(s, v)| (x.at(*s), y.within(*v))).collect();
        d.path(&format!("curve {class}"), &points, false);
    }
    let note = if t.client_seen { "none failed" } else { "no client in the captures" };
    lane(&mut d, "failed requests", 284.0, t.failures.is_empty(), note);
    // Of failures within half a pixel one line is seen.
    let mut last = f64::NEG_INFINITY;
    for time in t.failures.iter().filter(|f| **f >= t.from && **f <= t.to) {
        let at = x.at(*time);
        if (at - last).abs() >= 0.5 {
            d.line("failure", at, 274.0, at, 290.0);
            last = at;
        }
    }
    let title = format!("Timeline of {}", t.run);
    let description = format!(
        "Endpoints ready and in the dataplane, syncs, CPU of the proxy and failed requests of {} from {} s to {} s around the action.",
        t.run,
        digits(t.from),
        digits(t.to)
    );
    Some(d.finish(&t.stem, &title, &description, WIDTH, height))
}

fn lane(d: &mut Drawing, name: &str, y: f64, empty: bool, note: &str) {
    d.text("label", 0.0, y + 4.0, "start", name);
    if empty {
        d.text("tick", LEFT + 6.0, y + 4.0, "start", note);
    }
}

fn endpoints(d: &mut Drawing, t: &Timeline, x: &Scale, class: &str) {
    let most = t.ready.iter().chain(&t.dataplane_steps).map(|p| p.1).fold(1.0f64, f64::max);
    let y = Scale { low: 0.0, high: most * 1.06, from: 158.0, to: 38.0, log: false };
    d.text("label", 0.0, 60.0, "start", "endpoints");
    d.line("ready", 0.0, 80.0, 20.0, 80.0);
    d.text("tick", 26.0, 84.0, "start", "ready");
    d.line(&format!("curve {class}"), 0.0, 98.0, 20.0, 98.0);
    d.text("tick", 26.0, 102.0, "start", "dataplane");
    for tick in y.ticks(3) {
        d.line("grid", x.from, y.at(tick), x.to, y.at(tick));
        d.text("tick", LEFT - 8.0, y.at(tick) + 4.0, "end", &digits(tick));
    }
    for (class, steps) in [("ready".to_owned(), &t.ready), (format!("curve {class}"), &t.dataplane_steps)] {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (time, count) in steps {
            let at = x.within(*time);
            if let Some((_, before)) = points.last().copied() {
                points.push((at, before));
            }
            points.push((at, y.at(*count)));
        }
        if let Some((_, last)) = points.last().copied() {
            points.push((x.to, last));
        }
        d.path(&class, &points, false);
    }
}
