//! The documented limits as rules for a living cluster: what the catalogue's `watch`es say, in the shape that Prometheus reads.
//!
//! A rule watches one agent or proxy at a time, and never judges: an alert is a reason to capture a run. A rule whose metric nobody
//! scrapes would be silent for ever, so that one more rule tells that neither dataplane is observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_promql::parse;

use super::catalogue::{Catalogue, Row, Side};
use crate::query::rules::{Rule, RuleFile, RuleGroup};

/// The alert rule that watches a row's limit for one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// `cilium` or `kube-proxy`.
    pub on: String,
    /// Name of the alert.
    pub alert: String,
    /// The row's documented query with its own condition, as written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub documented: bool,
    /// PromQL of the value that is held against the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The limit; absent: the side's `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Unit of the value; absent: the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How long the value must lie above the limit.
    #[serde(rename = "for")]
    pub hold: String,
    pub severity: Severity,
    /// Other rows with the same limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    /// What the value is, the words ahead of it.
    pub says: String,
    /// What it means and what to look at.
    pub runbook: String,
    /// What is recorded first, where asking for it each time were dear.
    #[serde(default, rename = "record", skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
}

/// A recording rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub name: String,
    pub query: String,
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    /// The label's value.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl Watch {
    /// What contradicts itself in it.
    pub(super) fn problem(&self, row: &Row) -> Option<String> {
        let of = |what: String| Some(format!("watch {}: {what}", self.alert));
        if self.side(row).is_none() {
            return of(format!("on is {:?}, expected cilium or kube-proxy", self.on));
        }
        match (&self.query, self.documented) {
            (Some(_), true) => return of("has a query, and stands for the documented one".into()),
            (None, false) => return of("has no query".into()),
            (None, true) if row.documented.query.is_empty() => return of("the row documents no query".into()),
            (Some(_), false) if self.limit(row).is_none_or(|limit| !limit.is_finite()) => {
                return of("no limit: neither `above`, nor `high` of its side".into());
            }
            _ => {}
        }
        let queries = self.query.iter().chain(self.records.iter().map(|one| &one.query));
        queries.map(|text| (text, parse(text))).find_map(|(text, parsed)| of(format!("{text}: {}", parsed.err()?)))
    }

    fn side<'r>(&self, row: &'r Row) -> Option<&'r Side> {
        match self.on.as_str() {
            "cilium" => Some(&row.cilium),
            "kube-proxy" => Some(&row.kube_proxy),
            _ => None,
        }
    }

    /// The limit, in the unit of the value.
    pub fn limit(&self, row: &Row) -> Option<f64> {
        self.above.or_else(|| self.side(row)?.high)
    }

    /// Unit of the value.
    pub fn unit<'r>(&'r self, row: &'r Row) -> &'r str {
        self.unit.as_deref().unwrap_or(&row.unit)
    }

    /// The value as one expression, what is recorded written out: for whoever has not loaded the rules. `records` are those of the
    /// whole catalogue, for a rule may ask what another one recorded.
    pub fn value(&self, records: &[&Record]) -> Option<String> {
        let mut query = self.query.clone()?;
        // A record may ask another one, of the same rule, which stands ahead of it.
        for _ in 0..records.len() {
            let Some(found) = records.iter().find(|one| query.contains(&one.name)) else { break };
            let whole = format!("({})", found.query);
            query =
                query.replace(&format!("{}[1h]", found.name), &format!("{whole}[1h:1m]")).replace(&found.name, &whole);
        }
        Some(query)
    }

    fn rule(&self, row: &Row) -> Rule {
        let documented = row.documented.query.first().filter(|_| self.documented);
        let expr = match (&self.query, documented) {
            (Some(query), _) => {
                let limit = self.limit(row).unwrap_or(f64::NAN);
                let simple = parse(query)
                    .is_ok_and(|expr| !matches!(expr.root.kind, syncline_promql::syntax::tree::NodeKind::Binary(_)));
                if simple { format!("{query} > {limit}") } else { format!("({query}) > {limit}") }
            }
            (None, Some(documented)) => documented.clone(),
            (None, None) => String::new(),
        };
        let ids: Vec<&str> = std::iter::once(row.id.as_str()).chain(self.covers.iter().map(String::as_str)).collect();
        let dataplane = if self.on == "cilium" { "cilium" } else { "kube-proxy" };
        let text = self.side(row).map_or("", |side| side.text.as_str());
        let name = if self.on == "cilium" { "Cilium" } else { "kube-proxy" };
        let value = shown(self.unit(row));
        let alert = row.claim.split_once(": ").filter(|_| row.scenario == "alert").map(|(_, condition)| condition);
        let limit = alert.unwrap_or(text);
        let what = alert.map_or_else(|| format!("{} above its documented value", row.claim), str::to_owned);
        let labels = [
            ("severity", self.severity.word().to_owned()),
            ("dataplane", dataplane.to_owned()),
            ("rows", ids.join(",")),
            ("form", if self.documented { "documented" } else { "sound" }.to_owned()),
        ];
        let annotations = [
            ("summary", format!("{name} on {{{{ $labels.instance }}}}: {what}")),
            (
                "description",
                format!(
                    "{} {value} on {{{{ $labels.node }}}} {{{{ $labels.instance }}}}; the document says {limit} ({}).",
                    self.says,
                    ids.join(", ")
                ),
            ),
            ("runbook", self.runbook.clone()),
        ];
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        Rule {
            record: None,
            alert: Some(self.alert.clone()),
            expr,
            hold: (self.hold != "0s").then(|| self.hold.clone()),
            labels: labels.map(owned).into(),
            annotations: annotations.map(owned).into(),
        }
    }
}

