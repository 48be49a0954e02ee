//! The pass over the places of an archive: what is new or changed is measured, several runs at once; the rest is known by its stamp.
//!
//! ```text
//! place ─ same stamp, measured as today ──────────────────────────▶ unchanged
//!       ├ bundle, same manifest, measured as today ───────────────▶ unchanged, another stamp
//!       └ open (bundled first where it is none) ─ same identity, same manifest ─▶ kept, or measured where a version is another
//!                                               └ else ──────────▶ measured
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use sha2::{Digest, Sha256};
use syncline_collector::write::integrity;
use syncline_schema::manifest::Manifest;

use super::find::{Found, find, hex};
use super::index::{Entry, Held, Index, Place};
use super::rows::{self, OfRun};
use super::store::{Kept, Store, packed};
use super::{Stored, current, identity};
use crate::query::Question;
use crate::result::given::{self, Opened, Reading};
use crate::result::load::{Asks, measure};
use crate::result::usage::{Stages, Stopwatch, peak_bytes};
use crate::result::work::{self, Room};

/// Runs and bytes from which finished runs are written.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 32 << 20;
/// Time after which they are, however few.
const BATCH_TIME: Duration = Duration::from_secs(20);
/// How much more an open run takes than the rows of its bundle: episodes, looks, frames of the tables.
const ANALYSIS: u64 = 3;

/// What is to be done.
pub struct Options<'a> {
    pub roots: Vec<PathBuf>,
    pub archive: PathBuf,
    /// Runs at once.
    pub jobs: usize,
    pub how: Reading,
    /// Shard, and how many there are: only places whose path below the root falls to it.
    pub shard: Option<(u64, u64)>,
    /// Whether runs go whose places below the roots are gone.
    pub prune: bool,
    pub asks: Asks<'a>,
    /// Told after each run how many are done, and of how many.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// In the archive now.
    pub runs: usize,
    pub new: usize,
    pub changed: usize,
    /// As they were, those that no root of this pass has too.
    pub unchanged: usize,
    /// No place holds them any more, as far as the roots go.
    pub gone: Vec<String>,
    /// Path, and why it could not be read.
    pub failed: Vec<(String, String)>,
    /// Places of runs that have several.
    pub copies: Vec<Vec<String>>,
    /// Files below the roots that belong to no run.
    pub loose: Vec<PathBuf>,
    pub seconds: f64,
    /// Most memory that the process had; nothing where the system does not tell.
    pub peak_bytes: Option<u64>,
    /// CPU time by stage, s.
    pub cpu: Stages,
    /// Runs that were opened.
    pub opened: usize,
}

/// What became of a place that was worked on.
enum Worked {
    /// Its run is in the archive as it is.
    Same(String),
    Measured(Box<Kept>),
    Failed(String),
}

/// Brings an archive up to date.
///
/// # Errors
/// Roots that are not there, an archive that cannot be written, or one that another process writes.
pub fn run(options: &Options<'_>) -> anyhow::Result<Summary> {
    let begun = Instant::now();
    let watch = Stopwatch::process();
    let mut store = Store::open(&options.archive)?;
    let known = |path: &Path| store.index.places.contains_key(&path.to_string_lossy().into_owned());
    let mut places = find(&options.roots, options.follow(), &known)?;
    let out = options.archive.canonicalize()?;
    places.runs.retain(|one| !one.path.starts_with(&out) && options.is_mine(&one.below));
    let mut summary = Summary { loose: std::mem::take(&mut places.loose), ..Summary::default() };
    summary.failed.extend(places.unreadable.iter().map(|(path, why)| (path.display().to_string(), why.clone())));
    summary.gone = vanished(&store.index, &options.roots, &places.runs, options)?;
    let planned = plan(&store.index, &places.runs, options.asks);
    store.places(planned.restamped);
    work_on(&mut store, planned.work, options, &mut summary)?;
    finish(&mut store, options.prune, &mut summary)?;
    summary.seconds = begun.elapsed().as_secs_f64();
    summary.peak_bytes = peak_bytes();
    summary.cpu.finish(&watch);
    Ok(summary)
}

