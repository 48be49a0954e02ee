//! Logs of the Cilium agent, operator and Hubble: logfmt (logrus, slog) and JSON.
//!
//! ```text
//! time=2026-11-23T04:43:12.169061113Z level=info msg="New endpoint" endpointID=864 subsys=endpoint
//! 2022-11-10T18:56:37.533309581Z level=info msg="Started gops server" address="127.0.0.1:9890" subsys=daemon
//! {"time":"2026-11-23T04:43:12.169061113Z","level":"info","msg":"New endpoint","subsys":"endpoint"}
//! ```
//!
//! Older agents write no time: then only the container runtime's reading ahead of the line is known. The options that a
//! component lists when it starts (`msg="  --name='value'"`) become facts, `config/name` of the agent and
//! `config/operator/name` of the operator.

use std::borrow::Cow;

use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;
use syncline_schema::loss::NO_TIME;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::layers::log_line::{Joined, fields, strip, unquoted};
use crate::parse::syntax::json_pairs::Pairs;

/// Logs of Cilium's components.
pub const FORMAT: Format = Format {
    kind: "cilium-log",
    title: "Log of the Cilium agent or operator",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "time=2026-11-23T04:43:12.169061113Z level=info msg=\"New endpoint\" endpointID=864 subsys=endpoint",
    recognised: "lines with `level=` and `msg=`, or JSON with both, also behind CRI, docker or journald prefixes; `subsys` or `module`, or Cilium's name",
    capture: "kubectl -n kube-system logs --timestamps <cilium pod>",
    proves: "when the agent built endpoints, and with which options it ran",
};

fn sniff(head: &Head) -> Sniff {
    let (mut good, mut named, mut bad) = (0, false, 0);
    for line in head.bytes.split(|byte| *byte == b'\n').take(60) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let stripped = strip(text.trim_end_matches('\r'));
        match entry(&stripped.text) {
            Some(found) => {
                good += 1;
                named |= found.caller.is_some() || found.message.contains("ilium") || found.message.contains("ubble");
            }
            None => bad += usize::from(!stripped.text.trim().is_empty()),
        }
    }
    let name = head.path.rsplit('/').next().unwrap_or_default();
    named |= name.contains("cilium") || name.contains("hubble");
    match (good > bad, named) {
        (true, true) => Sniff::Yes,
        // Other programs write logfmt too: nothing tells that this is Cilium's.
        _ => Sniff::No,
    }
}

/// A line, dissected.
struct Entry<'a> {
    time: Option<i64>,
    level: &'static str,
    caller: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    /// Pairs other than the above, as written.
    rest: Cow<'a, str>,
}

fn level(word: &str) -> &'static str {
    match word.to_ascii_lowercase().as_str() {
        "debug" | "trace" => "debug",
        "warn" | "warning" => "warning",
        "error" | "err" => "error",
        "fatal" | "panic" => "fatal",
        _ => "info",
    }
}

/// Dissects a line, or says that it is none.
fn entry(text: &str) -> Option<Entry<'_>> {
    if text.starts_with('{') {
        return json_entry(text);
    }
    if !["time=", "level=", "msg=", "ts="].iter().any(|key| text.starts_with(key)) {
        return None;
    }
    let mut found =
        Entry { time: None, level: "info", caller: None, message: Cow::Borrowed(""), rest: Cow::Borrowed("") };
    let (mut has_message, mut leveled, mut behind) = (false, false, 0);
    for (key, value) in fields(text) {
        match key {
            "time" | "ts" => found.time = instant::rfc3339(value.as_bytes()),
            "level" => (found.level, leveled) = (level(&value), true),
            "msg" => {
                (found.message, has_message) = (value, true);
                // The message stands last of the three in all known versions.
                behind = text.find("msg=")?;
            }
            "subsys" => found.caller = Some(value),
            "module" if found.caller.is_none() => found.caller = Some(value),
            _ => {}
        }
    }
    if !has_message || !(leveled || text.starts_with("msg=")) {
        return None;
    }
    let after = &text[behind + 4..];
    let length = if after.starts_with('"') {
        crate::layers::log_line::quoted_length(after.as_bytes()).unwrap_or(after.len())
    } else {
        after.find(' ').unwrap_or(after.len())
    };
    found.rest = Cow::Borrowed(after.get(length..).unwrap_or_default().trim_start());
    Some(found)
}

