//! Reads files of rules: as Prometheus loads them, or as objects of its operator (`kind: PrometheusRule`, several in one file too).
//!
//! Prometheus refuses a whole file for one wrong rule. Here a rule that is wrong costs itself and is named, and so is a key that
//! nobody knows; what is left is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value};
use syncline_collector::input::whole_text;
use syncline_promql::{Expr, duration_milliseconds, parse};

/// Longest file, bytes: all rules of a large cluster have a tenth of it.
const LONGEST: u64 = 16 << 20;
/// Shortest time between two evaluations of a group, ms.
const SHORTEST_INTERVAL: i64 = 1;

/// What the files hold.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub groups: Vec<Group>,
    /// Rules and groups that cannot be evaluated.
    pub refused: Vec<Refused>,
    /// Keys that nobody knows, and the like: told, of no effect.
    pub remarks: Vec<String>,
}

/// A rule that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// File, group and rule.
    pub place: String,
    pub why: String,
}

/// Rules that are evaluated one after the other.
#[derive(Clone, Debug)]
pub struct Group {
    /// Path of its file.
    pub file: String,
    pub name: String,
    /// ms between evaluations; `None`: what the command says.
    pub interval: Option<i64>,
    /// Most alerts or series that a rule may give; 0: any number.
    pub limit: usize,
    /// How far back each evaluation looks, ms.
    pub offset: i64,
    pub rules: Vec<ReadRule>,
}

/// A rule that can be evaluated.
#[derive(Clone, Debug)]
pub struct ReadRule {
    /// Name of the alert or of the recorded series.
    pub name: String,
    pub expr: Expr,
    pub what: What,
    /// Its own labels and those of its group.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Records its value under its name.
    Record,
    /// Alerts, times in ms.
    Alert {
        /// `for`.
        hold: i64,
        /// `keep_firing_for`.
        keep: i64,
    },
}

/// Reads a file; what is wrong in it is among the refused.
///
/// # Errors
/// A file that cannot be read, or that is no YAML.
pub fn read(path: &Path, rules: &mut Rules) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let text = whole_text(path, LONGEST).with_context(|| name.clone())?;
    // `n` and `on` are names, as in Prometheus.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, options)
        .map_err(|error| anyhow::anyhow!("{name}: is no YAML: {error}"))?;
    let before = rules.groups.len() + rules.refused.len();
    for document in documents {
        let mut reader = Reader { file: &name, rules };
        reader.document(document);
    }
    if rules.groups.len() + rules.refused.len() == before {
        anyhow::bail!("{name}: expected rules (`groups:`, or objects of kind PrometheusRule), found none");
    }
    Ok(())
}

struct Reader<'r> {
    file: &'r str,
    rules: &'r mut Rules,
}

