//! What stood inside an entry of a log store, and the lines of it.

use std::borrow::Cow;

use super::json_fields::{Fields, Val};
use super::json_store::Shape;
use super::layer::Out;
use crate::form::Place;

/// Lines of a message at most.
const MOST_LINES: usize = 64 << 10;

/// What stood inside an entry.
pub fn message<'a>(shape: &Shape, fields: &Fields<'a>) -> Option<Cow<'a, str>> {
    let found = || shape.message.iter().filter_map(|name| fields.get(name));
    let text = || found().filter_map(Val::text);
    text().find(|text| !text.is_empty()).or_else(|| found().find_map(Val::message)).or_else(|| text().next())
}

/// The first line of the message of an entry that breaks off, as far as it goes.
pub fn message_within(shape: &Shape, text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).or_else(|error| std::str::from_utf8(&text[..error.valid_up_to()])).ok()?;
    shape.message.iter().find_map(|name| {
        let key = format!("\"{}\"", name.rsplit('.').next().unwrap_or(name));
        let rest = text[text.find(&key)? + key.len()..].trim_start().strip_prefix(':')?.trim_start();
        if rest.starts_with('{') {
            return Some(rest.replace(['\n', '\r'], " "));
        }
        let inner = rest.strip_prefix('"')?;
        let mut end = inner.len();
        let mut escaped = None;
        for (at, byte) in inner.bytes().enumerate() {
            match (escaped, byte) {
                (None, b'"') => {
                    end = at;
                    break;
                }
                (None, b'\\') => escaped = Some(at),
                (Some(begin), byte) if at == begin + 1 && byte != b'u' => escaped = None,
                (Some(begin), _) if at == begin + 5 => escaped = None,
                _ => {}
            }
        }
        // An escape that is cut says nothing.
        let end = escaped.filter(|_| end == inner.len()).unwrap_or(end);
        let message: String = serde_json::from_str(&format!("\"{}\"", inner.get(..end)?)).ok()?;
        message.lines().next().map(str::to_owned)
    })
}

/// The lines of a message. What has more of them than any message goes on in its last one.
pub fn lines(text: &str, place: Place, out: &mut Out) {
    for line in text.splitn(MOST_LINES, '\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match line.contains('\n') {
            true => out.bare_at(place, line.replace(['\n', '\r'], " ").as_bytes(), true),
            false => out.bare_at(place, line.as_bytes(), true),
        }
    }
}
