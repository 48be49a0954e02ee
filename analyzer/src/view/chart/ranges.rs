//! What was claimed against what was measured: a bar and a dot per row and dataplane, on logarithmic axes.
//!
//! ```text
//! A1 API to dataplane sync   Cilium      ░░░░░░░░░░|-●-|
//!                            kube-proxy       ▼-|          ░░░░░░░░░░
//! ```

use super::super::number::{Show, figure};
use super::{Chart, Drawing, Scale, class_of};

/// One lane: a row of the catalogue for one dataplane.
#[derive(Clone, Debug)]
pub struct Lane {
    pub dataplane: String,
    pub short: String,
    /// Documented range; null where open.
    pub claimed: [Option<f64>; 2],
    pub value: Option<f64>,
    pub bounds: [Option<f64>; 2],
    /// Where it stands, as a class: `at-claim`, …
    pub status: String,
}

/// Lanes of one row of the catalogue.
#[derive(Clone, Debug)]
pub struct Group {
    pub id: String,
    pub claim: String,
    pub lanes: Vec<Lane>,
}

/// Rows of one unit on one axis.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub unit: String,
    pub show: Show,
    pub groups: Vec<Group>,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 340.0;
const RIGHT: f64 = 24.0;
const LANE: f64 = 18.0;

/// Draws the panels below each other.
pub fn draw(panels: &[Panel]) -> Option<Chart> {
    if panels.iter().all(|p| p.groups.is_empty()) {
        return None;
    }
    let mut d = Drawing::new();
    let mut y = 8.0;
    legend(&mut d, panels, y + 8.0);
    y += 34.0;
    for panel in panels.iter().filter(|p| !p.groups.is_empty()) {
        y = draw_panel(&mut d, panel, y);
        y += 22.0;
    }
    Some(d.finish(
        "claimed-and-measured",
        "Claimed and measured",
        "For every documented range with a number: the range as a bar, and what was measured as a line from its lower to its upper bound with a mark for the verdict. The tables below hold the same figures.",
        WIDTH,
        y,
    ))
}

fn legend(d: &mut Drawing, panels: &[Panel], y: f64) {
    let mut x = LEFT;
    d.rect("claim dp-other", x, y - 5.0, 30.0, 10.0);
    d.text("label", x + 36.0, y + 4.0, "start", "claimed");
    x += 100.0;
    for (status, word) in [
        ("at-claim", "as claimed"),
        ("at-good", "off it, good for you"),
        ("at-bad", "off it, bad for you"),
        ("at-open", "cannot tell"),
    ] {
        if panels.iter().flat_map(|p| &p.groups).flat_map(|g| &g.lanes).any(|l| l.status == status) {
            d.mark(status, x, y);
            d.text("label", x + 10.0, y + 4.0, "start", word);
            x += 26.0 + 7.0 * word.len() as f64;
        }
    }
}

fn draw_panel(d: &mut Drawing, panel: &Panel, top: f64) -> f64 {
    let ends = panel.groups.iter().flat_map(|g| &g.lanes).flat_map(|l| {
        l.claimed.iter().chain(&l.bounds).chain(std::iter::once(&l.value)).flatten().copied().collect::<Vec<_>>()
    });
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for end in ends.filter(|x| x.is_finite() && *x > 0.0) {
        low = low.min(end);
        high = high.max(end);
    }
    if !low.is_finite() {
        return top;
    }
    let scale = Scale {
        low: 10f64.powf((low.log10() - 0.15).floor().max(-9.0)),
        high: 10f64.powf((high.log10() + 0.05).ceil().min(15.0)),
        from: LEFT,
        to: WIDTH - RIGHT,
        log: true,
    };
    let lanes: usize = panel.groups.iter().map(|g| g.lanes.len()).sum();
    let height = lanes as f64 * LANE + panel.groups.len() as f64 * 8.0;
    d.text("head", 0.0, top + 10.0, "start", &panel.title);
    for tick in scale.ticks(0) {
        let x = scale.at(tick);
        d.line("grid", x, top + 18.0, x, top + 18.0 + height);
        d.text("tick", x, top + 12.0, "middle", &figure(tick, &panel.unit, panel.show));
    }
    let mut y = top + 22.0;
    for group in &panel.groups {
        d.line("rule", 0.0, y - 4.0, WIDTH, y - 4.0);
        d.text("label strong", 0.0, y + 12.0, "start", &group.id);
        d.text("label", 40.0, y + 12.0, "start", &shortened(&group.claim, 30));
        for lane in &group.lanes {
            draw_lane(d, lane, &scale, y + LANE / 2.0);
            y += LANE;
        }
        y += 8.0;
    }
    y
}

fn draw_lane(d: &mut Drawing, lane: &Lane, scale: &Scale, y: f64) {
    let class = class_of(&lane.dataplane);
    d.text("label right", LEFT - 12.0, y + 4.0, "end", &lane.short);
    let (from, to) = (
        lane.claimed[0].map_or(scale.from, |x| scale.within(x)),
        lane.claimed[1].map_or(scale.to, |x| scale.within(x)),
    );
    // An exact claim ("about 10 s" before its margin, "one") still needs to be seen.
    let (from, to) = if to - from < 4.0 { (from - 2.0, from + 2.0) } else { (from, to) };
    d.rect(&format!("claim {class}"), from, y - 6.0, to - from, 12.0);
    let [low, high] = lane.bounds;
    if low.is_none() && high.is_none() && lane.value.is_none() {
        return;
    }
    let (x1, x2) = (low.map_or(scale.from, |x| scale.within(x)), high.map_or(scale.to, |x| scale.within(x)));
    d.line(&format!("measured {class}"), x1, y, x2, y);
    for (x, end) in [(x1, low), (x2, high)] {
        if end.is_some() {
            d.line(&format!("measured {class}"), x, y - 4.0, x, y + 4.0);
        }
    }
    if let Some(value) = lane.value {
        d.mark(&lane.status, scale.within(value), y);
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}
