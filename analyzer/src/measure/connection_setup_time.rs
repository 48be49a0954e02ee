//! `connection_setup_time`: median time of connect(2) of new connections, as the client measured it.
//!
//! It is seen from outside: it holds the scheduling of client and server as well as the dataplane's part.

use super::requests;
use super::{Interval, Measurement};
use crate::events::{Phase, Run};
use crate::math::{Estimate, interval, quantile};

/// The main row is the baseline; variants `action` and `tail`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    [(Phase::Baseline, ""), (Phase::Action, "action"), (Phase::Tail, "tail")]
        .into_iter()
        .map(|(phase, variant)| {
            let sorted = requests::sorted_seconds(run, phase, "new", "connect");
            let mut row = Measurement::new(run, "connection_setup_time", "s");
            let Some(median) = quantile::of_sorted(&sorted, 0.5) else {
                let what = format!("no connect times of new connections in the {}", super::proxy_cpu::word(phase));
                row = Measurement::missing(run, "connection_setup_time", "s", &what, requests::REMEDY);
                row.variant = variant.into();
                return row;
            };
            row.variant = variant.into();
            row.window = super::proxy_cpu::word(phase).into();
            row.statistic = "median".into();
            row.n = sorted.len() as u64;
            row.estimate = Estimate::exact(median);
            row.ci = interval::of_quantile(&sorted, 0.5, 0.95).map(|(low, high)| Interval { level: 0.95, low, high });
            row.quantiles = quantile::exact_all(&sorted);
            let median = format!("quantile_disc(connect, 0.5) FILTER (WHERE NOT {}) / 1e9", requests::FAILED_SQL);
            row.evidence = requests::cite(run, phase, "new", &median);
            row.method = "connect times of successful new connections, measured by the client; the interval is of order statistics".into();
            row
        })
        .collect()
}
