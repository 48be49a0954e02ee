//! kube-proxy's log (klog: plain, structured and JSON), and the moments of its syncs.
//!
//! ```text
//! I1123 04:22:33.568529       1 config.go:142] "Calling handler.OnEndpointSliceUpdate"
//! I1123 04:22:33.606679       1 proxier.go:662] "SyncProxyRules complete" ipFamily="IPv4" elapsed="38.026082ms"
//! I1122 23:40:10.025947       1 proxier.go:825] syncProxyRules took 585.485129ms
//! ```
//!
//! klog writes no year and no zone. They come from `capture.toml`, else from the clock reading that a container
//! runtime wrote ahead of the line (the zone then is the multiple of 15 minutes that brings both together); without either
//! the line keeps no time and gives no moment. Lines that are no klog lines (traces, banners) are kept as messages.

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;
use syncline_schema::loss::NO_YEAR;
use syncline_schema::syncs::SyncRow;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::layers::log_line::{Joined, fields, quoted_length, strip, unquoted};

/// kube-proxy's log.
pub const FORMAT: Format = Format {
    kind: "kube-proxy-log",
    title: "kube-proxy's log",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "I1123 04:22:33.606679       1 proxier.go:662] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"38.026082ms\"",
    recognised: "klog lines (`I1123 04:22:33.606679 1 file.go:662] …`) of a proxier, also behind CRI, docker or journald prefixes",
    capture: "kubectl -n kube-system logs --timestamps <kube-proxy pod>, with kube-proxy at -v=4",
    proves: "when kube-proxy learnt of a change, and when each sync began and ended",
};

/// How many lines the sniffer tries.
const TRIED: usize = 60;

fn sniff(head: &Head) -> Sniff {
    let mut klog = 0;
    for line in head.bytes.split(|byte| *byte == b'\n').take(TRIED) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let stripped = strip(text.trim_end_matches('\r'));
        let Some(found) = entry(&stripped.text) else { continue };
        klog += 1;
        let file = found.caller.split(':').next().unwrap_or_default();
        if matches!(file, "proxier.go" | "endpointslicecache.go" | "endpoints.go") || moment(&found).is_some() {
            return Sniff::Yes;
        }
    }
    let name = head.path.rsplit('/').next().unwrap_or_default();
    match klog {
        0 => Sniff::No,
        _ if name.contains("kube-proxy") || name.contains("kubeproxy") => Sniff::Yes,
        _ => Sniff::Perhaps,
    }
}

/// A klog line.
struct Entry<'a> {
    level: &'static str,
    when: When<'a>,
    caller: Cow<'a, str>,
    message: Cow<'a, str>,
    /// `key=value` pairs as written.
    fields: Cow<'a, str>,
}

/// Time of a line as written.
enum When<'a> {
    /// `MMDD HH:MM:SS.ffffff`.
    NoYear(&'a str),
    /// ns since the epoch.
    Known(i64),
}

/// Dissects a klog line, or says that it is none.
fn entry(text: &str) -> Option<Entry<'_>> {
    if text.starts_with('{') {
        return json_entry(text);
    }
    let level = match text.as_bytes().first()? {
        b'I' => "info",
        b'W' => "warning",
        b'E' => "error",
        b'F' => "fatal",
        _ => return None,
    };
    let (when, rest) = (text.get(1..21)?, text.get(21..)?);
    instant::klog(when.as_bytes(), 2024, 0)?;
    let (header, message) = rest.split_once("] ").or_else(|| rest.strip_suffix(']').map(|header| (header, "")))?;
    let mut words = header.split_ascii_whitespace();
    words.next().filter(|thread| thread.bytes().all(|byte| byte.is_ascii_digit()))?;
    let caller = words.next().filter(|caller| caller.contains(':'))?;
    let (message, pairs) = match message.starts_with('"').then(|| quoted_length(message.as_bytes())).flatten() {
        Some(length) => (unquoted(&message[..length]), message[length..].trim_start()),
        None => (Cow::Borrowed(message), ""),
    };
    Some(Entry { level, when: When::NoYear(when), caller: caller.into(), message, fields: pairs.into() })
}

