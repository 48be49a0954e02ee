//! What `hubble observe -o dict` prints: one field a line, a rule of dashes between flows.
//!
//! ```text
//!   TIMESTAMP: Aug 27 08:40:09.757
//!      SOURCE: default/client:41022
//! DESTINATION: default/web:80
//!        TYPE: to-endpoint
//!     VERDICT: FORWARDED
//!     SUMMARY: TCP Flags: SYN
//! ------------
//! ```
//!
//! As in the other forms for people, the year and the zone come from `capture.toml`, else a flow has no time.

use syncline_schema::clock::ClockToken;
use syncline_schema::flows::FlowRow;
use syncline_schema::loss::{LOST_FLOWS, NO_YEAR};

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::flows::hubble_text::{Columns, VERDICTS, is_time, lost, plain, row, time};

/// What each flow begins with.
const MARK: &str = "  TIMESTAMP: ";

/// Hubble flows, a field a line.
pub const FORMAT: Format = Format {
    kind: "hubble-dict",
    title: "Hubble flows as text, one field a line",
    clock: ClockToken::Node,
    cut: Cut::Marks(MARK),
    sniff,
    reads: Reads::Rows(parse),
    sample: "  TIMESTAMP: Aug 27 08:40:09.757\n     SOURCE: default/client:41022\nDESTINATION: default/web:80\n       TYPE: to-endpoint\n    VERDICT: FORWARDED\n    SUMMARY: TCP Flags: SYN\n------------\n",
    recognised: "lines `TIMESTAMP:`, `SOURCE:`, `DESTINATION:`, `VERDICT:`",
    capture: "hubble observe -o dict (better: -o jsonpb, which has the year)",
    proves: "which packets were forwarded and dropped, and why",
};

fn sniff(head: &Head) -> Sniff {
    let has = |mark: &[u8]| memchr::memmem::find(head.bytes, mark).is_some();
    let all = [MARK.as_bytes(), b"\n     SOURCE: ", b"\nDESTINATION: ", b"\n    VERDICT: "].into_iter().all(has);
    if all { Sniff::Yes } else { Sniff::No }
}

/// A flow while its lines are read.
#[derive(Default)]
struct Fields<'a> {
    first: Option<Line<'a>>,
    pairs: Vec<(String, String)>,
}

impl Fields<'_> {
    fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut fields = Fields::default();
    for line in chunk.lines() {
        let text = line.text();
        let text = plain(text.trim_end());
        if let Some(count) = lost(&text) {
            batch.record(None);
            batch.loss(LOST_FLOWS, count);
            continue;
        }
        if text.trim_matches('-').is_empty() {
            continue;
        }
        let Some((name, value)) = text.trim_start().split_once(':') else {
            batch.reject(context, &line, "expected `FIELD: value`");
            continue;
        };
        if name == "TIMESTAMP" {
            finish(context, &std::mem::take(&mut fields), batch);
            fields.first = Some(line);
        }
        fields.pairs.push((name.to_owned(), value.trim().to_owned()));
    }
    finish(context, &fields, batch);
}

fn finish(context: &Context, fields: &Fields<'_>, batch: &mut Batch) {
    let Some(first) = &fields.first else { return };
    let (when, verdict) = (fields.get("TIMESTAMP"), fields.get("VERDICT"));
    if !is_time(when) || !VERDICTS.contains(&verdict) {
        return batch.reject(context, first, "expected a flow with TIMESTAMP and VERDICT");
    }
    let time = time(context, when);
    if time.is_none() {
        batch.loss(NO_YEAR, 1);
    }
    let columns = Columns {
        node: Some(fields.get("NODE")).filter(|node| !node.is_empty()),
        left: fields.get("SOURCE"),
        arrow: "->",
        right: fields.get("DESTINATION"),
        kind: fields.get("TYPE"),
        verdict,
        policy: "",
        summary: fields.get("SUMMARY"),
    };
    batch.record(time);
    batch.push(&FlowRow {
        source: context.source,
        record: first.number,
        clock: context.clock.as_str().into(),
        time,
        ..row(&columns)
    });
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    #[test]
    fn a_flow_is_read_over_its_lines() {
        let text = FORMAT.sample.repeat(2) + "EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 3\n" + &FORMAT.sample[..67];
        assert_eq!((FORMAT.sniff)(&head("flows.txt", text.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (3, 1), "the last flow is cut");
        assert_eq!((batch.losses["lost-flows"].1, batch.losses["no-year"].1), (3, 2));
    }
}
