//! Kubernetes audit events in documents: pretty-printed JSON, JSON arrays, YAML, and CSV of Logs Insights.
//!
//! ```text
//! {                                       kind: Event                     @timestamp,@message
//!   "kind": "Event",                      apiVersion: audit.k8s.io/v1     2026-11-23 04:24:06.401,"{""kind"":""Event"",…}"
//!   "auditID": "…", …                     auditID: …
//! ```
//!
//! Documents may follow each other, in YAML behind `---`; lists are taken apart. Logs Insights gives 10,000 rows at most: a table
//! with exactly that many was cut off, which is a loss.

use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::csv;
use crate::form::effort::Effort;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::objects::{audit, audit_event, audit_list};
use crate::parse::syntax::yaml;

/// The format.
pub const FORMAT: Format = Format {
    kind: "audit-document",
    title: "Kubernetes audit events: pretty-printed JSON, arrays, YAML, CSV of CloudWatch Logs Insights",
    clock: ClockToken::Apiserver,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "kind: Event\napiVersion: audit.k8s.io/v1\nlevel: Metadata\nauditID: 7a816f5c-b093-4f2f-8124-0c6083e41cd4\nstage: ResponseComplete\nverb: update\nrequestReceivedTimestamp: '2025-04-01T13:33:59.446Z'\n",
    recognised: "the marks of audit events, in a document that is not one event a line",
    capture: "aws logs get-query-results …; jq . audit.log; gcloud logging read … --format json",
    proves: "as an audit log in lines does",
};

/// Rows that Logs Insights gives at most.
const CAP: usize = 10_000;

fn sniff(head: &Head) -> Sniff {
    // Deep within other objects they are somebody else's, and a proxy's log may hold some.
    let other = head.whole && audit_list::is_other(head.bytes) || audit::is_of_a_proxys_log(head.bytes);
    if !other && audit_list::is_audit(head.bytes) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let text = chunk.bytes.trim_ascii_start();
    let skipped = chunk.bytes.len() - text.len();
    match text.first() {
        Some(b'{' | b'[') => documents(context, chunk, skipped, batch),
        _ if yaml::has_keys(text, &["auditID"]) || yaml::has_keys(text, &["items"]) => {
            yaml::pieces(chunk.bytes, chunk.first_line, |piece| {
                let line = Line {
                    bytes: piece.text,
                    number: piece.line,
                    offset: chunk.offset + piece.offset as i64,
                    ended: true,
                };
                match piece.json {
                    Ok(json) => document(context, &line, &json, batch),
                    Err(reason) => batch.reject(context, &line, &reason),
                }
            });
        }
        _ => table(context, chunk, batch),
    }
}

fn documents(context: &Context, chunk: &Chunk, skipped: usize, batch: &mut Batch) {
    let mut number = chunk.first_line;
    let mut counted = 0;
    let mut begin = skipped;
    let mut effort = Effort::of(chunk.bytes.len());
    loop {
        number += memchr::memchr_iter(b'\n', &chunk.bytes[counted..begin]).count() as i64;
        counted = begin;
        let rest = &chunk.bytes[begin..];
        let line = Line { bytes: rest, number, offset: chunk.offset + begin as i64, ended: true };
        let mut documents = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        match documents.next() {
            None => return,
            Some(Ok(raw)) => {
                let line = Line { bytes: raw.get().as_bytes(), ..line };
                document(context, &line, raw.get().as_bytes(), batch);
                begin += documents.byte_offset();
            }
            Some(Err(error)) => {
                if !effort.spend_on(rest, &error) {
                    return batch.reject(context, &line, GIVEN_UP);
                }
                batch.reject(context, &line, &format!("expected an audit event as JSON: {error}"));
                // The next document begins at the left margin.
                let Some(next) = memchr::memmem::find(rest.get(1..).unwrap_or_default(), b"\n{") else { return };
                begin += next + 2;
            }
        }
    }
}

/// Why what follows is not looked at.
const GIVEN_UP: &str = "expected audit events as JSON: too many that never end, what follows was not read";

fn document(context: &Context, line: &Line<'_>, json: &[u8], batch: &mut Batch) {
    match audit_list::events(json) {
        Ok(events) => {
            for event in events {
                if let Err(reason) = audit_event::push(context, line.number, event, batch) {
                    batch.reject(context, &Line { bytes: event, ..*line }, &reason);
                }
            }
        }
        Err(reason) => batch.reject(context, line, &reason),
    }
}

/// CSV with the events in one of its columns.
fn table(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut rows = 0;
    for record in csv::records(chunk) {
        let line = record.line;
        let Some(cell) = record.cells.iter().find(|cell| audit_list::is_audit(cell.as_bytes())) else {
            // The header, and lines of other programs in the same log group.
            continue;
        };
        rows += 1;
        match audit_list::object(cell.as_bytes()) {
            Some(event) => document(context, &line, event, batch),
            None => batch.reject(context, &line, "expected a JSON object with an audit event in a cell"),
        }
    }
    if rows == CAP {
        batch.loss(loss::CAPPED_EXPORT, 1);
    }
    if rows == 0 {
        let line = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
        batch.reject(context, &line, "expected audit events as JSON, YAML, or in a column of CSV");
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::FORMATS;
    use crate::parse::harness::{head, parse_text};

    const PRETTY: &str = "{\n  \"kind\": \"Event\",\n  \"apiVersion\": \"audit.k8s.io/v1\",\n  \"auditID\": \"a\",\n  \"stage\": \"ResponseComplete\",\n  \"verb\": \"get\",\n  \"stageTimestamp\": \"2026-11-23T04:24:06.4Z\"\n}\n";

    #[test]
    fn pretty_printed_yaml_and_csv_are_read() {
        let csv = "@timestamp,@message\n2026-11-23 04:24:06.401,\"{\"\"kind\"\":\"\"Event\"\",\"\"apiVersion\"\":\"\"audit.k8s.io/v1\"\",\"\"auditID\"\":\"\"a\"\",\"\"stage\"\":\"\"ResponseComplete\"\",\"\"stageTimestamp\"\":\"\"2026-11-23T04:24:06.4Z\"\"}\"\n";
        for (text, records) in [
            (PRETTY.repeat(2), 2),
            (format!("[\n{PRETTY},{PRETTY}]"), 2),
            (FORMAT.sample.to_owned() + "---\n" + FORMAT.sample, 2),
            (csv.to_owned(), 1),
        ] {
            let head = head("x", text.as_bytes());
            let taken = FORMATS.iter().find(|format| (format.sniff)(&head) == Sniff::Yes).expect("recognised");
            assert_eq!(taken.kind, FORMAT.kind, "{text}");
            let batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected), (records, 0), "{text}");
        }
    }

    #[test]
    fn documents_that_never_end_are_given_up_and_those_ahead_are_kept() {
        let text = format!("{PRETTY}{}", "{\"auditID\":[\n".repeat(100_000));
        let batch = parse_text(&FORMAT, &text);
        assert_eq!(batch.records, 1);
        // Each try goes to the end of the text.
        assert!((1..20).contains(&batch.rejected), "{}", batch.rejected);
    }

    #[test]
    fn what_follows_a_broken_document_is_kept() {
        let text = format!("{}{PRETTY}", PRETTY.replace("\"verb\": \"get\",", "\"verb\": \"ge"));
        let batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (1, 1));
    }
}
