//! An archive: what many runs gave, kept so that nothing is measured twice, and readable by any engine that reads Parquet.
//!
//! ```text
//! bundles, captures ─ find ─ open ─ measure ─▶ rows ─ store ─▶ TABLE/dataplane=…/scenario=…/part-….parquet      for others
//!                                            └▶ result ──────▶ results/…                                       for reports
//! ```
//!
//! | file | has |
//! |---|---|
//! | `find` | which places below some roots hold a run |
//! | `pass` | the pass over them: what is new, what changed, the work, several runs at once |
//! | `tables`, `rows` | columns for other programs, and what fills them |
//! | `index`, `store` | which files hold what; changes in one step |
//! | `merge` | archives made apart as one |
//! | `select` | runs that an SQL condition over facts holds for |
//!
//! A run's identity is the content of its captures. The tables for other programs are drawn from its result, which is kept whole beside them
//! (`results`, MessagePack): a report of an archive is the one that the bundles would give.

pub mod find;
pub mod index;
pub mod merge;
pub mod pass;
mod rows;
pub mod select;
pub mod store;
pub mod tables;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use syncline_schema::manifest::Manifest;

use super::RunResult;
use super::copies::captures;
use super::load::{Asks, nothing};
use crate::clock::Finding;
use crate::measure;
use crate::query::{self, QueryAnswer, Question};
use index::{Held, INDEX, Index};
use select::Condition;

/// Version of what is kept of a run: raised where a result has another shape, or where what opens a run (clocks, episodes, windows,
/// facts) gives another answer than before. Results of other versions are measured again.
pub const RESULTS_VERSION: u32 = 2;

/// Hex digits of an identity.
const DIGITS: usize = 32;

/// What is kept of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Stored {
    /// Identity.
    pub id: String,
    /// Where it lay below its root.
    pub path: String,
    pub result: RunResult,
}

/// Identity of a run: SHA-256 over the hashes of its captures, whatever they are called and wherever they lie.
pub fn identity(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    for content in captures(manifest).into_keys() {
        hash.update(content);
        hash.update("\n");
    }
    let mut digits = find::hex(hash);
    digits.truncate(DIGITS);
    digits
}

/// By what a run of a dataplane is measured today.
fn current(questions: &[Question], dataplane: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(RESULTS_VERSION.to_le_bytes());
    for part in measure::ALL {
        hash.update(format!("{}={}\n", part.name, part.version));
    }
    for one in questions.iter().filter(|one| query::concerns(&one.text, dataplane)) {
        hash.update(&one.text);
        hash.update([0]);
    }
    find::hex(hash)
}

/// Whether a folder is an archive.
pub fn is_archive(path: &Path) -> bool {
    path.join(INDEX).is_file()
}

/// An archive that is read.
pub struct Archive {
    folder: PathBuf,
    index: Index,
}

impl Archive {
    /// Opens an archive.
    ///
    /// # Errors
    /// No index, or one of a newer version.
    pub fn open(folder: &Path) -> anyhow::Result<Archive> {
        Ok(Archive { folder: folder.to_owned(), index: Index::read(folder)? })
    }

    /// Where its runs lie, each once; of those that `wanted` holds for, where it is given.
    ///
    /// # Errors
    /// A result that cannot be read, or a condition that holds for none.
    pub fn places(&self, wanted: Option<&Condition>) -> anyhow::Result<Vec<PathBuf>> {
        let places = self.index.places_of();
        let mut firsts: Vec<(&str, &str)> = match wanted {
            None => places.values().filter_map(|all| all.first().copied()).collect(),
            Some(wanted) => {
                let results: Vec<RunResult> = self.results(&nothing)?.into_iter().map(|(result, _)| result).collect();
                let held = wanted.held(&results)?;
                let first = |one: &RunResult| places.get(identity(&one.run.manifest.open()).as_str())?.first().copied();
                results.iter().zip(held).filter(|(_, held)| *held).filter_map(|(one, _)| first(one)).collect()
            }
        };
        firsts.sort_unstable();
        Ok(firsts.into_iter().map(|(_, path)| PathBuf::from(path)).collect())
    }

