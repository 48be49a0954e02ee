//! `syncline alerts`: against `promtool test rules` over series of real captures, and from the command line.

mod promtool;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use promtool::promtool;
use serde_json::Value as Json;
use syncline::bundle::witnesses;
use syncline::query::rules::read::{Rules, read};
use syncline::query::rules::replay::{Replay, Settings, replay};
use syncline::result::given;
use syncline_promql::{Options, Series, format_float, is_stale};

fn sample(run: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(run)
}

fn syncline(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline")).args(arguments).output().expect("syncline starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    output
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Series of a real run as `promtool test rules` can hold them: the last value of each second, stretched so that a second becomes `step` ms,
/// each half a step behind a multiple of it. So no sample lies on the edge of a window, on which version 2.42 and later ones differ.
fn series(run: &str, names: &[&str], step: i64) -> Vec<Series> {
    let given = given::bundles(&[sample(run)], None, 2 << 30).expect("the run");
    let wanted = names.iter().map(|name| (*name).to_owned()).collect();
    let found = witnesses::series(&given.distinct.runs[0], Some(&wanted), None).expect("series");
    assert!(found.len() >= names.len(), "{run}: {} series", found.len());
    let first = found.iter().filter_map(|one| one.times.first()).min().copied().expect("a sample");
    let of = |one: Series| {
        let mut values: BTreeMap<i64, f64> = BTreeMap::new();
        for (time, value) in one.times.iter().zip(one.values.iter()).filter(|(_, value)| !is_stale(**value)) {
            values.insert((time - first).div_euclid(1_000) * step + step / 2, *value);
        }
        let (times, values): (Vec<i64>, Vec<f64>) = values.into_iter().unzip();
        Series { labels: one.labels, times: times.into(), values: values.into(), ..Series::default() }
    };
    found.into_iter().map(of).collect()
}

fn rules(path: &Path) -> Rules {
    let mut rules = Rules::default();
    read(path, &mut rules).expect("rules");
    assert!(rules.refused.is_empty() && rules.remarks.is_empty(), "{rules:?}");
    rules
}

/// Replays `text` over the series, asks `promtool` whether it sees the same alerts fire at each evaluation, and answers what was replayed.
/// With a `fault` one firing alert is claimed that there is none of.
fn agrees(text: &str, series: &[Series], step: i64, fault: bool) -> (Replay, bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.yaml");
    fs::write(&path, text).expect("written");
    let last = series.iter().filter_map(|one| one.times.last()).max().copied().expect("a sample");
    let settings = Settings { interval: step, options: Options::default() };
    let replayed = replay(&rules(&path), series.to_vec(), Some((0, last)), &settings);
    // Without an order `promtool` takes groups as a map of Go gives them: now and then the second ahead of the first.
    let order: Vec<&str> = replayed.groups.iter().map(|group| group.name.as_str()).collect();
    let mut test = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: {step}ms\ngroup_eval_order: {order:?}\ntests:\n- interval: {}ms\n  input_series:\n",
        step / 2
    );
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    for one in series {
        let name = format!("{}{}", one.labels.metric_name(), one.labels.without_name());
        let known: BTreeMap<i64, f64> = one.times.iter().copied().zip(one.values.iter().copied()).collect();
        let values: Vec<String> = (0..=last / (step / 2))
            .map(|at| known.get(&(at * step / 2)).map_or("_".to_owned(), |value| format_float(*value)))
            .collect();
        let _ = write!(test, "  - series: {}\n    values: {}\n", quoted(&name), quoted(&values.join(" ")));
    }
    test.push_str("  alert_rule_test:\n");
    let mut claimed = !fault;
    for rule in replayed.groups.iter().flat_map(|group| &group.rules) {
        for time in (0..=last / step).map(|at| at * step) {
            let _ = write!(test, "  - eval_time: {time}ms\n    alertname: {}\n", rule.name);
            // `promtool` takes all alerts of a name together.
            let all = replayed.groups.iter().flat_map(|group| &group.rules).filter(|one| one.name == rule.name);
            let firing = |one: &&syncline::query::rules::alerts::Stretch| {
                one.firing.is_some_and(|from| from <= time) && one.resolved.is_none_or(|until| time < until)
            };
            let firing: Vec<_> = all.flat_map(|one| &one.stretches).filter(firing).collect();
            if firing.is_empty() && claimed {
                continue;
            }
            test.push_str("    exp_alerts:\n");
            for one in firing {
                let labels = one.labels.pairs().iter().filter(|(name, _)| &**name != "alertname");
                let labels: BTreeMap<&str, &str> = labels.map(|(name, value)| (&**name, &**value)).collect();
                let annotations = serde_json::to_string(&one.annotations).expect("JSON");
                let _ = write!(
                    test,
                    "    - exp_labels: {}\n      exp_annotations: {annotations}\n",
                    serde_json::to_string(&labels).expect("JSON")
                );
            }
            if !claimed {
                claimed = true;
                test.push_str("    - exp_labels: {planted: fault}\n");
            }
        }
    }
    fs::write(folder.path().join("test.yaml"), &test).expect("written");
    let output = Command::new("promtool").args(["test", "rules", "test.yaml"]).current_dir(folder.path()).output();
    let output = output.expect("promtool starts");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).chars().take(4_000).collect();
    (replayed, output.status.success(), told)
}

