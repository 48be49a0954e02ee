//! What rules read and write while they are replayed: captured series, and beside them what the rules themselves recorded so far.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_promql::{
    HistogramSample, Labels, METRIC_NAME, MatchOperator, Matcher, MemoryStorage, SampleValue, Series, Storage,
    stale_marker,
};

/// Captured series, which stay, and written ones, which grow.
#[derive(Debug, Default)]
pub struct Live {
    captured: MemoryStorage,
    written: Vec<Arc<Series>>,
    places: HashMap<Labels, usize>,
    by_name: HashMap<String, Vec<usize>>,
    samples: usize,
}

impl Live {
    /// Nothing written yet.
    pub fn new(captured: Vec<Series>) -> Self {
        Self { captured: MemoryStorage::new(captured), ..Self::default() }
    }

    /// Number of samples that were written.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Appends a sample. As in Prometheus one that is not later than the series' last is dropped.
    pub fn write(&mut self, labels: &Labels, time: i64, value: SampleValue) {
        let at = match self.places.get(labels) {
            Some(at) => *at,
            None => {
                let at = self.written.len();
                self.written.push(Arc::new(Series { labels: labels.clone(), ..Series::default() }));
                self.places.insert(labels.clone(), at);
                self.by_name.entry(labels.metric_name().to_owned()).or_default().push(at);
                at
            }
        };
        let series = Arc::make_mut(&mut self.written[at]);
        let last = series.times.last().copied().max(series.histograms.last().map(|sample| sample.time));
        if last.is_some_and(|last| last >= time) {
            return;
        }
        match value {
            SampleValue::Float(value) => series.push(time, value),
            SampleValue::Histogram(histogram) => series.histograms.push(HistogramSample { time, histogram }),
        }
        self.samples += 1;
    }

    /// Marks a series as ended.
    pub fn end(&mut self, labels: &Labels, time: i64) {
        self.write(labels, time, SampleValue::Float(stale_marker()));
    }
}

impl Storage for Live {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<Arc<Series>> {
        let mut found = self.captured.select(matchers, start, end);
        let keep = |series: &&Arc<Series>| {
            matchers.iter().all(|one| one.matches(series.labels.get(&one.name))) && series.has_samples_in(start, end)
        };
        match matchers.iter().find(|one| one.name == METRIC_NAME && one.operator == MatchOperator::Equal) {
            Some(name) => {
                let own = self.by_name.get(&name.value).into_iter().flatten().map(|at| &self.written[*at]);
                found.extend(own.filter(keep).cloned());
            }
            None => found.extend(self.written.iter().filter(keep).cloned()),
        }
        found
    }
}
