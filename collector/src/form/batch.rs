//! What a parser fills: rows as Arrow columns, and what the sequential pass of `write` needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use syncline_schema::facts::FactRow;
use syncline_schema::loss::Loss;
use syncline_schema::rejects::RejectRow;
use syncline_schema::{Row, TABLES};

use super::columns::TableBuilder;
use super::dissector::Dissector;
use super::file_series::FileSeries;
use super::line::{Around, Context, Line};

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

/// What a chunk gave.
#[derive(Default)]
pub struct Batch {
    tables: BTreeMap<&'static str, TableBuilder>,
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
    /// Appends a row to its table.
    pub fn push<'a, R: Row<'a>>(&mut self, row: &R) {
        let table = self.tables.entry(R::TABLE).or_insert_with(|| TableBuilder::new(R::TABLE, R::COLUMNS));
        row.write(table);
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
        let mut tables = std::mem::take(&mut self.tables);
        TABLES.iter().filter_map(|(name, _)| tables.remove(name)).collect()
    }
}
