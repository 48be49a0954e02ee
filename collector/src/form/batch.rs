//! What a parser fills: rows as Arrow columns, and what the sequential pass of `write` needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use syncline_schema::facts::FactRow;
use syncline_schema::histograms::NativeHistogramRow;
use syncline_schema::loss::{self, Loss};
use syncline_schema::rejects::RejectRow;
use syncline_schema::samples::StartRow;
use syncline_schema::{Row, TABLES};

use super::columns::TableBuilder;
use super::dissector::Dissector;
use super::file_series::FileSeries;
use super::line::{Around, Context, Line};

/// Tables whose rows name a series of their batch by its index: `write` gives it its identifier.
pub const NAME_SERIES: [&str; 2] = [NativeHistogramRow::TABLE, StartRow::TABLE];

/// Identity of a series within its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    pub name: String,
    /// Labels without `__name__` as `series.labels` has them (JSON, keys sorted).
    pub labels: String,
}

/// A float sample of a series of this batch.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Index into [`Batch::series`].
    pub series: u32,
    pub record: i64,
    /// ns.
    pub time: i64,
    pub value: f64,
}

/// A series as first seen in this batch.
#[derive(Clone, Debug)]
pub struct LocalSeries {
    pub key: SeriesKey,
    pub record: i64,
    pub metric_type: Option<&'static str>,
}

/// The text of one snapshot; `write` turns a stream of them into a dictionary and changes.
#[derive(Clone, Debug)]
pub struct RawSnapshot {
    /// What takes it apart.
    pub dissector: &'static Dissector,
    /// Line of its stamp.
    pub record: i64,
    /// First line of `text`.
    pub first_line: i64,
    pub time: Option<i64>,
    /// Resolution of `time`, ns: it was taken at `time` or less than that after it. Null where it is exact or unknown.
    pub resolution: Option<i64>,
    /// When the reading was over, ns, where its stamp says so.
    pub until: Option<i64>,
    /// The state was found as the snapshot ahead in its file has it, but for counters: `text` is empty, and it is as complete as that one.
    pub unchanged: bool,
    /// `stamp`, `name`, `mtime` or `none`.
    pub time_from: &'static str,
    /// The state as captured, without its stamp line.
    pub text: Vec<u8>,
    pub complete: bool,
    /// What lay around its lines; `first_line` and the lines behind it then count what stood inside.
    pub around: Option<Arc<Around>>,
    /// For a file of a series of files: which one ([`FileSeries`](super::file_series::FileSeries)). Null for a file that is a
    /// stream of its own.
    pub series: Option<FileSeries>,
}

/// Bytes of rows that are handed on ahead of the end of their chunk: several times what any capture makes of one. Fixed: row groups of
/// a bundle must not depend on memory or threads.
const PART: usize = 24 << 20;
/// Bytes of rows for each byte of a chunk at most: formats make one to four. One that says a name once and lists things of that name
/// makes more, a stranger's as much as its length.
const MOST_BUILT: usize = 64;
/// What a short chunk may make of itself in any case.
const LEAST_BUILT: usize = 16 << 20;
/// Rejected records of a chunk that are listed with their place: further ones are counted.
const MOST_LISTED: u64 = 10_000;

/// Takes tables that are large before their chunk is parsed to its end, and a batch of the series so far where rows name some.
pub type HandOn = Box<dyn FnMut(Vec<TableBuilder>, Batch) + Send>;

/// What a chunk gave.
#[derive(Default)]
pub struct Batch {
    tables: BTreeMap<&'static str, TableBuilder>,
    /// Bytes in `tables`, and of all rows so far.
    held: usize,
    built: usize,
    /// Bytes that may be built; null where nobody said.
    most: Option<usize>,
    hand_on: Option<HandOn>,
    /// Series of this batch, in order of first appearance.
    pub series: Vec<LocalSeries>,
    series_index: HashMap<SeriesKey, u32>,
    /// `scrape`, `exposition`, `api`, `tsdb`, `bpftool`: the witness of this batch's series.
    pub witness: &'static str,
    pub samples: Vec<Sample>,
    /// Scrape streams: line and time of each scrape in this batch, in order. `write` marks series that are gone
    /// from the next scrape as stale at its time.
    pub scrapes: Vec<(i64, i64)>,
    pub snapshots: Vec<RawSnapshot>,
    /// Losses by name.
    pub losses: BTreeMap<&'static str, (Loss, u64)>,
    /// Records read.
    pub records: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Earliest and latest time seen.
    pub span: Option<(i64, i64)>,
}

impl Batch {
    /// For a chunk of so many bytes; `hand_on` takes what grows large, in order.
    pub fn of_chunk(bytes: usize, hand_on: HandOn) -> Self {
        let most = bytes.saturating_mul(MOST_BUILT).saturating_add(LEAST_BUILT);
        Self { most: Some(most), hand_on: Some(hand_on), ..Self::default() }
    }

