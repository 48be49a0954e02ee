//! `report.html`: one file, no script, nothing loaded.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::notes;
use crate::view::View;
use crate::view::chart::STYLE;

const CSS: &str = include_str!("../../../templates/style.css");
const TEMPLATES: [(&str, &str); 15] = [
    ("report.html.j2", include_str!("../../../templates/report.html.j2")),
    ("figure.html.j2", include_str!("../../../templates/figure.html.j2")),
    ("headline.html.j2", include_str!("../../../templates/headline.html.j2")),
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
];

/// Renders the page.
///
/// # Errors
/// A template that does not render.
pub fn render(view: &View) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    // Every value is escaped unless it is one of the few marked safe below.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    let safe = |text: &str| Value::from_safe_string(text.to_owned());
    let optional = |chart: &Option<crate::view::chart::Chart>| safe(chart.as_ref().map_or("", |c| &c.svg));
    let page = environment.get_template("report.html.j2")?.render(context! {
        view => Value::from_serialize(view),
        style => safe(CSS),
        chart_style => safe(STYLE),
        notes => safe(&notes::to_html(&view.notes)),
        svg => context! {
            overview => optional(&view.overview),
            propagation => optional(&view.propagation.chart),
            stages => optional(&view.stages.chart),
            cpu => optional(&view.cpu),
            timelines => view.timelines.iter().map(|c| safe(&c.svg)).collect::<Vec<_>>(),
        },
        sparks => view.queries.iter().map(|q| q.lines.iter().map(|l| safe(&l.spark)).collect::<Vec<_>>()).collect::<Vec<_>>(),
        version => env!("CARGO_PKG_VERSION"),
    })?;
    // NUL is forbidden in HTML, and overrides of the text's direction could make a line read as another.
    Ok(page.chars().filter(|c| !matches!(c, '\0' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')).collect())
}
