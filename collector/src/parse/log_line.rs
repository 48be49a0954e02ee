//! What proxy and agent logs have in common: what others wrote ahead of a line, and `key=value` fields.
//!
//! ```text
//! 2021-08-03T09:27:45.396612809Z stderr F I0803 09:27:45.396497 …      CRI
//! 2021-08-03T09:27:45.396612809Z I0803 09:27:45.396497 …               kubectl logs --timestamps
//! {"log":"I0803 09:27:45.396497 …\n","stream":"stderr","time":"…"}     docker
//! Aug 03 09:27:45 node-a kube-proxy[2445]: I0803 09:27:45.396497 …     journald (no year)
//! [pod/kube-proxy-x/kube-proxy] I0803 09:27:45.396497 …                kubectl logs --prefix
//! ```

use std::borrow::Cow;

use serde::Deserialize;

use super::instant;

/// A line without what stood ahead of it.
pub struct Stripped<'a> {
    /// The clock reading of whoever carried the line, ns.
    pub outer_time: Option<i64>,
    pub text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
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
        return Stripped { outer_time, text };
    }
    let mut rest = line;
    if rest.starts_with("[pod/")
        && let Some((_, tail)) = rest.split_once("] ")
    {
        rest = tail;
    }
    let mut outer_time = None;
    if let Some((word, tail)) = rest.split_once(' ')
        && let Some(time) = instant::rfc3339(word.as_bytes())
    {
        outer_time = Some(time);
        rest = tail;
        for stream in ["stdout ", "stderr "] {
            if let Some(tagged) = rest.strip_prefix(stream)
                && let Some(text) = tagged.strip_prefix("F ").or_else(|| tagged.strip_prefix("P "))
            {
                rest = text;
            }
        }
    }
    Stripped { outer_time, text: Cow::Borrowed(strip_journal(rest)) }
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
    use super::{fields, strip};

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
