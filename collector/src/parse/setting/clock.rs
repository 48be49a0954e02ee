//! Clock readings of a node: `clock.tsv`.
//!
//! ```text
//! sample  monotonic_ns  boottime_ns  realtime_ns  monotonic_after_ns
//! start  5568059442412  5568059444679  1795407709556412905  5568059445983
//! ```
//!
//! The four are read in this order, so boottime and realtime were read while the monotonic clock went from the first
//! to the last: that width is the bound of each reading.

use syncline_schema::clock::ClockToken;
use syncline_schema::clock_anchors::ClockAnchorRow;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "clock",
    title: "readings of a node's clocks, tab-separated",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "sample\tmonotonic_ns\tboottime_ns\trealtime_ns\tmonotonic_after_ns\nstart\t5568059442412\t5568059444679\t1795407709556412905\t5568059445983",
    recognised: "its header",
    capture: "read CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_MONOTONIC in this order, at the start and the end of the run",
    proves: "how bpftrace's nsecs relates to the node's realtime, within microseconds",
};

fn sniff(head: &Head) -> Sniff {
    if head.bytes.starts_with(b"sample\tmonotonic_ns\tboottime_ns\trealtime_ns") { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let header = line.number == 1 && line.bytes.starts_with(b"sample");
        if !line.bytes.trim_ascii().is_empty() && !header {
            reading(context, &line, batch);
        }
    }
}

fn reading(context: &Context, line: &Line<'_>, batch: &mut Batch) {
    let text = line.text();
    let numbers: Vec<i64> = text.split('\t').skip(1).filter_map(|field| field.trim().parse().ok()).collect();
    let [before, boottime, realtime, after] = numbers.as_slice() else {
        return batch.reject(context, line, "expected a name and four readings in ns, tab-separated");
    };
    if after < before {
        return batch.reject(context, line, "expected the second reading of the monotonic clock behind the first");
    }
    // Boottime was read ahead of realtime: when realtime was read it had gone on by at most the whole width.
    let Some(latest) = after.checked_sub(*before).and_then(|width| boottime.checked_add(width)) else {
        return batch.reject(context, line, "expected readings of one machine, in ns");
    };
    batch.record(Some(*realtime));
    // A rule may say that another node than the main one read them.
    let node = context.clock.as_str();
    let base = ClockAnchorRow {
        source: context.source,
        record: line.number,
        evidence: "reading".into(),
        ..Default::default()
    };
    batch.push(&ClockAnchorRow {
        a: node.into(),
        a_low: *realtime,
        a_high: *realtime,
        b: format!("{node}/monotonic").into(),
        b_low: *before,
        b_high: *after,
        ..base.clone()
    });
    batch.push(&ClockAnchorRow {
        a: node.into(),
        a_low: *realtime,
        a_high: *realtime,
        b: format!("{node}/boottime").into(),
        b_low: *boottime,
        b_high: latest,
        ..base
    });
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::parse::harness::parse_text;

    #[test]
    fn readings_that_no_clock_gives_are_refused() {
        let heading = "sample\tmonotonic_ns\tboottime_ns\trealtime_ns\tmonotonic_after_ns\n";
        for (readings, rejected) in [
            ("5568059442412\t5568059443000\t1795447709556412905\t5568059445983", 0),
            ("5568059442412\t9223372036854775807\t1795447709556412905\t5568059445983", 1),
            ("-9223372036854775808\t0\t1795447709556412905\t9223372036854775807", 1),
        ] {
            let batch = parse_text(&FORMAT, &format!("{heading}start\t{readings}\n"));
            assert_eq!((batch.records, batch.rejected), (1 - rejected, rejected), "{readings}");
        }
    }
}
