//! PromQL without a server: an expression, series and times in, the values that Prometheus' HTTP API would answer out.
//!
//! The language and its meaning are those of Prometheus 3.14, with everything that Prometheus keeps behind feature
//! flags: experimental functions, duration expressions, extended range selectors (`anchored`, `smoothed`), fill
//! modifiers, start timestamps in rates, and delayed removal of the metric's name. What differs from 2.42, which the
//! differential test compares with, is tested by rule, each with the document or pull request that it comes from.
//!
//! Every query is bounded: by samples and by memory ([`Options::max_samples`], [`Options::memory`]), by time where
//! that is asked for ([`Options::deadline`]), by the depth of its expression, and by regular expressions that match in
//! linear time. What goes beyond is an error.
//!
//! The library reads no files; whoever has samples implements [`Storage`] or fills a [`MemoryStorage`].
//!
//! ```
//! use syncline_promql::{Labels, MemoryStorage, Options, Sample, Series, instant, parse, to_json};
//!
//! let labels = Labels::new([("__name__", "up"), ("job", "node")]);
//! let storage = MemoryStorage::new(vec![Series::of_floats(labels, &[Sample { time: 1_000, value: 1.0 }])]);
//! let query = parse("up * 2")?;
//! let answer = instant(&storage, &query, 2_000, &Options::default())?;
//! assert_eq!(
//!     to_json(&answer),
//!     r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"node"},"value":[2,"2"]}]}}"#,
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod syntax;

mod pattern;

mod storage;

mod labels;

mod series;

pub mod histogram;

mod evaluate;

mod functions;

mod hash;

mod alert;

mod answer;

mod json;

mod number;

mod calendar;

pub use alert::{AlertHistory, AlertInterval, AlertRange, alert};
pub use answer::{Answer, EvalError, MatrixSeries, PlanStep, SampleValue, Selected, Value, VectorElement};
pub use evaluate::{Options, instant, range};
pub use histogram::{Histogram, IndexedBucket, ResetHint};
pub use json::{error_to_json, eval_error_to_json, parse_error_to_json, to_json};
pub use labels::{Label, Labels, METRIC_NAME};
pub use number::{format_float, format_float_short, format_time};
pub use series::{Column, HistogramSample, STALE_BITS, Sample, Series, any_stale, is_stale, stale_marker};
pub use storage::{MatchOperator, Matcher, MemoryStorage, Storage};
pub use syntax::{Expr, ParseError, duration_milliseconds, parse};
