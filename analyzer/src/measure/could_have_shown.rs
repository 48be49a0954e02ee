//! When absence proves something: the one rule for "there is no such series, so nothing happened".
//!
//! A counter that is missing was never raised only if the source would have shown it. An answer of Prometheus to a question about
//! another metric shows nothing of it, and neither does a page that went through `grep`. What would have shown it is a *whole* page of the component, by
//! whatever witness: one source that holds, of one target, the component's own metrics and those that every exporter of its kind has beside them
//! (of the Go runtime, of the process). And it must reach over the window in question:
//!
//! ```text
//! window            ├───────────────┤
//! readings   ·   ·   ·   ·   ·   ·   ·   ·     covers it
//! reading                               ·     so does one, of a process that had started before
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::before_after::pairs::{self, By, Candidate};
use super::{Missing, readings, stated_time};
use crate::bundle::listed;
use crate::clock::Evidence;
use crate::events::{Phase, Run, Window};

/// A component that exports metrics.
#[derive(Debug)]
pub struct Component {
    pub name: &'static str,
    /// Metrics that it always has; one is enough to know it.
    own: &'static [&'static str],
    /// What a whole page has beside them: two of these.
    beside: &'static [&'static str],
    /// When its process started, seconds since 1970.
    started: &'static str,
    /// What to do for a whole page.
    pub remedy: &'static str,
}

/// kube-proxy in any mode.
pub const KUBE_PROXY: Component = Component {
    name: "kube-proxy",
    own: &["kubeproxy_sync_proxy_rules_duration_seconds_count", "kubeproxy_network_programming_duration_seconds_count"],
    beside: &["go_goroutines", "go_info", "process_start_time_seconds", "process_cpu_seconds_total"],
    started: "process_start_time_seconds",
    remedy: "Save the whole page before and after, unfiltered and with its time: `curl -s http://127.0.0.1:10249/metrics > kube-proxy-$(date +%s.%N).prom`; or scrape it every second over the whole run.",
};

/// Readings of a component by a source that shows all of it.
#[derive(Clone, Debug)]
struct Page {
    source: i32,
    record: i64,
}

/// Sources that hold a whole page of a component.
fn pages(run: &Run, component: &Component) -> Vec<Page> {
    let wanted: HashSet<String> = component.own.iter().chain(component.beside).map(|name| (*name).to_owned()).collect();
    let (rows, _) = listed::read(&run.bundle, Some(&wanted)).unwrap_or_else(|error| {
        run.bundle.note(&error);
        Default::default()
    });
    // By source and target: a database has the pages of many.
    let mut held: BTreeMap<(i32, String), (BTreeSet<String>, i64)> = BTreeMap::new();
    for row in rows {
        let labels: readings::Labels = serde_json::from_str(&row.labels).unwrap_or_default();
        let label = |name: &str| labels.get(name).map_or("", String::as_str).to_owned();
        let entry = held.entry((row.source, format!("{} {}", label("job"), label("instance")))).or_default();
        entry.0.insert(row.name.to_string());
        if component.own.contains(&row.name.as_str()) {
            entry.1 = row.record;
        }
    }
    let whole = |names: &BTreeSet<String>| {
        let has = |name: &&&str| names.contains(**name);
        component.own.iter().any(|name| has(&name)) && component.beside.iter().filter(has).count() >= 2
    };
    let mut found: Vec<Page> = Vec::new();
    for ((source, _), (names, record)) in held {
        if whole(&names) && found.iter().all(|page| page.source != source) {
            found.push(Page { source, record });
        }
    }
    found
}

/// Whether a counter of a component that was raised in `phase` would stand in the captures. The evidence says where.
///
/// # Errors
/// Why its absence proves nothing, and what would.
pub fn counted(run: &Run, component: &Component, phase: Phase) -> Result<Vec<Evidence>, Missing> {
    let missing = |what: String| Missing { what, remedy: component.remedy.to_owned() };
    let pages = pages(run, component);
    if pages.is_empty() {
        return Err(missing(format!(
            "no counter of failures, and no source that would have shown one: answers to queries about other metrics prove nothing of it, a whole page of {}'s metrics would",
            component.name
        )));
    }
    let is_page = |source: i32| pages.iter().any(|page| page.source == source);
    let own = component.own.iter().flat_map(|name| readings::series(run, name, |c| is_page(c.source)));
    let started: Vec<f64> = readings::series(run, component.started, |c| is_page(c.source))
        .iter()
        .filter_map(|series| series.readings.last().map(|reading| reading.value))
        .collect();
    for series in own {
        let Some(window) = run.window(phase, &series.clock) else { continue };
        let times: Vec<i64> = series.readings.iter().map(|reading| reading.high).collect();
        let since = started.iter().copied().reduce(f64::max).map(|seconds| (seconds * 1e9) as i64);
        if covers(&times, &window, since) {
            let ends = [series.readings.first(), series.readings.last()].into_iter().flatten();
            return Ok(ends.map(|one| one.evidence(run, format!("a whole page of {}", component.name))).collect());
        }
    }
    Err(missing(format!(
        "whole pages of {}'s metrics were captured, but none that reaches to the action's end",
        component.name
    )))
}

