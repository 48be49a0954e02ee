//! Estimates, quantiles, intervals and tests. Pure: numbers in, numbers out.

use serde::Serialize;

/// A number with bounds. `None` anywhere means "not given", never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    pub value: Option<f64>,
    /// Lower bound; null: unbounded below.
    pub low: Option<f64>,
    /// Upper bound; null: unbounded above.
    pub high: Option<f64>,
}
