//! One line of the Prometheus text format or of OpenMetrics.
//!
//! ```text
//! http_requests_total{code="200",method="get"} 1027 1395066363000
//! {"http.requests","a.b"="c",} 1e3
//! x_bucket{le="1"} 7 1520879607.789 # {trace_id="a"} 0.3 1520879607.1
//! x_total 7 1520879607.789 st@1520879000.1
//! ```
//!
//! Written after the descriptions at prometheus.io/docs/instrumenting/exposition_formats and in the OpenMetrics
//! text format. Escapes in quoted text: `\\`, `\"`, `\n`; any other escape is kept as it stands.

use std::borrow::Cow;

use crate::form::instant::{SECOND, epoch_seconds};

/// Name and labels of a line, as they identify a series.
#[derive(Debug, PartialEq)]
pub struct Identity {
    pub name: String,
    /// JSON object, keys sorted, no white space; labels with an empty value are left out, as they equal absent ones.
    pub labels: String,
    /// Bytes of the line that the name and the labels took.
    pub length: usize,
}

/// What stands behind name and labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub value: f64,
    pub stamp: Stamp,
    /// Since when it counts (`st@`, OpenMetrics 2), ns.
    pub start: Option<i64>,
    pub exemplar: bool,
}

/// The time stamp of a line, as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stamp {
    None,
    /// Milliseconds in the text format, seconds in OpenMetrics.
    Integer(i64),
    /// Seconds, in ns.
    Seconds(i64),
}

impl Stamp {
    /// The moment, ns, of a stamp that counts seconds.
    pub fn in_seconds(self) -> Option<i64> {
        match self {
            Stamp::None => None,
            Stamp::Integer(seconds) => seconds.checked_mul(SECOND),
            Stamp::Seconds(time) => Some(time),
        }
    }
}

/// Where white space ends.
fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// Quoted text that begins at the quote `at`, unescaped, and the place behind its closing quote.
fn quoted(bytes: &[u8], at: usize) -> Result<(Cow<'_, str>, usize), &'static str> {
    let start = at + 1;
    let mut end = start;
    let mut escaped = false;
    loop {
        match memchr::memchr2(b'"', b'\\', &bytes[end.min(bytes.len())..]) {
            None => return Err("expected a closing quote"),
            Some(ahead) if bytes[end + ahead] == b'\\' => {
                escaped = true;
                end += ahead + 2;
            }
            Some(ahead) => {
                end += ahead;
                break;
            }
        }
    }
    let text = std::str::from_utf8(&bytes[start..end]).map_err(|_| "expected UTF-8 in quoted text")?;
    if !escaped {
        return Ok((Cow::Borrowed(text), end + 1));
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some(other @ ('\\' | '"')) => plain.push(other),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    Ok((Cow::Owned(plain), end + 1))
}

/// A bare metric name (`colon`) or label name.
fn bare(bytes: &[u8], at: usize, colon: bool) -> Result<(&str, usize), &'static str> {
    let rest = &bytes[at..];
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || (colon && **byte == b':'))
        .count();
    let name = &rest[..length];
    if name.first().is_none_or(u8::is_ascii_digit) {
        return Err("expected a name");
    }
    Ok((std::str::from_utf8(name).map_err(|_| "expected UTF-8 in a name")?, at + length))
}

