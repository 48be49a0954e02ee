//! From paths to results: each run is opened, measured, and let go.

use std::path::PathBuf;

use anyhow::Context;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::copies::Distinct;
use super::group::{self, Keys};
use super::{RunResult, given};
use crate::bundle::Bundle;
use crate::events::Run;
use crate::measure::across::{self, Subject};
use crate::measure::{self, Measurement};
use crate::query::Question;

/// Stack of a worker thread; only what is used of it is ever resident.
const WORKER_STACK: usize = 64 << 20;

/// What is to be asked of a run of a dataplane, beside its measurements.
pub type Asks<'a> = &'a (dyn Fn(&str) -> Vec<Question> + Sync);

/// Asks nothing.
pub fn nothing(_dataplane: &str) -> Vec<Question> {
    Vec::new()
}

/// The results of bundles and of capture directories (bundled first), in the order of the arguments, with unique names.
/// Copies of one run are one run, said so.
///
/// # Errors
/// A path that is neither, or a bundle that cannot be read or was replaced meanwhile.
pub fn load(paths: &[PathBuf], asks: Asks<'_>) -> anyhow::Result<Vec<RunResult>> {
    let (Distinct { bundles, findings }, _temporary) = given::bundles(paths)?;
    // A worker that waits for a part of its run takes up parts of others: many runs stack up on one thread.
    let pool = rayon::ThreadPoolBuilder::new().stack_size(WORKER_STACK).build().context("worker threads")?;
    let mut results = pool.install(|| evaluate(bundles, asks))?;
    for (at, finding) in findings {
        if let Some(result) = results.get_mut(at) {
            result.run.findings.push(finding);
        }
    }
    Ok(results)
}

fn evaluate(bundles: Vec<Bundle>, asks: Asks<'_>) -> anyhow::Result<Vec<RunResult>> {
    let names = unique(&bundles);
    let named: Vec<(Bundle, String)> = bundles.into_iter().zip(names).collect();
    let mut results: Vec<RunResult> = named
        .into_par_iter()
        .map(|(bundle, name)| {
            let place = bundle.path.display().to_string();
            of_one(bundle, name, asks).context(place)
        })
        .collect::<anyhow::Result<_>>()?;
    let columns = named_columns(&results);
    let subjects: Vec<Subject<'_>> = results.iter().zip(&columns).map(|(one, column)| subject(one, column)).collect();
    let flat: Vec<&Measurement> = results.iter().flat_map(|result| &result.measurements).collect();
    let over_runs = across::across(&subjects, &flat);
    for found in over_runs {
        let own = results.iter().rposition(|result| result.run.name == found.run);
        if let Some(result) = own.or_else(|| results.len().checked_sub(1)).and_then(|at| results.get_mut(at)) {
            result.measurements.push(found);
        }
    }
    Ok(results)
}

fn subject<'r>(result: &'r RunResult, column: &'r str) -> Subject<'r> {
    let run = &result.run;
    Subject { name: &run.name, column, scenario: &run.scenario, services: run.services }
}

/// The column of each run, by name.
fn named_columns(results: &[RunResult]) -> Vec<String> {
    let all = group::columns(results, &Keys::default());
    let of = |result: &RunResult| {
        let own = all.iter().find(|(_, runs)| runs.iter().any(|one| std::ptr::eq(*one, result)));
        own.map_or_else(String::new, |(column, _)| {
            format!("{} {}", column.dataplane, column.words).trim_end().to_owned()
        })
    };
    results.iter().map(of).collect()
}

fn of_one(bundle: Bundle, name: String, asks: Asks<'_>) -> anyhow::Result<RunResult> {
    let opened = bundle.clone();
    let mut run = Run::load(bundle)?;
    run.name = name;
    let measured = measure::all(&run)?;
    run.findings.extend(measure::node_busy::load_findings(&measured));
    let questions = asks(&run.dataplane);
    let result = RunResult::of(run, measured, &questions)?;
    opened.unchanged()?;
    Ok(result)
}

/// Names of runs, made unique by their identity.
fn unique(bundles: &[Bundle]) -> Vec<String> {
    let plain: Vec<String> = bundles.iter().map(Run::name_of).collect();
    let mut names: Vec<String> = Vec::with_capacity(plain.len());
    for (name, bundle) in plain.iter().zip(bundles) {
        let shared = plain.iter().filter(|other| *other == name).count() > 1;
        let id: String = bundle.manifest.run_id.chars().take(6).collect();
        names.push(if shared { format!("{name}-{id}") } else { name.clone() });
    }
    // Of the same sources under the same names: told apart by their position.
    let known = names.clone();
    for (at, name) in names.iter_mut().enumerate() {
        if known[..at].contains(name) {
            *name = format!("{name} (run {})", at + 1);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use syncline_schema::manifest::Manifest;

    use super::*;

    #[test]
    fn names_are_unique_by_identity_then_by_position() {
        let bundle = |name: &str, id: &str| Bundle {
            path: name.into(),
            manifest: Manifest { run_id: id.to_owned(), ..Manifest::default() },
            unread: Default::default(),
        };
        let all = [bundle("a", "0123456789"), bundle("b", "x"), bundle("a", "abcdefghij"), bundle("a", "abcdefghij")];
        assert_eq!(unique(&all), ["a-012345", "b", "a-abcdef", "a-abcdef (run 4)"]);
    }
}
