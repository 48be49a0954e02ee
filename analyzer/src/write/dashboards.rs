//! Dashboards as Grafana's JSON, in the schema that Grafana 10 to 13 take (version 38; a later one migrates it on loading), and as a
//! ConfigMap that its sidecar finds.
//!
//! Fields: <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::rules::yaml;
use crate::view::dashboards::{Dashboard, Panel, Section};

/// Version of the dashboard's schema: that of Grafana 10.0.
const SCHEMA: u32 = 38;
/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;
/// Height of a panel in its rows.
const HEIGHT: u32 = 9;
/// What the variables look their values up in: one gauge or counter of each exporter that the panels ask.
const PRESENT: &str = "{__name__=~\"cilium_forward_count_total|kubeproxy_sync_proxy_rules_last_timestamp_seconds|container_memory_working_set_bytes|node_load1\"}";

/// The file of a dashboard: its name and its text.
pub fn file(dashboard: &Dashboard) -> (String, String) {
    (format!("{}.json", dashboard.uid), format!("{:#}\n", document(dashboard)))
}

/// A ConfigMap of all files, with the label that the sidecar of Grafana's charts looks for.
///
/// # Errors
/// Text that YAML cannot hold.
pub fn config_map(files: &[(String, String)]) -> anyhow::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Map<'f> {
        api_version: &'static str,
        kind: &'static str,
        metadata: Metadata,
        data: BTreeMap<&'f str, &'f str>,
    }
    #[derive(Serialize)]
    struct Metadata {
        name: &'static str,
        labels: BTreeMap<&'static str, &'static str>,
    }
    let map = Map {
        api_version: "v1",
        kind: "ConfigMap",
        metadata: Metadata { name: "syncline-dashboards", labels: BTreeMap::from([("grafana_dashboard", "1")]) },
        data: files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
    };
    yaml(&map)
}

fn document(dashboard: &Dashboard) -> Value {
    json!({
        "id": null,
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["syncline", "cilium", "kube-proxy"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "timezone": "browser",
        "refresh": "",
        "time": { "from": "now-30m", "to": "now" },
        "timepicker": {},
        "links": [{
            "title": "Syncline", "type": "dashboards", "tags": ["syncline"], "asDropdown": true, "includeVars": true, "keepTime": true,
            "icon": "external link", "targetBlank": false, "tooltip": "", "url": "",
        }],
        "annotations": { "list": annotations() },
        "templating": { "list": variables() },
        "panels": panels(dashboard),
    })
}

/// Marks of a test, posted to Grafana with the tag `syncline`, and those that kube-state-metrics shows by itself.
fn annotations() -> Value {
    json!([
        {
            "builtIn": 1, "datasource": { "type": "grafana", "uid": "-- Grafana --" }, "enable": true, "hide": true,
            "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
        },
        {
            "datasource": { "type": "grafana", "uid": "-- Grafana --" }, "enable": true, "hide": false, "iconColor": "purple",
            "name": "Markers", "target": { "type": "tags", "tags": ["syncline"], "matchAny": false, "limit": 100 },
        },
        {
            "datasource": source(), "enable": true, "hide": false, "iconColor": "orange", "name": "Rollouts",
            "expr": "changes(kube_deployment_status_observed_generation{cluster=~\"$cluster\",namespace=~\"$namespace\",run=~\"$run\"}[$__rate_interval]) > 0",
            "step": "15s", "titleFormat": "{{namespace}}/{{deployment}} changed", "textFormat": "scaled, restarted or edited",
            "tagKeys": "namespace,deployment",
        },
    ])
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn variables() -> Value {
    let mut all = vec![json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
        "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "", "skipUrlSync": false,
        "description": "A Prometheus, or a program that answers as one.",
    })];
    let described = [
        ("cluster", "Cluster", PRESENT, "Label cluster, where several clusters write into one database."),
        (
            "namespace",
            "Namespace",
            "kube_pod_info",
            "Namespace of the workload; the proxies have their own and are always shown.",
        ),
        (
            "node",
            "Node",
            PRESENT,
            "Label node. Cilium's ServiceMonitor sets it; for kube-proxy and node_exporter relabel __meta_kubernetes_pod_node_name to node. All shows series without it too.",
        ),
        (
            "run",
            "Run",
            PRESENT,
            "Label run of captured runs that are served together. All shows series without it too.",
        ),
    ];
    for (name, label, series, what) in described {
        let query = format!("label_values({series}, {name})");
        all.push(json!({
            "name": name, "label": label, "type": "query", "datasource": source(), "definition": query,
            "query": { "query": query, "refId": "StandardVariableQuery" },
            "includeAll": true, "allValue": ".*", "multi": true, "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            "hide": 0, "options": [], "refresh": 2, "regex": "", "skipUrlSync": false, "sort": 1, "description": what,
        }));
    }
    Value::Array(all)
}

/// A text with what the dashboard shows, then its sections, two panels beside each other.
fn panels(dashboard: &Dashboard) -> Vec<Value> {
    let mut next = Next { id: 1, y: 0 };
    let mut all = vec![text(&mut next, "", &dashboard.about, COLUMNS, 4, 0)];
    next.y += 4;
    for section in &dashboard.sections {
        let heading = next.take();
        let place = json!({ "h": 1, "w": COLUMNS, "x": 0, "y": next.y });
        next.y += 1;
        let inner = of_section(section, &mut next);
        // What is closed holds its panels; what is open stands before them.
        let (within, behind) = if section.closed { (inner, Vec::new()) } else { (Vec::new(), inner) };
        all.push(json!({
            "id": heading, "type": "row", "title": section.title, "collapsed": section.closed, "gridPos": place, "panels": within,
        }));
        all.extend(behind);
    }
    all
}