/// Reads name and labels at the beginning of a line.
pub fn identity(line: &[u8]) -> Result<Identity, &'static str> {
    let mut at = skip_blanks(line, 0);
    let mut name: Option<Cow<str>> = None;
    if line.get(at) != Some(&b'{') {
        let (bare_name, end) = bare(line, at, true)?;
        name = Some(Cow::Borrowed(bare_name));
        at = end;
    }
    let mut labels: Vec<(Cow<str>, Cow<str>)> = Vec::new();
    let brace = skip_blanks(line, at);
    if line.get(brace) == Some(&b'{') {
        at = skip_blanks(line, brace + 1);
        while line.get(at) != Some(&b'}') {
            let is_quoted = line.get(at) == Some(&b'"');
            let (key, end) = match line.get(at) {
                None => return Err("expected a closing brace"),
                Some(b'"') => quoted(line, at)?,
                Some(_) => bare(line, at, false).map(|(key, end)| (Cow::Borrowed(key), end))?,
            };
            at = skip_blanks(line, end);
            if line.get(at) == Some(&b'=') {
                at = skip_blanks(line, at + 1);
                if line.get(at) != Some(&b'"') {
                    return Err("expected a quoted label value");
                }
                let (value, end) = quoted(line, at)?;
                at = skip_blanks(line, end);
                if key == "__name__" && name.is_none() {
                    name = Some(value);
                } else {
                    labels.push((key, value));
                }
            } else if is_quoted && name.is_none() {
                name = Some(key);
            } else {
                return Err("expected = behind a label name");
            }
            match line.get(at) {
                Some(b',') => at = skip_blanks(line, at + 1),
                Some(b'}') => {}
                _ => return Err("expected a comma or a closing brace behind a label"),
            }
        }
        at += 1;
    }
    let name = name.filter(|name| !name.is_empty()).ok_or("expected a metric name")?;
    let labels = labels_json(labels)?;
    Ok(Identity { name: name.into_owned(), labels, length: at })
}

/// Labels as a JSON object with sorted keys.
pub fn labels_json<'a>(mut labels: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Result<String, &'static str> {
    labels.sort_unstable();
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("expected each label once");
    }
    let mut json =
        String::with_capacity(2 + labels.iter().map(|(key, value)| key.len() + value.len() + 6).sum::<usize>());
    json.push('{');
    for (key, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        if json.len() > 1 {
            json.push(',');
        }
        json_text(&mut json, key);
        json.push(':');
        json_text(&mut json, value);
    }
    json.push('}');
    Ok(json)
}

/// Appends a JSON string, escaped as serde_json does.
fn json_text(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // A string cannot fail to serialise; were it to, the label would read as empty.
        json.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

/// Reads value, time stamp and exemplar behind name and labels.
pub fn reading(rest: &[u8]) -> Result<Reading, &'static str> {
    let at = skip_blanks(rest, 0);
    let token = token_end(rest, at);
    let value = value(&rest[at..token]).ok_or("expected a value")?;
    let at = skip_blanks(rest, token);
    if at == rest.len() {
        return Ok(Reading { value, stamp: Stamp::None, start: None, exemplar: false });
    }
    let (stamp, at) = match rest[at] {
        b'#' | b's' => (Stamp::None, at),
        _ => {
            let end = token_end(rest, at);
            (stamp(&rest[at..end]).ok_or("expected a time stamp behind the value")?, skip_blanks(rest, end))
        }
    };
    let (start, at) = match rest[at..].strip_prefix(b"st@") {
        None => (None, at),
        Some(text) => {
            let end = token_end(text, 0);
            let start = self::stamp(&text[..end]).and_then(Stamp::in_seconds).ok_or("expected seconds behind st@")?;
            (Some(start), skip_blanks(rest, at + 3 + end))
        }
    };
    match &rest[at..] {
        [] => Ok(Reading { value, stamp, start, exemplar: false }),
        [b'#', b' ', b'{', ..] => Ok(Reading { value, stamp, start, exemplar: true }),
        _ => Err("expected the end of the line behind the time stamp"),
    }
}

fn token_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| !matches!(byte, b' ' | b'\t')).count()
}

