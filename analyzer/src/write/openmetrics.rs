//! The series of a run as OpenMetrics 1.0 text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), which
//! `promtool tsdb create-blocks-from openmetrics` makes blocks of.
//!
//! ```text
//! # TYPE kubeproxy_sync_proxy_rules_duration_seconds unknown
//! # UNIT kubeproxy_sync_proxy_rules_duration_seconds seconds
//! kubeproxy_sync_proxy_rules_duration_seconds_count{instance="10.0.0.1:10249"} 12 1795407750.679
//! …
//! # EOF
//! ```
//!
//! Bundles keep the type of a metric and no help text, so there is no `HELP`. The format has no comments, so what it cannot hold is counted
//! in [`Written`] for whoever calls: staleness markers, native histograms, names that need quotes, start timestamps (`_created` would be
//! a series of its own, which the run has not).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use syncline_promql::{Series, format_float, format_float_short, is_stale};

use crate::bundle::Bundle;
use crate::bundle::witnesses::{self, Chosen, Selected};

/// Series whose samples are held at once; all of a metric are.
const AT_ONCE: usize = 4_096;
/// Base units of OpenMetrics that a metric's name may end in.
const UNITS: [&str; 9] = ["seconds", "bytes", "ratio", "joules", "celsius", "meters", "volts", "amperes", "grams"];

/// What was written, and what the format has no way to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Metric families.
    pub families: u64,
    /// Series with a sample.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Families that stand as `unknown`, although the captures tell their type ([`families`] says why).
    pub untyped: u64,
    /// Staleness markers left out: Prometheus gives the value before it for as long as the lookback delta.
    pub stale: u64,
    /// Samples of native histograms left out.
    pub native: u64,
    /// Series left out for a name of theirs or of a label that OpenMetrics 1.0 has no form for.
    pub unnamed: u64,
    /// Start timestamps left out.
    pub starts: u64,
}

