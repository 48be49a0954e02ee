//! `read`: the samples themselves, for a Prometheus that has this server as `remote_read`.
//!
//! A request and its answer are protobuf in snappy (<https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/>; messages `ReadRequest`
//! and `ReadResponse` of `prompb/remote.proto`, numbered as there). Of the two forms of an answer this is the older one, `SAMPLES`, which
//! every client takes. Native histograms come with float counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use syncline_promql::{Histogram, IndexedBucket, MatchOperator, Matcher, ResetHint, Series, Storage};

use crate::{Failure, Request, Response, Served};

/// Largest request once it is unpacked, bytes.
const LARGEST: usize = 4 << 20;
/// Content type of both.
const PROTOBUF: &str = "application/x-protobuf";

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    pub queries: Vec<Query>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Query {
    /// ms since 1970, as all times here; both ends belong to it.
    #[prost(int64, tag = "1")]
    pub start: i64,
    #[prost(int64, tag = "2")]
    pub end: i64,
    #[prost(message, repeated, tag = "3")]
    pub matchers: Vec<LabelMatcher>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelMatcher {
    /// `=`, `!=`, `=~`, `!~`, from 0.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<FloatHistogram>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub time: i64,
}

/// Message `Histogram`, of which a reader knows by `count_float` that its counts are floats.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FloatHistogram {
    #[prost(double, optional, tag = "2")]
    pub count_float: Option<f64>,
    #[prost(double, tag = "3")]
    pub sum: f64,
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    #[prost(double, optional, tag = "7")]
    pub zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<Span>,
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<Span>,
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// Unknown, reset, no reset, gauge, from 0.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    #[prost(int64, tag = "15")]
    pub time: i64,
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

/// So many buckets in a row, and how many are left out ahead of them.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Span {
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// The samples of all queries of a request.
///
/// # Errors
/// A body that is none, or more samples than a query may have.
pub(super) fn read(served: &Served, request: &Request) -> Result<Response, Failure> {
    let asked = asked(&request.body)?;
    let mut left = served.max_samples.min(served.memory / BYTES_OF_A_SAMPLE);
    let results = asked.queries.iter().map(|query| result(served, query, &mut left)).collect::<Result<_, _>>()?;
    let answer = ReadResponse { results }.encode_to_vec();
    let packed = snap::raw::Encoder::new().compress_vec(&answer).map_err(|error| Failure {
        status: 422,
        kind: "execution",
        message: format!("the answer cannot be packed: {error}"),
    })?;
    let headers = vec![("Content-Encoding", "snappy".to_owned())];
    Ok(Response { status: 200, content_type: PROTOBUF, headers, body: packed })
}

/// Bytes of a sample as a message, encoded, and packed.
const BYTES_OF_A_SAMPLE: usize = 64;

fn asked(body: &[u8]) -> Result<ReadRequest, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::bad_data(format!("expected a ReadRequest in snappy: {why}"));
    let length = snap::raw::decompress_len(body).map_err(|error| wrong(&error))?;
    if length > LARGEST {
        return Err(Failure { status: 413, ..wrong(&format_args!("{length} bytes, and {LARGEST} are the most")) });
    }
    let unpacked = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| wrong(&error))?;
    ReadRequest::decode(unpacked.as_slice()).map_err(|error| wrong(&error))
}