/// The next identifier, and the first free line of the grid.
struct Next {
    id: u32,
    y: u32,
}

impl Next {
    fn take(&mut self) -> u32 {
        self.id += 1;
        self.id - 1
    }
}

fn of_section(section: &Section, next: &mut Next) -> Vec<Value> {
    let half = COLUMNS / 2;
    let mut all = Vec::new();
    for pair in section.panels.chunks(2) {
        for (at, panel) in pair.iter().enumerate() {
            let x = if at == 0 { 0 } else { half };
            all.push(match panel.targets.as_slice() {
                [] => text(next, &panel.title, &panel.text, half, HEIGHT, x),
                _ => series(next, panel, half, x),
            });
        }
        next.y += HEIGHT;
    }
    all
}

fn text(next: &mut Next, title: &str, content: &str, width: u32, height: u32, x: u32) -> Value {
    json!({
        "id": next.take(), "type": "text", "title": title, "transparent": title.is_empty(),
        "gridPos": { "h": height, "w": width, "x": x, "y": next.y },
        "options": { "mode": "markdown", "content": content, "code": { "language": "plaintext", "showLineNumbers": false, "showMiniMap": false } },
    })
}

fn series(next: &mut Next, panel: &Panel, width: u32, x: u32) -> Value {
    let targets: Vec<Value> = panel
        .targets
        .iter()
        .enumerate()
        .map(|(at, one)| {
            json!({
                "refId": reference(at), "datasource": source(), "expr": one.expr, "editorMode": "code", "range": true, "instant": false,
                "legendFormat": if one.legend.is_empty() { "__auto" } else { &one.legend },
            })
        })
        .collect();
    let mut steps = vec![json!({ "color": "transparent", "value": null })];
    steps.extend(
        panel
            .lines
            .iter()
            .map(|(value, upper)| json!({ "color": if *upper { "red" } else { "green" }, "value": value })),
    );
    let style = if panel.lines.is_empty() { "off" } else { "dashed" };
    json!({
        "id": next.take(), "type": "timeseries", "title": panel.title, "description": panel.text, "datasource": source(),
        "gridPos": { "h": HEIGHT, "w": width, "x": x, "y": next.y },
        "targets": targets,
        "fieldConfig": {
            "defaults": {
                "unit": unit(&panel.unit),
                "color": { "mode": "palette-classic" },
                "thresholds": { "mode": "absolute", "steps": steps },
                "custom": {
                    "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 0, "showPoints": "auto",
                    "pointSize": 4, "spanNulls": false, "axisSoftMin": 0, "thresholdsStyle": { "mode": style },
                },
            },
            "overrides": [],
        },
        "options": {
            "legend": { "displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": ["lastNotNull", "max"] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
    })
}

/// `A`, `B`, …, as Grafana names queries.
fn reference(at: usize) -> String {
    let letter = char::from(b'A' + (at % 26) as u8);
    if at < 26 { letter.to_string() } else { format!("{letter}{}", at / 26) }
}

/// Grafana's name of a row's unit.
fn unit(unit: &str) -> &'static str {
    match unit {
        "s" => "s",
        "ratio" => "percentunit",
        "bytes" => "decbytes",
        "cores" => "suffix:cores",
        "1/s" => "cps",
        "points" => "percent",
        _ => "short",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Catalogue;
    use crate::view::dashboards::build;

    #[test]
    fn identifiers_are_unique_and_no_panel_covers_another() {
        for one in build(&Catalogue::built_in().expect("built-in")) {
            let document = document(&one);
            let top = document["panels"].as_array().expect("panels");
            let all: Vec<&Value> =
                top.iter().chain(top.iter().flat_map(|row| row["panels"].as_array().into_iter().flatten())).collect();
            let mut ids: Vec<u64> = all.iter().map(|panel| panel["id"].as_u64().expect("id")).collect();
            ids.sort_unstable();
            assert!(ids.windows(2).all(|two| two[0] < two[1]) && ids.len() > 8, "{}", one.uid);
            let edge = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().expect("place");
            for (at, a) in all.iter().enumerate() {
                assert!(edge(a, "x") + edge(a, "w") <= u64::from(COLUMNS));
                for b in &all[at + 1..] {
                    let apart = |start: &str, length: &str| {
                        edge(a, start) + edge(a, length) <= edge(b, start)
                            || edge(b, start) + edge(b, length) <= edge(a, start)
                    };
                    assert!(apart("x", "w") || apart("y", "h"), "{}: {} and {}", one.uid, a["id"], b["id"]);
                }
            }
        }
    }

    #[test]
    fn a_config_map_holds_the_files_byte_for_byte() {
        let files = vec![("a.json".to_owned(), "{\n  \"x\": \"$y: {{z}} #\\\" é\"\n}\n".to_owned())];
        let text = config_map(&files).expect("YAML");
        let back: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(back["data"]["a.json"], files[0].1);
        assert_eq!(back["metadata"]["labels"]["grafana_dashboard"], "1");
    }
}