impl Written {
    /// What was left out and why, a sentence each.
    pub fn losses(&self) -> Vec<String> {
        let of = |count: u64, what: &str, why: &str| {
            (count > 0).then(|| format!("{count} {what}{} left out: {why}", if count == 1 { " is" } else { "s are" }))
        };
        [
            of(
                self.stale,
                "staleness marker",
                "no sample can be one, so the last value goes on for the lookback delta where the series had ended",
            ),
            of(self.native, "native histogram sample", "OpenMetrics 1.0 has no form for them"),
            of(
                self.unnamed,
                "series with a name beyond ASCII letters, digits and _",
                "OpenMetrics 1.0 has no form for it",
            ),
            of(self.starts, "start timestamp", "_created would become a series that the run has not"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Writes all series of a bundle, each once as queries see it, some of them held at a time.
///
/// # Errors
/// A table that cannot be read, or what the writer says.
pub fn write(bundle: &Bundle, out: &mut dyn Write) -> anyhow::Result<Written> {
    let mut written = Written::default();
    let mut named: BTreeMap<String, Vec<Chosen>> = BTreeMap::new();
    for one in witnesses::choose(bundle, None)? {
        let labels = || one.labels.keys().all(|name| is_name(name, ""));
        if is_name(&one.name, ":") && labels() {
            named.entry(one.name.clone()).or_default().push(one);
        } else {
            written.unnamed += 1;
        }
    }
    let families = families(&named.iter().map(|(name, all)| (name.as_str(), declared(all))).collect());
    let mut waiting: Vec<(&Family, Vec<Chosen>)> = Vec::new();
    let mut held = 0;
    for family in &families {
        let all: Vec<Chosen> = family.metrics.iter().filter_map(|name| named.remove(name)).flatten().collect();
        held += all.len();
        waiting.push((family, all));
        if held >= AT_ONCE {
            put(bundle, std::mem::take(&mut waiting), &mut written, out)?;
            held = 0;
        }
    }
    put(bundle, waiting, &mut written, out)?;
    out.write_all(b"# EOF\n")?;
    Ok(written)
}

/// Whether a text is a label's name (`more` is empty), or a metric's (`more` is the colon of recorded ones).
fn is_name(text: &str, more: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || more.contains(c);
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// What the captures say of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Declared {
    /// `counter`, `gauge`, …; nothing where they do not tell, or differ.
    kind: Option<String>,
    /// Whether each bound of a bucket or quantile is written as OpenMetrics wants it.
    canonical: bool,
}

fn declared(all: &[Chosen]) -> Declared {
    let rows = all.iter().flat_map(Chosen::rows);
    let kinds: BTreeSet<&str> = rows.filter_map(|row| row.metric_type.as_deref()).collect();
    let mut bounds = all.iter().flat_map(|one| ["le", "quantile"].into_iter().filter_map(|name| one.labels.get(name)));
    let kind = kinds.first().filter(|_| kinds.len() == 1).map(|kind| (*kind).to_owned());
    Declared { kind, canonical: bounds.all(|bound| canonical(bound)) }
}

/// Whether a bound is written as a float of OpenMetrics, always with a point or an exponent.
fn canonical(bound: &str) -> bool {
    let Ok(value) = bound.parse::<f64>() else { return false };
    let short = format_float_short(value);
    bound == if value.is_finite() && !short.contains(['.', 'e']) { format!("{short}.0") } else { short }
}

/// A metric family: what one `TYPE` holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    name: String,
    kind: String,
    /// Names of its samples, ascending.
    metrics: BTreeSet<String>,
    /// Whether its type is known and not written.
    untyped: bool,
}

/// Metrics by family. A family is `unknown`, each of its metrics by itself, although its type is known, where a reader would refuse the
/// type or change what it reads by it:
///
/// - a counter whose name does not end in `_total`, part of a histogram or summary without its suffix: the names of these are fixed;
/// - two metrics that would be one family of two types (`x` as gauge, `x_total` as counter);
/// - a histogram or summary whose bounds are written as `1`, not `1.0`: Prometheus 3 writes the labels of such a family anew, and
///   queries for `le="1"` would find nothing.
fn families(metrics: &BTreeMap<&str, Declared>) -> Vec<Family> {
    let mut alone: BTreeSet<&str> = BTreeSet::new();
    loop {
        let mut found: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (name, declared) in metrics {
            let (family, kind) =
                if alone.contains(name) { (*name, "unknown") } else { placed(name, declared.kind.as_deref()) };
            found.entry(family).or_default().push((name, kind));
        }
        let before = alone.len();
        for all in found.values() {
            let one_kind = all.iter().all(|(_, kind)| *kind == all[0].1);
            let bounded = ["histogram", "summary"].contains(&all[0].1);
            let canonical = !bounded || all.iter().all(|(name, _)| metrics.get(name).is_some_and(|one| one.canonical));
            if !one_kind || !canonical {
                alone.extend(all.iter().map(|(name, _)| name));
            }
        }
        if alone.len() == before {
            let known = |name: &&str| {
                let kind = metrics.get(name).and_then(|one| one.kind.as_deref());
                kind.is_some_and(|kind| !["untyped", "unknown"].contains(&kind))
            };
            return found
                .into_iter()
                .map(|(name, all)| Family {
                    name: name.to_owned(),
                    kind: all[0].1.to_owned(),
                    metrics: all.iter().map(|(name, _)| (*name).to_owned()).collect(),
                    untyped: all[0].1 == "unknown" && all.iter().any(|(name, _)| known(name)),
                })
                .collect();
        }
    }
}

/// Family and type of one metric, where no other disagrees.
fn placed<'a>(name: &'a str, kind: Option<&'a str>) -> (&'a str, &'a str) {
    let without = |suffixes: &[&str]| {
        suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|family| !family.is_empty())
    };
    match kind {
        Some("gauge") => (name, "gauge"),
        Some("counter") => without(&["_total"]).map_or((name, "unknown"), |family| (family, "counter")),
        Some("histogram") => {
            without(&["_bucket", "_sum", "_count"]).map_or((name, "unknown"), |family| (family, "histogram"))
        }
        Some("summary") => (without(&["_sum", "_count"]).unwrap_or(name), "summary"),
        _ => (name, "unknown"),
    }
}

/// Loads and writes some families.
fn put(
    bundle: &Bundle,
    mut families: Vec<(&Family, Vec<Chosen>)>,
    written: &mut Written,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let chosen = families.iter_mut().flat_map(|(_, all)| std::mem::take(all)).collect();
    let Selected { series, .. } = witnesses::load(bundle, chosen, None)?;
    let mut by_name: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for one in series {
        by_name.entry(one.labels.metric_name().to_owned()).or_default().push(one);
    }
    for (family, _) in families {
        let mut begun = false;
        for one in family.metrics.iter().filter_map(|name| by_name.remove(name)).flatten() {
            written.native += one.histograms.len() as u64;
            let starts = one.start_times.iter().chain(&one.histogram_start_times);
            written.starts += starts.filter(|start| **start != 0).count() as u64;
            let stale = one.values.iter().filter(|value| is_stale(**value)).count();
            written.stale += stale as u64;
            if stale == one.values.len() {
                continue;
            }
            if !std::mem::replace(&mut begun, true) {
                head(family, out)?;
                written.families += 1;
                written.untyped += u64::from(family.untyped);
            }
            written.series += 1;
            written.samples += samples(&one, out)?;
        }
    }
    Ok(())
}

fn head(family: &Family, out: &mut dyn Write) -> std::io::Result<()> {
    let Family { name, kind, .. } = family;
    writeln!(out, "# TYPE {name} {kind}")?;
    // The format wants the unit at the end of the name, so the name tells it.
    match UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_'))) {
        Some(unit) => writeln!(out, "# UNIT {name} {unit}"),
        None => Ok(()),
    }
}