/// klog's JSON: `{"ts":1637634000123.4,"caller":"server.go:1","msg":"…","v":2,…}`; `ts` in milliseconds.
#[derive(Deserialize)]
struct JsonLine<'a> {
    ts: f64,
    #[serde(borrow, default)]
    caller: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    err: Option<serde_json::Value>,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, serde_json::Value>,
}

fn json_entry(text: &str) -> Option<Entry<'_>> {
    let line: JsonLine = serde_json::from_str(text).ok()?;
    if line.caller.is_empty() || !(1e11..9e15).contains(&line.ts) {
        return None;
    }
    let level = if line.err.is_some() { "error" } else { "info" };
    let mut pairs = String::new();
    for (key, value) in
        line.rest.iter().filter(|(key, _)| *key != "v").chain(line.err.as_ref().map(|err| (&*ERROR, err)))
    {
        pairs.push_str(if pairs.is_empty() { "" } else { " " });
        pairs.push_str(&format!("{key}={value}"));
    }
    // Microseconds: a double of milliseconds holds no more.
    let when = When::Known((line.ts * 1e3).round() as i64 * 1000);
    Some(Entry { level, when, caller: line.caller, message: line.msg, fields: pairs.into() })
}

/// Key of the error in klog's structured form.
static ERROR: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "err".to_owned());

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut without_year = 0;
    let (mut joined, mut lines) = (Joined::default(), chunk.lines().peekable());
    while let Some(line) = lines.next() {
        if line.bytes.is_empty() && !joined.is_begun() {
            continue;
        }
        let text = String::from_utf8_lossy(line.bytes);
        let Some(stripped) = joined.join(strip(&text), lines.peek().is_none()) else { continue };
        let Some(found) = entry(&stripped.text) else {
            batch.record(stripped.outer_time);
            batch.push(&LogRow {
                source: context.source,
                record: line.number,
                clock: context.clock.as_str().into(),
                outer_time: stripped.outer_time,
                level: "info".into(),
                message: stripped.text,
                ..Default::default()
            });
            continue;
        };
        let time = match found.when {
            When::Known(time) => Some(time),
            When::NoYear(when) => moment_of(when, stripped.outer_time, context),
        };
        without_year += u64::from(time.is_none());
        batch.record(time.or(stripped.outer_time));
        if let Some(mut row) = moment(&found) {
            (row.source, row.record, row.clock, row.time) =
                (context.source, line.number, context.clock.as_str().into(), time);
            batch.push(&row);
        }
        batch.push(&LogRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            time,
            outer_time: stripped.outer_time,
            level: found.level.into(),
            caller: Some(found.caller),
            message: found.message,
            fields: Some(found.fields).filter(|pairs| !pairs.is_empty()),
            ..Default::default()
        });
    }
    if without_year > 0 {
        batch.loss(NO_YEAR, without_year);
    }
}

/// Offsets from UTC are multiples of this.
const QUARTER_HOUR: i64 = 900 * instant::SECOND;
/// A line is carried away within this time after it was written.
const CARRIED_WITHIN: i64 = 60 * instant::SECOND;

/// Time of a klog line, ns.
fn moment_of(when: &str, outer: Option<i64>, context: &Context) -> Option<i64> {
    if let (Some(year), Some(offset)) = (context.year, context.utc_offset) {
        return instant::klog(when.as_bytes(), year, offset);
    }
    let outer = outer?;
    // Whichever year brings it next to the outer reading; at New Year the two may differ.
    let near = (outer / instant::SECOND / 31_556_952 + 1970) as i16;
    let candidates = [near - 1, near, near + 1].into_iter().filter_map(|year| instant::klog(when.as_bytes(), year, 0));
    let local = candidates.min_by_key(|local| (outer - local).abs())?;
    let zone = (outer - local + QUARTER_HOUR / 2).div_euclid(QUARTER_HOUR) * QUARTER_HOUR;
    let time = local + zone;
    (zone.abs() <= 14 * 4 * QUARTER_HOUR && (outer - time).abs() <= CARRIED_WITHIN).then_some(time)
}

