//! `kubectl get … -o json` or `-o yaml`: lists and objects. Items have no time of their own.
//!
//! ```text
//! { "apiVersion": "v1", "items": [ { "apiVersion": "v1", "kind": "Service", … } ], "kind": "List" }
//! ---
//! apiVersion: v1
//! items:
//! - apiVersion: v1
//!   kind: Service
//! ```

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::objects::kubernetes::{self, Witness};
use crate::parse::objects::kubernetes_facts;
use crate::parse::syntax::yaml;

/// The format.
pub const FORMAT: Format = Format {
    kind: "list",
    title: "Kubernetes lists and objects, JSON or YAML",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{ "apiVersion": "v1", "items": [ { "kind": "Service", … } ], "kind": "List" }"#,
    recognised: "JSON objects with \"apiVersion\" and either \"items\" or \"kind\" and \"metadata\"; YAML with these keys at the left margin",
    capture: "kubectl get services,endpointslices,pods -A -o json (or -o yaml)",
    proves: "which Services, pods and endpoints there were (without a time)",
};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    /// Of a watch event that was printed over many lines.
    #[serde(borrow, default, rename = "type")]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

fn sniff(head: &Head) -> Sniff {
    let bytes = head.bytes.trim_ascii_start();
    let has = |mark: &[u8]| memchr::memmem::find(bytes, mark).is_some();
    if is_yaml(bytes) {
        return Sniff::Yes;
    }
    if !bytes.starts_with(b"{") || !has(b"\"apiVersion\"") || has(b"\"auditID\"") || has(b"\"logEvents\"") {
        return Sniff::No;
    }
    // The first key tells a document from lines of other things that contain objects.
    let first = bytes[1..].trim_ascii_start();
    let begins = [&b"\"apiVersion\""[..], b"\"kind\"", b"\"items\"", b"\"metadata\"", b"\"type\""]
        .iter()
        .any(|key| first.starts_with(key));
    if begins && (has(b"\"items\"") || has(b"\"metadata\"")) { Sniff::Yes } else { Sniff::No }
}

fn is_yaml(bytes: &[u8]) -> bool {
    is_yaml_watch(bytes)
        || yaml::has_keys(bytes, &["apiVersion"])
            && (yaml::has_keys(bytes, &["items"]) || yaml::has_keys(bytes, &["kind", "metadata"]))
            && !yaml::has_keys(bytes, &["auditID"])
}

/// `kubectl get -w -o yaml --output-watch-events`.
fn is_yaml_watch(bytes: &[u8]) -> bool {
    yaml::has_keys(bytes, &["object", "type"]) && memchr::memmem::find(bytes, b"\n  apiVersion:").is_some()
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    if is_yaml(chunk.bytes.trim_ascii_start()) {
        return yaml::pieces(chunk.bytes, chunk.first_line, |piece| {
            let line =
                |bytes| Line { bytes, number: piece.line, offset: chunk.offset + piece.offset as i64, ended: true };
            match &piece.json {
                Ok(json) => match serde_json::from_slice(json) {
                    Ok(Document { event: Some(event), object: Some(object), .. }) => {
                        batch.loss(loss::NO_TIME, 1);
                        one(context, &line(object.get().as_bytes()), "", &event, batch);
                    }
                    _ => one(context, &line(json), &piece.list_kind, "LIST", batch),
                },
                Err(reason) => batch.reject(context, &line(piece.text), reason),
            }
        });
    }
    // Several documents may follow each other: `kubectl get -w -o json` prints one a change.
    let mut documents = serde_json::Deserializer::from_slice(chunk.bytes).into_iter::<&RawValue>();
    let mut place = Place { bytes: chunk.bytes, at: 0, number: chunk.first_line, offset: chunk.offset };
    let mut count = 0;
    loop {
        let begin = documents.byte_offset();
        match documents.next() {
            Some(Ok(raw)) => {
                document(context, raw, &mut place, batch);
                count += 1;
            }
            Some(Err(error)) => {
                // What is whole of a list that breaks off is still good.
                let salvaged = items_of_broken(context, &chunk.bytes[begin..], &mut place, batch);
                let what = format!(
                    "expected a Kubernetes list or object as JSON: {error} ({salvaged} items ahead of it were read)"
                );
                let line = place.line(&chunk.bytes[begin.max(place.at)..]);
                return batch.reject(context, &line, &what);
            }
            None => break,
        }
    }
    if count == 0 {
        batch.reject(context, &place.line(chunk.bytes), "expected a Kubernetes list or object as JSON");
    }
}

/// Where a part of the chunk stands, counted forwards.
struct Place<'a> {
    bytes: &'a [u8],
    at: usize,
    number: i64,
    offset: i64,
}