impl Reader<'_> {
    fn refuse(&mut self, place: &str, why: impl Into<String>) {
        let place = if place.is_empty() { self.file.to_owned() } else { format!("{}: {place}", self.file) };
        self.rules.refused.push(Refused { place, why: why.into() });
    }

    /// Keys that are left over.
    fn unknown(&mut self, place: &str, left: Map<String, Value>, known: &str) {
        for key in left.keys() {
            let at = if place.is_empty() { String::new() } else { format!("{place}: ") };
            self.rules.remarks.push(format!("{}: {at}unknown key `{key}` has no effect (known: {known})", self.file));
        }
    }

    fn document(&mut self, document: Value) {
        let mut document = match document {
            Value::Null => return,
            Value::Object(document) => document,
            _ => return self.refuse("", "expected a mapping with `groups`"),
        };
        if document.contains_key("kind") || document.contains_key("apiVersion") {
            match document.get("kind").and_then(Value::as_str) {
                Some("PrometheusRule") => match document.remove("spec") {
                    Some(Value::Object(spec)) => document = spec,
                    _ => return self.refuse("", "a PrometheusRule without `spec`"),
                },
                Some("List" | "PrometheusRuleList") => {
                    let items = document.remove("items").unwrap_or_default();
                    let Value::Array(items) = items else { return self.refuse("", "a list without `items`") };
                    return items.into_iter().for_each(|item| match item.get("kind").and_then(Value::as_str) {
                        // Lists do not nest.
                        Some("List" | "PrometheusRuleList") => self.refuse("", "a list within a list"),
                        _ => self.document(item),
                    });
                }
                other => {
                    let kind = other.unwrap_or("?").to_owned();
                    return self.rules.remarks.push(format!("{}: an object of kind {kind} holds no rules", self.file));
                }
            }
        }
        match document.remove("groups") {
            Some(Value::Array(groups)) => groups.into_iter().enumerate().for_each(|(at, group)| self.group(at, group)),
            Some(Value::Null) | None => self.refuse("", "no `groups` in it"),
            Some(_) => self.refuse("", "`groups` is no list"),
        }
        self.unknown("", document, "groups");
    }

    fn group(&mut self, at: usize, group: Value) {
        let numbered = format!("group {}", at + 1);
        let Value::Object(mut group) = group else { return self.refuse(&numbered, "is no mapping") };
        let Some(name) = text(group.remove("name")).filter(|name| !name.is_empty()) else {
            return self.refuse(&numbered, "has no name");
        };
        let place = format!("group {name}");
        if self.rules.groups.iter().any(|one| one.file == self.file && one.name == name) {
            return self.refuse(&place, "stands twice in this file");
        }
        let mut time = |key: &str| match group.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => text(Some(value))
                .and_then(|written| milliseconds(&written))
                .map(Some)
                .ok_or_else(|| format!("`{key}` is no duration, as 1m30s")),
        };
        let times = time("interval").and_then(|interval| Ok((interval, time("query_offset")?)));
        let (interval, offset) = match times {
            Ok(times) => times,
            Err(why) => return self.refuse(&place, why),
        };
        let limit = match group.remove("limit") {
            None | Some(Value::Null) => 0,
            Some(value) => match value.as_u64().and_then(|limit| usize::try_from(limit).ok()) {
                Some(limit) => limit,
                None => return self.refuse(&place, "`limit` is no whole number"),
            },
        };
        let labels = match strings(group.remove("labels")) {
            Ok(labels) => labels,
            Err(why) => return self.refuse(&place, format!("labels: {why}")),
        };
        let rules = match group.remove("rules") {
            Some(Value::Array(rules)) => rules,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return self.refuse(&place, "`rules` is no list"),
        };
        // Of Thanos and of Prometheus' operator, without effect on what a rule says.
        group.remove("partial_response_strategy");
        self.unknown(&place, group, "name, interval, limit, query_offset, labels, rules");
        let mut read = Group {
            file: self.file.to_owned(),
            name,
            interval: interval.filter(|interval| *interval >= SHORTEST_INTERVAL),
            limit,
            offset: offset.unwrap_or(0),
            rules: Vec::new(),
        };
        for (at, rule) in rules.into_iter().enumerate() {
            match self.rule(&place, at, rule, &labels) {
                Ok(rule) => read.rules.push(rule),
                Err((place, why)) => self.refuse(&place, why),
            }
        }
        self.rules.groups.push(read);
    }

    fn rule(
        &mut self,
        group: &str,
        at: usize,
        rule: Value,
        inherited: &BTreeMap<String, String>,
    ) -> Result<ReadRule, (String, String)> {
        let numbered = format!("{group}: rule {}", at + 1);
        let refuse = |place: &str, why: &str| Err((place.to_owned(), why.to_owned()));
        let Value::Object(mut rule) = rule else { return refuse(&numbered, "is no mapping") };
        let (alert, record) = (text(rule.remove("alert")), text(rule.remove("record")));
        let named = |what: &str, name: &str| format!("{numbered} ({what} {name})");
        let (name, is_alert, place) = match (alert.filter(|one| !one.is_empty()), record.filter(|one| !one.is_empty()))
        {
            (Some(name), None) => (name.clone(), true, named("alert", &name)),
            (None, Some(name)) => (name.clone(), false, named("record", &name)),
            (Some(_), Some(_)) => return refuse(&numbered, "has both `alert` and `record`"),
            (None, None) => return refuse(&numbered, "has neither `alert` nor `record`"),
        };
        let Some(written) = text(rule.remove("expr")).filter(|text| !text.trim().is_empty()) else {
            return refuse(&place, "has no `expr`");
        };
        let expr = parse(&written).map_err(|error| (place.clone(), format!("expr: {error}")))?;
        if !matches!(
            expr.root.value_type(),
            syncline_promql::syntax::tree::ValueType::Scalar | syncline_promql::syntax::tree::ValueType::Vector
        ) {
            return refuse(&place, "expr: gives neither a vector nor a number");
        }
        let mut time = |key: &str| match rule.remove(key) {
            None | Some(Value::Null) => Ok(0),
            Some(_) if !is_alert => Err((place.clone(), format!("`{key}` belongs to alerts"))),
            Some(value) => text(Some(value))
                .and_then(|written| milliseconds(&written))
                .ok_or_else(|| (place.clone(), format!("`{key}` is no duration, as 1m30s"))),
        };
        let (hold, keep) = (time("for")?, time("keep_firing_for")?);
        let map =
            |what: &str, value: Option<Value>| strings(value).map_err(|why| (place.clone(), format!("{what}: {why}")));
        let mut labels = inherited.clone();
        labels.extend(map("labels", rule.remove("labels"))?);
        let annotations = map("annotations", rule.remove("annotations"))?;
        if !is_alert && !annotations.is_empty() {
            return refuse(&place, "`annotations` belong to alerts");
        }
        if let Some(wrong) = labels.keys().find(|name| name.is_empty() || *name == "__name__") {
            return Err((place, format!("labels: `{wrong}` is no name of a label")));
        }
        self.unknown(&place, rule, "alert, record, expr, for, keep_firing_for, labels, annotations");
        let what = if is_alert { What::Alert { hold, keep } } else { What::Record };
        Ok(ReadRule { name, expr, what, labels, annotations })
    }
}

