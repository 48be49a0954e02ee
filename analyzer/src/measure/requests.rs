//! Access to the client's requests: counts and sorted columns of one window, by lazy scans that read only what they need.
//!
//! A request belongs to the window in which it was *sent*. A failure is an error text, an answer of 5xx, or no answer; its
//! *kind* ([`kind_of`]) is what it looked like to the client. A kind that occurs without any action too is subtracted by its rate.

use std::collections::BTreeMap;

use polars::prelude::{DataType, Expr, IntoLazy, LazyFrame, SortMultipleOptions, UniqueKeepStrategy, col, len, lit};
use syncline_schema::requests::RequestRow;

use crate::clock::Evidence;
use crate::events::{Phase, Run, Window};

/// What to capture where there are no requests.
pub const REMEDY: &str = "Run a load generator against the Service that writes one JSON line a request: ts, kind (new, keepalive), latency_ns, connect_ns, status, backend, err.";

/// Attempts and failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub attempts: u64,
    pub failures: u64,
    /// Failures whose text says that the connection was refused: what a pod that ends at once on SIGTERM answers.
    pub refused: u64,
    /// Failures by a time-out.
    pub timeouts: u64,
    /// Failures by kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// Kind of a refused connection.
pub const REFUSED: &str = "refused";
/// Kind of an attempt that timed out.
pub const TIMEOUT: &str = "time-out";

impl Tally {
    /// The same without refusals.
    pub fn without_refusals(&self) -> Tally {
        let mut rest = self.clone();
        rest.failures -= self.refused.min(self.failures);
        rest.refused = 0;
        rest.kinds.remove(REFUSED);
        rest
    }

    /// Failures here of kinds that also occur in `other`.
    pub fn failures_of_kinds_in(&self, other: &Tally) -> u64 {
        self.kinds.iter().filter(|(kind, _)| other.kinds.contains_key(*kind)).map(|(_, n)| n).sum()
    }
}

/// What a failure looked like to the client, by its error text and status.
pub fn kind_of(error: Option<&str>, status: Option<i32>) -> &'static str {
    let Some(error) = error else {
        return if status.is_some_and(|status| status >= 500) { "answered 5xx" } else { "no answer" };
    };
    let error = error.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if has(&["refused"]) {
        REFUSED
    } else if has(&["timeout", "timed out", "deadline exceeded"]) {
        TIMEOUT
    } else if has(&["reset", "broken pipe"]) {
        "reset"
    } else if has(&["eof", "closed"]) {
        "closed early"
    } else if has(&["no route", "no_route", "unreachable"]) {
        "unreachable"
    } else {
        "other"
    }
}

/// A failed request.
pub type Failure = RequestRow<'static>;

/// Clock domains of the requests (one per client host), sorted.
pub fn clocks(run: &Run) -> Vec<String> {
    let Ok(scan) = run.bundle.scan("requests") else { return Vec::new() };
    let Ok(frame) = scan.select([col("clock")]).unique(None, UniqueKeepStrategy::Any).collect() else {
        return Vec::new();
    };
    let mut found: Vec<String> = frame
        .column("clock")
        .ok()
        .and_then(|c| c.str().ok().map(|c| c.iter().flatten().map(str::to_owned).collect()))
        .unwrap_or_default();
    found.sort();
    found
}

/// Requests of a kind sent within `[start, end)` on `clock`.
pub fn within(run: &Run, clock: &str, start: i64, end: i64, kind: &str) -> Option<LazyFrame> {
    Some(
        run.bundle.scan("requests").ok()?.filter(
            col("time")
                .gt_eq(lit(start))
                .and(col("time").lt(lit(end)))
                .and(col("clock").eq(lit(clock.to_owned())))
                .and(col("kind").eq(lit(kind.to_owned()))),
        ),
    )
}

fn failed() -> Expr {
    let status = || col("status").fill_null(lit(0));
    col("error").is_not_null().or(status().gt_eq(lit(500))).or(status().eq(lit(0)))
}

/// Attempts and failures of one kind in a phase, over all clients; `None` without requests or without the window.
pub fn tally(run: &Run, phase: Phase, kind: &str) -> Option<Tally> {
    let mut sum = Tally::default();
    for clock in clocks(run) {
        let window = run.window(phase, &clock)?;
        let one = tally_window(run, &clock, &window, kind)?;
        sum.attempts += one.attempts;
        sum.failures += one.failures;
        sum.refused += one.refused;
        sum.timeouts += one.timeouts;
        for (kind, n) in one.kinds {
            *sum.kinds.entry(kind).or_default() += n;
        }
    }
    (sum.attempts > 0).then_some(sum)
}