fn fired(replayed: &Replay) -> Vec<&str> {
    let rules = replayed.groups.iter().flat_map(|group| &group.rules);
    rules.filter(|rule| rule.stretches.iter().any(|one| one.firing.is_some())).map(|rule| rule.name.as_str()).collect()
}

const RULES: &str = r#"groups:
- name: syncs
  rules:
  - record: sync:rate
    expr: sum(rate(kubeproxy_sync_proxy_rules_duration_seconds_count[10s]))
  - alert: Syncing
    expr: sync:rate > 0.3
    for: 5s
    labels: {severity: page, instance: '{{ $labels.instance }}'}
    annotations: {text: often}
  - alert: SyncingKept
    expr: sync:rate > 0.3
    for: 2s
    keep_firing_for: 7s
  - alert: SlowSyncs
    expr: histogram_quantile(0.95, rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket[20s])) > 0.01
    for: 3s
  - alert: Mean
    expr: rate(kubeproxy_sync_proxy_rules_duration_seconds_sum[20s]) / rate(kubeproxy_sync_proxy_rules_duration_seconds_count[20s]) > 0
    labels: {mean: '{{ $value | printf "%.2f" }}'}
- name: behind
  rules:
  - alert: Both
    expr: count(ALERTS{alertstate="firing",alertname=~"Syncing.*"}) > 1
  - alert: OldPending
    expr: time() - ALERTS_FOR_STATE{alertname="Syncing"} > 7
  - record: busy
    expr: sync:rate > 0.5
  - alert: NotBusy
    expr: absent(busy)
    for: 4s
  - alert: WasBusy
    expr: count_over_time(busy[4500ms]) > 1 unless busy
  - record: steps
    expr: (steps or vector(0)) + 1
  - alert: EveryTenth
    expr: steps % 10 == 0
"#;

const SYNCS: [&str; 3] = [
    "kubeproxy_sync_proxy_rules_duration_seconds_count",
    "kubeproxy_sync_proxy_rules_duration_seconds_sum",
    "kubeproxy_sync_proxy_rules_duration_seconds_bucket",
];

#[test]
fn real_series_alert_as_in_prometheus() {
    if !promtool() {
        return;
    }
    let series = series("iptables-scale-up-1", &SYNCS, 1_000);
    let (replayed, same, told) = agrees(RULES, &series, 1_000, false);
    assert!(same, "{told}");
    let fired = fired(&replayed);
    for name in ["Syncing", "SyncingKept", "Mean", "Both", "NotBusy", "EveryTenth"] {
        assert!(fired.contains(&name), "{name} did not fire: {fired:?}");
    }
    let (_, same, _) = agrees(RULES, &series, 1_000, true);
    assert!(!same, "promtool takes an alert that there is none of");
}

