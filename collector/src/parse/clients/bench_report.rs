//! The reports of hey (and of oha, which prints nearly the same), wrk and ab.
//!
//! ```text
//!   Slowest:      0.8376 secs              hey
//!   [200]         200 responses            hey, below `Status code distribution:`
//!   [2]           Get "http://…": refused  hey, below `Error distribution:`
//!     Latency   635.91us    0.89ms  12.92ms   93.69%           wrk
//!   Socket errors: connect 3, read 0, write 0, timeout 5       wrk
//! Failed requests:        12                                   ab
//!    (Connect: 0, Receive: 0, Length: 12, Exceptions: 0)
//! Connect:        0    1   0.5      1       3                  ab, below `Connection Times (ms)`
//! ```

use super::summary_fact::{Figure, Said, is_number, is_quantity};

/// The part of the report that a line stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    Head,
    Histogram,
    Latencies,
    Details,
    Codes,
    Errors,
    /// ab's table of connection times, ms.
    Times,
}

/// The part that a heading opens.
fn opened(bare: &str) -> Option<Part> {
    Some(match bare {
        "Summary:" => Part::Head,
        "Response time histogram:" => Part::Histogram,
        "Latency distribution:" | "Latency Distribution" | "Response time distribution:" => Part::Latencies,
        "Error distribution:" => Part::Errors,
        "Status code distribution:" => Part::Codes,
        _ if bare.starts_with("Details (average, fastest, slowest)") => Part::Details,
        _ if bare.starts_with("Connection Times (ms)") => Part::Times,
        _ if bare.starts_with("Percentage of the requests served") => Part::Latencies,
        _ if bare.starts_with("Latency Distribution (HdrHistogram") => Part::Latencies,
        _ => return None,
    })
}

/// Beginnings of lines that say nothing.
const AROUND: [&str; 13] = [
    "Running ",
    "Thread Stats",
    "This is ApacheBench",
    "Copyright ",
    "Licensed to ",
    "Benchmarking ",
    "Completed ",
    "Finished ",
    "min ",
    "Thread calibration:",
    "Initialised ",
    "WARNING: ",
    "..done",
];

/// A line of a report.
pub fn line(text: &str, part: &mut Part, tool: &str) -> Said {
    let bare = text.trim();
    if let Some(next) = opened(bare) {
        *part = next;
        return Said::Nothing;
    }
    if bare.is_empty() || bare == "done" || AROUND.iter().any(|start| bare.starts_with(start)) {
        return Said::Nothing;
    }
    let found = match *part {
        Part::Codes | Part::Errors => bracketed(bare, *part),
        Part::Histogram => bucket(bare),
        Part::Details => details(bare),
        Part::Times => times(bare),
        Part::Head | Part::Latencies => None,
    };
    found.or_else(|| share(bare, tool)).or_else(|| words(bare)).unwrap_or(Said::Unknown)
}

/// `[200]  200 responses`; `[2]  Get "http://…": refused`.
fn bracketed(bare: &str, part: Part) -> Option<Said> {
    let (inside, rest) = bare.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim();
    if part == Part::Errors {
        return Some(Said::Error(Some(inside.trim().parse().ok()?), rest.to_owned()));
    }
    let count = rest.strip_suffix("responses").or_else(|| rest.strip_suffix("response"))?.trim();
    (is_number(inside) && is_number(count)).then(|| Said::one("status_codes", inside, count))
}

/// `0.717 [1]    |■■`: an upper bound in seconds, and how many.
fn bucket(bare: &str) -> Option<Said> {
    let (bound, rest) = bare.split_once('[')?;
    let (count, _) = rest.split_once(']')?;
    let bound = bound.trim();
    (is_number(bound) && is_number(count)).then(|| Said::one("bucket", &format!("{bound} secs"), count))
}

/// `DNS-lookup:  0.0010 secs, 0.0000 secs, 0.0100 secs`.
fn details(bare: &str) -> Option<Said> {
    let (metric, values) = bare.split_once(':')?;
    let values: Vec<&str> = values.split(',').map(str::trim).collect();
    let timed = |value: &&str| value.strip_suffix(" secs").is_some_and(is_number);
    (values.len() == 3 && values.iter().all(timed)).then(|| {
        let names = ["average", "fastest", "slowest"];
        Said::Figures(names.iter().zip(&values).map(|(name, value)| Figure::new(metric.trim(), name, value)).collect())
    })
}

/// `Connect:        0    1   0.5      1       3`, in ms.
fn times(bare: &str) -> Option<Said> {
    let (metric, values) = bare.split_once(':')?;
    let values: Vec<&str> = values.split_whitespace().collect();
    let names = ["min", "mean", "sd", "median", "max"];
    (values.len() == names.len() && values.iter().all(|value| is_number(value))).then(|| {
        let pairs = names.iter().zip(&values);
        Said::Figures(pairs.map(|(name, value)| Figure::new(metric.trim(), name, &format!("{value} ms"))).collect())
    })
}

/// `99% in 0.0552 secs` of hey, `99%    1.2ms` of wrk, `99%   31` (ms) of ab.
fn share(bare: &str, tool: &str) -> Option<Said> {
    let (share, rest) = bare.split_once('%')?;
    if !is_number(share) {
        return None;
    }
    let value = rest.trim().trim_start_matches("in ").trim_end_matches("(longest request)").trim();
    // hey prints `0% in 0.0000 secs` where there were too few answers.
    if share == "0" || share == "0.00" {
        return Some(Said::Nothing);
    }
    let number = value.split(' ').next().unwrap_or_default();
    let value = if tool == "ab" { format!("{value} ms") } else { value.to_owned() };
    let share = if share.contains('.') { share.trim_end_matches('0').trim_end_matches('.') } else { share };
    is_quantity(number).then(|| Said::one("Latency", &format!("p{share}"), &value))
}

