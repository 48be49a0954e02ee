//! `key=value key="quoted value" key=[list]`, as klog and logfmt write their fields.

use std::borrow::Cow;

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
    use super::fields;

    #[test]
    fn reads_fields() {
        let found: Vec<_> = fields(r#" a=1 b="x \"y\"" c=["1","]"] d= e="open"#)
            .map(|(key, value)| (key, value.into_owned()))
            .collect();
        let expected = [("a", "1"), ("b", "x \"y\""), ("c", "[\"1\",\"]\"]"), ("d", ""), ("e", "\"open")];
        assert_eq!(found, expected.map(|(key, value)| (key, value.to_owned())));
    }
}