/// The catalogue's own rules over real series, a second of them stretched to 15 s so that their `for` can pass.
#[test]
fn the_rules_of_the_catalogue_alert_as_in_prometheus() {
    if !promtool() {
        return;
    }
    let text = printed(&syncline(&["rules"]));
    let mut file: Json = serde_saphyr::from_str(&text).expect("YAML");
    for rule in file["groups"]
        .as_array_mut()
        .expect("groups")
        .iter_mut()
        .flat_map(|group| group["rules"].as_array_mut().expect("rules"))
    {
        // What an annotation says follows the value of each evaluation.
        rule.as_object_mut().expect("a rule").remove("annotations");
        // A run of a minute and a half is no stress: a fiftieth of each limit is.
        let limit = rule["expr"].as_str().and_then(|expr| {
            let (value, limit) = expr.rsplit_once(" > ")?;
            Some(format!("{value} > {}", limit.parse::<f64>().ok()? / 50.0))
        });
        if let Some(limit) = limit {
            rule["expr"] = limit.into();
        }
    }
    let text = file.to_string();
    let cilium = [
        "cilium_endpoint_regeneration_time_stats_seconds_sum",
        "cilium_endpoint_regeneration_time_stats_seconds_count",
        "cilium_endpoint_regeneration_time_stats_seconds_bucket",
        "cilium_reconciler_duration_seconds_sum",
        "cilium_reconciler_duration_seconds_count",
        "cilium_bpf_map_ops_total",
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
    ];
    let kube_proxy = [
        &SYNCS[..],
        &[
            "kubeproxy_network_programming_duration_seconds_bucket",
            "kubeproxy_sync_proxy_rules_iptables_total",
            "container_cpu_usage_seconds_total",
            "container_memory_working_set_bytes",
        ],
    ]
    .concat();
    let mut all = Vec::new();
    for (run, names) in [("cilium-scale-up-1", &cilium[..]), ("iptables-scale-up-1", &kube_proxy)] {
        let (replayed, same, told) = agrees(&text, &series(run, names, 15_000), 15_000, false);
        assert!(same, "{run}: {told}");
        all.extend(fired(&replayed).into_iter().map(str::to_owned));
    }
    assert!(all.len() >= 6, "what fired: {all:?}");
}

/// Annotations with the value of the moment: one alert, so that its first firing is the only evaluation.
#[test]
fn texts_read_as_in_prometheus() {
    if !promtool() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let values = [
        "0.00123",
        "0.5",
        "1",
        "12.345",
        "999.9",
        "1234567.891",
        "86461.5",
        "-3700",
        "1e15",
        "0",
        "1048576",
        "NaN",
        "+Inf",
    ];
    let annotations = r#"{v: "{{ $value }}", l: "{{ $labels.i }}/{{ .Labels.none }}", h: "{{ $value | humanize }}", k: "{{ humanize1024 $value }}", d: "{{ $value | humanizeDuration }}", p: "{{ $value | humanizePercentage }}", f: "{{ printf \"%.2f|%8.3f|%-8.1f|%g|%e\" $value $value $value $value $value }}", t: "a {{- /* b */ -}}  c {{ $labels.i | toUpper }}", i: "{{ index $labels \"i\" }}"}"#;
    let rules_text = format!(
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: x == x or x != x\n    annotations: {annotations}\n"
    );
    let path = folder.path().join("rules.yaml");
    fs::write(&path, rules_text).expect("written");
    let mut test = "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n".to_owned();
    for value in values {
        let number = value.parse().expect("a number");
        let labels = syncline_promql::Labels::new([("__name__", "x"), ("i", "n1")]);
        let one = Series { labels, times: vec![0].into(), values: vec![number].into(), ..Series::default() };
        let settings = Settings { interval: 60_000, options: Options::default() };
        let replayed = replay(&rules(&path), vec![one], Some((0, 0)), &settings);
        let expected = serde_json::to_string(&replayed.groups[0].rules[0].stretches[0].annotations).expect("JSON");
        let _ = write!(
            test,
            "- interval: 1m\n  input_series:\n  - series: 'x{{i=\"n1\"}}'\n    values: '{}'\n  alert_rule_test:\n  - eval_time: 0s\n    alertname: A\n    exp_alerts:\n    - exp_labels: {{i: n1}}\n      exp_annotations: {expected}\n",
            format_float(number)
        );
    }
    fs::write(folder.path().join("test.yaml"), test).expect("written");
    let output = Command::new("promtool").args(["test", "rules", "test.yaml"]).current_dir(folder.path()).output();
    let output = output.expect("promtool starts");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{told}");
}

