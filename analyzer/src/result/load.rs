//! From paths to results: each run is opened, measured, and let go; of an archive they are there already.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::Context;
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use syncline_collector::write::staged::Scratch;
use syncline_schema::manifest::Manifest;
use syncline_schema::printable::tell;

use super::RunResult;
use super::archive::select::Condition;
use super::archive::{self, Archive};
use super::copies::{self, Captured, Distinct};
use super::given::{self, Opened, Reading, say_copies, some_left};
use super::group::{self, Keys};
use super::work::{self, Room};
use crate::bundle::Bundle;
use crate::events::Run;
use crate::measure::Measurement;
use crate::measure::across::{self, Subject};
use crate::query::Question;

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

/// A run that was given: to be measured, or measured when its archive was made.
enum Known {
    Bundle(Box<Bundle>),
    Result(Box<RunResult>, String),
}

impl Captured for Known {
    fn place(&self) -> String {
        match self {
            Known::Bundle(bundle) => bundle.place(),
            Known::Result(_, place) => place.clone(),
        }
    }

    fn manifest(&self) -> Cow<'_, Manifest> {
        match self {
            Known::Bundle(bundle) => Cow::Borrowed(&bundle.manifest),
            Known::Result(result, _) => Cow::Owned(result.run.manifest.open()),
        }
    }
}

/// The results of bundles, of capture directories (bundled first) and of archives, in the order of the arguments, with unique names; of
/// those that `wanted` holds for, where it is given.
/// Copies of one run are one run, said so; a run that cannot be read, or whose bundle was replaced meanwhile, costs itself.
///
/// # Errors
/// Nothing that can be read, or that is wanted.
pub fn load(
    paths: &[PathBuf],
    asks: Asks<'_>,
    wanted: Option<&Condition>,
    how: impl Into<Reading>,
) -> anyhow::Result<Loaded> {
    let mut loaded = read(paths, asks, how.into())?;
    if let Some(wanted) = wanted {
        let mut kept = wanted.held(&loaded.results)?.into_iter();
        loaded.results.retain(|_| kept.next() == Some(true));
    }
    Ok(loaded.into_one_set())
}

/// The same of two sets, each with its own condition. Where both are given by the same paths (two versions of one archive, say), these are
/// read once.
///
/// # Errors
/// As [`load`].
pub fn load_two(
    paths: [&[PathBuf]; 2],
    asks: Asks<'_>,
    wanted: [Option<&Condition>; 2],
    how: impl Into<Reading>,
) -> anyhow::Result<[Loaded; 2]> {
    let how = how.into();
    if paths[0] != paths[1] {
        return Ok([load(paths[0], asks, wanted[0], how)?, load(paths[1], asks, wanted[1], how)?]);
    }
    let Loaded { results, unread } = read(paths[0], asks, how)?;
    let held = |wanted: Option<&Condition>| wanted.map_or(Ok(vec![true; results.len()]), |one| one.held(&results));
    let (in_first, in_second) = (held(wanted[0])?, held(wanted[1])?);
    let mut sets = [Vec::new(), Vec::new()];
    for ((result, first), second) in results.into_iter().zip(in_first).zip(in_second) {
        match (first, second) {
            (true, true) => {
                sets[0].push(result.clone());
                sets[1].push(result);
            }
            (true, false) => sets[0].push(result),
            (false, true) => sets[1].push(result),
            (false, false) => {}
        }
    }
    Ok(sets.map(|results| Loaded { results, unread: unread.clone() }.into_one_set()))
}

impl Loaded {
    /// With names that are unique, and what is measured over several runs.
    fn into_one_set(mut self) -> Self {
        let names = unique(&self.results);
        self.results.par_iter_mut().zip(names).for_each(|(result, name)| result.rename(&name));
        over_runs(&mut self.results);
        self
    }
}

