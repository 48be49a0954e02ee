//! Prometheus text exposition and OpenMetrics: one file (`exposition`), or a stream of scrapes (`scrape`).
//!
//! ```text
//! # SCRAPE 1795407710.671684257
//! # TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram
//! kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.001"} 0
//! ```
//!
//! A stream is time-major and repeats the same series in nearly the same order at each scrape. So name and labels are
//! dissected once a chunk: a line is first compared with the series that followed the previous line's series
//! the last time, and only looked up when that fails.
//!
//! ```text
//! order   a{x="1"}  a{x="2"}  b          raw text of name and labels, in order of first appearance
//! cursor             ▲                    the next line is expected to begin with this
//! ```
//!
//! Read: text format 0.0.4, OpenMetrics, UTF-8 names. Exemplars and help texts are left out. Since when a counter, a histogram or a summary
//! counts is told by OpenMetrics: `st@` of a line, or the sample `…_created` of the same scrape.
//! A line's own time stamp wins over the scrape's. An integer stamp is milliseconds, unless it could only be seconds
//! (see [`explicit_time`]).

use std::collections::HashMap;

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{NO_TIME, TIME_FROM_MTIME};

use crate::form::batch::SeriesKey;
use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::metrics::created::Created;
use crate::parse::metrics::promtool_dump;
use crate::parse::syntax::metric_line::{Stamp, identity, reading};

/// Streams of scrapes.
pub const SCRAPE: Format = Format {
    kind: "scrape",
    title: "Stream of /metrics scrapes, each behind a time stamp",
    clock: ClockToken::Node,
    cut: Cut::Marks("# SCRAPE "),
    sniff: sniff_scrape,
    reads: Reads::Rows(parse_scrape),
    sample: "# SCRAPE 1795407710.671684257\n# TYPE go_goroutines gauge\ngo_goroutines 203\n",
    recognised: "a line `# SCRAPE <epoch seconds>`",
    capture: "while :; do date '+# SCRAPE %s.%N'; curl -s http://127.0.0.1:10249/metrics; sleep 1; done",
    proves: "what a component counted, at the moment of each scrape",
};

/// Single expositions.
pub const EXPOSITION: Format = Format {
    kind: "exposition",
    title: "One /metrics page, or OpenMetrics file",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff: sniff_exposition,
    reads: Reads::Rows(parse_exposition),
    sample: "# HELP go_goroutines Number of goroutines.\n# TYPE go_goroutines gauge\ngo_goroutines 203\n",
    recognised: "`# TYPE` or `# HELP` lines and samples `name{labels} value`",
    capture: "curl -s http://127.0.0.1:10249/metrics > $(date +%s.%N).prom",
    proves: "what a component had counted, once",
};

/// Mark of a scrape.
const MARK: &[u8] = b"# SCRAPE ";

fn sniff_scrape(head: &Head) -> Sniff {
    let stamped = |line: &[u8]| {
        line.strip_prefix(MARK)
            .and_then(|rest| rest.split(|byte| *byte == b' ' || *byte == b'\r').next())
            .is_some_and(|word| instant::epoch_seconds(word).is_some())
    };
    if head.bytes.split(|byte| *byte == b'\n').any(stamped) { Sniff::Yes } else { Sniff::No }
}

/// How many lines the sniffer tries.
const TRIED: usize = 400;

