//! The answer: what holds, what does not, what could not be judged, per dataplane; then the two comparisons that the
//! source document calls the most telling.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{self, RowView, group_label};
use super::{dataplane_name, number};
use crate::verdict::{Catalogue, RunResult, Status, Verdict, overall};

/// The first screen.
#[derive(Clone, Debug, Serialize)]
pub struct Headline {
    /// Counts in a sentence for each side.
    pub answer: String,
    /// The leading comparisons, a sentence each.
    pub lead_sentences: Vec<String>,
    pub sides: Vec<Side>,
    pub lead: Vec<Lead>,
}

/// Counts of one dataplane.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    pub dataplane: String,
    pub name: String,
    pub class: String,
    pub runs: String,
    pub total: u64,
    pub counts: Vec<Count>,
}

/// How many rows have one status.
#[derive(Clone, Debug, Serialize)]
pub struct Count {
    pub status: String,
    pub status_class: String,
    pub mark: String,
    pub n: u64,
    /// Share of all rows, for the bar, percent with one decimal.
    pub share: String,
    /// Identifiers of the rows.
    pub ids: String,
}

/// One leading comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Lead {
    pub title: String,
    pub question: String,
    pub rows: Vec<RowView>,
}

/// Builds it.
pub fn build(runs: &[RunResult<'_>], verdicts: &[Verdict], catalogue: &Catalogue) -> Headline {
    let dataplanes: Vec<&str> =
        ["cilium", "kube-proxy-iptables"].into_iter().filter(|d| runs.iter().any(|r| r.run.dataplane == *d)).collect();
    let sides: Vec<Side> = dataplanes.iter().map(|d| side(d, runs, verdicts, catalogue)).collect();
    let pick = |title: &str, question: &str, ids: &[&str]| Lead {
        title: title.into(),
        question: question.into(),
        rows: ids.iter().filter_map(|id| catalogue.row(id)).map(|row| rows::row_view(row, verdicts)).collect(),
    };
    Headline {
        lead_sentences: lead_sentences(verdicts, catalogue),
        answer: answer(&sides),
        sides,
        lead: vec![
            pick(
                "Service update latency",
                "How long until the dataplane follows a change: the slowest endpoint (A1), the 95th percentile (T3.4), and the proxy's own work for one update (C1).",
                &["A1", "T3.4", "C1"],
            ),
            pick(
                "Packet processing",
                "What one packet costs on each side (C2), and the ratio of both (K1).",
                &["C2", "K1"],
            ),
        ],
    }
}

fn side(dataplane: &str, runs: &[RunResult<'_>], verdicts: &[Verdict], catalogue: &Catalogue) -> Side {
    let mut by: BTreeMap<Status, Vec<&str>> = BTreeMap::new();
    for row in &catalogue.rows {
        if let Some(verdict) = overall(verdicts, &row.id, dataplane) {
            by.entry(verdict.status).or_default().push(&row.id);
        }
    }
    let total: usize = by.values().map(Vec::len).sum();
    let own = runs.iter().filter(|r| r.run.dataplane == dataplane).count();
    Side {
        dataplane: dataplane.into(),
        name: dataplane_name(dataplane),
        class: super::chart::class_of(dataplane).into(),
        runs: plural(own, "run"),
        total: total as u64,
        counts: Status::ALL
            .into_iter()
            .map(|status| {
                let ids = by.remove(&status).unwrap_or_default();
                Count {
                    status: status.word().into(),
                    status_class: rows::status_class(status).into(),
                    mark: rows::mark(status).into(),
                    n: ids.len() as u64,
                    share: format!("{:.1}", ids.len() as f64 * 100.0 / total.max(1) as f64),
                    ids: ids.join(", "),
                }
            })
            .collect(),
    }
}

/// "Slowest endpoint …: 0.5 s with Cilium (holds; claimed …), 1.1 s with kube-proxy (better; claimed …)."
fn lead_sentences(verdicts: &[Verdict], catalogue: &Catalogue) -> Vec<String> {
    [("A1", "The slowest endpoint reached the dataplane after"), ("C2", "Handling one packet took")]
        .into_iter()
        .filter_map(|(id, opening)| {
            let row = catalogue.row(id)?;
            let parts: Vec<String> = [("cilium", "Cilium"), ("kube-proxy-iptables", "kube-proxy")]
                .into_iter()
                .filter_map(|(dataplane, name)| {
                    let v = overall(verdicts, id, dataplane)?;
                    if v.status == Status::NotMeasured {
                        return Some(format!("a time not measured with {name} (claimed: {})", v.expected));
                    }
                    let bounds = v.measured_bounds.unwrap_or_default();
                    let at_most = if v.bound.as_deref() == Some("upper bound") { "at most " } else { "" };
                    Some(format!(
                        "{at_most}{} with {name} (claimed: {}; {})",
                        rows::with_bounds(v.measured, bounds, &v.unit, rows::show(row)),
                        v.expected,
                        v.status.word()
                    ))
                })
                .collect();
            let any = ["cilium", "kube-proxy-iptables"]
                .iter()
                .filter_map(|d| overall(verdicts, id, d))
                .any(|v| v.status != Status::NotMeasured);
            any.then(|| format!("{opening} {}.", parts.join(", and ")))
        })
        .collect()
}

fn answer(sides: &[Side]) -> String {
    if sides.is_empty() {
        return "No run of Cilium or of kube-proxy in iptables mode is among the captures, so no documented value could be judged.".into();
    }
    let parts: Vec<String> = sides
        .iter()
        .map(|side| {
            let n = |word: &str| side.counts.iter().find(|c| c.status == word).map_or(0, |c| c.n);
            let open = n("inconclusive") + n("not measured");
            format!(
                "{}: {} of {} documented values hold, {} better and {} worse than claimed; {} could not be decided",
                side.name,
                n("holds"),
                side.total,
                match n("better") {
                    1 => "1 is".into(),
                    more => format!("{more} are"),
                },
                n("worse"),
                open
            )
        })
        .collect();
    format!("{}.", parts.join(". "))
}

/// `1 run`, `2 runs`.
pub fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{} {word}s", number::count(n as u64)) }
}

/// Title where the user gives none.
pub fn title(runs: &[RunResult<'_>]) -> String {
    // All modes of kube-proxy are one name here; the runs are listed below it.
    let mut names: Vec<String> = runs
        .iter()
        .map(|r| dataplane_name(&r.run.dataplane).split(" (").next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names.dedup();
    match names.as_slice() {
        [] => "Dataplane report".into(),
        [one] => format!("{one} against its documented values"),
        many => format!("{} against their documented values", join(many)),
    }
}

fn join(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// What was compared: runs by dataplane, scenarios, versions.
pub fn subtitle(runs: &[RunResult<'_>]) -> String {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for r in runs {
        *groups.entry(group_label(&r.run.scenario, r.run.services.map(crate::verdict::one_figure))).or_default() += 1;
    }
    let mut versions: Vec<String> = Vec::new();
    for r in runs {
        for (name, version) in &r.run.bundle.manifest.versions {
            let known = format!("{} {}", rows::cut(name, 40), rows::cut(version, 40));
            if ["kubernetes", "cilium"].contains(&name.as_str()) && !versions.contains(&known) {
                versions.push(known);
            }
        }
    }
    let mut parts = vec![plural(runs.len(), "captured run")];
    let scenarios: Vec<String> = groups.keys().cloned().collect();
    if scenarios.len() <= 4 {
        parts.push(scenarios.join("; "));
    } else {
        let mut names: Vec<&str> = runs.iter().map(|r| r.run.scenario.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        parts.push(names.join(", "));
    }
    parts.extend(versions.into_iter().take(4));
    parts.join(" · ")
}
