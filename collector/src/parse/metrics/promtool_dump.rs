//! What `promtool tsdb dump` and `promtool tsdb dump-openmetrics` print: every sample of a database as a line.
//!
//! ```text
//! {__name__="heavy_metric", foo="bar"} 5 1700000000000
//! {__name__="latency", foo="bar"} {count:3, sum:4.5, [-0.1,0.1]:1, (1,2]:2} 1700000000000
//! up{instance="localhost:8000",job="example2"} 1 1700226034.330
//! ```
//!
//! The first has milliseconds, the other seconds with three decimals and `# EOF` at the end. Native histograms are printed
//! by promtool from 2.46 on, with the bounds of their buckets. Both print a staleness marker as `NaN`: which it was cannot be
//! told, and it is read as a value. The label sets of `--format=seriesjson` hold no samples and are not read.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::STALE_OR_NAN;

use crate::form::batch::SeriesKey;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::syntax::metric_line::{Stamp, identity, reading, value};
use syncline_tsdb::native_histogram::{Bounded, NativeHistogram};

/// Dumps.
pub const FORMAT: Format = Format {
    kind: "promtool-dump",
    title: "Output of promtool tsdb dump or dump-openmetrics",
    clock: ClockToken::Prometheus,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{__name__=\"heavy_metric\", foo=\"bar\"} 5 1700000000000\n",
    recognised: "lines that begin with `{__name__=\"`, or samples without metadata that all have a time with three decimals",
    capture: "promtool tsdb dump /prometheus/data",
    proves: "every sample that Prometheus stored, with its scrape time",
};

/// How many lines the sniffer tries.
const TRIED: usize = 100;

fn sniff(head: &Head) -> Sniff {
    let mut lines: Vec<&[u8]> = head.bytes.split(|byte| *byte == b'\n').collect();
    if !head.whole {
        lines.pop();
    }
    let mut samples = 0;
    for line in lines.into_iter().take(TRIED) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line == b"# EOF" && samples > 0 {
            continue;
        }
        let Ok(found) = identity(line) else { return Sniff::No };
        let rest = &line[found.length..];
        let dumped = line.starts_with(b"{__name__=\"");
        let stamp = rest.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        let thousandths = stamp.iter().rev().position(|byte| *byte == b'.') == Some(3);
        if !(thousandths || dumped && stamp.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')) {
            return Sniff::No;
        }
        if native(rest).is_none() && reading(rest).is_err() {
            return Sniff::No;
        }
        samples += 1;
    }
    if samples > 0 { Sniff::Yes } else { Sniff::No }
}

/// `{count:3, sum:4.5, (1,2]:2}` and what stands behind it.
fn native(rest: &[u8]) -> Option<(NativeHistogram, &[u8])> {
    let inside = rest.trim_ascii_start().strip_prefix(b"{")?;
    let end = memchr::memchr(b'}', inside)?;
    let (inside, behind) = (std::str::from_utf8(&inside[..end]).ok()?, &inside[end + 1..]);
    let (mut count, mut sum, mut buckets) = (None, None, Vec::new());
    for part in inside.split(", ") {
        let (name, number) = part.rsplit_once(':')?;
        let number = value(number.as_bytes())?;
        match name {
            "count" => count = Some(number),
            "sum" => sum = Some(number),
            bounds => {
                let bounds = bounds.strip_prefix(['[', '('])?.strip_suffix([']', ')'])?;
                let (lower, upper) = bounds.split_once(',')?;
                buckets.push(Bounded {
                    lower: value(lower.as_bytes())?,
                    upper: value(upper.as_bytes())?,
                    count: number,
                });
            }
        }
    }
    Some((NativeHistogram::of_bounds(&buckets, count?, sum?), behind))
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "tsdb";
    // Samples of a series stand together: name and labels as text, and the series.
    let mut last: Option<(&[u8], u32)> = None;
    for line in chunk.lines() {
        if line.bytes.is_empty() || line.bytes.starts_with(b"#") {
            continue;
        }
        if let Err(reason) = sample(&line, &mut last, batch) {
            batch.reject(context, &line, reason);
        }
    }
}

fn sample<'a>(line: &Line<'a>, last: &mut Option<(&'a [u8], u32)>, batch: &mut Batch) -> Result<(), &'static str> {
    let same = last.filter(|(raw, _)| raw.ends_with(b"}") && line.bytes.starts_with(raw));
    let (raw, series) = match same {
        Some(known) => known,
        None => {
            let found = identity(line.bytes)?;
            let raw = &line.bytes[..found.length];
            (raw, batch.series(SeriesKey { name: found.name, labels: found.labels }, line.number, None))
        }
    };
    *last = Some((raw, series));
    let rest = &line.bytes[raw.len()..];
    if let Some((histogram, behind)) = native(rest) {
        // A value ahead of the time makes it a reading.
        let mut padded = b" 0".to_vec();
        padded.extend_from_slice(behind);
        let time = time(reading(&padded)?.stamp)?;
        batch.record(Some(time));
        let row = histogram.row(series, line.number, time);
        batch.push(&row);
        return Ok(());
    }
    let found = reading(rest)?;
    let time = time(found.stamp)?;
    if found.value.is_nan() {
        batch.loss(STALE_OR_NAN, 1);
    }
    batch.record(Some(time));
    batch.samples.push(Sample { series, record: line.number, time, value: found.value });
    Ok(())
}

fn time(stamp: Stamp) -> Result<i64, &'static str> {
    match stamp {
        Stamp::None => None,
        Stamp::Seconds(time) => Some(time),
        Stamp::Integer(milliseconds) => milliseconds.checked_mul(1_000_000),
    }
    .ok_or("expected a time within the years 1678 to 2262 behind the value")
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, head, parse_text};

    #[test]
    fn reads_both_forms() {
        let text = "{__name__=\"a\", b=\"c}\"} 5 0\n{__name__=\"a\", b=\"c}\"} NaN 60000\n{__name__=\"h\"} {count:3, sum:4.5, [-0.1,0.1]:1, (1,2]:2} 60000\nup{a=\"1\"} 1 1700226034.330\nup 1\n# EOF\n";
        let mut batch = parse_text(&FORMAT, text);
        let times: Vec<i64> = batch.samples.iter().map(|sample| sample.time).collect();
        assert_eq!(times, [0, 60_000_000_000, 1_700_226_034_330_000_000]);
        assert_eq!((batch.series[0].key.labels.as_str(), batch.series.len()), (r#"{"b":"c}"}"#, 4));
        assert_eq!((batch.records, batch.rejected, batch.losses["stale-or-nan"].1), (4, 1, 1));
        assert_eq!(batch.take_tables().first().map(|table| table.rows()), Some(1), "a native histogram");
    }

    #[test]
    fn takes_the_dumps_of_the_corpus() {
        for (path, bytes) in corpus_files(&["promtool_dump"]) {
            // Series without samples.
            let expected = if path.ends_with("dump-series-1.prom") { Sniff::No } else { Sniff::Yes };
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), expected, "{path}");
            if expected == Sniff::Yes {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#');
                assert_eq!((batch.records, batch.rejected), (lines.count() as u64, 0), "{path}");
            }
        }
    }
}