/// A sample value: any float that Go reads, `NaN`, `±Inf`.
pub fn value(token: &[u8]) -> Option<f64> {
    // Counters are mostly short integers: exact in a double up to 15 digits.
    if token.len() <= 15 && !token.is_empty() {
        let mut sum: u64 = 0;
        let mut plain = true;
        for byte in token {
            let digit = byte.wrapping_sub(b'0');
            plain &= digit < 10;
            sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        if plain {
            return Some(sum as f64);
        }
    }
    fast_float2::parse(token).ok()
}

fn stamp(token: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(token).ok()?;
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Stamp::Integer(integer));
    }
    if let Some(exact) = epoch_seconds(token) {
        return Some(Stamp::Seconds(exact));
    }
    let seconds: f64 = fast_float2::parse(token).ok()?;
    let nanoseconds = seconds * 1e9;
    (nanoseconds.is_finite() && nanoseconds.abs() < i64::MAX as f64).then_some(Stamp::Seconds(nanoseconds as i64))
}

#[cfg(test)]
mod tests {
    use super::{Stamp, identity, reading, value};

    fn series(line: &str) -> Result<(String, String), &'static str> {
        identity(line.as_bytes()).map(|found| (found.name, found.labels))
    }

    #[test]
    fn reads_identities() {
        let check = |line: &str, name: &str, labels: &str| {
            assert_eq!(series(line), Ok((name.to_owned(), labels.to_owned())), "{line}");
        };
        check("a 1", "a", "{}");
        check("a{} 1", "a", "{}");
        check("a{z=\"1\",b=\"2\",} 1", "a", r#"{"b":"2","z":"1"}"#);
        check("a { z = \"1\" , b=\"2\" } 1", "a", r#"{"b":"2","z":"1"}"#);
        check("{\"a.b\",\"x y\"=\"y\"} 1", "a.b", r#"{"x y":"y"}"#);
        check("{__name__=\"up\", job=\"j\"} 1", "up", r#"{"job":"j"}"#);
        check("a{p=\"C:\\\\D \\\"q\\\"\\n\"} 1", "a", r#"{"p":"C:\\D \"q\"\n"}"#);
        check("a{x=\"\",y=\"}# \"} 1", "a", r##"{"y":"}# "}"##);
    }

    #[test]
    fn refuses_broken_identities() {
        for line in [
            "",
            "{} 1",
            "{x=\"1\"} 1",
            "1a 1",
            "a{x} 1",
            "a{x=1} 1",
            "a{x=\"1} 1",
            "a{x=\"1\\",
            "a{x=\"1\"",
            "a{x=\"1\" y=\"2\"} 1",
            "a{x=\"1\",x=\"2\"} 1",
            "a{,} 1",
        ] {
            assert!(series(line).is_err(), "{line}");
        }
    }

    #[test]
    fn reads_values_and_stamps() {
        let check = |rest: &str| reading(rest.as_bytes()).map(|found| (found.value, found.stamp));
        assert_eq!(check(" 1"), Ok((1.0, Stamp::None)));
        assert_eq!(check(" 1.5e3 1395066363000"), Ok((1500.0, Stamp::Integer(1_395_066_363_000))));
        assert_eq!(check(" -1 1520879607.789"), Ok((-1.0, Stamp::Seconds(1_520_879_607_789_000_000))));
        assert_eq!(check("\t1\t# {a=\"b\"} 1 2"), Ok((1.0, Stamp::None)));
        assert_eq!(check(" +Inf -3982045"), Ok((f64::INFINITY, Stamp::Integer(-3_982_045))));
        let started = |rest: &str| reading(rest.as_bytes()).map(|found| (found.stamp, found.start));
        let second = 1_000_000_000;
        assert_eq!(started(" 1 5 st@3"), Ok((Stamp::Integer(5), Some(3 * second))));
        assert_eq!(started(" 1 st@1520879607.5 # {a=\"b\"} 1"), Ok((Stamp::None, Some(1_520_879_607_500_000_000))));
        for rest in ["", " ", " x", " 1 x", " 1 2 3", " 1 # x", " 1 s", " 1 st@", " 1 st@x", " 1 st@1 2"] {
            assert!(check(rest).is_err(), "{rest}");
        }
        assert!(value(b"NaN").is_some_and(f64::is_nan));
        assert_eq!(value(b"18446744073709551615"), Some(18_446_744_073_709_551_615.0));
        assert_eq!(value(b"1_0"), None);
    }
}
