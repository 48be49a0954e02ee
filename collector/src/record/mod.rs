//! Conductor of a recording: a cluster in, the files of a capture out, in formats that `parse` reads.
//!
//! ```text
//! learn ─ begin ─ baseline ─┬─ action ─┬─ settling: rollout complete, then quiet ─┬─ tail ─ stop, join, say how it went
//!                           beacons begin                                         beacons end
//! ```
//!
//! What each source records stands in `collector/src/record/sources.rs`; all share one [`plan::Plan`] and one [`folder::Folder`].

pub mod asked;
mod audit_tail;
mod clocks;
pub mod cluster;
mod course;
pub mod examine;
mod fetch;
pub mod folder;
mod governor;
pub mod host;
mod hubble;
mod logs;
pub mod manifest;
pub mod moment;
pub mod node;
pub mod plan;
pub mod probe;
mod prometheus;
pub mod redact;
pub mod rows;
mod scrape;
pub mod secrets;
pub mod source;
pub mod sources;
pub mod statement;
pub mod stop;
pub mod summary;
mod tally;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::json;
use syncline_schema::loss;

use asked::{Action, Asked};
use cluster::action::{self, Ready};
use cluster::facts::{self, Known};
use folder::Folder;
use host::Host;
use plan::Plan;
use source::Source;
use sources::SOURCES;
use stop::Stop;
use summary::{Counted, Recorded, Summary};
use threads::Threads;

/// Name of the source that losses of the recorder itself are told under.
const RECORDER: &str = "recorder";

/// Records what was asked for, once or several times; `said` is given what users want to know meanwhile. Ends in order when `stop` is set.
///
/// # Errors
/// The recording could not begin: the directory is taken, or the action cannot be done.
pub fn record(asked: &Asked, stop: &Stop, said: &dyn Fn(&str)) -> anyhow::Result<Vec<Summary>> {
    if asked.repeat > 1 && matches!(asked.action, Action::Scale { .. }) && !asked.reset {
        bail!("--repeat of a --scale needs --reset: without it the second time nothing would happen");
    }
    let host = Host::default();
    governor::be_gentle(&Plan::of(host.clone()));
    let mut summaries = Vec::new();
    for number in 1..=asked.repeat {
        let root = if asked.repeat == 1 { asked.out.clone() } else { asked.out.join(number.to_string()) };
        let known = facts::learn(asked, host.clone());
        let ready = action::prepare(&asked.action, &known.plan.namespace, known.plan.api.as_deref())?;
        let own = stop.child();
        summaries.push(one(asked, known, &ready, &root, &own, said)?);
        if stop.is_set() {
            break;
        }
    }
    Ok(summaries)
}

/// Records one capture.
fn one(
    asked: &Asked,
    known: Known,
    ready: &Ready,
    root: &Path,
    stop: &Stop,
    said: &dyn Fn(&str),
) -> anyhow::Result<Summary> {
    let _lock = lock(root)?;
    let folder = Folder::begin(root, asked.max_size).with_context(|| root.display().to_string())?;
    let out = folder.out(RECORDER);
    let Known { plan, versions, unknown } = known;
    let plan = Arc::new(plan);
    for what in &unknown {
        said(&format!("not known: {what}"));
        out.lost(loss::SOURCE_NOT_RECORDED, 1, what);
    }
    let name = statement::name(root);
    let scenario = statement::scenario(&asked.action, ready.replicas);
    let state = || std::fs::write(root.join("capture.toml"), statement::text(&plan, &versions, &name, scenario));
    state().with_context(|| root.display().to_string())?;
    let chosen = choose(asked, &plan, &folder, said);
    let (prepared, spent) = (Instant::now(), governor::cpu());
    let peak = Arc::new(AtomicU64::new(0));
    let threads = Threads::start(&chosen, &plan, &folder, stop)?;
    course::prepare(&chosen, &folder, stop, said);
    let (began, cpu) = (Instant::now(), governor::cpu());
    let governed = {
        let (plan, peak, out, stop, share) =
            (Arc::clone(&plan), Arc::clone(&peak), out.clone(), stop.clone(), asked.max_cpu);
        std::thread::spawn(move || governor::govern(&plan, share, &peak, &out, &stop))
    };
    let course = course::follow(asked, &plan, ready, &folder, stop, said);
    let interrupted = stop.is_set() && !folder.is_full();
    stop.set();
    if let Some(api) = &plan.api {
        api.end_streams();
    }
    threads.join();
    let _ = governed.join();
    let trouble = course.unwrap_or_else(|error| Some(format!("{error:#}")));
    if let Some(trouble) = &trouble {
        out.lost(loss::RECORDER_GAP, 1, trouble);
    }
    let sources = counted(&chosen, &folder);
    folder.finish();
    if asked.redact {
        hide(root, &plan, said)?;
    }
    let summary = Summary {
        root: root.to_owned(),
        sources,
        dataplane: examine::dataplane(&plan),
        losses: folder.losses(),
        lasted: began.elapsed(),
        beginning: (began - prepared, cpu - spent),
        cpu: governor::cpu() - cpu,
        cpu_peak: peak.load(Ordering::Relaxed) as f64 / 1e6,
        memory: governor::peak_memory(),
        bytes: folder.bytes(),
        trouble,
        interrupted,
    };
    if asked.reset && !interrupted {
        course::reset(ready, &plan, said)?;
    }
    Ok(summary)
}

