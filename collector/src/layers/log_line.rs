//! What proxy and agent logs have in common: what others wrote ahead of a line, and `key=value` fields.
//!
//! ```text
//! 2021-08-03T09:27:45.396612809Z stderr F I0803 09:27:45.396497 …      CRI
//! 2021-08-03T09:27:45.396612809Z I0803 09:27:45.396497 …               kubectl logs --timestamps
//! {"log":"I0803 09:27:45.396497 …\n","stream":"stderr","time":"…"}     docker
//! Aug 03 09:27:45 node-a kube-proxy[2445]: I0803 09:27:45.396497 …     journald (no year)
//! [pod/kube-proxy-x/kube-proxy] I0803 09:27:45.396497 …                kubectl logs --prefix
//! kube-proxy-x kube-proxy I0803 09:27:45.396497 …                      stern
//! {"__REALTIME_TIMESTAMP":"…","MESSAGE":"I0803 09:27:45.396497 …"}     journalctl -o json
//! ```

use std::borrow::Cow;

use serde::Deserialize;

use crate::form::instant;

/// A line without what stood ahead of it.
pub struct Stripped<'a> {
    /// The clock reading of whoever carried the line, ns.
    pub outer_time: Option<i64>,
    pub text: Cow<'a, str>,
    /// Whether the container runtime split the line here, and the next one goes on with it.
    pub partial: bool,
}

/// Joins what a container runtime split: lines of more than 16 KiB (CRI's tag `P`, then `F`).
#[derive(Default)]
pub struct Joined {
    begun: Option<(String, Option<i64>)>,
}

impl Joined {
    /// Whether a line waits for its rest.
    pub fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The line, with what stood ahead of it; `None` where it goes on in the next one.
    pub fn join<'a>(&mut self, line: Stripped<'a>, is_last: bool) -> Option<Stripped<'a>> {
        let line = match self.begun.take() {
            Some((mut text, outer_time)) => {
                text.push_str(&line.text);
                Stripped { outer_time, text: Cow::Owned(text), partial: line.partial }
            }
            None => line,
        };
        if line.partial && !is_last {
            self.begun = Some((line.text.into_owned(), line.outer_time));
            return None;
        }
        Some(line)
    }
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// A line of `journalctl -o json`.
#[derive(Deserialize)]
struct JournalLine<'a> {
    #[serde(borrow, rename = "MESSAGE")]
    message: Cow<'a, str>,
    #[serde(borrow, rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<Cow<'a, str>>,
}

/// Takes off what the container runtime, kubectl or journald put ahead of a line.
pub fn strip(line: &str) -> Stripped<'_> {
    if line.starts_with("{\"log\":")
        && let Ok(found) = serde_json::from_str::<DockerLine>(line)
    {
        let outer_time = instant::rfc3339(found.time.as_bytes());
        let text = match found.log {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches('\n')),
            Cow::Owned(text) => Cow::Owned(text.trim_end_matches('\n').to_owned()),
        };
        return Stripped { outer_time, text, partial: false };
    }
    if line.starts_with('{')
        && line.contains("\"MESSAGE\"")
        && let Ok(found) = serde_json::from_str::<JournalLine>(line)
    {
        let micros = found.realtime.and_then(|text| text.parse::<i64>().ok());
        return Stripped {
            outer_time: micros.and_then(|micros| micros.checked_mul(1_000)),
            text: found.message,
            partial: false,
        };
    }
    let mut rest = line;
    if rest.starts_with("[pod/")
        && let Some((_, tail)) = rest.split_once("] ")
    {
        rest = tail;
    }
    let (mut outer_time, mut partial) = (None, false);
    if let Some((word, tail)) = rest.split_once(' ')
        && let Some(time) = instant::rfc3339(word.as_bytes())
    {
        outer_time = Some(time);
        rest = tail;
        for stream in ["stdout ", "stderr "] {
            if let Some(tagged) = rest.strip_prefix(stream)
                && let Some(text) = tagged.strip_prefix("F ").or_else(|| tagged.strip_prefix("P "))
            {
                partial = tagged.starts_with('P');
                rest = text;
            }
        }
    }
    Stripped { outer_time, text: Cow::Borrowed(behind_names(strip_journal(rest))), partial }
}

/// A klog line behind the names that stern (`pod container `) and docker compose (`name_1  | `) write, coloured or not.
fn behind_names(line: &str) -> &str {
    let bytes = line.as_bytes();
    let header = |at: usize| {
        let head = &bytes[at..];
        head.len() > 22
            && matches!(head[0], b'I' | b'W' | b'E' | b'F')
            && head[1..5].iter().all(u8::is_ascii_digit)
            && head[5] == b' '
            && (head[8], head[11], head[14]) == (b':', b':', b'.')
    };
    if header(0) || bytes.starts_with(b"{") {
        return line;
    }
    let near = bytes.len().min(160);
    let behind = (1..near).find(|at| matches!(bytes[at - 1], b' ' | b'm') && header(*at));
    behind.and_then(|at| line.get(at..)).unwrap_or(line)
}