/// The moment of a sync that a line tells. Wordings of versions 1.9 to 1.36.
fn moment<'a>(found: &'a Entry) -> Option<SyncRow<'a>> {
    let message = &*found.message;
    let field = |wanted: &str| fields(&found.fields).find(|(key, _)| *key == wanted).map(|(_, value)| value);
    let row = |moment: &'static str| SyncRow { moment: moment.into(), family: field("ipFamily"), ..Default::default() };
    if let Some(handler) = message.strip_prefix("Calling handler.OnEndpoint") {
        return (!handler.contains("Synced")).then(|| row("received"));
    }
    if let Some(rest) = message.strip_prefix("Setting endpoints for ") {
        return setting(rest, field("portName"), field("endpoints")).map(|(object, detail)| SyncRow {
            object: Some(object),
            detail: Some(detail),
            ..row("setting")
        });
    }
    if message.starts_with("Syncing ") && message.ends_with("rules") {
        return Some(row("start"));
    }
    if message.starts_with("Reloading service ") {
        let figures: Vec<String> = fields(&found.fields)
            .filter(|(key, _)| *key != "ipFamily")
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        return Some(SyncRow { detail: Some(figures.join(" ").into()), ..row("reload") });
    }
    if message.eq_ignore_ascii_case("SyncProxyRules complete") {
        return Some(SyncRow {
            duration: field("elapsed").and_then(|text| instant::go_duration(&text)),
            ..row("complete")
        });
    }
    if let Some(text) = message.strip_prefix("syncProxyRules took ") {
        return Some(SyncRow { duration: instant::go_duration(text.trim()), ..row("complete") });
    }
    if message == "Network programming" {
        // Seconds as a plain number; later versions may quote a Go duration.
        let elapsed =
            field("elapsed").and_then(|text| instant::decimal_seconds(&text).or_else(|| instant::go_duration(&text)));
        return Some(SyncRow { duration: elapsed, object: field("endpoint"), ..row("programming") });
    }
    let (object, took) = message.strip_prefix("Network programming of ")?.split_once(" took ")?;
    let duration = took.strip_suffix(" seconds").and_then(instant::decimal_seconds);
    Some(SyncRow { duration, object: Some(object.into()), ..row("programming") })
}

