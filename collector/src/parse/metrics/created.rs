//! `…_created` of OpenMetrics: since when the other samples of a scrape count.
//!
//! ```text
//! # TYPE a counter                 the type of the family, or it is a gauge that happens to be called so
//! a_total{x="1"} 7
//! a_created{x="1"} 1520879000.5    a_total{x="1"} counts since then; of histograms and summaries without `le` and `quantile`
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use syncline_schema::is_possible;

use crate::form::Batch;
use crate::form::batch::SeriesKey;

/// Their suffix.
const SUFFIX: &str = "_created";
/// Suffixes of the samples that they speak of, and the label that tells these apart.
const BEGUN: [(&str, Option<&str>); 5] =
    [("_total", None), ("_bucket", Some("le")), ("_count", None), ("_sum", None), ("", Some("quantile"))];

/// Types of families by name.
type Types<'a> = HashMap<&'a [u8], &'static str>;

/// Which series of a chunk they are, and what those of the scrape that is being read say.
#[derive(Default)]
pub struct Created {
    /// All of them so far.
    series: HashSet<u32>,
    /// Of this scrape: the series, and when what it is about began, ns.
    said: HashMap<u32, i64>,
    /// Of each other series, which of so many says when it began; none where none does.
    of: HashMap<u32, (usize, Option<u32>)>,
    /// Where the samples of this scrape begin.
    from: usize,
}

impl Created {
    /// A series was met.
    pub fn met(&mut self, series: u32, name: &[u8]) {
        if name.ends_with(SUFFIX.as_bytes()) {
            self.series.insert(series);
        }
    }

    /// A sample was read.
    pub fn sample(&mut self, series: u32, value: f64) {
        let nanoseconds = value * 1e9;
        if self.series.contains(&series) && nanoseconds > 0.0 && is_possible(nanoseconds as i64) {
            self.said.insert(series, nanoseconds as i64);
        }
    }

    /// A scrape is over: gives its samples the start times that it says.
    pub fn settle(&mut self, types: &Types<'_>, batch: &mut Batch) {
        let from = std::mem::replace(&mut self.from, batch.samples.len());
        let said = std::mem::take(&mut self.said);
        if said.is_empty() {
            return;
        }
        let mut by_key: HashMap<(&str, &str), u32> = HashMap::new();
        for series in said.keys() {
            let key = &batch.series[*series as usize].key;
            let begins = |family: &&str| {
                types.get(family.as_bytes()).is_some_and(|kind| matches!(*kind, "counter" | "histogram" | "summary"))
            };
            if let Some(family) = key.name.strip_suffix(SUFFIX).filter(begins) {
                by_key.insert((family, &key.labels), *series);
            }
        }
        let (all, mut found) = (self.series.len(), Vec::new());
        for sample in &batch.samples[from..] {
            let (among, of) = self.of.entry(sample.series).or_default();
            if of.is_none() && *among < all {
                (*among, *of) = (all, begun_with(&batch.series[sample.series as usize].key, &by_key));
            }
            if let Some(start) = of.and_then(|series| said.get(&series)) {
                found.push((*sample, *start));
            }
        }
        for (sample, start) in found {
            batch.start(sample.series, sample.record, sample.time, start);
        }
    }
}

/// The `…_created` that a series begins with, by family and labels.
fn begun_with(key: &SeriesKey, created: &HashMap<(&str, &str), u32>) -> Option<u32> {
    BEGUN.iter().find_map(|(suffix, label)| {
        let family = key.name.strip_suffix(suffix)?;
        if let Some(series) = created.get(&(family, key.labels.as_str())) {
            return Some(*series);
        }
        let mut labels: BTreeMap<String, String> = serde_json::from_str(&key.labels).ok()?;
        labels.remove((*label)?)?;
        created.get(&(family, serde_json::to_string(&labels).ok()?.as_str())).copied()
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    use crate::form::Batch;
    use crate::parse::harness::parse_text;
    use crate::parse::metrics::exposition::{EXPOSITION, SCRAPE};

    /// What the table `starts` has: series, record, start in seconds.
    fn starts(mut batch: Batch) -> Vec<(String, i64, i64)> {
        let mut tables = batch.take_tables().into_iter().filter(|table| table.table == "starts");
        let rows = tables.next().expect("starts").finish().expect("rows");
        let column = |name: &str| rows.column_by_name(name).expect("a column").as_primitive::<Int64Type>().values();
        let name = |series: &i64| {
            let key = &batch.series[*series as usize].key;
            format!("{}{}", key.name, key.labels)
        };
        let [series, records, starts] = ["series", "record", "start"].map(column);
        let row = |at: usize| (name(&series[at]), records[at], starts[at] / 1_000_000_000);
        (0..series.len()).map(row).collect()
    }

    #[test]
    fn openmetrics_says_when_counters_began() {
        let page = |time: i64, begun: i64| {
            format!(
                "# SCRAPE {time}.5\n# TYPE a counter\na_total{{x=\"1\"}} 7\na_created{{x=\"1\"}} {begun}\na_total{{x=\"2\"}} 8\n\
                 # TYPE h histogram\nh_bucket{{le=\"1\"}} 1\nh_count 1\nh_sum 1\nh_created {begun}\n\
                 # TYPE t_total counter\nt_total 4\n# TYPE t_created gauge\nt_created 5\n"
            )
        };
        let batch = parse_text(&SCRAPE, &(page(1000, 500) + &page(1001, 600)));
        let of = |record: i64, start: i64| {
            [r#"a_total{"x":"1"}"#, r#"h_bucket{"le":"1"}"#, "h_count{}", "h_sum{}"]
                .map(|name| (name.to_owned(), record, start))
        };
        assert_eq!(starts(batch), [of(1, 500), of(15, 600)].concat(), "what has no start, or is a gauge, has none");
        let batch = parse_text(&EXPOSITION, "# TYPE b counter\nb 1 1520879607 st@1520879000.5\n# EOF\n");
        assert_eq!(starts(batch), [("b{}".to_owned(), 2, 1_520_879_000)]);
    }
}