/// Replaces names and addresses in a capture that has ended.
fn hide(root: &Path, plan: &Plan, said: &dyn Fn(&str)) -> anyhow::Result<()> {
    let mut names = vec![plan.namespace.clone()];
    names.extend(plan.node.clone());
    names.extend(plan.services.iter().flat_map(|one| [one.namespace.clone(), one.name.clone()]));
    let done = redact::folder(root, &redact::key()?, &names)
        .with_context(|| format!("--redact: {} still holds names and addresses", root.display()))?;
    said(&format!("{} names replaced in {} files", done.names, done.files));
    if !done.kept.is_empty() {
        said(&format!("names that stay, since they are words of the formats: {}", done.kept.join(", ")));
    }
    Ok(())
}

/// Takes a directory for this recording alone.
fn lock(root: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::create_dir_all(root).with_context(|| root.display().to_string())?;
    // The directory itself is locked: no file of its own is left in the capture, and a lock ends with its process.
    let held = std::fs::File::open(root)?;
    if rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("{}: another recorder writes into it", root.display());
    }
    if std::fs::read_dir(root)?.next().is_some() {
        bail!("{} is not empty: name a new directory, a capture is never added to", root.display());
    }
    Ok(held)
}

/// The sources that are there; what is not is said and written down.
fn choose(asked: &Asked, plan: &Arc<Plan>, folder: &Arc<Folder>, said: &dyn Fn(&str)) -> Vec<&'static Source> {
    let mut chosen = Vec::new();
    for (source, examined) in SOURCES.iter().zip(examine::examine(SOURCES, plan, &asked.without)) {
        match examined.found {
            Ok(found) => {
                said(&format!("{}: {found}", source.name));
                chosen.push(*source);
            }
            Err(lack) => {
                said(&format!("{}: not recorded: {lack}", source.name));
                folder.out(source.name).lost(loss::SOURCE_NOT_RECORDED, 1, &lack);
            }
        }
    }
    chosen
}

/// What each source did; written into the capture too.
fn counted(chosen: &[&'static Source], folder: &Folder) -> Vec<Recorded> {
    let tallies = folder.tallies();
    let of = |source: &&'static Source| {
        let ran = chosen.iter().any(|one| one.name == source.name);
        let tally = tallies.iter().find(|(name, _)| *name == source.name).map(|(_, tally)| tally).filter(|_| ran);
        let counted = tally.map(|tally| Counted {
            ticks: tally.ticks,
            median: tally.median(),
            largest: tally.largest,
            beats: source.cadence.is_some(),
        });
        if let Some(counted) = &counted {
            let mut line = json!({"name": source.name, "readings": counted.ticks});
            if counted.beats {
                line["cadence"] = json!(counted.median.map(|median| median.as_secs_f64()));
                line["largest_gap"] = json!(counted.largest.as_secs_f64());
            }
            folder.say(&json!({ "source": line }));
        }
        Recorded { name: source.name, counted }
    };
    SOURCES.iter().map(of).collect()
}