    /// Places that could not be read when the archive was made, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.index.places.iter().filter_map(|(path, place)| match &place.held {
            Held::Failed(why) => Some((path.as_str(), why.as_str())),
            Held::Run(_) => None,
        })
    }

    /// The results of its runs in the order of their paths, with their places, and what is asked of them.
    ///
    /// # Errors
    /// A part that is missing or damaged: what it holds would be missing.
    pub fn results(&self, asks: Asks<'_>) -> anyhow::Result<Vec<(RunResult, String)>> {
        let places = self.index.places_of();
        let mut all = store::results(&self.folder, &self.index, &|_| true)?;
        for one in &mut all {
            // Where it lies by now; it may have been found below another root when it was measured.
            if let Some((below, _)) = places.get(one.id.as_str()).and_then(|all| all.first()) {
                (*below).clone_into(&mut one.path);
            }
        }
        all.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        // Queries are parsed once for each dataplane, not for each of a thousand runs.
        let mut questions: HashMap<String, Option<Vec<Question>>> = HashMap::new();
        for Stored { result, .. } in &all {
            let dataplane = &result.run.dataplane;
            if !questions.contains_key(dataplane) {
                questions.insert(dataplane.clone(), concerning(asks(dataplane), dataplane));
            }
        }
        let of = |Stored { id, path, mut result }: Stored| {
            let own = questions.get(&result.run.dataplane).and_then(Option::as_deref);
            asked(&mut result, own);
            let others: Vec<&str> =
                places.get(id.as_str()).into_iter().flatten().skip(1).map(|(_, path)| *path).collect();
            if !others.is_empty() {
                result.run.findings.push(Finding {
                    title: "a run was given twice".to_owned(),
                    detail: format!("{} has the same captures as {path}: counted as one", others.join(", ")),
                    evidence: Vec::new(),
                });
            }
            (result, path)
        };
        Ok(all.into_par_iter().map(of).collect())
    }
}

/// Those of the questions that can be asked of a dataplane; nothing where there are none at all.
fn concerning(mut questions: Vec<Question>, dataplane: &str) -> Option<Vec<Question>> {
    if questions.is_empty() {
        return None;
    }
    questions.retain(|one| query::concerns(&one.text, dataplane));
    Some(questions)
}

/// Leaves of a result the answers to these questions, and says which were not asked.
fn asked(result: &mut RunResult, questions: Option<&[Question]>) {
    let Some(asked) = questions else {
        // What they leave aside is no matter where nothing is asked.
        result.answer(&Vec::new());
        result.run.findings.retain(|one| Some(one) != result.aside.as_ref());
        result.aside = None;
        return;
    };
    let answered = result.answer_heads();
    if asked.iter().map(|one| (&one.text, &one.rows)).eq(answered.iter().map(|one| (&one.query, &one.rows))) {
        return;
    }
    let dataplane = &result.run.dataplane;
    let mut answers: BTreeMap<String, QueryAnswer> =
        result.answers().into_iter().map(|one| (one.query.clone(), one)).collect();
    let mut found = Vec::new();
    for one in asked {
        let unasked = || QueryAnswer {
            run: result.run.name.clone(),
            dataplane: dataplane.clone(),
            rows: Vec::new(),
            query: one.text.clone(),
            series: 0,
            phases: Vec::new(),
            limits: vec![
                "not asked when the archive was made: `syncline archive` with this catalogue as --expectations asks it"
                    .to_owned(),
            ],
            evidence: Vec::new(),
            curve: Vec::new(),
        };
        let answer = answers.remove(&one.text).unwrap_or_else(unasked);
        found.push(QueryAnswer { rows: one.rows.clone(), ..answer });
    }
    result.answer(&found);
}
