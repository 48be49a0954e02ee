//! Charts as SVG: numbers in, markup out. No script, no colour that a theme cannot change, no text that is not escaped.

pub mod cpu;
pub mod dots;
pub mod multiples;
pub mod propagation;
pub mod ranges;
pub mod stages;
pub mod trend;

use std::fmt::Write;

use serde::Serialize;
use syncline_schema::printable::printable_lines;

/// A finished chart.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Chart {
    /// Stem: of its file beside the Markdown report, and of the identifiers within.
    pub stem: String,
    pub title: String,
    /// What it shows, for who cannot see it.
    pub description: String,
    /// Markup for a page that has the style of [`STYLE`] already.
    pub svg: String,
}

impl Chart {
    /// The chart as a file of its own: with its style, for light and dark.
    pub fn standalone(&self) -> String {
        self.svg.replacen("><title", &format!("><style>{STYLE}</style><title"), 1)
    }
}

/// Charts with the same axes, side by side.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Multiples {
    /// Stem, as of a chart.
    pub stem: String,
    pub title: String,
    pub description: String,
    pub panels: Vec<Panel>,
}

/// One of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Panel {
    pub title: String,
    /// Class of the dataplane's colour.
    pub class: String,
    /// Behind the title.
    pub note: String,
    #[serde(skip)]
    pub svg: String,
}

/// Size of a panel, and of the gap between two.
pub const PANEL: (f64, f64) = (330.0, 232.0);
const GAP: f64 = 14.0;
const HEAD: f64 = 22.0;

impl Multiples {
    /// All panels in one picture, three beside each other: for a file of its own.
    pub fn together(&self) -> Chart {
        let across = self.panels.len().clamp(1, 3);
        let rows = self.panels.len().div_ceil(across);
        let mut d = Drawing::new();
        for (at, panel) in self.panels.iter().enumerate() {
            let (x, y) = ((at % across) as f64 * (PANEL.0 + GAP), (at / across) as f64 * (PANEL.1 + HEAD + GAP));
            let title =
                if panel.note.is_empty() { panel.title.clone() } else { format!("{}, {}", panel.title, panel.note) };
            d.text("head", x, y + 14.0, "start", &title);
            // The panel is markup of this module, escaped where it was made.
            let place = format!("<svg x=\"{}\" y=\"{}\" class=\"chart\"", n(x), n(y + HEAD));
            d.body.push_str(&panel.svg.replacen("<svg class=\"chart\"", &place, 1));
        }
        let width = across as f64 * (PANEL.0 + GAP) - GAP;
        let height = rows as f64 * (PANEL.1 + HEAD + GAP);
        d.finish(&self.stem, &self.title, &self.description, width, height)
    }
}

/// Style of all charts, in a page and in files. Colours are told apart by lightness as well.
pub const STYLE: &str = include_str!("../../../../templates/chart.css");

/// Class that carries a dataplane's colour.
pub fn class_of(dataplane: &str) -> &'static str {
    match dataplane {
        "cilium" => "dp-cilium",
        "kube-proxy-iptables" => "dp-iptables",
        "kube-proxy-nftables" => "dp-nftables",
        "kube-proxy-ipvs" => "dp-ipvs",
        _ => "dp-other",
    }
}

/// A drawing under construction.
pub struct Drawing {
    body: String,
}

impl Drawing {
    pub fn new() -> Self {
        Drawing { body: String::new() }
    }

    pub fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        let _ =
            write!(self.body, r#"<line class="{class}" x1="{}" y1="{}" x2="{}" y2="{}"/>"#, n(x1), n(y1), n(x2), n(y2));
    }

    pub fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}"/>"#,
            n(x),
            n(y),
            n(width.max(0.0)),
            n(height.max(0.0))
        );
    }

    pub fn circle(&mut self, class: &str, x: f64, y: f64, radius: f64) {
        let _ = write!(self.body, r#"<circle class="{class}" cx="{}" cy="{}" r="{}"/>"#, n(x), n(y), n(radius));
    }

    /// Text with `anchor` `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = write!(
            self.body,
            r#"<text class="{class}" x="{}" y="{}" text-anchor="{anchor}">{}</text>"#,
            n(x),
            n(y),
            escape(text)
        );
    }

    /// A path through points; `close` fills an area.
    pub fn path(&mut self, class: &str, points: &[(f64, f64)], close: bool) {
        if points.len() < 2 {
            return;
        }
        let mut d = String::new();
        for (at, (x, y)) in thinned(points).iter().enumerate() {
            let _ = write!(d, "{}{} {}", if at == 0 { 'M' } else { 'L' }, n(*x), n(*y));
        }
        if close {
            d.push('Z');
        }
        let _ = write!(self.body, r#"<path class="{class}" d="{d}"/>"#);
    }

    /// A point that tells its value where it is hovered over or has the focus.
    pub fn told(&mut self, class: &str, x: f64, y: f64, width: f64, text: &str) {
        // The words stay inside the picture.
        let (anchor, at) = if x > width / 2.0 { ("end", x - 7.0) } else { ("start", x + 7.0) };
        let _ = write!(
            self.body,
            r#"<g class="told {class}" tabindex="-1"><circle class="catch" cx="{x}" cy="{y}" r="7"/><circle class="dot" cx="{x}" cy="{y}" r="2.5"/><text class="tip" x="{at}" y="{ty}" text-anchor="{anchor}">{}</text></g>"#,
            escape(text),
            x = n(x),
            y = n(y),
            at = n(at),
            ty = n((y - 8.0).max(12.0)),
        );
    }

    /// A shape for where a figure stands (a class of `rows::Standing`), so that colour is not its only sign.
    pub fn mark(&mut self, status: &str, x: f64, y: f64) {
        let class = format!("mark {status}");
        let r = 5.0;
        match status {
            "at-claim" => self.circle(&class, x, y, r - 0.5),
            "at-bad" => self.path(&class, &[(x, y - r), (x + r, y + r - 1.0), (x - r, y + r - 1.0)], true),
            "at-good" => self.rect(&class, x - r + 1.0, y - r + 1.0, 2.0 * r - 2.0, 2.0 * r - 2.0),
            _ => self.path(&class, &[(x, y - r), (x + r, y), (x, y + r), (x - r, y)], true),
        }
    }

    /// Ends a drawing that stands within a line of a table: only `words` describe it.
    pub fn small(self, words: &str, width: f64, height: f64) -> String {
        format!(
            r#"<svg class="chart spark" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{}">{}</svg>"#,
            escape(words),
            self.body,
            w = n(width),
            h = n(height),
        )
    }

    /// Ends a panel: the words beside it are its title.
    pub fn panel(self, words: &str) -> String {
        format!(
            r#"<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="group" aria-label="{}">{}</svg>"#,
            escape(words),
            self.body,
            w = n(PANEL.0),
            h = n(PANEL.1),
        )
    }

    /// Ends the drawing.
    pub fn finish(self, stem: &str, title: &str, description: &str, width: f64, height: f64) -> Chart {
        let svg = format!(
            r#"<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-labelledby="{stem}-t {stem}-d"><title id="{stem}-t">{}</title><desc id="{stem}-d">{}</desc>{}</svg>"#,
            escape(title),
            escape(description),
            self.body,
            w = n(width),
            h = n(height),
        );
        Chart { stem: stem.to_owned(), title: title.to_owned(), description: description.to_owned(), svg }
    }
}