    /// Whether the chunk made far more of itself than any capture does: further rows are left out.
    pub fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.built > most)
    }

    /// Appends a row to its table. Where the chunk made far more of itself than any capture does, the row is counted and left out.
    pub fn push<'a, R: Row<'a>>(&mut self, row: &R) {
        if self.is_full() {
            return self.loss(loss::TOO_MUCH_BUILT, 1);
        }
        let table = self.tables.entry(R::TABLE).or_insert_with(|| TableBuilder::new(R::TABLE, R::COLUMNS));
        let before = table.bytes();
        row.write(table);
        let bytes = table.bytes() - before;
        (self.held, self.built) = (self.held + bytes, self.built + bytes);
        if self.held >= PART
            && let Some(mut hand_on) = self.hand_on.take()
        {
            let tables = self.take_tables();
            let names_series = tables.iter().any(|table| NAME_SERIES.contains(&table.table));
            let series = if names_series { self.series.clone() } else { Vec::new() };
            hand_on(tables, Self { series, witness: self.witness, ..Self::default() });
            self.hand_on = Some(hand_on);
        }
    }

    /// Notes since when a sample of a series counts; times in ns.
    pub fn start(&mut self, series: u32, record: i64, time: i64, start: i64) {
        self.push(&StartRow { series: i64::from(series), record, time, start, ..StartRow::default() });
    }

    /// Counts a record and remembers its time.
    pub fn record(&mut self, time: Option<i64>) {
        self.records += 1;
        if let Some(time) = time {
            let (first, last) = self.span.get_or_insert((time, time));
            *first = (*first).min(time);
            *last = (*last).max(time);
        }
    }

    /// Extends the span to a time that belongs to the record counted last.
    pub fn record_until(&mut self, time: i64) {
        let (first, last) = self.span.get_or_insert((time, time));
        *first = (*first).min(time);
        *last = (*last).max(time);
    }

    /// Refuses a line: it goes to `rejects` with the reason, which says what was expected.
    pub fn reject(&mut self, context: &Context, line: &Line, reason: &str) {
        self.rejected += 1;
        if self.rejected > MOST_LISTED {
            return self.loss(loss::UNLISTED_REJECTS, 1);
        }
        let excerpt = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(800)]);
        let excerpt: String = excerpt.chars().take(200).collect();
        self.push(&RejectRow {
            source: context.source,
            record: line.number,
            offset: line.offset,
            reason: reason.into(),
            excerpt: excerpt.into(),
            ..Default::default()
        });
    }

    /// Adds a fact of the run, as `record` of the file says it.
    pub fn fact(&mut self, context: &Context, record: i64, key: &str, value: &str) {
        self.push(&FactRow {
            source: Some(context.source),
            record,
            key: key.into(),
            value: value.into(),
            ..Default::default()
        });
    }

    /// Counts a loss.
    pub fn loss(&mut self, loss: Loss, count: u64) {
        self.losses.entry(loss.name).or_insert((loss, 0)).1 += count;
    }

    /// Index of a series in this batch.
    pub fn series(&mut self, key: SeriesKey, record: i64, metric_type: Option<&'static str>) -> u32 {
        if let Some(&index) = self.series_index.get(&key) {
            return index;
        }
        let index = self.series.len() as u32;
        self.series_index.insert(key.clone(), index);
        self.series.push(LocalSeries { key, record, metric_type });
        index
    }

    /// Takes the finished columns of every table, in the order of [`TABLES`].
    pub fn take_tables(&mut self) -> Vec<TableBuilder> {
        self.held = 0;
        let mut tables = std::mem::take(&mut self.tables);
        TABLES.iter().filter_map(|(name, _)| tables.remove(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use syncline_schema::facts::FactRow;

    use super::{Batch, LEAST_BUILT, MOST_BUILT, MOST_LISTED, PART};
    use crate::form::{Context, Line};

    /// Rows of each part that was handed on, and the batch.
    fn built(chunk: usize, rows: usize, text: &str) -> (Vec<usize>, Batch) {
        let parts = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&parts);
        let hand_on = move |tables: Vec<super::TableBuilder>, _| {
            taken.lock().expect("parts").push(tables.iter().map(|table| table.rows()).sum());
        };
        let mut batch = Batch::of_chunk(chunk, Box::new(hand_on));
        for _ in 0..rows {
            batch.push(&FactRow { value: text.into(), ..FactRow::default() });
        }
        let parts = parts.lock().expect("parts").clone();
        (parts, batch)
    }

    #[test]
    fn a_text_in_every_row_is_handed_on_in_parts_and_comes_to_an_end() {
        let text = "x".repeat(1 << 20);
        let (parts, mut batch) = built(1 << 20, 200, &text);
        assert!(parts.len() > 1 && parts.iter().all(|rows| *rows <= (PART >> 20) + 1), "{parts:?}");
        let rows = parts.iter().sum::<usize>() + batch.take_tables().iter().map(|table| table.rows()).sum::<usize>();
        let most = (MOST_BUILT << 20) + LEAST_BUILT;
        assert!((most >> 20..=(most >> 20) + 1).contains(&rows), "{rows}");
        assert_eq!(batch.losses["too-much-built"].1, 200 - rows as u64);
        // What a capture makes of a chunk is one part.
        let (parts, batch) = built(4 << 20, 100_000, "a text of a log line");
        assert!(parts.is_empty() && batch.losses.is_empty());
    }

    #[test]
    fn rejects_are_listed_up_to_a_number_and_counted_beyond_it() {
        let mut batch = Batch::default();
        let line = Line { bytes: b"x", number: 1, offset: 0, ended: true };
        let context = Context {
            source: 0,
            path: "x".to_owned(),
            clock: "none".to_owned(),
            node: "node".to_owned(),
            year: None,
            utc_offset: None,
            mtime: None,
        };
        for _ in 0..MOST_LISTED + 7 {
            batch.reject(&context, &line, "expected something else");
        }
        assert_eq!((batch.rejected, batch.losses["unlisted-rejects"].1), (MOST_LISTED + 7, 7));
        assert_eq!(batch.take_tables()[0].rows() as u64, MOST_LISTED);
    }
}