fn sniff_exposition(head: &Head) -> Sniff {
    if sniff_scrape(head) == Sniff::Yes || (promtool_dump::FORMAT.sniff)(head) == Sniff::Yes {
        return Sniff::No;
    }
    let mut lines: Vec<&[u8]> = head.bytes.split(|byte| *byte == b'\n').collect();
    if !head.whole {
        lines.pop();
    }
    let (mut metadata, mut good, mut bad) = (0, 0, 0);
    for line in lines.into_iter().take(TRIED) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if line.starts_with(b"#") {
            metadata += usize::from(is_metadata(line));
        } else if identity(line).and_then(|found| reading(&line[found.length..])).is_ok() {
            good += 1;
        } else {
            bad += 1;
        }
    }
    // OpenMetrics ends with a line that nothing else has: whatever stands ahead of it is read or refused by line.
    let last = head.bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    if head.whole && last == Some(b"# EOF") {
        return Sniff::Yes;
    }
    // Prose around an excerpt, or a table that begins with `# HELP`, must not be taken.
    match (metadata, good, bad) {
        (1.., 1.., bad) if bad <= good => Sniff::Yes,
        (1.., 0, 0) => Sniff::Yes,
        (0, 1.., 0) => Sniff::Perhaps,
        _ => Sniff::No,
    }
}

/// `# TYPE name type` with a known type, `# HELP name …`, `# UNIT name …`, or `# EOF`.
fn is_metadata(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
    if words.next() != Some(b"#") {
        return false;
    }
    match words.next() {
        Some(b"TYPE") => words.next().is_some() && words.next().and_then(metric_type).is_some(),
        Some(b"HELP" | b"UNIT") => words.next().is_some_and(|name| name.len() > 1 && identity(name).is_ok()),
        Some(b"EOF") => words.next().is_none(),
        _ => false,
    }
}

/// The type as the column has it; OpenMetrics' further types become their nearest kin.
pub(super) fn metric_type(word: &[u8]) -> Option<&'static str> {
    Some(match word {
        b"counter" => "counter",
        b"gauge" | b"info" | b"stateset" => "gauge",
        b"histogram" | b"gaugehistogram" => "histogram",
        b"summary" => "summary",
        b"untyped" | b"unknown" => "untyped",
        _ => return None,
    })
}

fn parse_scrape(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "scrape";
    let mut reader = Reader::new(chunk);
    // The scrape being read: its line and time, and whether a sample came.
    let mut scrape: Option<(i64, i64, bool)> = None;
    let mut last_ended = true;
    for line in chunk.lines() {
        last_ended = line.ended;
        if let Some(rest) = line.bytes.strip_prefix(MARK) {
            reader.created.settle(&reader.types, batch);
            finish_scrape(&mut scrape, batch);
            let word = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
            match instant::epoch_seconds(word) {
                Some(time) => scrape = Some((line.number, time, false)),
                None => batch.reject(context, &line, "expected seconds since the epoch behind # SCRAPE"),
            }
            reader.cursor = 0;
        } else if reader.line(context, &line, scrape.map(|(number, time, _)| (number, time)), batch)
            && let Some((_, _, any)) = &mut scrape
        {
            *any = true;
        }
    }
    // A scrape that was cut off says nothing about the series that it lacks.
    let cut_off = chunk.last && (chunk.truncated || !last_ended);
    if !cut_off {
        finish_scrape(&mut scrape, batch);
    }
    reader.created.settle(&reader.types, batch);
    reader.finish(batch);
}

/// A scrape without a sample failed: it is no evidence that its series are gone.
fn finish_scrape(scrape: &mut Option<(i64, i64, bool)>, batch: &mut Batch) {
    if let Some((line, time, true)) = scrape.take() {
        batch.scrapes.push((line, time));
    }
}

fn parse_exposition(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "exposition";
    let mut reader = Reader::new(chunk);
    let named = instant::in_name(&context.path);
    let time = named.or(context.mtime);
    for line in chunk.lines() {
        reader.line(context, &line, time.map(|time| (line.number, time)), batch);
    }
    if named.is_none() && reader.undated > 0 && time.is_some() && chunk.first {
        batch.loss(TIME_FROM_MTIME, 1);
    }
    reader.created.settle(&reader.types, batch);
    reader.finish(batch);
}

