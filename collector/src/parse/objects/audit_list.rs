//! The marks of audit events in a text, and the events of a list.
//!
//! ```text
//! {"kind":"Event","auditID":"…", …}                               one
//! {"kind":"EventList","items":[{…}, …]}, [{…}, …]                 a webhook's batch, an array
//! ```
//!
//! What log stores and shippers put around events is taken off by their layers, ahead of this.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Lists within lists at most.
const DEEPEST: usize = 3;

/// Whether a text shows marks of audit events that stand for themselves, not within a text of something else.
pub fn is_audit(text: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    (has(b"\"auditID\"") && has(b"\"stage\""))
        || has(b"\"apiVersion\":\"audit.k8s.io/v")
        || has(b"\"apiVersion\": \"audit.k8s.io/v")
        || (has(b"audit.k8s.io/v1") && has(b"auditID:") && has(b"\nstage:"))
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default, rename = "auditID")]
    audit_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "apiVersion")]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

impl Outer<'_> {
    fn is_event(&self) -> bool {
        // What says that it is an event, whatever it lacks, is refused by name.
        let says = self.version.is_some_and(|version| version.get().starts_with("\"audit.k8s.io/"));
        self.audit_id.is_some() || self.stage.is_some() || says
    }
}

/// Whether a whole object is something else than an event or a list of some: events may stand deep within it.
pub fn is_other(object: &[u8]) -> bool {
    serde_json::from_slice::<Outer<'_>>(object).is_ok_and(|outer| !outer.is_event() && outer.items.is_none())
}

/// The JSON of a line, without what a log shipper put ahead of it.
pub fn object(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii();
    let begins = |at: &usize| match line[*at] {
        // Not `{app="audit"}`.
        b'{' => line[*at + 1..].trim_ascii_start().first().is_none_or(|next| b"\"}".contains(next)),
        // Not `kube-apiserver[1]:` and `[pod/kube-apiserver-a/kube-apiserver]`.
        b'[' => line[*at + 1..].trim_ascii_start().first().is_none_or(|next| b"{[\"]".contains(next)),
        _ => false,
    };
    let at = (0..line.len().min(300)).find(begins)?;
    // `aws … --output text` has the time of ingestion behind the message.
    let column = if line.last().is_some_and(u8::is_ascii_digit) { memchr::memrchr(b'\t', line) } else { None };
    let line = match column {
        Some(tab) if line[tab + 1..].iter().all(u8::is_ascii_digit) => line[..tab].trim_ascii_end(),
        _ => line,
    };
    line.get(at..)
}

/// All events of a JSON text.
///
/// # Errors
/// No JSON, or nothing in it that could be an event.
pub fn events(text: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut found = Vec::new();
    take(text, 0, &mut found)?;
    Ok(found)
}

fn take<'a>(text: &'a [u8], depth: usize, found: &mut Vec<&'a [u8]>) -> Result<(), String> {
    let wrong = |error: serde_json::Error| format!("expected an audit event as JSON: {error}");
    let none = || Err("expected an audit event, or a list of some, as JSON".to_owned());
    let items = match text.trim_ascii_start().first() {
        Some(b'{') => {
            let outer: Outer<'_> = serde_json::from_slice(text).map_err(wrong)?;
            if outer.audit_id.is_some() || outer.stage.is_some() {
                found.push(text);
                return Ok(());
            }
            match outer.items {
                Some(items) => items,
                None if outer.is_event() => {
                    found.push(text);
                    return Ok(());
                }
                None => return none(),
            }
        }
        Some(b'[') if depth < DEEPEST => serde_json::from_slice::<Vec<&RawValue>>(text).map_err(wrong)?,
        Some(_) => {
            // Whether it is JSON at all is the better reason.
            serde_json::from_slice::<serde::de::IgnoredAny>(text).map_err(wrong)?;
            return none();
        }
        None => return Err("expected an audit event as JSON, found nothing".to_owned()),
    };
    for item in items {
        let item = item.get().as_bytes();
        // One that is none is refused by itself, with its own reason.
        if depth >= DEEPEST || take(item, depth + 1, found).is_err() {
            found.push(item);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{events, is_audit, is_other, object};

    #[test]
    fn what_a_shipper_puts_ahead_is_no_part_of_the_object() {
        for (line, expected) in [
            ("Mar  1 10:00:00 a kube-apiserver[1234]: {\"a\":1}", Some("{\"a\":1}")),
            ("[pod/kube-apiserver-a/kube-apiserver] {\"a\":[1]}", Some("{\"a\":[1]}")),
            ("2026-11-23T04:24:06Z [{\"a\":1}]", Some("[{\"a\":1}]")),
            ("[", Some("[")),
            ("2026-11-23T04:24:06Z {app=\"audit\"} {\"a\":1}", Some("{\"a\":1}")),
            ("I0301 10:00:00.123456       1 trace.go:205] Trace[1]: x", None),
        ] {
            assert_eq!(object(line.as_bytes()), expected.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn lists_are_taken_apart_and_nonsense_is_an_error() {
        let event = r#"{"auditID":"a","stage":"ResponseComplete"}"#;
        for (text, count) in [
            (event.to_owned(), 1),
            (format!("[{event},{event}]"), 2),
            (format!(r#"{{"kind":"EventList","items":[{event},{{"a":1}}]}}"#), 2),
            (r#"{"kind":"EventList","items":[]}"#.to_owned(), 0),
        ] {
            assert_eq!(events(text.as_bytes()).map(|found| found.len()), Ok(count), "{text}");
        }
        for text in ["", "{", "{\"a\": 1}", "\"x\"", "7"] {
            assert!(events(text.as_bytes()).is_err(), "{text}");
        }
        assert!(events(format!("{}1{}", "[".repeat(90), "]".repeat(90)).as_bytes()).is_ok());
    }

    #[test]
    fn events_within_other_objects_are_no_marks() {
        assert!(is_audit(br#"{"auditID":"a","stage":"b"}"#));
        assert!(!is_audit(br#"{"log":"{\"auditID\":\"a\",\"stage\":\"b\",\"apiVersion\":\"audit.k8s.io/v1\"}"}"#));
        assert!(is_other(br#"{"event":{"auditID":"a"}}"#) && !is_other(br#"{"auditID":"a"}"#) && !is_other(b"{\"a"));
    }
}
