//! What the server tells of itself at `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::Served;

/// Upper bounds of the histogram of durations, seconds.
const BOUNDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 120.0];

/// Counts of one call.
#[derive(Clone, Debug, Default)]
struct Calls {
    by_status: BTreeMap<u16, u64>,
    /// As many as took at most the bound of the same place.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// What was asked since the start, by the API's calls.
#[derive(Debug, Default)]
pub(crate) struct Own {
    calls: Mutex<BTreeMap<&'static str, Calls>>,
}

impl Own {
    /// Counts an answer.
    pub(crate) fn answered(&self, call: &'static str, status: u16, took: Duration) {
        let Ok(mut calls) = self.calls.lock() else { return };
        let own = calls.entry(call).or_default();
        *own.by_status.entry(status).or_default() += 1;
        own.count += 1;
        own.seconds += took.as_secs_f64();
        for (bucket, bound) in own.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(took.as_secs_f64() <= bound);
        }
    }

    /// The text format of Prometheus.
    pub(crate) fn text(&self, served: &Served) -> String {
        let mut out = String::new();
        let held = served.held;
        for (name, help, value) in [
            ("syncline_series", "Series that are served.", held.series),
            ("syncline_samples", "Samples that are served.", held.samples),
            ("syncline_held_bytes", "Bytes of the series that are served.", held.bytes),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        let Ok(calls) = self.calls.lock() else { return out };
        let _ = writeln!(out, "# HELP syncline_http_requests_total Requests that were answered.");
        let _ = writeln!(out, "# TYPE syncline_http_requests_total counter");
        for (call, own) in calls.iter() {
            for (status, count) in &own.by_status {
                let _ = writeln!(out, "syncline_http_requests_total{{call=\"{call}\",code=\"{status}\"}} {count}");
            }
        }
        let name = "syncline_http_request_duration_seconds";
        let _ = writeln!(out, "# HELP {name} Time to make an answer.\n# TYPE {name} histogram");
        for (call, own) in calls.iter() {
            for (bucket, bound) in own.buckets.iter().zip(BOUNDS) {
                let _ = writeln!(out, "{name}_bucket{{call=\"{call}\",le=\"{bound}\"}} {bucket}");
            }
            let _ = writeln!(out, "{name}_bucket{{call=\"{call}\",le=\"+Inf\"}} {}", own.count);
            let _ = writeln!(out, "{name}_sum{{call=\"{call}\"}} {}", own.seconds);
            let _ = writeln!(out, "{name}_count{{call=\"{call}\"}} {}", own.count);
        }
        out
    }
}