/// The value of an alert in a template, with its unit.
fn shown(unit: &str) -> &'static str {
    match unit {
        "s" => "{{ $value | humanizeDuration }}",
        "ratio" => "{{ $value | humanizePercentage }}",
        "bytes" => "{{ $value | humanize }}B",
        "cores" => "{{ $value | printf \"%.2f\" }} cores",
        _ => "{{ $value | humanize }}",
    }
}

/// All that any rule records, each once, in the order of the catalogue.
pub fn records(catalogue: &Catalogue) -> Vec<&Record> {
    let mut all: Vec<&Record> = Vec::new();
    for one in catalogue.rows.iter().flat_map(|row| &row.watches).flat_map(|watch| &watch.records) {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

/// The rules of a catalogue: the documented alerts as written, then for each side what it records and its alerts, then whether either
/// is observed at all.
pub fn rules(catalogue: &Catalogue) -> RuleFile {
    let all = || catalogue.rows.iter().flat_map(|row| row.watches.iter().map(move |watch| (row, watch)));
    let group = |name: &str, rules: Vec<Rule>| RuleGroup { name: name.to_owned(), rules };
    let mut groups = vec![group(
        "syncline-documented",
        all().filter(|(_, watch)| watch.documented).map(|(row, watch)| watch.rule(row)).collect(),
    )];
    for side in ["cilium", "kube-proxy"] {
        let own = || all().filter(|(_, watch)| watch.on == side && !watch.documented);
        let recorded: Vec<&Record> = own().flat_map(|(_, watch)| &watch.records).collect();
        let recording = records(catalogue).into_iter().filter(|one| recorded.contains(one)).map(|one| Rule {
            record: Some(one.name.clone()),
            expr: one.query.clone(),
            ..Rule::default()
        });
        let mut rules: Vec<Rule> = recording.collect();
        rules.extend(own().map(|(row, watch)| watch.rule(row)));
        groups.push(group(&format!("syncline-{side}"), rules));
    }
    groups.push(group("syncline-observed", observed(catalogue).into_iter().collect()));
    groups.retain(|one| !one.rules.is_empty());
    RuleFile { groups }
}

/// The rule that fires where the metrics of the documented alerts, one of each side, are both absent.
fn observed(catalogue: &Catalogue) -> Option<Rule> {
    let first = |side: &str| {
        let alerts = catalogue.rows.iter().filter(|row| row.scenario == "alert");
        let own = alerts.flat_map(|row| &row.watches).filter(|watch| watch.on == side);
        own.filter_map(|watch| parse(watch.query.as_deref()?).ok()?.metric_names()?.pop_first()).next()
    };
    let absent: Vec<String> =
        ["cilium", "kube-proxy"].iter().filter_map(|side| first(side)).map(|name| format!("absent({name})")).collect();
    if absent.is_empty() {
        return None;
    }
    let labels = BTreeMap::from([("severity".to_owned(), "warning".to_owned())]);
    let annotations = BTreeMap::from([
        ("summary".to_owned(), "Neither Cilium nor kube-proxy is observed: the other rules are silent, whatever happens".to_owned()),
        ("description".to_owned(), "No series that the rules rest on is scraped, of either dataplane.".to_owned()),
        (
            "runbook".to_owned(),
            "kube-proxy serves metrics on 127.0.0.1:10249 unless metricsBindAddress says otherwise; Cilium with prometheus.enabled on 9962.".to_owned(),
        ),
    ]);
    Some(Rule {
        alert: Some("DataplaneNotObserved".to_owned()),
        expr: absent.join(" and "),
        hold: Some("15m".to_owned()),
        labels,
        annotations,
        ..Rule::default()
    })
}

/// Rows that no rule watches, or only for one side, each with the reason.
pub fn unwatched(catalogue: &Catalogue) -> Vec<(&str, &str)> {
    let rows = catalogue.rows.iter().filter(|row| !row.unwatched.is_empty());
    rows.map(|row| (row.id.as_str(), row.unwatched.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::catalogue::ClaimKind;
    use super::*;

    /// Sides of rows that claim something, are watched by no rule and do not say why.
    fn unexplained(catalogue: &Catalogue) -> Vec<String> {
        let watched: BTreeSet<(&str, &str)> = catalogue
            .rows
            .iter()
            .flat_map(|row| row.watches.iter().map(move |watch| (row.id.as_str(), watch)))
            .flat_map(|(id, watch)| {
                let covers = watch.covers.iter().map(String::as_str);
                std::iter::once(id).chain(covers).map(|id| (id, watch.on.as_str()))
            })
            .collect();
        let sides = |row: &Row| [("cilium", row.cilium.kind), ("kube-proxy", row.kube_proxy.kind)];
        let open = catalogue.rows.iter().filter(|row| row.unwatched.is_empty()).flat_map(|row| {
            let claims = sides(row).into_iter().filter(|(_, kind)| *kind != ClaimKind::None);
            claims
                .filter(|(side, _)| !watched.contains(&(row.id.as_str(), side)))
                .map(|(side, _)| format!("{} {side}", row.id))
        });
        open.collect()
    }

    fn built_in() -> Catalogue {
        Catalogue::built_in().expect("built-in")
    }

    #[test]
    fn every_documented_limit_is_watched_or_says_why_not() {
        let mut catalogue = built_in();
        assert_eq!(unexplained(&catalogue), Vec::<String>::new());
        for row in &catalogue.rows {
            for id in row.watches.iter().flat_map(|watch| &watch.covers) {
                assert!(catalogue.row(id).is_some(), "{}: covers {id}, which is no row", row.id);
            }
        }
        catalogue.rows.iter_mut().find(|row| row.id == "T5.1").expect("T5.1").watches.pop();
        assert_eq!(unexplained(&catalogue), ["T5.1 kube-proxy"]);
    }

    #[test]
    fn the_documented_alerts_are_as_written_and_every_expression_parses() {
        let file = rules(&built_in());
        let all: Vec<&Rule> = file.groups.iter().flat_map(|group| &group.rules).collect();
        for one in &all {
            parse(&one.expr).unwrap_or_else(|error| panic!("{}: {error}", one.expr));
        }
        let named = |name: &str, form: &str| {
            let found = all.iter().filter(|one| one.alert.as_deref() == Some(name) && one.labels["form"] == form);
            found.map(|one| (one.expr.as_str(), one.hold.as_deref().unwrap_or_default())).next()
        };
        assert_eq!(
            named("CiliumEndpointUpdateSlow", "documented"),
            Some((
                "histogram_quantile(0.95, rate(cilium_endpoint_regeneration_time_stats_seconds_bucket[1m])) > 0.1",
                "5m"
            ))
        );
        assert_eq!(
            named("KubeProxySyncTooSlow", "documented"),
            Some(("histogram_quantile(0.95, rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket[1m])) > 5", "2m"))
        );
        let sound = named("CiliumEndpointUpdateSlow", "sound").expect("sound").0;
        assert_eq!(sound, built_in().row("AL1").expect("AL1").sound.query[0]);
        assert!(named("KubeProxySyncTooSlow", "sound").is_some());
        let observed = all.last().expect("a rule");
        assert_eq!(
            observed.expr,
            "absent(cilium_endpoint_regeneration_time_stats_seconds_bucket) and absent(kubeproxy_sync_proxy_rules_duration_seconds_bucket)"
        );
        assert!(all.iter().filter(|one| one.record.is_some()).count() >= 5);
        assert!(all.iter().filter(|one| one.alert.is_some()).count() >= 20);
    }

    /// The verdict on a documented alert and the rule that a cluster loads have one threshold and one `for`.
    #[test]
    fn a_verdict_and_its_rule_agree() {
        let catalogue = built_in();
        for judged in crate::measure::alerts::RULES {
            let row = catalogue.row(judged.name.trim_start_matches("alert:")).expect("a row");
            for watch in &row.watches {
                let hold = crate::query::rules::read::milliseconds(&watch.hold);
                assert_eq!((watch.alert.as_str(), hold), (judged.title, Some(judged.hold_seconds * 1_000)));
                assert!(watch.documented || watch.limit(row) == Some(judged.threshold), "{}", row.id);
            }
            assert_eq!(row.watches.len(), 2, "{}", row.id);
        }
    }

    #[test]
    fn a_rule_finds_what_it_asks_recorded_ahead_of_it_in_its_group() {
        for group in rules(&built_in()).groups {
            let mut known = BTreeSet::new();
            for rule in group.rules {
                let names = parse(&rule.expr).expect("parses").metric_names().expect("names");
                let recorded = names.iter().filter(|name| name.contains(':'));
                for name in recorded {
                    assert!(known.contains(name), "{}: {name}", group.name);
                }
                known.extend(rule.record);
            }
        }
    }

    #[test]
    fn what_is_recorded_can_be_written_out() {
        let catalogue = built_in();
        let records = records(&catalogue);
        for watch in catalogue.rows.iter().flat_map(|row| &row.watches) {
            let Some(value) = watch.value(&records) else { continue };
            let names = parse(&value).unwrap_or_else(|error| panic!("{value}: {error}")).metric_names().expect("names");
            assert!(names.iter().all(|name| !name.contains(':')), "{value}");
        }
    }

    #[test]
    fn a_watch_that_contradicts_itself_is_named() {
        let text = toml::to_string(&built_in()).expect("toml");
        for (from, to, words) in [
            ("alert = \"KubeProxySyncTooSlow\"\ndocumented = true", "alert = \"KubeProxySyncTooSlow\"", "has no query"),
            (
                "on = \"kube-proxy\"\nalert = \"KubeProxyCpuSpike\"",
                "on = \"ipvs\"\nalert = \"KubeProxyCpuSpike\"",
                "expected cilium or kube-proxy",
            ),
            (
                "sum by (cluster, node, instance, run) (rate(cilium_bpf_map_ops_total[5m]))",
                "sum by (",
                "watch CiliumMapOperationsAboveDocumented: sum by (",
            ),
        ] {
            assert!(text.contains(from), "{from} not in the catalogue");
            let error = Catalogue::parse(&text.replacen(from, to, 1), "x.toml").expect_err(to).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
