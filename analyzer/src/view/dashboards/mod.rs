//! Dashboards as they are to be drawn: panels with their queries, units, limits and what they can and cannot show.
//!
//! A documented query stands as written, without any variable. A sound one is asked within the variables, over a window that fits the
//! data source (`$__rate_interval`): a window as the document has it holds no two samples where they are scraped every 30 s.

mod expression;
mod rows;

use crate::events::metric_names::availability;
use crate::verdict::catalogue::{Catalogue, ClaimKind, Row, Side};
use crate::verdict::dashboard::{self, PanelForm};
use crate::verdict::watch::{Record, Watch, records};

/// One dashboard.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    pub uid: String,
    pub title: String,
    pub about: String,
    pub sections: Vec<Section>,
}

/// Panels below a heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub title: String,
    /// Closed until it is opened: none of its queries is asked before.
    pub closed: bool,
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub title: String,
    /// What it can show and what not, in Markdown.
    pub text: String,
    /// As rows have it.
    pub unit: String,
    /// Documented limits: value, and whether it is the upper one.
    pub lines: Vec<(f64, bool)>,
    /// None: the text is all there is.
    pub targets: Vec<Query>,
}

/// One query of a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub expr: String,
    pub legend: String,
}

/// The dashboards of a catalogue.
pub fn build(catalogue: &Catalogue) -> Vec<Dashboard> {
    let records = records(catalogue);
    let section = |one: &dashboard::Section| match &one.rows_of {
        Some(side) => {
            Section { title: one.title.clone(), closed: true, panels: rows::panels(catalogue, &records, side) }
        }
        None => Section {
            title: one.title.clone(),
            closed: false,
            panels: one.panels.iter().map(|panel| stated(catalogue, &records, panel)).collect(),
        },
    };
    let all = catalogue.dashboards.iter().map(|one| Dashboard {
        uid: one.uid.clone(),
        title: one.title.clone(),
        about: one.about.clone(),
        sections: one.sections.iter().map(section).collect(),
    });
    all.collect()
}

/// A panel that the catalogue states.
fn stated(catalogue: &Catalogue, records: &[&Record], panel: &dashboard::Panel) -> Panel {
    let row = panel.row.as_deref().and_then(|id| catalogue.row(id));
    let mut asked = Vec::new();
    for target in &panel.targets {
        let id = target.row.as_deref().or(panel.row.as_deref());
        let own = id.and_then(|id| catalogue.row(id));
        let on = target.on.as_deref().or(panel.on.as_deref());
        let found = match (target.form, own) {
            (Some(PanelForm::Documented), Some(row)) => row.documented.query.get(target.at).cloned(),
            (Some(PanelForm::Sound), Some(row)) => row.sound.query.get(target.at).cloned(),
            (Some(PanelForm::Watch), Some(row)) => {
                let watches = row.watches.iter().filter(|watch| on.is_none_or(|on| watch.on == on));
                watches.collect::<Vec<&Watch>>().get(target.at).and_then(|watch| watch.value(records))
            }
            _ => target.query.clone(),
        };
        let Some(query) = found else { continue };
        let documented = target.documented || target.form == Some(PanelForm::Documented);
        asked.push(Asked { query, documented, workload: target.workload, legend: target.legend.clone() });
    }
    let sides: Vec<&str> = panel.on.as_deref().map_or(vec!["cilium", "kube-proxy"], |on| vec![on]);
    drawn(panel.title.clone(), row, &sides, panel.unit.as_deref(), &panel.text, asked)
}

/// A query ahead of its variables.
struct Asked {
    query: String,
    documented: bool,
    workload: bool,
    legend: String,
}

/// A panel of some queries, with the claim of a row.
fn drawn(title: String, row: Option<&Row>, sides: &[&str], unit: Option<&str>, own: &str, asked: Vec<Asked>) -> Panel {
    let natural = asked.first().map_or("1", |one| expression::unit(&one.query));
    let unit = unit.unwrap_or(natural).to_owned();
    let documented = asked.iter().any(|one| one.documented);
    let mut text = Vec::new();
    if documented {
        text.push("**As the document has it**: no variable applies.".to_owned());
        text.extend(row.map(|row| row.sound.reason.clone()));
    }
    text.extend(Some(own.to_owned()).filter(|own| !own.is_empty()));
    let claimed: Vec<(&str, &Side)> = row.map_or_else(Vec::new, |row| {
        let of = |side: &&str| match *side {
            "cilium" => ("Cilium", &row.cilium),
            _ => ("kube-proxy", &row.kube_proxy),
        };
        sides.iter().map(of).filter(|(_, side)| side.kind != ClaimKind::None).collect()
    });
    let mut lines = Vec::new();
    if let Some(row) = row.filter(|_| !claimed.is_empty()) {
        let words: Vec<String> = claimed.iter().map(|(name, side)| format!("{name} {}", side.text)).collect();
        let drawn = row.unit == unit && claimed.iter().any(|(_, side)| is_range(side));
        let how = if drawn { ", drawn as lines" } else { "" };
        text.push(format!("Documented ({}, {}): {}{how}.", row.id, row.claim, words.join("; ")));
        if drawn {
            for (_, side) in claimed.iter().filter(|(_, side)| is_range(side)) {
                lines.extend(side.low.filter(|low| *low > 0.0).map(|low| (low, false)));
                lines.extend(side.high.map(|high| (high, true)));
            }
            lines.sort_by(|a, b| a.0.total_cmp(&b.0));
            lines.dedup_by(|a, b| a.0 == b.0);
        }
    }
    text.extend(found_where(asked.iter().map(|one| one.query.as_str())));
    let targets = asked.into_iter().map(|one| Query {
        expr: if one.documented { one.query } else { expression::with_variables(&one.query, one.workload) },
        legend: one.legend,
    });
    Panel { title, text: text.join("\n\n"), unit, lines, targets: targets.collect() }
}