fn samples(one: &Series, out: &mut dyn Write) -> std::io::Result<u64> {
    let mut line = one.labels.metric_name().to_owned();
    let mut between = '{';
    for (name, value) in one.labels.pairs().iter().filter(|(name, _)| &**name != "__name__") {
        line.push(between);
        line.push_str(name);
        line.push_str("=\"");
        escape(value, &mut line);
        line.push('"');
        between = ',';
    }
    if between == ',' {
        line.push('}');
    }
    let mut count = 0;
    for (time, value) in one.times.iter().zip(one.values.iter()).filter(|(_, value)| !is_stale(**value)) {
        writeln!(out, "{line} {} {}", format_float(*value), seconds(*time))?;
        count += 1;
    }
    Ok(count)
}

/// A label's value is data: a query for it has to find it, so all characters stay, within the three escapes that the format has.
fn escape(value: &str, line: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            c => line.push(c),
        }
    }
}

/// A time in ms as the seconds of OpenMetrics, which its readers hold as a double. Prometheus cuts them to milliseconds, it does not
/// round: 1795407750.679 × 1000 is a hair below …679 as a double. Such a time gets more decimals, far below a millisecond.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, part) = (ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000);
    let plain = format!("{sign}{whole}.{part:03}");
    let read = |text: &str| text.parse::<f64>().is_ok_and(|seconds| (seconds * 1_000.0) as i64 == ms);
    if read(&plain) { plain } else { format!("{plain}001") }
}

#[cfg(test)]
mod tests {
    use syncline_promql::Labels;

    use super::*;

    #[test]
    fn a_time_is_read_as_the_millisecond_that_it_is() {
        let mut longer = 0;
        let first = 1_795_407_750_000;
        for ms in (first..first + 2_000).chain(-5_000..5_000).chain([-1_009_843_200_001, 4_102_444_799_999]) {
            let text = seconds(ms);
            assert_eq!((text.parse::<f64>().unwrap() * 1_000.0) as i64, ms, "cut: {text}");
            assert_eq!((text.parse::<f64>().unwrap() * 1_000.0).round() as i64, ms, "rounded: {text}");
            longer += usize::from(text.len() > 14);
        }
        assert!(longer > 0, "some are a hair below");
        assert_eq!(seconds(1_795_407_750_500), "1795407750.500");
        assert_eq!(seconds(-1_500), "-1.500");
    }

    #[test]
    fn a_family_has_one_type_and_the_names_that_go_with_it() {
        let of = |kind: &str, canonical| Declared { kind: Some(kind.to_owned()), canonical };
        let metrics = BTreeMap::from([
            ("requests_total", of("counter", true)),
            ("drops", of("counter", true)),
            ("x", of("gauge", true)),
            ("x_total", of("counter", true)),
            ("wait_seconds_bucket", of("histogram", true)),
            ("wait_seconds_count", of("histogram", true)),
            ("sync_seconds_bucket", of("histogram", false)),
            ("sync_seconds_sum", of("histogram", true)),
            ("up", Declared::default()),
        ]);
        let found: Vec<(String, String, usize, bool)> =
            families(&metrics).into_iter().map(|one| (one.name, one.kind, one.metrics.len(), one.untyped)).collect();
        let row = |name: &str, kind: &str, metrics, untyped| (name.to_owned(), kind.to_owned(), metrics, untyped);
        assert_eq!(
            found,
            [
                row("drops", "unknown", 1, true),
                row("requests", "counter", 1, false),
                row("sync_seconds_bucket", "unknown", 1, true),
                row("sync_seconds_sum", "unknown", 1, true),
                row("up", "unknown", 1, false),
                row("wait_seconds", "histogram", 2, false),
                row("x", "unknown", 1, true),
                row("x_total", "unknown", 1, true),
            ]
        );
    }

    #[test]
    fn values_and_labels_are_escaped_and_stale_markers_left_out() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let series = Series {
            labels: Labels::new([("__name__", "x"), ("a", "q\"\\\n\u{1b}[2J"), ("b", "ü")]),
            times: vec![1_000, 2_000, 3_000, 4_000, 5_001].into(),
            values: vec![1.0, f64::NAN, f64::INFINITY, stale, f64::NEG_INFINITY].into(),
            ..Series::default()
        };
        let mut out = Vec::new();
        assert_eq!(samples(&series, &mut out).unwrap(), 4);
        let line = "x{a=\"q\\\"\\\\\\n\u{1b}[2J\",b=\"ü\"}";
        let expected = format!("{line} 1 1.000\n{line} NaN 2.000\n{line} +Inf 3.000\n{line} -Inf {}\n", seconds(5_001));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(!is_name("a.b", ":") && !is_name("1a", ":") && is_name("a:b_1", ":") && !is_name("a:b", ""));
    }
}