fn json_entry(text: &str) -> Option<Entry<'_>> {
    let pairs: Pairs<&RawValue> = serde_json::from_str(text).ok()?;
    let mut found = Entry { time: None, level: "", caller: None, message: Cow::Borrowed(""), rest: Cow::Borrowed("") };
    let mut rest: Vec<String> = Vec::new();
    let mut has_message = false;
    for (key, value) in pairs.0 {
        match &*key {
            "time" | "ts" => found.time = instant::rfc3339(unquoted(value.get()).as_bytes()),
            "level" => found.level = level(&unquoted(value.get())),
            "msg" => (found.message, has_message) = (unquoted(value.get()), true),
            "subsys" => found.caller = Some(unquoted(value.get())),
            "module" if found.caller.is_none() => found.caller = Some(unquoted(value.get())),
            _ => rest.push(format!("{key}={}", value.get())),
        }
    }
    found.rest = rest.join(" ").into();
    (has_message && !found.level.is_empty()).then_some(found)
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut timeless = 0;
    let (mut joined, mut lines) = (Joined::default(), chunk.lines().peekable());
    while let Some(line) = lines.next() {
        if line.bytes.is_empty() && !joined.is_begun() {
            continue;
        }
        let text = String::from_utf8_lossy(line.bytes);
        let Some(stripped) = joined.join(strip(&text), lines.peek().is_none()) else { continue };
        let row = LogRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            outer_time: stripped.outer_time,
            ..Default::default()
        };
        let Some(found) = entry(&stripped.text) else {
            batch.record(stripped.outer_time);
            batch.push(&LogRow { level: "info".into(), message: stripped.text, ..row });
            continue;
        };
        let time = found.time.or(stripped.outer_time);
        timeless += u64::from(time.is_none());
        batch.record(time);
        if let Some((name, value)) = option(&found.message) {
            let operator = found.caller.as_deref().is_some_and(|caller| caller.contains("operator"));
            let key = format!("config/{}{name}", if operator { "operator/" } else { "" });
            batch.fact(context, line.number, &key, value);
        }
        batch.push(&LogRow {
            time: found.time,
            level: found.level.into(),
            caller: found.caller,
            message: found.message,
            fields: Some(found.rest).filter(|rest| !rest.is_empty()),
            ..row
        });
    }
    if timeless > 0 {
        batch.loss(NO_TIME, timeless);
    }
}

/// Name and value of `  --name='value'`.
fn option(message: &str) -> Option<(&str, &str)> {
    let (name, value) = message.trim_start().strip_prefix("--")?.split_once('=')?;
    Some((name, value.strip_prefix('\'')?.strip_suffix('\'')?))
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, entry};
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    #[test]
    fn dissects_lines() {
        let check = |line: &str| {
            entry(line).map(|found| {
                format!("{:?} {} {:?} {} {}", found.time, found.level, found.caller, found.message, found.rest)
            })
        };
        let expected = "Some(1795408951500000000) info Some(\"endpoint\") New \"x\" a=1 subsys=endpoint";
        let line = "time=2026-11-23T04:42:31.5Z level=INFO msg=\"New \\\"x\\\"\" a=1 subsys=endpoint";
        assert_eq!(check(line).as_deref(), Some(expected));
        let expected = "Some(1795408951500000000) warning Some(\"a.b\") New a=1";
        let line =
            "{\"time\":\"2026-11-23T04:42:31.5Z\",\"level\":\"warn\",\"msg\":\"New\",\"a\":1,\"module\":\"a.b\"}";
        assert_eq!(check(line).as_deref(), Some(expected));
        for line in ["", "level=info", "{\"level\":\"info\"}", "hello level=info msg=x", "msg=", "time="] {
            assert!(check(line).is_none() || line == "msg=", "{line}");
        }
    }

    #[test]
    fn options_are_facts() {
        let mut batch = parse_text(&FORMAT, "level=info msg=\"  --lb-reflector-wait-time='500ms'\" subsys=daemon\n");
        assert_eq!((batch.take_tables().len(), batch.losses["no-time"].1), (2, 1));
    }

    #[test]
    fn takes_every_log_of_the_captures_and_the_corpus() {
        let captured = files(&["captures/cilium-scale-up-1".to_owned()]).into_iter();
        for (path, bytes) in captured.chain(corpus_files(&["cilium_agent_log", "kube_proxy_log", "k8s_audit"])) {
            let found = (FORMAT.sniff)(&head(&path, &bytes));
            let is_log = path.contains("cilium_agent_log")
                || path.contains("/logs/")
                || path.contains("/hubble.std")
                || path.contains("dropped.std");
            assert_eq!(found == Sniff::Yes, is_log, "{path}");
            if is_log {
                assert_eq!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).rejected, 0, "{path}");
            }
        }
    }
}