impl Options<'_> {
    fn follow(&self) -> bool {
        self.how.follow
    }

    /// Whether a path falls to this shard: by its hash, so that every process agrees without talking.
    fn is_mine(&self, below: &str) -> bool {
        let Some((shard, of)) = self.shard else { return true };
        let hash = Sha256::digest(below.as_bytes());
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % of == shard
    }
}

/// Places of the index that lie below the roots and hold no run any more. They are dropped from the index where nothing else is known of
/// them but a failure.
fn vanished(index: &Index, roots: &[PathBuf], found: &[Found], options: &Options<'_>) -> anyhow::Result<Vec<String>> {
    let roots: Vec<PathBuf> = roots.iter().map(|root| root.canonicalize()).collect::<Result<_, _>>()?;
    let there: BTreeSet<&Path> = found.iter().map(|one| one.path.as_path()).collect();
    let below = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    let gone = index.places.iter().filter(|(path, place)| {
        let path = Path::new(path);
        below(path) && options.is_mine(&place.below) && !there.contains(path)
    });
    Ok(gone.map(|(path, _)| path.clone()).collect())
}

/// A place to be worked on.
struct Task {
    found: Found,
    /// What the archive has of the run that was there.
    earlier: Option<String>,
}

#[derive(Default)]
struct Plan {
    restamped: Vec<(String, Place)>,
    work: Vec<Task>,
}

/// What is to be worked on, in the order of the places.
fn plan(index: &Index, found: &[Found], asks: Asks<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut today: HashMap<String, String> = HashMap::new();
    let mut is_current = |id: &str| {
        let Some((entry, part)) = index.runs.get(id).and_then(|one| Some((one, index.parts.get(&one.part)?))) else {
            return false;
        };
        let token =
            today.entry(part.dataplane.clone()).or_insert_with(|| current(&asks(&part.dataplane), &part.dataplane));
        entry.current == *token
    };
    let mut claimed = BTreeSet::new();
    for one in found {
        let path = one.path.to_string_lossy().into_owned();
        let known = index.places.get(&path);
        let place = |held: Held| Place { below: one.below.clone(), stamp: one.stamp.clone(), held };
        match known {
            Some(Place { stamp, held: Held::Run(id), .. }) if *stamp == one.stamp && is_current(id) => {
                claimed.insert(id.clone());
                plan.restamped.push((path, place(Held::Run(id.clone()))));
                continue;
            }
            // What could not be read is the same still.
            Some(Place { stamp, held: Held::Failed(_), .. }) if *stamp == one.stamp => continue,
            _ => {}
        }
        if one.is_bundle
            && let Ok(manifest) = integrity::manifest(&one.path)
        {
            let id = identity(&manifest);
            let same = index.runs.get(&id).is_some_and(|entry| entry.manifest == digest(&manifest));
            // A copy of a run that is there, or that an earlier place of this pass gives.
            if same && is_current(&id) || claimed.contains(&id) {
                plan.restamped.push((path, place(Held::Run(id))));
                continue;
            }
            claimed.insert(id);
        }
        let earlier = match known {
            Some(Place { held: Held::Run(id), .. }) => Some(id.clone()),
            _ => None,
        };
        plan.work.push(Task { found: one.clone(), earlier });
    }
    plan
}

/// Hash of what a manifest says.
pub(super) fn digest(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(manifest).unwrap_or_default());
    hex(hash)
}

/// What is known of how far the writing is, so that no work runs ahead of it without bound.
#[derive(Default)]
struct Ahead {
    state: Mutex<(usize, u64)>,
    freed: Condvar,
}

impl Ahead {
    /// Waits until the work at a place may begin: not too far ahead of what is written.
    fn begin(&self, at: usize, most: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while at > state.0 && (at - state.0 > 2 * BATCH || state.1 > most) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn set(&self, done: usize, bytes: u64) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (done, bytes);
        self.freed.notify_all();
    }
}