/// State of one chunk.
struct Reader<'a> {
    /// Raw text of name and labels, and the series, in order of first appearance.
    order: Vec<(&'a [u8], u32)>,
    /// Places in `order`.
    places: HashMap<&'a [u8], usize>,
    /// Where the next line's series is expected.
    cursor: usize,
    types: HashMap<&'a [u8], &'static str>,
    /// Series whose name has no type so far, with the name.
    untyped: Vec<(u32, &'a [u8])>,
    /// Integer stamps are seconds: the file is OpenMetrics.
    stamps_in_seconds: bool,
    /// Samples that took the time of their scrape or file.
    undated: u64,
    /// Samples without any time.
    timeless: u64,
    created: Created,
}

impl<'a> Reader<'a> {
    fn new(chunk: &Chunk<'a>) -> Self {
        let end = chunk.bytes.trim_ascii_end();
        Reader {
            order: Vec::new(),
            places: HashMap::new(),
            cursor: 0,
            types: HashMap::new(),
            untyped: Vec::new(),
            stamps_in_seconds: end.ends_with(b"\n# EOF") || end == b"# EOF",
            undated: 0,
            timeless: 0,
            created: Created::default(),
        }
    }

    /// Reads one line; true when it gave a sample. `scrape` is record and time for samples without their own.
    fn line(&mut self, context: &Context, line: &Line<'a>, scrape: Option<(i64, i64)>, batch: &mut Batch) -> bool {
        let bytes = line.bytes;
        match bytes.first() {
            None => return false,
            Some(b'#') => {
                self.metadata(bytes);
                return false;
            }
            Some(_) if bytes.iter().all(|byte| *byte == b' ' || *byte == b'\t') => return false,
            Some(_) => {}
        }
        let (series, length) = match self.series(line, batch) {
            Ok(found) => found,
            Err(reason) => {
                batch.reject(context, line, reason);
                return false;
            }
        };
        let found = match reading(&bytes[length..]) {
            Ok(found) => found,
            Err(reason) => {
                batch.reject(context, line, reason);
                return false;
            }
        };
        let record = scrape.map_or(line.number, |(record, _)| record);
        let time = match (found.stamp, scrape) {
            (Stamp::None, Some((_, time))) => {
                self.undated += 1;
                Some(time)
            }
            (Stamp::None, None) => None,
            (stamp, _) => match explicit_time(stamp, self.stamps_in_seconds) {
                Some(time) => Some(time),
                None => {
                    batch.reject(context, line, "expected a time stamp within the years 1678 to 2262");
                    return false;
                }
            },
        };
        batch.record(time);
        match time {
            Some(time) => {
                batch.samples.push(Sample { series, record, time, value: found.value });
                if let Some(start) = found.start {
                    batch.start(series, record, time, start);
                }
                self.created.sample(series, found.value);
            }
            None => self.timeless += 1,
        }
        true
    }

    /// The series that a line begins with, and the length of its name and labels.
    fn series(&mut self, line: &Line<'a>, batch: &mut Batch) -> Result<(u32, usize), &'static str> {
        let bytes = line.bytes;
        if let Some((raw, series)) = self.order.get(self.cursor)
            && bytes.starts_with(raw)
            && matches!(bytes.get(raw.len()), Some(b' ' | b'\t'))
            && ends_identity(raw, &bytes[raw.len()..])
        {
            self.cursor += 1;
            return Ok((*series, raw.len()));
        }
        let length = raw_length(bytes).unwrap_or(0);
        if let Some(&place) = self.places.get(&bytes[..length]) {
            self.cursor = place + 1;
            return Ok((self.order[place].1, length));
        }
        let found = identity(bytes)?;
        let raw = &bytes[..found.length];
        let name = &bytes[..found.name.len().min(bytes.len())];
        let known = self.type_of(found.name.as_bytes());
        let series = batch.series(SeriesKey { name: found.name, labels: found.labels }, line.number, known);
        if known.is_none() {
            self.untyped.push((series, name));
        }
        self.created.met(series, name);
        self.cursor = self.order.len() + 1;
        self.places.insert(raw, self.order.len());
        self.order.push((raw, series));
        Ok((series, raw.len()))
    }

    /// Remembers `# TYPE name type`. The first one counts.
    fn metadata(&mut self, line: &'a [u8]) {
        let Some(rest) = line.strip_prefix(b"# TYPE ") else { return };
        let mut words = rest.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
        let (Some(name), Some(kind)) = (words.next(), words.next().and_then(metric_type)) else { return };
        let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
        self.types.entry(name).or_insert(kind);
    }

    fn type_of(&self, name: &[u8]) -> Option<&'static str> {
        const SUFFIXES: [&[u8]; 8] =
            [b"_bucket", b"_count", b"_sum", b"_total", b"_created", b"_info", b"_gcount", b"_gsum"];
        let family = |suffix: &&[u8]| name.strip_suffix(*suffix).and_then(|family| self.types.get(family));
        self.types.get(name).or_else(|| SUFFIXES.iter().find_map(family)).copied()
    }

    /// Types that stood behind their samples, and samples without a time.
    fn finish(self, batch: &mut Batch) {
        for (series, name) in &self.untyped {
            if let Some(kind) = self.type_of(name)
                && let Some(series) = batch.series.get_mut(*series as usize)
            {
                series.metric_type = Some(kind);
            }
        }
        if self.timeless > 0 {
            batch.loss(NO_TIME, self.timeless);
        }
    }
}

/// A bare name may be followed by blanks and a brace: then it is not the whole identity.
fn ends_identity(raw: &[u8], rest: &[u8]) -> bool {
    raw.ends_with(b"}") || rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')) != Some(&b'{')
}

/// Length of name and labels without dissecting them: up to the first blank of a bare name, or the last brace that
/// is followed by a blank and no quote. Wrong guesses only miss the cache.
fn raw_length(line: &[u8]) -> Option<usize> {
    let first = memchr::memchr3(b'{', b' ', b'\t', line)?;
    if line[first] != b'{' {
        return ends_identity(&line[..first], &line[first..]).then_some(first);
    }
    let mut at = first + 1;
    let mut inside = false;
    while at < line.len() {
        let ahead = memchr::memchr3(b'"', b'\\', b'}', &line[at..])?;
        at += ahead;
        match line[at] {
            b'\\' => at += 1,
            b'"' => inside = !inside,
            _ if !inside => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Time of a line's own stamp, ns. The text format has milliseconds, OpenMetrics seconds; a chunk from the middle of
/// an OpenMetrics file does not show which. An integer between 1e8 and 1e11 is a moment of 1973 to 5138 in seconds,
/// but one of 1970 to 1973 in milliseconds: it is taken as seconds.
fn explicit_time(stamp: Stamp, in_seconds: bool) -> Option<i64> {
    match stamp {
        Stamp::Integer(number) if !in_seconds && !(100_000_000..100_000_000_000).contains(&number) => {
            number.checked_mul(1_000_000)
        }
        _ => stamp.in_seconds(),
    }
}

#[cfg(test)]
mod tests {
    use super::{EXPOSITION, SCRAPE};
    use crate::form::{Batch, Sniff};
    use crate::parse::harness::{corpus_files, head, parse_text};

    fn shown(batch: &Batch) -> Vec<String> {
        let series = |index: u32| &batch.series[index as usize];
        let mut lines: Vec<String> = Vec::new();
        for sample in &batch.samples {
            let found = series(sample.series);
            lines.push(format!(
                "{}{} {:?} {} {} {}",
                found.key.name, found.key.labels, found.metric_type, sample.record, sample.time, sample.value
            ));
        }
        lines
    }

    #[test]
    fn reads_a_stream_of_scrapes() {
        let text = "# SCRAPE 1795407710.5\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n# SCRAPE 1795407711.5\na{x=\"1\"} 4\nb 5 1795407711000\n# SCRAPE 1795407712.5\n# SCRAPE 1795407713.5\r\nb {y=\"1\"} 6\r\nb 7";
        let batch = parse_text(&SCRAPE, text);
        assert_eq!(
            shown(&batch),
            [
                "a{\"x\":\"1\"} Some(\"counter\") 1 1795407710500000000 1",
                "a{\"x\":\"2\"} Some(\"counter\") 1 1795407710500000000 2",
                "b{} None 1 1795407710500000000 3",
                "a{\"x\":\"1\"} Some(\"counter\") 6 1795407711500000000 4",
                "b{} None 6 1795407711000000000 5",
                "b{\"y\":\"1\"} None 10 1795407713500000000 6",
                "b{} None 10 1795407713500000000 7",
            ]
        );
        // The third scrape failed, the last one was cut off.
        assert_eq!(batch.scrapes, [(1, 1_795_407_710_500_000_000), (6, 1_795_407_711_500_000_000)]);
        assert_eq!((batch.records, batch.rejected, batch.witness), (7, 0, "scrape"));
    }

    #[test]
    fn rejects_what_is_no_sample() {
        let batch = parse_text(
            &SCRAPE,
            "# SCRAPE 1795407710.5\ncurl: (7) Failed to connect\na 1\na{x=\"1\n# SCRAPE soon\na 1\n",
        );
        assert_eq!((batch.records, batch.rejected, batch.samples.len()), (2, 3, 1));
        assert_eq!(batch.losses["no-time"].1, 1);
    }

    #[test]
    fn types_may_stand_behind_their_samples() {
        let batch = parse_text(&EXPOSITION, "h_bucket{le=\"1\"} 1 1795407710500\n# TYPE h histogram\n");
        assert_eq!(shown(&batch), ["h_bucket{\"le\":\"1\"} Some(\"histogram\") 1 1795407710500000000 1"]);
    }

    #[test]
    fn openmetrics_stamps_are_seconds() {
        let batch = parse_text(&EXPOSITION, "# TYPE a gauge\na 1 1520879607\na 2 1520879608.5\na 3 12\n# EOF\n");
        let times: Vec<i64> = batch.samples.iter().map(|sample| sample.time).collect();
        assert_eq!(times, [1_520_879_607_000_000_000, 1_520_879_608_500_000_000, 12_000_000_000]);
    }

    #[test]
    fn takes_the_expositions_of_the_corpus() {
        for (path, bytes) in corpus_files(&["prom_text"]) {
            assert_ne!((EXPOSITION.sniff)(&head(&path, &bytes)), Sniff::No, "{path}");
            let batch = parse_text(&EXPOSITION, &String::from_utf8_lossy(&bytes));
            assert!(batch.rejected * 10 <= batch.records, "{path}: {} rejected of {}", batch.rejected, batch.records);
        }
    }

    #[test]
    fn reads_the_valid_openmetrics_cases_and_refuses_broken_lines() {
        // Faults of one line; faults of grouping, types or order are not ours to judge.
        const BROKEN: [&str; 6] = [
            "bad_value_",
            "bad_timestamp_",
            "bad_missing_value_",
            "bad_missing_equal_",
            "bad_invalid_labels_",
            "bad_metric_names_",
        ];
        for (path, bytes) in corpus_files(&["openmetrics_cases"]) {
            let Some(case) = path.strip_suffix("/metrics").and_then(|path| path.rsplit('/').next()) else { continue };
            let rejected = parse_text(&EXPOSITION, &String::from_utf8_lossy(&bytes)).rejected;
            if !case.starts_with("bad_") {
                // One stamp of this case lies in the year 391 billion.
                assert_eq!(rejected, u64::from(case == "timestamps"), "{path}");
            } else if BROKEN.iter().any(|prefix| case.starts_with(prefix)) {
                // A blank at the end of a line harms nobody.
                assert!(rejected > 0 || case == "bad_value_3", "{path}");
            }
        }
    }
}