fn tally_window(run: &Run, clock: &str, window: &Window, kind: &str) -> Option<Tally> {
    let scan = within(run, clock, window.start, window.end, kind)?;
    let counted = scan.clone().select([len().cast(DataType::Int64).alias("attempts")]).collect().ok()?;
    let attempts = counted.column("attempts").ok()?.i64().ok()?.get(0)?;
    // Only the texts of the failed ones are read.
    let failed = scan.filter(failed()).select([col("error"), col("status")]).collect().ok()?;
    let texts = failed.column("error").ok()?.str().ok()?;
    let statuses = failed.column("status").ok()?.i32().ok()?;
    let mut tally = Tally { attempts: attempts.max(0) as u64, ..Tally::default() };
    for (text, status) in texts.iter().zip(statuses.iter()) {
        tally.failures += 1;
        let kind = kind_of(text, status);
        tally.refused += u64::from(kind == REFUSED);
        tally.timeouts += u64::from(kind == TIMEOUT);
        *tally.kinds.entry(kind).or_default() += 1;
    }
    Some(tally)
}

/// SQL of what [`failed`] counts.
pub const FAILED_SQL: &str = "(error IS NOT NULL OR coalesce(status, 0) >= 500 OR coalesce(status, 0) = 0)";

/// SQL of a failure that is no refusal.
pub const NOT_REFUSED_SQL: &str = "coalesce(error, '') NOT ILIKE '%refused%'";

/// The requests of a kind in a phase as evidence: for each client's file the range of its records, and SQL that gives `figure`
/// (an expression over the columns of `requests`) from them.
pub fn cite(run: &Run, phase: Phase, kind: &str, figure: &str) -> Vec<Evidence> {
    let mut found = Vec::new();
    for clock in clocks(run) {
        let Some(window) = run.window(phase, &clock) else { continue };
        let Some(scan) = within(run, &clock, window.start, window.end, kind) else { continue };
        let ranges = scan
            .group_by([col("source")])
            .agg([
                col("record").min().alias("first"),
                col("record").max().alias("last"),
                len().cast(DataType::Int64).alias("n"),
            ])
            .sort(["source"], SortMultipleOptions::default())
            .collect();
        let Ok(ranges) = ranges else { continue };
        let (Ok(sources), Ok(first), Ok(last), Ok(n)) =
            (ranges.column("source"), ranges.column("first"), ranges.column("last"), ranges.column("n"))
        else {
            continue;
        };
        let (Ok(sources), Ok(first), Ok(last), Ok(n)) = (sources.i32(), first.i64(), last.i64(), n.i64()) else {
            continue;
        };
        for (((source, first), last), n) in sources.iter().zip(first.iter()).zip(last.iter()).zip(n.iter()) {
            let (Some(source), Some(first), Some(last), Some(n)) = (source, first, last, n) else { continue };
            let word = super::proxy_cpu::word(phase);
            found.push(Evidence {
                last: Some(last),
                query: format!(
                    "SELECT {figure} FROM 'requests.parquet' WHERE source = {source} AND kind = '{kind}' AND time >= {} AND time < {}",
                    window.start, window.end
                ).into(),
                ..run.evidence(source, first, format!("{n} requests ({kind}) of the {word}"))
            });
        }
    }
    found
}

/// A column of the successful requests of a phase in seconds, sorted (`latency` or `connect`).
pub fn sorted_seconds(run: &Run, phase: Phase, kind: &str, column: &str) -> Vec<f64> {
    let mut all = Vec::new();
    for clock in clocks(run) {
        let Some(window) = run.window(phase, &clock) else { continue };
        let Some(scan) = within(run, &clock, window.start, window.end, kind) else { continue };
        let picked = scan
            .filter(failed().not().and(col(column.to_owned()).is_not_null()))
            .select([col(column.to_owned())])
            .sort([column.to_owned()], SortMultipleOptions::default())
            .collect();
        if let Ok(frame) = picked
            && let Ok(values) = frame.column(column)
            && let Ok(values) = values.i64()
        {
            all.extend(values.iter().flatten().map(|ns| ns as f64 / 1e9));
        }
    }
    all.sort_by(f64::total_cmp);
    all
}