fn work_on(store: &mut Store, tasks: Vec<Task>, options: &Options<'_>, summary: &mut Summary) -> anyhow::Result<()> {
    let all = tasks.len();
    let earlier: BTreeMap<usize, (String, Entry)> = tasks
        .iter()
        .enumerate()
        .filter_map(|(at, task)| {
            let id = task.earlier.as_ref()?;
            Some((at, (id.clone(), store.index.runs.get(id)?.clone())))
        })
        .collect();
    let before: BTreeSet<String> = store.index.runs.keys().cloned().collect();
    let founds: Vec<Found> = tasks.iter().map(|task| task.found.clone()).collect();
    let entries = store.index.runs.clone();
    let reader = Earlier { folder: options.archive.clone(), index: store.index.clone() };
    // What a place held before: another run there is a change, wherever else it was.
    let held: Vec<bool> = tasks.iter().map(|task| task.earlier.is_some()).collect();
    let (room, ahead, cpu) = (Room::new(options.how.memory), Ahead::default(), Mutex::new(Stages::default()));
    let jobs = options.jobs.min(all).max(1);
    let share = options.how.memory / jobs as u64;
    let work = |at: usize, task: Task| {
        ahead.begin(at, options.how.memory / 4);
        let mut stages = Stages::default();
        let known = earlier.get(&at);
        let worked = one(&task.found, known, &entries, &reader, options, share, &room, &mut stages);
        cpu.lock().unwrap_or_else(PoisonError::into_inner).add(&stages);
        worked.unwrap_or_else(|error| Worked::Failed(format!("{error:#}")))
    };
    let mut waiting: BTreeMap<usize, Worked> = BTreeMap::new();
    let (mut next, mut finished, mut written) = (0, 0, Instant::now());
    let mut batch = Batch::default();
    work::each(tasks, jobs, work, |at, worked| {
        waiting.insert(at, worked);
        finished += 1;
        // In the order of the places: of two copies the first is kept.
        while let Some(worked) = waiting.remove(&next) {
            let watch = Stopwatch::thread();
            batch.take(&founds[next], worked, held[next], &before, summary);
            next += 1;
            if batch.is_full(written, store.index.runs.len()) {
                store.places(std::mem::take(&mut batch.places));
                store.commit(std::mem::take(&mut batch.runs), &BTreeSet::new())?;
                (batch.bytes, written) = (0, Instant::now());
            }
            cpu.lock().unwrap_or_else(PoisonError::into_inner).write += watch.seconds();
        }
        let held: u64 =
            waiting.values().map(|one| if let Worked::Measured(kept) = one { kept.bytes() } else { 0 }).sum();
        ahead.set(next, batch.bytes + held);
        (options.progress)(finished, all);
        Ok(())
    })?;
    let watch = Stopwatch::thread();
    store.places(batch.places);
    store.commit(batch.runs, &BTreeSet::new())?;
    let mut cpu = cpu.into_inner().unwrap_or_else(PoisonError::into_inner);
    cpu.write += watch.seconds();
    summary.cpu = cpu;
    summary.opened = all;
    Ok(())
}

/// Finished runs that are not written yet.
#[derive(Default)]
struct Batch {
    runs: Vec<Kept>,
    places: Vec<(String, Place)>,
    bytes: u64,
    taken: BTreeSet<String>,
}

impl Batch {
    fn take(
        &mut self,
        found: &Found,
        worked: Worked,
        held_one: bool,
        before: &BTreeSet<String>,
        summary: &mut Summary,
    ) {
        let path = found.path.to_string_lossy().into_owned();
        let held = match worked {
            Worked::Failed(why) => Held::Failed(why),
            Worked::Same(id) => Held::Run(id),
            Worked::Measured(kept) => {
                let id = kept.id.clone();
                if self.taken.insert(id.clone()) {
                    if held_one || before.contains(&id) {
                        summary.changed += 1
                    } else {
                        summary.new += 1
                    }
                    self.bytes += kept.bytes();
                    self.runs.push(*kept);
                }
                Held::Run(id)
            }
        };
        self.places.push((path, Place { below: found.below.clone(), stamp: found.stamp.clone(), held }));
    }

