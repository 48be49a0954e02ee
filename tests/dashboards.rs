//! The catalogue as rules for Prometheus and dashboards for Grafana: committed samples, `promtool`, and every query over real runs.

mod promtool;
mod served;
mod url;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use promtool::promtool;
use serde_json::Value as Json;
use served::Server;
use syncline::verdict::Catalogue;
use syncline::view::dashboards::{Panel, build};
use syncline_promql::parse;
use url::escaped;

/// Runs that between them have every dataplane, and the actions.
const RUNS: [&str; 5] = [
    "cilium-scale-up-1",
    "cilium-rolling-restart-1",
    "iptables-scale-up-1",
    "nftables-rolling-restart-1",
    "kube-proxy-recorded-scale-up",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn syncline(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline")).args(arguments).output().expect("syncline starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    output
}

fn printed(arguments: &[&str]) -> String {
    let output = syncline(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Holds a text against a committed sample; `BLESS=1` writes it anew.
fn same(place: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        fs::write(place, text).expect("written");
    }
    let committed = fs::read_to_string(place).unwrap_or_default();
    assert!(committed == text, "{}: BLESS=1 writes it anew", place.display());
}

#[test]
fn the_samples_are_what_the_program_writes() {
    let samples = root().join("templates");
    same(&samples.join("rules/syncline.rules.yaml"), &printed(&["rules"]));
    same(&samples.join("rules/prometheusrule.yaml"), &printed(&["rules", "--format", "prometheusrule"]));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("grafana");
    let told = printed(&["dashboards", "--out", &out.to_string_lossy()]);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&out).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(told.contains(&*path.to_string_lossy()), "{told}");
        // The ConfigMap repeats the others.
        if name != "configmap.yaml" {
            same(&samples.join("grafana").join(&name), &fs::read_to_string(&path).expect("read"));
        }
        names.insert(name);
    }
    assert_eq!(names.len(), 5, "{names:?}");
    for entry in fs::read_dir(samples.join("grafana")).expect("the folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name), "{name} is a sample that the program does not write");
    }
    let map: Json =
        serde_saphyr::from_str(&fs::read_to_string(out.join("configmap.yaml")).expect("read")).expect("YAML");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    for name in names.iter().filter(|name| name.ends_with(".json")) {
        assert_eq!(map["data"][name].as_str(), fs::read_to_string(out.join(name)).ok().as_deref(), "{name}");
    }
}

#[test]
fn dashboards_replace_nothing_but_dashboards() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("d");
    let arguments = ["dashboards", "--out", &out.to_string_lossy(), "--force"];
    assert!(syncline(&arguments[..3]).status.success());
    let refused = syncline(&arguments[..3]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("--force to replace the set of dashboards"),
        "{refused:?}"
    );
    assert!(syncline(&arguments).status.success());
    fs::write(out.join("thesis.tex"), "x").expect("written");
    let refused = syncline(&arguments);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holds thesis.tex"), "{refused:?}");
}

#[test]
fn a_row_of_a_file_changes_its_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = printed(&["expectations", "--format", "toml"]);
    let mut document: toml::Table = catalogue.parse().expect("TOML");
    document.remove("dashboard");
    let rows = document["row"].as_array_mut().expect("rows");
    rows.retain(|row| row["id"].as_str() == Some("T5.1"));
    rows[0]["cilium"]["high"] = toml::Value::Float(0.75);
    let path = folder.path().join("mine.toml");
    fs::write(&path, toml::to_string(&document).expect("TOML")).expect("written");
    let rules = printed(&["rules", "--expectations", &path.to_string_lossy()]);
    assert!(rules.contains("container=\"cilium-agent\"}[5m])) > 0.75"), "{rules}");
    assert!(!printed(&["rules"]).contains("> 0.75"));
}

#[test]
fn promtool_takes_the_rules() {
    if !promtool() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let check = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
        let output = Command::new("promtool").args(["check", "rules", name]).current_dir(folder.path()).output();
        let output = output.expect("promtool starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let plain = printed(&["rules"]);
    let (fine, said) = check("plain.yaml", &plain);
    assert!(fine && said.contains("rules found") && !said.contains("duplicate"), "{said}");
    let object: Json = serde_saphyr::from_str(&printed(&["rules", "--format", "prometheusrule"])).expect("YAML");
    assert_eq!(
        (object["apiVersion"].as_str(), object["kind"].as_str()),
        (Some("monitoring.coreos.com/v1"), Some("PrometheusRule"))
    );
    let file: Json = serde_saphyr::from_str(&plain).expect("YAML");
    assert_eq!(object["spec"], file);
    assert!(check("object.yaml", &object["spec"].to_string()).0);
    let (fine, said) = check("fault.yaml", &plain.replacen("histogram_quantile(", "histogram_quantil(", 1));
    assert!(!fine, "a planted fault: {said}");
}

/// A query as Grafana would ask it with all variables at All.
fn filled(query: &str) -> String {
    let mut text = query.replace("$__rate_interval", "1m");
    for name in ["cluster", "namespace", "node", "run"] {
        text = text.replace(&format!("${name}"), ".*");
    }
    text
}

/// Every query is PromQL; `serve` over the sample runs has values for it, asked as Grafana asks for the last 30 minutes, or its panel says where
/// its metrics are to be found.
#[test]
fn every_query_has_values_or_says_where_its_metric_is() {
    let dashboards = build(&Catalogue::built_in().expect("built-in"));
    let panels: Vec<&Panel> = dashboards.iter().flat_map(|one| &one.sections).flat_map(|one| &one.panels).collect();
    let queries: BTreeSet<String> =
        panels.iter().flat_map(|panel| &panel.targets).map(|one| filled(&one.expr)).collect();
    assert!(queries.len() > 60, "{} queries", queries.len());
    let runs: Vec<String> =
        RUNS.iter().map(|name| root().join("sample-data").join(name).to_string_lossy().into_owned()).collect();
    let mut arguments: Vec<&str> = runs.iter().map(String::as_str).collect();
    arguments.extend(["--shift", "now"]);
    let server = Server::start(&arguments);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let has_values = |query: &String| {
        assert!(!query.contains('$'), "{query}");
        let times = format!("start={}&end={now}&step=15", now - 1_800);
        let matrix = server.data(&format!("/api/v1/query_range?query={}&{times}", escaped(query)));
        assert_eq!(matrix["resultType"], "matrix", "{query}");
        let series = matrix["result"].as_array().expect("series");
        let mut values = series.iter().flat_map(|one| one["values"].as_array().into_iter().flatten());
        values.any(|point| point[1].as_str().is_some_and(|text| !["NaN", "+Inf", "-Inf"].contains(&text)))
    };
    let (with, without): (BTreeSet<String>, BTreeSet<String>) = queries.into_iter().partition(has_values);
    assert!(with.len() > 40, "{} queries have values, these have none: {without:#?}", with.len());
    for panel in panels {
        for query in panel.targets.iter().map(|one| filled(&one.expr)).filter(|query| without.contains(query)) {
            let names = parse(&query).expect("PromQL").metric_names().unwrap_or_else(|| panic!("{query}: any metric"));
            for name in names {
                let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
                let said = panel.text.contains(&format!("`{stem}`: "));
                assert!(
                    said,
                    "{}: {name} has no value, and the text does not say where it is to be found:\n{}",
                    panel.title, panel.text
                );
            }
        }
    }
    let captured = server.data("/api/v1/label/__name__/values");
    let captured = captured.as_array().expect("names");
    assert!(captured.iter().any(|name| name == "kubeproxy_sync_proxy_rules_duration_seconds_bucket"), "{captured:?}");
}
