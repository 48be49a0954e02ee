//! What is served: series, held decoded; what is known of their metrics; pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use syncline_promql::{MemoryStorage, Series};

use crate::Response;

/// What "now" is for a request that gives no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// A moment of the captures, ms since 1970: their last sample.
    Captured(i64),
    /// This machine's: the series were moved to it.
    Wall,
}

impl Clock {
    /// ms since 1970.
    pub fn now(self) -> i64 {
        match self {
            Clock::Captured(at) => at,
            Clock::Wall => jiff::Timestamp::now().as_millisecond(),
        }
    }
}

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metadata {
    /// `counter`, `gauge`, …, `unknown`.
    pub kind: String,
    pub help: String,
    pub unit: String,
}

/// Pages for people, made when they are asked for.
pub trait Pages: Send + Sync {
    /// The page of a path without its first slash; `None`: there is none.
    fn page(&self, path: &str) -> Option<Response>;
}

/// What the series take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub series: usize,
    pub samples: usize,
    /// Bytes of times, values and histograms.
    pub bytes: usize,
}

impl Held {
    /// Adds a series.
    pub fn add(&mut self, series: &Series) {
        let histograms: usize = series
            .histograms
            .iter()
            .map(|one| 200 + 16 * (one.histogram.positive.len() + one.histogram.negative.len()))
            .sum();
        let starts = series.start_times.len() + series.histogram_start_times.len();
        let labels: usize = series.labels.pairs().iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
        self.series += 1;
        self.samples += series.times.len() + series.histograms.len();
        self.bytes += 200 + labels + 16 * series.times.len() + 8 * starts + histograms;
    }
}

/// Everything that requests are answered from.
pub struct Served {
    pub storage: MemoryStorage,
    pub held: Held,
    pub metadata: BTreeMap<String, Vec<Metadata>>,
    /// Groups of rules and alerts as the API answers them.
    pub rules: Vec<Value>,
    pub alerts: Vec<Value>,
    /// What every answer to a query says beside its values (`infos`).
    pub notes: Vec<String>,
    pub clock: Clock,
    /// How far back a sample counts as current.
    pub lookback: Duration,
    /// Longest time of a query.
    pub timeout: Duration,
    /// Most samples of a query.
    pub max_samples: usize,
    /// Most bytes of what a query builds.
    pub memory: usize,
    pub pages: Arc<dyn Pages>,
    /// Version of the program.
    pub version: &'static str,
    /// When it began to serve, ms since 1970.
    pub started: i64,
    /// Where it listens, as given.
    pub listen: String,
}
