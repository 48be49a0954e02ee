//! Requests as CSV with a header: own logs, k6, JMeter; and vegeta's CSV, which has none.
//!
//! ```text
//! timestamp,latency_ms,status,error                                      own logs: the unit is in the name
//! metric_name,timestamp,metric_value,check,error,…,status,…              k6 run --out csv=…: rows of http_req_duration, ms
//! timeStamp,elapsed,label,responseCode,…,failureMessage,…,Connect        JMeter: ms
//! starttime⇥seconds⇥ctime⇥dtime⇥ttime⇥wait                             ab -g: ms, a request a line, whole seconds
//! 1795407846393076000,200,1482361,0,2,,b2s=,,0,GET,http://…,             vegeta encode -to csv: ns
//! ```
//!
//! A latency without a unit is not guessed at: the file is refused with the names that would do.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;
use syncline_schema::requests::RequestRow;

use crate::form::csv;
use crate::form::instant::{epoch, rfc3339};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "request-csv",
    title: "requests as CSV or TSV: own logs with a header, k6, JMeter, vegeta, ab -g",
    clock: ClockToken::Operator,
    cut: Cut::Headed,
    sniff,
    reads: Reads::Rows(parse),
    sample: "timestamp,latency_ms,status,error\n1795407846.393076,1.48,200,\n",
    recognised: "a first line of column names with a time and a latency among them, or vegeta's twelve columns",
    capture: "a client that writes time,latency_ms,status,error; k6 run --out csv=k6.csv; vegeta encode -to csv",
    proves: "failed requests and latency as a client sees them, by phase",
};

/// Which column means what.
#[derive(Debug, Default)]
struct Columns {
    time: usize,
    /// Column and ns of its unit.
    latency: (usize, f64),
    connect: Option<(usize, f64)>,
    status: Option<usize>,
    error: Option<usize>,
    /// Whether it succeeded, in words or 0 and 1.
    success: Option<usize>,
    backend: Option<usize>,
    kind: Option<usize>,
    /// k6: the column of the metric's name.
    metric: Option<usize>,
}

const VEGETA: Columns = Columns {
    time: 0,
    latency: (2, 1.0),
    connect: None,
    status: Some(1),
    error: Some(5),
    success: None,
    backend: None,
    kind: None,
    metric: None,
};

/// The columns of `ab -g`: when a request began as text and in seconds; connect, processing, total and waiting time, ms.
const AB: [&str; 6] = ["starttime", "seconds", "ctime", "dtime", "ttime", "wait"];

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_lowercase()).collect()
}

/// The columns of a header; a text says what is missing of one that has a time and a latency of unknown unit.
fn columns(names: &[String]) -> Result<Option<Columns>, String> {
    let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    if names == AB {
        return Ok(Some(Columns { time: 1, latency: (4, 1e6), connect: Some((2, 1e6)), ..Columns::default() }));
    }
    let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
    const TIMES: [&str; 10] =
        ["ts", "time", "timestamp", "start", "starttime", "datetime", "tsms", "tsns", "timestampms", "epochms"];
    let Some(time) = find(&TIMES) else { return Ok(None) };
    let timed = |stems: &[&str]| {
        names.iter().enumerate().find_map(|(at, name)| {
            let unit = stems.iter().find_map(|stem| name.strip_prefix(stem))?;
            let nanoseconds = match unit {
                "ns" | "nanos" | "nanoseconds" => 1.0,
                "us" | "micros" | "microseconds" => 1e3,
                "ms" | "millis" | "milliseconds" => 1e6,
                "s" | "sec" | "seconds" => 1e9,
                _ => return None,
            };
            Some((at, nanoseconds))
        })
    };
    let metric = find(&["metricname"]);
    let jmeter = find(&["elapsed"]).filter(|_| find(&["responsecode"]).is_some());
    let latency = match (metric, find(&["metricvalue"]), jmeter) {
        (Some(_), Some(value), _) => Some((value, 1e6)),
        (_, _, Some(elapsed)) => Some((elapsed, 1e6)),
        _ => timed(&["latency", "duration", "elapsed", "responsetime", "requesttime", "totaltime"]),
    };
    let Some(latency) = latency else {
        return match find(&["latency", "duration", "elapsed", "responsetime"]) {
            Some(_) => Err("expected the unit of the latency in its column's name: latency_ms, latency_us, latency_ns or latency_s".to_owned()),
            None => Ok(None),
        };
    };
    Ok(Some(Columns {
        time,
        latency,
        connect: timed(&["connect", "connecttime"]).or(jmeter.and(find(&["connect"])).map(|at| (at, 1e6))),
        status: find(&["status", "code", "statuscode", "responsecode", "httpstatus"]),
        error: find(&["err", "error", "failuremessage"]),
        success: find(&["ok", "success", "succeeded"]),
        backend: find(&["backend", "server", "upstream", "pod"]),
        kind: find(&["kind", "connection"]),
        metric,
    }))
}

/// Whether cells are those of vegeta.
fn is_vegeta(cells: &[String]) -> bool {
    let digits = |at: usize| {
        cells.get(at).is_some_and(|cell| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit()))
    };
    cells.len() == 12 && digits(0) && cells[0].len() == 19 && (1..5).all(digits) && digits(8)
}

fn first_cells(bytes: &[u8]) -> Vec<String> {
    let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    let chunk = Chunk {
        bytes: &bytes[..end],
        first_line: 1,
        offset: 0,
        first: true,
        last: true,
        truncated: false,
        around: None,
    };
    csv::records(&chunk).into_iter().next().map(|record| record.cells).unwrap_or_default()
}