fn result(served: &Served, query: &Query, left: &mut usize) -> Result<QueryResult, Failure> {
    let matchers: Vec<Matcher> = query.matchers.iter().map(matcher).collect::<Result<_, _>>()?;
    let found = served.storage.select(&matchers, query.start, query.end);
    // In the order of their labels, as a client that merges them expects.
    let found: BTreeMap<_, &Arc<Series>> = found.iter().map(|series| (&series.labels, series)).collect();
    let mut timeseries = Vec::with_capacity(found.len());
    for series in found.into_values() {
        let within = |time: &i64| (query.start..=query.end).contains(time);
        let floats = series.times.iter().zip(series.values.iter()).filter(|(time, _)| within(time));
        let samples: Vec<Sample> = floats.map(|(time, value)| Sample { value: *value, time: *time }).collect();
        let histograms = series.histograms.iter().filter(|one| within(&one.time));
        let histograms: Vec<FloatHistogram> = histograms.map(|one| histogram(one.time, &one.histogram)).collect();
        let buckets: usize = histograms.iter().map(|one| one.positive_counts.len() + one.negative_counts.len()).sum();
        let taken = samples.len() + 4 * histograms.len() + buckets;
        *left = left.checked_sub(taken).ok_or_else(|| Failure {
            status: 400,
            ..Failure::bad_data(format!("exceeded sample limit ({})", served.max_samples))
        })?;
        let labels = series.labels.pairs().iter();
        let labels = labels.map(|(name, value)| Label { name: name.to_string(), value: value.to_string() });
        timeseries.push(TimeSeries { labels: labels.collect(), samples, histograms });
    }
    Ok(QueryResult { timeseries })
}

fn matcher(one: &LabelMatcher) -> Result<Matcher, Failure> {
    let operator = match one.kind {
        0 => MatchOperator::Equal,
        1 => MatchOperator::NotEqual,
        2 => MatchOperator::Matches,
        3 => MatchOperator::MatchesNot,
        other => return Err(Failure::bad_data(format!("invalid matcher type {other}"))),
    };
    Matcher::new(&one.name, operator, &one.value).map_err(|error| Failure::bad_data(error.to_string()))
}

fn histogram(time: i64, one: &Histogram) -> FloatHistogram {
    let (positive_spans, positive_counts) = spans(&one.positive);
    let (negative_spans, negative_counts) = spans(&one.negative);
    FloatHistogram {
        count_float: Some(one.count),
        sum: one.sum,
        schema: one.schema,
        zero_threshold: one.zero_threshold,
        zero_count_float: Some(one.zero_count),
        negative_spans,
        negative_counts,
        positive_spans,
        positive_counts,
        reset_hint: match one.reset_hint {
            ResetHint::Unknown => 0,
            ResetHint::CounterReset => 1,
            ResetHint::NotCounterReset => 2,
            ResetHint::Gauge => 3,
        },
        time,
        custom_values: one.custom_values.clone(),
    }
}

/// Buckets as runs without a gap, and their counts.
fn spans(buckets: &[IndexedBucket]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for bucket in buckets {
        match spans.last_mut().filter(|_| bucket.index == next) {
            Some(last) => last.length += 1,
            None => spans.push(Span { offset: bucket.index - next, length: 1 }),
        }
        next = bucket.index + 1;
    }
    (spans, buckets.iter().map(|bucket| bucket.count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_runs_with_what_is_left_out_between() {
        let buckets = |indices: &[i32]| -> Vec<IndexedBucket> {
            indices.iter().map(|index| IndexedBucket { index: *index, count: f64::from(*index) }).collect()
        };
        let (found, counts) = spans(&buckets(&[-3, -2, 0, 5]));
        let pairs: Vec<(i32, u32)> = found.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!((pairs, counts), (vec![(-3, 2), (1, 1), (4, 1)], vec![-3.0, -2.0, 0.0, 5.0]));
        assert_eq!(spans(&buckets(&[0])).0, [Span { offset: 0, length: 1 }]);
    }

    #[test]
    fn a_body_that_is_none_is_refused() {
        let packed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        for (body, part) in [
            (Vec::new(), "snappy"),
            (b"query=up".to_vec(), "snappy"),
            (packed(&[0xff; 40]), "ReadRequest"),
            // 4 GiB, says its head.
            (vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0], "are the most"),
        ] {
            let error = asked(&body).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
        assert_eq!(asked(&packed(&[])).unwrap(), ReadRequest::default());
    }
}