/// Service port and endpoints of a `Setting endpoints` line, structured or plain.
fn setting<'a>(
    rest: &'a str,
    port: Option<Cow<'a, str>>,
    endpoints: Option<Cow<'a, str>>,
) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    if let Some(port) = port {
        let list = endpoints.unwrap_or_default();
        let list = list.trim_start_matches('[').trim_end_matches(']').replace(['"', ' '], "");
        return Some((port, list.into()));
    }
    let (port, list) = rest.split_once(" to ")?;
    let list = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    Some((port.trim_matches('"').into(), list.replace(' ', ",").into()))
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, entry, moment, moment_of};
    use crate::form::Sniff;
    use crate::parse::harness::{context, corpus_files, files, head, parse_in};

    fn told(line: &str) -> Option<String> {
        let found = entry(line)?;
        moment(&found).map(|row| {
            format!(
                "{} {:?} {:?} {:?} {:?}",
                row.moment,
                row.duration,
                row.family.as_deref(),
                row.object.as_deref(),
                row.detail.as_deref()
            )
        })
    }

    #[test]
    fn reads_every_wording() {
        let check = |message: &str, expected: &str| {
            let line = format!("I1123 04:22:33.568529       1 proxier.go:142] {message}");
            assert_eq!(told(&line).as_deref(), Some(expected).filter(|text| !text.is_empty()), "{message}");
        };
        check("\"Calling handler.OnEndpointSliceUpdate\"", "received None None None None");
        check("Calling handler.OnEndpointsAdd", "received None None None None");
        check("Calling handler.OnEndpointsSynced()", "");
        check("\"Calling handler.OnNodeChange\"", "");
        check(
            "\"Setting endpoints for service port name\" portName=\"default/test:http\" endpoints=[\"10.244.0.23:8080\",\"10.244.0.252:8080\"]",
            "setting None None Some(\"default/test:http\") Some(\"10.244.0.23:8080,10.244.0.252:8080\")",
        );
        check(
            "Setting endpoints for \"kube-system/kube-dns:dns\" to [10.244.0.54:53 10.244.0.55:53]",
            "setting None None Some(\"kube-system/kube-dns:dns\") Some(\"10.244.0.54:53,10.244.0.55:53\")",
        );
        check("\"Syncing iptables rules\" ipFamily=\"IPv4\" fullSync=false", "start None Some(\"IPv4\") None None");
        check(
            "\"Reloading service nftables data\" ipFamily=\"IPv6\" numServices=8006 numEndpoints=240015",
            "reload None Some(\"IPv6\") None Some(\"numServices=8006 numEndpoints=240015\")",
        );
        check("\"SyncProxyRules complete\" elapsed=\"4m50.461347544s\"", "complete Some(290461347544) None None None");
        check("syncProxyRules took 33.571µs", "complete Some(33571) None None None");
        check(
            "\"Network programming\" endpoint=\"default/test\" elapsed=2.606524308",
            "programming Some(2606524308) None Some(\"default/test\") None",
        );
        check(
            "Network programming of ns/svc took 1.025890 seconds",
            "programming Some(1025890000) None Some(\"ns/svc\") None",
        );
    }

    #[test]
    fn a_line_without_a_year_has_no_time() {
        let line = "I1123 04:22:33.568529       1 proxier.go:1] \"Syncing iptables rules\"\n";
        let batch = parse_in(&FORMAT, &context(), line);
        assert_eq!((batch.span, batch.losses["no-year"].1), (None, 1));
        let mut dated = context();
        (dated.year, dated.utc_offset) = (Some(2026), Some(0));
        let batch = parse_in(&FORMAT, &dated, line);
        assert_eq!(batch.span.map(|span| span.0), Some(1_795_407_753_568_529_000));
    }

    #[test]
    fn an_outer_time_gives_year_and_zone() {
        let outer = 1_795_407_753_600_000_000;
        let check = |when: &str| moment_of(when, Some(outer), &context());
        assert_eq!(check("1123 04:22:33.568529"), Some(1_795_407_753_568_529_000));
        assert_eq!(check("1123 09:52:33.568529"), Some(1_795_407_753_568_529_000));
        assert_eq!(check("1122 20:22:33.568529"), Some(1_795_407_753_568_529_000));
        assert_eq!(check("1122 20:27:33.568529"), None);
    }

    #[test]
    fn takes_every_log_of_the_captures_and_the_corpus() {
        let captured = files(&[
            "captures/iptables-scale-up-1/logs".to_owned(),
            "captures/nftables-scale-up-2000svc-1/logs".to_owned(),
        ]);
        for (path, bytes) in captured.into_iter().chain(corpus_files(&["kube_proxy_log"])) {
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), Sniff::Yes, "{path}");
            let mut dated = context();
            (dated.year, dated.utc_offset) = (Some(2026), Some(0));
            let mut batch = parse_in(&FORMAT, &dated, &String::from_utf8_lossy(&bytes));
            assert_eq!(batch.rejected, 0, "{path}");
            assert!(batch.take_tables().len() == 2 || path.contains("flags"), "{path}");
        }
    }
}
