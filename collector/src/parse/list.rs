//! `kubectl get … -o json`: a list, or one object. Its items have no time of their own.
//!
//! ```text
//! { "apiVersion": "v1", "items": [ { "apiVersion": "v1", "kind": "Service", … } ], "kind": "List" }
//! ```

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;

use super::kubernetes::{self, Object, Witness};
use super::{Batch, Chunk, Context, Cut, Format, Head, Line, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "list",
    title: "Kubernetes list or object, JSON",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    parse,
    sample: r#"{ "apiVersion": "v1", "items": [ { "kind": "Service", … } ], "kind": "List" }"#,
    recognised: "one JSON object with \"apiVersion\" and either \"items\" or \"kind\" and \"metadata\"",
    capture: "kubectl get services,endpointslices,pods -A -o json",
    proves: "which Services, pods and endpoints there were (without a time)",
};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    kind: Option<&'a str>,
}

fn sniff(head: &Head) -> Sniff {
    let bytes = head.bytes.trim_ascii_start();
    let has = |mark: &[u8]| memchr::memmem::find(bytes, mark).is_some();
    if !bytes.starts_with(b"{") || !has(b"\"apiVersion\"") || has(b"\"auditID\"") || has(b"\"logEvents\"") {
        return Sniff::No;
    }
    // The first key tells a document from lines of other things that contain objects.
    let first = bytes[1..].trim_ascii_start();
    let begins =
        [&b"\"apiVersion\""[..], b"\"kind\"", b"\"items\"", b"\"metadata\""].iter().any(|key| first.starts_with(key));
    if begins && (has(b"\"items\"") || has(b"\"metadata\"")) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let whole = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
    let document: Document<'_> = match serde_json::from_slice(chunk.bytes) {
        Ok(document) => document,
        Err(error) => {
            let line = chunk.first_line + error.line() as i64 - 1;
            batch.reject(
                context,
                &Line { number: line, ..whole },
                &format!("expected a Kubernetes list as JSON: {error}"),
            );
            return;
        }
    };
    let list_kind = document.kind.unwrap_or_default().strip_suffix("List").unwrap_or_default();
    match document.items {
        Some(items) => {
            let mut counted = (0, 0);
            for item in items {
                // Where the item stands, for its line: `item` borrows from the chunk.
                let at = (item.get().as_ptr() as usize).saturating_sub(chunk.bytes.as_ptr() as usize);
                counted.1 += memchr::memchr_iter(b'\n', &chunk.bytes[counted.0..at]).count() as i64;
                counted.0 = at;
                let number = chunk.first_line + counted.1;
                let line = Line { bytes: item.get().as_bytes(), number, offset: chunk.offset + at as i64, ended: true };
                one(context, &line, list_kind, batch);
            }
        }
        None => one(context, &whole, "", batch),
    }
}

fn one(context: &Context, line: &Line<'_>, list_kind: &str, batch: &mut Batch) {
    let object: Object<'_> = match serde_json::from_slice(line.bytes) {
        Ok(object) => object,
        Err(error) => return batch.reject(context, line, &format!("expected a Kubernetes object: {error}")),
    };
    batch.record(None);
    let kind = object.kind.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| list_kind.into());
    let witness = Witness {
        source: context.source,
        record: line.number,
        clock: &context.clock,
        name: "list",
        event: "LIST".into(),
        ..Witness::default()
    };
    kubernetes::push(&kind, &object, &witness, batch);
}