/// The results of all that was given, under the names that they have there.
fn read(paths: &[PathBuf], asks: Asks<'_>, how: Reading) -> anyhow::Result<Loaded> {
    let mut loaded = Loaded::default();
    let (known, _temporary) = all(paths, asks, how, &mut loaded.unread)?;
    some_left(known.len(), &loaded.unread)?;
    let distinct = copies::distinct(known);
    say_copies(&distinct);
    let Distinct { runs, findings } = distinct;
    let mut runs = measured(runs, asks, how)?;
    for (at, finding) in findings {
        if let Some(Ok(result)) = runs.get_mut(at) {
            result.run.findings.push(finding);
        }
    }
    let mut failed = Vec::new();
    for run in runs {
        match run {
            Ok(result) => loaded.results.push(result),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    some_left(loaded.results.len(), &failed)?;
    loaded.unread.extend(failed);
    Ok(loaded)
}

/// Everything that was given, and what keeps it on disk.
fn all(
    paths: &[PathBuf],
    asks: Asks<'_>,
    how: Reading,
    unread: &mut Vec<String>,
) -> anyhow::Result<(Vec<Known>, Vec<Scratch>)> {
    let (mut known, mut temporary) = (Vec::new(), Vec::new());
    // Those between two archives are opened together.
    for some in paths.chunk_by(|a, b| !archive::is_archive(a) && !archive::is_archive(b)) {
        if let [path] = some
            && archive::is_archive(path)
        {
            let archive = Archive::open(path)?;
            unread.extend(archive.failed().map(|(place, why)| format!("{place}: {why}")));
            let results = archive.results(asks)?;
            known.extend(results.into_iter().map(|(result, place)| Known::Result(Box::new(result), place)));
            continue;
        }
        for opened in given::opened(some, how)? {
            match opened {
                Ok(Opened { bundle, temporary: made, told }) => {
                    told.iter().for_each(|line| tell(format_args!("{line}")));
                    temporary.extend(made);
                    known.push(Known::Bundle(Box::new(bundle)));
                }
                Err(error) => unread.push(format!("{error:#}")),
            }
        }
    }
    Ok((known, temporary))
}

/// Each run by itself, several at once, as many as fit into memory together.
fn measured(runs: Vec<Known>, asks: Asks<'_>, how: Reading) -> anyhow::Result<Vec<anyhow::Result<RunResult>>> {
    let mut all: Vec<Option<anyhow::Result<RunResult>>> = runs.iter().map(|_| None).collect();
    let mut open = Vec::new();
    for (at, run) in runs.into_iter().enumerate() {
        match run {
            Known::Bundle(bundle) => open.push((at, *bundle)),
            Known::Result(result, _) => all[at] = Some(Ok(*result)),
        }
    }
    let room = Room::new(how.memory);
    let work = |_: usize, (at, bundle): (usize, Bundle)| {
        let _held = room.take(bundle.bytes);
        let place = bundle.place();
        (at, measure(bundle, None, asks, |_| Ok(())).map(|(result, ())| result).context(place))
    };
    work::each(open, work::cores(), work, |_, (at, result)| {
        all[at] = Some(result);
        Ok(())
    })?;
    Ok(all.into_iter().flatten().collect())
}

/// What a bundle gives, and what else `also` takes from the run. Of an earlier result of the same captures it takes what still holds.
///
/// # Errors
/// A table that cannot be read, or a bundle that was replaced meanwhile.
pub fn measure<T>(
    bundle: Bundle,
    earlier: Option<RunResult>,
    asks: Asks<'_>,
    also: impl FnOnce(&Run) -> anyhow::Result<T>,
) -> anyhow::Result<(RunResult, T)> {
    let opened = bundle.clone();
    let run = Run::load(bundle)?;
    let found = also(&run)?;
    let questions = asks(&run.dataplane);
    let result = RunResult::of(run, earlier, &questions)?;
    opened.unchanged()?;
    Ok((result, found))
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

/// Names of runs, made unique by their identity.
fn unique(results: &[RunResult]) -> Vec<String> {
    let plain: Vec<&str> = results.iter().map(|one| one.run.name.as_str()).collect();
    let mut times: HashMap<&str, usize> = HashMap::new();
    plain.iter().for_each(|name| *times.entry(name).or_default() += 1);
    let of = |(name, one): (&&str, &RunResult)| {
        let id: String = one.run.run_id.chars().take(6).collect();
        if times[name] > 1 { format!("{name}-{id}") } else { (*name).to_owned() }
    };
    let known: Vec<String> = plain.iter().zip(results).map(of).collect();
    // Of the same sources under the same names: told apart by their position.
    let mut seen = HashSet::new();
    let mut numbered = |(at, name): (usize, &String)| {
        if seen.insert(name.clone()) { name.clone() } else { format!("{name} (run {})", at + 1) }
    };
    known.iter().enumerate().map(&mut numbered).collect()
}

#[cfg(test)]
mod tests {
    use crate::result::Header;

    use super::*;

    #[test]
    fn names_are_unique_by_identity_then_by_position() {
        let result = |name: &str, id: &str| {
            let (name, run_id) = (name.to_owned(), id.to_owned());
            RunResult { run: Header { name, run_id, ..Header::default() }, ..RunResult::default() }
        };
        let all = [result("a", "0123456789"), result("b", "x"), result("a", "abcdefghij"), result("a", "abcdefghij")];
        assert_eq!(unique(&all), ["a-012345", "b", "a-abcdef", "a-abcdef (run 4)"]);
    }
}
