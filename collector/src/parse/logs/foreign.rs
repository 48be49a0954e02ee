//! Lines of one known format within a log of another: an agent that exports its flows to its own output, a collector of logs
//! that mixes programs.
//!
//! ```text
//! time=2026-02-03T04:05:03.000000000Z level=info msg="New endpoint" endpointID=3
//! {"flow":{"time":"2026-02-03T04:05:04.500000000Z","verdict":"DROPPED", …},"node_name":"node-a"}      → flows
//! {"kind":"Event","apiVersion":"audit.k8s.io/v1", …}                                                  → audit events
//! ```
//!
//! Such a line goes to its format. An object of no known format stays a message, and is counted.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::FOREIGN_LINES;

use crate::form::{Batch, Chunk, Context, Format, Head, Line, Reads, Sniff};
use crate::parse::flows::hubble;
use crate::parse::logs::logfmt;
use crate::parse::objects::audit;

/// Formats of which one line is a record.
const OF_LINES: [&Format; 2] = [&hubble::FORMAT, &audit::FORMAT];

/// The format of a line.
fn format_of(text: &str) -> Option<&'static Format> {
    if !text.starts_with('{') {
        return None;
    }
    let head = Head { path: "", bytes: text.as_bytes(), whole: true };
    OF_LINES.into_iter().find(|format| (format.sniff)(&head) == Sniff::Yes)
}

/// Whether a line belongs to another known format.
pub fn is_known(text: &str) -> bool {
    format_of(text).is_some()
}

/// Reads a line that is no entry of its log as what it is; false where it is nothing that is known.
pub fn read(context: &Context, line: &Line<'_>, text: &str, outer_time: Option<i64>, batch: &mut Batch) -> bool {
    if let Some(format) = format_of(text)
        && let Reads::Rows(parse) = format.reads
    {
        let chunk = Chunk {
            bytes: text.as_bytes(),
            first_line: line.number,
            offset: line.offset,
            first: false,
            last: false,
            truncated: false,
            around: None,
        };
        match format.clock {
            ClockToken::Node => parse(context, &chunk, batch),
            other => parse(&Context { clock: other.domain(&context.node), ..context.clone() }, &chunk, batch),
        }
        return true;
    }
    if let Some(found) = logfmt::entry(text) {
        logfmt::push(context, line.number, outer_time, found, batch);
        return true;
    }
    if text.starts_with('{') && text.trim_end().ends_with('}') {
        batch.loss(FOREIGN_LINES, 1);
    }
    false
}
