//! The answer: what holds, what does not, what could not be judged, per dataplane; then the two comparisons that the
//! source document calls the most telling.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{self, RowView, group_label};
use super::{dataplane_name, number};
use crate::result::RunResult;
use crate::verdict::{Catalogue, Row, Status, Verdict, load, overall};

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
    /// How many figures these rest on: several rows may ask for one.
    pub figures: u64,
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
pub fn build(runs: &[RunResult], verdicts: &[Verdict], catalogue: &Catalogue) -> Headline {
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

fn side(dataplane: &str, runs: &[RunResult], verdicts: &[Verdict], catalogue: &Catalogue) -> Side {
    let mut by: BTreeMap<Status, Vec<&str>> = BTreeMap::new();
    let mut figures = std::collections::BTreeSet::new();
    for row in &catalogue.rows {
        if let Some(verdict) = overall(verdicts, &row.id, dataplane) {
            by.entry(verdict.status).or_default().push(&row.id);
            // What was not measured is a figure of its own.
            let own = if verdict.measured.is_some() { "" } else { row.id.as_str() };
            let group = (verdict.scenario.as_str(), verdict.services);
            figures.insert((verdict.measurement.as_str(), group, verdict.measured.map(f64::to_bits), own));
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
        figures: figures.len() as u64,
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

/// "The slowest endpoint … 0.5 s with Cilium (holds: claimed …), and 1.1 s with kube-proxy (…)", and what one is of the other.
fn lead_sentences(verdicts: &[Verdict], catalogue: &Catalogue) -> Vec<String> {
    let sides = [("cilium", "Cilium"), ("kube-proxy-iptables", "kube-proxy")];
    let mut found: Vec<String> =
        [("A1", "The slowest endpoint reached the dataplane after"), ("C2", "The work on a packet took")]
            .into_iter()
            .filter_map(|(id, opening)| {
                let row = catalogue.row(id)?;
                let own: Vec<(&str, &Verdict)> = sides
                    .iter()
                    .filter_map(|(dataplane, name)| Some((*name, overall(verdicts, id, dataplane)?)))
                    .collect();
                if own.iter().all(|(_, v)| v.status == Status::NotMeasured) {
                    return None;
                }
                let parts: Vec<String> = own.iter().map(|(name, v)| part(row, name, v)).collect();
                Some(format!("{opening} {}.{}", parts.join(", and "), against(&own)))
            })
            .collect();
    found.extend(overall(verdicts, "K1", "cilium").filter(|v| v.measured.is_some()).map(|v| {
        let bounds = v.measured_bounds.unwrap_or_default();
        let figure = rows::with_bounds(v.measured, bounds, &v.unit, number::Show::Times);
        let figure = figure.replace(" ×", "");
        format!(
            "By the same measure where both sides have one, a packet costs kube-proxy {figure} times what it costs Cilium (claimed: {}; {}: {}).",
            v.expected,
            v.status.word(),
            v.reason
        )
    }));
    found
}

fn part(row: &Row, name: &str, v: &Verdict) -> String {
    if v.status == Status::NotMeasured {
        return format!("a time not measured with {name} (claimed: {})", v.expected);
    }
    let bounds = v.measured_bounds.unwrap_or_default();
    let at_most = if v.bound.as_deref() == Some("upper bound") { "at most " } else { "" };
    let figure = rows::with_bounds(v.measured, bounds, &v.unit, row.show);
    // A packet may pass several programs: their mean is not what the whole packet costs.
    let of = if v.id == "C2" && v.bound.is_none() { " per run of a datapath program" } else { "" };
    let status = match v.status {
        Status::Better | Status::Worse => format!("{} than the claimed {}", v.status.word(), v.expected),
        other => format!("{}; claimed: {}", other.word(), v.expected),
    };
    format!("{at_most}{figure}{of} with {name} ({status})")
}

/// By what factor the sides differ, where both figures are direct, of like groups, and do not overlap.
fn against(own: &[(&str, &Verdict)]) -> String {
    let [(_, a), (_, b)] = own else { return String::new() };
    let group = |v: &Verdict| (v.scenario.clone(), v.services, v.measurement.clone());
    let (Some([Some(al), Some(ah)]), Some([Some(bl), Some(bh)])) = (a.measured_bounds, b.measured_bounds) else {
        return String::new();
    };
    let compares = a.bound.is_none() && b.bound.is_none() && load::apart(a.runs.iter().chain(&b.runs)).is_none();
    if group(a) != group(b) || !compares || al <= 0.0 || bl <= 0.0 {
        return String::new();
    }
    let (slower, low, high) = if bl > ah {
        ("kube-proxy", bl / ah, bh / al)
    } else if al > bh {
        ("Cilium", al / bh, ah / bl)
    } else {
        return format!(" In {}, the slowest of each, the two cannot be told apart.", runs_of(a));
    };
    format!(
        " In {}, the slowest of each, {slower} took {} to {} times as long.",
        runs_of(a),
        number::digits(low),
        number::digits(high)
    )
}

/// `the scale-up runs with 2000 Services`.
fn runs_of(v: &Verdict) -> String {
    let services = v.services.map_or_else(String::new, |n| format!(" with {n} Services"));
    format!("the {} runs{services}", v.scenario)
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
            let are = |n: u64| format!("{n} {}", if n == 1 { "is" } else { "are" });
            format!(
                "{}: {} of {} documented values (which rest on {} figures) hold, {} better than claimed, {} worse; {} could not be decided",
                side.name,
                n("holds"),
                side.total,
                side.figures,
                are(n("better")),
                are(n("worse")),
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
pub fn title(runs: &[RunResult]) -> String {
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
pub fn subtitle(runs: &[RunResult]) -> String {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for r in runs {
        *groups.entry(group_label(&r.run.scenario, r.run.services.map(crate::verdict::one_figure))).or_default() += 1;
    }
    let mut versions: Vec<String> = Vec::new();
    for r in runs {
        for (name, version) in &r.run.manifest.versions {
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