impl<'a> Place<'a> {
    /// The line of a part that borrows from the chunk; parts come in their order.
    fn line(&mut self, part: &'a [u8]) -> Line<'a> {
        let at = (part.as_ptr() as usize).saturating_sub(self.bytes.as_ptr() as usize).min(self.bytes.len());
        if at > self.at {
            self.number += memchr::memchr_iter(b'\n', &self.bytes[self.at..at]).count() as i64;
            self.at = at;
        }
        Line { bytes: part, number: self.number, offset: self.offset + at as i64, ended: true }
    }
}

fn document<'a>(context: &Context, raw: &'a RawValue, place: &mut Place<'a>, batch: &mut Batch) {
    let line = place.line(raw.get().as_bytes());
    let document: Document<'_> = match serde_json::from_str(raw.get()) {
        Ok(document) => document,
        Err(error) => {
            return batch.reject(context, &line, &format!("expected a Kubernetes list or object as JSON: {error}"));
        }
    };
    let kind = document.kind.unwrap_or_default();
    match (document.items, document.event, document.object) {
        (Some(items), _, _) => {
            let of_list = kind.strip_suffix("List").unwrap_or_default();
            for item in items {
                one(context, &place.line(item.get().as_bytes()), of_list, "LIST", batch);
            }
        }
        (None, Some(event), Some(object)) => {
            batch.loss(loss::NO_TIME, 1);
            one(context, &place.line(object.get().as_bytes()), "", &event, batch);
        }
        _ => one(context, &line, "", "LIST", batch),
    }
}

/// Items of a list whose end is missing, as far as they are whole.
fn items_of_broken<'a>(context: &Context, text: &'a [u8], place: &mut Place<'a>, batch: &mut Batch) -> usize {
    let Some(at) = memchr::memmem::find(text, b"\"items\"") else { return 0 };
    let Some(open) = memchr::memchr(b'[', &text[at..]) else { return 0 };
    let mut rest = &text[at + open + 1..];
    let mut count = 0;
    loop {
        let mut items = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let Some(Ok(item)) = items.next() else { return count };
        let end = items.byte_offset();
        one(context, &place.line(item.get().as_bytes()), "", "LIST", batch);
        count += 1;
        let Some(behind) = rest[end..].trim_ascii_start().strip_prefix(b",") else { return count };
        rest = behind;
    }
}

fn one(context: &Context, line: &Line<'_>, list_kind: &str, event: &str, batch: &mut Batch) {
    let (kind, object) = match kubernetes::object(line.bytes, list_kind) {
        Ok(Some(found)) => found,
        Ok(None) => {
            batch.record(None);
            return kubernetes_facts::read(context, line.number, line.bytes, list_kind, batch);
        }
        Err(reason) => return batch.reject(context, line, &reason),
    };
    batch.record(None);
    let witness = Witness {
        source: context.source,
        record: line.number,
        clock: &context.clock,
        name: if event == "LIST" { "list" } else { "watch" },
        event: event.into(),
        ..Witness::default()
    };
    kubernetes::push(&kind, &object, &witness, batch);
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    const POD: &str = "{\n \"apiVersion\": \"v1\",\n \"kind\": \"Pod\",\n \"metadata\": {\"name\": \"a\"}\n}\n";

    #[test]
    fn a_watch_in_yaml_is_a_document_an_event() {
        let event = "---\nobject:\n  apiVersion: discovery.k8s.io/v1\n  endpoints: []\n  kind: EndpointSlice\n  metadata:\n    name: a\ntype: ADDED\n";
        assert_eq!((FORMAT.sniff)(&head("x.yaml", event.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, &event.repeat(2));
        assert_eq!((batch.records, batch.rejected, batch.losses["no-time"].1), (2, 0, 2));
    }

    #[test]
    fn documents_that_follow_each_other_are_all_read() {
        let batch = parse_text(&FORMAT, &POD.repeat(3));
        assert_eq!((batch.records, batch.rejected), (3, 0));
    }

    #[test]
    fn whole_items_of_a_list_that_breaks_off_are_kept() {
        let text = format!("{{\"apiVersion\": \"v1\", \"items\": [\n{POD},{POD},{{\"kind\": \"Po");
        let batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (2, 1));
    }

    #[test]
    fn an_object_of_another_kind_is_counted_not_refused() {
        let batch = parse_text(
            &FORMAT,
            "{\"apiVersion\": \"x/v1\", \"kind\": \"Thing\", \"metadata\": {}, \"spec\": {\"ports\": 3}}",
        );
        assert_eq!((batch.records, batch.rejected), (1, 0));
    }
}