fn sniff(head: &Head) -> Sniff {
    let cells = first_cells(head.bytes);
    let named = cells.len() >= 3 && !matches!(columns(&cells), Ok(None));
    if named || is_vegeta(&cells) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut records = csv::records(chunk).into_iter().peekable();
    let columns = match records.peek() {
        Some(first) if is_vegeta(&first.cells) => {
            // Without a heading what is repeated ahead of a chunk is the first request.
            if !chunk.first {
                records.next();
            }
            VEGETA
        }
        Some(first) => match columns(&first.cells) {
            Ok(Some(columns)) => {
                records.next();
                columns
            }
            Ok(None) => return batch.reject(context, &first.line, "expected a header with a time and a latency"),
            Err(reason) => return batch.reject(context, &first.line, &reason),
        },
        None => return,
    };
    for record in records {
        if let Err(reason) = request(context, &record.line, &record.cells, &columns, batch) {
            batch.reject(context, &record.line, &reason);
        }
    }
}

fn request(
    context: &Context,
    line: &Line<'_>,
    cells: &[String],
    columns: &Columns,
    batch: &mut Batch,
) -> Result<(), String> {
    let cell = |at: usize| cells.get(at).map(|cell| cell.trim()).unwrap_or_default();
    if columns.metric.is_some_and(|at| cell(at) != "http_req_duration") {
        batch.record(None);
        return Ok(());
    }
    let stamp = cell(columns.time);
    let time = epoch(stamp.as_bytes()).or_else(|| rfc3339(stamp.as_bytes()));
    let mut time = time.ok_or_else(|| format!("expected a time (epoch or RFC 3339), found `{stamp}`"))?;
    if stamp.len() == 10 {
        batch.loss(loss::WHOLE_SECONDS, 1);
    }
    let duration = |(at, unit): (usize, f64)| {
        // Where semicolons separate, the comma is the decimal mark.
        let value: f64 = cell(at).parse().or_else(|_| cell(at).replace(',', ".").parse()).ok()?;
        (0.0..=9e17).contains(&(value * unit)).then(|| (value * unit).round() as i64)
    };
    let latency =
        duration(columns.latency).ok_or_else(|| format!("expected a latency, found `{}`", cell(columns.latency.0)))?;
    if columns.metric.is_some() {
        time -= latency;
    }
    let text = |at: Option<usize>| at.map(cell).filter(|text| !text.is_empty());
    let status: Option<i32> = text(columns.status).and_then(|text| text.parse().ok()).filter(|status| *status != 0);
    let unsuccessful =
        text(columns.success).is_some_and(|word| ["0", "false", "no"].contains(&word.to_ascii_lowercase().as_str()));
    let without_status = columns.status.is_some() && status.is_none();
    // JMeter's assertions fail a request whatever its status.
    let failed = without_status || unsuccessful;
    // JMeter tells what went wrong in place of the status.
    let instead = text(columns.status).filter(|word| without_status && *word != "0");
    batch.record(Some(time));
    batch.push(&RequestRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        kind: match text(columns.kind) {
            Some("new") => "new".into(),
            Some("keepalive" | "keep-alive" | "persistent") => "keepalive".into(),
            _ => "unknown".into(),
        },
        latency: Some(latency),
        connect: columns.connect.and_then(duration),
        status,
        backend: text(columns.backend).map(Into::into),
        error: text(columns.error)
            .or(instead)
            .or(failed.then_some(if status.is_none() { "no status" } else { "not successful" }))
            .map(Into::into),
        ..Default::default()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    #[test]
    fn every_kind_of_header_gives_the_same_request() {
        for text in [
            "timestamp,latency_ms,status,error\n1795407846.393076,1.48,200,\n",
            "Time,Status,Duration (ns)\n2026-11-23T04:24:06.393076Z,200,1480000\n",
            "timeStamp,elapsed,label,responseCode,failureMessage,Connect\n1795407846393,1,x,200,,0\n",
            "ts_ms,latency_us,ok\n1795407846393,1480,1\n",
            "starttime\tseconds\tctime\tdtime\tttime\twait\nMon Nov 23 04:24:06 2026\t1795407846\t0\t1\t1\t1\n",
            "Time;Status;Latency (ms)\n2026-11-23T04:24:06.393076Z;200;1,48\n",
            "timestamp\tstatus\tlatency_ms\n2026-11-23T04:24:06.393Z\t200\t1.48\n",
            "metric_name,timestamp,metric_value,error,status\nhttp_reqs,1795407846,1,,200\nhttp_req_duration,1795407846,1.48,,200\n",
            "1795407846393076000,200,1480000,0,2,,b2s=,,0,GET,http://x,\n",
        ] {
            assert_eq!((FORMAT.sniff)(&head("x.csv", text.as_bytes())), Sniff::Yes, "{text}");
            let batch = parse_text(&FORMAT, text);
            assert_eq!(batch.rejected, 0, "{text}");
            let (first, _) = batch.span.expect("a time");
            assert!((first - 1_795_407_846_393_076_000).abs() < 500_000_000, "{text}: {first}");
        }
    }

    #[test]
    fn a_latency_without_a_unit_is_refused_by_name() {
        let batch = parse_text(&FORMAT, "time,latency,status\n1795407846.4,1.48,200\n");
        assert_eq!((batch.records, batch.rejected), (0, 1));
        for other in ["a,b,c\n1,2,3\n", "sample,monotonic_ns,boottime_ns\n1,2,3\n", "epoch_s\tlabel\tcommand\n"] {
            assert_eq!((FORMAT.sniff)(&head("x.csv", other.as_bytes())), Sniff::No, "{other}");
        }
    }
}
