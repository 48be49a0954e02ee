//! `report.html` and the pages of runs: each one file, nothing loaded. All of it is there without the script, which only filters,
//! opens, and follows the reader; the page's policy allows that one script by its hash.

use minijinja::{Environment, Value, context};
use sha2::{Digest, Sha256};

use super::{notes, template};
use crate::view::View;
use crate::view::chart::{Multiples, STYLE};
use crate::view::page::{LEVELS, RunPage, fitted};
use crate::view::queries::QueryView;

/// Largest page, bytes, whatever the number of runs.
pub const LARGEST: usize = 1_500_000;

const CSS: &str = include_str!("../../../templates/style.css");
const SCRIPT: &str = include_str!("../../../templates/script.js");
const TEMPLATES: [(&str, &str); 20] = [
    ("report.html.j2", include_str!("../../../templates/report.html.j2")),
    ("run.html.j2", include_str!("../../../templates/run.html.j2")),
    ("figure.html.j2", include_str!("../../../templates/figure.html.j2")),
    ("head_to_head.html.j2", include_str!("../../../templates/head_to_head.html.j2")),
    ("claims.html.j2", include_str!("../../../templates/claims.html.j2")),
    ("next.html.j2", include_str!("../../../templates/next.html.j2")),
    ("verdicts.html.j2", include_str!("../../../templates/verdicts.html.j2")),
    ("propagation.html.j2", include_str!("../../../templates/propagation.html.j2")),
    ("stages.html.j2", include_str!("../../../templates/stages.html.j2")),
    ("before_after.html.j2", include_str!("../../../templates/before_after.html.j2")),
    ("comparison.html.j2", include_str!("../../../templates/comparison.html.j2")),
    ("timeline.html.j2", include_str!("../../../templates/timeline.html.j2")),
    ("cpu.html.j2", include_str!("../../../templates/cpu.html.j2")),
    ("distributions.html.j2", include_str!("../../../templates/distributions.html.j2")),
    ("queries.html.j2", include_str!("../../../templates/queries.html.j2")),
    ("also_measured.html.j2", include_str!("../../../templates/also_measured.html.j2")),
    ("quality.html.j2", include_str!("../../../templates/quality.html.j2")),
    ("method.html.j2", include_str!("../../../templates/method.html.j2")),
    ("evidence.html.j2", include_str!("../../../templates/evidence.html.j2")),
    ("contents.html.j2", include_str!("../../../templates/contents.html.j2")),
];

/// Renders the page, cut until it fits.
///
/// # Errors
/// A template that does not render.
pub fn render(view: &View) -> anyhow::Result<String> {
    let environment = environment()?;
    let mut page = String::new();
    for level in 0..LEVELS {
        page = once(&environment, &fitted(view, level))?;
        if page.len() <= LARGEST {
            break;
        }
    }
    Ok(page)
}

/// Renders the page of one run.
///
/// # Errors
/// A template that does not render.
pub fn run_page(page: &RunPage) -> anyhow::Result<String> {
    let panels: Vec<Vec<Value>> = page.timeline.iter().map(panels).collect();
    Ok(environment()?.get_template("run.html.j2")?.render(context! {
        page => Value::from_serialize(page),
        // Sections of the report that a run's page shares with it read these names.
        view => Value::from_serialize(page),
        alone => true,
        style => safe(CSS),
        chart_style => safe(STYLE),
        script => safe(SCRIPT),
        script_hash => script_hash(),
        svg => context! { stages => safe(page.stages.chart.as_ref().map_or("", |c| &c.svg)), propagation => safe("") },
        panels,
        sparks => sparks(&page.queries),
        version => env!("CARGO_PKG_VERSION"),
    })?)
}

fn environment() -> anyhow::Result<Environment<'static>> {
    // Every value is escaped unless it is one of the few marked safe below.
    let mut environment = template::pages(&[])?;
    environment.set_trim_blocks(true);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

fn safe(text: &str) -> Value {
    Value::from_safe_string(text.to_owned())
}

fn panels(figure: &Multiples) -> Vec<Value> {
    figure.panels.iter().map(|panel| safe(&panel.svg)).collect()
}

fn sparks(queries: &[QueryView]) -> Vec<Vec<Value>> {
    queries.iter().map(|q| q.lines.iter().map(|l| safe(&l.spark)).collect()).collect()
}

fn once(environment: &Environment<'_>, view: &View) -> anyhow::Result<String> {
    let optional = |chart: &Option<crate::view::chart::Chart>| safe(chart.as_ref().map_or("", |c| &c.svg));
    Ok(environment.get_template("report.html.j2")?.render(context! {
        view => Value::from_serialize(view),
        alone => false,
        style => safe(CSS),
        chart_style => safe(STYLE),
        script => safe(SCRIPT),
        script_hash => script_hash(),
        notes => safe(&notes::to_html(&view.notes)),
        svg => context! {
            overview => optional(&view.overview),
            propagation => optional(&view.propagation.chart),
            stages => optional(&view.stages.chart),
        },
        panels => view.timelines.iter().map(panels).collect::<Vec<_>>(),
        cpu_panels => view.cpu.iter().flat_map(panels).collect::<Vec<_>>(),
        sparks => sparks(&view.queries),
        version => env!("CARGO_PKG_VERSION"),
    })?)
}

/// The script as the page's policy names it: `sha256-` and the hash in base 64.
fn script_hash() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha256::digest(SCRIPT.as_bytes());
    let mut out = String::from("sha256-");
    for three in hash.chunks(3) {
        let bits = three.iter().fold(0u32, |all, byte| (all << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at > three.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_script_and_the_script_ends_nothing() {
        let hash = script_hash();
        assert_eq!(hash.len(), "sha256-".len() + 44);
        assert!(hash.ends_with('=') && !hash.ends_with("=="), "{hash}");
        assert!(!SCRIPT.contains("</") && SCRIPT.is_ascii(), "it stands inside a page");
        assert!(
            !SCRIPT.contains("innerHTML") && !SCRIPT.contains("http"),
            "captured text is never markup, nothing is loaded"
        );
    }
}
