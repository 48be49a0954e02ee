//! From paths to results: each run is opened, measured, and let go.

use std::path::PathBuf;

use anyhow::Context;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::given::{Given, Reading, some_left};
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

/// What came of the paths that were given.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Of what could be read.
    pub results: Vec<RunResult>,
    /// Why a run could not be read, a sentence each that names it.
    pub unread: Vec<String>,
}

/// The results of bundles and of capture directories (bundled first), in the order of the arguments, with unique names.
/// Copies of one run are one run, said so; a run that cannot be read, or whose bundle was replaced meanwhile, costs itself.
///
/// # Errors
/// Nothing that can be read.
pub fn load(paths: &[PathBuf], asks: Asks<'_>, how: impl Into<Reading>) -> anyhow::Result<Loaded> {
    let Given { distinct, unread, temporary: _temporary } = given::bundles(paths, how)?;
    // A worker that waits for a part of its run takes up parts of others: many runs stack up on one thread.
    let pool = rayon::ThreadPoolBuilder::new().stack_size(WORKER_STACK).build().context("worker threads")?;
    let mut runs = pool.install(|| each(distinct.bundles, asks));
    for (at, finding) in distinct.findings {
        if let Some(Ok(result)) = runs.get_mut(at) {
            result.run.findings.push(finding);
        }
    }
    let mut loaded = Loaded { results: Vec::with_capacity(runs.len()), unread };
    let mut failed = Vec::new();
    for run in runs {
        match run {
            Ok(result) => loaded.results.push(result),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    some_left(loaded.results.len(), &failed)?;
    loaded.unread.extend(failed);
    over_runs(&mut loaded.results);
    Ok(loaded)
}

/// Each run by itself.
fn each(bundles: Vec<Bundle>, asks: Asks<'_>) -> Vec<anyhow::Result<RunResult>> {
    let names = unique(&bundles);
    let named: Vec<(Bundle, String)> = bundles.into_iter().zip(names).collect();
    let of_one = |(bundle, name): (Bundle, String)| {
        let place = bundle.path.display().to_string();
        of_one(bundle, name, asks).context(place)
    };
    named.into_par_iter().map(of_one).collect()
}

/// Adds what is measured over several runs.
fn over_runs(results: &mut [RunResult]) {
    let columns = named_columns(results);
    let subjects: Vec<Subject<'_>> = results.iter().zip(&columns).map(|(one, column)| subject(one, column)).collect();
    let flat: Vec<&Measurement> = results.iter().flat_map(|result| &result.measurements).collect();
    for found in across::across(&subjects, &flat) {
        let own = results.iter().rposition(|result| result.run.name == found.run);
        if let Some(result) = own.or_else(|| results.len().checked_sub(1)).and_then(|at| results.get_mut(at)) {
            result.measurements.push(found);
        }
    }
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