impl Default for Drawing {
    fn default() -> Self {
        Self::new()
    }
}

/// A coordinate: one decimal; what is no number is drawn at the origin, never written into markup.
fn n(x: f64) -> String {
    if !x.is_finite() {
        return "0".into();
    }
    let text = format!("{:.1}", x.clamp(-1e6, 1e6));
    match text.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Text for XML, which forbids control characters.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable_lines(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A linear or logarithmic axis from values to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
    pub log: bool,
}

impl Scale {
    pub fn at(&self, value: f64) -> f64 {
        let f = |x: f64| if self.log { x.max(f64::MIN_POSITIVE).log10() } else { x };
        let span = f(self.high) - f(self.low);
        if span <= 0.0 || !value.is_finite() {
            return self.from;
        }
        self.from + (f(value) - f(self.low)) / span * (self.to - self.from)
    }

    /// As `at`, kept within the axis.
    pub fn within(&self, value: f64) -> f64 {
        self.at(value).clamp(self.from.min(self.to), self.from.max(self.to))
    }

    /// Round values for grid lines: powers of ten, or about `wanted` steps of 1, 2 or 5.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        if self.log {
            let (a, b) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            return (a..=b).take(40).map(|e| 10f64.powi(e)).collect();
        }
        let span = self.high - self.low;
        if span <= 0.0 || !span.is_finite() {
            return vec![self.low];
        }
        let raw = span / wanted.max(1) as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(raw);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).take(60).map(|k| k as f64 * step).collect()
    }
}

/// Width of a column in which the eye cannot tell points apart.
const COLUMN: f64 = 0.25;

/// A path that looks the same with fewer points: of those in one column that follow each other only the first, the
/// lowest, the highest and the last are kept. A chart of half a million endpoints is no longer than one of a thousand.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let column = |point: &(f64, f64)| (point.0 / COLUMN).floor();
    let mut kept = Vec::new();
    for same in points.chunk_by(|a, b| column(a) == column(b)) {
        if same.len() <= 4 {
            kept.extend_from_slice(same);
            continue;
        }
        let by_height = |a: &usize, b: &usize| same[*a].1.total_cmp(&same[*b].1);
        let least = (0..same.len()).min_by(by_height).unwrap_or(0);
        let greatest = (0..same.len()).max_by(by_height).unwrap_or(0);
        let mut places = [0, least.min(greatest), least.max(greatest), same.len() - 1].to_vec();
        places.dedup();
        kept.extend(places.into_iter().map(|at| same[at]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut d = Drawing::new();
        d.text("t", f64::NAN, 1.0, "start", "</text><script>alert(1)</script>\u{0}");
        let chart = d.finish("x", "<b>\"", "&", 10.0, 10.0);
        assert!(!chart.svg.contains("<script") && !chart.svg.contains("<b>") && !chart.svg.contains('\u{0}'));
        assert!(!chart.svg.contains("NaN"));
        assert!(chart.standalone().contains("<style>"));
    }

    #[test]
    fn a_thinned_path_keeps_its_outline() {
        let wave = |at: usize| (at as f64 / 1000.0, (at as f64 / 7.0).sin());
        let points: Vec<(f64, f64)> = (0..100_000).map(wave).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= 4 * 401, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[points.len() - 1]));
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0), "in order");
        let height = |all: &[(f64, f64)]| all.iter().map(|point| point.1).fold(f64::MIN, f64::max);
        assert_eq!(height(&kept), height(&points));
        assert_eq!(thinned(&points[..3]), points[..3]);
    }

    #[test]
    fn ticks() {
        let s = Scale { low: 0.0, high: 1.3, from: 0.0, to: 100.0, log: false };
        assert_eq!(s.ticks(5).len(), 3);
        let l = Scale { low: 1e-6, high: 100.0, from: 0.0, to: 80.0, log: true };
        assert_eq!(l.ticks(0).len(), 9);
        assert!((l.at(1e-2) - 40.0).abs() < 1e-9);
    }
}