/// Failed requests (of all kinds) sent within `[start, end)` on `clock`, in order of time.
pub fn failures(run: &Run, clock: &str, start: i64, end: i64) -> Vec<Failure> {
    let filter = col("time")
        .gt_eq(lit(start))
        .and(col("time").lt(lit(end)))
        .and(col("clock").eq(lit(clock.to_owned())))
        .and(failed());
    let mut found = run.bundle.rows_or_note::<RequestRow<'static>>(Some(filter));
    found.sort_by_key(|r| (r.time, r.record));
    found
}

/// Time at which the last request of a clock was sent, ns.
pub fn last_sent(run: &Run, clock: &str) -> Option<i64> {
    let frame = run
        .bundle
        .scan("requests")
        .ok()?
        .filter(col("clock").eq(lit(clock.to_owned())))
        .select([col("time").max()])
        .collect()
        .ok()?;
    frame.column("time").ok()?.i64().ok()?.get(0)
}

/// Addresses that the client's connections came from (`requests.local` without the port), at most 64.
pub fn client_addresses(run: &Run) -> Vec<String> {
    let Ok(scan) = run.bundle.scan("requests") else { return Vec::new() };
    let Ok(frame) =
        scan.filter(col("local").is_not_null()).select([col("local")]).limit(20_000).collect().map(|f| f.lazy())
    else {
        return Vec::new();
    };
    let Ok(frame) = frame.unique(None, UniqueKeepStrategy::Any).collect() else { return Vec::new() };
    let Ok(column) = frame.column("local") else { return Vec::new() };
    let Ok(column) = column.str() else { return Vec::new() };
    let mut found: Vec<String> = column
        .iter()
        .flatten()
        .filter_map(|local| local.rsplit_once(':').map(|(address, _)| address.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found.truncate(64);
    found
}

#[cfg(test)]
mod tests {
    use syncline_schema::requests::RequestRow;

    use super::super::fixture::{self, SECOND};
    use super::{client_addresses, clocks, failures, last_sent, tally_window};
    use crate::events::Window;

    fn request(at: i64, status: Option<i32>, error: Option<&'static str>) -> RequestRow<'static> {
        RequestRow {
            record: at,
            clock: "node-a".into(),
            time: at * SECOND,
            kind: "new".into(),
            latency: Some(1_000_000),
            status,
            error: error.map(Into::into),
            local: Some(format!("10.244.0.22:{}", 40_000 + at).into()),
            ..RequestRow::default()
        }
    }

    #[test]
    fn failures_are_errors_5xx_and_silence() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "cilium", |tables| {
            for row in [
                request(1, Some(200), None),
                request(2, Some(404), None),
                request(3, Some(503), None),
                request(4, Some(0), Some("refused: dial tcp 10.96.100.100:80: connect: connection refused")),
                request(5, None, Some("timeout: dial tcp 10.96.100.100:80: i/o timeout")),
                request(6, None, None),
                RequestRow { kind: "keepalive".into(), ..request(7, None, Some("eof: unexpected EOF")) },
                request(99, None, Some("outside the window")),
            ] {
                tables.push(&row).unwrap();
            }
        });
        let window = Window { start: 0, end: 90 * SECOND, slack: 0 };
        let found = tally_window(&run, "node-a", &window, "new").unwrap();
        assert_eq!((found.attempts, found.failures, found.refused, found.timeouts), (6, 4, 1, 1));
        let kinds: Vec<(&str, u64)> = found.kinds.iter().map(|(kind, n)| (*kind, *n)).collect();
        assert_eq!(kinds, [("answered 5xx", 1), ("no answer", 1), ("refused", 1), ("time-out", 1)]);
        assert_eq!(found.without_refusals().failures, 3);
        assert_eq!(
            failures(&run, "node-a", 0, 90 * SECOND).iter().map(|f| f.record).collect::<Vec<_>>(),
            [3, 4, 5, 6, 7]
        );
        assert_eq!(clocks(&run), ["node-a"]);
        assert_eq!(last_sent(&run, "node-a"), Some(99 * SECOND));
        assert_eq!(client_addresses(&run), ["10.244.0.22"]);
    }
}