/// `Metric: value unit`, wrk's columns and sentences.
fn words(bare: &str) -> Option<Said> {
    let words: Vec<&str> = bare.split_whitespace().collect();
    if let [metric @ ("Latency" | "Req/Sec"), values @ ..] = words.as_slice()
        && values.len() == 4
        && values.iter().all(|value| is_quantity(value))
    {
        let names = ["mean", "stdev", "max", "within_stdev"];
        return Some(Said::Figures(
            names.iter().zip(values).map(|(name, value)| Figure::new(metric, name, value)).collect(),
        ));
    }
    if let [count, "requests", "in", time, read, "read"] = words.as_slice() {
        let (time, read) = (time.trim_end_matches(','), *read);
        return (is_number(count) && is_quantity(time) && is_quantity(read)).then(|| {
            Said::Figures(vec![
                Figure::new("requests", "value", count),
                Figure::new("duration", "value", time),
                Figure::new("read", "value", read),
            ])
        });
    }
    if let [threads, "threads", "and", connections, "connections"] = words.as_slice() {
        return Some(Said::Figures(vec![
            Figure::new("threads", "value", threads),
            Figure::new("connections", "value", connections),
        ]));
    }
    // `(Connect: 0, Receive: 0, Length: 12, Exceptions: 0)` and `Socket errors: connect 3, read 0, …`.
    if let Some(inside) = bare.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return reasons("Failed requests", inside, ": ");
    }
    let (metric, value) = bare.split_once(':')?;
    let value = value.trim();
    if metric == "Socket errors" {
        return reasons(metric, value, " ");
    }
    let named = metric.len() < 40 && metric.starts_with(|first: char| first.is_ascii_alphabetic()) && !value.is_empty();
    if !named {
        return None;
    }
    if let [number, unit, rest @ ..] = value.split_whitespace().collect::<Vec<_>>().as_slice()
        && unit.starts_with('[')
    {
        // ab: `12.340 [ms] (mean, across all concurrent requests)`.
        let across = rest.contains(&"across");
        let unit = unit.trim_matches(['[', ']']).replace("#/sec", "/s");
        let statistic = if across { "across_all" } else { "value" };
        return is_number(number).then(|| Said::one(metric, statistic, &format!("{number} {unit}")));
    }
    let text = ["Server Software", "Server Hostname", "Document Path", "SSL/TLS Protocol", "Server Temp Key"];
    let first = value.split(' ').next().unwrap_or_default();
    (is_quantity(first) || text.contains(&metric)).then(|| Said::one(metric, "value", value))
}

/// `connect 3, read 0`: each reason and how often.
fn reasons(metric: &str, text: &str, between: &str) -> Option<Said> {
    let pair = |part: &str| {
        let (reason, count) = part.trim().split_once(between)?;
        is_number(count.trim()).then(|| Figure::new(metric, reason, count.trim()))
    };
    text.split(',').map(pair).collect::<Option<_>>().map(Said::Figures)
}

#[cfg(test)]
mod tests {
    use super::{Part, line};
    use crate::parse::clients::summary_fact::Said;

    fn said(text: &str, part: Part, tool: &str) -> String {
        match line(text, &mut part.clone(), tool) {
            Said::Figures(found) => {
                let found = found.iter().map(|one| format!("{}/{}={}", one.metric, one.statistic, one.value));
                found.collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn failures_codes_and_errors_are_kept() {
        assert_eq!(said("  [503]\t3 responses", Part::Codes, "hey"), "status_codes/503=3");
        assert_eq!(
            said("  [2]\tGet \"http://x\": refused", Part::Errors, "hey"),
            "Error(Some(2), \"Get \\\"http://x\\\": refused\")"
        );
        let socket = "Socket errors/connect=3 Socket errors/read=0 Socket errors/write=0 Socket errors/timeout=5";
        assert_eq!(said("  Socket errors: connect 3, read 0, write 0, timeout 5", Part::Head, "wrk"), socket);
        assert_eq!(said("  Non-2xx or 3xx responses: 12", Part::Head, "wrk"), "Non-2xx or 3xx responses/value=12");
        assert_eq!(said("Failed requests:        12", Part::Head, "ab"), "Failed requests/value=12");
        let reasons = "Failed requests/Connect=0 Failed requests/Receive=0 Failed requests/Length=12";
        assert_eq!(said("   (Connect: 0, Receive: 0, Length: 12)", Part::Head, "ab"), reasons);
        let times = "Total/min=1 ms Total/mean=12 ms Total/sd=2.4 ms Total/median=12 ms Total/max=31 ms";
        assert_eq!(said("Total:          1   12   2.4     12      31", Part::Times, "ab"), times);
        assert_eq!(said(" 100%     31 (longest request)", Part::Latencies, "ab"), "Latency/p100=31 ms");
        let request = "Time per request:       1.234 [ms] (mean, across all concurrent requests)";
        assert_eq!(said(request, Part::Head, "ab"), "Time per request/across_all=1.234 ms");
        assert_eq!(said("  0.717 [1]\t|■■", Part::Histogram, "hey"), "bucket/0.717 secs=1");
        assert_eq!(said("words nobody knows", Part::Head, "hey"), "Unknown");
        assert_eq!(said("Requests/sec: 12..5", Part::Head, "wrk"), "Unknown");
    }
}