/// journald's `Mon DD HH:MM:SS host unit[pid]: `, and the `host unit[pid]: ` that is left of its ISO form.
fn strip_journal(line: &str) -> &str {
    let Some((ahead, text)) = line.split_once("]: ") else { return line };
    let Some((ahead, pid)) = ahead.rsplit_once('[') else { return line };
    let words = ahead.split_ascii_whitespace().count();
    let plausible = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) && matches!(words, 2 | 5);
    if plausible { text } else { line }
}

/// The pairs of `key=value key="quoted value" key=[list]`; a word without `=` ends them.
pub fn fields(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let (key, tail) = rest.split_once('=')?;
        if key.is_empty() || key.contains([' ', '"']) {
            return None;
        }
        let length = value_length(tail);
        let (raw, after) = tail.split_at(length);
        rest = after;
        Some((key, unquoted(raw)))
    })
}

/// How far a value reaches: quoted text, a bracketed list (quotes and brackets within it counted), or a word.
fn value_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => quoted_length(bytes).unwrap_or(bytes.len()),
        Some(open @ (b'[' | b'{')) => {
            let close = if *open == b'[' { b']' } else { b'}' };
            let (mut depth, mut at) = (0, 0);
            while at < bytes.len() {
                match bytes[at] {
                    b'"' => at += quoted_length(&bytes[at..]).map_or(bytes.len(), |length| length - 1),
                    byte if byte == *open => depth += 1,
                    byte if byte == close => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return at.min(bytes.len());
                }
            }
            bytes.len()
        }
        _ => memchr::memchr(b' ', bytes).unwrap_or(bytes.len()),
    }
}

/// Length of quoted text with its quotes.
pub fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Quoted text without its quotes and escapes (Go's `%q`: JSON's escapes, and `\x..`, `\a`, `\v`, kept as they stand).
pub fn unquoted(raw: &str) -> Cow<'_, str> {
    let Some(inner) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else { return Cow::Borrowed(raw) };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(inner), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::{Joined, fields, strip};

    #[test]
    fn strips_prefixes() {
        let check = |line: &str, time: Option<i64>| {
            let found = strip(line);
            assert_eq!((found.outer_time, &*found.text), (time, "I1123 x"), "{line}");
        };
        let time = Some(1_795_408_951_500_000_000);
        check("I1123 x", None);
        check("2026-11-23T04:42:31.5Z stderr F I1123 x", time);
        check("2026-11-23T04:42:31.5Z I1123 x", time);
        check("{\"log\":\"I1123 x\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-23T04:42:31.5Z\"}", time);
        check("Nov 23 04:42:31 node-a kube-proxy[2445]: I1123 x", None);
        check("2026-11-23T04:42:31.5+0000 node-a kube-proxy[2445]: I1123 x", time);
        check("[pod/kube-proxy-x/kube-proxy] I1123 x", None);
        check("{\"__REALTIME_TIMESTAMP\":\"1795408951500000\",\"MESSAGE\":\"I1123 x\"}", time);
        let klog = "I1123 04:22:33.606679       1 proxier.go:662] \"SyncProxyRules complete\"";
        for ahead in ["kube-proxy-x kube-proxy ", "\u{1b}[32mkube-proxy-x\u{1b}[0m kube-proxy ", "kube-proxy_1  | ", ""]
        {
            assert_eq!(strip(&format!("{ahead}{klog}")).text, klog, "{ahead}");
        }
    }

    #[test]
    fn lines_that_the_runtime_split_are_joined() {
        let mut joined = Joined::default();
        let mut next =
            |line: &str, is_last| joined.join(strip(line), is_last).map(|one| (one.outer_time, one.text.into_owned()));
        assert_eq!(next("2026-11-23T04:42:31.5Z stderr P I1123 ab", false), None);
        assert_eq!(next("2026-11-23T04:42:31.6Z stderr P cd", false), None);
        let time = Some(1_795_408_951_500_000_000);
        assert_eq!(next("2026-11-23T04:42:31.7Z stderr F ef", false), Some((time, "I1123 abcdef".to_owned())));
        assert_eq!(next("2026-11-23T04:42:31.5Z stderr P x", true), Some((time, "x".to_owned())));
    }

    #[test]
    fn reads_fields() {
        let found: Vec<_> = fields(r#" a=1 b="x \"y\"" c=["1","]"] d= e="open"#)
            .map(|(key, value)| (key, value.into_owned()))
            .collect();
        let expected = [("a", "1"), ("b", "x \"y\""), ("c", "[\"1\",\"]\"]"), ("d", ""), ("e", "\"open")];
        assert_eq!(found, expected.map(|(key, value)| (key, value.to_owned())));
    }
}