/// Rules over a real run: one that fires, one that does not, one without data, one that could not have fired, a wrong one.
fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("rules.yaml");
    fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

const MIXED: &str = r#"groups:
- name: g
  interval: 1s
  rules:
  - alert: Fires
    expr: rate(kubeproxy_sync_proxy_rules_duration_seconds_count[10s]) > 0.3
    for: 2s
    annotations: {text: '{{ $value | humanize }} syncs a second {{ range query "up" }}'}
  - alert: Quiet
    expr: kubeproxy_sync_proxy_rules_endpoint_changes_pending > 1e6
  - alert: Missing
    expr: kubeproxy_sync_proxy_rules_nftables_sync_failures_total > 0
  - alert: Long
    expr: process_resident_memory_bytes > 1
    for: 1h
"#;

#[test]
fn a_run_is_replayed_and_what_cannot_be_judged_is_no_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run.bundle");
    let options = syncline_collector::bundle::BundleOptions {
        inputs: vec![sample("iptables-scale-up-1")],
        out: run.clone(),
        ..Default::default()
    };
    syncline_collector::bundle::bundle(&options).expect("bundled");
    let run = run.to_string_lossy();
    let mixed = written(folder.path(), MIXED);
    let asked = |more: &[&str]| syncline(&[&["alerts", &run, "--rules", &mixed], more].concat());

    let output = asked(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = printed(&output);
    for words in [
        "firing        Fires",
        "no data       Missing",
        "undecided     Long",
        "not firing    Quiet",
        "no series of kubeproxy_sync",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(table.lines().any(|line| squeezed(line).contains(&squeezed(words))), "{words}:\n{table}");
    }
    assert!(said(&output).contains("{{ range query \"up\" }} is beyond what is evaluated here"), "{}", said(&output));
    assert_eq!(asked(&["--fail-on", "firing"]).status.code(), Some(1));

    let json: Json = serde_json::from_str(&printed(&asked(&["--format", "json"]))).expect("JSON");
    let rules = json["runs"][0]["groups"][0]["rules"].as_array().expect("rules");
    let statuses: Vec<&str> = rules.iter().filter_map(|rule| rule["status"].as_str()).collect();
    assert_eq!(statuses, ["firing", "not_firing", "no_data", "undecided"]);
    let stretch = &rules[0]["stretches"][0];
    assert!(stretch["annotations"]["text"].as_str().is_some_and(|text| text.contains("m syncs a second {{ range") || text.contains(" syncs a second {{ range")), "{stretch}");
    let times = ["pending", "firing", "resolved"].map(|key| stretch[key].as_str().unwrap_or("9").to_owned());
    assert!(times.is_sorted() && times[0] < times[1], "{times:?}");

    let junit = printed(&asked(&["--format", "junit"]));
    assert!(junit.contains("tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"2\""), "{junit}");

    // A wrong rule and an unknown key are named; the others are replayed.
    let faulty = MIXED.replace("> 1e6", "> ").replace("    for: 1h", "    fro: 1h");
    let faulty = written(folder.path(), &faulty);
    let output = syncline(&["alerts", &run, "--rules", &faulty, "--fail-on", "firing"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(printed(&output).contains("rule 2 (alert Quiet): expr: 1:"), "{output:?}");
    assert!(said(&output).contains("rule 4 (alert Long): unknown key `fro`"), "{}", said(&output));
    assert_eq!(syncline(&["alerts", &run, "--rules", &faulty]).status.code(), Some(2));

    // Where nothing can be judged, nothing passes.
    let nothing = written(folder.path(), "groups: [{name: g, rules: [{alert: A, expr: none > 1}]}]");
    assert_eq!(syncline(&["alerts", &run, "--rules", &nothing]).status.code(), Some(2));
    for (rules, interval, words) in
        [("no-such-file", "1m", "no-such-file"), (nothing.as_str(), "0s", "longer than nothing")]
    {
        let output = syncline(&["alerts", &run, "--rules", rules, "--interval", interval]);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}
