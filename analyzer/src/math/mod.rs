//! Estimates, quantiles, intervals and tests. Pure: numbers in, numbers out.
//!
//! ```text
//! quantile   nearest-rank quantiles, also of intervals with open ends (the envelope)
//! arithmetic intervals added, subtracted, divided
//! exact      exact intervals of counts: Clopper–Pearson, Garwood, and the functions below them
//! interval   Wilson, order statistics, Student
//! compare    Mann–Whitney, Hodges–Lehmann, Cliff's delta
//! growth     the exponent of growth over three sizes, and a fitted line
//! shape      what a series looks like: brief spike, sustained high, steady, …
//! shifts     where a sequence of intervals shifts: E-divisive, held against their bounds
//! turnbull   the distribution of values known as intervals, with those that never arrived
//! ```

use serde::{Deserialize, Serialize};
use vecmap::VecMap;

pub mod arithmetic;
pub mod compare;
pub mod exact;
pub mod growth;
pub mod interval;
pub mod quantile;
pub mod shape;
pub mod shifts;
pub mod turnbull;

/// Values by name, a handful, in the order given. A thousand runs have two hundred thousand of these: a tree of so few takes many times their
/// memory.
pub type Named<V> = VecMap<String, V>;

/// A number with bounds. `None` anywhere means "not given", never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: Option<f64>,
    /// Lower bound; null: unbounded below.
    pub low: Option<f64>,
    /// Upper bound; null: unbounded above.
    pub high: Option<f64>,
}

impl Estimate {
    /// A number that the method knows exactly.
    pub fn exact(value: f64) -> Self {
        Self { value: Some(value), low: Some(value), high: Some(value) }
    }

    /// A number with both bounds.
    pub fn between(low: f64, value: f64, high: f64) -> Self {
        Self { value: Some(value), low: Some(low), high: Some(high) }
    }
}