    /// Of a large archive more at once: each time all of its index is written.
    fn is_full(&self, written: Instant, runs: usize) -> bool {
        self.runs.len() >= BATCH.max(runs / 32) || self.bytes >= BATCH_BYTES || written.elapsed() >= BATCH_TIME
    }
}

/// Earlier results, for runs that are measured anew in part.
struct Earlier {
    folder: PathBuf,
    index: Index,
}

impl Earlier {
    fn of(&self, id: &str) -> Option<Stored> {
        super::store::results(&self.folder, &self.index, &|other| other == id).ok()?.pop()
    }
}

/// Works on one place.
#[expect(clippy::too_many_arguments, reason = "what a worker shares with the others")]
fn one(
    found: &Found,
    known: Option<&(String, Entry)>,
    entries: &BTreeMap<String, Entry>,
    earlier: &Earlier,
    options: &Options<'_>,
    share: u64,
    room: &Room,
    stages: &mut Stages,
) -> anyhow::Result<Worked> {
    let watch = Stopwatch::stage(options.jobs);
    let mut held = room.take(if found.is_bundle { 1 } else { share });
    let Opened { bundle, temporary: _temporary, .. } = given::open(&found.path, options.how, share)?;
    let (id, manifest) = (identity(&bundle.manifest), digest(&bundle.manifest));
    stages.open += watch.seconds();
    let dataplane_now = |dataplane: &str| current(&(options.asks)(dataplane), dataplane);
    let same = entries.get(&id).filter(|entry| entry.manifest == manifest);
    let kept = match (same, known) {
        (Some(entry), _) => {
            let stored = earlier.of(&id);
            let is_current = |one: &Stored| entry.current == dataplane_now(&one.result.run.dataplane);
            match stored {
                Some(one) if is_current(&one) => return Ok(Worked::Same(id)),
                other => other.map(|one| one.result),
            }
        }
        _ => None,
    };
    held.resize(bundle.bytes.saturating_mul(ANALYSIS));
    let watch = Stopwatch::stage(options.jobs);
    let place = || found.path.display().to_string();
    let (result, of_run) = measure(bundle, kept, options.asks, |run| {
        stages.load += watch.seconds();
        OfRun::new(run, &id)
    })
    .with_context(place)?;
    stages.measure += watch.seconds() - stages.load;
    let watch = Stopwatch::stage(options.jobs);
    let questions: Vec<Question> = (options.asks)(&result.run.dataplane);
    let current = current(&questions, &result.run.dataplane);
    let (dataplane, scenario) = (result.run.dataplane.clone(), result.run.scenario.clone());
    let stored = Stored { id: id.clone(), path: found.below.clone(), result };
    let rows = rows::rows(&stored, &of_run)?;
    let result = packed(&stored)?;
    stages.pack += watch.seconds();
    let entry = Entry { part: 0, manifest, current };
    Ok(Worked::Measured(Box::new(Kept { id, entry, dataplane, scenario, rows, result })))
}

/// Drops what no place holds any more, joins small files, counts.
fn finish(store: &mut Store, prune: bool, summary: &mut Summary) -> anyhow::Result<()> {
    if prune {
        for path in &summary.gone {
            store.index.places.remove(path);
        }
    }
    // A place that now holds another run leaves the one before without any.
    let homeless = store.homeless();
    store.commit(Vec::new(), &homeless)?;
    store.join()?;
    summary.runs = store.index.runs.len();
    summary.unchanged = summary.runs.saturating_sub(summary.new + summary.changed);
    let of = |(path, place): (&String, &Place)| match &place.held {
        Held::Failed(why) => Some((path.clone(), why.clone())),
        Held::Run(_) => None,
    };
    summary.failed.extend(store.index.places.iter().filter_map(of));
    summary.failed.sort();
    let several = store.index.places_of().into_values().filter(|places| places.len() > 1);
    summary.copies = several.map(|all| all.into_iter().map(|(_, path)| path.to_owned()).collect()).collect();
    Ok(())
}