fn is_range(side: &Side) -> bool {
    matches!(side.kind, ClaimKind::Range | ClaimKind::About | ClaimKind::Possible)
}

/// Where the metrics of some queries are to be found, a list.
fn found_where<'q>(queries: impl Iterator<Item = &'q str>) -> Option<String> {
    let mut told: Vec<String> = Vec::new();
    for query in queries {
        let names = syncline_promql::parse(query).ok().and_then(|expr| expr.metric_names()).unwrap_or_default();
        for name in names {
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            let line = availability(&name).map(|what| format!("- `{stem}`: {what}"));
            told.extend(line.filter(|line| !told.contains(line)));
        }
    }
    (!told.is_empty()).then(|| told.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Vec<Dashboard> {
        build(&Catalogue::built_in().expect("built-in"))
    }

    fn panel(uid: &str, title: &str) -> Panel {
        let all = built().into_iter().filter(|one| one.uid == uid).flat_map(|one| one.sections);
        all.flat_map(|one| one.panels).find(|one| one.title == title).unwrap_or_else(|| panic!("{title}"))
    }

    #[test]
    fn the_documents_panels_are_as_written_with_the_sound_one_behind_each() {
        for (uid, title, query, legend) in [
            (
                "syncline-cilium",
                "Endpoint Update Latency",
                "histogram_quantile(0.95, rate(cilium_endpoint_regeneration_time_stats_seconds_bucket[1m]))",
                "P95 latency",
            ),
            ("syncline-cilium", "Service Update Operations", "rate(cilium_service_events_total[1m])", "Updates/sec"),
            (
                "syncline-kube-proxy",
                "iptables Sync Latency",
                "histogram_quantile(0.95, rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket[1m]))",
                "P95 sync time",
            ),
            (
                "syncline-kube-proxy",
                "Rules Count",
                "kubeproxy_network_programming_duration_seconds_count",
                "Total rules",
            ),
        ] {
            let documented = panel(uid, title);
            let wanted = Query { expr: query.to_owned(), legend: legend.to_owned() };
            assert_eq!(documented.targets, [wanted], "{title}");
            let sound = panel(uid, &format!("{title}, sound form"));
            assert!(sound.targets.iter().all(|one| one.expr.contains("run=~\"$run\"")), "{:?}", sound.targets);
        }
    }

    #[test]
    fn every_target_of_the_catalogue_is_found() {
        let catalogue = Catalogue::built_in().expect("built-in");
        for (stated, built) in catalogue.dashboards.iter().zip(built()) {
            for (stated, built) in stated.sections.iter().zip(&built.sections).filter(|(one, _)| one.rows_of.is_none())
            {
                for (stated, built) in stated.panels.iter().zip(&built.panels) {
                    assert_eq!(stated.targets.len(), built.targets.len(), "{}", stated.title);
                }
            }
        }
    }

    #[test]
    fn a_claim_is_drawn_where_the_panel_has_its_unit() {
        let memory = panel("syncline-comparison", "Memory");
        assert_eq!(memory.unit, "bytes");
        assert_eq!(memory.lines, [(1e8, false), (2e8, false), (3e8, true), (5e8, true)]);
        assert!(
            memory.text.contains("Documented (T5.2, memory): Cilium 200–500 MB; kube-proxy 100–300 MB"),
            "{}",
            memory.text
        );
        let count = panel("syncline-kube-proxy", "Rules Count");
        assert!(count.text.contains("counts observations of a latency, not rules"), "{}", count.text);
        let rate = panel("syncline-cilium", "Service Update Operations");
        assert!(
            rate.text.contains("`cilium_service_events_total`: no version of Cilium has it; ask "),
            "{}",
            rate.text
        );
    }
}
