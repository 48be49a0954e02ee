//! logfmt (logrus, slog) and its JSON form: how Cilium's components write their logs, one entry.
//!
//! ```text
//! time=2026-11-23T04:43:12.169061113Z level=info msg="New endpoint" endpointID=864 subsys=endpoint
//! {"time":"2026-11-23T04:43:12.169061113Z","level":"info","msg":"New endpoint","subsys":"endpoint"}
//! ```

use std::borrow::Cow;

use serde_json::value::RawValue;
use syncline_schema::logs::LogRow;

use crate::form::instant;
use crate::form::json_pairs::Pairs;
use crate::form::{Batch, Context};
use crate::parse::syntax::key_values::{fields, quoted_length, unquoted};

/// A line, dissected.
pub struct Entry<'a> {
    pub time: Option<i64>,
    pub level: &'static str,
    pub caller: Option<Cow<'a, str>>,
    pub message: Cow<'a, str>,
    /// Pairs other than the above, as written.
    pub rest: Cow<'a, str>,
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
pub fn entry(text: &str) -> Option<Entry<'_>> {
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
        quoted_length(after.as_bytes()).unwrap_or(after.len())
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

/// Writes the line of an entry; an option that it lists becomes a fact. Answers its time, or that of whoever carried it.
pub fn push(
    context: &Context,
    record: i64,
    outer_time: Option<i64>,
    found: Entry<'_>,
    batch: &mut Batch,
) -> Option<i64> {
    let time = found.time.or(outer_time);
    batch.record(time);
    if let Some((name, value)) = option(&found.message) {
        let operator = found.caller.as_deref().is_some_and(|caller| caller.contains("operator"));
        let key = format!("config/{}{name}", if operator { "operator/" } else { "" });
        batch.fact(context, record, &key, value);
    }
    batch.push(&LogRow {
        source: context.source,
        record,
        clock: context.clock.as_str().into(),
        time: found.time,
        outer_time,
        level: found.level.into(),
        caller: found.caller,
        message: found.message,
        fields: Some(found.rest).filter(|rest| !rest.is_empty()),
        ..Default::default()
    });
    time
}

/// Name and value of `  --name='value'`.
fn option(message: &str) -> Option<(&str, &str)> {
    let (name, value) = message.trim_start().strip_prefix("--")?.split_once('=')?;
    Some((name, value.strip_prefix('\'')?.strip_suffix('\'')?))
}

#[cfg(test)]
mod tests {
    use super::entry;

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
}
