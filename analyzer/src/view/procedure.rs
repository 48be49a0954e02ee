//! The document's own procedure: what the two dates around a command say, and when the tables were stable. It stands in the answer
//! where nothing better does.

use serde::Serialize;

use super::number::Show;
use super::rows::{evidence_line, sentence, with_bounds};
use crate::measure::Measurement;
use crate::result::RunResult;

/// One figure of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub run: String,
    /// What the document calls it.
    pub title: String,
    pub measured: String,
    /// What the figure is, and what it contains.
    pub meaning: String,
    pub notes: Vec<String>,
    pub evidence: Vec<String>,
}

/// Names, with the document's words and ours.
const STEPS: [(&str, &str, &str); 2] = [
    (
        "api_processing_time",
        "API processing time",
        "the document's “time difference between date commands”: from ahead of the command to its return, the client's own start included",
    ),
    (
        "convergence_time",
        "Command to stable dataplane",
        "the document's “time until iptables stabilize”: from the command to the last change of the Service in the dataplane, the pods' start included. It is no latency of the dataplane's",
    ),
];

/// Runs that a page lists at most.
const MOST: usize = 12;

/// The figures of runs that have no propagation per endpoint.
pub fn build(runs: &[RunResult]) -> Vec<Step> {
    let mut found = Vec::new();
    for result in runs {
        let given = |m: &&Measurement| m.missing.is_none() && (m.estimate.value.is_some() || m.estimate.high.is_some());
        if result.measurements.iter().filter(given).any(|m| m.name == "endpoint_propagation" && m.variant.is_empty()) {
            continue;
        }
        for (name, title, meaning) in STEPS {
            for one in result.measurements.iter().filter(given).filter(|m| m.name == name) {
                let which = if one.variant.is_empty() { String::new() } else { format!(" ({})", one.variant) };
                found.push(Step {
                    run: result.run.name.clone(),
                    title: format!("{title}{which}"),
                    measured: with_bounds(
                        one.estimate.value,
                        [one.estimate.low, one.estimate.high],
                        &one.unit,
                        Show::Unit,
                    ),
                    meaning: sentence(meaning),
                    notes: one.notes.iter().map(|note| sentence(note)).collect(),
                    evidence: one.evidence.iter().take(6).map(evidence_line).collect(),
                });
            }
        }
    }
    found.truncate(2 * MOST);
    found
}
