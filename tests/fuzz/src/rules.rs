//! Files of recording and alerting rules, read, replayed over a small store and shown: YAML, durations, PromQL, templates of annotations.

use std::fs;

use syncline::query::rules::read::{self, Rules};
use syncline::query::rules::replay::{Settings, replay};
use syncline::write::alerts::{RunAlerts, table};
use syncline::write::grid::Screen;
use syncline_promql::Options;

use crate::expressions::{self, FIRST, STEP};
use crate::places;

/// A replay has this many evaluations at most: what a short interval asks for is the same many times over.
const EVALUATIONS: i64 = 60;

/// Takes an input.
///
/// # Panics
/// Where an alert fires ahead of its condition, or ends ahead of its beginning.
pub fn run(data: &[u8]) {
    let folder = places::folder();
    let path = folder.path().join("rules.yml");
    fs::write(&path, data).expect("a temporary file");
    let mut rules = Rules::default();
    if read::read(&path, &mut rules).is_err() {
        return;
    }
    for group in &mut rules.groups {
        group.interval = group.interval.map(|interval| interval.max(STEP));
    }
    let options = Options { max_samples: 100_000, memory: 16 << 20, ..Options::default() };
    let span = Some((FIRST, FIRST + EVALUATIONS * STEP));
    let replay = replay(&rules, expressions::series(), span, &Settings { interval: STEP, options });
    for one in replay.groups.iter().flat_map(|group| &group.rules).flat_map(|rule| &rule.stretches) {
        let ends = [one.firing, one.resolved];
        assert!(ends.iter().flatten().all(|time| *time >= one.pending), "{one:?}");
    }
    table(&[RunAlerts { run: "run".to_owned(), replay }], &rules, Screen::default());
}

/// Whole files, each of something else.
pub fn seeds() -> Vec<Vec<u8>> {
    let alert = |body: &str| format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: gauge > 1\n{body}");
    let annotation = |text: &str| alert(&format!("    annotations: {{summary: '{text}'}}\n"));
    let files = [
        alert("    for: 30s\n    keep_firing_for: 1m30s\n    labels: {severity: page}\n"),
        annotation("{{ $labels.job }} at {{ $value | humanize }} of {{ printf \"%.2f%%\" .Value }}"),
        annotation("{{ index $labels \"utf8 name\" }} {{- /* no */ -}} {{ $value | humanizeDuration | toUpper }}"),
        annotation("{{ $value | humanize1024 }}{{ $value | humanizePercentage }}{{ $value | humanizeTimestamp }}"),
        annotation("{{ with query \"up\" }}{{ . | first | value }}{{ end }} {{ $labels. }} {{"),
        "groups:\n- name: g\n  interval: 30s\n  limit: 1\n  query_offset: 1m\n  labels: {a: b}\n  rules:\n  - record: job:a:rate\n    expr: sum by (n) (rate(a_total[1m]))\n  - alert: B\n    expr: job:a:rate > 0.1\n    labels: {n: '{{ $labels.n }}'}\n".to_owned(),
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: x, namespace: y}\nspec:\n  groups:\n  - name: g\n    rules:\n    - {record: b, expr: 'count(gauge)'}\n---\nkind: List\nitems:\n- kind: PrometheusRule\n  spec: {groups: []}\n".to_owned(),
        "groups:\n- name: g\n  rules: &r\n  - {alert: n, expr: 'absent(nothing)', for: 0}\n  - {record: 'wrong name', expr: '1'}\n  - {alert: on, expr: 'rate('}\n- {name: g, rules: *r, intervall: 1}\n".to_owned(),
        "groups: [{name: g, interval: 1y1ms, rules: [{record: a_total, expr: 'a_total offset 1m'}, {record: c, expr: 'c or vector(1)'}]}]\n".to_owned(),
        "groups:\n- name: g\n  rules:\n  - alert: H\n    expr: |\n      histogram_quantile(0.9, h) > 1\n        unless on (n) gauge\n  - {record: d, expr: h}\n".to_owned(),
    ];
    files.map(String::into_bytes).into()
}