/// Whether readings show all that a counter did in a window: up to its end, and either from its start on or of a process that
/// had started before. A reading may lie outside by the usual distance between two.
pub fn covers(times: &[i64], window: &Window, since: Option<i64>) -> bool {
    let Some(first) = times.first() else { return false };
    let before = *first <= window.start.saturating_add(near(times, window));
    reaches(times, window) && (before || since.is_some_and(|since| since < window.start))
}

/// Whether readings reach to the end of a window.
pub fn reaches(times: &[i64], window: &Window) -> bool {
    times.last().is_some_and(|last| *last >= window.end.saturating_sub(near(times, window)))
}

/// How far a reading may lie from the edge of a window that it covers.
fn near(times: &[i64], window: &Window) -> i64 {
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(0);
    // Twice: a scrape may be late. Of few readings the distance says nothing.
    if times.len() < 4 { window.slack } else { 2 * usual + window.slack }
}

/// Whole pages of a component before and after, by the names of their files or by stated times; empty where there are none.
pub fn twice(run: &Run, component: &Component) -> Vec<Evidence> {
    let pages = pages(run, component);
    let unstated = stated_time::unstated(run);
    let source = |at: i32| usize::try_from(at).ok().and_then(|at| run.bundle.manifest.sources.get(at));
    let candidates: Vec<Candidate> = pages
        .iter()
        .filter_map(|page| {
            let own = source(page.source)?;
            let stated = !unstated.contains_key(&page.source) && own.first.is_some();
            Some(Candidate { source: page.source, path: own.path.clone(), kind: own.kind.clone(), stated })
        })
        .collect();
    let groups = pairs::groups(&candidates);
    let Some(group) = groups.iter().find(|group| group.by != By::Number) else { return Vec::new() };
    group
        .members
        .iter()
        .filter_map(|(_, source)| pages.iter().find(|page| page.source == *source))
        .map(|page| run.evidence(page.source, page.record, format!("a whole page of {}", component.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use super::{KUBE_PROXY, Window, counted, covers};
    use crate::events::Phase;

    #[test]
    fn readings_cover_a_window_or_do_not() {
        let window = Window { start: 10 * SECOND, end: 20 * SECOND, slack: 0 };
        let every = |from: i64, to: i64| (from..=to).map(|at| at * SECOND).collect::<Vec<_>>();
        assert!(covers(&every(0, 30), &window, None));
        assert!(covers(&every(11, 19), &window, None), "a scrape's distance from the edges");
        assert!(!covers(&every(0, 15), &window, None), "the end is not seen");
        assert!(!covers(&every(15, 30), &window, None), "the process may have started in between");
        assert!(covers(&[25 * SECOND], &window, Some(5 * SECOND)), "counters live as long as their process");
        assert!(!covers(&[25 * SECOND], &window, Some(12 * SECOND)));
        assert!(!covers(&[0, 15 * SECOND], &window, Some(0)));
        assert!(!covers(&[], &window, Some(0)));
    }

    #[test]
    fn a_page_that_was_filtered_proves_no_absence() {
        let seconds: Vec<(i64, f64)> = (0..30).map(|at| (at, 1.0)).collect();
        let proof = |names: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
                for (id, name) in (0i64..).zip(names) {
                    fixture::series(tables, id, "scrape", name, "{}", &seconds);
                }
            });
            run.windows.clock = "node-a".to_owned();
            run.windows.action = Some(Window { start: 10 * SECOND, end: 20 * SECOND, slack: 0 });
            run.clocks = crate::clock::Graph::build(vec!["node-a".to_owned()], &[]);
            counted(&run, &KUBE_PROXY, Phase::Action)
        };
        let own = "kubeproxy_sync_proxy_rules_duration_seconds_count";
        assert_eq!(proof(&[own, "go_goroutines", "process_start_time_seconds"]).map(|found| found.len()), Ok(2));
        let refused = proof(&[own, "kubeproxy_network_programming_duration_seconds_count"]).unwrap_err();
        assert!(refused.what.contains("prove nothing") && refused.remedy.contains("curl"), "{refused:?}");
        assert!(proof(&["go_goroutines", "process_start_time_seconds"]).is_err(), "a page of something else");
    }
}