impl Rules {
    /// Names of the series that the rules write: what they record, and the two of alerts.
    pub fn written(&self) -> BTreeSet<String> {
        let rules = || self.groups.iter().flat_map(|group| &group.rules);
        let recorded = rules().filter(|rule| rule.what == What::Record).map(|rule| rule.name.clone());
        let alerts = rules().any(|rule| rule.what != What::Record);
        let alerts = ["ALERTS", "ALERTS_FOR_STATE"].into_iter().filter(|_| alerts).map(str::to_owned);
        recorded.chain(alerts).collect()
    }
}

/// A scalar as text: what YAML takes for a number or a truth value is text where text is asked for.
fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn strings(value: Option<Value>) -> Result<BTreeMap<String, String>, String> {
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(pairs)) => pairs
            .into_iter()
            .map(|(name, value)| match value {
                Value::Null => Ok((name, String::new())),
                value => text(Some(value)).map(|text| (name.clone(), text)).ok_or(format!("`{name}` is no text")),
            })
            .collect(),
        Some(_) => Err("expected a mapping".to_owned()),
    }
}

/// A duration as Prometheus writes it (`1h30m`, `0`), ms; at most 292 years, so that sums of times stay numbers.
pub fn milliseconds(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    duration_milliseconds(text).filter(|total| *total < 292 * 365 * 86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Rules {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.yaml");
        std::fs::write(&path, text).expect("written");
        let mut rules = Rules::default();
        if let Err(error) = read(&path, &mut rules) {
            rules.refused.push(Refused { place: "file".into(), why: format!("{error:#}") });
        }
        rules
    }

    #[test]
    fn a_file_of_prometheus_and_an_object_of_its_operator() {
        let groups = "groups:\n- name: g\n  interval: 30s\n  limit: 5\n  query_offset: 1m\n  labels: {team: net, severity: none}\n  rules:\n  - record: a:b\n    expr: sum(up)\n  - alert: Down\n    expr: up == 0\n    for: 1m30s\n    keep_firing_for: 5m\n    labels: {severity: page, n: 1, yes: true}\n    annotations:\n      text: '{{ $value }}'\n";
        let plain = of(groups);
        assert!(plain.refused.is_empty() && plain.remarks.is_empty(), "{plain:?}");
        let group = &plain.groups[0];
        assert_eq!((group.interval, group.limit, group.offset, group.rules.len()), (Some(30_000), 5, 60_000, 2));
        assert_eq!(group.rules[1].what, What::Alert { hold: 90_000, keep: 300_000 });
        assert_eq!(group.rules[1].labels["severity"], "page");
        assert_eq!((group.rules[1].labels["team"].as_str(), group.rules[1].labels["n"].as_str()), ("net", "1"));
        assert_eq!(plain.written().into_iter().collect::<Vec<_>>(), ["ALERTS", "ALERTS_FOR_STATE", "a:b"]);
        let indented: String = groups.lines().map(|line| format!("  {line}\n")).collect();
        let object = format!(
            "apiVersion: v1\nkind: ConfigMap\ndata: {{}}\n---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {{name: x}}\nspec:\n{indented}"
        );
        let object = of(&object);
        assert_eq!(object.groups[0].rules.len(), 2, "{object:?}");
        assert!(object.remarks[0].contains("kind ConfigMap holds no rules"), "{object:?}");
    }

    #[test]
    fn a_wrong_rule_costs_itself_and_unknown_keys_are_named() {
        let rules = of(
            "groups:\n- name: g\n  colour: red\n  rules:\n  - alert: A\n    expr: up ==\n  - alert: B\n    expr: up == 0\n    fro: 5m\n  - record: r\n    expr: up\n    for: 5m\n  - expr: up\n  - alert: C\n    record: c\n    expr: up\n  - alert: D\n    expr: up\n    for: soon\n  - alert: E\n    expr: up[5m]\n  - 7\n- name: g\n- rules: []\n- name: h\n  interval: 1\n",
        );
        assert_eq!(rules.groups.len(), 1);
        assert_eq!(rules.groups[0].rules.len(), 1);
        assert_eq!(rules.groups[0].rules[0].name, "B");
        let told: Vec<String> = rules.refused.iter().map(|one| format!("{}: {}", one.place, one.why)).collect();
        for words in [
            "group g: rule 1 (alert A): expr: 1:6: parse error",
            "group g: rule 3 (record r): `for` belongs to alerts",
            "group g: rule 4: has neither",
            "group g: rule 5: has both",
            "group g: rule 6 (alert D): `for` is no duration",
            "group g: rule 7 (alert E): expr: gives neither",
            "group g: rule 8: is no mapping",
            "group g: stands twice",
            "group 3: has no name",
            "group h: `interval` is no duration",
        ] {
            assert!(told.iter().any(|one| one.contains(words)), "{words}: {told:#?}");
        }
        assert!(rules.remarks.iter().any(|one| one.contains("group g: unknown key `colour`")), "{:?}", rules.remarks);
        assert!(
            rules.remarks.iter().any(|one| one.contains("rule 2 (alert B): unknown key `fro`")),
            "{:?}",
            rules.remarks
        );
    }

    #[test]
    fn what_holds_no_rules_is_said() {
        for (text, words) in [
            ("", "expected rules"),
            ("a: [", "is no YAML"),
            ("7", "expected a mapping"),
            ("groups: 7", "is no list"),
            ("x: y", "no `groups`"),
        ] {
            let rules = of(text);
            assert!(rules.refused.iter().any(|one| one.why.contains(words)), "{text}: {rules:?}");
        }
    }

    #[test]
    fn durations_are_those_of_prometheus() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("250ms", Some(250)),
            ("1m1ms", Some(60_001)),
            ("1s1m", None),
            ("5", None),
            ("", None),
            ("1y1y", None),
            ("300y", None),
            ("99999999999999999999s", None),
            ("1.5s", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
