//! klog: how Kubernetes' components write their logs, one entry.
//!
//! ```text
//! I1123 04:22:33.606679       1 proxier.go:662] "SyncProxyRules complete" ipFamily="IPv4" elapsed="38.026082ms"
//! I1122 23:40:10.025947       1 proxier.go:825] syncProxyRules took 585.485129ms
//! {"ts":1637634000123.4,"caller":"server.go:1","msg":"…","v":2}
//! "SyncProxyRules complete" elapsed="38.026082ms"                        without its header, as some stores keep it
//! E0203 04:05:06.149000       1 proxier.go:1564] "Failed to execute iptables-restore" err=<
//!         exit status 2: the table cannot be restored
//!  > ipFamily="IPv4"                                                     one entry over three lines
//! ```

use std::borrow::Cow;

use serde::Deserialize;

use crate::form::Context;
use crate::form::instant;
use crate::parse::syntax::key_values::{fields, quoted_length, unquoted};

/// A klog line.
pub struct Entry<'a> {
    /// As `logs.level`.
    pub level: &'static str,
    pub when: When<'a>,
    /// `file.go:line`; empty where the line has no header.
    pub caller: Cow<'a, str>,
    pub message: Cow<'a, str>,
    /// `key=value` pairs as written.
    pub fields: Cow<'a, str>,
}

/// Time of a line as written.
#[derive(Clone, Copy)]
pub enum When<'a> {
    /// `MMDD HH:MM:SS.ffffff`.
    NoYear(&'a str),
    /// ns since the epoch.
    Known(i64),
    /// The line has no header: only whoever carried it knows.
    Outer,
}

/// Dissects a klog line, or says that it is none.
pub fn entry(text: &str) -> Option<Entry<'_>> {
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
    let (message, pairs) = message_and_pairs(message);
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

/// The message, unquoted, and the pairs behind it.
fn message_and_pairs(text: &str) -> (Cow<'_, str>, &str) {
    match text.starts_with('"').then(|| quoted_length(text.as_bytes())).flatten() {
        Some(length) => (unquoted(&text[..length]), text[length..].trim_start()),
        None => (Cow::Borrowed(text), ""),
    }
}

/// A structured entry that lost its header: a quoted message, and nothing but pairs behind it.
pub fn headless(text: &str) -> Option<Entry<'_>> {
    let text = text.trim_end();
    if !text.starts_with('"') {
        return None;
    }
    let (message, pairs) = message_and_pairs(text);
    if message.is_empty() || message.len() + 2 > text.len() || (pairs.is_empty() && !text.ends_with('"')) {
        return None;
    }
    let first = fields(pairs).next();
    if !pairs.is_empty() && first.is_none() {
        return None;
    }
    let failed = fields(pairs).any(|(key, _)| key == "err");
    let level = if failed { "error" } else { "info" };
    Some(Entry { level, when: When::Outer, caller: "".into(), message, fields: pairs.into() })
}

/// What the lines behind an entry inherit from it.
#[derive(Clone, Copy)]
pub struct Ahead {
    pub time: Option<i64>,
    pub level: &'static str,
    pub outer_time: Option<i64>,
    /// Whether a value that began with `=<` is still open.
    pub is_open: bool,
}

/// Lines further apart than this, by whoever carried them, are not one entry.
const APART: u64 = instant::SECOND.unsigned_abs();

impl Ahead {
    /// Whether a line that is no entry belongs to the entry ahead of it: within an open value always, else if it has no time
    /// of its own and was carried away with it.
    pub fn goes_on(&self, text: &str, outer_time: Option<i64>) -> bool {
        if self.is_open {
            return true;
        }
        let near = match (self.outer_time, outer_time) {
            (Some(first), Some(now)) => now.abs_diff(first) <= APART,
            _ => true,
        };
        near && crate::form::stamp::ahead(text.as_bytes()).is_none()
    }
}

/// Whether a line leaves a value open: `err=<` at its end.
pub fn opens_value(text: &str) -> bool {
    text.trim_end().ends_with("=<")
}

/// The pairs behind the end of an open value: ` > ipFamily="IPv4"`.
pub fn closes_value(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix('>')?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start())
}

/// Offsets from UTC are multiples of this.
const QUARTER_HOUR: i64 = 900 * instant::SECOND;
/// A line is carried away within this time after it was written.
const CARRIED_WITHIN: i64 = 60 * instant::SECOND;

/// Time of a klog line, ns.
pub fn moment_of(when: &str, outer: Option<i64>, context: &Context) -> Option<i64> {
    if let (Some(year), Some(offset)) = (context.year, context.utc_offset) {
        return instant::klog(when.as_bytes(), year, offset);
    }
    let outer = outer?;
    // Whichever year brings it next to the outer reading; at New Year the two may differ.
    let near = (outer / instant::SECOND / 31_556_952 + 1970) as i16;
    let candidates = [near - 1, near, near + 1].into_iter().filter_map(|year| instant::klog(when.as_bytes(), year, 0));
    let local = candidates.min_by_key(|local| (outer - local).abs())?;
    let zone = (outer - local + QUARTER_HOUR / 2).div_euclid(QUARTER_HOUR) * QUARTER_HOUR;
    let time = local.checked_add(zone)?;
    (zone.abs() <= 14 * 4 * QUARTER_HOUR && (outer - time).abs() <= CARRIED_WITHIN).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::{Ahead, headless, moment_of};
    use crate::parse::harness::context;

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
    fn an_outer_time_at_the_end_of_what_a_number_holds_is_no_ground() {
        assert_eq!(moment_of("0411 23:35:00.000000", Some(i64::MAX), &context()), None);
        let ahead = Ahead { time: None, level: "info", outer_time: Some(i64::MIN), is_open: false };
        assert!(!ahead.goes_on("more", Some(i64::MAX)) && ahead.goes_on("more", Some(i64::MIN)));
    }

    #[test]
    fn an_entry_without_its_header_is_a_message_with_pairs() {
        let found = headless("\"SyncProxyRules complete\" elapsed=\"50ms\"").expect("an entry");
        assert_eq!(
            (&*found.message, &*found.fields, found.level),
            ("SyncProxyRules complete", "elapsed=\"50ms\"", "info")
        );
        assert!(headless("\"Sync failed\"").is_some());
        for text in ["plain words", "\"a\": 1,", "\"open", "\"\" a=1", "\"a\" b c=1"] {
            assert!(headless(text).is_none(), "{text}");
        }
    }
}
